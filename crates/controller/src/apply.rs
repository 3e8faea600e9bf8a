//! A recorded plan is carried out: what each answer teaches, and what comes of the whole.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use audit::{LogError, Receipt};
use cluster::{ApplyOptions, ApplyRefused, ApplyReport, Current, Done, Outcome, ParentInventory};
use jiff::Timestamp;
use manifest::{Digest, Finding, ObjectRef};
use plan::{ApprovedPlan, DesiredObject, DesiredState, FieldDiff, PlanOrigin, SyncRef, Visibility};

use crate::{
    drift::Occasion,
    event::{AppliedPlan, Event},
    fault::FaultPoint,
    journal::RolloutResult,
    live::{Applied, Declared, Explained, Observation, Sight},
    metrics::ChangeLabels,
    state::{Dirty, Phase, State},
};

/// How long one roll-out may take when the Sync does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// First pause after an incomplete roll-out; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: a mended object is noticed within a minute even without an event.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a plan is carried out by.
struct Context {
    current: Current,
    inventory: ParentInventory,
    timeout: Duration,
    /// Set when nothing more may be sent.
    halt: Arc<AtomicBool>,
}

impl State {
    /// Hands a recorded plan to the cluster.
    pub(crate) fn start(&mut self, plan: ApprovedPlan, receipt: Receipt) {
        let sync = plan.sync().clone();
        let Some(Context { current, inventory, timeout, halt }) = self.apply_context(&sync) else {
            return self.idle(&sync);
        };
        for change in plan.changes() {
            self.live.begin(&change.reference, plan.digest());
        }
        let (cluster, events, kept) = (self.cluster.clone(), self.events.clone(), AppliedPlan::of(&plan));
        let (failed, begun) = (sync.clone(), kept.clone());
        let outcomes = events.clone();
        let underway = (plan.origin() == PlanOrigin::Drift).then(|| self.reporter.revert_begins());
        let apply = tokio::spawn(async move {
            let _underway = underway;
            let mut said = inventory.clone();
            let options = ApplyOptions { timeout, halt: Some(&halt) };
            let report = cluster.apply(plan, receipt, &current, &mut said, options, &outcomes).await;
            let inventory = (said != inventory).then_some(said);
            Event::Applied { sync, report: Box::new(report), inventory, plan: kept }
        });
        tokio::spawn(async move {
            let event = apply.await.unwrap_or_else(|panic| Event::Broken {
                sync: failed,
                begun: Some(begun),
                why: panic.to_string(),
            });
            // Nobody listens only when the process ends.
            events.send(event).await.ok();
        });
    }

    fn apply_context(&self, sync: &SyncRef) -> Option<Context> {
        let state = self.syncs.get(sync)?;
        let timeout =
            state.obeyed.as_ref()?.timeout.as_deref().and_then(manifest::parse_duration).unwrap_or(TIMEOUT_DEFAULT);
        let (current, halt) = (self.current(sync)?, state.enforcement.halt.clone());
        Some(Context { current, inventory: state.inventory.clone(), timeout, halt })
    }

    /// One change was answered.
    pub(crate) fn outcome(&mut self, outcome: Outcome, now: Timestamp) {
        FaultPoint::ObjectApplied.pass();
        let Outcome { sync, plan, reference, body, result } = outcome;
        let accepted = self.syncs.get(&sync).and_then(|state| state.accepted.clone());
        let object = accepted.as_ref().and_then(|state| state.get(&reference));
        let declared = object.map(declared_of);
        if result.is_ok() {
            // A list that began before the answer cannot know of it.
            self.mention(&reference);
        }
        self.tell_absence(&reference, object, &result, now);
        let sight = match result {
            Ok(Done::Created { sighting, made }) => {
                self.heal_within(&reference);
                let explained = made.as_ref().and_then(|made| Explained::new(&made.surplus));
                let (kept, compared) = made.map(|made| ((made.baseline, made.surplus), made.differences)).unzip();
                self.remember(object, &sighting, kept, body);
                self.answered(&reference, (plan, body), (sighting.into(), compared, explained), declared.as_ref())
            }
            Ok(Done::Configured { sighting }) => {
                self.remember(object, &sighting, None, body);
                self.answered(&reference, (plan, body), (sighting.into(), None, None), declared.as_ref())
            }
            Ok(Done::Pruned | Done::Gone) => {
                self.live.pruned(&reference);
                self.forget(&reference);
                return;
            }
            Ok(Done::Withheld) | Err(_) => {
                // Whatever was seen meanwhile: the plan that failed is tried again.
                self.live.abandon(&reference, plan, declared.as_ref());
                return;
            }
        };
        self.remember_added(&reference);
        match sight {
            Sight::Drifted => self.heal(&sync, &[reference], Occasion::Seen, now),
            Sight::Contested => self.contested(&sync, &reference, now),
            // The event of our own write adds nothing to its answer, and is not looked at.
            Sight::Settled => self.unflag(&sync, &[reference]),
            Sight::Past | Sight::Waiting => {}
        }
    }

