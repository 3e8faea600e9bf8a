//! Fault points: named places of a roll-out where tests end the process as a crash would.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Names the fault point at which the process ends itself: `NAME`, `NAME:N` for the N-th time that it is passed (1 if not said), and
/// `NAME:N+MICROSECONDS` for an instant so long after that.
pub const FAULT_POINT_VARIABLE: &str = "WRIT_FAULT_POINT";

/// The named steps of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint {
    /// The head was fetched; nothing is judged yet.
    Fetched,
    /// The head was judged; nothing is recorded yet.
    Judged,
    /// The verified revision is in the log.
    VerifiedRecorded,
    /// The Sync's set was rendered and judged.
    Prepared,
    /// The plan is in the log; nothing is applied yet.
    AdvanceRecorded,
    /// One object of a plan was answered, others may be on their way.
    ObjectApplied,
    /// Everything was applied; nothing is remembered yet.
    Applied,
    /// `expected/` was written; the outcome is not in the log yet.
    Remembered,
    /// The outcome is in the log; status is not written yet.
    OutcomeRecorded,
    /// A revert is in the log; its request is not sent yet.
    RevertRecorded,
    /// A revert was answered.
    Reverted,
}

impl FaultPoint {
    /// Every fault point, in the order of a roll-out.
    pub const ALL: [Self; 11] = [
        Self::Fetched,
        Self::Judged,
        Self::VerifiedRecorded,
        Self::Prepared,
        Self::AdvanceRecorded,
        Self::ObjectApplied,
        Self::Applied,
        Self::Remembered,
        Self::OutcomeRecorded,
        Self::RevertRecorded,
        Self::Reverted,
    ];

    /// Its name, as in [`FAULT_POINT_VARIABLE`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Judged => "judged",
            Self::VerifiedRecorded => "verified-recorded",
            Self::Prepared => "prepared",
            Self::AdvanceRecorded => "advance-recorded",
            Self::ObjectApplied => "object-applied",
            Self::Applied => "applied",
            Self::Remembered => "remembered",
            Self::OutcomeRecorded => "outcome-recorded",
            Self::RevertRecorded => "revert-recorded",
            Self::Reverted => "reverted",
        }
    }

    /// Ends the process without any clean-up if this point is the one asked for.
    pub fn pass(self) {
        static WANTED: OnceLock<Option<Instant>> = OnceLock::new();
        static PASSED: AtomicU32 = AtomicU32::new(0);
        let wanted = WANTED.get_or_init(|| std::env::var(FAULT_POINT_VARIABLE).ok().map(|text| Instant::parse(&text)));
        let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.point == self.name()) else { return };
        if PASSED.fetch_add(1, Ordering::Relaxed).saturating_add(1) != wanted.pass {
            return;
        }
        if wanted.after.is_zero() {
            end();
        }
        let after = wanted.after;
        std::thread::spawn(move || {
            // The instant of the crash itself, not a wait for something.
            std::thread::sleep(after);
            end();
        });
    }
}

/// When the process ends itself.
#[derive(Debug, PartialEq, Eq)]
struct Instant {
    point: String,
    pass: u32,
    after: Duration,
}

impl Instant {
    /// What is not of the form names a point that does not exist, so nothing happens, and whoever waits for the crash learns that.
    fn parse(text: &str) -> Self {
        let never = || Self { point: format!("not a fault point: {text}"), pass: 1, after: Duration::ZERO };
        let (place, after) = text.split_once('+').unwrap_or((text, "0"));
        let (point, pass) = place.split_once(':').unwrap_or((place, "1"));
        match (pass.parse(), after.parse()) {
            (Ok(pass), Ok(after)) => Self { point: point.to_owned(), pass, after: Duration::from_micros(after) },
            _ => never(),
        }
    }
}

/// No destructor, no flush, no exit handler. If the signal could not be sent, nothing goes on.
fn end() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_of_a_crash_is_read_from_the_variable() {
        let instant =
            |point: &str, pass, micros| Instant { point: point.to_owned(), pass, after: Duration::from_micros(micros) };
        assert_eq!(Instant::parse("applied"), instant("applied", 1, 0));
        assert_eq!(Instant::parse("object-applied:3"), instant("object-applied", 3, 0));
        assert_eq!(Instant::parse("object-applied:3+250"), instant("object-applied", 3, 250));
        for text in ["applied:x", "applied+", "applied:1+y"] {
            assert!(!FaultPoint::ALL.iter().any(|point| point.name() == Instant::parse(text).point), "{text}");
        }
    }
}
