//! Which lists of built-in kinds are merged item by item, and by which keys.

use crate::GroupKind;

type Keys = &'static [&'static str];

const NAME: Keys = &["name"];
const PORT: Keys = &["containerPort", "protocol"];

/// Lists of a container, relative to it.
const CONTAINER: &[(&str, Keys)] = &[
    ("env", NAME),
    ("ports", PORT),
    ("resources.claims", NAME),
    ("volumeDevices", &["devicePath"]),
    ("volumeMounts", &["mountPath"]),
];

/// Lists of a PodSpec, relative to it. All others (tolerations, args, …) are replaced as a whole.
const POD_SPEC: &[(&str, Keys)] = &[
    ("containers", NAME),
    ("ephemeralContainers", NAME),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", NAME),
    ("initContainers", NAME),
    ("resourceClaims", NAME),
    ("resources.claims", NAME),
    ("schedulingGates", NAME),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("volumes", NAME),
];

/// Where a PodSpec stands in each kind that has one: group, kind, path.
const POD_SPEC_AT: &[(&str, &str, &str)] = &[
    ("", "Pod", "spec"),
    ("", "PodTemplate", "template.spec"),
    ("", "ReplicationController", "spec.template.spec"),
    ("apps", "DaemonSet", "spec.template.spec"),
    ("apps", "Deployment", "spec.template.spec"),
    ("apps", "ReplicaSet", "spec.template.spec"),
    ("apps", "StatefulSet", "spec.template.spec"),
    ("batch", "CronJob", "spec.jobTemplate.spec.template.spec"),
    ("batch", "Job", "spec.template.spec"),
];

/// All other merged lists outside status: group, kind, path, keys.
const OTHER: &[(&str, &str, &str, Keys)] = &[
    ("", "Service", "spec.ports", &["port", "protocol"]),
    ("", "ServiceAccount", "secrets", NAME),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "spec.matchConditions", NAME),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "webhooks", NAME),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "webhooks.matchConditions", NAME),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "spec.matchConditions", NAME),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "spec.variables", NAME),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "webhooks", NAME),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "webhooks.matchConditions", NAME),
    ("scheduling.k8s.io", "PodGroup", "spec.resourceClaims", NAME),
    ("scheduling.k8s.io", "Workload", "spec.podGroupTemplates", NAME),
    ("scheduling.k8s.io", "Workload", "spec.podGroupTemplates.resourceClaims", NAME),
    ("storage.k8s.io", "CSINode", "spec.drivers", NAME),
];

/// The keys by which server-side apply merges the list at `path` (names of fields only, without items), sorted as the
/// API declares them; `None` if the list is replaced as a whole, or the kind is not built in.
///
/// Source: `x-kubernetes-list-map-keys` in `api/openapi-spec/swagger.json` of Kubernetes 1.36.3, outside status. A
/// list that lacks it (RBAC subjects, tolerations, Ingress rules, CRD versions) is atomic.
#[must_use]
pub fn merge_keys(kind: &GroupKind, path: &[&str]) -> Option<Keys> {
    if path == ["metadata", "ownerReferences"] {
        return Some(&["uid"]);
    }
    let pod_spec = POD_SPEC_AT.iter().find(|(group, name, _at)| *group == kind.group && *name == kind.kind);
    if let Some((_group, _name, at)) = pod_spec {
        return pod_spec_keys(strip(path, at)?);
    }
    OTHER
        .iter()
        .find(|(group, name, at, _keys)| {
            *group == kind.group && *name == kind.kind && strip(path, at).is_some_and(<[_]>::is_empty)
        })
        .map(|(.., keys)| *keys)
}

/// The value that a merge key has where an item does not say it: items `{containerPort: 80}` and
/// `{containerPort: 80, protocol: TCP}` are the same item.
#[must_use]
pub fn merge_key_default(key: &str) -> Option<&'static str> {
    (key == "protocol").then_some("TCP")
}

/// The names below the PodSpec on the way to a field, if the kind is built in and the field is in one.
#[must_use]
pub fn in_pod_spec<'a, 'b>(kind: &GroupKind, path: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let (.., at) = POD_SPEC_AT.iter().find(|(group, name, _at)| *group == kind.group && *name == kind.kind)?;
    strip(path, at)
}

fn pod_spec_keys(path: &[&str]) -> Option<Keys> {
    let (first, rest) = path.split_first()?;
    if matches!(*first, "containers" | "initContainers" | "ephemeralContainers") && !rest.is_empty() {
        return lookup(CONTAINER, rest);
    }
    lookup(POD_SPEC, path)
}

fn lookup(table: &[(&str, Keys)], path: &[&str]) -> Option<Keys> {
    table.iter().find(|(at, _keys)| strip(path, at).is_some_and(<[_]>::is_empty)).map(|(_at, keys)| *keys)
}

/// `path` without the dotted `prefix`.
fn strip<'a, 'b>(path: &'a [&'b str], prefix: &str) -> Option<&'a [&'b str]> {
    prefix
        .split('.')
        .try_fold(path, |rest, name| rest.split_first().filter(|(first, _)| **first == name).map(|(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: (&str, &str), path: &str, keys: Option<Keys>) {
        let path: Vec<_> = path.split('.').collect();
        assert_eq!(merge_keys(&GroupKind::new(kind.0, kind.1), &path), keys);
    }

    #[test]
    fn follows_the_pod_spec() {
        check(("apps", "Deployment"), "spec.template.spec.containers", Some(NAME));
        check(("apps", "Deployment"), "spec.template.spec.containers.ports", Some(PORT));
        check(("apps", "Deployment"), "spec.template.spec.initContainers.resources.claims", Some(NAME));
        check(("batch", "CronJob"), "spec.jobTemplate.spec.template.spec.volumes", Some(NAME));
        check(("", "Pod"), "spec.containers.env", Some(NAME));
        check(("apps", "Deployment"), "spec.template.spec.tolerations", None);
        check(("apps", "Deployment"), "spec.template.spec.containers.args", None);
        check(("apps", "Deployment"), "spec.containers", None);
        check(("example.com", "Deployment"), "spec.template.spec.containers", None);
    }

    #[test]
    fn knows_the_others() {
        check(("", "Service"), "spec.ports", Some(&["port", "protocol"]));
        check(("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), "webhooks", Some(NAME));
        check(("rbac.authorization.k8s.io", "RoleBinding"), "subjects", None);
        check(("example.com", "Widget"), "metadata.ownerReferences", Some(&["uid"]));
        assert_eq!((merge_key_default("protocol"), merge_key_default("name")), (Some("TCP"), None));
    }
}
