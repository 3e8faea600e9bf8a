//! What kind of field has drifted, and how much that matters.

use std::fmt;

use manifest::GroupKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// How much a drift of a field matters. From [`Severity::High`] on a field is of high risk: it is put back however often it
/// is written, and people are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Ordinary work that leaves a trace.
    Info,
    /// Changes nothing that runs.
    Low,
    /// Changes how the workload runs.
    Medium,
    /// Changes what it may reach, or what reaches it.
    High,
    /// Changes which code runs, or who may do what.
    Critical,
}

impl Severity {
    /// All, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word for it in JSON, metrics and rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a field is for. The order is that of [`FieldClass::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldClass {
    /// A container, whole.
    Container,
    /// The image of a container.
    Image,
    /// What a container is told to run.
    Command,
    /// What a process may do on its node.
    SecurityContext,
    /// Who may do what: roles, bindings, the account of a Pod.
    Rbac,
    /// What the API server asks, or does by itself, before it stores anything.
    Webhook,
    /// Who may talk to whom.
    NetworkPolicy,
    /// Which Secret is read.
    SecretReference,
    /// The content of a Secret.
    SecretData,
    /// A variable of the environment.
    Env,
    /// A volume, or where it is mounted.
    Volume,
    /// Labels of ownership: without them nothing is seen.
    Ownership,
    /// Where traffic goes.
    Traffic,
    /// The content of a ConfigMap.
    Data,
    /// How many there are.
    Replicas,
    /// What may be used of a node.
    Resources,
    /// When a container counts as alive or ready.
    Probe,
    /// On which nodes, and in which order.
    Scheduling,
    /// Labels.
    Labels,
    /// Annotations.
    Annotations,
    /// What people do in the course of operation.
    Operational,
    /// The object itself.
    Object,
    /// Everything else.
    Other,
}

/// A class with its word, its severity, and why it is of this severity.
struct Line(FieldClass, &'static str, Severity, &'static str);

#[rustfmt::skip]
const LINES: &[Line] = &[
    Line(FieldClass::Container, "container", Severity::Critical, "a container that nobody ordered is code that nobody reviewed"),
    Line(FieldClass::Image, "image", Severity::Critical, "another image is other code, with all that the workload may do"),
    Line(FieldClass::Command, "command", Severity::Critical, "a command turns any image into a shell"),
    Line(FieldClass::SecurityContext, "securityContext", Severity::Critical, "one flag is the way from the container to its node"),
    Line(FieldClass::Rbac, "rbac", Severity::Critical, "whoever adds a subject or a rule stays in after everything else is put back"),
    Line(FieldClass::Webhook, "webhook", Severity::Critical, "who answers admission sees and changes every object, or switches a policy off"),
    Line(FieldClass::NetworkPolicy, "networkPolicy", Severity::High, "an open path is how data leaves"),
    Line(FieldClass::SecretReference, "secretReference", Severity::High, "another reference hands another Secret to the process"),
    Line(FieldClass::SecretData, "secretData", Severity::High, "credentials of somebody else are logged in with, or data is sent to them"),
    Line(FieldClass::Env, "env", Severity::High, "variables load libraries, name servers and switch checks off"),
    Line(FieldClass::Volume, "volume", Severity::High, "a path of the node or another claim is data of somebody else"),
    Line(FieldClass::Ownership, "ownership", Severity::High, "an object that lost its labels is no longer watched"),
    Line(FieldClass::Traffic, "traffic", Severity::Medium, "a selector or a port sends users elsewhere"),
    Line(FieldClass::Data, "data", Severity::Medium, "what a workload is configured with is what it does"),
    Line(FieldClass::Replicas, "replicas", Severity::Medium, "too few are an outage, and scaling by hand is the most usual drift there is"),
    Line(FieldClass::Probe, "probe", Severity::Medium, "a probe that always answers hides an outage"),
    Line(FieldClass::Resources, "resources", Severity::Low, "limits change how fast it is, and what a neighbour is left with"),
    Line(FieldClass::Scheduling, "scheduling", Severity::Low, "it runs elsewhere, as the same thing"),
    Line(FieldClass::Labels, "labels", Severity::Low, "selectors of others may read them"),
    Line(FieldClass::Annotations, "annotations", Severity::Low, "notes of tools, which some controllers obey"),
    Line(FieldClass::Operational, "operational", Severity::Info, "a restart by hand is ordinary work"),
    Line(FieldClass::Object, "object", Severity::High, "what is gone does nothing any more"),
    Line(FieldClass::Other, "other", Severity::Medium, "nothing is known of it that would make it harmless"),
];

impl FieldClass {
    /// All.
    pub const ALL: [Self; 23] = [
        Self::Container,
        Self::Image,
        Self::Command,
        Self::SecurityContext,
        Self::Rbac,
        Self::Webhook,
        Self::NetworkPolicy,
        Self::SecretReference,
        Self::SecretData,
        Self::Env,
        Self::Volume,
        Self::Ownership,
        Self::Traffic,
        Self::Data,
        Self::Replicas,
        Self::Probe,
        Self::Resources,
        Self::Scheduling,
        Self::Labels,
        Self::Annotations,
        Self::Operational,
        Self::Object,
        Self::Other,
    ];

