//! The watches of managed kinds and of our own: which run, and what it means that one has delivered
//! everything, or has lost its place.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use cluster::{WatchEvent, WatchTarget, Watched};
use jiff::Timestamp;
use manifest::{Finding, GroupKind, ObjectRef};
use plan::SyncRef;

use crate::{
    event::Event,
    resources::own_kinds,
    state::{Dirty, State, SyncState},
};

impl State {
    /// A watch saw something.
    pub(crate) fn watched(&mut self, watched: Watched, now: Timestamp) {
        let Watched { target, event } = watched;
        if let WatchEvent::Failing(finding) = &event {
            tracing::warn!(kind = %target.resource.group_kind(), code = finding.code.code, "the watch is interrupted: {finding}");
        }
        if target.labels.is_none() {
            return self.own_watched(&target, event);
        }
        if !self.watches.get(&target).is_some_and(|watch| std::ptr::eq(watch.target(), &*target)) {
            // What a watch had still to say when it was closed is about another list.
            return;
        }
        match event {
            WatchEvent::Applied(seen) => {
                self.upkeep.proofs.streamed(&seen.reference, Some(&seen.resource_version));
                self.object_seen(&target, seen, now);
            }
            WatchEvent::Deleted { reference, uid, resource_version } => {
                self.upkeep.proofs.streamed(&reference, None);
                self.object_gone(&target, &reference, (&uid, &resource_version), now);
            }
            WatchEvent::Listed(seen) => self.listed(&target, seen, now),
            WatchEvent::Proved { resource_version } => self.proved(&target, &resource_version, now),
            WatchEvent::Unproved(why) => self.unproved(&target, &why),
            WatchEvent::Gap => {
                self.upkeep.proofs.stop(&target);
                self.live.lost(&target.resource.group_kind());
                self.synced.remove(&target);
                self.relisting.insert(target, HashSet::new());
            }
            WatchEvent::Synced => self.managed_synced(target, now),
            WatchEvent::Failing(finding) => self.watch_fails(target, finding),
            WatchEvent::Restored => {
                if self.failing.remove(&target).is_some() {
                    self.dirty.extend(self.declaring(&target).into_iter().map(Dirty::Sync));
                }
            }
        }
    }

    /// Drift of a kind is not seen, and nothing of it advances: everybody who declares it is told. Once, since an API server that
    /// is away is so for all kinds: an Event for each of 20 kinds and 100 Syncs would be more than are kept.
    fn watch_fails(&mut self, target: Arc<WatchTarget>, finding: Finding) {
        for sync in self.declaring(&target) {
            if self.unwatched(&sync).is_none() {
                self.announce_sync(&sync, std::slice::from_ref(&finding));
            }
            self.dirty.insert(Dirty::Sync(sync));
        }
        self.failing.insert(target, finding);
    }

    fn declaring(&self, target: &WatchTarget) -> Vec<SyncRef> {
        self.syncs.iter().filter(|(_, state)| declares(state, target)).map(|(sync, _)| sync.clone()).collect()
    }

    /// Why something that a Sync declares is not watched at the moment.
    #[must_use]
    pub(crate) fn unwatched(&self, sync: &SyncRef) -> Option<&Finding> {
        let state = self.syncs.get(sync)?;
        self.failing.iter().find(|(target, _)| declares(state, target)).map(|(_, finding)| finding)
    }

    fn own_watched(&mut self, target: &Arc<WatchTarget>, event: WatchEvent) {
        if !self.intakes.is_open(target) {
            return;
        }
        match event {
            WatchEvent::Synced => {
                self.intakes.is_listed(&target.resource.kind);
                self.synced.insert(target.clone());
                if let Some(mentioned) = self.relisting.remove(target) {
                    self.forget_unmentioned(&target.resource.group_kind(), &mentioned);
                }
                self.judge_orders();
            }
            WatchEvent::Gap => drop(self.relisting.insert(target.clone(), HashSet::new())),
            event => {
                if let (Some(mentioned), WatchEvent::Applied(seen)) = (self.relisting.get_mut(target), &event) {
                    mentioned.insert(seen.reference.clone());
                }
                self.custom_resource(&target.resource.group_kind(), event);
            }
        }
    }

    /// Whether all custom resources that exist are known.
    #[must_use]
    pub(crate) fn knows_orders(&self) -> bool {
        let is_known = |kind| self.synced.iter().any(|target| target.labels.is_none() && is_of(target, kind));
        own_kinds().iter().all(is_known)
    }

    /// Whether a managed kind is watched, in some version.
    #[must_use]
    pub(crate) fn is_watched(&self, kind: &GroupKind) -> bool {
        self.watches.keys().any(|target| is_of(target, kind))
    }

