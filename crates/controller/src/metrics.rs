//! Metrics: one struct, registered once; labels are codes and fixed words, never names of objects.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Labels: one Sync or GitSource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OwnerLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Labels: what was decided, and the code if it was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DecisionLabels {
    /// `advance`, `refuse`, `revert`, `flag`, `hold`.
    pub decision: &'static str,
    /// The code's reason, or empty.
    pub reason: &'static str,
}

/// Labels: how a request to the API server ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ChangeLabels {
    /// `created`, `configured`, `reverted`, `pruned`.
    pub action: &'static str,
    /// `ok` or `failed`.
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
    pub held: Family<OwnerLabels, Gauge>,
    /// Objects of a Sync that are drifted now.
    pub drifted: Family<OwnerLabels, Gauge>,
    /// Managed objects of a Sync.
    pub objects: Family<OwnerLabels, Gauge>,
    /// Polls of remotes by result (`same`, `new`, `failed`).
    pub polls: Family<PollLabels, Counter>,
    /// Objects without an expected record: compared by declared fields only.
    pub unexpected: Gauge,
    /// 1 while the state volume takes no more entries.
    pub log_full: Gauge,
    /// Seconds from the delivery of a watch event to the answer of the revert.
    pub revert_seconds: Histogram,
}

/// Labels: how a poll ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PollLabels {
    /// `same`, `new` or `failed`.
    pub result: &'static str,
}

impl Metrics {
    /// Makes the metrics and registers them under the prefix `writ`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            decisions: Family::default(),
            changes: Family::default(),
            held: Family::default(),
            drifted: Family::default(),
            objects: Family::default(),
            polls: Family::default(),
            unexpected: Gauge::default(),
            log_full: Gauge::default(),
            // 1 ms to 8 s: a revert on a quiet loopback takes 3 ms, a struggling API server seconds.
            revert_seconds: Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.001, 2.0, 14)),
        };
        let scope = registry.sub_registry_with_prefix("writ");
        scope.register("decisions", "Decisions by kind and reason", metrics.decisions.clone());
        scope.register("changes", "Changes sent to the API server", metrics.changes.clone());
        scope.register("held", "1 while a head or candidate is refused", metrics.held.clone());
        scope.register("drifted_objects", "Objects that are drifted now", metrics.drifted.clone());
        scope.register("managed_objects", "Objects that are managed", metrics.objects.clone());
        scope.register("source_polls", "Polls of Git remotes", metrics.polls.clone());
        scope.register(
            "objects_without_expected_record",
            "Objects compared by declared fields only",
            metrics.unexpected.clone(),
        );
        scope.register("log_full", "1 while the state volume takes no more entries", metrics.log_full.clone());
        scope.register(
            "revert_duration_seconds",
            "From watch event to the answer of the revert",
            metrics.revert_seconds.clone(),
        );
        metrics
    }

    /// Counts one decision.
    pub(crate) fn decided(&self, decision: &'static str, reason: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { decision, reason }).inc();
    }
}
