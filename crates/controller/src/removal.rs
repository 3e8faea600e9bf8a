//! A Sync is gone: its objects stay (`Orphan`), or go (`Delete`, if an accepted commit removed it and
//! the commits since say how many objects go). Until everything is gone it is remembered, in the log
//! too; nothing of it is healed meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cluster::{ApplyReport, crd};
use git::Mirror;
use jiff::Timestamp;
use manifest::{Finding, GroupKind, ObjectRef};
use plan::{Decision, DeletionPolicy, DesiredState, Inputs, PruneTrailer, Question, SyncRef, decide};
use serde::{Deserialize, Serialize};
use trust::CommitId;

use crate::{
    event::{AppliedPlan, Event},
    metrics::OwnerLabels,
    prune_trailer::{self, Asked},
    refusals::Refused,
    resume,
    state::{Dirty, Held, Phase, Resume, State},
};

/// Pause before a removal that was refused is looked at again without a new commit.
const HELD_AGAIN: Duration = Duration::from_secs(60);

/// By what a Sync was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// The Sync that declared it.
    pub by: SyncRef,
    /// The last revision of that Sync that did.
    pub since: String,
}

/// Whether an accepted commit removed a Sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    Yes,
    No,
    /// What was accepted before the restart is not known yet.
    Unknown,
}

impl State {
    /// A Sync was deleted in the cluster.
    pub(crate) fn sync_deleted(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get_mut(sync).filter(|state| !state.gone) else { return };
        state.gone = true;
        (state.judging, state.settled, state.held, state.attempts) = (None, None, None, 0);
        self.remove_gone();
    }

    /// Compares what `sync` declares with `after`: the Syncs that it no longer declares are removed by
    /// an accepted commit, and nothing else may tear down what they applied. Returns all that were
    /// removed and are not finished, if `after` changes that.
    pub(crate) fn note_dropped(&mut self, sync: &SyncRef, after: &DesiredState) -> Option<BTreeMap<SyncRef, Dropped>> {
        let before = self.dropped.clone();
        let ours = |object: &&ObjectRef| object.group_kind == GroupKind::new(crd::GROUP, "Sync");
        if let Some(accepted) = self.syncs.get(sync).and_then(|state| state.accepted.as_ref()) {
            let declared = accepted.iter().map(|object| &object.reference).filter(ours);
            for reference in declared.filter(|reference| after.get(reference).is_none()) {
                let dropped = Dropped { by: sync.clone(), since: accepted.commit().id().to_string() };
                self.dropped.entry(crate::resources::sync_of(reference)).or_insert(dropped);
            }
        }
        for declared in after.iter().map(|object| &object.reference).filter(ours) {
            self.dropped.remove(&crate::resources::sync_of(declared));
        }
        (before != self.dropped).then(|| self.dropped.clone())
    }

    fn was_removed(&self, sync: &SyncRef) -> Removed {
        let Some(dropped) = self.dropped.get(sync) else {
            return if self.removals == Resume::Done { Removed::No } else { Removed::Unknown };
        };
        let reference = self.reference_of(sync);
        let declares = |state: &crate::state::SyncState| {
            state.accepted.as_ref().is_some_and(|accepted| accepted.get(&reference).is_some())
        };
        match self.syncs.get(&dropped.by).filter(|by| !by.gone) {
            // Another repository, or the same one again, wants it.
            _ if self.syncs.values().any(declares) => Removed::No,
            Some(by) if by.accepted.is_some() => Removed::Yes,
            Some(_) => Removed::Unknown,
            None => Removed::No,
        }
    }

    /// Asks the log, once after a start, which Syncs were removed and not finished.
    pub(crate) fn ask_removals(&mut self) {
        if self.removals != Resume::Needed || !self.knows_orders() {
            return;
        }
        self.removals = Resume::Running;
        let journal = self.journal.clone();
        self.blocking(
            move || Event::RemovalsRead(resume::removals(&journal).map_err(|finding| finding.to_string())),
            |why| Event::RemovalsRead(Err(why)),
        );
    }

    /// The Syncs that were removed before the restart.
    pub(crate) fn removals_read(&mut self, outcome: Result<BTreeMap<SyncRef, Dropped>, String>) {
        self.removals = Resume::Done;
        let removals = outcome.unwrap_or_else(|why| {
            tracing::error!(why, "which Syncs were removed cannot be read from the log; their objects stay");
            BTreeMap::new()
        });
        for (sync, dropped) in removals {
            if !self.syncs.contains_key(&sync)
                && let Some(state) = crate::resources::gone_sync(&sync)
            {
                self.syncs.insert(sync.clone(), state);
            }
            self.dropped.entry(sync).or_insert(dropped);
        }
        self.resume_syncs();
        self.remove_gone();
    }

