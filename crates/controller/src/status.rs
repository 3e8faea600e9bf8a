//! Status of the custom resources, printed from the same state that decisions are made from.

use cluster::crd::{GitSourceStatus, LogAnchor, SyncStatus};
use jiff::Timestamp;
use plan::{DriftMode, SyncRef};

use crate::{
    audit_mode::{self, ENFORCED},
    conditions::{FRESH, REFRESHED, held_revision, of_freshness, of_refresh, of_root, of_source, of_sync, set},
    drift_status,
    metrics::OwnerLabels,
    outbox::Status,
    rollbacks::RolledBack,
    state::{Dirty, Key, Phase, Resume, State},
    trust_expiry,
};

impl State {
    /// Writes the status of everything that may have changed.
    pub(crate) fn flush_status(&mut self, now: Timestamp) {
        self.refresh_anchor();
        self.follow_history();
        for dirty in std::mem::take(&mut self.dirty) {
            match dirty {
                Dirty::Root(name) => self.write_root(&name, now),
                Dirty::Source(key) => self.write_source(&key, now),
                Dirty::Sync(sync) => self.write_sync(&sync, now),
                Dirty::Rollback(key) => self.write_rollback(&key, now),
                Dirty::BreakGlass(key) => self.write_break_glass(&key, now),
            }
        }
    }

    fn write_root(&self, name: &str, now: Timestamp) {
        let Some(root) = self.roots.get(name) else { return };
        let generation = root.resource.metadata.generation;
        let mut status = root.resource.status.clone().unwrap_or_default();
        let sources = self
            .sources
            .values()
            .filter(|source| source.obeyed.as_ref().is_some_and(|spec| spec.trust_root_ref.name == name));
        // All sources of one TrustRoot have one floor, whichever of them reached it.
        if let Some(floor) = sources.filter_map(|source| source.floor.as_ref()).next() {
            status.accepted_revision = Some(floor.id().to_string());
            status.trust_digest = Some(floor.trust_digest().to_string());
        }
        status.log = Some(LogAnchor {
            origin: self.options.log_origin.clone(),
            public_key: self.journal.public_key().to_owned(),
            checkpoint: self.upkeep.anchor().to_owned(),
        });
        status.observed_generation = generation;
        let is_shown = status.conditions.iter().any(|condition| condition.kind == REFRESHED);
        let verdicts = of_root(root.problem.as_ref(), self.upkeep.log_damage().or(self.log_unread()));
        let verdicts = verdicts.into_iter().chain(of_refresh(root.refresh.as_ref(), is_shown));
        set(&mut status.conditions, verdicts, generation, now);
        self.reporter.status(Status::Root(root.resource.clone(), Box::new(status)));
    }

    fn write_source(&mut self, key: &Key, now: Timestamp) {
        let audited = self.source_audited(key);
        let Some(source) = self.sources.get_mut(key) else { return };
        let shown = source.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
        if let Some(held) = &mut source.held {
            held.stands_since(shown);
        }
        // Not judged since the start: what was refused before still is.
        let still_held = source.held.is_none() && source.head.is_none() && shown.is_some();
        let generation = source.resource.metadata.generation;
        let mut status: GitSourceStatus = source.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        status.fetched_revision = source.head.as_ref().map(ToString::to_string).or(status.fetched_revision);
        status.verified_revision =
            source.verified.as_ref().map(|verified| verified.commit.id().to_string()).or(status.verified_revision);
        if !still_held {
            status.held_revision = source.held.as_ref().map(held_revision);
            self.metrics.hold(&OwnerLabels::source(key), source.held.as_ref());
        }
        status.last_handled_reconcile_at = source.requests.answered().cloned();
        let shown = |kind: &str| status.conditions.iter().any(|condition| condition.kind == kind);
        let beside = [
            of_freshness(source, shown(FRESH)),
            trust_expiry::condition(source.expired.as_ref(), shown(trust_expiry::EXPIRED)),
            audit_mode::condition(audited.as_ref(), shown(ENFORCED)),
        ];
        let verdicts = of_source(source).into_iter().filter(|verdict| !still_held || !verdict.is_of_judgement());
        let verdicts = verdicts.chain(beside.into_iter().flatten());
        set(&mut status.conditions, verdicts, generation, now);
        // Until the log was asked nobody knows.
        if source.resume == Resume::Done {
            let active = source.overrides.active.len() as i64;
            self.metrics.break_glass_active.get_or_create(&OwnerLabels::source(key)).set(active.min(1));
            let verdict = source.overrides.condition(&status.conditions, &source.formats());
            set(&mut status.conditions, verdict, generation, now);
        }
        self.reporter.status(Status::Source(source.resource.clone(), Box::new(status)));
    }

