//! Live objects: what the watches see of them, and putting back what drifted. No Git, signature or
//! registry work happens here.

use std::time::Instant;

use cluster::{ApplyReport, Sighting, WatchTarget};
use jiff::Timestamp;
use manifest::{GroupKind, ObjectRef};
use plan::{
    Action, ApprovedPlan, Decision, DesiredState, DriftMode, DriftReport, DriftSeen, Inputs, Lifecycle, Live,
    LiveStates as _, Question, SyncRef, decide,
};

use crate::{
    apply::declared_of,
    attribution::Change,
    drift_telling::Telling,
    event::AppliedPlan,
    fault::FaultPoint,
    fights::{Turn, fields},
    live::{Observation, Sight},
    revert_counts::REVERTS_PER_MINUTE,
    revert_failures::News,
    state::{Phase, Resume, State},
};

/// The most objects of one plan of reverts: its log entry stays far below what the log takes.
const MAX_HEALED: usize = 500;

/// Why an object is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Something was seen of it, or missed.
    Seen,
    /// A revert did not succeed and is tried again.
    Again,
}

impl State {
    /// Looks at every accepted object of a kind. What was never applied is the roll-out's business as long as that goes on.
    pub(crate) fn heal_kind(&mut self, sync: &SyncRef, kind: &GroupKind, now: Timestamp) {
        let Some(accepted) = self.syncs.get(sync).and_then(|state| state.accepted.clone()) else { return };
        let objects = accepted.iter().map(|object| &object.reference);
        self.heal_all(sync, objects.filter(|object| object.group_kind == *kind), now);
    }