    fn line(self) -> Option<&'static Line> {
        LINES.iter().find(|line| line.0 == self)
    }

    /// The word for it in JSON, metrics and rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.line().map_or("other", |line| line.1)
    }

    /// How much a drift of such a field matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        // A class without a line would be one of which nothing is known; a test finds it.
        self.line().map_or(Severity::Critical, |line| line.2)
    }

    /// Why it matters so much.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.line().map_or("", |line| line.3)
    }
}

impl fmt::Display for FieldClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for FieldClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Fields of a container, by the first names below it.
const CONTAINER: &[(&[&str], FieldClass)] = &[
    (&["image"], FieldClass::Image),
    (&["command"], FieldClass::Command),
    (&["args"], FieldClass::Command),
    (&["workingDir"], FieldClass::Command),
    (&["lifecycle"], FieldClass::Command),
    (&["livenessProbe", "exec"], FieldClass::Command),
    (&["readinessProbe", "exec"], FieldClass::Command),
    (&["startupProbe", "exec"], FieldClass::Command),
    (&["livenessProbe"], FieldClass::Probe),
    (&["readinessProbe"], FieldClass::Probe),
    (&["startupProbe"], FieldClass::Probe),
    (&["securityContext"], FieldClass::SecurityContext),
    (&["env", "valueFrom", "secretKeyRef"], FieldClass::SecretReference),
    (&["envFrom", "secretRef"], FieldClass::SecretReference),
    (&["env"], FieldClass::Env),
    (&["envFrom"], FieldClass::Env),
    (&["volumeMounts"], FieldClass::Volume),
    (&["volumeDevices"], FieldClass::Volume),
    (&["resources"], FieldClass::Resources),
    (&["resizePolicy"], FieldClass::Resources),
    (&["ports", "hostPort"], FieldClass::SecurityContext),
    (&["ports"], FieldClass::Traffic),
    (&[], FieldClass::Container),
];

/// Fields of a Pod, by the first names below its `spec`.
const POD: &[(&[&str], FieldClass)] = &[
    (&["securityContext"], FieldClass::SecurityContext),
    (&["hostNetwork"], FieldClass::SecurityContext),
    (&["hostPID"], FieldClass::SecurityContext),
    (&["hostIPC"], FieldClass::SecurityContext),
    (&["hostUsers"], FieldClass::SecurityContext),
    (&["shareProcessNamespace"], FieldClass::SecurityContext),
    (&["runtimeClassName"], FieldClass::SecurityContext),
    (&["serviceAccountName"], FieldClass::Rbac),
    (&["serviceAccount"], FieldClass::Rbac),
    (&["automountServiceAccountToken"], FieldClass::Rbac),
    (&["imagePullSecrets"], FieldClass::SecretReference),
    (&["volumes", "secret"], FieldClass::SecretReference),
    (&["volumes", "projected", "sources", "secret"], FieldClass::SecretReference),
    (&["volumes"], FieldClass::Volume),
    (&["hostAliases"], FieldClass::Traffic),
    (&["dnsConfig"], FieldClass::Traffic),
    (&["dnsPolicy"], FieldClass::Traffic),
    (&["resources"], FieldClass::Resources),
    (&["nodeSelector"], FieldClass::Scheduling),
    (&["nodeName"], FieldClass::Scheduling),
    (&["affinity"], FieldClass::Scheduling),
    (&["tolerations"], FieldClass::Scheduling),
    (&["topologySpreadConstraints"], FieldClass::Scheduling),
    (&["priorityClassName"], FieldClass::Scheduling),
    (&["schedulerName"], FieldClass::Scheduling),
];

/// Names under which kinds of all groups hold containers.
const CONTAINERS: [&str; 3] = ["containers", "ephemeralContainers", "initContainers"];

/// Kinds of which every field outside `metadata` is of one class: group, kinds, class.
const KINDS: &[(&str, &[&str], FieldClass)] = &[
    ("", &["ConfigMap"], FieldClass::Data),
    ("", &["Secret"], FieldClass::SecretData),
    ("", &["ServiceAccount"], FieldClass::Rbac),
    ("", &["Endpoints", "Service"], FieldClass::Traffic),
    ("", &["LimitRange", "ResourceQuota"], FieldClass::Resources),
    ("", &["PersistentVolume", "PersistentVolumeClaim"], FieldClass::Volume),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        FieldClass::Webhook,
    ),
    ("apiregistration.k8s.io", &["APIService"], FieldClass::Webhook),
    ("autoscaling", &["HorizontalPodAutoscaler"], FieldClass::Replicas),
    ("discovery.k8s.io", &["EndpointSlice"], FieldClass::Traffic),
    ("gateway.networking.k8s.io", &["Gateway", "GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute"], FieldClass::Traffic),
    ("networking.istio.io", &["DestinationRule", "Gateway", "ServiceEntry", "VirtualService"], FieldClass::Traffic),
    ("networking.k8s.io", &["Ingress", "IngressClass"], FieldClass::Traffic),
    ("networking.k8s.io", &["NetworkPolicy"], FieldClass::NetworkPolicy),
    ("cilium.io", &["CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy"], FieldClass::NetworkPolicy),
    ("policy.networking.k8s.io", &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"], FieldClass::NetworkPolicy),
    ("crd.projectcalico.org", &["GlobalNetworkPolicy", "NetworkPolicy"], FieldClass::NetworkPolicy),
    ("projectcalico.org", &["GlobalNetworkPolicy", "NetworkPolicy"], FieldClass::NetworkPolicy),
    (
        "security.istio.io",
        &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"],
        FieldClass::NetworkPolicy,
    ),
    ("kyverno.io", &["ClusterPolicy", "Policy"], FieldClass::Webhook),
    ("scheduling.k8s.io", &["PriorityClass"], FieldClass::Scheduling),
    ("storage.k8s.io", &["StorageClass"], FieldClass::Volume),
];

