//! What is counted of the trust roots of keyless signatures that are fetched.

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Labels: one TrustRoot.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RootLabels {
    /// Its name.
    root: String,
}

/// Labels: how a fetch ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    /// The name of the TrustRoot.
    root: String,
    /// `ok` or `failed`.
    result: &'static str,
}

/// What is counted of each TrustRoot that has its trust root of keyless signatures fetched.
#[derive(Debug, Default)]
pub(crate) struct KeylessMetrics {
    refreshes: Family<RefreshLabels, Counter>,
    /// When what is in force was known to be the newest, in seconds since 1970.
    refreshed_at: Family<RootLabels, Gauge>,
}

impl KeylessMetrics {
    /// Registers them.
    pub(crate) fn register(&self, scope: &mut Registry) {
        scope.register(
            "keyless_refreshes",
            "Times that the trust root of keyless signatures was asked for, by result",
            self.refreshes.clone(),
        );
        scope.register(
            "keyless_refreshed_timestamp_seconds",
            "When the trust root of keyless signatures that is in force was the newest",
            self.refreshed_at.clone(),
        );
    }

    /// A repository was asked. It is `ok` if what it has is known, and kept.
    pub(crate) fn asked(&self, root: &str, is_ok: bool) {
        let result = if is_ok { "ok" } else { "failed" };
        self.refreshes.get_or_create(&RefreshLabels { root: root.to_owned(), result }).inc();
    }

    /// What is in force was the newest then; `None` if nothing that was fetched is in force.
    pub(crate) fn in_force(&self, root: &str, at: Option<Timestamp>) {
        let labels = RootLabels { root: root.to_owned() };
        match at {
            Some(at) => drop(self.refreshed_at.get_or_create(&labels).set(at.as_second())),
            None => drop(self.refreshed_at.remove(&labels)),
        }
    }

    /// Makes one line of each, so that its labels show.
    pub(crate) fn sample(&self) {
        drop(self.refreshes.get_or_create(&RefreshLabels::default()));
        drop(self.refreshed_at.get_or_create(&RootLabels::default()));
    }

    /// Forgets a TrustRoot that is gone, or no longer has anything fetched.
    pub(crate) fn forget(&self, root: &str) {
        for result in ["ok", "failed"] {
            self.refreshes.remove(&RefreshLabels { root: root.to_owned(), result });
        }
        self.refreshed_at.remove(&RootLabels { root: root.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_another_repository_goes_with_it() {
        let (metrics, mut registry) = (KeylessMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let shown = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        metrics.in_force("prod", Some(Timestamp::UNIX_EPOCH));
        metrics.asked("prod", false);
        let line = "keyless_refreshed_timestamp_seconds{root=\"prod\"} 0\n";
        assert!(shown().contains(line), "a failure takes nothing away: {}", shown());
        // As after an edit of the TrustRoot.
        metrics.in_force("prod", None);
        assert!(!shown().contains(line), "{}", shown());
    }
}
