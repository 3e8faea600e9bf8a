//! What the API server puts into fields that nobody declares.
//!
//! Source: the functions `SetDefaults_*` of Kubernetes 1.36.3 (`pkg/apis/*/v1/defaults.go` and the older versions that are still
//! served), outside status. What depends on the cluster (admission, controllers, custom resources) is not here: for that the
//! server is asked, or the [catalogue](crate::catalogue) knows it.

use manifest::{GroupKind, in_pod_spec};
use serde_json::{Map, Value};

/// A value as the server writes it.
#[derive(Debug, Clone, Copy)]
enum Is {
    Text(&'static str),
    Number(u64),
    Bool(bool),
    /// A structure without fields, or a list without items.
    Empty,
    /// A list of these words, in any order.
    Words(&'static [&'static str]),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list, as JSON.
    List(&'static str),
    /// The same as another field of the structure, which is declared.
    Same(&'static str),
    /// The same, if the Pod is declared to be in the network of its node.
    OnNode(&'static str),
    /// Entries that are the same in another field of the structure.
    Within(&'static str),
    /// `Egress` as well if there are such rules beside it: without the word they would not count.
    PolicyTypes,
}

/// Fields by their names below the place of the table.
type Table = &'static [(&'static [&'static str], Is)];

/// Fields of a container. Those of probes stand in [`PROBE`].
const CONTAINER: Table = &[
    // `Always` for the tag `latest`; it stays when a commit names another.
    (&["imagePullPolicy"], Is::OneOf(&["Always", "IfNotPresent"])),
    (&["terminationMessagePath"], Is::Text("/dev/termination-log")),
    (&["terminationMessagePolicy"], Is::Text("File")),
    (&["resources"], Is::Empty),
    (&["ports", "protocol"], Is::Text("TCP")),
    (&["ports", "hostPort"], Is::OnNode("containerPort")),
    (&["env", "valueFrom", "fieldRef", "apiVersion"], Is::Text("v1")),
    (&["env", "valueFrom", "resourceFieldRef", "divisor"], Is::Text("0")),
    (&["lifecycle", "postStart", "httpGet", "path"], Is::Text("/")),
    (&["lifecycle", "postStart", "httpGet", "scheme"], Is::Text("HTTP")),
    (&["lifecycle", "preStop", "httpGet", "path"], Is::Text("/")),
    (&["lifecycle", "preStop", "httpGet", "scheme"], Is::Text("HTTP")),
];

/// Fields of `livenessProbe`, `readinessProbe` and `startupProbe`.
const PROBE: Table = &[
    (&["failureThreshold"], Is::Number(3)),
    (&["periodSeconds"], Is::Number(10)),
    (&["successThreshold"], Is::Number(1)),
    (&["timeoutSeconds"], Is::Number(1)),
    (&["httpGet", "path"], Is::Text("/")),
    (&["httpGet", "scheme"], Is::Text("HTTP")),
    (&["grpc", "service"], Is::Text("")),
];

/// Fields of a PodSpec. Those of containers stand in [`CONTAINER`].
const POD_SPEC: Table = &[
    (&["dnsPolicy"], Is::Text("ClusterFirst")),
    (&["restartPolicy"], Is::Text("Always")),
    (&["schedulerName"], Is::Text("default-scheduler")),
    (&["securityContext"], Is::Empty),
    (&["serviceAccount"], Is::Same("serviceAccountName")),
    (&["serviceAccountName"], Is::Same("serviceAccount")),
    (&["terminationGracePeriodSeconds"], Is::Number(30)),
    (&["volumes", "awsElasticBlockStore", "fsType"], Is::Text("")),
    (&["volumes", "azureDisk", "cachingMode"], Is::Text("ReadWrite")),
    (&["volumes", "azureDisk", "fsType"], Is::Text("ext4")),
    (&["volumes", "azureDisk", "kind"], Is::Text("Shared")),
    (&["volumes", "azureDisk", "readOnly"], Is::Bool(false)),
    (&["volumes", "configMap", "defaultMode"], Is::Number(420)),
    (&["volumes", "downwardAPI", "defaultMode"], Is::Number(420)),
    (&["volumes", "downwardAPI", "items", "fieldRef", "apiVersion"], Is::Text("v1")),
    (&["volumes", "emptyDir"], Is::Empty),
    (&["volumes", "ephemeral", "volumeClaimTemplate", "spec", "volumeMode"], Is::Text("Filesystem")),
    (&["volumes", "hostPath", "type"], Is::Text("")),
    (&["volumes", "image", "pullPolicy"], Is::OneOf(&["Always", "IfNotPresent"])),
    (&["volumes", "iscsi", "iscsiInterface"], Is::Text("default")),
    (&["volumes", "projected", "defaultMode"], Is::Number(420)),
    (&["volumes", "projected", "sources", "downwardAPI", "items", "fieldRef", "apiVersion"], Is::Text("v1")),
    (&["volumes", "projected", "sources", "serviceAccountToken", "expirationSeconds"], Is::Number(3_600)),
    (&["volumes", "rbd", "keyring"], Is::Text("/etc/ceph/keyring")),
    (&["volumes", "rbd", "pool"], Is::Text("rbd")),
    (&["volumes", "rbd", "user"], Is::Text("admin")),
    (&["volumes", "scaleIO", "fsType"], Is::Text("xfs")),
    (&["volumes", "scaleIO", "storageMode"], Is::Text("ThinProvisioned")),
    (&["volumes", "secret", "defaultMode"], Is::Number(420)),
];

/// Fields of a webhook, in both kinds of configuration.
const WEBHOOKS: Table = &[
    (&["webhooks", "clientConfig", "service", "port"], Is::Number(443)),
    (&["webhooks", "failurePolicy"], Is::Text("Fail")),
    (&["webhooks", "matchPolicy"], Is::Text("Equivalent")),
    (&["webhooks", "namespaceSelector"], Is::Empty),
    (&["webhooks", "objectSelector"], Is::Empty),
    (&["webhooks", "reinvocationPolicy"], Is::Text("Never")),
    (&["webhooks", "rules", "scope"], Is::Text("*")),
    (&["webhooks", "timeoutSeconds"], Is::Number(10)),
];

/// Fields of an admission policy.
const ADMISSION_POLICY: Table = &[
    (&["spec", "failurePolicy"], Is::Text("Fail")),
    (&["spec", "matchConstraints", "excludeResourceRules", "scope"], Is::Text("*")),
    (&["spec", "matchConstraints", "matchPolicy"], Is::Text("Equivalent")),
    (&["spec", "matchConstraints", "namespaceSelector"], Is::Empty),
    (&["spec", "matchConstraints", "objectSelector"], Is::Empty),
    (&["spec", "matchConstraints", "resourceRules", "scope"], Is::Text("*")),
    (&["spec", "reinvocationPolicy"], Is::Text("Never")),
];

/// Fields of the binding of an admission policy.
const ADMISSION_BINDING: Table = &[
    (&["spec", "matchResources", "excludeResourceRules", "scope"], Is::Text("*")),
    (&["spec", "matchResources", "matchPolicy"], Is::Text("Equivalent")),
    (&["spec", "matchResources", "namespaceSelector"], Is::Empty),
    (&["spec", "matchResources", "objectSelector"], Is::Empty),
    (&["spec", "matchResources", "resourceRules", "scope"], Is::Text("*")),
];

/// All other fields: group, kind, the table.
const KINDS: &[(&str, &str, Table)] = &[
    ("", "Endpoints", &[(&["subsets", "ports", "protocol"], Is::Text("TCP"))]),
    (
        "",
        "PersistentVolume",
        &[
            (&["spec", "hostPath", "type"], Is::Text("")),
            (&["spec", "persistentVolumeReclaimPolicy"], Is::Text("Retain")),
            (&["spec", "volumeMode"], Is::Text("Filesystem")),
        ],
    ),
    ("", "PersistentVolumeClaim", &[(&["spec", "volumeMode"], Is::Text("Filesystem"))]),
    (
        "",
        "Pod",
        &[
            (&["spec", "containers", "resources", "requests"], Is::Within("limits")),
            (&["spec", "enableServiceLinks"], Is::Bool(true)),
            (&["spec", "initContainers", "resources", "requests"], Is::Within("limits")),
        ],
    ),
    ("", "ReplicationController", &[(&["spec", "replicas"], Is::Number(1))]),
    ("", "Secret", &[(&["type"], Is::Text("Opaque"))]),
    (
        "",
        "Service",
        &[
            (&["spec", "allocateLoadBalancerNodePorts"], Is::Bool(true)),
            (&["spec", "externalTrafficPolicy"], Is::Text("Cluster")),
            (&["spec", "internalTrafficPolicy"], Is::Text("Cluster")),
            (&["spec", "ports", "protocol"], Is::Text("TCP")),
            (&["spec", "ports", "targetPort"], Is::Same("port")),
            (&["spec", "sessionAffinity"], Is::Text("None")),
            (&["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], Is::Number(10_800)),
            (&["spec", "type"], Is::Text("ClusterIP")),
        ],
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", ADMISSION_POLICY),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", ADMISSION_BINDING),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", WEBHOOKS),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", ADMISSION_POLICY),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", ADMISSION_BINDING),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", WEBHOOKS),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &[
            (&["spec", "conversion", "strategy"], Is::Text("None")),
            (&["spec", "conversion", "webhook", "clientConfig", "service", "port"], Is::Number(443)),
        ],
    ),
    ("apiregistration.k8s.io", "APIService", &[(&["spec", "service", "port"], Is::Number(443))]),
    (
        "apps",
        "DaemonSet",
        &[
            (&["spec", "revisionHistoryLimit"], Is::Number(10)),
            (&["spec", "updateStrategy", "rollingUpdate", "maxSurge"], Is::Number(0)),
            (&["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], Is::Number(1)),
            (&["spec", "updateStrategy", "type"], Is::Text("RollingUpdate")),
        ],
    ),
    (
        "apps",
        "Deployment",
        &[
            (&["spec", "progressDeadlineSeconds"], Is::Number(600)),
            (&["spec", "replicas"], Is::Number(1)),
            (&["spec", "revisionHistoryLimit"], Is::Number(10)),
            (&["spec", "strategy", "rollingUpdate", "maxSurge"], Is::Text("25%")),
            (&["spec", "strategy", "rollingUpdate", "maxUnavailable"], Is::Text("25%")),
            (&["spec", "strategy", "type"], Is::Text("RollingUpdate")),
        ],
    ),
    ("apps", "ReplicaSet", &[(&["spec", "replicas"], Is::Number(1))]),
    (
        "apps",
        "StatefulSet",
        &[
            (&["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"], Is::Text("Retain")),
            (&["spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"], Is::Text("Retain")),
            (&["spec", "podManagementPolicy"], Is::Text("OrderedReady")),
            (&["spec", "replicas"], Is::Number(1)),
            (&["spec", "revisionHistoryLimit"], Is::Number(10)),
            (&["spec", "serviceName"], Is::Text("")),
            (&["spec", "updateStrategy", "rollingUpdate", "partition"], Is::Number(0)),
            (&["spec", "updateStrategy", "type"], Is::Text("RollingUpdate")),
            (&["spec", "volumeClaimTemplates", "apiVersion"], Is::Text("v1")),
            (&["spec", "volumeClaimTemplates", "kind"], Is::Text("PersistentVolumeClaim")),
            (&["spec", "volumeClaimTemplates", "spec", "volumeMode"], Is::Text("Filesystem")),
            (&["spec", "volumeClaimTemplates", "status", "phase"], Is::Text("Pending")),
        ],
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        &[
            (
                &["spec", "behavior", "scaleDown", "policies"],
                Is::List(r#"[{"type":"Percent","value":100,"periodSeconds":15}]"#),
            ),
            (&["spec", "behavior", "scaleDown", "selectPolicy"], Is::Text("Max")),
            (
                &["spec", "behavior", "scaleUp", "policies"],
                Is::List(
                    r#"[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]"#,
                ),
            ),
            (&["spec", "behavior", "scaleUp", "selectPolicy"], Is::Text("Max")),
            (&["spec", "behavior", "scaleUp", "stabilizationWindowSeconds"], Is::Number(0)),
            (
                &["spec", "metrics"],
                Is::List(
                    r#"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]"#,
                ),
            ),
            (&["spec", "minReplicas"], Is::Number(1)),
        ],
    ),
    (
        "batch",
        "CronJob",
        &[
            (&["spec", "concurrencyPolicy"], Is::Text("Allow")),
            (&["spec", "failedJobsHistoryLimit"], Is::Number(1)),
            (&["spec", "successfulJobsHistoryLimit"], Is::Number(3)),
            (&["spec", "suspend"], Is::Bool(false)),
        ],
    ),
    (
        "batch",
        "Job",
        &[
            (&["spec", "backoffLimit"], Is::Number(6)),
            (&["spec", "completionMode"], Is::Text("NonIndexed")),
            (&["spec", "completions"], Is::Number(1)),
            (&["spec", "manualSelector"], Is::Bool(false)),
            (&["spec", "parallelism"], Is::Number(1)),
            (&["spec", "podReplacementPolicy"], Is::OneOf(&["TerminatingOrFailed", "Failed"])),
            (&["spec", "suspend"], Is::Bool(false)),
        ],
    ),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        &[(&["ports", "protocol"], Is::Text("TCP")), (&["ports", "name"], Is::Text(""))],
    ),
    ("networking.k8s.io", "IngressClass", &[(&["spec", "parameters", "scope"], Is::Text("Cluster"))]),
    (
        "networking.k8s.io",
        "NetworkPolicy",
        &[
            (&["spec", "egress", "ports", "protocol"], Is::Text("TCP")),
            (&["spec", "ingress", "ports", "protocol"], Is::Text("TCP")),
            (&["spec", "policyTypes"], Is::PolicyTypes),
        ],
    ),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", SUBJECTS),
    ("rbac.authorization.k8s.io", "RoleBinding", SUBJECTS),
    ("scheduling.k8s.io", "PriorityClass", &[(&["preemptionPolicy"], Is::Text("PreemptLowerPriority"))]),
    (
        "storage.k8s.io",
        "CSIDriver",
        &[
            (&["spec", "attachRequired"], Is::Bool(true)),
            (&["spec", "fsGroupPolicy"], Is::Text("ReadWriteOnceWithFSType")),
            (&["spec", "podInfoOnMount"], Is::Bool(false)),
            (&["spec", "requiresRepublish"], Is::Bool(false)),
            (&["spec", "seLinuxMount"], Is::Bool(false)),
            (&["spec", "storageCapacity"], Is::Bool(false)),
            (&["spec", "volumeLifecycleModes"], Is::Words(&["Persistent"])),
        ],
    ),
    (
        "storage.k8s.io",
        "StorageClass",
        &[(&["reclaimPolicy"], Is::Text("Delete")), (&["volumeBindingMode"], Is::Text("Immediate"))],
    ),
];

/// Fields of the two kinds of binding.
const SUBJECTS: Table = &[
    (&["roleRef", "apiGroup"], Is::Text("rbac.authorization.k8s.io")),
    (&["subjects", "apiGroup"], Is::Text("rbac.authorization.k8s.io")),
    (&["subjects", "apiGroup"], Is::Text("")),
];

/// The fields of the structure that a field stands in, where it stands in one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'a> {
    /// Those that are declared.
    pub(crate) declared: Option<&'a Map<String, Value>>,
    /// Those that are live.
    pub(crate) live: Option<&'a Map<String, Value>>,
    /// Whether it is in a Pod that is declared to be in the network of its node.
    pub(crate) on_node: bool,
}

/// Whether the server puts `value` into the field with these names if nobody declares it.
pub(crate) fn is_default(kind: &GroupKind, names: &[&str], value: &Value, beside: Beside<'_>) -> bool {
    // What says nothing is as good as absent.
    if value.is_null() || names.ends_with(&["template", "metadata"]) && is_empty(value) {
        return true;
    }
    let is = |table: Table, below: &[&str]| table.iter().any(|(at, is)| *at == below && is.met(value, beside));
    let of_kind = KINDS.iter().find(|(group, name, _)| *group == kind.group && *name == kind.kind);
    if of_kind.is_some_and(|(.., table)| is(table, names)) {
        return true;
    }
    match in_pod_spec(kind, names) {
        Some(["containers" | "initContainers" | "ephemeralContainers", rest @ ..]) => match rest {
            ["livenessProbe" | "readinessProbe" | "startupProbe", rest @ ..] => is(PROBE, rest),
            rest => is(CONTAINER, rest),
        },
        Some(rest) => is(POD_SPEC, rest),
        None => false,
    }
}

impl Is {
    fn met(self, value: &Value, beside: Beside<'_>) -> bool {
        let live = |name: &str| beside.live.and_then(|fields| fields.get(name));
        let declared = |name: &str| beside.declared.and_then(|fields| fields.get(name));
        match self {
            Self::Text(text) => value == text,
            Self::Number(number) => value.as_u64() == Some(number),
            Self::Bool(truth) => value == truth,
            Self::Empty => is_empty(value),
            Self::Words(words) => are(value, words),
            Self::OneOf(words) => words.iter().any(|word| value == word),
            Self::List(json) => serde_json::from_str(json).is_ok_and(|list: Value| *value == list),
            // Of two fields that nobody declares, each would excuse the other.
            Self::Same(other) => declared(other) == Some(value),
            Self::OnNode(other) => beside.on_node && declared(other) == Some(value),
            Self::Within(other) => value.as_object().is_some_and(|entries| {
                entries.iter().all(|(name, entry)| live(other).and_then(|fields| fields.get(name)) == Some(entry))
            }),
            Self::PolicyTypes => {
                let egress = live("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
                are(value, if egress { &["Ingress", "Egress"] } else { &["Ingress"] })
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether a list holds these words, in any order.
fn are(value: &Value, words: &[&str]) -> bool {
    value.as_array().is_some_and(|items| {
        items.len() == words.len() && words.iter().all(|word| items.iter().any(|item| item == word))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a row is given as it is written")]
    fn check(kind: (&str, &str), path: &str, value: Value, beside: Value, expected: bool) {
        let names: Vec<_> = path.split('.').collect();
        let beside = beside.as_object();
        let beside = Beside { declared: beside, live: beside, on_node: false };
        let found = is_default(&GroupKind::new(kind.0, kind.1), &names, &value, beside);
        assert_eq!(found, expected, "{path}: {value} of {}", kind.1);
    }

    const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

    #[test]
    fn a_default_is_one_value_in_one_place() {
        check(DEPLOYMENT, "spec.replicas", json!(1), json!({}), true);
        check(DEPLOYMENT, "spec.replicas", json!(2), json!({}), false);
        check(("apps", "DaemonSet"), "spec.replicas", json!(1), json!({}), false);
        check(DEPLOYMENT, "spec.template.spec.dnsPolicy", json!("ClusterFirst"), json!({}), true);
        check(DEPLOYMENT, "spec.template.spec.dnsPolicy", json!("None"), json!({}), false);
        check(("example.org", "Widget"), "spec.template.spec.dnsPolicy", json!("ClusterFirst"), json!({}), false);
        let probe = "spec.template.spec.containers.livenessProbe.";
        check(DEPLOYMENT, &format!("{probe}periodSeconds"), json!(10), json!({}), true);
        check(DEPLOYMENT, &format!("{probe}periodSeconds"), json!(3600), json!({}), false);
        check(DEPLOYMENT, &format!("{probe}httpGet.scheme"), json!("HTTP"), json!({}), true);
        check(DEPLOYMENT, "spec.template.spec.hostNetwork", json!(true), json!({}), false);
    }

    #[test]
    fn a_selector_without_terms_is_a_default_of_webhooks_and_an_opening_in_a_network_policy() {
        let webhooks = ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration");
        check(webhooks, "webhooks.namespaceSelector", json!({}), json!({}), true);
        check(
            ("networking.k8s.io", "NetworkPolicy"),
            "spec.ingress.from.namespaceSelector",
            json!({}),
            json!({}),
            false,
        );
    }

    #[test]
    fn some_defaults_depend_on_what_stands_beside_them() {
        let at = "spec.template.spec.containers.imagePullPolicy";
        for (policy, expected) in [("Always", true), ("IfNotPresent", true), ("Never", false)] {
            check(DEPLOYMENT, at, json!(policy), json!({}), expected);
        }
        check(("", "Service"), "spec.ports.targetPort", json!(80), json!({"port": 80}), true);
        check(("", "Service"), "spec.ports.targetPort", json!(8080), json!({"port": 80}), false);
        check(DEPLOYMENT, "spec.template.spec.serviceAccount", json!("a"), json!({"serviceAccountName": "a"}), true);
        check(DEPLOYMENT, "spec.template.spec.serviceAccount", json!("a"), json!({}), false);
        let requests = "spec.containers.resources.requests";
        check(("", "Pod"), requests, json!({"cpu": "2"}), json!({"limits": {"cpu": "2", "memory": "1Gi"}}), true);
        check(("", "Pod"), requests, json!({"cpu": "3"}), json!({"limits": {"cpu": "2"}}), false);
    }

    #[test]
    fn two_fields_that_nobody_declares_do_not_excuse_each_other() {
        let live = json!({"serviceAccount": "evil", "serviceAccountName": "evil"});
        let beside = Beside { live: live.as_object(), ..Beside::default() };
        for field in ["serviceAccount", "serviceAccountName"] {
            let names = ["spec", "template", "spec", field];
            assert!(!is_default(&GroupKind::new("apps", "Deployment"), &names, &json!("evil"), beside), "{field}");
        }
    }

    #[test]
    fn policy_types_without_egress_switch_its_rules_off() {
        let (policy, at) = (("networking.k8s.io", "NetworkPolicy"), "spec.policyTypes");
        let (none, some) = (json!({"ingress": [{}]}), json!({"egress": [{}]}));
        check(policy, at, json!(["Ingress"]), none.clone(), true);
        check(policy, at, json!(["Ingress"]), some.clone(), false);
        check(policy, at, json!(["Egress", "Ingress"]), some, true);
        check(policy, at, json!(["Ingress", "Egress"]), none.clone(), false);
        check(policy, at, json!(["Egress"]), none, false);
    }
}
