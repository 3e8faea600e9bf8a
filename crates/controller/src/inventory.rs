//! What a Sync's label and annotations say about its objects is kept true: it shrinks once objects are
//! gone, and what somebody edits is put back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cluster::{ParentInventory, crd};
use jiff::Timestamp;
use manifest::{Finding, GroupKind, ObjectRef, Subject};
use plan::{PlanCode, SyncRef};
use trust::TrustMode;

use crate::{
    event::Event,
    revert_counts::Logging,
    state::{Dirty, Phase, Resume, State, SyncState},
};

/// Pause after it could not be written.
const TRY_AGAIN: Duration = Duration::from_secs(10);

impl State {
    /// Looks at every Sync whose inventory may not say what is there.
    pub(crate) fn keep_inventories(&mut self, now: Timestamp) {
        let due = self.syncs.iter().filter(|(sync, state)| is_due(state) && self.mode_of(sync) == TrustMode::Enforce);
        let due: Vec<SyncRef> = due.map(|(sync, _)| sync.clone()).collect();
        for sync in due {
            self.keep_inventory(&sync, now);
        }
    }

    fn keep_inventory(&mut self, sync: &SyncRef, now: Timestamp) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let Some(applied) = state.applied.clone() else { return };
        state.inventory_due = false;
        let known = ParentInventory::of(&state.resource);
        let edited = known.is_of_same(&state.inventory) && known != state.inventory;
        let kinds: BTreeSet<GroupKind> = applied.iter().map(|object| object.reference.group_kind.clone()).collect();
        let namespaces: BTreeSet<String> =
            applied.iter().filter_map(|object| object.reference.namespace.clone()).collect();
        if !known.differs(sync, &kinds, &namespaces) {
            state.inventory = known;
            return;
        }
        if edited && !self.record_edit(sync, now) {
            return;
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        // Nothing else writes it meanwhile.
        state.phase = Phase::Applying;
        let (cluster, events, sync, mut inventory) = (self.cluster.clone(), self.events.clone(), sync.clone(), known);
        tokio::spawn(async move {
            let result = inventory.settle(&cluster, &sync, &kinds, &namespaces).await;
            let result = result.map_err(|error| error.to_string());
            // Nobody listens only when the process ends.
            events.send(Event::InventoryKept { sync, inventory, result }).await.ok();
        });
    }

    /// The inventory was written, or not.
    pub(crate) fn inventory_kept(&mut self, sync: &SyncRef, inventory: ParentInventory, result: Result<(), String>) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        match result {
            Ok(()) => {
                state.inventory = inventory;
                state.phase = Phase::Idle;
            }
            Err(why) => {
                tracing::warn!(sync = %sync, why, "the inventory of the Sync cannot be written; it is tried again");
                state.inventory_due = true;
                state.phase = Phase::Waiting { until: Instant::now() + TRY_AGAIN };
            }
        }
        self.consider(sync);
    }

    /// The edit is in the log, so that it may be put back; otherwise it is looked at again later. Of very many in a minute
    /// the first have an entry each, and the others wait.
    fn record_edit(&mut self, sync: &SyncRef, now: Timestamp) -> bool {
        let finding = edited(sync);
        let logging = self.reverts.note(&self.reference_of(sync), now);
        let recorded = match logging {
            Logging::Counted => Ok(false),
            Logging::Entry { suppressed } => self.journal.inventory(now, sync, &finding, suppressed).map(|_| true),
        };
        let Some(state) = self.syncs.get_mut(sync) else { return false };
        if !matches!(recorded, Ok(true)) {
            state.inventory_due = true;
            state.inventory_after = Some(Instant::now() + TRY_AGAIN);
        }
        match recorded {
            Ok(true) => {
                tracing::warn!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "drift is reverted: {finding}");
                self.metrics.decided("revert", finding.code.reason);
                self.announce_sync(sync, std::slice::from_ref(&finding));
                if let Some(state) = self.syncs.get_mut(sync) {
                    state.last_drift = Some((now, finding.to_string()));
                }
                self.dirty.insert(Dirty::Sync(sync.clone()));
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.log_failed(&error);
                false
            }
        }
    }

    /// The Sync as an object of the cluster.
    #[must_use]
    pub(crate) fn reference_of(&self, sync: &SyncRef) -> ObjectRef {
        ObjectRef {
            cluster: self.cluster.id().clone(),
            group_kind: GroupKind::new(crd::GROUP, "Sync"),
            namespace: Some(sync.namespace.clone()),
            name: sync.name.clone(),
        }
    }
}

fn edited(sync: &SyncRef) -> Finding {
    Finding {
        code: PlanCode::D101.entry(),
        subject: Subject::Named(format!("Sync {sync}")),
        rule: None,
        found: "its ApplySet label or annotations were edited".into(),
        needed: "what writ wrote: other tools find the Sync's objects by them".into(),
        fix: "none, they are put back".into(),
    }
}

/// Whether its roll-out is over, so that it is known what there is.
fn is_due(state: &SyncState) -> bool {
    let idle = match state.phase {
        Phase::Idle => true,
        Phase::Waiting { until } => until <= Instant::now(),
        Phase::Preparing | Phase::Applying => false,
    };
    let id = |state: &std::sync::Arc<plan::DesiredState>| state.commit().id();
    state.inventory_due
        && state.inventory_after.is_none_or(|after| after <= Instant::now())
        && idle
        && !state.gone
        && state.resume == Resume::Done
        && state.partial.is_empty()
        && state.failures.is_empty()
        && state.applied.is_some()
        && state.accepted.as_ref().map(id) == state.applied.as_ref().map(id)
}
