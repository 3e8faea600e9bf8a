//! Which kinds live in a namespace: the built-in ones, and those that CustomResourceDefinitions of a set define.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{GroupKind, Scope};

/// Knows the scope of kinds.
pub trait ScopeLookup {
    /// The scope of a kind; `None` if the kind is not known.
    fn scope(&self, kind: &GroupKind) -> Option<Scope>;
}

/// The kinds built into Kubernetes 1.36, with those of alpha and beta versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuiltinScopes;

/// Group, scope, kinds: every kind with a path of its own in `api/openapi-spec/swagger.json` of Kubernetes 1.36.3.
const BUILTIN: &[(&str, Scope, &[&str])] = &[
    ("", Scope::Cluster, &["ComponentStatus", "Namespace", "Node", "PersistentVolume"]),
    (
        "",
        Scope::Namespaced,
        &[
            "Binding",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        Scope::Cluster,
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", Scope::Cluster, &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", Scope::Cluster, &["APIService"]),
    ("apps", Scope::Namespaced, &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("authentication.k8s.io", Scope::Cluster, &["SelfSubjectReview", "TokenReview"]),
    (
        "authorization.k8s.io",
        Scope::Cluster,
        &["SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"],
    ),
    ("authorization.k8s.io", Scope::Namespaced, &["LocalSubjectAccessReview"]),
    ("autoscaling", Scope::Namespaced, &["HorizontalPodAutoscaler"]),
    ("batch", Scope::Namespaced, &["CronJob", "Job"]),
    ("certificates.k8s.io", Scope::Cluster, &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("certificates.k8s.io", Scope::Namespaced, &["PodCertificateRequest"]),
    ("coordination.k8s.io", Scope::Namespaced, &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", Scope::Namespaced, &["EndpointSlice"]),
    ("events.k8s.io", Scope::Namespaced, &["Event"]),
    ("flowcontrol.apiserver.k8s.io", Scope::Cluster, &["FlowSchema", "PriorityLevelConfiguration"]),
    ("internal.apiserver.k8s.io", Scope::Cluster, &["StorageVersion"]),
    ("networking.k8s.io", Scope::Cluster, &["IPAddress", "IngressClass", "ServiceCIDR"]),
    ("networking.k8s.io", Scope::Namespaced, &["Ingress", "NetworkPolicy"]),
    ("node.k8s.io", Scope::Cluster, &["RuntimeClass"]),
    ("policy", Scope::Namespaced, &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", Scope::Cluster, &["ClusterRole", "ClusterRoleBinding"]),
    ("rbac.authorization.k8s.io", Scope::Namespaced, &["Role", "RoleBinding"]),
    (
        "resource.k8s.io",
        Scope::Cluster,
        &["DeviceClass", "DeviceTaintRule", "ResourcePoolStatusRequest", "ResourceSlice"],
    ),
    ("resource.k8s.io", Scope::Namespaced, &["ResourceClaim", "ResourceClaimTemplate"]),
    ("scheduling.k8s.io", Scope::Cluster, &["PriorityClass"]),
    ("scheduling.k8s.io", Scope::Namespaced, &["PodGroup", "Workload"]),
    (
        "storage.k8s.io",
        Scope::Cluster,
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"],
    ),
    ("storage.k8s.io", Scope::Namespaced, &["CSIStorageCapacity"]),
    ("storagemigration.k8s.io", Scope::Cluster, &["StorageVersionMigration"]),
];

impl BuiltinScopes {
    /// All built-in kinds with their scope.
    pub fn all() -> impl Iterator<Item = (GroupKind, Scope)> {
        BUILTIN.iter().flat_map(|(group, scope, kinds)| kinds.iter().map(|kind| (GroupKind::new(group, kind), *scope)))
    }
}

impl ScopeLookup for BuiltinScopes {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        BUILTIN
            .iter()
            .find(|(group, _scope, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
            .map(|(_group, scope, _kinds)| *scope)
    }
}

/// The kinds that CustomResourceDefinitions define. A kind that is defined with different scopes is not known: which
/// definition is applied last is nobody's promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrdScopes(BTreeMap<GroupKind, Defined>);

/// What the definitions of one kind say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defined {
    As(Scope),
    Contradictory,
}

impl Defined {
    const fn scope(self) -> Option<Scope> {
        match self {
            Self::As(scope) => Some(scope),
            Self::Contradictory => None,
        }
    }
}

impl CrdScopes {
    /// Takes the kinds from the CustomResourceDefinitions among `objects`; all other objects, and definitions without
    /// group, kind or a known scope, add nothing. Built-in kinds keep their scope whatever a definition says.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut scopes = Self::default();
        for object in objects {
            scopes.add(object);
        }
        scopes
    }

    /// Adds the kind that one object defines, if it is a CustomResourceDefinition.
    pub fn add(&mut self, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let is_definition = text("/kind") == Some("CustomResourceDefinition")
            && text("/apiVersion").is_some_and(|version| version.starts_with("apiextensions.k8s.io/"));
        if !is_definition {
            return;
        }
        let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) else { return };
        let scope = match text("/spec/scope") {
            Some("Namespaced") => Scope::Namespaced,
            Some("Cluster") => Scope::Cluster,
            _ => return,
        };
        let kind = GroupKind::new(group, kind);
        if BuiltinScopes.scope(&kind).is_none() {
            let defined = self.0.entry(kind).or_insert(Defined::As(scope));
            if *defined != Defined::As(scope) {
                *defined = Defined::Contradictory;
            }
        }
    }

    /// Adds what other definitions define, as if each had been added here.
    pub fn merge(&mut self, other: &Self) {
        for (kind, theirs) in &other.0 {
            let defined = self.0.entry(kind.clone()).or_insert(*theirs);
            if defined != theirs {
                *defined = Defined::Contradictory;
            }
        }
    }

    /// How many kinds are defined, contradictory ones among them.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds found, with their scope.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKind, Scope)> {
        self.0.iter().filter_map(|(kind, defined)| Some((kind, defined.scope()?)))
    }
}

impl ScopeLookup for CrdScopes {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.0.get(kind).and_then(|defined| defined.scope())
    }
}

/// Asks the first, then the second.
impl<A: ScopeLookup, B: ScopeLookup> ScopeLookup for (A, B) {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.0.scope(kind).or_else(|| self.1.scope(kind))
    }
}

