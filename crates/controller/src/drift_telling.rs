//! What is written down and told of drift: which reverts and flags get an entry, which are counted, and what people hear.

use std::collections::BTreeMap;

use audit::{EntryKind, LogError, Receipt};
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{ApprovedPlan, DriftMode, DriftReport, Live, LiveStates as _, SyncRef};

use crate::{
    attribution::with_author,
    drift::Occasion,
    drift_events::{DRIFT_DETECTED, DRIFT_REVERTED},
    revert_counts::{Logging, MAX_COUNTED_OBJECTS},
    state::{Dirty, State},
};

/// Whether people are told of a revert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// They are: it has a log entry of its own.
    Aloud,
    /// It repeats what was told, or is one of very many.
    Counted,
}

impl State {
    /// The receipt for a revert. One that is tried again, or comes too often, has its entry already.
    pub(crate) fn record_revert(
        &mut self,
        plan: &ApprovedPlan,
        occasion: Occasion,
        now: Timestamp,
    ) -> Result<(Receipt, Telling), LogError> {
        let recall = |state: &Self| {
            let index = state.revert_entries.get(&plan.digest())?;
            // An entry that was lost with its group is written anew.
            state.journal.log().recall(*index, *plan.digest().as_bytes()).ok()
        };
        // What somebody writes again after each revert is a decision each time.
        let is_fought = plan.changes().iter().any(|change| self.fights.is_fought(&change.reference));
        if occasion == Occasion::Again
            && !is_fought
            && let Some(receipt) = recall(self)
        {
            return Ok((receipt, Telling::Counted));
        }
        let taken = self.take_counts(plan.changes().iter().map(|change| &change.reference), now);
        let telling = if taken.is_empty() { Telling::Counted } else { Telling::Aloud };
        if telling == Telling::Counted
            && let Some(receipt) = recall(self)
        {
            return Ok((receipt, telling));
        }
        let accepted = self.syncs.get(plan.sync()).and_then(|state| state.accepted.clone());
        let receipt = match self.journal.revert(now, plan, accepted.as_deref(), &taken) {
            Ok(receipt) => receipt,
            Err(error) => {
                self.reverts.put_back(taken);
                return Err(error);
            }
        };
        if self.revert_entries.len() >= MAX_COUNTED_OBJECTS {
            self.revert_entries.clear();
        }
        self.revert_entries.insert(plan.digest(), receipt.index());
        Ok((receipt, telling))
    }

