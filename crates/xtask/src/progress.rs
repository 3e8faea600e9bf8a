//! Progress of long work: a moving line on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Between two plain lines where standard error is not a terminal: a log of an hour gets at most 120 of them.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(30);

/// Counts steps of work towards an expected number.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    unit: &'static str,
    done: u64,
    expected: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts to show `what`, counted in `unit`s of which about `expected` will come.
    pub(crate) fn start(what: &'static str, unit: &'static str, expected: u64) -> Result<Self> {
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos} of about {len} ({elapsed})")
            .context("the progress line's template is wrong")?;
        let bar = ProgressBar::new(expected).with_style(style);
        bar.set_message(format!("{what}: {unit}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let now = Instant::now();
        Ok(Self { bar, what, unit, done: 0, expected, started: now, last_line: now })
    }

    /// One more unit is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.done > self.expected {
            self.bar.set_length(self.done);
        }
        self.bar.set_position(self.done);
        if self.bar.is_hidden() && self.last_line.elapsed() >= PLAIN_LINE_EVERY {
            self.last_line = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            eprintln!("{}: {} {} of about {} after {seconds} s", self.what, self.done, self.unit, self.expected);
        }
    }

    /// Removes the line; how long it took.
    pub(crate) fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.started.elapsed()
    }
}
