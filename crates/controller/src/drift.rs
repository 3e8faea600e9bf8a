//! Live objects: what the watches see of them, and putting back what drifted. No Git, signature or
//! registry work happens here.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use cluster::{ApplyReport, Sighting, WatchEvent, WatchTarget, Watched};
use jiff::Timestamp;
use manifest::{GroupKind, ObjectRef};
use plan::{ApprovedPlan, Decision, DriftReport, Inputs, Question, SyncRef, decide};

use crate::{
    apply::declared_of,
    event::{AppliedPlan, Event},
    fault::FaultPoint,
    journal::Logging,
    live::{Observation, Sight},
    resources::own_kinds,
    state::{Dirty, Resume, State},
};

/// The most objects of one plan of reverts: its log entry stays far below what the log takes.
const MAX_HEALED: usize = 500;
/// Pause before a revert that failed is tried again.
const RETRY_REVERT: Duration = Duration::from_secs(5);

impl State {
    /// A watch saw something.
    pub(crate) fn watched(&mut self, watched: Watched, now: Timestamp) {
        let kind = watched.target.resource.group_kind();
        if watched.target.labels.is_none() {
            self.own_watched(&kind, watched.event);
            return;
        }
        match watched.event {
            WatchEvent::Applied(seen) => self.object_seen(seen, now),
            WatchEvent::Deleted { reference, resource_version, .. } => {
                self.object_gone(&reference, &resource_version, now);
            }
            WatchEvent::Gap => {
                self.live.lost(&kind);
                self.synced.remove(&kind);
                self.relisting.insert(kind, HashSet::new());
            }
            WatchEvent::Synced => self.kind_synced(&kind, now),
            WatchEvent::Failing(finding) => {
                tracing::warn!(kind = %kind, code = finding.code.code, "the watch is interrupted: {finding}");
            }
        }
    }

    fn own_watched(&mut self, kind: &GroupKind, event: WatchEvent) {
        match event {
            WatchEvent::Synced => {
                let mentioned = self.relisting.remove(kind);
                self.synced.insert(kind.clone());
                if let Some(mentioned) = mentioned {
                    self.forget_unmentioned(kind, &mentioned);
                }
                self.judge_orders();
            }
            WatchEvent::Gap => {
                self.relisting.insert(kind.clone(), HashSet::new());
            }
            WatchEvent::Failing(finding) => {
                tracing::warn!(kind = %kind, code = finding.code.code, "the watch is interrupted: {finding}");
            }
            event => {
                if let (Some(mentioned), WatchEvent::Applied(seen)) = (self.relisting.get_mut(kind), &event) {
                    mentioned.insert(seen.reference.clone());
                }
                self.custom_resource(kind, event);
            }
        }
    }

    /// Whether all custom resources that exist are known.
    #[must_use]
    pub(crate) fn knows_orders(&self) -> bool {
        own_kinds().iter().all(|kind| self.synced.contains(kind))
    }

    fn kind_synced(&mut self, kind: &GroupKind, now: Timestamp) {
        let mentioned = self.relisting.remove(kind).unwrap_or_default();
        self.live.relisted(kind, &mentioned);
        self.live.synced(kind);
        self.synced.insert(kind.clone());
        // What is declared and was not mentioned was deleted while nobody watched.
        let syncs: Vec<SyncRef> = self.syncs.keys().cloned().collect();
        for sync in syncs {
            self.heal_kind(&sync, kind, now);
            self.consider(&sync);
        }
    }

    /// Whether the object was there once by our doing: what was never applied is the roll-out's
    /// business, not drift.
    fn was_applied(&self, sync: &SyncRef, reference: &ObjectRef) -> bool {
        let applied = self.syncs.get(sync).and_then(|state| state.applied.as_ref());
        self.live.is_expected(reference) || applied.is_some_and(|applied| applied.get(reference).is_some())
    }

    /// Looks at every accepted object of a kind.
    fn heal_kind(&mut self, sync: &SyncRef, kind: &GroupKind, now: Timestamp) {
        let Some(accepted) = self.syncs.get(sync).and_then(|state| state.accepted.clone()) else { return };
        let ours = |object: &&plan::DesiredObject| {
            object.reference.group_kind == *kind && self.was_applied(sync, &object.reference)
        };
        let objects: Vec<ObjectRef> = accepted.iter().filter(ours).map(|object| object.reference.clone()).collect();
        for some in objects.chunks(MAX_HEALED) {
            self.heal(sync, some, now);
        }
    }

