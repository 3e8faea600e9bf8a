//! Where a step is, seen from what was accepted, and what is asked only of what was not.

use manifest::Finding;

use super::{Floor, Judge};
use crate::{CommitId, TrustCode, refusal::refuse};

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
