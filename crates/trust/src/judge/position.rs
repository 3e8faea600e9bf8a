//! Where the floor is, where a step is seen from it, and what is asked only of what was not.

use manifest::Finding;

use super::Judge;
use crate::{CommitId, TrustCode, refusal::refuse};

/// Where the floor is, seen from the steps of a run.
pub(super) enum Floor {
    /// There is none.
    None,
    /// It is at or before the start: all steps are above it.
    Below,
    /// It is this commit, which must be among the steps, or on the line before the start.
    At(CommitId, UpToFloor),
}

/// What becomes of good steps up to a floor; a refused one is always listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UpToFloor {
    /// They are part of the answer.
    Listed,
    /// They were accepted before, and are too many to list. What approved them is told all the same.
    Passed,
}

/// Where a step is, seen from what was accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// At or before the floor: it was accepted before.
    Passed,
    /// Nothing is known to have been accepted.
    First,
    /// After the floor.
    Above,
}

impl Position {
    /// Of the next step, once the floor is `reached` or not.
    pub(super) const fn of(reached: bool, floor: &Floor) -> Self {
        match floor {
            _ if !reached => Self::Passed,
            Floor::None => Self::First,
            Floor::Below | Floor::At(..) => Self::Above,
        }
    }

    /// Whether it is seen for the first time now.
    pub(super) const fn is_above(self) -> bool {
        matches!(self, Self::Above)
    }
}

impl Judge<'_> {
    /// W403 if a step changes more paths than the TrustRoot lets one that was not accepted yet. A step is judged by itself, so
    /// it makes no difference in how many judgements the way to it is gone.
    pub(super) fn few_changes(&self, position: Position, commit: &CommitId, count: usize) -> Result<(), Finding> {
        let most = self.root.changed_paths();
        if position == Position::Passed || count <= most {
            return Ok(());
        }
        let found = format!("{count} paths are changed in one step");
        let needed = format!("at most {most} (limits.changedPaths of the TrustRoot)");
        let fix = "split it into smaller commits, or have limits.changedPaths of the TrustRoot raised".to_owned();
        Err(refuse(TrustCode::W403, commit, found, needed, fix))
    }
}
