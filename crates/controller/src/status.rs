//! Status of the custom resources, printed from the same state that decisions are made from.

use cluster::crd::{
    Condition, ConditionStatus, GitSourceStatus, HeldRevision, LogAnchor, SyncStatus, TrustRootStatus, set_condition,
};
use jiff::Timestamp;
use manifest::Finding;
use plan::{DriftMode, SyncRef};

use crate::{
    metrics::OwnerLabels,
    report::Report,
    state::{Dirty, Held, Key, Phase, Resume, State, SyncState},
};

/// The most failures named in a condition; the Events and the log have all.
const MAX_NAMED: usize = 5;

/// A condition: type, status, reason, message.
type Verdict = (&'static str, ConditionStatus, String, String);

impl State {
    /// Writes the status of everything that may have changed.
    pub(crate) fn flush_status(&mut self, now: Timestamp) {
        for dirty in std::mem::take(&mut self.dirty) {
            match dirty {
                Dirty::Root(name) => self.write_root(&name, now),
                Dirty::Source(key) => self.write_source(&key, now),
                Dirty::Sync(sync) => self.write_sync(&sync, now),
            }
        }
    }

    fn write_root(&mut self, name: &str, now: Timestamp) {
        let Some(root) = self.roots.get(name) else { return };
        let generation = root.resource.metadata.generation;
        let mut status = root.resource.status.clone().unwrap_or_default();
        let verified = self
            .sources
            .values()
            .filter(|source| source.obeyed.as_ref().is_some_and(|spec| spec.trust_root_ref.name == name));
        let verified = verified.filter_map(|source| source.verified.as_ref()).next();
        if let Some(verified) = verified {
            status.accepted_revision = Some(verified.commit.id().to_string());
            status.trust_digest = Some(verified.commit.trust_digest().to_string());
        }
        let log = self.journal.log();
        status.log = Some(LogAnchor {
            origin: self.options.log_origin.clone(),
            public_key: self.journal.public_key().to_owned(),
            checkpoint: log.checkpoint().note().to_owned(),
        });
        status.observed_generation = generation;
        let ready = match &root.problem {
            None => ("Ready", ConditionStatus::True, "Usable".to_owned(), String::new()),
            Some(problem) => ("Ready", ConditionStatus::False, problem.code.reason.to_owned(), problem.to_string()),
        };
        apply(&mut status.conditions, [ready], generation, now);
        self.reporter.send(Report::Root(root.resource.clone(), Box::<TrustRootStatus>::new(status)));
    }

    fn write_source(&mut self, key: &Key, now: Timestamp) {
        let Some(source) = self.sources.get(key) else { return };
        let generation = source.resource.metadata.generation;
        let mut status: GitSourceStatus = source.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        status.fetched_revision = source.head.as_ref().map(ToString::to_string).or(status.fetched_revision);
        status.verified_revision =
            source.verified.as_ref().map(|verified| verified.commit.id().to_string()).or(status.verified_revision);
        status.held_revision = source.held.as_ref().map(held_revision);
        status.last_handled_reconcile_at.clone_from(&source.requested);
        let problem = source.order.as_ref().or(source.unreachable.as_ref());
        let first = source.held.as_ref().and_then(|held| held.findings.first());
        let verified = match (first, &source.verified) {
            (Some(finding), _) => refused("SourceVerified", finding),
            (None, Some(verified)) => (
                "SourceVerified",
                ConditionStatus::True,
                "Verified".to_owned(),
                format!("verified {}", verified.commit.id()),
            ),
            (None, None) => ("SourceVerified", ConditionStatus::Unknown, "Pending".to_owned(), String::new()),
        };
        let ready = match (problem.or(first), &source.verified) {
            (Some(finding), _) => refused("Ready", finding),
            (None, Some(verified)) => {
                ("Ready", ConditionStatus::True, "Verified".to_owned(), format!("verified {}", verified.commit.id()))
            }
            (None, None) => (
                "Ready",
                ConditionStatus::Unknown,
                "Progressing".to_owned(),
                "the first judgement is under way".to_owned(),
            ),
        };
        let held = i64::from(source.held.is_some());
        let stalled = stalled(source.order.as_ref().or(first));
        apply(&mut status.conditions, [verified, ready, stalled], generation, now);
        self.metrics
            .held
            .get_or_create(&OwnerLabels { namespace: key.namespace.clone(), name: key.name.clone() })
            .set(held);
        self.reporter.send(Report::Source(source.resource.clone(), Box::new(status)));
    }

    fn write_sync(&mut self, sync: &SyncRef, now: Timestamp) {
        let Some(state) = self.syncs.get(sync) else { return };
        let generation = state.resource.metadata.generation;
        let (objects, drifted) = self.live.count(sync);
        let mut status: SyncStatus = state.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        if state.resume == Resume::Done {
            let id = |state: &std::sync::Arc<plan::DesiredState>| state.commit().id().to_string();
            status.candidate_revision = state.candidate.as_ref().map(ToString::to_string).or(status.candidate_revision);
            status.accepted_revision = state.accepted.as_ref().map(id);
            status.applied_revision = state.applied.as_ref().map(id);
        }
        status.held_revision = state.held.as_ref().map(held_revision);
        status.objects = Some(objects as u64);
        let mode = state.obeyed.as_ref().map(|spec| spec.drift.mode);
        let drifted = if mode == Some(DriftMode::Flag) { state.flagged.len() } else { drifted };
        status.drifted =
            (state.phase == Phase::Idle || mode == Some(DriftMode::Flag)).then_some(drifted as u64).or(status.drifted);
        status.last_handled_reconcile_at.clone_from(&state.requested);
        let conditions = [
            ready(state, self.log_problem.as_ref()),
            reconciling(state),
            stalled(blocking(state)),
            drift(state, drifted),
            policy(state),
        ];
        apply(&mut status.conditions, conditions, generation, now);
        let labels = OwnerLabels { namespace: sync.namespace.clone(), name: sync.name.clone() };
        self.metrics.held.get_or_create(&labels).set(i64::from(state.held.is_some()));
        self.metrics.objects.get_or_create(&labels).set(objects as i64);
        self.metrics.drifted.get_or_create(&labels).set(drifted as i64);
        self.reporter.send(Report::Sync(state.resource.clone(), Box::new(status)));
    }
}

fn apply(
    conditions: &mut Vec<Condition>,
    verdicts: impl IntoIterator<Item = Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) {
    for (kind, status, reason, message) in verdicts {
        set_condition(conditions, kind, status, &reason, &message, generation, now);
    }
}

/// What keeps a Sync from advancing until somebody mends it.
fn blocking(state: &SyncState) -> Option<&Finding> {
    state.order.as_ref().or_else(|| state.held.as_ref()?.findings.first())
}

fn ready(state: &SyncState, log: Option<&Finding>) -> Verdict {
    if let Some(finding) = log {
        return refused("Ready", finding);
    }
    if let Some(finding) = &state.order {
        return refused("Ready", finding);
    }
    if let Some(held) = &state.held {
        let more = held.findings.len().saturating_sub(1);
        let message = held.findings.first().map(ToString::to_string).unwrap_or_default();
        let message = if more == 0 { message } else { format!("{message} (and {more} more)") };
        return (
            "Ready",
            ConditionStatus::False,
            held.findings.first().map_or("Held", |finding| finding.code.reason).to_owned(),
            message,
        );
    }
    if !state.failures.is_empty() {
        let named: Vec<String> = state.failures.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        let message = format!("{} objects were not applied: {}", state.failures.len(), named.join("; "));
        return ("Ready", ConditionStatus::False, "ApplyFailed".to_owned(), message);
    }
    match (&state.accepted, &state.applied) {
        (Some(accepted), Some(applied)) if accepted.commit().id() == applied.commit().id() => {
            ("Ready", ConditionStatus::True, "Applied".to_owned(), format!("applied {}", applied.commit().id()))
        }
        (Some(accepted), _) => (
            "Ready",
            ConditionStatus::Unknown,
            "Progressing".to_owned(),
            format!("applying {}", accepted.commit().id()),
        ),
        (None, _) => {
            ("Ready", ConditionStatus::Unknown, "Pending".to_owned(), "no revision is accepted yet".to_owned())
        }
    }
}

fn reconciling(state: &SyncState) -> Verdict {
    match state.phase {
        Phase::Idle => ("Reconciling", ConditionStatus::False, "Settled".to_owned(), String::new()),
        Phase::Preparing => ("Reconciling", ConditionStatus::True, "Judging".to_owned(), String::new()),
        Phase::Applying => ("Reconciling", ConditionStatus::True, "Applying".to_owned(), String::new()),
        Phase::Waiting { .. } => ("Reconciling", ConditionStatus::True, "Retrying".to_owned(), String::new()),
    }
}

fn drift(state: &SyncState, drifted: usize) -> Verdict {
    let last = state.last_drift.as_ref().map(|(at, text)| format!("last seen {at}: {text}")).unwrap_or_default();
    let flagged = state.flagged.values().next();
    match (flagged, drifted) {
        (Some(finding), _) => ("Drifted", ConditionStatus::True, finding.code.reason.to_owned(), finding.to_string()),
        (None, _) => ("Drifted", ConditionStatus::False, "AsDeclared".to_owned(), last),
    }
}

fn policy(state: &SyncState) -> Verdict {
    let violation =
        state.held.iter().flat_map(|held| &held.findings).find(|finding| finding.code.code.starts_with("W8"));
    match (violation, &state.accepted) {
        (Some(finding), _) => refused("PolicyCompliant", finding),
        (None, Some(_)) => ("PolicyCompliant", ConditionStatus::True, "Compliant".to_owned(), String::new()),
        (None, None) => ("PolicyCompliant", ConditionStatus::Unknown, "Pending".to_owned(), String::new()),
    }
}

fn stalled(problem: Option<&Finding>) -> Verdict {
    match problem {
        Some(finding) => ("Stalled", ConditionStatus::True, finding.code.reason.to_owned(), finding.fix.clone()),
        None => ("Stalled", ConditionStatus::False, "Progressing".to_owned(), String::new()),
    }
}

fn refused(kind: &'static str, finding: &Finding) -> Verdict {
    (kind, ConditionStatus::False, finding.code.reason.to_owned(), finding.to_string())
}

fn held_revision(held: &Held) -> HeldRevision {
    let first = held.findings.first();
    HeldRevision {
        revision: held.revision.clone(),
        code: first.map_or("", |finding| finding.code.code).to_owned(),
        reason: first.map_or("", |finding| finding.code.reason).to_owned(),
        message: first.map(Finding::message).unwrap_or_default(),
        fix: first.map(|finding| finding.fix.clone()).unwrap_or_default(),
        signer: held.signer.clone(),
        since: held.since.to_string(),
    }
}
