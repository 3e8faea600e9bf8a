//! Which other form of a declared value means the same: what the API server makes of it by itself.
//!
//! A declared field is never redefined by what is live. Only these forms are equal: quantities,
//! base64, and what the built-in types drop when it is empty. Everything else that differs does
//! differ, whoever wrote it: a webhook, a controller, or the server by a rule not listed here.
//!
//! Source of the lists: the Go types of Kubernetes 1.36.3 (`k8s.io/api`, `apiextensions-apiserver`,
//! `kube-aggregator`), stable versions, outside status.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::{BuiltinScopes, GroupKind, Quantity, ScopeLookup as _, parse_duration};
use serde_json::Value;

/// Fields that are maps with keys of the user's: the server drops an empty one, but never an entry.
/// (Empty structures such as `emptyDir: {}` say something, and stay.)
const MAPS: &[&str] = &[
    "annotations",
    "attributes",
    "binaryData",
    "capacity",
    "consumedCapacity",
    "counters",
    "data",
    "default",
    "defaultRequest",
    "definitions",
    "dependencies",
    "extra",
    "hard",
    "labels",
    "limits",
    "matchLabels",
    "max",
    "maxLimitRequestRatio",
    "min",
    "nodeSelector",
    "options",
    "overhead",
    "parameters",
    "patternProperties",
    "podFixed",
    "properties",
    "requests",
    "userAnnotations",
    "volumeAttributes",
];

/// Maps of quantities. The server rounds them up to thousandths.
const RESOURCE_LISTS: &[&str] = &[
    "capacity",
    "default",
    "defaultRequest",
    "hard",
    "limits",
    "max",
    "maxLimitRequestRatio",
    "min",
    "overhead",
    "podFixed",
    "requests",
];

/// Single quantities.
const QUANTITIES: &[&str] =
    &["averageValue", "divisor", "maximumVolumeSize", "sizeLimit", "targetAverageValue", "targetValue", "tolerance"];

/// Fields whose `false`, `0` or `""` the server drops, so that absence is the only form they have:
/// in Go no pointers, and `omitempty`. Those that some type has as a pointer are listed only where
/// absence means the same there (`readOnly`, `apiGroup`, `path`, …; not `storageClassName`, and no
/// field whose default is another value).
const DROPPED: &[&str] = &[
    "apiGroup",
    "audience",
    "caBundle",
    "chapAuthDiscovery",
    "chapAuthSession",
    "clusterIP",
    "clusterScope",
    "container",
    "containerName",
    "deprecated",
    "description",
    "effect",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalName",
    "externalTrafficPolicy",
    "field",
    "fieldPath",
    "format",
    "fsType",
    "globalDefault",
    "group",
    "healthCheckNodePort",
    "host",
    "hostIP",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "hostname",
    "id",
    "initialDelaySeconds",
    "insecureSkipTLSVerify",
    "ip",
    "key",
    "listKind",
    "loadBalancerIP",
    "medium",
    "message",
    "messageExpression",
    "minReadySeconds",
    "name",
    "namespace",
    "nodeName",
    "nodePort",
    "nullable",
    "number",
    "operator",
    "partition",
    "path",
    "pattern",
    "paused",
    "podCIDR",
    "policyName",
    "preserveUnknownFields",
    "priority",
    "priorityClassName",
    "providerID",
    "publishNotReadyAddresses",
    "readOnly",
    "resource",
    "role",
    "secretFile",
    "serviceAccount",
    "serviceAccountName",
    "singular",
    "sslEnabled",
    "stdin",
    "stdinOnce",
    "subPath",
    "subPathExpr",
    "subdomain",
    "title",
    "tty",
    "type",
    "uniqueItems",
    "unschedulable",
    "user",
    "username",
    "value",
    "volumeName",
    "volumeNamespace",
    "workingDir",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
];

/// What the server makes of a probe's `0`.
const PROBE_DEFAULTS: &[(&str, u64)] =
    &[("failureThreshold", 3), ("periodSeconds", 10), ("successThreshold", 1), ("timeoutSeconds", 1)];

