//! When sources are polled: interval, jitter, back-off.

use std::time::Duration;

use manifest::parse_duration;

/// The shortest interval: a poll is one request, and a server is not ours alone.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// The default interval.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// The longest pause after failures: an outage that ends is noticed within five minutes.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// First pause after a failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);

/// The pause before the next poll: the interval plus up to a tenth of it, so that many sources do
/// not ask in step. `random` is any number.
#[must_use]
pub(crate) fn next_poll(interval: &str, random: u64) -> Duration {
    let interval = parse_duration(interval).unwrap_or(INTERVAL_DEFAULT).max(INTERVAL_MIN);
    let tenth = u64::try_from(interval.as_millis() / 10).unwrap_or(u64::MAX).max(1);
    interval + Duration::from_millis(random % tenth)
}

/// The pause after `failures` failures in a row, never longer than the interval would be.
#[must_use]
pub(crate) fn backoff(failures: u32, random: u64) -> Duration {
    let pause = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(BACKOFF_MAX);
    pause + Duration::from_millis(random % 500)
}

/// A small deterministic generator (SplitMix64, Steele et al. 2014): jitter needs no more.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// A generator from a seed.
    #[must_use]
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_spread_over_a_tenth_of_the_interval() {
        let mut jitter = Jitter::new(7);
        for _ in 0..100 {
            let pause = next_poll("1m", jitter.draw());
            assert!(pause >= Duration::from_secs(60) && pause < Duration::from_secs(66));
        }
        assert!(next_poll("1s", 0) >= INTERVAL_MIN);
    }

    #[test]
    fn failures_back_off_up_to_a_bound() {
        assert!(backoff(1, 0) < backoff(4, 0));
        assert!(backoff(u32::MAX, 0) <= BACKOFF_MAX);
    }
}