    /// Whether every watch of a managed kind has delivered everything that is there.
    #[must_use]
    pub(crate) fn is_synced(&self, kind: &GroupKind) -> bool {
        let mut watches = self.watches.keys().filter(|target| is_of(target, kind)).peekable();
        watches.peek().is_some() && watches.all(|target| self.synced.contains(target))
    }

    /// The object is there, whatever a list says that is under way.
    pub(crate) fn mention(&mut self, reference: &ObjectRef) {
        self.upkeep.proofs.mention(reference);
        let lists = self.relisting.iter_mut();
        for (_, mentioned) in
            lists.filter(|(target, _)| target.labels.is_some() && is_of(target, &reference.group_kind))
        {
            mentioned.insert(reference.clone());
        }
    }

    fn managed_synced(&mut self, target: Arc<WatchTarget>, now: Timestamp) {
        let kind = target.resource.group_kind();
        let mentioned = self.relisting.remove(&target).unwrap_or_default();
        self.synced.insert(target);
        self.live.relisted(&kind, &mentioned);
        if !self.is_synced(&kind) {
            return;
        }
        self.live.synced(&kind);
        // What is declared and was not mentioned was deleted while nobody watched.
        let syncs: Vec<SyncRef> = self.syncs.keys().cloned().collect();
        for sync in syncs {
            self.heal_kind(&sync, &kind, now);
            self.consider(&sync);
        }
    }

    /// Opens the watches of these kinds again: what they delivered before somebody claimed it was not
    /// compared with anything.
    pub(crate) fn rewatch(&mut self, objects: &[ObjectRef]) {
        let kinds: BTreeSet<&GroupKind> = objects.iter().map(|object| &object.group_kind).collect();
        self.close_watches(|target| kinds.contains(&target.resource.group_kind()));
        self.watch_kinds();
    }

    /// Watches every kind that a Sync declares or may have to prune, in the declared version, so that
    /// fields compare as they were written; and no other kind.
    pub(crate) fn watch_kinds(&mut self) {
        let states = self
            .syncs
            .values()
            .flat_map(|sync| [&sync.accepted, &sync.applied].into_iter().flatten().chain(&sync.partial));
        let declared: BTreeSet<(GroupKind, String)> = states
            .flat_map(|state| state.iter())
            .map(|object| (&object.reference.group_kind, &object.api_version))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|(kind, version)| (kind.clone(), version.clone()))
            .collect();
        self.close_watches(|target| !declared.contains(&(target.resource.group_kind(), target.resource.api_version())));
        let discovery = self.cluster.discovery();
        let kinds = declared.iter().map(|(kind, _)| kind);
        self.live.unserved(kinds.filter(|kind| discovery.is_unserved(kind)).cloned().collect());
        for (kind, version) in &declared {
            let Some(resource) = discovery.resource(version, &kind.kind) else { continue };
            let target = Arc::new(WatchTarget::managed(resource.clone(), None, &self.options.instance));
            if self.watches.contains_key(&target) {
                continue;
            }
            // Until its list has arrived absence proves nothing.
            self.live.lost(kind);
            let watch = self.cluster.watch(WatchTarget::clone(&target), self.events.clone());
            self.relisting.insert(target.clone(), HashSet::new());
            self.watches.insert(target, watch);
        }
    }

    fn close_watches(&mut self, which: impl Fn(&WatchTarget) -> bool) {
        let closed: Vec<Arc<WatchTarget>> = self.watches.keys().filter(|target| which(target)).cloned().collect();
        for target in closed {
            self.watches.remove(&target);
            self.synced.remove(&target);
            self.failing.remove(&target);
            self.relisting.remove(&target);
            let kind = target.resource.group_kind();
            self.live.lost(&kind);
            if self.is_synced(&kind) {
                // It is still watched, in another version.
                self.live.synced(&kind);
            }
        }
    }

    /// Asks the cluster which kinds it serves now.
    pub(crate) fn refresh_discovery(&self) {
        let (cluster, events) = (self.cluster.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Err(error) = cluster.refresh_discovery().await {
                tracing::warn!(error = %error, "the kinds the cluster serves cannot be read");
            }
            events.send(Event::Discovered).await.ok();
        });
    }
}

fn declares(sync: &SyncState, target: &WatchTarget) -> bool {
    let mut states = [&sync.accepted, &sync.applied].into_iter().flatten();
    states.any(|state| state.iter().any(|object| is_of(target, &object.reference.group_kind)))
}

fn is_of(target: &WatchTarget, kind: &GroupKind) -> bool {
    target.resource.group == kind.group && target.resource.kind == kind.kind
}
