//! What is counted of drift. Labels are bounded: Syncs, the kinds that they declare, and words of our own; never a user or a
//! commit.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use plan::{ActorClass, DriftFact, DriftState, Record, Seen, Severity};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The most kinds that drift is counted by; of another one beyond them the kind is `other`.
const MAX_KINDS: usize = 200;

/// Labels: the open drifts of a Sync that matter so much.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpenLabels {
    /// `namespace/name`.
    sync: String,
    /// `info`, `low`, `medium`, `high`, `critical`.
    severity: &'static str,
}

/// Labels: a Sync.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    /// `namespace/name`.
    sync: String,
}

/// Labels: what drifted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DetectedLabels {
    sync: String,
    /// Such as `Deployment.apps`.
    kind: String,
    field_class: String,
    /// `human`, `serviceaccount`, `controller`, `unknown`.
    actor_class: String,
}

/// Labels: what came of a revert.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevertedLabels {
    sync: String,
    /// `begun`, `failed`, `late`.
    result: &'static str,
}

/// What is counted of drift.
#[derive(Debug, Default)]
pub(crate) struct DriftMetrics {
    open: Family<OpenLabels, Gauge>,
    contested: Family<SyncLabels, Gauge>,
    oldest: Family<SyncLabels, Gauge>,
    detected: Family<DetectedLabels, Counter>,
    reverted: Family<RevertedLabels, Counter>,
    kinds: Mutex<BTreeSet<String>>,
}

impl DriftMetrics {
    /// Registers them.
    pub(crate) fn register(&self, scope: &mut Registry) {
        scope.register("drift_open", "Drifts of a Sync that are open, by how much they matter", self.open.clone());
        scope.register("drift_contested", "Drifts of a Sync that come back after each revert", self.contested.clone());
        scope.register(
            "drift_oldest_open_timestamp_seconds",
            "Since when the oldest open drift of a Sync is there; nothing if none is",
            self.oldest.clone(),
        );
        scope.register("drift_detected", "Drifts that were seen", self.detected.clone());
        scope.register("drift_reverted", "Reverts that were begun, failed, or succeeded later", self.reverted.clone());
    }
    /// Counts what an entry says.
    pub(crate) fn count(&self, fact: &DriftFact) {
        match fact {
            DriftFact::Seen(seen) => self.seen(seen),
            DriftFact::Failed { sync, .. } => self.came(sync, "failed"),
            DriftFact::RevertedLate { sync, .. } => self.came(sync, "late"),
            _ => {}
        }
    }

    fn seen(&self, seen: &Seen) {
        let labels = DetectedLabels {
            sync: seen.sync.clone(),
            kind: self.kind(&seen.object),
            field_class: seen.cause.class.clone(),
            actor_class: seen.cause.actor_class.clone().unwrap_or_else(|| ActorClass::Unknown.name().to_owned()),
        };
        self.detected.get_or_create(&labels).inc_by(seen.times);
        if seen.reverted {
            self.came(&seen.sync, "begun");
        }
    }

    fn came(&self, sync: &str, result: &'static str) {
        self.reverted.get_or_create(&RevertedLabels { sync: sync.to_owned(), result }).inc();
    }

    /// The kind of an object; custom kinds are as many as somebody installs.
    fn kind(&self, object: &str) -> String {
        let kind = object.split_once(' ').map_or(object, |(kind, _)| kind);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.contains(kind) || kinds.len() < MAX_KINDS && kinds.insert(kind.to_owned()) {
            kind.to_owned()
        } else {
            "other".to_owned()
        }
    }

    /// Shows what is open of a Sync.
    pub(crate) fn show(&self, sync: &str, open: &[&Record]) {
        for severity in Severity::ALL {
            let labels = OpenLabels { sync: sync.to_owned(), severity: severity.name() };
            let count = open.iter().filter(|record| record.cause.severity == severity).count();
            self.open.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let labels = SyncLabels { sync: sync.to_owned() };
        let contested = open.iter().filter(|record| record.state == DriftState::Contested).count();
        self.contested.get_or_create(&labels).set(i64::try_from(contested).unwrap_or(i64::MAX));
        match open.iter().map(|record| record.first).min() {
            Some(first) => drop(self.oldest.get_or_create(&labels).set(first.as_second())),
            None => drop(self.oldest.remove(&labels)),
        }
    }

    /// Forgets a Sync that is gone.
    pub(crate) fn forget(&self, sync: &str) {
        for severity in Severity::ALL {
            self.open.remove(&OpenLabels { sync: sync.to_owned(), severity: severity.name() });
        }
        let labels = SyncLabels { sync: sync.to_owned() };
        self.contested.remove(&labels);
        self.oldest.remove(&labels);
    }

    /// Makes one line of each, so that its labels show.
    pub(crate) fn sample(&self) {
        drop(self.open.get_or_create(&OpenLabels::default()));
        drop(self.contested.get_or_create(&SyncLabels::default()));
        drop(self.oldest.get_or_create(&SyncLabels::default()));
        drop(self.detected.get_or_create(&DetectedLabels::default()));
        drop(self.reverted.get_or_create(&RevertedLabels::default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_the_most_are_counted_together() {
        let metrics = DriftMetrics::default();
        for number in 0..MAX_KINDS {
            assert_eq!(metrics.kind(&format!("K{number}.example.org shop/a")), format!("K{number}.example.org"));
        }
        assert_eq!(metrics.kind("Late.example.org shop/a"), "other");
        assert_eq!(metrics.kind("K0.example.org shop/b"), "K0.example.org");
    }
}