impl<T: ScopeLookup + ?Sized> ScopeLookup for &T {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        (**self).scope(kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merged_definitions_are_those_of_one_set() {
        let of = |kind: &str, scope: &str| {
            CrdScopes::of([&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "spec": {"group": "g", "names": {"kind": kind}, "scope": scope},
            })])
        };
        let mut all = of("A", "Cluster");
        for other in [of("A", "Cluster"), of("B", "Cluster"), of("B", "Namespaced"), CrdScopes::default()] {
            all.merge(&other);
        }
        let scope = |kind| all.scope(&GroupKind::new("g", kind));
        assert_eq!((scope("A"), scope("B"), all.len()), (Some(Scope::Cluster), None, 2));
        // What contradicts itself stays so, whatever comes after it.
        all.merge(&of("B", "Cluster"));
        assert_eq!(all.scope(&GroupKind::new("g", "B")), None);
    }

    #[test]
    fn knows_built_in_kinds() {
        let scope = |group: &str, kind: &str| BuiltinScopes.scope(&GroupKind::new(group, kind));
        assert_eq!(scope("apps", "Deployment"), Some(Scope::Namespaced));
        assert_eq!(scope("", "Namespace"), Some(Scope::Cluster));
        assert_eq!(scope("extensions", "Deployment"), None);
        let all: Vec<_> = BuiltinScopes::all().map(|(kind, _scope)| kind).collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn takes_kinds_from_definitions() {
        let definition = |group: &str, kind: &str, scope: &str| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                   "spec": {"group": group, "names": {"kind": kind}, "scope": scope}})
        };
        let scopes = CrdScopes::of(&[
            definition("example.com", "Widget", "Namespaced"),
            definition("apps", "Deployment", "Cluster"),
            definition("example.com", "Odd", "Sideways"),
            definition("example.com", "Torn", "Cluster"),
            definition("example.com", "Torn", "Namespaced"),
            definition("example.com", "Torn", "Cluster"),
        ]);
        assert_eq!(scopes.scope(&GroupKind::new("example.com", "Torn")), None);
        assert_eq!(scopes.iter().collect::<Vec<_>>(), [(&GroupKind::new("example.com", "Widget"), Scope::Namespaced)]);
    }
}