    fn answered(
        &mut self,
        reference: &ObjectRef,
        (plan, body): (Digest, Option<Digest>),
        (seen, compared, explained): (Observation, Option<Vec<FieldDiff>>, Option<Explained>),
        declared: Option<&Declared<'_>>,
    ) -> Sight {
        match (body, declared) {
            (Some(digest), Some(declared)) => {
                self.live.applied(reference, Applied { plan, digest, seen, compared, explained }, declared)
            }
            _ => self.live.abandon(reference, plan, declared).unwrap_or(Sight::Settled),
        }
    }

    /// A plan was carried out.
    pub(crate) fn applied(
        &mut self,
        sync: &SyncRef,
        report: Result<ApplyReport, ApplyRefused>,
        inventory: Option<ParentInventory>,
        plan: &AppliedPlan,
        now: Timestamp,
    ) {
        let report = match report {
            Ok(report) => report,
            Err(refused) => return self.apply_refused(sync, &refused, plan),
        };
        if let (Some(inventory), Some(state)) = (inventory, self.syncs.get_mut(sync)) {
            state.inventory = inventory;
        }
        let action = match plan.origin {
            PlanOrigin::Drift => "reverted",
            PlanOrigin::Advance | PlanOrigin::Rollback | PlanOrigin::Removal => "applied",
        };
        let failed = report.failures.len() as u64;
        let count =
            |result, number| self.metrics.changes.get_or_create(&ChangeLabels { action, result }).inc_by(number);
        count("ok", report.created + report.configured + report.pruned);
        count("failed", failed);
        if report.kinds_changed {
            self.refresh_discovery();
        }
        match plan.origin {
            PlanOrigin::Drift => self.reverted(sync, &report, plan),
            PlanOrigin::Advance | PlanOrigin::Rollback => self.advanced(sync, &report, plan, now),
            PlanOrigin::Removal => self.removed(sync, &report, plan),
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn apply_refused(&mut self, sync: &SyncRef, refused: &ApplyRefused, plan: &AppliedPlan) {
        tracing::warn!(sync = %sync, reason = %refused, "the plan was not applied");
        if self.given_up(sync, plan) == PlanOrigin::Drift {
            return;
        }
        // Trust or policy moved on: the candidate is judged again.
        if let Some(state) = self.syncs.get_mut(sync) {
            state.settled = None;
        }
        self.try_later(sync);
    }

    fn advanced(&mut self, sync: &SyncRef, report: &ApplyReport, plan: &AppliedPlan, now: Timestamp) {
        FaultPoint::Applied.pass();
        let mut failures: Vec<Finding> = report.failures.iter().map(|(_, failure)| failure.finding.clone()).collect();
        let complete = report.is_complete() && plan.waiting.is_empty();
        if self.syncs.get(sync).is_some_and(|state| state.attempts > 0) {
            // Most deletions are over in a moment: what still waits is told.
            failures.extend(plan.waiting.iter().map(|waiting| waiting.finding.clone()));
        }
        for finding in &failures {
            tracing::warn!(sync = %sync, commit = %plan.revision, code = finding.code.code, "not applied: {finding}");
        }
        if !failures.is_empty() {
            self.announce_sync(sync, &failures);
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let waiting = plan.waiting.iter().map(|waiting| waiting.reference.clone()).collect();
        let repeated = state.rolled_out(&failures, waiting, complete);
        let key = if complete { state.judging.take() } else { None };
        state.judged(key);
        if complete {
            let mut before = std::mem::take(&mut state.partial);
            before.extend(std::mem::replace(&mut state.applied, state.accepted.clone()));
            state.inventory_due = true;
            self.release(&before, sync);
            self.unsettle_held();
        }
        if repeated {
            // The same again is not news for the log.
            return self.try_later(sync);
        }
        let result = if complete { RolloutResult::Applied } else { RolloutResult::Partial };
        self.record_outcome(sync, plan, result, failures, now);
        if complete {
            tracing::info!(sync = %sync, commit = %plan.revision, requests = report.writes, "applied");
        } else {
            self.try_later(sync);
        }
    }

    /// Objects that are no longer declared belong to nobody.
    fn release(&mut self, before: &[Arc<DesiredState>], sync: &SyncRef) {
        let Some(accepted) = self.syncs.get(sync).and_then(|state| state.accepted.clone()) else { return };
        for object in before.iter().flat_map(|state| state.iter()) {
            if accepted.get(&object.reference).is_none() && self.live.owner_of(&object.reference) == Some(sync) {
                self.live.release(&object.reference);
            }
        }
        // What nobody declares any more is not watched any more.
        self.watch_kinds();
    }

    fn record_outcome(
        &mut self,
        sync: &SyncRef,
        plan: &AppliedPlan,
        result: RolloutResult,
        failures: Vec<Finding>,
        now: Timestamp,
    ) {
        let (journal, sync, revision) = (self.journal.clone(), sync.clone(), plan.revision.to_string());
        let (failed, expected) = (sync.clone(), self.expected.clone());
        self.blocking(
            move || {
                // What the roll-out taught is on disk before the log says that it is done.
                crate::remember::write(&expected);
                FaultPoint::Remembered.pass();
                let result = journal.outcome(now, &sync, &revision, result, &failures).map(drop);
                FaultPoint::OutcomeRecorded.pass();
                Event::Remembered { sync, result }
            },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
    }

    /// The outcome is in the log, or not.
    pub(crate) fn remembered(&mut self, sync: &SyncRef, result: Result<(), LogError>) {
        if let Err(error) = result {
            // The next start repeats the roll-out, which then finds nothing to do.
            self.log_failed(&error);
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        if state.phase == Phase::Applying {
            state.phase = Phase::Idle;
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.consider(sync);
    }

    /// A task ended without an answer: what it was about is tried again.
    pub(crate) fn broken(&mut self, sync: &SyncRef, begun: Option<&AppliedPlan>, why: &str) {
        tracing::error!(sync = %sync, why, "a task ended without an answer; it is tried again");
        if begun.is_some_and(|plan| self.given_up(sync, plan) == PlanOrigin::Drift) {
            return;
        }
        if let Some(state) = self.syncs.get_mut(sync) {
            state.attempts = state.attempts.saturating_add(1);
        }
        self.try_later(sync);
    }

    /// A plan was not carried out. Reverts are tried again by themselves: a roll-out of the same Sync
    /// may be under way and goes on.
    fn given_up(&mut self, sync: &SyncRef, plan: &AppliedPlan) -> PlanOrigin {
        let accepted = self.syncs.get(sync).and_then(|state| state.accepted.clone());
        for reference in &plan.objects {
            // What was seen meanwhile is compared now: nothing else would look at it again.
            let declared = accepted.as_ref().and_then(|state| state.get(reference)).map(declared_of);
            let given_up = self.live.abandon(reference, plan.digest, declared.as_ref());
            if given_up.is_some() && plan.origin == PlanOrigin::Drift {
                self.heal_again(sync, reference);
            }
        }
        self.tell_absences(&plan.objects, Timestamp::now());
        plan.origin
    }

    /// An incomplete roll-out is tried again, later each time.
    pub(crate) fn try_later(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Waiting { until: Instant::now() + retry_pause(state.attempts) };
        state.settled = None;
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }
}

/// The pause after so many incomplete roll-outs in a row.
pub(crate) fn retry_pause(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.min(6)).min(RETRY_MAX)
}

/// The declaration of an object, for comparison.
#[must_use]
pub(crate) fn declared_of(object: &DesiredObject) -> Declared<'_> {
    Declared {
        body: &object.body,
        digest: object.digest,
        kind: &object.reference.group_kind,
        visibility: if object.sensitive { Visibility::Masked } else { Visibility::Shown },
    }
}
