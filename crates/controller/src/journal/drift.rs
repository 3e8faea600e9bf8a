//! Entries about drift: what is put back, what is left, and what came of it.

use audit::{Durability, EntryKind, LogError, Receipt};
use jiff::Timestamp;
use manifest::{Finding, ObjectRef};
use plan::{ApprovedPlan, DriftReport, SyncRef};
use serde_json::{Value, json};

use super::{Journal, codes, count_suppressed, difference_json, entry, plan_body, plan_entry};

impl Journal {
    /// Drift is about to be reverted.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn revert(&self, now: Timestamp, plan: &ApprovedPlan, suppressed: u64) -> Result<Receipt, LogError> {
        let mut entry = plan_entry(EntryKind::Revert, now, plan);
        entry.codes = codes(plan.reports().iter().map(|report| &report.finding));
        count_suppressed(&mut entry, suppressed);
        self.append_plan(&entry, &plan_body(plan), plan, Durability::Grouped)
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
        suppressed: u64,
    ) -> Result<Receipt, LogError> {
        let name = sync.to_string();
        let mut entry = entry(EntryKind::Flag, now, [("sync", name.as_str())]);
        entry.codes = codes(reports.iter().map(|report| &report.finding));
        if let [report] = reports {
            entry.subject.insert("object".to_owned(), report.reference.to_string());
        }
        entry.counts.insert("objects".to_owned(), reports.len() as u64);
        count_suppressed(&mut entry, suppressed);
        let body = json!({ "drift": reports.iter().map(report_json).collect::<Vec<_>>() });
        self.log.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Grouped)
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
        counts: &[(ObjectRef, u64)],
    ) -> Result<Receipt, LogError> {
        let mut entry = entry(kind, now, [("sync", &*sync.to_string()), ("origin", "drift"), ("result", "counted")]);
        entry.counts.insert("objects".to_owned(), counts.len() as u64);
        entry.counts.insert("suppressed".to_owned(), counts.iter().map(|(_, count)| count).sum());
        let each = |(object, count): &(ObjectRef, u64)| json!({ "object": object.to_string(), "suppressed": count });
        let body = json!({ "counted": counts.iter().map(each).collect::<Vec<_>>() });
        self.log.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Grouped)
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
        self.log.append(&entry, None, None, Durability::Grouped)
    }

    /// A revert of an object that was not to be seen was answered: it had not been deleted.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn turned_out(&self, now: Timestamp, sync: &SyncRef, report: &DriftReport) -> Result<Receipt, LogError> {
        let (name, object) = (sync.to_string(), report.reference.to_string());
        let subject =
            [("sync", name.as_str()), ("object", object.as_str()), ("origin", "drift"), ("result", "reverted")];
        let mut entry = entry(EntryKind::Outcome, now, subject);
        entry.codes = codes([&report.finding]);
        self.log.append(&entry, None, None, Durability::Grouped)
    }
}

fn report_json(report: &DriftReport) -> Value {
    let mut json = json!({
        "object": report.reference.to_string(),
        "code": report.finding.code.code,
        "differences": report.differences.iter().map(difference_json).collect::<Vec<_>>(),
    });
    if !report.by.is_empty() {
        json["by"] = json!(report.by);
    }
    json
}