/// What the server makes of `""`.
const TEXT_DEFAULTS: &[(&str, &[&str])] = &[
    ("apiGroup", &["rbac.authorization.k8s.io"]),
    ("concurrencyPolicy", &["Allow"]),
    ("dnsPolicy", &["ClusterFirst"]),
    ("imagePullPolicy", &["Always", "IfNotPresent"]),
    ("path", &["/"]),
    ("podManagementPolicy", &["OrderedReady"]),
    ("protocol", &["TCP"]),
    ("restartPolicy", &["Always"]),
    ("schedulerName", &["default-scheduler"]),
    ("scheme", &["HTTP"]),
    ("sessionAffinity", &["None"]),
    ("terminationMessagePath", &["/dev/termination-log"]),
    ("terminationMessagePolicy", &["File", "FallbackToLogsOnError"]),
    ("type", &["ClusterIP", "Opaque", "RollingUpdate"]),
];

/// Fields that the server fills with a value of its own choice: group, kind, field.
const ALLOCATED: &[(&str, &str, &str)] = &[
    ("", "Service", "clusterIP"),
    ("", "Service", "healthCheckNodePort"),
    ("", "Service", "nodePort"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "listKind"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "singular"),
];

/// Lists without merge keys whose order means nothing, outside status: group, kind, path.
const SETS: &[(&str, &str, &[&str])] = &[
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", &["spec", "validationActions"]),
    ("storage.k8s.io", "CSIDriver", &["spec", "volumeLifecycleModes"]),
];

/// What the API server does to the objects of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerForm<'a> {
    kind: &'a GroupKind,
    /// Whether the kind has a Go type. Custom resources are stored as they were sent, except for
    /// their metadata.
    built_in: bool,
}

impl<'a> ServerForm<'a> {
    pub(crate) fn of(kind: &'a GroupKind) -> Self {
        Self { kind, built_in: BuiltinScopes.scope(kind).is_some() }
    }

    /// Whether the server drops `declared` from the field at `path` (names of fields only).
    pub(crate) fn drops(&self, path: &[&str], declared: &Value) -> bool {
        let (name, parent) = ends(path);
        match declared {
            Value::Null => true,
            _ if !self.is_typed(path) => false,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty() && (MAPS.contains(&name) || self.is_selector_map(name)),
            _ if is_entry(parent) => false,
            Value::String(text) if text.is_empty() => DROPPED.contains(&name) || self.is_volume_class(name),
            Value::Bool(false) => DROPPED.contains(&name),
            Value::Number(number) => number.as_u64() == Some(0) && DROPPED.contains(&name),
            Value::Bool(_) | Value::String(_) => false,
        }
    }

    /// Whether `live` is the server's form of `declared`, two values that are not the same, and not
    /// two objects or two lists.
    pub(crate) fn same(&self, path: &[&str], declared: &Value, live: &Value) -> bool {
        let (name, parent) = ends(path);
        match (declared, live) {
            (Value::Number(one), Value::Number(two)) => {
                (one.is_f64() || two.is_f64()) && one.as_f64() == two.as_f64()
                    || self.is_default(name, parent, declared, live)
            }
            // Nothing is declared; a typed field then has its default.
            (Value::Null, _) => self.is_typed(path),
            (declared, Value::Null) => self.drops(path, declared),
            // Custom resources are stored as they were sent, and whoever reads them takes either form.
            _ if !self.is_typed(path) => !self.built_in && is_duration(name) && same_duration(declared, live),
            (declared, live) => {
                self.is_default(name, parent, declared, live)
                    || self.same_quantity(name, parent, declared, live)
                    || name == "caBundle" && same_bytes(declared, live)
            }
        }
    }

    /// Whether the order of the list at `path`, which has no merge keys, means nothing.
    pub(crate) fn is_set(&self, path: &[&str]) -> bool {
        path == ["metadata", "finalizers"]
            || SETS.iter().any(|(group, kind, at)| *group == self.kind.group && *kind == self.kind.kind && *at == path)
    }

    /// Whether a controller of Kubernetes itself writes what `declared` leaves empty.
    pub(crate) fn is_filled(&self, declared: &Value, name: &str, value: &Value) -> bool {
        // The rules of an aggregated role.
        self.is("rbac.authorization.k8s.io", "ClusterRole")
            && name == "rules"
            && value.as_array().is_some_and(Vec::is_empty)
            && declared.get("aggregationRule").is_some_and(|rule| !rule.is_null())
    }

