//! How often something may happen that anybody may cause who may write orders.

use std::time::{Duration, Instant};

/// The pause in the long run: 15 a minute.
pub(crate) const PACE: Duration = Duration::from_secs(4);
/// How many may come without a pause: as many orders as may count at once. After a restart all that are there are looked at
/// once more, and somebody may be waiting.
pub(crate) const BURST: u32 = 16;

/// What an order that nobody signed costs: four of them are judged for one that somebody signed.
pub(crate) const UNSIGNED: Duration = Duration::from_secs(1);

/// One pace.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When it were the turn of the next if all came one by one.
    next: Option<Instant>,
}

impl Pace {
    /// Whether it may happen now.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        let ahead = PACE * BURST.saturating_sub(1);
        self.next.is_none_or(|next| next <= now + ahead)
    }

    /// It happens now.
    pub(crate) fn take(&mut self, now: Instant) {
        self.next = Some(self.next.map_or(now, |next| next.max(now)) + PACE);
    }

    /// What happened last was a small thing.
    pub(crate) fn was_unsigned(&mut self) {
        self.next = self.next.and_then(|next| next.checked_sub(PACE.saturating_sub(UNSIGNED)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_signed_costs_less() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let hour = (0..3_600).filter(|second| {
            let now = start + Duration::from_secs(*second);
            let allowed = pace.allows(now);
            if allowed {
                pace.take(now);
                pace.was_unsigned();
            }
            allowed
        });
        assert_eq!(hour.count(), 3_600);
    }

    #[test]
    fn as_many_as_count_at_once_and_then_at_the_pace() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let taken = |pace: &mut Pace, second: u64| {
            let now = start + Duration::from_secs(second);
            let allowed = pace.allows(now);
            if allowed {
                pace.take(now);
            }
            allowed
        };
        assert_eq!((0..100).filter(|_| taken(&mut pace, 0)).count(), 16);
        // A day of junk, ten each second.
        let day = (1..86_400).flat_map(|second| [second; 10]).filter(|second| taken(&mut pace, *second)).count();
        assert!((21_500..=21_600).contains(&day), "{day}");
    }
}
