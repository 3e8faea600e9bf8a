//! Codes of the decision: guards on a change set, and drift.

manifest::codes! {
    /// Codes that `decide` gives.
    pub enum PlanCode {
        /// The commit would prune more than its guard allows.
        A120 = "PruneHeld" {
            meaning: "Applying the commit would delete every object of the Sync, more of them than `pruneLimit` allows, or a Namespace, CustomResourceDefinition, PersistentVolume or PersistentVolumeClaim. Nothing was applied.",
            action: "If the deletion is meant, say so in a further commit with the trailer `Writ-Prune: <count>`, where the count is the number of objects to be pruned. The commit changes something in the Sync's folder, or nothing at all; then its signer must be one who may change every file there that was changed or removed since the applied revision. Otherwise restore the files.",
            example: "A120 PruneHeld: Sync shop/web: the commit prunes 12 of 14 objects; needed: the trailer `Writ-Prune: 12`. Fix: git commit --allow-empty --gpg-sign -m 'Prune 12 objects' --trailer 'Writ-Prune: 12' # or restore the files",
        },
        /// Another Sync owns the object.
        A121 = "OwnedByAnotherSync" {
            meaning: "The object already belongs to another Sync. An object belongs to one Sync; the first one is left untouched.",
            action: "Remove the object from one of the two folders.",
            example: "A121 OwnedByAnotherSync: ConfigMap shop/settings: declared here, owned by Sync shop/base; needed: one owner. Fix: remove it from apps/web/settings.yaml or from the folder of shop/base",
        },
        /// This kind is never applied from Git.
        A122 = "ForbiddenKind" {
            meaning: "The manifest declares a kind that is never applied from Git: a TrustRoot decides what Git may do, so Git may not change it.",
            action: "Remove the object from the repository; a platform admin applies it to the cluster.",
            example: "A122 ForbiddenKind: TrustRoot.writ.dev prod: TrustRoot is never applied from Git; needed: a platform admin. Fix: git rm trustroot.yaml",
        },
        /// The Sync names no ServiceAccount.
        A123 = "ServiceAccountRequired" {
            meaning: "The Sync has no `serviceAccountName`. All its writes are made as that ServiceAccount, so that a Sync can do no more than its namespace was granted.",
            action: "Set `spec.serviceAccountName` to a ServiceAccount of the Sync's namespace.",
            example: "A123 ServiceAccountRequired: Sync shop/web: spec.serviceAccountName is not set; needed: a ServiceAccount of namespace shop. Fix: set spec.serviceAccountName",
        },
        /// An annotation of writ, or its value, is unknown.
        A124 = "UnknownAnnotation" {
            meaning: "An annotation under `writ.dev/`, or its value, is not known to writ. It is refused rather than ignored.",
            action: "Use the value named in the message, or remove the annotation.",
            example: "A124 UnknownAnnotation: ConfigMap shop/settings metadata.annotations[\"writ.dev/prune\"]: the annotation writ.dev/prune has the value \"no\"; needed: \"never\", or no annotation. Fix: set writ.dev/prune: never, or remove it",
        },
        /// A GitSource or Sync was changed in the cluster by nobody who may.
        A125 = "UnsignedOrder" {
            meaning: "The spec of a GitSource or Sync in the cluster is neither what an accepted commit declares nor what the TrustRoot's `bootstrap` names. The last obeyed spec stays in force.",
            action: "Commit the change, signed, to the repository; or put the object back to what is declared. A platform admin may name a first order in the TrustRoot's `bootstrap`.",
            example: "A125 UnsignedOrder: Sync shop/web: its spec (sha256 4f1c…) was changed by kubectl-edit; needed: the spec an accepted commit declares (sha256 99ab…). Fix: commit the change, or put the object back to what is declared",
        },
        /// What is to be done with the object has to wait.
        A126 = "Waiting" {
            meaning: "The object, or its Namespace, is being deleted, or another write to it is under way: what is written now would be lost or would come back. It is looked at again by itself, at once when the deletion is over.",
            action: "If it lasts, something holds the deletion up: see which finalizers the object has, and whose they are.",
            example: "A126 Waiting: ConfigMap shop/settings: it is being deleted; needed: the end of the deletion. Fix: kubectl -n shop get ConfigMap settings -o jsonpath='{.metadata.finalizers}' # names what holds it up",
        },
        /// The plan broke one of its own rules.
        A129 = "InconsistentPlan" {
            meaning: "The plan that was made breaks a rule every plan obeys. This is a defect of writ; nothing was applied.",
            action: "Report it with the message; revert the commit to go on.",
            example: "A129 InconsistentPlan: Sync shop/web: deletion before an apply; needed: waves in order. Fix: report this message",
        },
        /// A declared field was changed or removed in the cluster.
        D101 = "Edited" {
            meaning: "A field that Git declares was changed or removed in the cluster by something else than an accepted commit.",
            action: "With drift mode Revert it is put back, unless the object is being deleted: then it is told, and over with the object. If the change is wanted, commit it; if a controller owns the field, stop declaring it.",
            example: "D101 Edited: Deployment.apps shop/web spec.replicas: 3 → 10; needed: 3. Fix: to keep the change, commit it to apps/web.yaml:1",
        },
        /// The object was deleted.
        D102 = "Deleted" {
            meaning: "An object that Git declares was deleted in the cluster, or no longer carries the label that writ watches by.",
            action: "With drift mode Revert it is created again. If it should go, remove it from Git.",
            example: "D102 Deleted: ConfigMap shop/settings: deleted; needed: the declared object. Fix: to keep it away, remove it from apps/settings.yaml:1",
        },
        /// Its labels were taken off.
        D103 = "Stripped" {
            meaning: "The labels that tie the object to its Sync were removed or changed in the cluster.",
            action: "With drift mode Revert they are put back. They come back as long as Git declares the object, whatever the manifest says of them. To give an object away, declare `writ.dev/prune: never` on it, then remove it from Git.",
            example: "D103 Stripped: ConfigMap shop/settings: the label writ.dev/instance is gone; needed: the label. Fix: to give the object away, commit writ.dev/prune: never to apps/settings.yaml:1, then remove it there",
        },
        /// Somebody deleted it and created another of the same name.
        D104 = "Replaced" {
            meaning: "The object was deleted and another one of the same name was created by somebody else.",
            action: "With drift mode Revert the declared fields are applied to the new object. If it should be somebody else's, remove it from Git.",
            example: "D104 Replaced: ConfigMap shop/settings: another object has its name; needed: the declared object. Fix: to keep the change, commit it to apps/settings.yaml:1",
        },
        /// Another Sync or tool put its own label on it.
        D105 = "OwnershipTaken" {
            meaning: "The ApplySet label of the object was changed to another owner in the cluster.",
            action: "With drift mode Revert the label is put back. To move an object between Syncs, remove it from one folder and add it to the other in one commit.",
            example: "D105 OwnershipTaken: ConfigMap shop/settings: part-of is now applyset-x-v1; needed: its own Sync. Fix: to give the object away, commit writ.dev/prune: never to apps/settings.yaml:1, then remove it there",
        },
        /// Our own write does not stay as it was sent.
        D106 = "Contested" {
            meaning: "The answer to writ's own write holds another value than the declared one: a mutating webhook or policy rewrites the object on its way in, the kind has no such field, or a feature of the cluster is off. writ does not take the other value for its own; it writes again, ever more seldom, and reports.",
            action: "Find what rewrites the field and stop it, or declare the value that is stored. A field that the kind does not have is removed from the manifest.",
            example: "D106 Contested: Deployment.apps shop/web spec.template.spec.containers[name=web].image: it is \"evil:1\" in the answer to our own write; needed: \"a:1\". Fix: kubectl get mutatingwebhookconfigurations; kubectl get mutatingadmissionpolicies # find what rewrites it, or declare in apps/web.yaml:1 what is stored",
        },
        /// Something writes it again after each of our writes.
        D107 = "Fought" {
            meaning: "The object was put back as often as writ does at once within a minute, and something writes it again each time: an autoscaler or controller that owns a declared field, or a second tool that applies the same object. From then on writ puts the fields that were written so often back ever more seldom (5 s, doubling to 5 min) until the object stays as declared for half a minute; fields of high severity, and fields that were not written so often, once a second.",
            action: "Find the other writer in the object's managedFields. Leave the field to it by taking it out of the manifest, or stop it, or set drift.mode to Flag.",
            example: "D107 Fought: Deployment.apps shop/web spec.replicas: it is 7, was put back 10 times within a minute and is written again; needed: 3. Fix: kubectl -n shop get Deployment.apps web -o yaml --show-managed-fields # find what writes it and stop that, or leave the field out of apps/web.yaml:1, or set drift.mode to Flag",
        },
    }
}
