//! Objects that were not to be seen any more: what had become of them is known when the revert is
//! answered, and is told then.

use std::collections::BTreeMap;

use cluster::{Done, Failure};
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{Absence, DesiredObject, DriftReport, PlanCode, SyncRef};

use crate::{drift_telling::Telling, state::State};

/// Reverts of objects that were not there, which have not been answered: at most one per object.
#[derive(Debug, Default)]
pub(crate) struct Absences(BTreeMap<ObjectRef, Absent>);

#[derive(Debug)]
struct Absent {
    sync: SyncRef,
    report: DriftReport,
    telling: Telling,
}

impl State {
    /// Keeps what cannot be told before the answer, and returns the rest.
    pub(crate) fn await_answers(
        &mut self,
        sync: &SyncRef,
        reports: Vec<DriftReport>,
        telling: Telling,
    ) -> Vec<DriftReport> {
        let (absent, seen): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|report| report.finding.code == PlanCode::D102.entry());
        let absent = absent.into_iter().map(|report| {
            let reference = report.reference.clone();
            (reference, Absent { sync: sync.clone(), report, telling })
        });
        self.absences.0.extend(absent);
        seen
    }

    /// Tells what had become of an object, now that its revert is answered: status 201 means that it
    /// was deleted, 200 that it was there, without our label or as another object of the same name.
    pub(crate) fn tell_absence(
        &mut self,
        reference: &ObjectRef,
        object: Option<&DesiredObject>,
        result: &Result<Done, Failure>,
        now: Timestamp,
    ) {
        let Some(absent) = self.absences.0.remove(reference) else { return };
        let Absent { sync, mut report, telling } = absent;
        if let (Ok(Done::Configured { sighting }), Some(object)) = (result, object) {
            let replaced = self.live.expected(reference).is_some_and(|before| *before.uid != *sighting.uid);
            let absence = if replaced { Absence::Replaced } else { Absence::Stripped };
            report = DriftReport { by: report.by, ..DriftReport::of_absence(object, absence) };
            if telling == Telling::Aloud
                && let Err(error) = self.journal.turned_out(now, &sync, &report)
            {
                self.log_failed(&error);
            }
        }
        self.report_drift(&sync, &[report], now, telling);
    }

    /// There will be no answer about these: they are told of as they were recorded.
    pub(crate) fn tell_absences(&mut self, objects: &[ObjectRef], now: Timestamp) {
        for object in objects {
            if let Some(Absent { sync, report, telling }) = self.absences.0.remove(object) {
                self.report_drift(&sync, &[report], now, telling);
            }
        }
    }
}
