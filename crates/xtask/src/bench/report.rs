//! What came out: a table for people, an object for machines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde::Serialize;

/// How a ratio is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Only told.
    None,
}

/// The result of one bench.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    ratios: BTreeMap<String, f64>,
    figures: BTreeMap<String, f64>,
    #[serde(skip)]
    goals: BTreeMap<String, Goal>,
}

impl Report {
    /// An empty result; the machine's load now is its first figure.
    pub(super) fn new(bench: &'static str) -> Result<Self> {
        let mut report = Self { bench, ratios: BTreeMap::new(), figures: BTreeMap::new(), goals: BTreeMap::new() };
        report.figure("load_before", load()?);
        Ok(report)
    }

    /// Sets writ's value, the reference's value, and how they compare.
    pub(super) fn compare(&mut self, name: &str, unit: &str, writ: f64, reference: f64, goal: Goal) -> Result<()> {
        ensure!(reference > 0.0, "{name}: the reference's value is {reference}");
        self.figure(&format!("{name}_{unit}_writ"), writ);
        self.figure(&format!("{name}_{unit}_reference"), reference);
        self.ratio(name, writ / reference, goal);
        Ok(())
    }

    pub(super) fn ratio(&mut self, name: &str, value: f64, goal: Goal) {
        self.ratios.insert(name.to_owned(), rounded(value));
        self.goals.insert(name.to_owned(), goal);
    }

    pub(super) fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), rounded(value));
    }

    /// A figure that has a goal of its own.
    pub(super) fn limit(&mut self, name: &str, value: f64, goal: Goal) {
        self.figure(name, value);
        self.goals.insert(name.to_owned(), goal);
    }

    /// Notes the machine's load at the end.
    pub(super) fn finish(mut self) -> Result<Self> {
        self.figure("load_after", load()?);
        Ok(self)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let [ratios, figures] = [("ratio", &self.ratios), ("figure", &self.figures)].map(|(what, values)| {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header([what, "value", "goal", ""]);
            for (name, value) in values {
                let (goal, verdict) = match self.goals.get(name) {
                    Some(Goal::AtMost(limit)) => (format!("≤ {limit}"), if value <= limit { "met" } else { "MISSED" }),
                    Some(Goal::AtLeast(limit)) => (format!("≥ {limit}"), if value >= limit { "met" } else { "MISSED" }),
                    Some(Goal::None) | None => (String::new(), ""),
                };
                table.add_row([name.clone(), value.to_string(), goal, verdict.to_owned()]);
            }
            table
        });
        format!("bench {}\n\n{ratios}\n\n{figures}\n", self.bench)
    }
}

/// Three digits after the point: more than the machine's noise leaves meaning to.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The load average over a minute.
fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    text.split_whitespace().next().and_then(|word| word.parse().ok()).context("/proc/loadavg is not as expected")
}

/// The value below which the given share of the durations lies, in milliseconds (nearest rank).
pub(super) fn percentile(durations: &[Duration], share: f64) -> Result<f64> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share between 0 and 1 of a few hundred values"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1)).context("no durations were measured")?;
    Ok(value.as_secs_f64() * 1_000.0)
}

/// The median of plain values.
pub(super) fn median(values: &[f64]) -> Result<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).context("no values were measured")?;
    let lower = sorted.get((sorted.len().saturating_sub(1)) / 2).context("no values were measured")?;
    Ok(f64::midpoint(*lower, *upper))
}

/// CPU time that a process has used, in milliseconds: fields 14 and 15 of `/proc/PID/stat`.
pub(super) fn cpu_milliseconds(pid: u32) -> Result<f64> {
    /// The kernel counts in hundredths of a second for user space, whatever its own clock (`USER_HZ`).
    const TICK_MILLISECONDS: f64 = 10.0;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may contain anything; what follows it starts with field 3.
    let (_, rest) = text.rsplit_once(')').with_context(|| format!("{path} is not as expected"))?;
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    ensure!(ticks.len() == 2, "{path} is not as expected");
    Ok(ticks.iter().sum::<f64>() * TICK_MILLISECONDS)
}

/// CPU time of the ended children of this process, in microseconds. `/proc` has it in hundredths of a second alone, and what is
/// cut off there would count for those that start processes.
pub(super) fn children_microseconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel does not tell the CPU time of children")?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_percentile(share: f64, expected: f64) {
        let durations: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert!((percentile(&durations, share).unwrap() - expected).abs() < 1e-9, "{share}");
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        check_percentile(0.5, 100.0);
        check_percentile(0.99, 198.0);
        check_percentile(1.0, 200.0);
        assert!(percentile(&[], 0.5).is_err());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]).unwrap() - 2.5).abs() < 1e-9);
        assert!((median(&[3.0, 1.0, 2.0]).unwrap() - 2.0).abs() < 1e-9);
        assert!(median(&[]).is_err());
    }

    #[test]
    fn machines_get_the_three_fields_and_people_the_verdict() {
        let mut report = Report::new("drift").unwrap();
        report.compare("p50", "ms", 3.9, 3.0, Goal::AtMost(1.3)).unwrap();
        report.compare("p99", "ms", 16.0, 10.0, Goal::AtMost(1.5)).unwrap();
        assert!(report.compare("p1", "ms", 1.0, 0.0, Goal::None).is_err());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["bench"], "drift");
        assert_eq!(json["ratios"], serde_json::json!({"p50": 1.3, "p99": 1.6}));
        assert_eq!(json["figures"]["p50_ms_writ"], 3.9);
        assert_eq!(json.as_object().unwrap().len(), 3);
        let table = report.table();
        let line = |name: &str| table.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned();
        assert!(line("p50").contains("met") && line("p99").contains("MISSED"), "{table}");
    }
}
