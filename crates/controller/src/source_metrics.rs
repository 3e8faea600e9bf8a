//! What is counted of each GitSource beside its polls.

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use trust::TrustMode;

use crate::{
    source_gate::{SourceOutcome, Tally},
    state::Key,
    webhook,
};

/// Labels: what became of the commits of a GitSource.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct VerificationLabels {
    /// `namespace/name` of the GitSource.
    pub source: String,
    /// `accepted` or `refused`.
    pub result: &'static str,
    /// The code's reason, or empty.
    pub reason: &'static str,
}

/// Labels: one GitSource.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SourceLabels {
    /// `namespace/name`.
    pub source: String,
}

/// Labels: how a webhook ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WebhookLabels {
    /// `namespace/name` of the GitSource; empty if there is none that takes webhooks.
    pub source: String,
    /// `accepted`, `replayed`, `denied`, `stale`, `limited`, `too_large` or `broken`.
    pub result: &'static str,
}

/// What is counted of each GitSource.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    /// Commits that were judged.
    verifications: Family<VerificationLabels, Counter>,
    /// Seconds for one commit, averaged over each judgement.
    verification_seconds: Histogram,
    /// Commits that the last judgement of a source refused.
    refused_commits: Family<SourceLabels, Gauge>,
    /// When the head of a source was judged and accepted last, in seconds since 1970.
    verified_at: Family<SourceLabels, Gauge>,
    /// 1 while a source is stale; nothing where nobody asks.
    stale: Family<SourceLabels, Gauge>,
    /// When the newest verified head of a source was made, in seconds since 1970.
    head: Family<SourceLabels, Gauge>,
    /// When the newest heartbeat of a source was made, in seconds since 1970.
    heartbeat: Family<SourceLabels, Gauge>,
    /// When the trust file in force expires, in seconds since 1970.
    expires: Family<SourceLabels, Gauge>,
    /// 1 while nothing is done by what a source shows.
    audit_mode: Family<SourceLabels, Gauge>,
    /// Webhooks that came.
    webhooks: Family<WebhookLabels, Counter>,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            verifications: Family::default(),
            // 20 µs to 0.3 s: a commit takes 70 µs, one that changes thousands of manifests some tenths of a second.
            verification_seconds: Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
                0.000_02, 2.0, 15,
            )),
            refused_commits: Family::default(),
            verified_at: Family::default(),
            stale: Family::default(),
            head: Family::default(),
            heartbeat: Family::default(),
            expires: Family::default(),
            audit_mode: Family::default(),
            webhooks: Family::default(),
        }
    }
}

impl SourceMetrics {
    /// Registers them.
    pub(crate) fn register(&self, scope: &mut Registry) {
        scope.register("commit_verifications", "Commits that were judged", self.verifications.clone());
        scope.register(
            "commit_verification_seconds",
            "Time to verify and authorise one commit, averaged over each judgement",
            self.verification_seconds.clone(),
        );
        scope.register(
            "source_refused_commits",
            "Commits that the last judgement of a source refused; it ends with the first",
            self.refused_commits.clone(),
        );
        scope.register(
            "source_last_verified_timestamp_seconds",
            "When the head of a source was judged and accepted last",
            self.verified_at.clone(),
        );
        scope.register("source_stale", "1 while what a server shows may be old (W405)", self.stale.clone());
        scope.register(
            "source_head_timestamp_seconds",
            "When the newest verified head was made, by its committer time",
            self.head.clone(),
        );
        scope.register(
            "source_last_heartbeat_timestamp_seconds",
            "When the newest heartbeat that counts was made",
            self.heartbeat.clone(),
        );
        scope.register(
            "source_trust_expires_timestamp_seconds",
            "When the trust file in force expires (W508 a week later)",
            self.expires.clone(),
        );
        scope.register(
            "source_audit_mode",
            "1 while the TrustRoot of a source is in mode Audit, so that nothing is written by it (A145)",
            self.audit_mode.clone(),
        );
        scope.register("webhooks", "Webhooks by source and result", self.webhooks.clone());
    }

    /// Counts what came of one run of a source's gate.
    pub(crate) fn gate_ended(&self, source: &Key, outcome: &SourceOutcome, now: Timestamp) {
        let labels = labels(source);
        match outcome {
            SourceOutcome::Accepted { tally, .. } => {
                self.verified_at.get_or_create(&labels).set(now.as_second());
                self.judged(&labels, tally, None);
            }
            SourceOutcome::Refused { tally, findings, .. } => {
                let reason = findings.first().map_or("", |finding| finding.code.reason);
                self.judged(&labels, tally, Some(reason));
            }
            SourceOutcome::Unchanged | SourceOutcome::Overtaken | SourceOutcome::Unreachable(_) => {}
        }
    }

    /// Counts the commits of a judgement. At most one is refused: it ends with that one.
    fn judged(&self, labels: &SourceLabels, tally: &Tally, refused: Option<&'static str>) {
        let count = |result: &'static str, reason: &'static str, commits: u64| {
            let labels = VerificationLabels { source: labels.source.clone(), result, reason };
            self.verifications.get_or_create(&labels).inc_by(commits);
        };
        let accepted = tally.commits.saturating_sub(u64::from(refused.is_some()));
        if accepted > 0 {
            count("accepted", "", accepted);
        }
        if let Some(reason) = refused {
            count("refused", reason, 1);
        }
        if tally.commits > 0 {
            self.verification_seconds.observe(tally.took.as_secs_f64() / tally.commits as f64);
        }
        self.refused_commits.get_or_create(labels).set(i64::from(refused.is_some()));
    }

