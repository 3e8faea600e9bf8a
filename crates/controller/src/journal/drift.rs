//! Entries about drift: what is put back, what is left, and what came of it. They say all that a record of drift is made of, so
//! that the log alone tells ([`plan::facts`]).

use std::collections::BTreeMap;

use audit::{Durability, Entry, EntryKind, LogError, Receipt};
use jiff::Timestamp;
use manifest::{Finding, ObjectRef};
use plan::{ApprovedPlan, Cause, DesiredState, DriftReport, SyncRef};
use serde_json::{Map, Value, json};

use super::{Journal, codes, count_suppressed, difference_json, entry, plan_body, plan_entry};

/// How often each of some objects drifted since its last entry without one of its own.
pub(crate) type Counts<'a> = &'a [(ObjectRef, u64)];

/// How an object came to be as declared again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// A revert that had failed, or was fought, did it.
    RevertedLate,
    /// Not by writ, or a newer revision says the same as is live, or it is no longer declared.
    Lifted,
}

impl Journal {
    /// Drift is about to be reverted.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn revert(
        &self,
        now: Timestamp,
        plan: &ApprovedPlan,
        accepted: Option<&DesiredState>,
        counts: Counts<'_>,
    ) -> Result<Receipt, LogError> {
        let mut entry = plan_entry(EntryKind::Revert, now, plan);
        entry.codes = codes(plan.reports().iter().map(|report| &report.finding));
        count_suppressed(&mut entry, suppressed(counts));
        let mut body = plan_body(plan);
        if let ([_], [report]) = (plan.changes(), plan.reports()) {
            describe(&mut entry, report, accepted);
        } else if let Some(changes) = body.get_mut("changes").and_then(Value::as_array_mut) {
            let told: BTreeMap<String, &DriftReport> =
                plan.reports().iter().map(|report| (report.reference.to_string(), report)).collect();
            for change in changes.iter_mut().filter_map(Value::as_object_mut) {
                let report = change.get("object").and_then(Value::as_str).and_then(|object| told.get(object));
                if let Some(report) = report.copied() {
                    change.append(&mut of_object(report, accepted, counts));
                }
            }
        }
        self.append_plan(&entry, &body, plan, Durability::Grouped)
    }

    /// Drift is reported and left alone.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn flag(
        &self,
        now: Timestamp,
        sync: &SyncRef,
        reports: &[DriftReport],
        accepted: Option<&DesiredState>,
        counts: Counts<'_>,
    ) -> Result<Receipt, LogError> {
        let name = sync.to_string();
        let mut entry = entry(EntryKind::Flag, now, [("sync", name.as_str()), ("origin", "drift")]);
        entry.codes = codes(reports.iter().map(|report| &report.finding));
        entry.subject.extend(accepted.map(|state| ("commit".to_owned(), state.commit().id().to_string())));
        if let [report] = reports {
            entry.subject.insert("object".to_owned(), report.reference.to_string());
            describe(&mut entry, report, accepted);
        }
        entry.counts.insert("objects".to_owned(), reports.len() as u64);
        count_suppressed(&mut entry, suppressed(counts));
        let each = |report| report_json(report, accepted, counts);
        let body = json!({ "drift": reports.iter().map(each).collect::<Vec<_>>() });
        self.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Grouped)
    }

    /// Reverts or flags (`kind`) of objects in past minutes that had no entry of their own.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn counted(
        &self,
        now: Timestamp,
        kind: EntryKind,
        sync: &SyncRef,
        counts: Counts<'_>,
    ) -> Result<Receipt, LogError> {
        let mut entry = entry(kind, now, [("sync", &*sync.to_string()), ("origin", "drift"), ("result", "counted")]);
        entry.counts.insert("objects".to_owned(), counts.len() as u64);
        entry.counts.insert("suppressed".to_owned(), suppressed(counts));
        let each = |(object, count): &(ObjectRef, u64)| json!({ "object": object.to_string(), "suppressed": count });
        let body = json!({ "counted": counts.iter().map(each).collect::<Vec<_>>() });
        self.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Grouped)
    }

    /// What a Sync says about its objects was edited and is about to be put back.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn inventory(
        &self,
        now: Timestamp,
        sync: &SyncRef,
        finding: &Finding,
        suppressed: u64,
    ) -> Result<Receipt, LogError> {
        let mut entry = entry(EntryKind::Revert, now, [("sync", &*sync.to_string()), ("origin", "inventory")]);
        entry.codes = codes([finding]);
        count_suppressed(&mut entry, suppressed);
        self.append(&entry, None, None, Durability::Grouped)
    }

    /// A revert of an object that was not to be seen was answered: it had not been deleted.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn turned_out(&self, now: Timestamp, sync: &SyncRef, report: &DriftReport) -> Result<Receipt, LogError> {
        let mut entry = outcome(now, sync, &report.reference, "reverted");
        entry.codes = codes([&report.finding]);
        self.append(&entry, None, None, Durability::Grouped)
    }

    /// A revert was not carried out.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn revert_failed(
        &self,
        now: Timestamp,
        sync: &SyncRef,
        object: &ObjectRef,
        finding: &Finding,
    ) -> Result<Receipt, LogError> {
        let mut entry = outcome(now, sync, object, "failed");
        entry.codes = codes([finding]);
        self.append(&entry, None, None, Durability::Grouped)
    }

    /// An object that had drifted is as declared, or no longer declared. `declared`: digest of what is declared by now.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn drift_over(
        &self,
        now: Timestamp,
        sync: &str,
        object: &str,
        (over, declared): (Over, Option<&str>),
    ) -> Result<Receipt, LogError> {
        let subject = [("sync", sync), ("object", object), ("origin", "drift")];
        let mut entry = match over {
            Over::RevertedLate => {
                entry(EntryKind::Outcome, now, subject.into_iter().chain([("result", "reverted-late")]))
            }
            Over::Lifted => entry(EntryKind::Release, now, subject),
        };
        entry.subject.extend(declared.map(|declared| ("declared".to_owned(), declared.to_owned())));
        self.append(&entry, None, None, Durability::Grouped)
    }
}

