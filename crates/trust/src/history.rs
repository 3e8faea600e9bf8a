//! What the judgement needs to know of an object database, as facts asked of the caller.
//!
//! Every answer is bounded by the implementation; every error is a refusal.

use std::fmt;

use manifest::RepoPath;

use crate::{CommitId, TagId, TreeId};

/// Facts of an object database. Implemented over a mirror by `git`, and in memory by tests.
pub trait History {
    /// The raw body of a commit object (without the `commit <size>` header); `None` if there is no such object.
    ///
    /// # Errors
    /// When the object exists but cannot be read, or is over the limit.
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError>;

    /// The raw body of a tag object; `None` if there is no such object, as where no tag is ever tracked.
    ///
    /// # Errors
    /// When the object exists but cannot be read, or is over the limit.
    fn tag(&self, _id: &TagId) -> Result<Option<Vec<u8>>, HistoryError> {
        Ok(None)
    }

    /// What differs between two trees, by object id; renames are a removal and an addition. `None` for `from` is the
    /// empty tree. Every entry on the way to a difference is checked; a tree with a refused entry is an error.
    ///
    /// # Errors
    /// [`HistoryError::Limit`] as soon as there are more than `limit`; otherwise when an object is missing, an entry is
    /// refused, or a limit of the implementation is passed.
    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError>;

    /// The same below a folder. Where it can be told without what lies elsewhere, the limit is for the folder alone.
    ///
    /// # Errors
    /// As [`Self::changes`].
    fn changes_in(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
        limit: usize,
    ) -> Result<Vec<Change>, HistoryError> {
        let mut changes = self.changes(from, to, limit)?;
        changes.retain(|change| change.path.starts_with(folder));
        Ok(changes)
    }

    /// Mode and blob of a file; `None` if the commit has no file there.
    ///
    /// # Errors
    /// When the commit or a tree is missing, an entry is refused, or a limit is passed.
    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError>;

    /// The bytes of a file; `None` if the commit has no file there.
    ///
    /// # Errors
    /// When the blob is missing, over the limit, or cannot be read.
    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError>;

    /// All files at or below a folder, in order; none if there is no such folder.
    ///
    /// # Errors
    /// When a tree is missing, an entry is refused, or a limit is passed.
    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError>;

    /// The commits that `step` brings along besides itself: reachable from `step`, not from `mainline`.
    ///
    /// # Errors
    /// [`HistoryError::Limit`] when there are more than `limit`; [`HistoryError::Missing`] when one is not there.
    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError>;

    /// True if `ancestor` is `of` or can be reached from it.
    ///
    /// # Errors
    /// When a commit on the way is missing or a limit is passed.
    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError>;

    /// What lies beside a commit for it: envelopes in its note under `refs/notes/writ-approvals`, and in the folder of its
    /// tree under `refs/writ/approvals`. Anybody may put something there, and take it away.
    ///
    /// # Errors
    /// When one of the refs is there and cannot be followed, or a limit is passed.
    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError>;
}

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: RepoPath,
    /// What was there before; `None` if it is new.
    pub before: Option<Entry>,
    /// What is there after; `None` if it is gone.
    pub after: Option<Entry>,
}

/// A file in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its mode.
    pub mode: EntryMode,
    /// Object id of its blob, in hex.
    pub id: String,
}

/// The modes of a file that are allowed in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMode {
    /// 100644.
    File,
    /// 100755.
    Executable,
}

/// Why the object database gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// An object that must be there is not: a shallow or broken repository.
    #[error("{object} is not in the repository")]
    Missing {
        /// Which object, such as `commit 3f1c…` or `tree 77aa…`.
        object: String,
    },
    /// A tree entry that is refused.
    #[error("commit {commit}: {path} is {reason}")]
    BadEntry {
        /// The commit whose tree it was found in.
        commit: CommitId,
        /// The path, made printable.
        path: String,
        /// Why it is refused.
        reason: BadEntry,
    },
    /// A limit was passed.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What was counted, such as `bytes of apps/big.yaml`.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// An object is not what it must be, whoever reads it.
    #[error("{object}")]
    Malformed {
        /// Which object and what it is, such as `tree 77aa… (apps) is malformed`.
        object: String,
    },
    /// The database could not be read: no verdict on what it holds.
    #[error("the object database cannot be read: {reason}")]
    Read {
        /// The words of the implementation.
        reason: String,
    },
}

/// Why a tree entry is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadEntry {
    /// A symbolic link (mode 120000).
    Symlink,
    /// A submodule (mode 160000).
    Submodule,
    /// Any other mode that is not a file or a folder.
    Mode,
    /// A name that is no segment of a repository path.
    Name,
    /// A name that some file systems take for another one in the same folder.
    Collision {
        /// The other name in that folder, made printable.
        with: String,
    },
    /// A name that is not where Git looks for it.
    Order {
        /// The name before it, made printable.
        after: String,
    },
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Symlink => "a symbolic link",
            Self::Submodule => "a submodule",
            Self::Mode => "an entry of a mode that is no file",
            Self::Name => "a name that is refused",
            Self::Collision { with } => {
                return write!(f, "a name that differs from {with} in the same folder only in case or form");
            }
            Self::Order { after } => return write!(f, "a name that Git does not find, since {after} is before it"),
        };
        f.write_str(text)
    }
}
