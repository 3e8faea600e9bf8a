//! Reverts that wait for their time: what has to wait, what failed, and what is written again each time.

use std::time::Instant;

use audit::LogError;
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{DriftReport, SyncRef, Waiting};

use crate::{
    drift::Occasion,
    fights::Turn,
    revert_failures::News,
    state::{Dirty, Phase, State},
};

impl State {
    /// What has to wait has its time, and is told if it lasts: most deletions are over in a moment. An edit of it is told at
    /// once: nobody puts it back.
    pub(crate) fn look_again(&mut self, sync: &SyncRef, waiting: &[Waiting], occasion: Occasion, now: Timestamp) {
        let edited: Vec<DriftReport> = waiting.iter().filter_map(|waiting| waiting.drift.clone()).collect();
        self.flag(sync, &edited, now);
        for Waiting { reference, finding, .. } in waiting {
            if occasion == Occasion::Again {
                self.note_revert_failure(sync, reference, finding);
            }
            self.heal_again(sync, reference);
        }
    }

    /// A Namespace is there: what waits within it has waited long enough.
    pub(crate) fn heal_within(&mut self, namespace: &ObjectRef) {
        if namespace.group_kind.kind == "Namespace" && namespace.group_kind.group.is_empty() {
            let now = Instant::now();
            let within = |object: &ObjectRef| object.namespace.as_deref() == Some(&*namespace.name);
            self.heal_later.iter_mut().filter(|(object, _)| within(object)).for_each(|(_, at)| *at = now.min(*at));
        }
    }

    /// What somebody else writes again is reverted later, and later each time unless it is grave. That is told once.
    pub(crate) fn put_off(&mut self, sync: &SyncRef, report: &DriftReport, turn: Turn, now: Timestamp) {
        let (object, finding) = (&report.reference, &report.finding);
        let is_new = self.revert_failures.news(sync, object, finding) == News::New;
        let accepted = self.syncs.get(sync).and_then(|state| state.accepted.clone());
        if is_new
            && let Err(error) = self.journal.flag(now, sync, std::slice::from_ref(report), accepted.as_deref(), &[])
        {
            // Not told: the next attempt is news.
            return self.not_recorded(sync, [object], &error);
        }
        self.note_revert_failure(sync, object, finding);
        if is_new {
            tracing::warn!(sync = %sync, object = %object, code = finding.code.code, reason = finding.code.reason, "what was applied is contested: {finding}");
            self.metrics.decided("contest", finding.code.reason);
            if let Some(state) = self.syncs.get_mut(sync) {
                state.last_drift = Some((now, finding.to_string()));
            }
        }
        self.heal_again(sync, object);
        if let Turn::At(at) = turn {
            self.heal_later.insert(object.clone(), at);
        }
    }

    /// What was decided about objects could not be recorded: it is decided again later.
    pub(crate) fn not_recorded<'a>(
        &mut self,
        sync: &SyncRef,
        objects: impl IntoIterator<Item = &'a ObjectRef>,
        error: &LogError,
    ) {
        self.log_failed(error);
        let problem = self.log_problem.clone();
        for object in objects {
            if let Some(finding) = &problem {
                self.note_revert_failure(sync, object, finding);
            }
            self.heal_again(sync, object);
        }
    }

    /// What is accepted and was not all applied is not rolled out any further: what was left to the roll-out is healed now,
    /// objects included that it did not bring.
    pub(crate) fn heal_incomplete(&mut self, sync: &SyncRef, now: Timestamp) {
        let Some(accepted) =
            self.syncs.get(sync).filter(|state| state.is_incomplete()).and_then(|state| state.accepted.clone())
        else {
            return;
        };
        self.heal_all(sync, accepted.iter().map(|object| &object.reference), now);
    }

    /// The time of a roll-out that was to be tried again has come, and nothing may advance: what it left to do is healed.
    pub(crate) fn give_up_waiting(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        if let Phase::Waiting { .. } = state.phase {
            state.phase = Phase::Idle;
            self.dirty.insert(Dirty::Sync(sync.clone()));
            self.heal_incomplete(sync, Timestamp::now());
        }
    }

    /// Tries reverts again whose time has come.
    pub(crate) fn heal_due(&mut self, now: Timestamp) {
        let moment = Instant::now();
        let due: Vec<ObjectRef> =
            self.heal_later.iter().filter(|(_, at)| **at <= moment).map(|(object, _)| object.clone()).collect();
        for object in due {
            self.heal_later.remove(&object);
            let Some(sync) = self.live.owner_of(&object).cloned() else { continue };
            if self.is_taken_care_of(&sync, &object) {
                // Until it is known what comes of that.
                self.heal_again(&sync, &object);
            } else {
                self.heal(&sync, &[object], Occasion::Again, now);
            }
        }
    }

    /// Objects that stayed as declared are no longer fought.
    pub(crate) fn end_fights(&mut self) {
        let (syncs, live, later) = (&self.syncs, &self.live, &self.heal_later);
        let declared = |object: &ObjectRef| {
            let accepted = syncs.get(live.owner_of(object)?)?.accepted.as_ref()?;
            accepted.get(object).map(|object| object.digest)
        };
        let over = self.fights.end(Instant::now(), declared, |object| later.contains_key(object));
        for object in over {
            if let Some(sync) = self.live.owner_of(&object).cloned() {
                self.clear_revert_failure(&sync, &object);
                self.drift_over(&sync, &[object], Timestamp::now());
            }
        }
    }

    /// What kept reverts from succeeding is mended: they are tried at once.
    pub(crate) fn heal_soon(&mut self) {
        let now = Instant::now();
        self.heal_later.values_mut().for_each(|at| *at = now);
    }

    /// A revert did not succeed: it is tried again, later each time.
    pub(crate) fn heal_again(&mut self, sync: &SyncRef, object: &ObjectRef) {
        self.heal_later.insert(object.clone(), Instant::now() + self.revert_failures.pause(sync, object));
    }
}
