//! What can go wrong when the log is written or read by its owner.

use std::io;
use std::sync::Arc;

use crate::entry::EntryError;
use crate::note::NoteError;

/// Why an operation of [`Log`](crate::Log) or [`LogReader`](crate::LogReader) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another process (or another `Log` of this one) holds the exclusive lock.
    #[error("the log at {dir} is locked by another writer")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// The entry is not one the log takes; nothing was written.
    #[error("the entry is not valid")]
    Entry(#[source] EntryError),
    /// The body is larger than [`BODY_LIMIT`](crate::BODY_LIMIT); nothing was written.
    #[error("a body of {size} bytes is larger than the limit of {limit}")]
    BodyTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A storage operation failed. See [`LogError::is_out_of_space`] and [`LogError::is_read_only`].
    #[error("cannot {operation} {path}")]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// On which file, relative to the log's directory.
        path: String,
        /// The operating system's words.
        #[source]
        source: Arc<io::Error>,
    },
    /// The volume is full but for the reserve, which is kept for advance, refuse, revert, rollback and
    /// override entries; an entry of this kind is refused until there is space again.
    #[error("the volume is full but for the reserve, which is not for entries of kind {kind}")]
    ReserveOnly {
        /// The refused entry's kind.
        kind: &'static str,
    },
    /// The files contradict each other or the signed checkpoint; nothing was changed.
    #[error("the log is damaged: {path}: {what}")]
    Damaged {
        /// The file, relative to the log's directory.
        path: String,
        /// What does not fit.
        what: String,
    },
    /// The checkpoint on disk is not signed by the key the log was opened with.
    #[error("the checkpoint on disk was not made by this key")]
    Checkpoint(#[source] NoteError),
    /// The key's name is not the log's origin.
    #[error("the key is named {name}, the log's origin is {origin}")]
    Origin {
        /// The key's name.
        name: String,
        /// The origin asked for.
        origin: String,
    },
    /// There is no such entry, or it is not covered by a checkpoint of that size.
    #[error("entry {index} is not in a tree of {size} entries")]
    OutOfRange {
        /// The entry or tree size asked for.
        index: u64,
        /// The size of the published tree.
        size: u64,
    },
    /// The committer thread could not be started.
    #[error("cannot start the committer thread")]
    Thread(#[source] Arc<io::Error>),
    /// The log is being closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn storage(operation: &'static str, path: &str, source: io::Error) -> Self {
        Self::Storage { operation, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        if let Self::Storage { source, .. } = self { Some(source.kind()) } else { None }
    }

    /// The volume (or a quota) is full, or full but for the reserve. Space may come back: try again later.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::ReserveOnly { .. })
            || matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// The volume is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::ReadOnlyFilesystem)
    }
}
