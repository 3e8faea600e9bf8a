//! Codes of the apply path: what the API server, or the rules of ownership, say to a request.

manifest::codes! {
    /// Codes that `cluster` gives.
    pub enum ClusterCode {
        /// The API server does not take the object.
        A101 = "RejectedByServer" {
            meaning: "The API server, or an admission policy or webhook of the cluster, refused the object. The other objects of the revision were applied; nothing is pruned until all succeed.",
            action: "Mend the field that the message names, in Git. If the cluster's own admission refused it, the message says which policy or webhook.",
            example: "A101 RejectedByServer: Deployment.apps shop/web spec.replicas: Invalid: must be greater than or equal to 0; needed: an object that the API server accepts. Fix: correct spec.replicas in Git",
        },
        /// Somebody else owns fields of the object.
        A102 = "AdoptionConflict" {
            meaning: "The object exists, writ has never applied it, and another field manager owns fields that Git declares with other values. writ takes nothing over unless a signed commit says so.",
            action: "Add the annotation `writ.dev/adopt: force` to the object in Git to take the fields over; or remove the object from Git; or delete the live object.",
            example: "A102 AdoptionConflict: ConfigMap shop/settings data.color: owned by kubectl-client-side-apply; needed: an object that nobody else owns. Fix: annotate it with writ.dev/adopt: force",
        },
        /// The cluster does not know the kind.
        A103 = "UnknownKind" {
            meaning: "The API server serves no such kind in this version, and no CustomResourceDefinition of the revision defines it.",
            action: "Correct apiVersion and kind, or bring the CustomResourceDefinition in the same commit or an earlier one.",
            example: "A103 UnknownKind: Widget.example.org shop/a: the cluster does not serve example.org/v1 Widget; needed: a kind that the cluster serves. Fix: add its CustomResourceDefinition",
        },
        /// The object moved on between observation and deletion.
        A104 = "ChangedSinceObserved" {
            meaning: "The object to be deleted is no longer the one that was judged: its UID or resourceVersion changed. It was not deleted; writ looks again and decides anew.",
            action: "Nothing, unless it repeats: then something changes the object all the time. Find it with `kubectl get --show-managed-fields`.",
            example: "A104 ChangedSinceObserved: ConfigMap shop/old: its resourceVersion is no longer 4711; needed: the object as it was observed. Fix: none, it is tried again",
        },
        /// The identity writ acts as may not do this.
        A105 = "Forbidden" {
            meaning: "The ServiceAccount that the request was made as lacks a permission. A Sync can do what the ServiceAccount of its namespace can do, and nothing more.",
            action: "Grant the verb and resource that the message names to the ServiceAccount, or remove the object from Git.",
            example: "A105 Forbidden: Deployment.apps shop/web: system:serviceaccount:shop:deployer may not patch deployments.apps; needed: the verb patch on deployments.apps in namespace shop. Fix: kubectl create role writ:shop:deployer:deployments.apps --verb=get,list,create,patch,delete --resource=deployments.apps -n shop && kubectl create rolebinding writ:shop:deployer:deployments.apps --role=writ:shop:deployer:deployments.apps --serviceaccount=shop:deployer -n shop # or remove the object from Git",
        },
        /// The API server did not answer, or not in time.
        A106 = "Unavailable" {
            meaning: "The API server could not be reached, was overloaded or did not answer in time, also after several attempts. What is running stays as it is; the roll-out is tried again.",
            action: "Look at the health of the API server. If it is healthy, look at its priority and fairness settings for writ's ServiceAccount.",
            example: "A106 Unavailable: Deployment.apps shop/web: no answer after 5 attempts (503 ServiceUnavailable); needed: an API server that answers. Fix: none, it is tried again",
        },
        /// Another ApplySet's object is never taken.
        A107 = "ForeignApplySet" {
            meaning: "The object carries the `applyset.kubernetes.io/part-of` label of another ApplySet: another Sync, another writ or another tool manages it. Such an object is never taken, not even with `writ.dev/adopt: force`.",
            action: "Remove the object from one of the two, or release it there first.",
            example: "A107 ForeignApplySet: ConfigMap shop/settings: part of applyset-x-v1; needed: an object that no other ApplySet owns. Fix: remove it there, or from Git",
        },
        /// The object to be deleted is not ours.
        A108 = "NotOurs" {
            meaning: "The object left Git, but the live object no longer carries this Sync's label or writ's field manager. It was not deleted.",
            action: "If it should go, delete it by hand; if it should stay, nothing.",
            example: "A108 NotOurs: ConfigMap shop/old: it no longer carries the label of its Sync; needed: an object that writ applied. Fix: kubectl delete configmaps old -n shop # if it should go",
        },
        /// A definition is not served.
        A109 = "DefinitionNotReady" {
            meaning: "A CustomResourceDefinition was not Established, or a Namespace not Active, in time. What depends on it was not applied; it is tried again.",
            action: "Look at the conditions of the CustomResourceDefinition, or at what keeps the Namespace terminating.",
            example: "A109 DefinitionNotReady: CustomResourceDefinition.apiextensions.k8s.io widgets.example.org: NamesAccepted is False: the name is taken; needed: Established. Fix: kubectl describe crd widgets.example.org",
        },
        /// The roll-out's time ran out.
        A110 = "RolloutTimeout" {
            meaning: "The Sync's `timeout` ran out before this object's turn. It is tried again.",
            action: "Raise `spec.timeout`, or look at why the API server is slow.",
            example: "A110 RolloutTimeout: Deployment.apps shop/web: not sent within 5m; needed: its turn. Fix: raise spec.timeout of Sync shop/web",
        },
        /// The API server lacks something that writ needs.
        A111 = "UnsupportedServer" {
            meaning: "The API server does not offer something that writ cannot do without.",
            action: "Update Kubernetes to a version that has it.",
            example: "A111 UnsupportedServer: API server: no aggregated discovery; needed: Kubernetes 1.30 or newer. Fix: update Kubernetes",
        },
        /// Another instance holds the Lease.
        A112 = "SecondInstance" {
            meaning: "Another writ with another identity holds the Lease. Two instances would have two logs, so this one does nothing.",
            action: "Stop one of them. After a crash the Lease runs out by itself.",
            example: "A112 SecondInstance: Lease writ-system/writ: held by writ-1; needed: one instance. Fix: stop one of them",
        },
        /// A watch cannot be kept.
        A113 = "WatchFailing" {
            meaning: "A kind could not be watched for 15 seconds and more, so drift of it is seen late or not at all.",
            action: "Mend what the message names: a permission of writ's own ServiceAccount, a CustomResourceDefinition that is gone, an API server that does not answer.",
            example: "A113 WatchFailing: Deployment.apps: 403 Forbidden: cannot watch resource deployments; needed: an open watch. Fix: grant list and watch on deployments.apps to writ",
        },
        /// The API server does not ask us who changes what.
        A114 = "WebhookNotCalled" {
            meaning: "The ValidatingWebhookConfiguration by which the API server tells who changes objects is not there, or does not come to writ. Nothing is blocked and drift is reverted all the same; until it is mended it is not observed who did it, and what is said of that says so.",
            action: "Apply deploy/webhooks.yaml, with the instance of this controller in its names and selectors, and let writ get and patch it (deploy/rbac.yaml); or start writ without --admission-listen.",
            example: "A114 WebhookNotCalled: ValidatingWebhookConfiguration writ-observe: 404 NotFound; needed: a configuration that comes to writ. Fix: kubectl apply -f deploy/webhooks.yaml",
        },
    }
}
