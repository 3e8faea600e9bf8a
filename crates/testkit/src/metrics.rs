//! Prometheus text, as far as tests ask: sums of samples by name and labels.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::control_plane::{ControlPlane, get_plain};

/// One line of the text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text format. A line that is not of it is an error.
    pub fn parse(text: &str) -> Result<Self> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).with_context(|| format!("not a sample: {line}")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Scrapes `http://ADDRESS/metrics`.
    pub fn scrape(address: &str) -> Result<Self> {
        Self::parse(&get_plain(&format!("http://{address}/metrics"))?)
    }

    /// All samples.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// Sum over the samples of `name` that carry all of `labels`; `None` when there is no such sample.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self
            .0
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value)))
            .map(|sample| sample.value)
            .peekable();
        values.peek()?;
        Some(values.sum())
    }
}

/// `name{label="value",…} value [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = match line.split_once('{') {
        Some((name, rest)) => (name, rest),
        None => {
            let (name, value) = line.split_once(' ')?;
            return Some(Sample { name: name.to_owned(), labels: BTreeMap::new(), value: number(value)? });
        }
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(value) = rest.strip_prefix('}') {
            return Some(Sample { name: name.to_owned(), labels, value: number(value)? });
        }
        let (label, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        labels.insert(label.to_owned(), value);
        rest = after;
    }
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Which requests of the API server are counted: those with every given property; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFilter<'a> {
    /// As the server labels it: `APPLY` (server-side apply), `PATCH` (other patches), `PUT`, `POST`, `GET`, `LIST`, `WATCH`, `DELETE`.
    pub verb: Option<&'a str>,
    /// API group; the core group is the empty string.
    pub group: Option<&'a str>,
    /// Plural, e.g. `deployments`.
    pub resource: Option<&'a str>,
    /// E.g. `status`; the main resource is the empty string.
    pub subresource: Option<&'a str>,
    /// `true`: only server dry-runs, `false`: only real requests.
    pub dry_run: Option<bool>,
    /// Status code.
    pub code: Option<u16>,
}

/// `apiserver_request_total` at one moment. The server counts the requests of *all* its clients, so a test that compares two
/// moments starts its own control plane. A WATCH is counted when it ends.
#[derive(Debug, Clone, Default)]
pub struct RequestTotals(Metrics);

impl RequestTotals {
    /// The totals now.
    pub fn of(control_plane: &ControlPlane) -> Result<Self> {
        Metrics::parse(&control_plane.get("/metrics")?).map(Self)
    }

    /// How many requests fit `filter`.
    pub fn count(&self, filter: &RequestFilter<'_>) -> u64 {
        let code = filter.code.map(|code| code.to_string());
        let wanted = [
            ("verb", filter.verb),
            ("group", filter.group),
            ("resource", filter.resource),
            ("subresource", filter.subresource),
            ("dry_run", filter.dry_run.map(|dry| if dry { "All" } else { "" })),
            ("code", code.as_deref()),
        ];
        let labels: Vec<(&str, &str)> =
            wanted.into_iter().filter_map(|(label, value)| value.map(|value| (label, value))).collect();
        let sum = self.0.sum("apiserver_request_total", &labels).unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a counter of requests is a small natural number"
        )]
        let count = sum as u64;
        count
    }

    /// How many requests that fit `filter` came after `earlier` (0 after a restart of the server, which starts from 0).
    pub fn count_since(&self, earlier: &Self, filter: &RequestFilter<'_>) -> u64 {
        self.count(filter).saturating_sub(earlier.count(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP apiserver_request_total Counter of apiserver requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code=\"200\",dry_run=\"\",group=\"apps\",resource=\"deployments\",scope=\"resource\",subresource=\"\",verb=\"APPLY\"} 5
apiserver_request_total{code=\"201\",dry_run=\"\",group=\"apps\",resource=\"deployments\",scope=\"resource\",subresource=\"\",verb=\"APPLY\"} 2
apiserver_request_total{code=\"201\",dry_run=\"All\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\",verb=\"POST\"} 3
odd{text=\"a \\\"quoted\\\", \\\\ {brace}\\n\"} 1.5e3 1700000000
plain 7
";

    fn check(filter: RequestFilter<'_>, expected: u64) {
        assert_eq!(RequestTotals(Metrics::parse(TEXT).unwrap()).count(&filter), expected, "{filter:?}");
    }

    #[test]
    fn requests_are_counted_by_label() {
        check(RequestFilter::default(), 10);
        check(RequestFilter { verb: Some("APPLY"), ..Default::default() }, 7);
        check(RequestFilter { verb: Some("APPLY"), code: Some(201), ..Default::default() }, 2);
        check(RequestFilter { dry_run: Some(true), ..Default::default() }, 3);
        check(RequestFilter { dry_run: Some(false), group: Some("apps"), ..Default::default() }, 7);
        check(RequestFilter { group: Some(""), resource: Some("configmaps"), ..Default::default() }, 3);
        check(RequestFilter { verb: Some("DELETE"), ..Default::default() }, 0);
    }

    #[test]
    fn labels_are_unescaped_and_plain_samples_read() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.sum("odd", &[("text", "a \"quoted\", \\ {brace}\n")]), Some(1500.0));
        assert_eq!(metrics.sum("plain", &[]), Some(7.0));
        assert_eq!(metrics.sum("absent", &[]), None);
    }

    #[test]
    fn what_is_not_a_sample_is_an_error() {
        for text in ["name", "name{a=\"b\" 1", "name{a=\"b} 1", "name{a=b} 1", "name one"] {
            assert!(Metrics::parse(text).is_err(), "{text}");
        }
    }
}
