//! Metrics: one struct, registered once. Labels are codes, fixed words, and names of Syncs and
//! GitSources; never names of other objects.

mod reference;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use plan::SyncRef;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    drift_metrics::DriftMetrics,
    keyless_metrics::KeylessMetrics,
    source_gate::SourceOutcome,
    source_metrics::SourceMetrics,
    state::{Held, Key},
    watch_metrics::WatchMetrics,
};

pub use reference::{MetricEntry, metrics_reference};

/// Labels: one Sync or GitSource.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct OwnerLabels {
    /// `Sync` or `GitSource`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl OwnerLabels {
    /// Of a GitSource.
    #[must_use]
    pub(crate) fn source(key: &Key) -> Self {
        Self { kind: "GitSource", namespace: key.namespace.clone(), name: key.name.clone() }
    }

    /// Of a Sync.
    #[must_use]
    pub(crate) fn sync(sync: &SyncRef) -> Self {
        Self { kind: "Sync", namespace: sync.namespace.clone(), name: sync.name.clone() }
    }
}

/// Labels: a revision that is refused.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct HeldLabels {
    /// `Sync` or `GitSource`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The refused commit.
    pub commit: String,
    /// The first code.
    pub code: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// Who signed it, or empty.
    pub signer: String,
}

/// Labels: what was decided, and the code if it was refused.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DecisionLabels {
    /// `advance`, `refuse`, `revert`, `flag`, `hold`.
    pub decision: &'static str,
    /// The code's reason, or empty.
    pub reason: &'static str,
}

/// Labels: how a request to the API server ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ChangeLabels {
    /// `applied` or `reverted`.
    pub action: &'static str,
    /// `ok` or `failed`.
    pub result: &'static str,
}

/// Labels: how a poll ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PollLabels {
    /// `same`, `new` or `failed`.
    pub result: &'static str,
}

/// Everything writ counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Decisions by kind and reason.
    pub decisions: Family<DecisionLabels, Counter>,
    /// Changes sent to the API server.
    pub changes: Family<ChangeLabels, Counter>,
    /// 1 while the head of a source or the candidate of a Sync is refused.
    held: Family<OwnerLabels, Gauge>,
    /// Since when which revision is refused, in seconds since 1970.
    held_since: Family<HeldLabels, Gauge>,
    /// What `held_since` shows of each owner.
    shown: Mutex<BTreeMap<OwnerLabels, Option<HeldLabels>>>,
    /// Objects of a Sync that are drifted now.
    pub drifted: Family<OwnerLabels, Gauge>,
    /// Objects of a Sync whose drift could not be reverted.
    pub unreverted: Family<OwnerLabels, Gauge>,
    /// 1 while something is in force that an order let through.
    pub(crate) break_glass_active: Family<OwnerLabels, Gauge>,
    /// 1 while a signed order holds a Sync to an earlier revision.
    pub(crate) rolled_back: Family<OwnerLabels, Gauge>,
    /// Managed objects of a Sync.
    pub objects: Family<OwnerLabels, Gauge>,
    /// Objects that carry our label and that no accepted revision declared.
    pub unclaimed: Gauge,
    /// Polls of remotes by result (`same`, `new`, `failed`).
    pub polls: Family<PollLabels, Counter>,
    /// When a source's server answered last, in seconds since 1970.
    polled_at: Family<OwnerLabels, Gauge>,
    /// What is counted of each GitSource.
    pub sources: SourceMetrics,
    /// What is counted of the trust roots of keyless signatures.
    pub(crate) keyless: KeylessMetrics,
    /// What is counted of drift.
    pub(crate) drift: DriftMetrics,
    /// What is counted of the watches of managed kinds.
    pub(crate) watches: WatchMetrics,
    /// Objects without an expected record: compared by declared fields only.
    pub unexpected: Gauge,
    /// Objects to which others added something.
    pub added: Gauge,
    /// 1 while the state volume takes no more entries.
    pub log_full: Gauge,
    /// Entries that were acknowledged and lost since.
    pub log_lost: Gauge,
    /// 1 while the newest entries are not covered by a checkpoint because it cannot be written.
    pub log_unpublished: Gauge,
    /// 1 while what the log said before the start cannot be read.
    pub log_unread: Gauge,
    /// Seconds from the decision to revert to the answer.
    pub revert_seconds: Histogram,
    /// Statuses and Events that wait for the API server.
    pub reports_waiting: Gauge,
    /// Attempts to write a status or Event that failed.
    pub report_failures: Counter,
    /// Events that were given up.
    pub events_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Family::default(),
            changes: Family::default(),
            held: Family::default(),
            held_since: Family::default(),
            shown: Mutex::default(),
            drifted: Family::default(),
            unreverted: Family::default(),
            break_glass_active: Family::default(),
            rolled_back: Family::default(),
            objects: Family::default(),
            unclaimed: Gauge::default(),
            polls: Family::default(),
            polled_at: Family::default(),
            sources: SourceMetrics::default(),
            keyless: KeylessMetrics::default(),
            drift: DriftMetrics::default(),
            watches: WatchMetrics::default(),
            unexpected: Gauge::default(),
            added: Gauge::default(),
            log_full: Gauge::default(),
            log_lost: Gauge::default(),
            log_unpublished: Gauge::default(),
            log_unread: Gauge::default(),
            // 1 ms to 8 s: a revert on a quiet loopback takes 3 ms, a struggling API server seconds.
            revert_seconds: Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.001, 2.0, 14)),
            reports_waiting: Gauge::default(),
            report_failures: Counter::default(),
            events_dropped: Counter::default(),
        }
    }
}

