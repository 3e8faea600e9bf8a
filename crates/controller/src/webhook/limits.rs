//! How often is too often. Only who is known has a rate of their own; all others share a pace, which makes them wait and
//! refuses nobody: a limit that strangers reach would be one that they keep the forge out with.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// New deliveries for one source at once, and one more each [`EVERY`]: a release that pushes thirty branches and tags.
const BURST: u32 = 30;
/// A poll takes some tenths of a second; more hints than this are no news.
const EVERY: Duration = Duration::from_secs(2);
/// What a byte of a body takes: 40 MB/s of all together. Hashed twice at 400 MB/s that is a fifth of a core.
const BYTE: Duration = Duration::from_nanos(25);
/// How far bodies may be ahead of that: 8 MB, two of the largest at once. Beyond it each of the
/// [`MAX_CONNECTIONS`](super::door::MAX_CONNECTIONS) waits with at most one buffer of 400 KiB: 13 MB, which is a third of a
/// second. A delivery of 30 kB comes in one buffer, or a few: it is heard within seconds, whatever strangers send.
const AHEAD: Duration = Duration::from_millis(200);
/// How long a delivery is remembered: one whose time may be 5 minutes ahead is good until 5 minutes after it.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Most that are remembered of one source: as many as its rate lets through meanwhile, 30 and one each 2 s of 600 s, and room.
const MAX_REMEMBERED: usize = 512;

/// When something is paid back (the generic cell rate algorithm of ATM).
#[derive(Debug, Clone, Copy, Default)]
struct Debt(Option<Instant>);

impl Debt {
    /// When it would be paid back with so much more.
    fn with(self, cost: Duration, now: Instant) -> Instant {
        self.0.map_or(now, |paid| paid.max(now)) + cost
    }
}

/// How fast bodies are read, those of all connections together.
#[derive(Debug, Default)]
pub(super) struct Pace(Debt);

impl Pace {
    /// How long to wait before these many bytes are hashed.
    pub(super) fn wait(&mut self, bytes: usize, now: Instant) -> Duration {
        let paid = self.0.with(BYTE * u32::try_from(bytes).unwrap_or(u32::MAX), now);
        self.0 = Debt(Some(paid));
        paid.duration_since(now).saturating_sub(AHEAD)
    }
}

/// What a genuine delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is there for the first time.
    New,
    /// The same was there before.
    Replay,
    /// There were too many new ones.
    Limited,
}

/// The genuine deliveries of one source that were there lately, oldest first, and its rate.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    rate: Debt,
    seen: VecDeque<(Instant, [u8; 32])>,
}

impl Deliveries {
    /// Remembers the digest of what was signed. An id in a header that nothing signs could be another one each time.
    ///
    /// A replay costs nothing of the rate: anybody who saw the delivery can make one. What is over the rate costs nothing
    /// and is not remembered: the forge may come again with it.
    pub(super) fn see(&mut self, digest: [u8; 32], now: Instant) -> Delivery {
        let old = |(at, _): &(Instant, _)| now.duration_since(*at) > REMEMBERED;
        while self.seen.front().is_some_and(old) {
            self.seen.pop_front();
        }
        if self.seen.iter().any(|(_, seen)| *seen == digest) {
            return Delivery::Replay;
        }
        let paid = self.rate.with(EVERY, now);
        if paid.duration_since(now) > EVERY * BURST {
            return Delivery::Limited;
        }
        self.rate = Debt(Some(paid));
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((now, digest));
        Delivery::New
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{answer::MAX_BODY_BYTES, door::MAX_CONNECTIONS},
        *,
    };

    fn digest(number: u32) -> [u8; 32] {
        let mut digest = [3; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn all_share_a_pace_and_who_has_little_waits_little() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(MAX_BODY_BYTES, start), Duration::ZERO);
        assert!(pace.wait(MAX_BODY_BYTES, start) < Duration::from_millis(10), "two of the largest at once");
        // Every connection with a full buffer, and then one more.
        let full = (0..MAX_CONNECTIONS).map(|_| pace.wait(400 << 10, start)).max().unwrap();
        let last = pace.wait(30_000, start);
        assert!(full > Duration::from_millis(300) && last < Duration::from_millis(350), "{full:?} {last:?}");
        assert_eq!(pace.wait(30_000, start + Duration::from_millis(400)), Duration::ZERO);
        // A debt is no more than what was sent: after a minute there is none, and nothing is saved up.
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.wait(8_000_000, later), Duration::ZERO);
        assert_eq!(pace.wait(40_000_000, later), Duration::from_secs(1));
    }

    #[test]
    fn a_source_has_its_rate_which_no_replay_uses_up() {
        let (mut known, start) = (Deliveries::default(), Instant::now());
        let new = |known: &mut Deliveries, from, at| {
            (from..from + 1_000).filter(|number| known.see(digest(*number), at) == Delivery::New).count()
        };
        assert_eq!(new(&mut known, 0, start), 30);
        assert_eq!(known.see(digest(30), start), Delivery::Limited);
        let later = start + Duration::from_secs(2);
        for _ in 0..1_000 {
            assert_eq!(known.see(digest(0), later), Delivery::Replay);
        }
        assert_eq!(known.see(digest(30), later), Delivery::New, "what was too fast may come again");
        assert_eq!(new(&mut known, 2_000, later), 0);
        assert_eq!(new(&mut known, 2_000, later + Duration::from_secs(600)), 30);
    }

    #[test]
    fn a_delivery_is_seen_once_while_it_is_good() {
        let (mut known, start) = (Deliveries::default(), Instant::now());
        assert_eq!(known.see([1; 32], start), Delivery::New);
        assert_eq!(known.see([1; 32], start + REMEMBERED), Delivery::Replay);
        assert_eq!(known.see([2; 32], start + REMEMBERED), Delivery::New);
        assert_eq!(known.see([1; 32], start + REMEMBERED + Duration::from_secs(1)), Delivery::New);
        // As fast as its rate lets it: nothing is forgotten before its time.
        let (mut known, mut most) = (Deliveries::default(), 0);
        for number in 0..2_000 {
            known.see(digest(number), start + Duration::from_secs(1) * number);
            most = most.max(known.seen.len());
        }
        assert!((300..MAX_REMEMBERED).contains(&most), "{most}");
    }
}
