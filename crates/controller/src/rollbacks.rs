//! Orders to take a Sync back to a revision that it accepted earlier: seen, judged, in force, over.
//!
//! An order works once. What was obeyed is in the log and stays in force, also when its object is deleted and after a
//! restart, until the Sync accepts another revision: one that changes something in its folder, or comes with another spec.

use std::{sync::Arc, time::Instant};

use cluster::{Note, Severity, crd};
use jiff::Timestamp;
use manifest::{Digest, Finding};
use plan::{ApprovedPlan, Decision, DesiredState, INSTANCE_LABEL, Inputs, PlanOrigin, Question, SyncRef, decide};
use serde::{Deserialize, Serialize};
use trust::{CommitId, ObeyedOrder, SignedOrder, TrustCode};

use crate::{
    announce::regarding,
    code::ControllerCode,
    conditions::{Verdict, set},
    event::Event,
    fault::FaultPoint,
    order_refusals::RefusedOrder,
    outbox::Status,
    resources::{finding, label},
    rollback_gate::{self, RollbackJob, RollbackVerdict},
    rollback_orders::{self, Answer, RollbackState},
    state::{Dirty, Key, Phase, State},
};

/// An order by which a Sync is held to an earlier revision, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RolledBack {
    /// The newest revision that the Sync had accepted.
    pub over: CommitId,
    /// The RollbackRequest, as `namespace/name`.
    pub request: String,
    /// What makes it one that works once.
    pub nonce: String,
    /// Who signed it.
    pub signers: Vec<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Digest of the Sync's spec under which it was obeyed.
    pub spec: Digest,
    /// The commit whose trust file said who may order it.
    pub judged_by: CommitId,
    /// The revision that the Sync was held to before: `over`, or an earlier one.
    pub instead_of: CommitId,
    /// What was signed.
    pub order: SignedOrder,
    /// The signatures.
    pub signatures: Vec<String>,
}

impl RolledBack {
    /// As the status of the Sync has it.
    pub(crate) fn shown(&self) -> crd::RolledBack {
        crd::RolledBack {
            from: self.over.to_string(),
            request: self.request.clone(),
            signers: self.signers.clone(),
            reason: self.reason.clone(),
            since: self.since.to_string(),
        }
    }

    /// As a judgement takes it.
    pub(crate) fn obeyed(&self) -> ObeyedOrder {
        ObeyedOrder {
            request: self.request.clone(),
            order: self.order.clone(),
            signatures: self.signatures.clone(),
            judged_by: self.judged_by,
            since: self.since,
        }
    }

    /// For a condition or an Event, after the commit.
    pub(crate) fn words(&self) -> String {
        format!(
            "rolled back from {} by {} ({}) until a commit changes the folder of the Sync",
            self.over,
            self.signers.join(", "),
            self.reason
        )
    }
}

/// The kind of these orders.
const KIND: &str = "RollbackRequest";

impl State {
    /// The object of an order is gone. What was obeyed stays in force.
    pub(crate) fn forget_rollback(&mut self, key: &Key) {
        self.rollbacks.remove(key);
        self.refusals.clear(&format!("{KIND} {key}"));
    }

    /// The commit that a Sync was rolled back from, unless it has another spec since.
    #[must_use]
    pub(crate) fn rolled_back_from(&self, sync: &SyncRef) -> Option<CommitId> {
        let state = self.syncs.get(sync)?;
        let spec = state.obeyed.as_ref()?.digest().ok()?;
        state.rolled_back.as_ref().filter(|order| order.spec == spec).map(|order| order.over)
    }

