//! What keeps an object from being written or deleted just now.

use manifest::{Finding, GroupKind, ObjectRef, Subject, shell_quote};

use crate::{Inputs, Lifecycle, Live, PlanCode, Presence};

/// Why an object has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// It is on its way out: a write would be lost with it.
    Deletion,
    /// It is not there, and its Namespace is on its way out.
    Namespace,
    /// A write of ours is under way.
    Write,
    /// Its kind is not watched yet: nothing is known of it.
    Watch,
}

/// Whether a write would be lost: the object is on its way out, or it is not there and its Namespace is.
pub(crate) fn hindrance(inputs: &Inputs<'_>, reference: &ObjectRef, live: Live<'_>) -> Option<Hindrance> {
    let terminating =
        |live: Live<'_>| matches!(live, Live::Present(Presence { lifecycle: Lifecycle::Terminating, .. }));
    match (live, &reference.namespace) {
        (Live::Unobserved | Live::Unserved | Live::Absent, Some(namespace)) => {
            let namespace = ObjectRef {
                cluster: reference.cluster.clone(),
                group_kind: GroupKind::new("", "Namespace"),
                namespace: None,
                name: namespace.clone(),
            };
            terminating(inputs.live.live(&namespace)).then_some(Hindrance::Namespace)
        }
        (live, _) => terminating(live).then_some(Hindrance::Deletion),
    }
}

impl Hindrance {
    /// What a person is told if it lasts.
    pub(crate) fn finding(self, reference: &ObjectRef) -> Finding {
        let ObjectRef { group_kind, namespace, name, .. } = reference;
        let namespace = namespace.as_deref().unwrap_or_default();
        let within = if namespace.is_empty() { String::new() } else { format!("-n {} ", shell_quote(namespace)) };
        let get = format!("kubectl {within}get {group_kind} {}", shell_quote(name));
        let again = || "none, it is looked at again by itself".to_owned();
        let (found, needed, fix) = match self {
            Self::Deletion => (
                "it is being deleted".to_owned(),
                "the end of the deletion",
                format!("{get} -o jsonpath='{{.metadata.finalizers}}' # names what holds it up"),
            ),
            Self::Namespace => (
                format!("its Namespace {namespace} is being deleted"),
                "the end of the deletion",
                format!(
                    "kubectl get namespace {} -o jsonpath='{{.status.conditions}}' # says what holds it up",
                    shell_quote(namespace)
                ),
            ),
            Self::Write => ("a write to it is under way".to_owned(), "its answer", again()),
            Self::Watch => {
                ("its kind is not watched yet".to_owned(), "a watch that has delivered what is there", again())
            }
        };
        Finding {
            code: PlanCode::A126.entry(),
            subject: Subject::Object { reference: reference.clone(), field: None },
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }
}
