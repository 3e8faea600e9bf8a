//! From a verified revision to applied objects: render and judge, decide, record, apply, record.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use audit::{LogError, Receipt};
use cluster::{ApplyOptions, ApplyRefused, ApplyReport, Current, Done, Outcome, ParentInventory};
use jiff::Timestamp;
use manifest::{Digest, Finding, ObjectRef};
use plan::{
    ApprovedPlan, Decision, DesiredObject, DesiredState, Fidelity, Inputs, PlanOrigin, PruneReadiness, PruneTrailer,
    Question, SyncRef, VerdictInputs, Visibility, decide,
};

use crate::{
    code::ControllerCode,
    event::{AppliedPlan, Event},
    expected::ExpectedRecord,
    fault::FaultPoint,
    journal::{Refused, RolloutResult},
    live::{Applied, Declared, Observation, Sight},
    metrics::ChangeLabels,
    resources::finding,
    source_gate::Verified,
    state::{Dirty, Held, Phase, Resume, State, VerdictKey},
    sync_gate::{self, Prepared, SyncJob},
};

/// How long one roll-out may take when the Sync does not say.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// First pause after an incomplete roll-out; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: a mended object is noticed within a minute even without an event.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The trailer that lifts the prune guard.
const PRUNE_TRAILER: &str = "Writ-Prune:";

impl State {
    /// Looks at every Sync that may have something to do.
    pub(crate) fn consider_all(&mut self) {
        let syncs: Vec<SyncRef> = self.syncs.keys().cloned().collect();
        for sync in syncs {
            self.consider(&sync);
        }
    }

