//! Waiting for a condition instead of sleeping for a time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Pause between two looks at a condition: short against what is waited for (tens of milliseconds to seconds), long against the
/// cost of a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks at `condition` until it holds, for at most `within`. The condition answers with a value when it holds, else with the
/// reason why not yet; the last reason is in the error.
pub fn wait_until<T, E: Display>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(reason) if started.elapsed() >= within => {
                return Err(anyhow!("{what}: not within {} s; at the end: {reason:#}", within.as_secs()));
            }
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}