    /// Whether `item`, of the list at `path`, is one that the admission of Pods adds to each.
    pub(crate) fn is_admitted(&self, path: &[&str], item: &Value) -> bool {
        const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
        let is = |field: &str, text: &str| item.get(field).and_then(Value::as_str) == Some(text);
        self.is("", "Pod")
            && path == ["spec", "tolerations"]
            && KEYS.iter().any(|key| is("key", key))
            && is("operator", "Exists")
            && is("effect", "NoExecute")
            && item.get("tolerationSeconds").and_then(Value::as_u64) == Some(300)
    }

    fn is(&self, group: &str, kind: &str) -> bool {
        self.kind.group == group && self.kind.kind == kind
    }

    /// Whether the field has a Go type. Defaults and examples in a schema are kept as sent.
    fn is_typed(&self, path: &[&str]) -> bool {
        if !self.built_in {
            return path.first() == Some(&"metadata");
        }
        let raw = |name: &&str| matches!(*name, "default" | "enum" | "example");
        !(self.is("apiextensions.k8s.io", "CustomResourceDefinition") && path.iter().any(raw))
    }

    /// `selector` is a map of labels in two kinds, and a structure in all others.
    fn is_selector_map(&self, name: &str) -> bool {
        name == "selector" && (self.is("", "Service") || self.is("", "ReplicationController"))
    }

    /// `storageClassName: ""` says "none" in a claim, and nothing in a volume.
    fn is_volume_class(&self, name: &str) -> bool {
        name == "storageClassName" && self.is("", "PersistentVolume")
    }

    /// Whether the server puts `live` where `declared` is empty.
    fn is_default(&self, name: &str, parent: &str, declared: &Value, live: &Value) -> bool {
        let (no_text, zero) = (declared.as_str() == Some(""), declared.as_u64() == Some(0));
        if !self.built_in || is_entry(parent) || !no_text && !zero {
            return false;
        }
        let text = |default: &&str| live.as_str() == Some(default);
        ALLOCATED.iter().any(|(group, kind, field)| *field == name && self.is(group, kind))
            || no_text && TEXT_DEFAULTS.iter().any(|(field, defaults)| *field == name && defaults.iter().any(text))
            || zero
                && parent.ends_with("Probe")
                && PROBE_DEFAULTS.iter().any(|(field, default)| *field == name && live.as_u64() == Some(*default))
    }

    fn same_quantity(&self, name: &str, parent: &str, declared: &Value, live: &Value) -> bool {
        const MILLI: i128 = 1_000_000;
        let in_list = RESOURCE_LISTS.contains(&parent);
        let single = !is_entry(parent) && (QUANTITIES.contains(&name) || name == "value" && parent == "target");
        let step = |quantity: Quantity| match (in_list, quantity.nanos()) {
            (true, nanos) => nanos.div_euclid(MILLI) + i128::from(nanos.rem_euclid(MILLI) != 0),
            (false, nanos) => nanos,
        };
        self.built_in
            && (in_list || single)
            && matches!((Quantity::of(declared), Quantity::of(live)), (Some(one), Some(two)) if step(one) == step(two))
    }
}

/// The last name of a path and the one before it.
fn ends<'a>(path: &[&'a str]) -> (&'a str, &'a str) {
    match path {
        [.., parent, name] => (name, parent),
        [name] => (name, ""),
        [] => ("", ""),
    }
}

/// Whether what stands in `parent` is an entry with a key of the user's.
fn is_entry(parent: &str) -> bool {
    MAPS.contains(&parent) || parent == "selector"
}

/// Whether custom resources usually have a duration in a field of this name.
fn is_duration(name: &str) -> bool {
    const ENDS: [&str; 8] = ["after", "delay", "duration", "interval", "period", "timeout", "ttl", "window"];
    let name = name.to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

fn same_duration(declared: &Value, live: &Value) -> bool {
    let duration = |value: &Value| parse_duration(value.as_str()?);
    matches!((duration(declared), duration(live)), (Some(one), Some(two)) if one == two)
}

fn same_bytes(declared: &Value, live: &Value) -> bool {
    let bytes = |value: &Value| {
        let text: String = value.as_str()?.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        STANDARD.decode(text).ok()
    };
    matches!((bytes(declared), bytes(live)), (Some(one), Some(two)) if one == two)
}

#[cfg(test)]
#[path = "server_form_tests.rs"]
mod tests;
