//! Bodies: what is too large for an entry, in content-addressed files.
//!
//! A small one travels in the entry's own journal record, so that an append is one write of a file that exists: making a
//! file for it took longer than all the rest. It becomes a file before the entry gets into the tree. A large one is a file
//! from the start, synced before the record that names it; the append of the first one in a folder makes that as well.

use std::sync::Arc;

use crate::error::LogError;
use crate::merkle::Hash;
use crate::storage::Storage;

/// Most bytes of a body. A change set of 10,000 objects at 800 bytes of masked difference each is 8 MiB.
pub const BODY_LIMIT: u64 = 8 * 1024 * 1024;

/// Most bytes of a body that travels in the journal: a revert of ten objects with 400 bytes of masked differences each.
pub(crate) const CARRIED_LIMIT: usize = 4 * 1024;

/// A body that travels with its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) digest: Hash,
    pub(crate) bytes: Arc<[u8]>,
}

impl Carried {
    /// `None` for what is written as a file at once. An empty one is too: a record says by length whether it has a body.
    pub(crate) fn new(digest: Hash, body: &[u8]) -> Option<Self> {
        (1..=CARRIED_LIMIT).contains(&body.len()).then(|| Self { digest, bytes: body.into() })
    }
}

/// `bodies/<first two digits>/<sha256>`.
pub(crate) fn body_path(digest: &Hash) -> String {
    let text = digest.to_string();
    format!("bodies/{}/{text}", text.get(..2).unwrap_or_default())
}

pub(crate) fn read_body(storage: &dyn Storage, digest: &Hash) -> Result<Option<Vec<u8>>, LogError> {
    let path = body_path(digest);
    let body = storage.read(&path, BODY_LIMIT).map_err(|error| LogError::storage("read", &path, error))?;
    match body {
        Some(body) if Hash::of(&body) != *digest => Err(LogError::damaged(&path, "the body has another digest")),
        other => Ok(other),
    }
}

/// Does the file hold this body? What is there may be the torn rest of a crash: only equal bytes count.
pub(crate) fn holds(storage: &dyn Storage, path: &str, body: &[u8]) -> bool {
    storage.read(path, BODY_LIMIT).is_ok_and(|found| found.as_deref() == Some(body))
}

/// Writes a body under another name and renames it, so that nobody sees half of it. Not durable.
pub(crate) fn place_body(storage: &dyn Storage, temporary: &str, path: &str, body: &[u8]) -> Result<(), LogError> {
    let placed =
        storage.write(temporary, body).map_err(|error| LogError::storage("write", path, error)).and_then(|()| {
            storage
                .rename(temporary, path)
                .or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        storage.make_parents(path).and_then(|()| storage.rename(temporary, path))
                    }
                    _ => Err(error),
                })
                .map_err(|error| LogError::storage("rename", path, error))
        });
    if placed.is_err() {
        // Give back what a half-written file takes; if that fails too, the next attempt overwrites it.
        drop(storage.remove(temporary));
    }
    placed
}
