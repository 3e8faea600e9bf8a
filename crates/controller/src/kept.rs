//! A Sync that was rolled back stays there while no commit changes its folder. What it is held to is judged like a candidate
//! all the same: trust and policies of today say whether it may be rolled out.

use std::sync::Arc;

use jiff::Timestamp;
use manifest::Finding;
use plan::SyncRef;

use crate::{
    rollback_gate::Kept,
    state::{Dirty, State},
    sync_gate::Prepared,
};

impl State {
    /// What a Sync that was rolled back is held to, with what judges it.
    pub(crate) fn kept_to(&self, sync: &SyncRef) -> Option<Kept> {
        let source = self.source_key(sync)?;
        let root_name = &self.sources.get(&source)?.obeyed.as_ref()?.trust_root_ref.name;
        let known = self.roots.get(root_name).map(|root| Arc::clone(&root.signatures)).unwrap_or_default();
        let state = self.syncs.get(sync)?;
        let order = state.rolled_back.clone()?;
        let target = state.accepted.as_ref()?.commit().clone();
        let waivers = self.sources.get(&source)?.overrides.waivers();
        Some(Kept { target, root: self.root_of(&source)?, known, order, waivers })
    }

    /// The candidate changes nothing for a Sync that was rolled back: it stays there, and what is left to do of that is done
    /// if nothing is to be said against it today.
    pub(crate) fn kept(&mut self, sync: &SyncRef, verdict: Result<Prepared, Vec<Finding>>, now: Timestamp) {
        let key = self.syncs.get(sync).and_then(|state| state.judging.clone());
        let current = self.verdict_key(sync).map(|(_, key)| key);
        self.idle(sync);
        let Some(key) = key.filter(|key| Some(key) == current.as_ref()) else { return self.consider(sync) };
        let Some(state) = self.syncs.get(sync) else { return };
        let Some((accepted, order)) = state.accepted.clone().zip(state.rolled_back.clone()) else {
            return self.consider(sync);
        };
        let is_unfinished = state.is_incomplete();
        let refused = match verdict {
            Err(findings) => Some(findings),
            Ok(Prepared { desired, findings, .. }) if is_unfinished => {
                self.roll_back(sync, desired, &findings, order, now).err()
            }
            Ok(Prepared { findings, .. }) => Some(findings),
        };
        match refused {
            Some(findings) if !findings.is_empty() => {
                return self.hold_target(sync, &key, accepted.commit(), findings, now);
            }
            // It goes on.
            None => {}
            Some(_) => {
                if let Some(state) = self.syncs.get_mut(sync) {
                    state.judged(Some(key));
                }
            }
        }
        if let Some(state) = self.syncs.get_mut(sync) {
            state.held = None;
        }
        self.refusals.clear(&format!("Sync {sync}"));
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }
}