    /// Takes the next step with every Sync that is gone.
    pub(crate) fn remove_gone(&mut self) {
        let now = Instant::now();
        let is_due = |phase: Phase| match phase {
            Phase::Idle => true,
            Phase::Waiting { until } => until <= now,
            Phase::Preparing | Phase::Applying => false,
        };
        let gone = self.syncs.iter().filter(|(_, state)| state.gone && is_due(state.phase));
        let gone: Vec<SyncRef> = gone.map(|(sync, _)| sync.clone()).collect();
        for sync in gone {
            self.remove(&sync);
        }
    }

    fn remove(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get(sync) else { return };
        let Some(spec) = state.obeyed.clone() else {
            if state.spec_resume == Resume::Done {
                // The log knows nothing of it, or that it ended.
                self.forget_sync(sync);
            }
            return;
        };
        if state.resume != Resume::Done {
            return;
        }
        let root = self.source_key(sync).and_then(|key| self.root_or_last(&key));
        let may_delete = spec.deletion_policy == DeletionPolicy::Delete
            && root.is_some()
            && (state.accepted.is_some() || state.applied.is_some());
        match self.was_removed(sync) {
            Removed::Yes if may_delete => {}
            Removed::Unknown if may_delete => return,
            _ => {
                tracing::info!(sync = %sync, "the Sync is gone; its objects stay");
                return self.forget_sync(sync);
            }
        }
        if self.is_observed(sync) {
            self.ask_trailer(sync);
        }
    }

    /// Asks the commits that removed a Sync, and those since, how many objects are to go.
    fn ask_trailer(&mut self, sync: &SyncRef) {
        let Some(Dropped { by, since }) = self.dropped.get(sync).cloned() else { return };
        let Some(head) = self.revision_of(&by) else { return };
        let (Some(source), Some(folder)) =
            (self.source_key(&by), self.syncs.get(&by).and_then(|state| Some(state.obeyed.as_ref()?.path.clone())))
        else {
            return;
        };
        let Some(verified) = self.sources.get(&source).and_then(|state| state.verified.clone()) else {
            return;
        };
        let (mirror, root) = (self.mirror_of(&source), self.root_of(&source));
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Preparing;
        if let Some(accepted) = state.accepted.take() {
            // From here on nothing of it is healed, and what earlier revisions left behind goes as well.
            let before = state.applied.replace(accepted);
            state.partial.splice(0..0, before);
        }
        let (sync, failed) = (sync.clone(), sync.clone());
        self.blocking(
            move || {
                let said =
                    Mirror::open(&mirror).map_err(|error| git::GitError::from(error).finding()).and_then(|mirror| {
                        let since: Option<CommitId> = since.parse().ok();
                        let (trust, root) = (&*verified.trust_file, root.as_deref());
                        let asked = Asked { trust, root, since: since.as_ref(), head: &head, folder: &folder };
                        prune_trailer::said(mirror.objects(), asked)
                            .map_err(|error| crate::floor::unreadable(&head, &error))
                    });
                Event::RemovalPrepared { sync, trailer: said }
            },
            move |why| Event::Broken { sync: failed, begun: None, why },
        );
    }

    fn revision_of(&self, sync: &SyncRef) -> Option<CommitId> {
        Some(self.syncs.get(sync)?.accepted.as_ref()?.commit().id())
    }

