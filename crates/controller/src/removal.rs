//! A Sync is gone: its objects stay (`Orphan`), or go (`Delete`, if an accepted commit removed it).

use cluster::{ApplyReport, crd};
use jiff::Timestamp;
use manifest::{GroupKind, ObjectRef};
use plan::{Decision, DeletionPolicy, DesiredState, Inputs, Question, SyncRef, decide};

use crate::state::{Phase, Resume, State, SyncState};

impl State {
    /// A Sync was deleted in the cluster.
    pub(crate) fn sync_deleted(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get(sync) else { return };
        let delete = state.obeyed.as_ref().is_some_and(|spec| spec.deletion_policy == DeletionPolicy::Delete);
        let source = self.source_of(sync).map(|(key, _)| key.clone());
        let root = source.and_then(|key| self.root_of(&key));
        if delete && self.dropped.remove(sync) && state.applied.is_some() && root.is_some() {
            return self.remove(sync, Timestamp::now());
        }
        tracing::info!(sync = %sync, "the Sync is gone; its objects stay");
        self.forget_sync(sync);
    }

    /// Remembers the Syncs that `after` no longer declares although `before` did: an accepted commit
    /// removed them, and nothing else may tear down what they applied.
    pub(crate) fn note_dropped(&mut self, before: Option<&DesiredState>, after: &DesiredState) {
        let ours = |object: &&ObjectRef| object.group_kind == GroupKind::new(crd::GROUP, "Sync");
        let before = before.into_iter().flat_map(DesiredState::iter).map(|object| &object.reference).filter(ours);
        let dropped = before.filter(|reference| after.get(reference).is_none());
        self.dropped.extend(dropped.map(crate::resources::sync_of));
        for declared in after.iter().map(|object| &object.reference).filter(ours) {
            self.dropped.remove(&crate::resources::sync_of(declared));
        }
    }

    /// Deletes what a removed Sync applied.
    fn remove(&mut self, sync: &SyncRef, now: Timestamp) {
        let Some(verdict) = self.verdict_inputs(sync, now) else { return self.forget_sync(sync) };
        let Some(SyncState { obeyed: Some(spec), applied: Some(applied), .. }) = self.syncs.get(sync) else { return };
        let (spec, applied) = (spec.clone(), applied.clone());
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            question: Question::Removal { applied: &applied, trailer: self.prune_trailer(sync) },
            live: &self.live,
            claims: &self.live,
            findings: &[],
            verdict: &verdict,
        });
        let plan = match decision {
            Decision::Apply(plan) => plan,
            Decision::Refuse(refusal) => {
                for finding in refusal.findings {
                    tracing::error!(sync = %sync, code = finding.code.code, "the Sync is gone; its objects stay: {finding}");
                }
                return self.forget_sync(sync);
            }
            _ => return self.forget_sync(sync),
        };
        tracing::info!(sync = %sync, objects = plan.changes().len(), "an accepted commit removed the Sync; its objects go");
        self.record_advance(sync, plan, applied, now);
    }

    /// What a removed Sync applied is deleted.
    pub(crate) fn removed(&mut self, sync: &SyncRef, report: &ApplyReport) {
        for (reference, failure) in &report.failures {
            tracing::warn!(sync = %sync, object = %reference, code = failure.finding.code.code, "not deleted: {}", failure.finding);
        }
        self.forget_sync(sync);
    }

    fn forget_sync(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.remove(sync) else { return };
        if state.accepted.is_some() || state.resume != Resume::Done {
            self.note_end(sync, Timestamp::now());
        }
        // Somebody may have waited for its objects.
        self.unsettle_held();
        let states = [state.accepted, state.applied];
        for object in states.iter().flatten().flat_map(|state| state.iter()) {
            if self.live.owner_of(&object.reference) == Some(sync) {
                self.live.release(&object.reference);
            }
        }
        if state.phase == Phase::Applying {
            tracing::debug!(sync = %sync, "a roll-out of a Sync that is gone is still under way");
        }
    }
}