    /// Starts the judgement of a Sync's candidate, if there is one that was not judged like this.
    pub(crate) fn consider(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get(sync) else { return };
        let idle = match state.phase {
            Phase::Idle => true,
            Phase::Waiting { until } => until <= Instant::now(),
            Phase::Preparing | Phase::Applying => false,
        };
        if !idle || state.resume != Resume::Done || !self.is_observed(sync) {
            return;
        }
        let Some((verified, key)) = self.verdict_key(sync) else { return };
        let Some(job) = self.sync_job(sync, &verified) else { return };
        let Some(state) = self.syncs.get_mut(sync) else { return };
        if state.settled.as_ref() == Some(&key) {
            return;
        }
        state.phase = Phase::Preparing;
        state.candidate = Some(key.commit);
        state.judging = Some(key);
        let (events, sync) = (self.events.clone(), sync.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = sync_gate::prepare(&job, &verified);
            // Nobody listens only when the process ends.
            events.blocking_send(Event::Prepared { sync, outcome }).ok();
        });
    }

    /// Whether the watches of everything the Sync owns have delivered their first list.
    fn is_observed(&self, sync: &SyncRef) -> bool {
        let Some(state) = self.syncs.get(sync) else { return false };
        let owned = [&state.accepted, &state.applied].into_iter().flatten().flat_map(|state| state.iter());
        let kinds: HashSet<_> = owned.map(|object| &object.reference.group_kind).collect();
        kinds.into_iter().all(|kind| self.synced.contains(kind) || self.cluster.discovery().preferred(kind).is_none())
    }

    fn verdict_key(&self, sync: &SyncRef) -> Option<(Arc<Verified>, VerdictKey)> {
        let spec = self.syncs.get(sync)?.obeyed.clone()?;
        let verified = self.source_of(sync)?.1.verified.clone()?;
        let key = VerdictKey {
            commit: verified.commit.id(),
            trust: verified.commit.trust_digest(),
            policy: verified.policies.digest(),
            spec: spec.digest().ok()?,
        };
        Some((verified, key))
    }

    /// What the sync gate needs for this Sync.
    #[must_use]
    pub(crate) fn sync_job(&self, sync: &SyncRef, verified: &Verified) -> Option<SyncJob> {
        let state = self.syncs.get(sync)?;
        let source = self.source_of(sync)?.0.clone();
        // Only policies ask whether an object is created or updated.
        let present = if verified.policies.policies().is_empty() { HashSet::new() } else { self.live.present() };
        Some(SyncJob {
            mirror: self.mirror_of(&source),
            sync: sync.clone(),
            spec: state.obeyed.clone()?,
            instance: self.options.instance.clone(),
            cluster: self.cluster.id().clone(),
            discovery: self.cluster.discovery(),
            present: Arc::new(present),
            cache: state.cache.clone(),
        })
    }

    /// A candidate was rendered and judged: decide.
    pub(crate) fn prepared(&mut self, sync: &SyncRef, outcome: Result<Prepared, Vec<Finding>>, now: Timestamp) {
        let Some(verdict) = self.verdict_inputs(sync, now) else { return self.idle(sync) };
        let Some(state) = self.syncs.get(sync) else { return };
        let Some(spec) = state.obeyed.clone() else { return self.idle(sync) };
        let Some(key) = state.judging.clone() else { return self.idle(sync) };
        let prepared = match outcome {
            Ok(prepared) => prepared,
            Err(findings) => return self.refuse(sync, &key, findings, None, now),
        };
        let pruning = if state.failures.is_empty() { PruneReadiness::Ready } else { PruneReadiness::Withheld };
        let (accepted, applied) = (state.accepted.clone(), state.applied.clone().or_else(|| state.accepted.clone()));
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            question: Question::Advance {
                candidate: &prepared.desired,
                applied: applied.as_deref(),
                pruning,
                trailer: self.prune_trailer(sync),
            },
            live: &self.live,
            claims: &self.live,
            findings: &prepared.findings,
            verdict: &verdict,
        });
        match decision {
            Decision::Refuse(refusal) => self.refuse(sync, &key, refusal.findings, Some(&verdict), now),
            Decision::Apply(plan) => {
                // The same revision, nothing to do, nothing new to record: a restart or a forced pass.
                let same =
                    accepted.as_ref().is_some_and(|accepted| accepted.commit().id() == prepared.desired.commit().id());
                if same
                    && applied_is(state_applied(self, sync), &prepared.desired)
                    && plan.changes().is_empty()
                    && plan.counts().waiting == 0
                {
                    return self.settle(sync, prepared.desired, key);
                }
                self.record_advance(sync, plan, prepared.desired, now);
            }
            // An advance is never answered like this.
            Decision::Revert(_) | Decision::Flag(_) | Decision::Settled => self.idle(sync),
        }
    }

    fn settle(&mut self, sync: &SyncRef, desired: Arc<DesiredState>, key: VerdictKey) {
        if let Some(state) = self.syncs.get_mut(sync) {
            state.phase = Phase::Idle;
            state.settled = Some(key);
            state.held = None;
            state.accepted = Some(desired.clone());
            state.applied = Some(desired);
        }
        self.refusals.clear(&format!("Sync {sync}"));
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn idle(&mut self, sync: &SyncRef) {
        if let Some(state) = self.syncs.get_mut(sync) {
            state.phase = Phase::Idle;
        }
    }

    /// The inputs that verdicts about a Sync are printed with.
    #[must_use]
    pub(crate) fn verdict_inputs(&self, sync: &SyncRef, now: Timestamp) -> Option<VerdictInputs> {
        let verified = self.source_of(sync)?.1.verified.as_ref()?;
        let state = self.syncs.get(sync)?;
        Some(VerdictInputs {
            trust_digest: verified.commit.trust_digest(),
            policy_digest: verified.policies.digest(),
            floor: state.accepted.as_ref().map(|accepted| accepted.commit().id()),
            time: now,
            fidelity: Fidelity::Raw,
        })
    }

    fn prune_trailer(&self, sync: &SyncRef) -> PruneTrailer {
        let message = self
            .source_of(sync)
            .and_then(|(_, source)| source.verified.as_ref())
            .map(|verified| verified.message.clone());
        let text = message.map(|message| String::from_utf8_lossy(&message).into_owned()).unwrap_or_default();
        PruneTrailer(text.lines().rev().find_map(|line| line.strip_prefix(PRUNE_TRAILER)?.trim().parse().ok()))
    }

    /// A candidate is refused; what was accepted stays in force and is healed.
    fn refuse(
        &mut self,
        sync: &SyncRef,
        key: &VerdictKey,
        findings: Vec<Finding>,
        inputs: Option<&VerdictInputs>,
        now: Timestamp,
    ) {
        let owner = format!("Sync {sync}");
        let revision = key.commit.to_string();
        let refused = Refused { revision: &revision, findings: &findings, inputs };
        if self.refusals.is_new(&owner, &refused) {
            for finding in &findings {
                tracing::warn!(sync = %sync, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
                self.metrics.decided("refuse", finding.code.reason);
            }
            self.announce_sync(sync, &findings);
            if let Err(error) = self.journal.refuse(now, &owner, &refused) {
                self.log_failed(&error);
                self.refusals.clear(&owner);
            }
        }
        let signer = self.signer_of(sync);
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.held = Some(Held::renew(state.held.as_ref(), revision, findings, signer, now));
        state.settled = Some(key.clone());
        state.phase = Phase::Idle;
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn signer_of(&self, sync: &SyncRef) -> Option<String> {
        let verified = self.source_of(sync)?.1.verified.as_ref()?;
        verified.commit.signer().map(|signer| format!("{} ({})", signer.principal, signer.key))
    }

    /// Writes the decision to the log; nothing is sent before that is on disk.
    pub(crate) fn record_advance(
        &mut self,
        sync: &SyncRef,
        plan: ApprovedPlan,
        desired: Arc<DesiredState>,
        now: Timestamp,
    ) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Applying;
        let spec = state.obeyed.as_deref().and_then(|spec| serde_json::to_value(spec).ok()).unwrap_or_default();
        let Some(root) = self.source_of(sync).map(|(key, _)| key.clone()).and_then(|key| self.root_of(&key)) else {
            return self.idle(sync);
        };
        let (journal, events) = (self.journal.clone(), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let receipt = journal.advance(now, &root, desired.commit(), &plan, &spec);
            FaultPoint::AdvanceRecorded.pass();
            events.blocking_send(Event::Recorded { plan: Box::new(plan), desired, receipt }).ok();
        });
    }

    /// The advance is on disk: from now on it is the accepted state.
    pub(crate) fn recorded(
        &mut self,
        plan: ApprovedPlan,
        desired: Arc<DesiredState>,
        receipt: Result<Receipt, LogError>,
    ) {
        let sync = plan.sync().clone();
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                self.log_failed(&error);
                return self.try_later(&sync);
            }
        };
        self.log_problem = None;
        self.metrics.decided("advance", "");
        let counts = plan.counts();
        tracing::info!(
            sync = %sync, commit = %plan.revision(), entry = receipt.index(), created = counts.created,
            configured = counts.configured, pruned = counts.pruned, unchanged = counts.unchanged, "accepted"
        );
        if let Some(state) = self.syncs.get_mut(&sync) {
            state.accepted = Some(desired.clone());
            state.held = None;
            state.flagged.clear();
        }
        self.refusals.clear(&format!("Sync {sync}"));
        for object in desired.iter() {
            self.live.claim(&object.reference, &sync);
        }
        self.watch_kinds();
        self.judge_orders();
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.start(plan, receipt);
    }

    /// Hands a recorded plan to the cluster.
    pub(crate) fn start(&mut self, plan: ApprovedPlan, receipt: Receipt) {
        let sync = plan.sync().clone();
        let Some((current, inventory, timeout)) = self.apply_context(&sync) else { return self.idle(&sync) };
        for change in plan.changes() {
            self.live.begin(&change.reference);
        }
        let (cluster, events, kept) = (self.cluster.clone(), self.events.clone(), AppliedPlan::of(&plan));
        tokio::spawn(async move {
            let mut inventory = inventory;
            let options = ApplyOptions { timeout };
            let report = cluster.apply(plan, receipt, &current, &mut inventory, options, &events).await;
            events.send(Event::Applied { sync, report: Box::new(report), inventory, plan: kept }).await.ok();
        });
    }

    fn apply_context(&self, sync: &SyncRef) -> Option<(Current, ParentInventory, Duration)> {
        let verified = self.source_of(sync)?.1.verified.as_ref()?;
        let state = self.syncs.get(sync)?;
        let timeout = state
            .obeyed
            .as_ref()?
            .timeout
            .as_deref()
            .and_then(crate::schedule::parse_duration)
            .unwrap_or(TIMEOUT_DEFAULT);
        let current =
            Current { trust_digest: verified.commit.trust_digest(), policy_digest: verified.policies.digest() };
        Some((current, state.inventory.clone(), timeout))
    }

    /// One change was answered.
    pub(crate) fn outcome(&mut self, outcome: Outcome, now: Timestamp) {
        let Outcome { sync, reference, body, result, .. } = outcome;
        let accepted = self.syncs.get(&sync).and_then(|state| state.accepted.clone());
        let object = accepted.as_ref().and_then(|state| state.get(&reference));
        let declared = object.map(declared_of);
        let sight = match result {
            Ok(Done::Created { sighting, baseline }) => {
                self.remember(object, &sighting, baseline, body, Remember::New);
                self.answered(&reference, sighting.into(), body, declared.as_ref())
            }
            Ok(Done::Configured { sighting }) => {
                self.remember(object, &sighting, None, body, Remember::Keep);
                self.answered(&reference, sighting.into(), body, declared.as_ref())
            }
            Ok(Done::Pruned | Done::Gone) => {
                self.live.pruned(&reference);
                self.forget(&reference);
                return;
            }
            Err(_) => self.live.abandon(&reference, declared.as_ref()),
        };
        if sight == Sight::Drifted {
            self.heal(&sync, &[reference], now);
        }
    }

    fn answered(
        &mut self,
        reference: &ObjectRef,
        seen: Observation,
        body: Option<Digest>,
        declared: Option<&Declared<'_>>,
    ) -> Sight {
        match (body, declared) {
            (Some(digest), Some(declared)) => self.live.applied(reference, Applied { digest, seen }, declared),
            _ => self.live.abandon(reference, declared),
        }
    }

    /// A plan was carried out.
    pub(crate) fn applied(
        &mut self,
        sync: &SyncRef,
        report: Result<ApplyReport, ApplyRefused>,
        inventory: ParentInventory,
        plan: &AppliedPlan,
        now: Timestamp,
    ) {
        let report = match report {
            Ok(report) => report,
            Err(refused) => return self.apply_refused(sync, &refused, plan),
        };
        let action = match plan.origin {
            PlanOrigin::Drift => "reverted",
            PlanOrigin::Advance | PlanOrigin::Removal => "applied",
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
            PlanOrigin::Drift => self.reverted(sync, &report, plan, now),
            PlanOrigin::Advance => self.advanced(sync, &report, inventory, plan, now),
            PlanOrigin::Removal => self.removed(sync, &report),
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn apply_refused(&mut self, sync: &SyncRef, refused: &ApplyRefused, plan: &AppliedPlan) {
        tracing::warn!(sync = %sync, reason = %refused, "the plan was not applied");
        for reference in &plan.objects {
            self.live.abandon(reference, None);
        }
        // Trust or policy moved on: the candidate is judged again.
        if let Some(state) = self.syncs.get_mut(sync) {
            state.settled = None;
        }
        self.try_later(sync);
    }

    fn advanced(
        &mut self,
        sync: &SyncRef,
        report: &ApplyReport,
        inventory: ParentInventory,
        plan: &AppliedPlan,
        now: Timestamp,
    ) {
        FaultPoint::Applied.pass();
        let failures: Vec<Finding> = report.failures.iter().map(|(_, failure)| failure.finding.clone()).collect();
        let complete = report.is_complete() && plan.waiting == 0;
        for finding in &failures {
            tracing::warn!(sync = %sync, commit = %plan.revision, code = finding.code.code, "not applied: {finding}");
        }
        if !failures.is_empty() {
            self.announce_sync(sync, &failures);
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.inventory = inventory;
        let repeated = state.failures == failures && !failures.is_empty();
        state.failures.clone_from(&failures);
        state.attempts = if complete { 0 } else { state.attempts.saturating_add(1) };
        if complete {
            let before = std::mem::replace(&mut state.applied, state.accepted.clone());
            state.settled = state.judging.take();
            self.release(before.as_deref(), sync);
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
    fn release(&mut self, before: Option<&DesiredState>, sync: &SyncRef) {
        let Some(accepted) = self.syncs.get(sync).and_then(|state| state.accepted.clone()) else { return };
        for object in before.into_iter().flat_map(DesiredState::iter) {
            if accepted.get(&object.reference).is_none() && self.live.owner_of(&object.reference) == Some(sync) {
                self.live.release(&object.reference);
            }
        }
    }

    fn record_outcome(
        &mut self,
        sync: &SyncRef,
        plan: &AppliedPlan,
        result: RolloutResult,
        failures: Vec<Finding>,
        now: Timestamp,
    ) {
        let (journal, events, sync, revision) =
            (self.journal.clone(), self.events.clone(), sync.clone(), plan.revision.to_string());
        tokio::task::spawn_blocking(move || {
            FaultPoint::Remembered.pass();
            let recorded = journal.outcome(now, &sync, &revision, result, &failures).map(drop);
            FaultPoint::OutcomeRecorded.pass();
            events.blocking_send(Event::Remembered { sync, result: recorded }).ok();
        });
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

    /// An incomplete roll-out is tried again, later each time.
    pub(crate) fn try_later(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let pause = RETRY_FIRST.saturating_mul(1 << state.attempts.min(6)).min(RETRY_MAX);
        state.phase = Phase::Waiting { until: Instant::now() + pause };
        state.settled = None;
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    /// Writes to `expected/` what an answer taught.
    fn remember(
        &mut self,
        object: Option<&DesiredObject>,
        seen: &cluster::Sighting,
        baseline: Option<Vec<u8>>,
        body: Option<Digest>,
        how: Remember,
    ) {
        let (Some(object), Some(applied)) = (object, body) else { return };
        let raw = |bytes: Vec<u8>| {
            String::from_utf8(bytes).ok().and_then(|text| serde_json::value::RawValue::from_string(text).ok())
        };
        let known = self.live.expected(&object.reference);
        if how == Remember::Keep && known.is_some_and(|known| known.applied == applied) {
            return;
        }
        let response: serde_json::Value = serde_json::from_slice(seen.raw.json()).unwrap_or_default();
        let declared: serde_json::Value = serde_json::from_slice(&object.body).unwrap_or_default();
        let served = plan::as_served(&declared, &response, &object.reference.group_kind);
        let record = ExpectedRecord {
            object: object.reference.clone(),
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
            generation: seen.generation,
            applied,
            served: (!object.sensitive && served != declared).then(|| raw(manifest::canonical_json(&served))).flatten(),
            baseline: baseline.and_then(raw),
        };
        self.pending_records.push(record);
    }

    fn forget(&mut self, reference: &ObjectRef) {
        self.forgotten.push(reference.clone());
    }

    /// Writes what was learnt since the last turn, with one sync, off the loop.
    pub(crate) fn flush_expected(&mut self) {
        if self.pending_records.is_empty() && self.forgotten.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.pending_records);
        let forgotten = std::mem::take(&mut self.forgotten);
        let store = self.expected.clone();
        tokio::task::spawn_blocking(move || {
            // A panic elsewhere left whole lines; the file is checked by digest anyway.
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = store.commit(&records, &forgotten) {
                // Objects without a record are compared by their declared fields.
                tracing::warn!(error = %error, "expected/ was not written");
            }
        });
    }

    /// The log takes no entries: roll-outs stop, and everybody is told.
    pub(crate) fn log_failed(&mut self, error: &LogError) {
        let full = error.is_out_of_space() || error.is_read_only();
        tracing::error!(error = %error, full, "the audit log cannot be written");
        let mut problem = finding(
            ControllerCode::A140,
            "state volume",
            &format!("the log cannot be written: {error}"),
            "a writable state volume with free space",
        );
        "make room on the state volume, or mount it writable; roll-outs go on by themselves"
            .clone_into(&mut problem.fix);
        self.log_problem = Some(problem);
        self.metrics.log_full.set(1);
        self.dirty.extend(self.syncs.keys().cloned().map(Dirty::Sync));
    }
}

/// Whether a record is written even if nothing changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remember {
    /// The object is new.
    New,
    /// Only if another body was applied.
    Keep,
}

fn state_applied<'a>(state: &'a State, sync: &SyncRef) -> Option<&'a Arc<DesiredState>> {
    state.syncs.get(sync)?.applied.as_ref()
}

fn applied_is(applied: Option<&Arc<DesiredState>>, desired: &DesiredState) -> bool {
    applied.is_some_and(|applied| applied.commit().id() == desired.commit().id())
}

/// The declaration of an object, for comparison.
#[must_use]
pub(crate) fn declared_of(object: &DesiredObject) -> Declared<'_> {
    Declared {
        body: &object.body,
        kind: &object.reference.group_kind,
        visibility: if object.sensitive { Visibility::Masked } else { Visibility::Shown },
    }
}