/// What a field is for, by the names on the way to it (list items have none). No names: the object itself.
#[must_use]
pub fn classify(kind: &GroupKind, names: &[&str]) -> FieldClass {
    match names {
        [] => whole(kind),
        ["metadata", rest @ ..] => metadata(kind, rest),
        ["apiVersion" | "kind"] => FieldClass::Other,
        _ => spec(kind, names),
    }
}

/// An object that is gone is as grave as what it declared, where that is of one class.
fn whole(kind: &GroupKind) -> FieldClass {
    of_kind(kind).filter(|class| class.severity() > FieldClass::Object.severity()).unwrap_or(FieldClass::Object)
}

fn of_kind(kind: &GroupKind) -> Option<FieldClass> {
    if kind.group == "rbac.authorization.k8s.io" {
        return Some(FieldClass::Rbac);
    }
    let known = KINDS.iter().find(|(group, kinds, _)| *group == kind.group && kinds.contains(&kind.kind.as_str()));
    known.map(|(.., class)| *class)
}

fn metadata(kind: &GroupKind, names: &[&str]) -> FieldClass {
    let of_kind = of_kind(kind);
    match names {
        ["labels", name, ..] | ["annotations", name, ..] if is_ours(name) => FieldClass::Ownership,
        // Labels take a role into others, and annotations give an account rights outside the cluster.
        ["labels" | "annotations", ..] if of_kind == Some(FieldClass::Rbac) => FieldClass::Rbac,
        ["labels", name, ..] if name.starts_with("pod-security.kubernetes.io/") => FieldClass::SecurityContext,
        // Controllers of traffic are configured by them.
        ["annotations", ..] if of_kind == Some(FieldClass::Traffic) => FieldClass::Traffic,
        ["labels", ..] => FieldClass::Labels,
        ["annotations", name, ..] if is_operational(name) => FieldClass::Operational,
        ["annotations", ..] => FieldClass::Annotations,
        ["ownerReferences" | "finalizers", ..] | [] => FieldClass::Ownership,
        _ => FieldClass::Other,
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("writ.dev/") || name.starts_with("applyset.kubernetes.io/")
}

fn is_operational(name: &str) -> bool {
    name == "kubectl.kubernetes.io/restartedAt"
}

fn spec(kind: &GroupKind, names: &[&str]) -> FieldClass {
    // Their keys are the user's.
    if kind.group.is_empty() && matches!(kind.kind.as_str(), "ConfigMap" | "Secret") {
        return of_kind(kind).unwrap_or(FieldClass::Other);
    }
    // The metadata of a template is metadata.
    if let Some(at) = names.windows(2).position(|pair| matches!(pair, ["template" | "jobTemplate", "metadata"])) {
        return metadata(kind, names.get(at + 2..).unwrap_or_default());
    }
    if let Some(at) = names.iter().position(|name| CONTAINERS.contains(name)) {
        return first(CONTAINER, names.get(at + 1..).unwrap_or_default()).unwrap_or(FieldClass::Other);
    }
    if kind.group == "apiextensions.k8s.io" && names.starts_with(&["spec", "conversion"]) {
        return FieldClass::Webhook;
    }
    if let Some(class) = of_kind(kind) {
        return class;
    }
    if matches!(names, ["spec", "replicas"]) {
        return FieldClass::Replicas;
    }
    let pod = match names.iter().rposition(|name| *name == "template") {
        Some(at) => names.get(at + 1..).unwrap_or_default(),
        None => names,
    };
    match pod {
        ["spec", rest @ ..] => first(POD, rest).unwrap_or(FieldClass::Other),
        _ => FieldClass::Other,
    }
}

/// The first line whose names the path begins with; the line without names is for the thing itself alone.
fn first(table: &[(&[&str], FieldClass)], names: &[&str]) -> Option<FieldClass> {
    table
        .iter()
        .find(|(begin, _)| if begin.is_empty() { names.is_empty() } else { names.starts_with(begin) })
        .map(|(_, class)| *class)
}

#[cfg(test)]
#[path = "field_class_tests.rs"]
mod tests;