    /// Those of the objects that get an entry now, and how often each was only counted before it.
    pub(crate) fn take_counts<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a ObjectRef>,
        now: Timestamp,
    ) -> Vec<(ObjectRef, u64)> {
        let noted = objects.map(|object| match self.reverts.note(object, now) {
            Logging::Entry { suppressed } => Some((object.clone(), suppressed)),
            Logging::Counted => None,
        });
        noted.flatten().collect()
    }

    /// Reverts and flags of past minutes that were only counted get into the log, also when no other
    /// of their object follows.
    pub(crate) fn record_counts(&mut self, now: Timestamp) {
        if self.log_problem.is_some() {
            return;
        }
        let mut by_sync: BTreeMap<SyncRef, Vec<(ObjectRef, u64)>> = BTreeMap::new();
        for (object, count) in self.reverts.past(now) {
            // An edit of what a Sync says about its objects is that Sync's. What is nobody's any more has nobody to be told of it.
            let itself = Some(crate::resources::sync_of(&object)).filter(|sync| self.reference_of(sync) == object);
            let owner = self.live.owner_of(&object).cloned().or(itself.filter(|sync| self.syncs.contains_key(sync)));
            if let Some(sync) = owner {
                by_sync.entry(sync).or_default().push((object, count));
            }
        }
        for (sync, counts) in by_sync {
            let kind =
                if self.drift_mode(&sync) == Some(DriftMode::Flag) { EntryKind::Flag } else { EntryKind::Revert };
            if let Err(error) = self.journal.counted(now, kind, &sync, &counts) {
                self.log_failed(&error);
                self.reverts.put_back(counts);
            }
        }
    }

    /// Tells people of drift that is put back.
    pub(crate) fn report_drift(&mut self, sync: &SyncRef, reports: &[DriftReport], now: Timestamp, telling: Telling) {
        for report in reports {
            let finding = &report.finding;
            self.metrics.decided("revert", finding.code.reason);
            if telling == Telling::Aloud {
                tracing::warn!(sync = %sync, object = %report.reference, code = finding.code.code, reason = finding.code.reason, "{}", with_author(&format!("drift is reverted: {finding}"), &report.by));
            }
        }
        if telling == Telling::Aloud {
            self.announce_drift(sync, reports, (DRIFT_REVERTED, "put back"));
        }
        if let (Some(state), Some(report)) = (self.syncs.get_mut(sync), reports.last()) {
            state.last_drift = Some((now, with_author(&report.finding.to_string(), &report.by)));
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    /// Tells people of drift that is left alone.
    pub(crate) fn flag(&mut self, sync: &SyncRef, reports: &[DriftReport], now: Timestamp) {
        let Some(state) = self.syncs.get(sync) else { return };
        let accepted = state.accepted.clone();
        let fresh: Vec<DriftReport> = reports
            .iter()
            .filter(|report| state.flagged.get(&report.reference) != Some(&report.finding))
            .cloned()
            .collect();
        if fresh.is_empty() {
            return;
        }
        let taken = self.take_counts(fresh.iter().map(|report| &report.reference), now);
        let is_told = |report: &&DriftReport| taken.iter().any(|(object, _)| *object == report.reference);
        let told: Vec<DriftReport> = fresh.iter().filter(is_told).cloned().collect();
        if !told.is_empty()
            && let Err(error) = self.journal.flag(now, sync, &told, accepted.as_deref(), &taken)
        {
            self.reverts.put_back(taken);
            return self.not_recorded(sync, fresh.iter().map(|report| &report.reference), &error);
        }
        for report in &told {
            tracing::warn!(sync = %sync, object = %report.reference, code = report.finding.code.code, "{}", with_author(&format!("drift is reported: {}", report.finding), &report.by));
        }
        for report in &fresh {
            self.metrics.decided("flag", report.finding.code.reason);
            // It may have waited for the log.
            self.clear_revert_failure(sync, &report.reference);
            self.heal_later.remove(&report.reference);
        }
        if let Some(state) = self.syncs.get_mut(sync) {
            for report in fresh {
                state.last_drift = Some((now, with_author(&report.finding.to_string(), &report.by)));
                state.flagged.insert(report.reference, report.finding);
            }
        }
        self.announce_drift(sync, &told, (DRIFT_DETECTED, self.left_alone(sync)));
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    /// Nothing is to be done about these objects: they are as declared, or not looked at.
    pub(crate) fn unflag(&mut self, sync: &SyncRef, objects: &[ObjectRef]) {
        for object in objects {
            self.attributions.settled(object);
            // A fight is not over when the object is as declared for once.
            if !self.fights.is_fought(object) {
                self.clear_revert_failure(sync, object);
                self.heal_later.remove(object);
            }
        }
        // Nothing may have to be done about one that is not there: its failure in the roll-out stays.
        let is_declared =
            |object: &&ObjectRef| matches!(self.live.live(object), Live::Present(live) if live.drift.is_empty());
        let there: Vec<ObjectRef> = objects.iter().filter(is_declared).cloned().collect();
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let before = state.flagged.len();
        for object in objects {
            state.flagged.remove(object);
        }
        if state.mend(&there) || state.flagged.len() != before {
            self.dirty.insert(Dirty::Sync(sync.clone()));
        }
        let at_rest: Vec<ObjectRef> = there.into_iter().filter(|object| !self.fights.is_fought(object)).collect();
        self.drift_over(sync, &at_rest, Timestamp::now());
    }
}