    /// What the commits say is known: deletes what a removed Sync applied, or holds it.
    pub(crate) fn removal_prepared(&mut self, sync: &SyncRef, trailer: Result<PruneTrailer, Finding>, now: Timestamp) {
        self.idle(sync);
        let Some(state) = self.syncs.get(sync).filter(|state| state.gone) else { return };
        let (Some(spec), Some(applied)) = (state.obeyed.clone(), state.applied.clone()) else { return };
        let partial = state.partial.clone();
        let Some(verdict) = self.verdict_inputs(sync, now).filter(|_| self.was_removed(sync) == Removed::Yes) else {
            return self.try_later(sync);
        };
        let trailer = match trailer {
            Ok(trailer) => trailer,
            Err(finding) => return self.hold_removal(sync, vec![finding], now),
        };
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            mode: self.mode_of(sync),
            question: Question::Removal { applied: &applied, partial: &partial, trailer },
            live: &self.live,
            claims: &self.live,
            findings: &[],
            verdict: &verdict,
        });
        match decision {
            Decision::Refuse(refusal) => self.hold_removal(sync, refusal.findings, now),
            Decision::Report(proposal) => {
                let finding = self.audit_finding(sync, Some(&proposal));
                self.hold_removal(sync, vec![finding], now);
            }
            Decision::Apply(plan) => {
                tracing::info!(sync = %sync, objects = plan.changes().len(), "an accepted commit removed the Sync; its objects go");
                if let Some(state) = self.syncs.get_mut(sync) {
                    state.held = None;
                }
                self.record_advance(sync, plan, applied, now);
            }
            Decision::Revert(_) | Decision::Flag(..) | Decision::Wait(_) | Decision::Settled => {
                self.forget_sync(sync);
            }
        }
    }

    /// The objects of a removed Sync stay until a commit says more; who removed it is told.
    fn hold_removal(&mut self, sync: &SyncRef, findings: Vec<Finding>, now: Timestamp) {
        let Some(by) = self.dropped.get(sync).map(|dropped| dropped.by.clone()) else { return };
        let revision = self.revision_of(&by).map(|id| id.to_string()).unwrap_or_default();
        let owner = format!("Sync {sync}");
        let before = self.syncs.get(sync).and_then(|state| state.held.clone());
        // The same words for a later commit are no news.
        let refused = Refused { revision: "", findings: &findings, inputs: None };
        if self.refusals.is_new(&owner, &refused) {
            for finding in &findings {
                tracing::warn!(sync = %sync, by = %by, code = finding.code.code, reason = finding.code.reason, "not removed: {finding}");
                self.metrics.decided("hold", finding.code.reason);
            }
            self.announce_sync(&by, &findings);
            self.log_refusal(owner, &revision, &findings, None, now);
        }
        let held = Held::renew(before.as_ref(), revision, findings, None, now);
        self.metrics.hold(&OwnerLabels::sync(sync), Some(&held));
        if let Some(state) = self.syncs.get_mut(sync) {
            state.held = Some(held);
            state.phase = Phase::Waiting { until: Instant::now() + HELD_AGAIN };
        }
        self.dirty.insert(Dirty::Sync(by));
    }

    /// A revision of `by` was accepted: it may say what a removal waits for.
    pub(crate) fn removals_by(&mut self, by: &SyncRef) {
        for (sync, _) in self.dropped.iter().filter(|(_, dropped)| dropped.by == *by) {
            if let Some(state) = self.syncs.get_mut(sync).filter(|state| state.gone)
                && let Phase::Waiting { .. } = state.phase
            {
                state.phase = Phase::Idle;
            }
        }
        self.remove_gone();
    }

    /// Why the objects of a Sync that `by` removed are still there.
    #[must_use]
    pub(crate) fn unfinished_removal(&self, by: &SyncRef) -> Option<Finding> {
        let removed = self.dropped.iter().filter(|(_, dropped)| dropped.by == *by);
        let mut removed = removed.filter_map(|(sync, _)| self.syncs.get(sync)).filter(|state| state.gone);
        removed.find_map(|state| {
            state.held.as_ref().and_then(|held| held.findings.first()).or(state.failures.first()).cloned()
        })
    }

    /// What a removed Sync applied is deleted, or not all of it: then it is tried again.
    pub(crate) fn removed(&mut self, sync: &SyncRef, report: &ApplyReport, plan: &AppliedPlan) {
        let Some(state) = self.syncs.get_mut(sync).filter(|state| state.gone) else { return self.idle(sync) };
        for (reference, failure) in &report.failures {
            tracing::warn!(sync = %sync, object = %reference, code = failure.finding.code.code, "not deleted: {}", failure.finding);
        }
        let mut failures: Vec<Finding> = report.failures.iter().map(|(_, failure)| failure.finding.clone()).collect();
        if state.attempts > 0 {
            failures.extend(plan.waiting.iter().map(|waiting| waiting.finding.clone()));
        }
        let news = state.failures != failures;
        state.failures.clone_from(&failures);
        state.attempts = state.attempts.saturating_add(1);
        let by = self.dropped.get(sync).map(|dropped| dropped.by.clone());
        if let Some(by) = &by {
            self.dirty.insert(Dirty::Sync(by.clone()));
        }
        if report.is_complete() && plan.waiting.is_empty() {
            return self.forget_sync(sync);
        }
        if let Some(by) = by.filter(|_| news) {
            self.announce_sync(&by, &failures);
        }
        self.try_later(sync);
    }

    fn forget_sync(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.remove(sync) else { return };
        let now = Timestamp::now();
        if state.accepted.is_some() || state.applied.is_some() || state.resume != Resume::Done {
            self.note_end(sync, now);
        }
        if let Some(Dropped { by, .. }) = self.dropped.remove(sync) {
            self.dirty.insert(Dirty::Sync(by));
            if let Err(error) = self.journal.removals(now, &self.dropped) {
                self.log_failed(&error);
            }
        }
        self.refusals.clear(&format!("Sync {sync}"));
        // Somebody may have waited for its objects.
        self.unsettle_held();
        let states = [state.accepted, state.applied];
        for object in states.iter().flatten().chain(&state.partial).flat_map(|state| state.iter()) {
            if self.live.owner_of(&object.reference) == Some(sync) {
                self.live.release(&object.reference);
            }
        }
        self.watch_kinds();
        if state.phase == Phase::Applying {
            tracing::debug!(sync = %sync, "a roll-out of a Sync that is gone is still under way");
        }
    }
}
