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
