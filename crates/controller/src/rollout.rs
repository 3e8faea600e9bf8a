//! From a verified revision to applied objects: render and judge, decide, record, apply, record.

use std::{collections::HashSet, sync::Arc, time::Instant};

use audit::{LogError, Receipt};
use cluster::Current;
use jiff::Timestamp;
use manifest::{Finding, GroupKind, shell_quote};
use plan::{
    ApprovedPlan, Decision, DesiredState, Fidelity, Inputs, PlanOrigin, Question, SyncRef, VerdictInputs, decide,
};
use trust::TrustMode;

use crate::{
    code::ControllerCode,
    event::Event,
    fault::FaultPoint,
    order_turns::{self, Turn},
    report::chain,
    resources::finding,
    rollback_gate::{candidate_verdict, kept_verdict},
    rollback_orders,
    rollbacks::RolledBack,
    source_gate::Verified,
    state::{Dirty, Phase, Resume, State, VerdictKey},
    sync_gate::{self, Prepared, SyncJob},
};

/// The most revisions in a row that may stay incomplete and are remembered for pruning: a push every
/// ten minutes for a working day.
pub(crate) const MAX_PARTIAL: usize = 48;

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
        let now = Instant::now();
        // The cheap questions first: these are asked at every turn.
        let may_order = state.turns.may_order(state.phase, now);
        let has_order = may_order && rollback_orders::any_due(&self.rollbacks, sync, now);
        let is_due = order_turns::is_due(state.phase, now);
        if !(is_due || has_order) || (state.superseded.is_some() && !self.record_superseded(sync)) {
            return;
        }
        let Some(state) = self.syncs.get(sync) else { return };
        if state.resume != Resume::Done || state.gone {
            return;
        }
        let (phase, candidate) = (state.phase, self.to_judge(sync));
        let turn = state.turns.turn(phase, candidate.is_some(), has_order, now);
        if turn == Turn::Order && self.judge_rollback(sync) || !is_due {
            return;
        }
        let Some((verified, key)) = candidate else { return self.give_up_waiting(sync) };
        if !self.is_observed(sync) {
            return;
        }
        let Some(job) = self.sync_job(sync, &verified) else { return };
        let kept = self.kept_to(sync);
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Preparing;
        state.turns.candidate_begins();
        state.candidate = Some(key.commit);
        state.judging = Some(key);
        state.requests.begin();
        let (sync, failed) = (sync.clone(), sync.clone());
        self.blocking(
            move || match sync_gate::is_kept(&job, &verified) {
                Ok(true) => Event::Kept { sync, verdict: kept_verdict(&job, &verified, kept.as_ref()) },
                Ok(false) => Event::Prepared { sync, outcome: candidate_verdict(&job, &verified, kept.as_ref()) },
                Err(findings) => Event::Prepared { sync, outcome: Err(findings) },
            },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
    }

    /// What is to be judged for a Sync: what its source has verified, if it was not judged like this and may advance.
    fn to_judge(&self, sync: &SyncRef) -> Option<(Arc<Verified>, VerdictKey)> {
        let (verified, key) = self.verdict_key(sync)?;
        if self.syncs.get(sync)?.settled.as_ref() == Some(&key) {
            return None;
        }
        // Without its TrustRoot nothing advances; when that changed, what is verified is judged by it first.
        self.source_of(sync).and_then(|(key, _)| self.root_of(key))?;
        (self.current(sync)?.trust_digest == key.trust).then_some((verified, key))
    }

    /// Whether the roll-out of what is accepted is not over, and goes on by itself.
    #[must_use]
    pub(crate) fn is_unfinished(&self, sync: &SyncRef) -> bool {
        let Some(state) = self.syncs.get(sync).filter(|state| state.is_incomplete()) else { return false };
        let commit = match state.phase {
            Phase::Applying | Phase::Waiting { .. } => return true,
            Phase::Preparing if state.attempts > 0 => return true,
            Phase::Preparing => state.judging.as_ref().map(|key| key.commit),
            Phase::Idle => self.to_judge(sync).map(|(_, key)| key.commit),
        };
        commit.is_some() && commit == state.accepted.as_ref().map(|accepted| accepted.commit().id())
    }

    /// Whether the watches of everything the Sync owns have delivered their first list.
    pub(crate) fn is_observed(&self, sync: &SyncRef) -> bool {
        let Some(state) = self.syncs.get(sync) else { return false };
        let owned = [&state.accepted, &state.applied].into_iter().flatten().flat_map(|state| state.iter());
        let kinds: HashSet<_> = owned.map(|object| (&object.reference.group_kind, &object.api_version)).collect();
        let discovery = self.cluster.discovery();
        // What is not served in the declared version is not watched; the candidate may declare another.
        let is_served = |(kind, version): (&GroupKind, &String)| discovery.resource(version, &kind.kind).is_some();
        kinds.into_iter().all(|kind| self.is_synced(kind.0) || !is_served(kind))
    }

    pub(crate) fn verdict_key(&self, sync: &SyncRef) -> Option<(Arc<Verified>, VerdictKey)> {
        let spec = self.syncs.get(sync)?.obeyed.clone()?;
        let verified = self.source_of(sync)?.1.verified.clone()?;
        let key = VerdictKey {
            commit: verified.commit.id(),
            trust: verified.commit.trust_digest(),
            policy: verified.policies.digest(),
            spec: spec.digest().ok()?,
            broken: verified.broken.is_some(),
        };
        Some((verified, key))
    }

    /// What the sync gate needs for this Sync.
    #[must_use]
    pub(crate) fn sync_job(&self, sync: &SyncRef, verified: &Verified) -> Option<SyncJob> {
        // Only policies ask whether an object is created or updated.
        let present = if verified.policies.policies().is_empty() { HashSet::new() } else { self.live.present() };
        Some(SyncJob { present: Arc::new(present), ..self.render_job(sync)? })
    }

    /// A candidate was rendered and judged: decide.
    pub(crate) fn prepared(&mut self, sync: &SyncRef, outcome: Result<Prepared, Vec<Finding>>, now: Timestamp) {
        let Some(verdict) = self.verdict_inputs(sync, now) else { return self.idle(sync) };
        let Some(state) = self.syncs.get(sync) else { return };
        let Some(spec) = state.obeyed.clone() else { return self.idle(sync) };
        let Some(key) = state.judging.clone() else { return self.idle(sync) };
        if self.verdict_key(sync).is_none_or(|(_, current)| current != key) {
            // Judged by what is no longer in force: the verdict is worth nothing.
            self.idle(sync);
            return self.consider(sync);
        }
        let prepared = match outcome {
            Ok(prepared) => prepared,
            Err(findings) => return self.refuse(sync, &key, findings, None, now),
        };
        if prepared.findings.is_empty()
            && state.logged_spec == Some(key.spec)
            && state.applied.as_ref().is_some_and(|applied| same(applied, &prepared.desired))
        {
            // Nothing is ordered that was not applied already; what left it since is drift.
            return self.settle(sync, &prepared.desired, key);
        }
        let (applied, partial, interrupted) = (state.applied.clone(), state.partial.clone(), state.interrupted.clone());
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            mode: self.mode_of(sync),
            question: Question::Advance {
                candidate: &prepared.desired,
                applied: applied.as_deref(),
                partial: &partial,
                interrupted: interrupted.as_deref(),
                trailer: prepared.trailer,
            },
            live: &self.live,
            claims: &self.live,
            findings: &prepared.findings,
            verdict: &verdict,
        });
        match decision {
            Decision::Refuse(refusal) => self.refuse(sync, &key, refusal.findings, Some(&verdict), now),
            Decision::Apply(plan) => match self.window_hold(sync, &plan, &prepared.desired, &key, now) {
                Some(hold) => self.hold_for_window(sync, key, hold, now),
                None => self.record_advance(sync, plan, prepared.desired, now),
            },
            Decision::Report(proposal) => self.report_plan(sync, key, proposal, now),
            // An advance is never answered like this.
            Decision::Revert(_) | Decision::Flag(..) | Decision::Wait(_) | Decision::Settled => self.idle(sync),
        }
    }

    fn settle(&mut self, sync: &SyncRef, desired: &Arc<DesiredState>, key: VerdictKey) {
        if let Some(state) = self.syncs.get_mut(sync) {
            state.phase = Phase::Idle;
            state.judged(Some(key));
            state.held = None;
            state.enforcement.forget_proposal();
            state.accepted = Some(desired.clone());
            state.applied = Some(desired.clone());
        }
        self.refusals.clear(&format!("Sync {sync}"));
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    pub(crate) fn idle(&mut self, sync: &SyncRef) {
        if let Some(state) = self.syncs.get_mut(sync) {
            state.phase = Phase::Idle;
        }
    }

    /// The inputs that verdicts about a Sync are printed with.
    #[must_use]
    pub(crate) fn verdict_inputs(&self, sync: &SyncRef, now: Timestamp) -> Option<VerdictInputs> {
        let current = self.current(sync)?;
        let state = self.syncs.get(sync)?;
        Some(VerdictInputs {
            trust_digest: current.trust_digest,
            policy_digest: current.policy_digest,
            floor: state.accepted.as_ref().map(|accepted| accepted.commit().id()),
            time: now,
            fidelity: Fidelity::Raw,
        })
    }

    /// Refused candidates are judged again: what they were refused for may have gone.
    pub(crate) fn unsettle_held(&mut self) {
        for state in self.syncs.values_mut().filter(|state| state.held.is_some()) {
            state.settled = None;
        }
    }

    /// What trust and policy say now: the present TrustRoot, and what the verified revision puts in
    /// force. If the source or its TrustRoot is gone, what they said last: then nothing advances, but
    /// healing goes on.
    pub(crate) fn current(&self, sync: &SyncRef) -> Option<Current> {
        let source = self.source_of(sync);
        let Some((key, verified)) = source.and_then(|(key, source)| Some((key, source.verified.as_ref()?))) else {
            return self.syncs.get(sync)?.last_current;
        };
        let trust_digest =
            self.root_of(key).map_or_else(|| verified.commit.trust_digest(), |root| verified.trust_digest(&root));
        Some(Current { trust_digest, policy_digest: verified.policies.digest() })
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
        // The same plan under another spec is another decision.
        let known = state.advance.filter(|_| state.logged_spec == state.judging.as_ref().map(|key| key.spec));
        let spec = state.obeyed.as_deref().and_then(|spec| serde_json::to_value(spec).ok()).unwrap_or_default();
        let removed = plan.origin() == PlanOrigin::Removal;
        let root = self.source_key(sync).and_then(|key| {
            // What is removed was judged by the TrustRoot of then.
            if removed { self.root_or_last(&key) } else { self.root_of(&key) }
        });
        let Some(root) = root else { return self.idle(sync) };
        let dropped = if removed { None } else { self.note_dropped(sync, &desired) };
        // Claimed now, so that two Syncs decided one after the other cannot both take an object.
        for object in desired.iter() {
            if self.live.owner_of(&object.reference).is_none() {
                self.live.claim(&object.reference, sync);
            }
        }
        let known = known.filter(|(digest, _)| *digest == plan.digest()).map(|(_, index)| index);
        let (journal, failed) = (self.journal.clone(), sync.clone());
        self.blocking(
            move || {
                let receipt = match known {
                    // The same plan once more: its entry stands.
                    Some(index) => journal.log().recall(index, *plan.digest().as_bytes()),
                    None => journal.advance(now, &root, desired.commit(), &plan, &spec),
                };
                // Before the plan deletes a Sync it is on disk that a commit removed it.
                let receipt = receipt.and_then(|receipt| match dropped {
                    Some(dropped) => journal.removals(now, &dropped).map(|_| receipt),
                    None => Ok(receipt),
                });
                FaultPoint::AdvanceRecorded.pass();
                Event::Recorded { plan: Box::new(plan), desired, order: None, receipt }
            },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
    }

    /// The advance is on disk: from now on it is the accepted state.
    pub(crate) fn recorded(
        &mut self,
        plan: ApprovedPlan,
        desired: &Arc<DesiredState>,
        order: Option<Box<RolledBack>>,
        receipt: Result<Receipt, LogError>,
    ) {
        let sync = plan.sync().clone();
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                self.log_failed(&error);
                if plan.origin() != PlanOrigin::Removal {
                    self.unclaim(&sync, desired);
                }
                return self.try_later(&sync);
            }
        };
        self.log_problem = None;
        self.metrics.log_full.set(0);
        if self.mode_of(&sync) == TrustMode::Audit {
            // Since it was decided. What is removed waits, and its entry stands.
            let removes = plan.origin() == PlanOrigin::Removal;
            return if removes { self.try_later(&sync) } else { self.superseded(&sync, &plan, desired) };
        }
        if plan.origin() == PlanOrigin::Removal {
            self.metrics.decided("prune", "");
            if self.syncs.get(&sync).is_some_and(|state| state.gone) {
                return self.start(plan, receipt);
            }
            return self.idle(&sync);
        }
        self.metrics.decided(plan.origin().name(), "");
        let counts = plan.counts();
        tracing::info!(
            sync = %sync, commit = %plan.revision(), entry = receipt.index(), created = counts.created,
            configured = counts.configured, pruned = counts.pruned, unchanged = counts.unchanged, "accepted"
        );
        let current = self.current(&sync);
        if current.is_none_or(|current| !is_judged_by(&plan, current)) {
            return self.superseded(&sync, &plan, desired);
        }
        if let Some(state) = self.syncs.get_mut(&sync) {
            state.last_current = current;
            state.accept(desired, (plan.digest(), receipt.index()), order.map(|order| *order));
        }
        self.refusals.clear(&format!("Sync {sync}"));
        for object in desired.iter() {
            self.live.claim(&object.reference, &sync);
        }
        self.watch_kinds();
        self.judge_orders();
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.removals_by(&sync);
        self.tell_rollback(&sync, &plan);
        self.start(plan, receipt);
    }

    /// Trust or policy moved on while the advance was written to the log: it is not acted on, what was
    /// accepted before stays in force, and the candidate is judged again.
    fn superseded(&mut self, sync: &SyncRef, plan: &ApprovedPlan, desired: &DesiredState) {
        tracing::warn!(sync = %sync, commit = %plan.revision(), "trust or policy moved on since the verdict: judged again");
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.superseded = Some(plan.revision().to_string());
        state.settled = None;
        state.phase = Phase::Idle;
        self.unclaim(sync, desired);
        self.consider(sync);
    }

    /// Writes that the newest advance in the log was not acted on. Until that is on disk nothing
    /// advances, and it is tried again: a restart would take that advance for accepted.
    fn record_superseded(&mut self, sync: &SyncRef) -> bool {
        let Some(state) = self.syncs.get_mut(sync) else { return false };
        let Some(revision) = state.superseded.clone() else { return true };
        match self.journal.superseded(Timestamp::now(), sync, &revision) {
            Ok(_) => {
                state.superseded = None;
                true
            }
            Err(error) => {
                state.attempts = state.attempts.saturating_add(1);
                self.log_failed(&error);
                self.try_later(sync);
                false
            }
        }
    }

    /// The log takes no entries: roll-outs stop, and everybody is told.
    pub(crate) fn log_failed(&mut self, error: &LogError) {
        let full = error.is_out_of_space() || error.is_read_only();
        let why = chain(error);
        tracing::error!(error = why, full, "the audit log cannot be written");
        let mut problem = finding(
            ControllerCode::A140,
            "state volume",
            &format!("the log cannot be written: {why}"),
            "a writable state volume with free space",
        );
        problem.fix = format!(
            "kubectl -n {} exec {} -- df -h {} # make room, or mount it writable; roll-outs go on by themselves",
            self.options.namespace,
            self.options.identity,
            shell_quote(&self.options.state_dir.to_string_lossy())
        )
        .into();
        let syncs: Vec<SyncRef> = self.syncs.keys().cloned().collect();
        // Once, until it takes entries again: which file it is this time is no news.
        if self.log_problem.is_none() {
            tracing::error!(code = problem.code.code, reason = problem.code.reason, "{problem}");
            for sync in &syncs {
                self.announce_sync(sync, std::slice::from_ref(&problem));
            }
        }
        self.log_problem = Some(problem);
        self.metrics.log_full.set(1);
        self.dirty.extend(syncs.into_iter().map(Dirty::Sync));
    }
}

/// Whether a plan was judged by what trust and policy say now.
fn is_judged_by(plan: &ApprovedPlan, current: Current) -> bool {
    let inputs = plan.inputs();
    inputs.trust_digest == current.trust_digest && inputs.policy_digest == current.policy_digest
}

/// Whether two states are of one commit and declare the same bytes.
pub(crate) fn same(applied: &DesiredState, candidate: &DesiredState) -> bool {
    applied.commit().id() == candidate.commit().id()
        && applied.len() == candidate.len()
        && candidate
            .iter()
            .all(|object| applied.get(&object.reference).is_some_and(|before| before.digest == object.digest))
}