    fn object_seen(&mut self, seen: Sighting, now: Timestamp) {
        let reference = seen.reference.clone();
        if let Some(mentioned) = self.relisting.get_mut(&reference.group_kind) {
            mentioned.insert(reference.clone());
        }
        let owner = self.live.owner_of(&reference).cloned();
        let accepted = owner.as_ref().and_then(|sync| self.syncs.get(sync)?.accepted.clone());
        let object = accepted.as_ref().and_then(|state| state.get(&reference));
        let declared = object.map(declared_of);
        let sight = self.live.observe(&reference, Observation::from(seen), declared.as_ref());
        match (sight, owner) {
            // Before the first full list everything is looked at in one go.
            (Sight::Drifted, Some(sync)) if self.synced.contains(&reference.group_kind) => {
                self.heal(&sync, &[reference], now);
            }
            (Sight::Settled, Some(sync)) => self.unflag(&sync, &[reference]),
            _ => {}
        }
    }

    fn object_gone(&mut self, reference: &ObjectRef, resource_version: &str, now: Timestamp) {
        let sight = self.live.vanish(reference, resource_version);
        let Some(sync) = self.live.owner_of(reference).cloned() else { return };
        if sight == Sight::Drifted && self.was_applied(&sync, reference) {
            self.heal(&sync, std::slice::from_ref(reference), now);
        }
        // A deletion may be what a roll-out waits for.
        self.consider(&sync);
    }

    /// Decides about objects of a Sync that may have drifted, and acts on it.
    pub(crate) fn heal(&mut self, sync: &SyncRef, objects: &[ObjectRef], now: Timestamp) {
        let Some(state) = self.syncs.get(sync) else { return };
        if objects.is_empty() || state.resume != Resume::Done {
            return;
        }
        let (Some(spec), Some(accepted)) = (state.obeyed.clone(), state.accepted.clone()) else { return };
        let Some(verdict) = self.verdict_inputs(sync, now) else { return };
        let decision = decide(&Inputs {
            sync,
            spec: &spec,
            own_namespace: &self.options.namespace,
            question: Question::Drift { accepted: &accepted, objects },
            live: &self.live,
            claims: &self.live,
            findings: &[],
            verdict: &verdict,
        });
        match decision {
            Decision::Revert(plan) => self.revert(sync, plan, now),
            Decision::Flag(reports) => self.flag(sync, &reports, now),
            Decision::Refuse(refusal) => {
                for finding in refusal.findings {
                    tracing::error!(sync = %sync, code = finding.code.code, "drift cannot be reverted: {finding}");
                    for object in objects {
                        self.note_revert_failure(sync, object, &finding);
                    }
                }
            }
            Decision::Settled => self.unflag(sync, objects),
            Decision::Apply(_) => {}
        }
    }

