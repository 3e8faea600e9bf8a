//! What is said of an object that left the declaration.

use manifest::{FieldPath, Finding, Segment, Subject};

use crate::{DesiredObject, DriftReport, FieldDiff, INSTANCE_LABEL, PART_OF_LABEL, PlanCode};

/// The object is not there.
pub(crate) fn of_absence(object: &DesiredObject) -> DriftReport {
    report(object, PlanCode::D102, None, "it is gone".to_owned(), "the declared object".to_owned(), &[])
}

/// Declared fields differ; `differences` is not empty.
pub(crate) fn of_fields(object: &DesiredObject, differences: &[FieldDiff]) -> DriftReport {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    // What decided the code is what is named.
    let (code, first) = deciding(differences);
    let more = differences.len().saturating_sub(1);
    let more = if more == 0 { String::new() } else { format!(" (and {more} more fields)") };
    let found = first.map_or_else(String::new, |first| format!("it is {}{more}", shown(&first.after)));
    let needed = first.map_or_else(String::new, |first| shown(&first.before));
    report(object, code, first.map(|first| first.path.clone()), found, needed, differences)
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
        None => (PlanCode::D101, differences.first()),
    }
}

fn report(
    object: &DesiredObject,
    code: PlanCode,
    field: Option<String>,
    found: String,
    needed: String,
    differences: &[FieldDiff],
) -> DriftReport {
    let file =
        object.sources.first().map_or_else(|| "Git".to_owned(), |origin| format!("{}:{}", origin.file, origin.line));
    DriftReport {
        finding: Finding {
            code: code.entry(),
            subject: Subject::Object { reference: object.reference.clone(), field },
            rule: None,
            found,
            needed,
            fix: format!("to keep the change, commit it to {file}"),
        },
        reference: object.reference.clone(),
        differences: differences.to_vec(),
    }
}
