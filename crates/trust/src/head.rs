//! What the tracked ref names.

use crate::{CommitId, TagId};

/// A commit, and the tag object that leads to it if the ref is a tag that is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: CommitId,
    /// The tag; without it a tag is a name that nobody signed.
    pub tag: Option<TagId>,
}

impl From<&CommitId> for Head {
    fn from(commit: &CommitId) -> Self {
        Self { commit: *commit, tag: None }
    }
}