    /// Starts the judgement of an order about a Sync that has nothing else to do. Returns whether there is one.
    pub(crate) fn judge_rollback(&mut self, sync: &SyncRef) -> bool {
        let moment = Instant::now();
        let Some((_, judging)) = self.verdict_key(sync) else { return false };
        let choice = self.syncs.get(sync).map(|state| state.turns.choice()).unwrap_or_default();
        let turn = rollback_orders::take_turn(&mut self.rollbacks, sync, &judging.trust, choice, moment);
        self.dirty.extend(turn.crowded.into_iter().map(Dirty::Rollback));
        let Some(key) = turn.next else { return false };
        let (now, basis) = (Timestamp::now(), self.basis_of_sync(sync));
        if let Some(request) = self.rollbacks.get_mut(&key) {
            request.judged_by(basis);
        }
        let job = self.rollback_job(sync, &key, now);
        if let Some(state) = self.syncs.get_mut(sync).filter(|_state| job.is_some()) {
            state.turns.order_begins(state.phase, moment);
        }
        let job = match job {
            Some(Ok(job)) => job,
            // What it is judged by is not known yet.
            None => return false,
            Some(Err(finding)) => {
                self.rollback_refused(&key, &[finding], Some(judging.trust), now);
                return false;
            }
        };
        let Some(state) = self.syncs.get_mut(sync) else { return false };
        state.phase = Phase::Preparing;
        state.judging = Some(judging);
        let (sync, failed) = (sync.clone(), sync.clone());
        self.blocking(
            move || Event::RollbackJudged { sync, request: key, verdict: Box::new(rollback_gate::judge(&job)) },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
        true
    }

    fn rollback_job(&self, sync: &SyncRef, key: &Key, now: Timestamp) -> Option<Result<RollbackJob, Finding>> {
        let request = self.rollbacks.get(key)?;
        let (verified, by) = self.verdict_key(sync)?;
        let source = self.source_key(sync)?;
        let root = self.root_of(&source)?;
        // What is verified is judged by a changed TrustRoot first.
        if self.current(sync)?.trust_digest != by.trust || !self.is_observed(sync) {
            return None;
        }
        let state = self.syncs.get(sync)?;
        let in_force = state.accepted.as_ref()?.commit().id();
        let accepted = state.rolled_back.as_ref().map_or(in_force, |order| order.over);
        let root_name = &self.sources.get(&source)?.obeyed.as_ref()?.trust_root_ref.name;
        let known = self.roots.get(root_name).map(|root| Arc::clone(&root.signatures)).unwrap_or_default();
        let spec = &request.resource.spec;
        let order = match spec.order(&key.namespace) {
            Ok(order) => order,
            Err(error) => {
                let name = format!("{KIND} {key}");
                return Some(Err(finding(ControllerCode::A142, &name, &error.to_string(), "a spec that can be read")));
            }
        };
        Some(Ok(RollbackJob {
            sync: self.sync_job(sync, &verified)?,
            journal: self.journal.clone(),
            root,
            known,
            verified,
            accepted,
            in_force,
            order,
            nonce: spec.nonce.clone(),
            signatures: spec.signatures.iter().map(|one| one.signature.clone()).collect(),
            seen: request.seen(now),
            waivers: self.sources.get(&source)?.overrides.waivers(),
        }))
    }

    /// An order was judged.
    pub(crate) fn rollback_judged(&mut self, sync: &SyncRef, key: &Key, verdict: RollbackVerdict, now: Timestamp) {
        let judged_by = self.syncs.get(sync).and_then(|state| state.judging.clone());
        if let Some(state) = self.syncs.get_mut(sync) {
            state.phase = state.turns.order_ends();
        }
        let current = self.verdict_key(sync).map(|(_, key)| key);
        let Some(by) = judged_by.filter(|by| current.as_ref() == Some(by)) else {
            // Judged by what is no longer in force: the verdict is worth nothing.
            return self.consider(sync);
        };
        match verdict {
            RollbackVerdict::Used => self.answer_rollback(key, Answer::Used),
            RollbackVerdict::Void(finding) => {
                if let Some(state) = self.syncs.get_mut(sync).filter(|_state| finding.code == TrustCode::W302.entry()) {
                    state.turns.was_unsigned();
                }
                self.rollback_refused(key, &[*finding], Some(by.trust), now);
            }
            RollbackVerdict::Refused(findings) => self.rollback_refused(key, &findings, None, now),
            RollbackVerdict::Good(good) => {
                if let Some(order) = self.ordered(sync, key, good.signers, now)
                    && let Err(findings) = self.roll_back(sync, good.desired, &good.findings, order, now)
                {
                    self.rollback_refused(key, &findings, None, now);
                }
            }
        }
        self.consider(sync);
    }

    fn ordered(&self, sync: &SyncRef, key: &Key, signers: Vec<String>, now: Timestamp) -> Option<RolledBack> {
        let spec = &self.rollbacks.get(key)?.resource.spec;
        let (verified, _) = self.verdict_key(sync)?;
        let state = self.syncs.get(sync)?;
        let in_force = state.accepted.as_ref()?.commit().id();
        Some(RolledBack {
            over: state.rolled_back.as_ref().map_or(in_force, |order| order.over),
            request: key.to_string(),
            nonce: spec.nonce.clone(),
            signers,
            reason: spec.reason.clone(),
            since: now,
            spec: state.obeyed.as_ref()?.digest().ok()?,
            judged_by: verified.commit.id(),
            instead_of: in_force,
            order: spec.order(&key.namespace).ok()?,
            signatures: spec.signatures.iter().map(|one| one.signature.clone()).collect(),
        })
    }

    /// Decides about an order by those who may give it, and has it written down before anything is done.
    pub(crate) fn roll_back(
        &mut self,
        sync: &SyncRef,
        target: Arc<DesiredState>,
        findings: &[Finding],
        order: RolledBack,
        now: Timestamp,
    ) -> Result<(), Vec<Finding>> {
        let (Some(verdict), Some(state)) = (self.verdict_inputs(sync, now), self.syncs.get(sync)) else {
            return Ok(());
        };
        let Some(spec) = state.obeyed.clone() else { return Ok(()) };
        let (applied, partial, interrupted) = (state.applied.clone(), state.partial.clone(), state.interrupted.clone());
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            mode: self.mode_of(sync),
            question: Question::Rollback {
                target: &target,
                applied: applied.as_deref(),
                partial: &partial,
                interrupted: interrupted.as_deref(),
            },
            live: &self.live,
            claims: &self.live,
            findings,
            verdict: &verdict,
        });
        match decision {
            Decision::Apply(plan) => self.record_rollback(sync, plan, target, order, now),
            Decision::Refuse(refusal) => return Err(refusal.findings),
            Decision::Report(proposal) => return Err(vec![self.audit_finding(sync, Some(&proposal))]),
            // A rollback is never answered like this.
            Decision::Revert(_) | Decision::Flag(..) | Decision::Wait(_) | Decision::Settled => {}
        }
        Ok(())
    }

    fn record_rollback(
        &mut self,
        sync: &SyncRef,
        plan: ApprovedPlan,
        desired: Arc<DesiredState>,
        order: RolledBack,
        now: Timestamp,
    ) {
        let Some(root) = self.source_key(sync).and_then(|key| self.root_of(&key)) else { return };
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Applying;
        // The same order and the same plan once more: its entry stands.
        let same = state.rolled_back.as_ref() == Some(&order);
        let known = state.advance.filter(|(digest, _)| same && *digest == plan.digest()).map(|(_, index)| index);
        let spec = state.obeyed.as_deref().and_then(|spec| serde_json::to_value(spec).ok()).unwrap_or_default();
        for object in desired.iter() {
            if self.live.owner_of(&object.reference).is_none() {
                self.live.claim(&object.reference, sync);
            }
        }
        let (journal, failed) = (self.journal.clone(), sync.clone());
        self.blocking(
            move || {
                let receipt = match known {
                    Some(index) => journal.log().recall(index, *plan.digest().as_bytes()),
                    None => journal.rollback(now, &root, desired.commit(), &plan, &order, &spec),
                };
                FaultPoint::AdvanceRecorded.pass();
                Event::Recorded { plan: Box::new(plan), desired, order: Some(Box::new(order)), receipt }
            },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
    }

    /// What a Sync accepted is on disk: an order is in force now, or no longer.
    pub(crate) fn tell_rollback(&mut self, sync: &SyncRef, plan: &ApprovedPlan) {
        let about: Vec<Key> =
            self.rollbacks.iter().filter(|(_, request)| request.is_about(sync)).map(|(key, _)| key.clone()).collect();
        self.dirty.extend(about.into_iter().map(Dirty::Rollback));
        let Some(state) = self.syncs.get(sync) else { return };
        let Some(order) = state.rolled_back.as_ref().filter(|_| plan.origin() == PlanOrigin::Rollback) else { return };
        let text = format!("{}, {}", plan.revision(), order.words());
        tracing::warn!(sync = %sync, commit = %plan.revision(), request = order.request, "accepted: {text}");
        let uid = state.resource.metadata.uid.clone();
        let regarding = regarding("Sync", Some(&sync.namespace), &sync.name, uid);
        let note = Note { severity: Severity::Warning, reason: "RolledBack", action: "Rollback", text, related: None };
        self.tell(&regarding, [note]);
        let nonce = order.nonce.clone();
        for request in self.rollbacks.values_mut().filter(|request| request.is_about(sync)) {
            if request.resource.spec.nonce == nonce {
                request.answer = Answer::Used;
            }
        }
    }

    /// `void`: the trust under which it never counts.
    fn rollback_refused(&mut self, key: &Key, findings: &[Finding], void: Option<Digest>, now: Timestamp) {
        let Some(first) = findings.first().cloned() else { return };
        let Some(request) = self.rollbacks.get(key) else { return };
        let (revision, uid) = (request.resource.spec.to.clone(), request.resource.metadata.uid.clone());
        let regarding = regarding(KIND, Some(&key.namespace), &key.name, uid);
        let order = RefusedOrder { kind: KIND, action: "Rollback", key, regarding, revision: &revision, findings };
        self.order_refused(order, now);
        if let Some(request) = self.rollbacks.get_mut(key) {
            request.refuse(first, void, Instant::now());
        }
        self.dirty.insert(Dirty::Rollback(key.clone()));
    }

    fn answer_rollback(&mut self, key: &Key, answer: Answer) {
        if let Some(request) = self.rollbacks.get_mut(key) {
            request.answer = answer;
        }
        self.dirty.insert(Dirty::Rollback(key.clone()));
    }

    /// Writes the status of a RollbackRequest.
    pub(crate) fn write_rollback(&self, key: &Key, now: Timestamp) {
        if let Some(request) = self.rollbacks.get(key) {
            self.tell_rollback_request(key, request, now);
        }
    }

    /// Writes the status of one, kept or not.
    pub(crate) fn tell_rollback_request(&self, key: &Key, request: &RollbackState, now: Timestamp) {
        let sync = SyncRef { namespace: key.namespace.clone(), name: request.resource.spec.sync.clone() };
        let state = self.syncs.get(&sync).filter(|state| !state.gone);
        let ours = self.options.is_ours(label(&request.resource.metadata, INSTANCE_LABEL));
        if state.is_none() && !ours {
            // Another controller's, as its Sync may be.
            return;
        }
        let ready = match (state, &request.answer) {
            (None, _) => {
                let name = format!("{KIND} {key}");
                let missing = format!("Sync {sync} is not there");
                Verdict::refused("Ready", &finding(ControllerCode::A141, &name, &missing, "an existing Sync"))
            }
            (_, Answer::Pending) => Verdict::unknown("Ready", "Pending", "it is not judged yet"),
            (_, Answer::Refused(finding) | Answer::Crowded(finding)) => Verdict::refused("Ready", finding),
            (Some(state), Answer::Used) => {
                let nonce = &request.resource.spec.nonce;
                match state.rolled_back.as_ref().filter(|order| order.nonce == *nonce) {
                    Some(order) => Verdict::yes("Ready", "InForce", order.words()),
                    None => {
                        Verdict::no("Ready", "Superseded", "another revision was accepted since; an order works once")
                    }
                }
            }
        };
        let stalled = match &request.answer {
            Answer::Refused(finding) | Answer::Crowded(finding) => {
                Verdict::yes("Stalled", finding.code.reason, finding.fix.as_str())
            }
            Answer::Pending | Answer::Used => Verdict::no("Stalled", "Progressing", ""),
        };
        let generation = request.resource.metadata.generation;
        let mut status = request.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        set(&mut status.conditions, [ready, stalled], generation, now);
        let mut resource = request.resource.clone();
        // While it waits it has no need of them.
        resource.spec.signatures = Vec::new();
        self.reporter.status(Status::Rollback(resource, Box::new(status)));
    }
}
