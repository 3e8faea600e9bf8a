//! Heartbeats of a branch: envelopes in the file `heartbeat` of the tree under `refs/writ/heartbeat`.

use std::path::Path;

use git2::ObjectType;
use manifest::RepoPath;
use trust::{CommitId, HistoryError, ObjectFormat};

use crate::{
    attestations::{beside, envelopes},
    error::GitError,
    fetch::FetchChild,
    format::parse_oid,
    mirror::{Mirror, MirrorError},
    poll::Polled,
    remote::{Remote, TrackedRef},
};

/// Where heartbeats lie: a commit that each one replaces.
pub const HEARTBEAT_REF: &str = "refs/writ/heartbeat";
/// The file in its tree.
pub const HEARTBEAT_FILE: &str = "heartbeat";

/// Largest file: as many envelopes as are looked at, at the 4 KiB that one has with one signature.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The mirror of the ref of heartbeats, beside that of its branch; it has what was fetched last.
pub struct Heartbeats {
    mirror: Mirror,
}

impl Heartbeats {
    /// Opens it, or creates it, in a folder that begins with the name of the branch's mirror and `@`.
    ///
    /// # Errors
    /// As [`Mirror::open`].
    pub fn open(mirror: &Path) -> Result<Self, MirrorError> {
        Ok(Self { mirror: Mirror::open(&beside(mirror, "heartbeat"))? })
    }

    /// The same for a repository of an object format, as [`Mirror::open_for`].
    ///
    /// # Errors
    /// As [`Mirror::open_for`].
    pub fn open_for(mirror: &Path, format: ObjectFormat) -> Result<Self, MirrorError> {
        Ok(Self { mirror: Mirror::open_for(&beside(mirror, "heartbeat"), format)? })
    }

    /// Fetches the heartbeat that the server lists, if it is not there yet. A ref that is gone takes nothing away. Returns
    /// whether the mirror has the one that was listed, and no newer one.
    ///
    /// # Errors
    /// As [`Mirror::fetch`].
    pub fn fetch(&self, remote: &Remote, child: &FetchChild, polled: &Polled) -> Result<bool, GitError> {
        if polled.heartbeat.is_some() && self.mirror.incoming()? != polled.heartbeat {
            self.mirror.fetch(&remote.for_approvals(TrackedRef::of_heartbeats()), child)?;
        }
        Ok(polled.heartbeat.is_some() && self.mirror.incoming()? == polled.heartbeat)
    }

    /// The envelopes, one on each line of the file. Empty if there is no such ref or file.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn envelopes(&self) -> Result<Vec<Vec<u8>>, HistoryError> {
        let read = |reason: String| HistoryError::Read { reason };
        let tip = self.mirror.incoming().map_err(|error| read(error.to_string()))?;
        let Some(tip) = tip else { return Ok(Vec::new()) };
        let Some(id) = self.file(&tip)? else { return Ok(Vec::new()) };
        let format = self.mirror.objects().format();
        let id = parse_oid(&id, format).ok_or_else(|| HistoryError::Missing { object: id.clone() })?;
        let reading = self.mirror.objects().reading()?;
        Ok(envelopes(reading.object(id, ObjectType::Blob, MAX_FILE_BYTES)?.data()))
    }

    fn file(&self, tip: &CommitId) -> Result<Option<String>, HistoryError> {
        let missing = |_invalid| HistoryError::Missing { object: HEARTBEAT_FILE.to_owned() };
        let path: RepoPath = HEARTBEAT_FILE.parse().map_err(missing)?;
        let entry = trust::History::entry(self.mirror.objects(), tip, &path)?;
        Ok(entry.map(|entry| entry.id))
    }
}