    /// Shows whether a source is stale, if anybody asks, and of when its newest verified head and heartbeat are.
    pub(crate) fn fresh(
        &self,
        source: &Key,
        stale: Option<bool>,
        head: Option<Timestamp>,
        heartbeat: Option<Timestamp>,
    ) {
        let labels = labels(source);
        let show = |family: &Family<SourceLabels, Gauge>, value: Option<i64>| match value {
            Some(value) => _ = family.get_or_create(&labels).set(value),
            None => _ = family.remove(&labels),
        };
        show(&self.stale, stale.map(i64::from));
        show(&self.head, stale.and(head).map(Timestamp::as_second));
        show(&self.heartbeat, stale.and(heartbeat).map(Timestamp::as_second));
    }

    /// Shows when the trust file of a source expires, if there is one in force.
    pub(crate) fn expires(&self, source: &Key, expires: Option<Timestamp>) {
        let labels = labels(source);
        match expires {
            Some(at) => _ = self.expires.get_or_create(&labels).set(at.as_second()),
            None => _ = self.expires.remove(&labels),
        }
    }

    /// Shows whether what is judged of a source is only told.
    pub(crate) fn audited(&self, source: &Key, mode: TrustMode) {
        self.audit_mode.get_or_create(&labels(source)).set(i64::from(mode == TrustMode::Audit));
    }

    /// Counts one webhook; of a source, if there is one.
    pub(crate) fn webhook(&self, source: Option<&Key>, outcome: webhook::Outcome) {
        let source = source.map(ToString::to_string).unwrap_or_default();
        self.webhooks.get_or_create(&WebhookLabels { source, result: outcome.name() }).inc();
    }

    /// Makes one line of every family, so that its labels show.
    pub(crate) fn sample(&self) {
        drop(self.verifications.get_or_create(&VerificationLabels::default()));
        drop(self.webhooks.get_or_create(&WebhookLabels::default()));
        for of_a_source in self.of_sources() {
            drop(of_a_source.get_or_create(&SourceLabels::default()));
        }
    }

    const fn of_sources(&self) -> [&Family<SourceLabels, Gauge>; 7] {
        [
            &self.refused_commits,
            &self.verified_at,
            &self.stale,
            &self.head,
            &self.heartbeat,
            &self.expires,
            &self.audit_mode,
        ]
    }

    /// Forgets a source that is gone.
    pub(crate) fn forget(&self, source: &Key) {
        let labels = labels(source);
        for family in self.of_sources() {
            family.remove(&labels);
        }
        for result in webhook::Outcome::ALL.map(webhook::Outcome::name) {
            self.webhooks.remove(&WebhookLabels { source: labels.source.clone(), result });
        }
    }
}

fn labels(source: &Key) -> SourceLabels {
    SourceLabels { source: source.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_counted_of_a_source_goes_with_it() {
        let (mut registry, metrics) = (Registry::default(), SourceMetrics::default());
        metrics.register(registry.sub_registry_with_prefix("writ"));
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let key = Key { namespace: "shop".into(), name: "web".into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        metrics.judged(&labels(&key), &Tally { commits: 3, took: Duration::from_micros(300) }, None);
        metrics.judged(&labels(&key), &Tally { commits: 2, took: Duration::from_micros(100) }, Some("CommitUnsigned"));
        metrics.verified_at.get_or_create(&labels(&key)).set(65);
        metrics.fresh(&key, Some(true), Some(at(50)), Some(at(60)));
        metrics.expires(&key, Some(at(70)));
        metrics.audited(&key, TrustMode::Audit);
        metrics.webhook(Some(&key), webhook::Outcome::Denied);
        metrics.webhook(None, webhook::Outcome::Limited);
        let shown = text();
        for line in [
            r#"writ_commit_verifications_total{source="shop/web",result="accepted",reason=""} 4"#,
            r#"writ_commit_verifications_total{source="shop/web",result="refused",reason="CommitUnsigned"} 1"#,
            r#"writ_source_refused_commits{source="shop/web"} 1"#,
            r#"writ_source_last_verified_timestamp_seconds{source="shop/web"} 65"#,
            r#"writ_source_stale{source="shop/web"} 1"#,
            r#"writ_source_head_timestamp_seconds{source="shop/web"} 50"#,
            r#"writ_source_last_heartbeat_timestamp_seconds{source="shop/web"} 60"#,
            r#"writ_source_trust_expires_timestamp_seconds{source="shop/web"} 70"#,
            r#"writ_source_audit_mode{source="shop/web"} 1"#,
            r#"writ_webhooks_total{source="shop/web",result="denied"} 1"#,
            r#"writ_webhooks_total{source="",result="limited"} 1"#,
            "writ_commit_verification_seconds_count 2",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        // Nobody asks any more.
        metrics.fresh(&key, None, Some(at(50)), Some(at(60)));
        assert!(!text().contains("writ_source_stale{") && !text().contains("_heartbeat_timestamp_seconds{"));
        metrics.fresh(&key, Some(false), None, None);
        metrics.forget(&key);
        let shown = text();
        for gone in [
            "writ_source_refused_commits{",
            "_verified_timestamp_seconds{",
            "writ_source_stale{",
            "_expires_timestamp_seconds{",
            "writ_source_audit_mode{",
            "\"denied\"",
        ] {
            assert!(!shown.contains(gone), "{gone} is in\n{shown}");
        }
    }
}
