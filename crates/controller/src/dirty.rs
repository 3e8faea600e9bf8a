//! Whose status is written next.

use plan::SyncRef;

use crate::state::Key;

/// A custom resource whose status may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dirty {
    /// A TrustRoot.
    Root(String),
    /// A GitSource.
    Source(Key),
    /// A Sync.
    Sync(SyncRef),
    /// A RollbackRequest.
    Rollback(Key),
    /// A BreakGlass.
    BreakGlass(Key),
}