    fn write_sync(&mut self, sync: &SyncRef, now: Timestamp) {
        let unfinished = self.unfinished_removal(sync);
        let unwatched = self.unwatched(sync).cloned();
        let unread = self.log_unread().filter(|_| self.awaits_modes(sync)).cloned();
        let mode = self.drift_mode(sync);
        let Some(state) = self.syncs.get_mut(sync).filter(|state| !state.gone) else { return };
        let shown = state.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
        if let Some(held) = &mut state.held {
            held.stands_since(shown);
        }
        // Not judged since the start: what was refused before still is.
        let still_held = state.held.is_none() && state.order.is_none() && state.candidate.is_none() && shown.is_some();
        let generation = state.resource.metadata.generation;
        let (objects, drifted) = self.live.count(sync);
        let unreverted = self.revert_failures.of(sync);
        let mut status: SyncStatus = state.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        if state.resume == Resume::Done {
            let id = |state: &std::sync::Arc<plan::DesiredState>| state.commit().id().to_string();
            status.candidate_revision = state.candidate.as_ref().map(ToString::to_string).or(status.candidate_revision);
            status.accepted_revision = state.accepted.as_ref().map(id);
            status.applied_revision = state.applied.as_ref().map(id);
        }
        if !still_held {
            status.held_revision = state.held.as_ref().map(held_revision);
        }
        status.rolled_back = state.rolled_back.as_ref().map(RolledBack::shown);
        status.objects = Some(objects as u64);
        let drifted = if mode == Some(DriftMode::Flag) { state.flagged.len() } else { drifted };
        status.drifted =
            (state.phase == Phase::Idle || mode == Some(DriftMode::Flag)).then_some(drifted as u64).or(status.drifted);
        let name = sync.to_string();
        let open: Vec<_> = self.history.open_of_sync(&name).collect();
        self.metrics.drift.show(&name, &open);
        status.drift = drift_status::shown(open);
        status.last_handled_reconcile_at = state.requests.answered().cloned();
        let labels = OwnerLabels::sync(sync);
        if !still_held {
            self.metrics.hold(&labels, state.held.as_ref());
        }
        self.metrics.rolled_back.get_or_create(&labels).set(i64::from(state.rolled_back.is_some()));
        self.metrics.objects.get_or_create(&labels).set(objects as i64);
        self.metrics.drifted.get_or_create(&labels).set(drifted as i64);
        self.metrics.unreverted.get_or_create(&labels).set(unreverted.len() as i64);
        let is_shown = status.conditions.iter().any(|condition| condition.kind == ENFORCED);
        let enforced = audit_mode::condition(state.enforcement.finding.as_ref(), is_shown);
        let verdicts = of_sync(
            state,
            self.log_problem.as_ref().or(unfinished.as_ref()).or(unread.as_ref()),
            unwatched.as_ref(),
            unreverted,
        );
        let verdicts = verdicts.into_iter().filter(|verdict| !still_held || !verdict.is_of_judgement()).chain(enforced);
        set(&mut status.conditions, verdicts, generation, now);
        self.reporter.status(Status::Sync(state.resource.clone(), Box::new(status)));
    }
}
