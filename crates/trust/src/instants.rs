//! The times at which a key must be in force, and the times a commit may carry.

use std::time::Duration;

use jiff::Timestamp;

use crate::{CommitObject, PrincipalKey};

/// By how much clocks of committers may differ: 5 minutes, what Kerberos allows as well. They do not add up: a commit is at most
/// this much older than the latest of all that it follows.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// How long after `expires` of the trust file other paths than `.writ/` may still change: a week to have it renewed.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When a commit was made, as it says, and, above the floor, when it was seen first.
///
/// A commit above the floor (what was accepted before) is new, so *now* is when it was seen first, and a key that has
/// ended cannot be used by setting back the clock. Below the floor, or without one, only the committer time is known,
/// which never decreases along the mainline, but for the skew of clocks. What a step brings along (the side commits of a merge)
/// is on no such line: it is seen with the step, and no earlier.
#[derive(Debug, Clone, Copy)]
pub struct Instants {
    /// When it was made, as it says.
    pub committer: Timestamp,
    /// When it was seen first: if it is above the floor, or, for what a step brings along, when the step was.
    pub first_sight: Option<Timestamp>,
}

impl Instants {
    /// Those of a commit that a step at these instants brings along. It says of itself when it was made, and nothing follows it
    /// that is older; but the step does, so it was not made after the step, nor seen before it.
    pub(crate) fn of_brought(&self, committer: Timestamp) -> Self {
        let newest = self.committer.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        Self { committer: committer.min(newest), first_sight: Some(self.latest()) }
    }

    /// The later of the two.
    pub(crate) fn latest(&self) -> Timestamp {
        self.first_sight.map_or(self.committer, |first_sight| first_sight.max(self.committer))
    }

    /// Whether both lie within the window of a key. The error goes after `key SHA256:… `.
    pub(crate) fn holds(&self, key: &PrincipalKey) -> Result<(), String> {
        self.between(key.not_before, key.not_after)
    }

    /// Whether both lie within a window. The error goes after `key SHA256:… `.
    pub(crate) fn between(&self, not_before: Option<Timestamp>, not_after: Option<Timestamp>) -> Result<(), String> {
        match not_before {
            Some(begin) if self.committer < begin => {
                Err(format!("begins {begin}, the commit is of {}", self.committer))
            }
            _ => self.within(not_after),
        }
    }

    /// Whether both lie before the end of a window. The error goes after `key SHA256:… `.
    pub(crate) fn within(&self, not_after: Option<Timestamp>) -> Result<(), String> {
        match not_after {
            Some(end) if self.committer > end => Err(format!("ended {end}, the commit is of {}", self.committer)),
            Some(end) if self.latest() > end => {
                Err(format!("ended {end}, the commit was first seen {}", self.latest()))
            }
            _ => Ok(()),
        }
    }
}

/// The committer time as an instant; `None` if no calendar holds it.
pub(crate) fn committer_time(object: &CommitObject) -> Option<Timestamp> {
    Timestamp::from_second(object.committer_time).ok()
}
