//! What a run of `cargo test` amounted to, read from what it prints.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};

/// Totals over all test binaries of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    binaries: u64,
    counts: BTreeMap<String, u64>,
    /// Tests that failed or were ignored, as their binaries printed them.
    failed: Vec<String>,
    ignored: Vec<String>,
}

impl Summary {
    /// Takes in one line of output. Lines that are not the test harness's are passed over.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(totals) = line.strip_prefix("test result: ") {
            self.binaries += 1;
            // "ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s"
            for part in totals.split(['.', ';']) {
                let mut words = part.split_whitespace();
                if let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) {
                    *self.counts.entry(what.to_owned()).or_default() += count;
                }
            }
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|test| test.rsplit_once(" ... ")) {
            match outcome {
                "FAILED" => self.failed.push(name.to_owned()),
                outcome if outcome.starts_with("ignored") => self.ignored.push(name.to_owned()),
                _ => {}
            }
        }
    }

    fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Fails on a failed test, on an ignored one (nothing is skipped silently), and when nothing ran at all.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.count("failed") > 0 {
            bail!("failed tests:\n  {}", self.failed.join("\n  "));
        }
        if self.count("ignored") > 0 {
            bail!("ignored tests, which this repository does not have:\n  {}", self.ignored.join("\n  "));
        }
        if self.count("passed") == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed, ignored] = ["passed", "failed", "ignored"].map(|what| self.count(what));
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored in {} test binaries", self.binaries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(output: &str) -> Summary {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.read(line));
        summary
    }

    const GOOD: &str = "running 2 tests\ntest a::one ... ok\ntest a::two - should panic ... ok\n\n\
        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.11s\n";

    #[test]
    fn totals_are_those_of_all_binaries() {
        let two = summary(&GOOD.repeat(2));
        assert_eq!(two.to_string(), "4 passed, 0 failed, 0 ignored in 2 test binaries");
        two.verdict().unwrap();
    }

    #[test]
    fn failed_ignored_and_missing_tests_fail_the_run_by_name() {
        let failed = format!(
            "{GOOD}test b::bad ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out\n"
        );
        assert_eq!(summary(&failed).verdict().unwrap_err().to_string(), "failed tests:\n  b::bad");
        let ignored =
            format!("{GOOD}test c::slow ... ignored, takes long\ntest result: ok. 0 passed; 0 failed; 1 ignored\n");
        assert!(summary(&ignored).verdict().unwrap_err().to_string().ends_with("\n  c::slow"));
        assert_eq!(summary("error: could not compile").verdict().unwrap_err().to_string(), "no test ran");
    }
}
