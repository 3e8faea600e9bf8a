//! The page about metrics: what is registered, as the endpoint shows it.

use std::collections::BTreeMap;

use prometheus_client::{encoding::text::encode, registry::Registry};

use super::{ChangeLabels, DecisionLabels, HeldLabels, Metrics, OwnerLabels, PollLabels};

/// What a page says of one metric.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MetricEntry {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it counts.
    pub help: String,
}

/// Every metric by the name under which it is queried.
///
/// # Errors
/// When the text format cannot be written.
pub fn metrics_reference() -> Result<BTreeMap<String, MetricEntry>, std::fmt::Error> {
    let mut registry = Registry::default();
    Metrics::register(&mut registry).sample();
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(read(&text))
}

impl Metrics {
    /// Makes one line of every family, so that its labels show.
    fn sample(&self) {
        drop(self.decisions.get_or_create(&DecisionLabels::default()));
        drop(self.changes.get_or_create(&ChangeLabels::default()));
        drop(self.held_since.get_or_create(&HeldLabels::default()));
        drop(self.polls.get_or_create(&PollLabels::default()));
        self.sources.sample();
        self.keyless.sample();
        self.drift.sample();
        self.watches.sample();
        for of_an_owner in [
            &self.held,
            &self.rolled_back,
            &self.break_glass_active,
            &self.drifted,
            &self.unreverted,
            &self.objects,
            &self.polled_at,
        ] {
            drop(of_an_owner.get_or_create(&OwnerLabels::default()));
        }
    }
}

/// Reads the text format: `# HELP name text`, `# TYPE name kind`, `name{label="…"} value`.
fn read(text: &str) -> BTreeMap<String, MetricEntry> {
    let (mut entries, mut entry) = (BTreeMap::new(), MetricEntry::default());
    for line in text.lines() {
        if let Some((_, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            help.trim_end_matches('.').clone_into(&mut entry.help);
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            kind.clone_into(&mut entry.kind);
        } else if let Some((name, _)) = line.split_once(['{', ' ']).filter(|_| !line.starts_with('#')) {
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            entry.labels = names.filter(|name| name != "le").collect();
            let name =
                if entry.kind == "histogram" { name.rsplit_once('_').map_or(name, |(name, _)| name) } else { name };
            entries.entry(name.to_owned()).or_insert_with(|| entry.clone());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alerts are about metrics and labels that there are, and each says how bad it is and where it stands what to do.
    #[test]
    fn alerts_are_about_what_there_is() {
        let alerts = include_str!("../../../../deploy/alerts/prometheus-rule.yaml");
        let runbook = include_str!("../../../../docs/alerts.md");
        let known = metrics_reference().unwrap();
        let mut rules = alerts.split("- alert: ").skip(1).peekable();
        assert!(rules.peek().is_some());
        for rule in rules {
            let name = rule.lines().next().unwrap();
            let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).unwrap();
            let words = expression.split(|at: char| !at.is_ascii_alphanumeric() && at != '_');
            let metrics: Vec<_> = words.filter(|word| word.starts_with("writ_")).collect();
            assert!(!metrics.is_empty() && metrics.iter().all(|metric| known.contains_key(*metric)), "{expression}");
            for label in rule.split("$labels.").skip(1).filter_map(|rest| rest.split([' ', '}']).next()) {
                assert!(known[metrics[0]].labels.iter().any(|known| known == label), "{name}: {label}");
            }
            assert!(rule.contains("severity: critical") || rule.contains("severity: warning"), "{name}");
            let (section, page) =
                (format!("docs/alerts.md#{}\n", name.to_lowercase()), format!("docs/runbooks/{name}.md"));
            if rule.contains(&format!("runbook: {section}")) {
                assert!(runbook.contains(&format!("\n## {name}\n")), "{name}");
                continue;
            }
            assert!(
                rule.contains(&format!("runbook: {page}\n")) && runbook.contains(&format!("(runbooks/{name}.md)")),
                "{name}"
            );
            let page = std::fs::read_to_string(format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let headings: Vec<_> = page.lines().filter(|line| line.starts_with('#')).collect();
            let title = format!("# {name}");
            assert_eq!(headings, [&title, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"], "{name}");
        }
        let refused = alerts.split("- alert: ").find(|rule| rule.starts_with("WritRevisionRefused")).unwrap();
        let named = ["$labels.commit", "$labels.code", "$labels.reason", "severity: critical"];
        assert!(named.iter().all(|named| refused.contains(named)), "{refused}");
    }

    /// A family without a line would be missing on the page.
    #[test]
    fn every_registered_metric_is_on_the_page() {
        let mut registry = Registry::default();
        Metrics::register(&mut registry).sample();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let registered = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        let page = metrics_reference().unwrap();
        assert_eq!(page.len(), registered, "{page:#?}");
        let verifications = &page["writ_commit_verifications_total"];
        assert_eq!((verifications.kind.as_str(), verifications.labels.len()), ("counter", 3));
        assert_eq!(page["writ_revert_duration_seconds"].kind, "histogram");
    }
}