    fn revert(&mut self, sync: &SyncRef, plan: ApprovedPlan, now: Timestamp) {
        let mut suppressed = 0;
        let mut logged = false;
        for change in plan.changes() {
            if let Logging::Entry { suppressed: before } = self.reverts.note(&change.reference, now) {
                logged = true;
                suppressed += before;
            }
        }
        let known = self.revert_entries.get(&plan.digest()).copied();
        let receipt = match known.filter(|_| !logged) {
            // The same revert once more within the minute: its entry stands, and is counted later.
            Some(index) => self.journal.log().recall(index, *plan.digest().as_bytes()),
            None => self.journal.revert(now, &plan, suppressed),
        };
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                self.log_failed(&error);
                let later = Instant::now() + RETRY_REVERT;
                self.heal_later.extend(plan.changes().iter().map(|change| (change.reference.clone(), later)));
                return;
            }
        };
        if self.revert_entries.len() >= crate::journal::MAX_COUNTED_OBJECTS {
            self.revert_entries.clear();
        }
        self.revert_entries.insert(plan.digest(), receipt.index());
        FaultPoint::RevertRecorded.pass();
        // The request first: what people are told must not race it for the API server.
        let reports = plan.reports().to_vec();
        self.start(plan, receipt);
        self.report_drift(sync, &reports, now, logged);
    }

    fn report_drift(&mut self, sync: &SyncRef, reports: &[DriftReport], now: Timestamp, logged: bool) {
        for report in reports {
            let finding = &report.finding;
            self.metrics.decided("revert", finding.code.reason);
            if logged {
                tracing::warn!(sync = %sync, object = %report.reference, code = finding.code.code, reason = finding.code.reason, "drift is reverted: {finding}");
            }
        }
        if logged {
            self.announce_drift(sync, reports);
        }
        if let (Some(state), Some(report)) = (self.syncs.get_mut(sync), reports.last()) {
            state.last_drift = Some((now, report.finding.to_string()));
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn flag(&mut self, sync: &SyncRef, reports: &[DriftReport], now: Timestamp) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let fresh: Vec<DriftReport> = reports
            .iter()
            .filter(|report| state.flagged.get(&report.reference) != Some(&report.finding))
            .cloned()
            .collect();
        if fresh.is_empty() {
            return;
        }
        for report in &fresh {
            state.flagged.insert(report.reference.clone(), report.finding.clone());
            state.last_drift = Some((now, report.finding.to_string()));
            tracing::warn!(sync = %sync, object = %report.reference, code = report.finding.code.code, "drift is reported: {}", report.finding);
        }
        for report in &fresh {
            self.metrics.decided("flag", report.finding.code.reason);
        }
        if let Err(error) = self.journal.flag(now, sync, &fresh) {
            self.log_failed(&error);
        }
        self.announce_drift(sync, &fresh);
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    fn unflag(&mut self, sync: &SyncRef, objects: &[ObjectRef]) {
        for object in objects {
            self.clear_revert_failure(sync, object);
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let before = state.flagged.len();
        for object in objects {
            state.flagged.remove(object);
        }
        if state.flagged.len() != before {
            self.dirty.insert(Dirty::Sync(sync.clone()));
        }
    }

    /// A revert was carried out, or not.
    pub(crate) fn reverted(&mut self, sync: &SyncRef, report: &ApplyReport, plan: &AppliedPlan) {
        FaultPoint::Reverted.pass();
        self.metrics.reverted(plan.started.elapsed());
        for (reference, failure) in &report.failures {
            let finding = &failure.finding;
            tracing::warn!(sync = %sync, object = %reference, code = finding.code.code, "the revert failed: {finding}");
            self.note_revert_failure(sync, reference, finding);
            self.heal_later.insert(reference.clone(), Instant::now() + RETRY_REVERT);
        }
        for object in &plan.objects {
            if !report.failures.iter().any(|(reference, _)| reference == object) {
                self.heal_later.remove(object);
                self.clear_revert_failure(sync, object);
            }
        }
    }

    /// Tries reverts again whose time has come.
    pub(crate) fn heal_due(&mut self, now: Timestamp) {
        let moment = Instant::now();
        let due: Vec<ObjectRef> =
            self.heal_later.iter().filter(|(_, at)| **at <= moment).map(|(object, _)| object.clone()).collect();
        for object in due {
            self.heal_later.remove(&object);
            if let Some(sync) = self.live.owner_of(&object).cloned() {
                self.heal(&sync, &[object], now);
            }
        }
    }

    /// Opens the watches of these kinds again: what they delivered before somebody claimed it was not
    /// compared with anything.
    pub(crate) fn rewatch(&mut self, objects: &[ObjectRef]) {
        let kinds: std::collections::BTreeSet<GroupKind> = objects
            .iter()
            .map(|object| object.group_kind.clone())
            .filter(|kind| self.watches.contains_key(kind))
            .collect();
        for kind in kinds {
            self.watches.remove(&kind);
            self.synced.remove(&kind);
            self.live.lost(&kind);
        }
        self.watch_kinds();
    }

    /// Watches every kind of every accepted or applied object that the cluster serves.
    pub(crate) fn watch_kinds(&mut self) {
        let discovery = self.cluster.discovery();
        let states = self.syncs.values().flat_map(|sync| [sync.accepted.clone(), sync.applied.clone()]);
        let mut wanted = std::collections::BTreeMap::new();
        for state in states.flatten() {
            for object in state.iter() {
                let kind = &object.reference.group_kind;
                if self.watches.contains_key(kind) || wanted.contains_key(kind) {
                    continue;
                }
                // The declared version, so that fields compare as they were written.
                if let Some(resource) = discovery.resource(&object.api_version, &kind.kind) {
                    wanted.insert(kind.clone(), resource.clone());
                }
            }
        }
        for (kind, resource) in wanted {
            let target = WatchTarget::managed(resource, None, &self.options.instance);
            self.relisting.insert(kind.clone(), HashSet::new());
            let watch = self.cluster.watch(target, self.events.clone());
            self.watches.insert(kind, watch);
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