    /// Looks at objects of which nothing in particular was seen.
    pub(crate) fn heal_all<'a>(
        &mut self,
        sync: &SyncRef,
        objects: impl Iterator<Item = &'a ObjectRef>,
        now: Timestamp,
    ) {
        // What is contested has its time in `heal_later`: a list says nothing new about it.
        let has_time =
            |object: &&ObjectRef| self.heal_later.contains_key(*object) && !self.live.contested(object).is_empty();
        let objects: Vec<ObjectRef> = objects.filter(|object| !has_time(object)).cloned().collect();
        for some in objects.chunks(MAX_HEALED) {
            self.heal(sync, some, Occasion::Seen, now);
        }
    }

    /// A watch saw an object. Another version than the declared one is not compared: its own watch
    /// tells of it.
    pub(crate) fn object_seen(&mut self, target: &WatchTarget, seen: Sighting, now: Timestamp) {
        let reference = seen.reference.clone();
        self.mention(&reference);
        let owner = self.live.owner_of(&reference).cloned();
        let accepted = owner.as_ref().and_then(|sync| self.syncs.get(sync)?.accepted.clone());
        let object = accepted.as_ref().and_then(|state| state.get(&reference));
        if object.is_some_and(|object| object.api_version != target.resource.api_version()) {
            return;
        }
        let was_there =
            matches!(self.live.live(&reference), Live::Present(live) if live.lifecycle == Lifecycle::Stable);
        if !was_there && seen.lifecycle == Lifecycle::Stable {
            self.heal_within(&reference);
        }
        let declared = object.map(declared_of);
        let seen = Observation::from(seen);
        let change = self.attributions.is_on().then(|| Change::new(target, &reference, &seen));
        let sight = self.live.observe(&reference, seen, declared.as_ref());
        if let Some(change) = change {
            self.note_author(&reference, change, sight, now);
        }
        self.remember_added(&reference);
        match (sight, owner) {
            // Before the first full list everything is looked at in one go.
            (Sight::Drifted, Some(sync)) if self.is_synced(&reference.group_kind) => {
                self.heal(&sync, &[reference], Occasion::Seen, now);
            }
            (Sight::Settled, Some(sync)) => self.unflag(&sync, &[reference]),
            _ => {}
        }
    }

    /// A watch does not see an object any more.
    pub(crate) fn object_gone(
        &mut self,
        target: &WatchTarget,
        reference: &ObjectRef,
        (uid, resource_version): (&str, &str),
        now: Timestamp,
    ) {
        let owner = self.live.owner_of(reference).cloned();
        let accepted = owner.as_ref().and_then(|sync| self.syncs.get(sync)?.accepted.as_ref());
        let object = accepted.and_then(|state| state.get(reference));
        if object.is_some_and(|object| object.api_version != target.resource.api_version()) {
            return;
        }
        let sight = self.live.vanish(reference, resource_version);
        if sight != Sight::Past {
            self.attributions.gone(reference, Change::gone(target, reference, uid), now);
        }
        let Some(sync) = owner else { return };
        if sight == Sight::Drifted {
            self.heal(&sync, std::slice::from_ref(reference), Occasion::Seen, now);
        }
        // A deletion may be what a roll-out waits for.
        if let Some(state) = self.syncs.get_mut(&sync)
            && (matches!(state.phase, Phase::Waiting { .. }) || state.turns.is_waiting())
            && state.waiting.remove(reference)
        {
            state.stop_waiting();
        }
        self.consider(&sync);
    }

    /// Whether the object is taken care of already: a request that is under way is judged by its answer,
    /// and what a roll-out has not yet brought is not drift but the roll-out's.
    pub(crate) fn is_taken_care_of(&self, sync: &SyncRef, object: &ObjectRef) -> bool {
        let Some(state) = self.syncs.get(sync) else { return false };
        let rolls_out = matches!(state.phase, Phase::Applying | Phase::Waiting { .. }) || self.is_unfinished(sync);
        let applied = self.live.expected(object).map(|expected| expected.applied);
        let declared = || state.accepted.as_ref()?.get(object);
        let is_pending = || rolls_out && declared().is_some_and(|object| applied != Some(object.digest));
        self.live.is_in_flight(object) || is_pending()
    }

    /// Decides about objects of a Sync that may have drifted, and acts on it.
    pub(crate) fn heal(&mut self, sync: &SyncRef, objects: &[ObjectRef], occasion: Occasion, now: Timestamp) {
        let Some(state) = self.syncs.get(sync) else { return };
        let (Some(spec), Some(accepted)) = (state.obeyed.clone(), state.accepted.clone()) else { return };
        let has_time = |object: &ObjectRef| occasion == Occasion::Seen && self.is_fought_later(object);
        let objects: Vec<ObjectRef> = objects
            .iter()
            .filter(|object| !self.is_taken_care_of(sync, object) && !has_time(object))
            .cloned()
            .collect();
        if objects.is_empty() || state.resume != Resume::Done || state.gone {
            return;
        }
        let (applied, interrupted) = (state.applied.clone(), state.interrupted.clone());
        let Some(verdict) = self.verdict_inputs(sync, now) else { return };
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            mode: self.mode_of(sync),
            question: Question::Drift {
                accepted: &accepted,
                applied: applied.as_deref(),
                interrupted: interrupted.as_deref(),
                objects: &objects,
            },
            live: &self.live,
            claims: &self.live,
            findings: &[],
            verdict: &verdict,
        });
        match self.attributed(sync, decision) {
            Decision::Revert(plan) => {
                self.look_again(sync, plan.waiting(), occasion, now);
                let fought = self.fought(&accepted, &plan, occasion);
                if fought.is_empty() {
                    return self.revert(sync, plan, occasion, now);
                }
                for (report, turn) in &fought {
                    self.put_off(sync, report, *turn, now);
                }
                // The others do not wait for them.
                let is_fought = |object: &ObjectRef| fought.iter().any(|(report, _)| report.reference == *object);
                let others: Vec<ObjectRef> = objects.iter().filter(|object| !is_fought(object)).cloned().collect();
                self.heal(sync, &others, occasion, now);
            }
            Decision::Flag(reports, waiting) => {
                self.look_again(sync, &waiting, occasion, now);
                self.flag(sync, &reports, now);
            }
            Decision::Wait(waiting) => self.look_again(sync, &waiting, occasion, now),
            Decision::Refuse(refusal) => {
                for finding in refusal.findings {
                    tracing::error!(sync = %sync, code = finding.code.code, "drift cannot be reverted: {finding}");
                    for object in &objects {
                        self.note_revert_failure(sync, object, &finding);
                    }
                }
            }
            Decision::Settled => self.unflag(sync, &objects),
            Decision::Apply(_) | Decision::Report(_) => {}
        }
    }

    /// Whether the object is written again after each revert and has its time for the next one, which is soon enough for
    /// what differs now.
    fn is_fought_later(&self, object: &ObjectRef) -> bool {
        let Some(then) = self.heal_later.get(object).filter(|_| self.fights.is_fought(object)) else { return false };
        let drift = if let Live::Present(live) = self.live.live(object) { live.drift } else { &[] };
        !self.fights.is_pressing(object, &fields(object, drift), *then, Instant::now())
    }

    /// What of a plan of reverts has to wait, because it is written again after each.
    fn fought(&mut self, accepted: &DesiredState, plan: &ApprovedPlan, occasion: Occasion) -> Vec<(DriftReport, Turn)> {
        if occasion == Occasion::Again {
            // It has waited.
            return Vec::new();
        }
        let now = Instant::now();
        let mut fought = Vec::new();
        for report in plan.reports() {
            let Some(object) = accepted.get(&report.reference) else { continue };
            let fields = fields(&report.reference, &report.differences);
            match self.fights.turn(&report.reference, object.digest, &fields, now) {
                Turn::Now => {}
                turn => fought.push((DriftReport::of_fight(object, report, REVERTS_PER_MINUTE), turn)),
            }
        }
        fought
    }

    fn revert(&mut self, sync: &SyncRef, plan: ApprovedPlan, occasion: Occasion, now: Timestamp) {
        let (receipt, telling) = match self.record_revert(&plan, occasion, now) {
            Ok(recorded) => recorded,
            Err(error) => {
                return self.not_recorded(sync, plan.changes().iter().map(|change| &change.reference), &error);
            }
        };
        FaultPoint::RevertRecorded.pass();
        let moment = Instant::now();
        for change in plan.changes() {
            if let Some(declared) = change.digest {
                let report = plan.reports().iter().find(|report| report.reference == change.reference);
                self.fights.reverted(&change.reference, declared, report, moment);
            }
        }
        if telling == Telling::Aloud {
            for change in plan.changes().iter().filter(|change| matches!(change.action, Action::Create { .. })) {
                tracing::info!(sync = %sync, object = %change.reference, commit = %plan.revision(), "an object that its roll-out did not bring is created");
            }
        }
        // The request first: what people are told must not race it for the API server.
        let reports = self.await_answers(sync, plan.reports().to_vec(), telling);
        self.start(plan, receipt);
        self.report_drift(sync, &reports, now, telling);
    }

    /// Our own apply was answered with another value than it asked for. It is told, and tried again
    /// ever more seldom: at once it would only be answered with the same.
    pub(crate) fn contested(&mut self, sync: &SyncRef, object: &ObjectRef, now: Timestamp) {
        let Some(state) = self.syncs.get(sync) else { return };
        let (Some(mode), Some(accepted)) = (self.drift_mode(sync), state.accepted.clone()) else { return };
        let Some(declared) = accepted.get(object) else { return };
        let report = DriftReport::of_fields(declared, self.live.contested(object), DriftSeen::Answer);
        match mode {
            DriftMode::Off => return,
            DriftMode::Flag => return self.flag(sync, std::slice::from_ref(&report), now),
            DriftMode::Revert => {}
        }
        self.put_off(sync, &report, Turn::Later, now);
    }

    /// A revert was carried out, or not.
    pub(crate) fn reverted(&mut self, sync: &SyncRef, report: &ApplyReport, plan: &AppliedPlan) {
        FaultPoint::Reverted.pass();
        self.metrics.reverted(plan.started.elapsed());
        if report.withheld > 0 {
            // The TrustRoot is in mode Audit since: what was not put back is told.
            plan.objects.iter().for_each(|object| self.heal_again(sync, object));
            return;
        }
        for (reference, failure) in &report.failures {
            let finding = &failure.finding;
            tracing::warn!(sync = %sync, object = %reference, code = finding.code.code, "the revert failed: {finding}");
            if self.note_revert_failure(sync, reference, finding) == News::New
                && let Err(error) = self.journal.revert_failed(Timestamp::now(), sync, reference, finding)
            {
                self.log_failed(&error);
            }
            self.heal_again(sync, reference);
        }
        for object in &plan.objects {
            let failed = report.failures.iter().any(|(reference, _)| reference == object);
            if !failed && self.live.contested(object).is_empty() && !self.fights.is_fought(object) {
                self.heal_later.remove(object);
                self.clear_revert_failure(sync, object);
            }
        }
    }
}
