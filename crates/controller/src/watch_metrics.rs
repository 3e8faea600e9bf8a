//! What is counted of the watches of managed kinds.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Labels: how a list ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProofLabels {
    /// `ok` or `failed`.
    result: &'static str,
}

/// What is counted of the watches of managed kinds.
#[derive(Debug, Default)]
pub(crate) struct WatchMetrics {
    lag: Gauge,
    proved_at: Gauge,
    proofs: Family<ProofLabels, Counter>,
    missed: Counter,
}

impl WatchMetrics {
    /// Registers them.
    pub(crate) fn register(&self, scope: &mut Registry) {
        scope.register(
            "watch_lag_seconds",
            "Since when nothing was heard of the watch that is silent for longest; the API server says something each minute",
            self.lag.clone(),
        );
        scope.register(
            "watch_proved_timestamp_seconds",
            "When the kind was listed beside its watch that was not for longest; 0 while none is watched",
            self.proved_at.clone(),
        );
        scope.register("watch_proofs", "Lists beside watches, by result", self.proofs.clone());
        scope.register(
            "watch_missed_events",
            "Objects that a list showed otherwise than the watch, which said nothing of it in time",
            self.missed.clone(),
        );
    }

    /// The watch that is silent for longest is so for this long.
    pub(crate) fn heard(&self, ago: Duration) {
        self.lag.set(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX));
    }

    /// The watch that was not proved for longest was so many seconds ago; `None` if there is none.
    pub(crate) fn proved(&self, now: Timestamp, seconds_ago: Option<u64>) {
        let at = seconds_ago.map(|ago| now.as_second().saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)));
        self.proved_at.set(at.unwrap_or_default());
    }

    /// A list ended.
    pub(crate) fn listed(&self, is_ok: bool) {
        let result = if is_ok { "ok" } else { "failed" };
        self.proofs.get_or_create(&ProofLabels { result }).inc();
    }

    /// A watch left out events about so many objects.
    pub(crate) fn missed(&self, objects: usize) {
        self.missed.inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
    }

    /// Makes one line of each, so that its labels show.
    pub(crate) fn sample(&self) {
        drop(self.proofs.get_or_create(&ProofLabels::default()));
    }
}
