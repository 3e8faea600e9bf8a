//! Pins: refs of our own that keep commits, whatever the server does to its branch.

use std::{fs::File, path::Path};

use rustix::fs::{FlockOperation, flock};
use trust::{CommitId, History as _, HistoryError};

use crate::{
    arrival,
    exchange::quoted,
    format::oid,
    mirror::{Mirror, MirrorError, file, lock_file, remove},
};

/// The longest name of a pin, in bytes.
pub const MAX_PIN_BYTES: usize = 200;

pub(crate) const PINS: &str = "refs/writ/pins/";
/// The lock of pins, beside libgit2's own.
const PIN_LOCK: &str = "writ-pins.lock";

impl Mirror {
    /// Keeps `commit` under a name (`accepted/shop`, `applied/3f1c…`), moving it if it exists.
    ///
    /// # Errors
    /// When the name is malformed, the commit is not there, or the mirror cannot be written.
    pub fn pin(&self, name: &str, commit: &CommitId) -> Result<(), MirrorError> {
        let (reference, _lock) = self.lock_pin(name)?;
        let id = oid(commit, self.objects().format())
            .ok_or_else(|| self.library_text("pin a commit", "an id of another hash function"))?;
        let repository = self.objects().repository();
        let kind = repository
            .odb()
            .and_then(|odb| odb.read_header(id))
            .map_err(|error| self.library("find the commit to pin", &error))?;
        if kind.1 != git2::ObjectType::Commit {
            return Err(self.library_text("pin a commit", "the object is none"));
        }
        // First its objects, then the ref that says that they stay.
        if !arrival::is_kept(self.dir(), id).map_err(|error| self.library("find the commit to pin", &error))? {
            arrival::keep(self.dir()).map_err(|source| file(self.dir(), "keep what was fetched", source))?;
        }
        repository.reference(&reference, id, true, "").map(drop).map_err(|error| self.library("pin a commit", &error))
    }

    /// Keeps `commit` under `folder` and its id, and lets go of the pins there that it descends from: whoever keeps a
    /// commit keeps its ancestors. One pin is left for each line of history.
    ///
    /// # Errors
    /// As [`Self::pin`], and when the history cannot be read.
    pub fn pin_line(&self, folder: &str, commit: &CommitId) -> Result<(), MirrorError> {
        self.pin(&format!("{folder}/{commit}"), commit)?;
        for (name, pinned) in self.pins()? {
            let here = name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            if !here || pinned == *commit {
                continue;
            }
            match self.objects().is_ancestor(&pinned, commit) {
                Ok(true) => self.unpin(&name)?,
                // Too far away to tell: one pin too many does no harm.
                Ok(false) | Err(HistoryError::Limit { .. }) => {}
                Err(error) => return Err(self.library_text("read the history of a pin", &error.to_string())),
            }
        }
        Ok(())
    }

    /// Removes a pin; it is no error if there is none.
    ///
    /// # Errors
    /// When the name is malformed or the mirror cannot be written.
    pub fn unpin(&self, name: &str) -> Result<(), MirrorError> {
        let (reference, _lock) = self.lock_pin(name)?;
        match self.objects().repository().find_reference(&reference).and_then(|mut pin| pin.delete()) {
            Err(error) if error.code() != git2::ErrorCode::NotFound => Err(self.library("remove a pin", &error)),
            _ => Ok(()),
        }
    }

    /// All pins by name.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn pins(&self) -> Result<Vec<(String, CommitId)>, MirrorError> {
        let failed = |error: git2::Error| self.library("list the pins", &error);
        let mut pins = Vec::new();
        for reference in self.objects().repository().references_glob(&format!("{PINS}*")).map_err(failed)? {
            let reference = reference.map_err(failed)?;
            let name = reference.name().map_err(failed)?;
            if let (Some(name), Some(id)) = (name.strip_prefix(PINS), reference.target()) {
                pins.push((name.to_owned(), self.commit_id(id)?));
            }
        }
        pins.sort();
        Ok(pins)
    }

    /// As [`lock`].
    pub(crate) fn lock_pins(&self) -> Result<File, MirrorError> {
        lock(self.dir())
    }

    fn lock_pin(&self, name: &str) -> Result<(String, File), MirrorError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let segment = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.ends_with('.')
                && !part.ends_with(".lock")
                && !part.contains("..")
                && part.bytes().all(letter)
        };
        if name.len() > MAX_PIN_BYTES || !name.split('/').all(segment) {
            return Err(MirrorError::PinName { path: self.dir().to_owned(), name: quoted(name) });
        }
        let lock = self.lock_pins()?;
        let reference = format!("{PINS}{name}");
        // Only a crash leaves this behind, and we hold the lock that stands above it.
        remove(self.dir(), &self.dir().join(format!("{reference}.lock")))?;
        Ok((reference, lock))
    }
}

/// Keeps others from changing the pins of a mirror for as long as the file is open.
pub(crate) fn lock(mirror: &Path) -> Result<File, MirrorError> {
    let lock = lock_file(mirror, PIN_LOCK)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| file(mirror, "lock the pins", error.into()))?;
    Ok(lock)
}
