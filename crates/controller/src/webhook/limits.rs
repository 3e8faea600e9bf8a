//! How often is too often: a rate for each path and one for all of them, and deliveries that were there before.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use crate::state::Key;

/// Requests for one path at once, and one more each [`PATH_EVERY`]: a release that pushes thirty branches and tags.
const PATH_BURST: u32 = 30;
/// A poll takes some tenths of a second; more hints than this are no news.
const PATH_EVERY: Duration = Duration::from_secs(2);
/// Requests for all paths at once, and one more each [`ALL_EVERY`].
const ALL_BURST: u32 = 120;
/// Ten a second, each of which may have [`MAX_BODY_BYTES`](super::answer::MAX_BODY_BYTES) to hash, at 400 MB/s a tenth of a core.
const ALL_EVERY: Duration = Duration::from_millis(100);
/// Paths that are told apart; more of them share a rate. Known or not makes no difference, so the rate says nothing about it.
const SLOTS: usize = 1_024;
/// How long a delivery is remembered: one whose time may be 5 minutes ahead is good until 5 minutes after it.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Most that are remembered of one source: as many as its rate lets through meanwhile, 30 and one each 2 s of 600 s, and room.
const MAX_REMEMBERED: usize = 512;

/// One rate: when it is paid back (the generic cell rate algorithm of ATM).
#[derive(Debug, Clone, Copy, Default)]
struct Rate(Option<Instant>);

impl Rate {
    /// Whether one more is within the rate. One that is not costs nothing.
    fn allows(&mut self, now: Instant, burst: u32, every: Duration) -> bool {
        let paid = self.0.map_or(now, |paid| paid.max(now));
        let next = paid + every;
        let is_within = next.duration_since(now) <= every * burst;
        if is_within {
            self.0 = Some(next);
        }
        is_within
    }
}

/// The rates of all requests.
#[derive(Debug)]
pub(super) struct Limits {
    all: Rate,
    slots: Vec<Rate>,
    hasher: RandomState,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: Rate::default(), slots: vec![Rate::default(); SLOTS], hasher: RandomState::new() }
    }
}

impl Limits {
    /// Whether one more request for a path is within its rate and that of all.
    pub(super) fn allow(&mut self, source: &Key, now: Instant) -> bool {
        let slot = usize::try_from(self.hasher.hash_one(source) % SLOTS as u64).unwrap_or_default();
        let Some(rate) = self.slots.get_mut(slot) else { return false };
        // Its own first: who asks for one path again and again takes nothing from the others.
        rate.allows(now, PATH_BURST, PATH_EVERY) && self.all.allows(now, ALL_BURST, ALL_EVERY)
    }
}

/// Whether a delivery is there for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is.
    New,
    /// The same was there before.
    Replay,
}

/// The deliveries of one source that were there lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct Deliveries(VecDeque<(Instant, [u8; 32])>);

impl Deliveries {
    /// Remembers the digest of what was signed. An id in a header that nothing signs could be another one each time.
    pub(super) fn see(&mut self, digest: [u8; 32], now: Instant) -> Delivery {
        let old = |(at, _): &(Instant, _)| now.duration_since(*at) > REMEMBERED;
        while self.0.front().is_some_and(old) || self.0.len() >= MAX_REMEMBERED {
            self.0.pop_front();
        }
        if self.0.iter().any(|(_, seen)| *seen == digest) {
            return Delivery::Replay;
        }
        self.0.push_back((now, digest));
        Delivery::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_path_has_its_rate_and_all_have_one() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let allowed = |limits: &mut Limits, name: &str, at| (0..1_000).filter(|_| limits.allow(&key(name), at)).count();
        assert_eq!(allowed(&mut limits, "a", start), 30);
        assert_eq!(allowed(&mut limits, "a", start + Duration::from_secs(2)), 1);
        assert_eq!(allowed(&mut limits, "a", start + Duration::from_secs(600)), 30);
        // Names that are not there are limited as well, however many somebody thinks of.
        let (mut limits, later) = (Limits::default(), start + Duration::from_secs(1));
        let many = (0..10_000).filter(|number| limits.allow(&key(&number.to_string()), later)).count();
        assert_eq!(many, 120);
        assert!(!limits.allow(&key("a"), later));
        assert!(limits.allow(&key("a"), later + Duration::from_secs(1)));
    }

    #[test]
    fn a_delivery_is_seen_once_while_it_is_good() {
        let (mut seen, start) = (Deliveries::default(), Instant::now());
        assert_eq!(seen.see([1; 32], start), Delivery::New);
        assert_eq!(seen.see([1; 32], start + REMEMBERED), Delivery::Replay);
        assert_eq!(seen.see([2; 32], start + REMEMBERED), Delivery::New);
        assert_eq!(seen.see([1; 32], start + REMEMBERED + Duration::from_secs(1)), Delivery::New);
        for number in 0..2_000_u32 {
            let mut digest = [3; 32];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            seen.see(digest, start + REMEMBERED);
        }
        assert_eq!(seen.0.len(), MAX_REMEMBERED);
    }
}
