//! What is said of an object that left the declaration.

use manifest::{FieldPath, Finding, ObjectRef, Segment, Subject, counted, shell_quote};

use crate::{
    Attribution, DesiredObject, DriftReport, DriftSeen, FieldDiff, INSTANCE_LABEL, PART_OF_LABEL, PRUNE_ANNOTATION,
    PlanCode,
};

/// How an object came to be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// It was deleted.
    Deleted,
    /// It is there, without the label we watch by.
    Stripped,
    /// Another object has its name.
    Replaced,
}

impl DriftReport {
    /// The object is not there, or not to be seen.
    #[must_use]
    pub fn of_absence(object: &DesiredObject, absence: Absence) -> Self {
        let (code, found, fix) = match absence {
            Absence::Deleted => (PlanCode::D102, "it is gone".to_owned(), leave(object)),
            Absence::Stripped => {
                (PlanCode::D103, format!("it no longer carried the label {INSTANCE_LABEL}"), release(object))
            }
            Absence::Replaced => (PlanCode::D104, "another object has its name".to_owned(), keep(object)),
        };
        report(object, code, None, found, "the declared object".to_owned(), fix, &[])
    }

    /// Declared fields differ; `differences` is not empty.
    #[must_use]
    pub fn of_fields(object: &DesiredObject, differences: &[FieldDiff], seen: DriftSeen) -> Self {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        // What decided the code is what is named.
        let (code, first) = deciding(differences);
        let more = differences.len().saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" (and {})", counted(more, "more field")) };
        let found = first.map_or_else(String::new, |first| format!("it is {}{more}", shown(&first.after)));
        let needed = first.map_or_else(String::new, |first| shown(&first.before));
        let (code, found, fix) = match (code, seen) {
            (PlanCode::D101, DriftSeen::Answer) => {
                (PlanCode::D106, format!("{found} in the answer to our own write"), find(object))
            }
            (PlanCode::D101 | PlanCode::D103, DriftSeen::Replacement) => {
                (PlanCode::D104, format!("another object has its name; {found}"), keep(object))
            }
            (code @ (PlanCode::D103 | PlanCode::D105), _) => (code, found, release(object)),
            (code, _) => (code, found, keep(object)),
        };
        report(object, code, first.map(|first| first.path.clone()), found, needed, fix, differences)
    }

    /// What was seen of an object that is written again after each revert. `times`: reverts within a
    /// minute.
    #[must_use]
    pub fn of_fight(object: &DesiredObject, seen: &Self, times: u32) -> Self {
        let mut report = seen.clone();
        report.finding.code = PlanCode::D107.entry();
        report.finding.found =
            format!("{}, was put back {times} times within a minute and is written again", seen.finding.found).into();
        report.finding.fix = stop(object).into();
        report
    }
}

/// Labels of ownership before other fields: who owns the object matters more than what it says.
fn deciding(differences: &[FieldDiff]) -> (PlanCode, Option<&FieldDiff>) {
    let at = |names: &[&str]| {
        let path = FieldPath::new(names.iter().map(|name| Segment::Field((*name).to_owned())).collect()).to_string();
        differences.iter().find(|difference| difference.path == path)
    };
    let part_of = at(&["metadata", "labels", PART_OF_LABEL]);
    if let Some(taken) = part_of.filter(|difference| difference.after.is_some()) {
        return (PlanCode::D105, Some(taken));
    }
    // All labels, or all metadata, may be gone at once.
    let whole = || at(&["metadata", "labels"]).or_else(|| at(&["metadata"]));
    match part_of.or_else(|| at(&["metadata", "labels", INSTANCE_LABEL])).or_else(whole) {
        Some(stripped) => (PlanCode::D103, Some(stripped)),
        None => (PlanCode::D101, worst(differences)),
    }
}

/// The first of those that matter most.
fn worst(differences: &[FieldDiff]) -> Option<&FieldDiff> {
    // Of several that are as grave `max_by_key` gives the last.
    differences.iter().rev().max_by_key(|difference| difference.class.severity())
}

/// Whether both labels of ownership are as declared.
pub(crate) fn keeps_labels(differences: &[FieldDiff]) -> bool {
    deciding(differences).0 == PlanCode::D101
}

fn file(object: &DesiredObject) -> String {
    object.sources.first().map_or_else(|| "Git".to_owned(), |origin| format!("{}:{}", origin.file, origin.line))
}

fn keep(object: &DesiredObject) -> String {
    format!("to keep the change, commit it to {}", file(object))
}

/// What is gone is kept gone by Git alone.
fn leave(object: &DesiredObject) -> String {
    format!("to keep it away, remove it from {}", file(object))
}

/// The labels of ownership are writ's: whatever a manifest says, they come back as long as it declares the object.
fn release(object: &DesiredObject) -> String {
    format!("to give the object away, commit {PRUNE_ANNOTATION}: never to {}, then remove it there", file(object))
}

/// Whoever rewrites what is written is asked for by name, each kind by itself: not every server has both. A field that the kind
/// does not have is dropped.
fn find(object: &DesiredObject) -> String {
    format!(
        "kubectl get mutatingwebhookconfigurations; kubectl get mutatingadmissionpolicies # find what rewrites it, or \
         declare in {} what is stored",
        file(object)
    )
}

/// Whoever writes a field is named in the object itself.
fn stop(object: &DesiredObject) -> String {
    let ObjectRef { group_kind, namespace, name, .. } = &object.reference;
    let namespace = namespace.as_ref().map_or_else(String::new, |namespace| format!("-n {} ", shell_quote(namespace)));
    format!(
        "kubectl {namespace}get {group_kind} {} -o yaml --show-managed-fields # find what writes it and stop that, or \
         leave the field out of {}, or set drift.mode to Flag",
        shell_quote(name),
        file(object)
    )
}

fn report(
    object: &DesiredObject,
    code: PlanCode,
    field: Option<String>,
    found: String,
    needed: String,
    fix: String,
    differences: &[FieldDiff],
) -> DriftReport {
    DriftReport {
        finding: Finding {
            code: code.entry(),
            subject: Subject::Object { reference: object.reference.clone(), field },
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        },
        reference: object.reference.clone(),
        differences: differences.to_vec(),
        by: Attribution::default(),
    }
}