impl Metrics {
    /// Makes the metrics and registers them under the prefix `writ`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let scope = registry.sub_registry_with_prefix("writ");
        scope.register("decisions", "Decisions by kind and reason", metrics.decisions.clone());
        scope.register("changes", "Changes sent to the API server", metrics.changes.clone());
        scope.register("held", "1 while a head or candidate is refused or waits for a window", metrics.held.clone());
        scope.register(
            "held_since_timestamp_seconds",
            "Since when which revision is refused, why, and who signed it",
            metrics.held_since.clone(),
        );
        scope.register("drifted_objects", "Objects that are drifted now", metrics.drifted.clone());
        scope.register("unreverted_objects", "Objects whose drift could not be reverted", metrics.unreverted.clone());
        scope.register(
            "break_glass_active",
            "1 while something is in force that a BreakGlass let through and that nobody who may has made anew",
            metrics.break_glass_active.clone(),
        );
        scope.register(
            "rolled_back",
            "1 while a signed order holds a Sync to an earlier revision",
            metrics.rolled_back.clone(),
        );
        scope.register("managed_objects", "Objects that are managed", metrics.objects.clone());
        scope.register(
            "unclaimed_objects",
            "Objects with this instance's label that no accepted revision declared",
            metrics.unclaimed.clone(),
        );
        scope.register("source_polls", "Polls of Git remotes", metrics.polls.clone());
        scope.register(
            "source_last_success_timestamp_seconds",
            "When the Git remote answered last",
            metrics.polled_at.clone(),
        );
        metrics.sources.register(scope);
        metrics.keyless.register(scope);
        metrics.drift.register(scope);
        metrics.watches.register(scope);
        scope.register(
            "objects_without_expected_record",
            "Objects compared by declared fields only",
            metrics.unexpected.clone(),
        );
        scope.register(
            "objects_added_to",
            "Objects to which others added fields that are left alone",
            metrics.added.clone(),
        );
        scope.register("log_full", "1 while the state volume takes no more entries", metrics.log_full.clone());
        scope.register("log_lost_entries", "Entries that were acknowledged and then lost", metrics.log_lost.clone());
        scope.register(
            "log_unpublished",
            "1 while no checkpoint can be written for the newest entries",
            metrics.log_unpublished.clone(),
        );
        scope.register("log_unread", "1 while what the log said cannot be read", metrics.log_unread.clone());
        scope.register(
            "revert_duration_seconds",
            "From the decision to revert to the API server's answer",
            metrics.revert_seconds.clone(),
        );
        scope.register("reports_waiting", "Statuses and Events not yet written", metrics.reports_waiting.clone());
        scope.register(
            "report_failures",
            "Attempts to write a status or Event that failed",
            metrics.report_failures.clone(),
        );
        scope.register("events_dropped", "Events that were given up", metrics.events_dropped.clone());
        metrics
    }

    /// Counts what came of one run of a source's gate.
    pub(crate) fn gate_ended(&self, source: &Key, outcome: &SourceOutcome, now: Timestamp) {
        self.polled(source, outcome.result(), now);
        self.sources.gate_ended(source, outcome, now);
    }

    /// Counts one decision.
    pub(crate) fn decided(&self, decision: &'static str, reason: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { decision, reason }).inc();
    }

    /// Counts one poll of a source: `same`, `new` or `failed`.
    fn polled(&self, source: &Key, result: &'static str, now: Timestamp) {
        self.polls.get_or_create(&PollLabels { result }).inc();
        if result != "failed" {
            self.polled_at.get_or_create(&OwnerLabels::source(source)).set(now.as_second());
        }
    }

    /// Notes a revert that was answered, this long after it was decided.
    pub(crate) fn reverted(&self, took: Duration) {
        self.revert_seconds.observe(took.as_secs_f64());
    }

    /// Shows which revision of an owner is refused, if one is.
    pub(crate) fn hold(&self, owner: &OwnerLabels, held: Option<&Held>) {
        self.held.get_or_create(owner).set(i64::from(held.is_some()));
        let labels = held.map(|held| held_labels(owner, held));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(owner.clone(), labels.clone()).flatten();
        if let Some(before) = before.filter(|before| Some(before) != labels.as_ref()) {
            self.held_since.remove(&before);
        }
        if let (Some(labels), Some(held)) = (labels, held) {
            self.held_since.get_or_create(&labels).set(held.since.as_second());
        }
    }

    /// Forgets the gauges of owners that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&OwnerLabels) -> bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|owner, held| {
            let keep = exists(owner);
            if !keep {
                for family in [&self.held, &self.drifted, &self.unreverted, &self.objects, &self.polled_at] {
                    family.remove(owner);
                }
                if owner.kind == "Sync" {
                    self.drift.forget(&format!("{}/{}", owner.namespace, owner.name));
                }
                if owner.kind == "GitSource" {
                    self.sources.forget(&Key { namespace: owner.namespace.clone(), name: owner.name.clone() });
                }
                if let Some(held) = held {
                    self.held_since.remove(held);
                }
            }
            keep
        });
    }
}