fn outcome(now: Timestamp, sync: &SyncRef, object: &ObjectRef, result: &str) -> Entry {
    let (name, object) = (sync.to_string(), object.to_string());
    let subject = [("sync", name.as_str()), ("object", object.as_str()), ("origin", "drift"), ("result", result)];
    entry(EntryKind::Outcome, now, subject)
}

fn suppressed(counts: Counts<'_>) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

fn cause(report: &DriftReport, accepted: Option<&DesiredState>) -> Cause {
    Cause::of(report, accepted.and_then(|state| state.get(&report.reference))).attributed(&report.by)
}

/// The entry of one object says what drifted without its body.
fn describe(entry: &mut Entry, report: &DriftReport, accepted: Option<&DesiredState>) {
    entry.subject.extend(cause(report, accepted).subject());
    entry.counts.insert("fields".to_owned(), report.differences.len() as u64);
}

/// What the body says of one of several objects.
fn of_object(report: &DriftReport, accepted: Option<&DesiredState>, counts: Counts<'_>) -> Map<String, Value> {
    let mut fields = cause(report, accepted).body();
    fields.insert("code".to_owned(), report.finding.code.code.into());
    if !report.by.is_empty() {
        fields.insert("by".to_owned(), json!(report.by));
    }
    let before = counts.iter().find(|(object, _)| *object == report.reference).map_or(0, |(_, count)| *count);
    if before > 0 {
        fields.insert("suppressed".to_owned(), before.into());
    }
    fields
}

fn report_json(report: &DriftReport, accepted: Option<&DesiredState>, counts: Counts<'_>) -> Value {
    let mut fields = of_object(report, accepted, counts);
    fields.insert("object".to_owned(), report.reference.to_string().into());
    fields.insert("fields".to_owned(), report.differences.len().into());
    fields.insert("differences".to_owned(), report.differences.iter().map(difference_json).collect());
    Value::Object(fields)
}