fn held_labels(owner: &OwnerLabels, held: &Held) -> HeldLabels {
    let first = held.findings.first().map(|finding| finding.code);
    HeldLabels {
        kind: owner.kind,
        namespace: owner.namespace.clone(),
        name: owner.name.clone(),
        commit: held.revision.clone(),
        code: first.map_or("", |code| code.code),
        reason: first.map_or("", |code| code.reason),
        signer: held.signer.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use manifest::{Finding, Subject};

    use super::*;
    use crate::code::ControllerCode;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    fn held(revision: &str) -> Held {
        let finding = Finding {
            code: ControllerCode::A143.entry(),
            subject: Subject::Named("x".into()),
            rule: None,
            found: "a secret sentence".into(),
            needed: manifest::Words::default(),
            fix: manifest::Words::default(),
        };
        Held {
            revision: revision.into(),
            findings: vec![finding],
            signer: Some("ann".into()),
            since: Timestamp::from_second(90).unwrap(),
        }
    }

    #[test]
    fn what_is_held_is_shown_by_kind_until_it_is_not_and_goes_with_its_owner() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let key = Key { namespace: "shop".into(), name: "web".into() };
        let source = OwnerLabels::source(&key);
        let sync = OwnerLabels::sync(&SyncRef { namespace: "shop".into(), name: "web".into() });
        metrics.hold(&source, Some(&held("c1")));
        metrics.hold(&source, Some(&held("c2")));
        metrics.hold(&sync, None);
        metrics.polled(&key, "new", Timestamp::from_second(60).unwrap());
        metrics.polled(&key, "failed", Timestamp::from_second(70).unwrap());
        let shown = text(&registry);
        for line in [
            r#"writ_held{kind="GitSource",namespace="shop",name="web"} 1"#,
            r#"writ_held{kind="Sync",namespace="shop",name="web"} 0"#,
            r#"writ_held_since_timestamp_seconds{kind="GitSource",namespace="shop",name="web",commit="c2",code="A143",reason="NoVerdict",signer="ann"} 90"#,
            r#"writ_source_last_success_timestamp_seconds{kind="GitSource",namespace="shop",name="web"} 60"#,
            r#"writ_source_polls_total{result="failed"} 1"#,
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        assert!(!shown.contains("c1") && !shown.contains("secret"), "{shown}");
        metrics.retain(|owner| owner.kind == "Sync");
        let shown = text(&registry);
        assert!(!shown.contains("GitSource") && shown.contains(r#"writ_held{kind="Sync""#), "{shown}");
        metrics.hold(&sync, Some(&held("c3")));
        metrics.hold(&sync, None);
        assert!(!text(&registry).contains("c3"));
    }
}
