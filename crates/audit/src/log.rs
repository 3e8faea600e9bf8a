//! The log as its one writer sees it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::body::{BODY_LIMIT, Carried, body_path, holds, place_body, read_body};
use crate::checkpoint::Checkpoint;
use crate::committer;
use crate::entry::{Entry, EntryError, EntryKind};
use crate::error::LogError;
use crate::merkle::{Hash, consistency_path, inclusion_path, root_at};
use crate::note::LogKey;
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::recovery;
use crate::shared::{Pending, Shared};
use crate::storage::{Disk, Storage};
use crate::tile::WIDTH;
use crate::tiles::{TileNodes, read_bundle};

/// What a roll-out should find free beside the reserve: its outcome with the findings of a hundred objects, and some
/// hundred reverts of 500 bytes before somebody looks.
const ROOM_BYTES: u64 = 256 * 1024;

/// The file whose lock says who writes.
pub(crate) const LOCK: &str = "lock";

/// When [`Log::append`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the entry and its body survive a power cut. Concurrent appends share one sync.
    Synced,
    /// After the entry is written; a committer thread syncs it within 10 ms. A kill of the process
    /// does not lose it, a power cut before that may.
    Grouped,
}

/// Proof that an entry was written, made by [`Log::append`] only.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    index: u64,
    plan_digest: Option<[u8; 32]>,
    durability: Durability,
}

impl Receipt {
    /// The entry's place in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Digest of the plan the entry was written for; also `digests["plan"]` of the entry.
    #[must_use]
    pub const fn plan_digest(&self) -> Option<&[u8; 32]> {
        self.plan_digest.as_ref()
    }

    /// What was waited for.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }
}

/// An entry with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Its place, from 0.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
}

/// The log, open for writing. One per directory; share it by reference between threads.
pub struct Log {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Kinds in each full bundle that was looked through, so that `latest` reads it only when needed: 2 bytes per 256
    /// entries.
    kinds: Mutex<BTreeMap<u64, u16>>,
    /// The lock lives as long as this file is open.
    _lock: Option<File>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("checkpoint", &self.checkpoint().note()).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in `dir`, making it if there is none, and recovers it from whatever a crash
    /// left. `origin` names the log in its checkpoints and must be the key's name.
    ///
    /// # Errors
    /// [`LogError::Locked`] when another writer has it, [`LogError::Damaged`] or [`LogError::Checkpoint`] when the
    /// files are not what the key signed; a storage error otherwise.
    pub fn open(dir: &Path, key: LogKey, origin: &str) -> Result<Self, LogError> {
        if key.public().name() != origin {
            return Err(LogError::Origin { name: key.public().name().to_owned(), origin: origin.to_owned() });
        }
        fs::create_dir_all(dir).map_err(|error| LogError::storage("create", "", error))?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(LOCK));
        let lock = lock.map_err(|error| LogError::storage("open", LOCK, error))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LogError::Locked { dir: dir.display().to_string() }),
            Err(error) => return Err(LogError::storage("lock", LOCK, error.into())),
        }
        let storage = Arc::new(Disk::new(dir));
        Self::open_on(storage, key, Some(lock), committer::PUBLISH_WINDOW)
    }

    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        key: LogKey,
        lock: Option<File>,
        publish_window: Duration,
    ) -> Result<Self, LogError> {
        let publisher = recovery::recover(&storage, key)?;
        let shared = Arc::new(Shared::new(storage, &publisher)?);
        let committer = committer::start(&shared, publisher, publish_window)?;
        Ok(Self { shared, committer: Mutex::new(Some(committer)), kinds: Mutex::default(), _lock: lock })
    }

    /// Appends an entry. The body is named in `digests["body"]` by its content and written with the entry, or before it;
    /// the plan digest becomes `digests["plan"]`.
    ///
    /// # Errors
    /// On any error no receipt exists and the entry is not in the log; if the process is killed
    /// right after a failed sync, it may be found there all the same.
    pub fn append(
        &self,
        entry: &Entry,
        body: Option<&[u8]>,
        plan_digest: Option<[u8; 32]>,
        durability: Durability,
    ) -> Result<Receipt, LogError> {
        let mut entry = entry.clone();
        let body = body.map(|body| (Hash::of(body), body));
        set_digest(&mut entry, "plan", plan_digest.map(Hash))?;
        set_digest(&mut entry, "body", body.map(|(digest, _)| digest))?;
        let bytes = entry.to_canonical_json().map_err(LogError::Entry)?;
        self.shared.admit(entry.kind)?;
        let (mut carried, mut file) = (None, None);
        if let Some((digest, body)) = body {
            carried = Carried::new(digest, body);
            if carried.is_none() {
                file = Some(self.write_body(entry.kind, &digest, body)?);
            }
        }
        let pending = Pending { entry: bytes.into(), body: carried };
        let index = self.shared.append(entry.kind, pending, file, durability)?;
        Ok(Receipt { index, plan_digest, durability })
    }

    fn write_body(&self, kind: EntryKind, digest: &Hash, body: &[u8]) -> Result<String, LogError> {
        let size = body.len() as u64;
        if size > BODY_LIMIT {
            return Err(LogError::BodyTooLarge { size, limit: BODY_LIMIT });
        }
        let path = body_path(digest);
        let storage = &*self.shared.storage;
        let suspect = self.shared.lock().suspect_bodies.remove(&path);
        if !suspect && holds(storage, &path, body) {
            return Ok(path);
        }
        let temporary = self.shared.temporary_body();
        self.shared.with_reserve(kind, size, || {
            let placed = place_body(storage, &temporary, &path, body);
            if placed.is_err() && suspect {
                self.shared.lock().suspect_bodies.insert(path.clone());
            }
            placed
        })?;
        Ok(path)
    }

    /// Whether there is room beyond the reserve. Asked before a roll-out, whose entry could still use
    /// the reserve while those of its outcome could not.
    ///
    /// # Errors
    /// [`LogError::ReserveOnly`] when only the reserve is left; a storage error when the volume
    /// cannot be written at all.
    pub fn room(&self) -> Result<(), LogError> {
        let kind = EntryKind::Outcome;
        self.shared.admit(kind)?;
        let (storage, probe) = (&*self.shared.storage, self.shared.temporary_body());
        let written = self.shared.with_reserve(kind, ROOM_BYTES, || {
            let zeros = vec![0; usize::try_from(ROOM_BYTES).unwrap_or_default()];
            storage.write(&probe, &zeros).map_err(|error| LogError::storage("write", &probe, error))
        });
        let removed = storage.remove(&probe).map_err(|error| LogError::storage("remove", &probe, error));
        written.and(removed)
    }

    /// The receipt of an entry that was written for this very plan before. A plan that repeats what
    /// is recorded already, such as a revert that is due again at once, needs no second entry.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when there is no such entry, or it was written for another plan.
    pub fn recall(&self, index: u64, plan_digest: [u8; 32]) -> Result<Receipt, LogError> {
        let found = self.entries(index..index.saturating_add(1)).next().transpose()?;
        let plan = found.and_then(|found| found.entry.digests.get("plan").cloned());
        if plan.as_deref() != Some(Hash(plan_digest).to_string().as_str()) {
            return Err(LogError::OutOfRange { index, size: self.len() });
        }
        let durability = if index < self.shared.lock().synced { Durability::Synced } else { Durability::Grouped };
        Ok(Receipt { index, plan_digest: Some(plan_digest), durability })
    }

    /// Number of entries, also those not yet covered by the checkpoint.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shared.lock().next
    }

    /// No entry was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that were acknowledged as [`Durability::Grouped`] and lost since because syncing them failed.
    #[must_use]
    pub fn lost_grouped(&self) -> u64 {
        self.shared.lock().lost_grouped
    }

    /// Why the newest entries are not yet covered by a checkpoint, if publishing them failed.
    #[must_use]
    pub fn publish_fault(&self) -> Option<LogError> {
        self.shared.lock().publish_fault.clone()
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The entries of a range, oldest first, read bundle by bundle. What is beyond the end is left out.
    pub fn entries(&self, range: Range<u64>) -> impl Iterator<Item = Result<Indexed, LogError>> + '_ {
        let end = range.end.min(self.len());
        let mut bundle: Option<(u64, Vec<Vec<u8>>)> = None;
        (range.start..end).map(move |index| {
            let number = index / WIDTH;
            if bundle.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
                bundle = Some((number, self.bundle(number)?));
            }
            let bytes = bundle.as_ref().and_then(|(_, entries)| entries.get((index % WIDTH) as usize));
            let bytes = bytes.ok_or(LogError::OutOfRange { index, size: end })?;
            Ok(Indexed { index, entry: parse(index, bytes)? })
        })
    }

    /// The newest entry of this kind whose subject has all these values.
    ///
    /// # Errors
    /// A storage error, or [`LogError::Damaged`] when an entry cannot be read.
    pub fn latest(&self, kind: EntryKind, subject: &[(&str, &str)]) -> Result<Option<Indexed>, LogError> {
        let published = self.checkpoint().size();
        let end = self.len();
        for number in (0..end.div_ceil(WIDTH)).rev() {
            let known = self.kinds().get(&number).copied();
            if known.is_some_and(|kinds| kinds & kind.bit() == 0) {
                continue;
            }
            let (mut kinds, mut newest) = (0, None);
            let bundle = self.bundle(number)?;
            for (index, bytes) in (number * WIDTH..).zip(&bundle) {
                let entry = parse(index, bytes)?;
                kinds |= entry.kind.bit();
                if entry.kind == kind && has_subject(&entry, subject) {
                    newest = Some(Indexed { index, entry });
                }
            }
            // Only what is published stays as it is.
            if published >= (number + 1) * WIDTH {
                self.kinds().insert(number, kinds);
            }
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<u64, u16>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of one bundle: the published part from its file, the rest from memory.
    fn bundle(&self, number: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let first = number * WIDTH;
        // Taken before the checkpoint is read: what leaves the queue later is published by then.
        let (queue_start, queued) = {
            let state = self.shared.lock();
            let start = state.next - state.unpublished.len() as u64;
            let skip = first.saturating_sub(start) as usize;
            let take = (first + WIDTH).saturating_sub(start.max(first)) as usize;
            (start.max(first), state.unpublished.iter().skip(skip).take(take).cloned().collect::<Vec<_>>())
        };
        let mut entries = Vec::new();
        if queue_start > first {
            let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
            entries = read_bundle(&*self.shared.storage, number, shown.size())?;
            entries.truncate((queue_start - first) as usize);
        }
        entries.extend(queued.iter().map(|pending| pending.entry.to_vec()));
        Ok(entries)
    }

    /// A body, checked against its digest; `None` when there is none.
    ///
    /// # Errors
    /// A storage error, or [`LogError::Damaged`] when the file does not have this digest.
    pub fn body(&self, digest: &Hash) -> Result<Option<Vec<u8>>, LogError> {
        // Asked before the file: what leaves the queue later is a file by then.
        let waiting = self.shared.lock().waiting_body(digest);
        if let Some(body) = waiting {
            return Ok(Some(body.to_vec()));
        }
        read_body(&*self.shared.storage, digest)
    }

    /// Proof that entry `index` is in the log, against the newest checkpoint. Waits until one covers it.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`], the error of the failed publication, or a storage error.
    pub fn prove(&self, index: u64) -> Result<InclusionProof, LogError> {
        self.shared.wait_published(index)?;
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
        let size = shown.size();
        let storage = &*self.shared.storage;
        let bundle = read_bundle(storage, index / WIDTH, size)?;
        let entry = bundle.get((index % WIDTH) as usize).cloned().ok_or(LogError::OutOfRange { index, size })?;
        let hashes = inclusion_path(&mut TileNodes::new(storage, size), index, size)?;
        Ok(InclusionProof { index, tree_size: size, hashes, entry, checkpoint: shown.clone() })
    }

    /// Proof that the tree of `old` entries is a prefix of that of `new` entries.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless `old` ≤ `new` ≤ size of the newest checkpoint; a storage error.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, LogError> {
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
        let size = shown.size();
        if old > new || new > size {
            return Err(LogError::OutOfRange { index: old.max(new), size });
        }
        let hashes = consistency_path(&mut TileNodes::new(&*self.shared.storage, size), old, new)?;
        Ok(ConsistencyProof { old_size: old, new_size: new, hashes })
    }

    /// Root of the tree at an earlier size, to compare with a remembered checkpoint.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] above the size of the newest checkpoint; a storage error.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
        if size > shown.size() {
            return Err(LogError::OutOfRange { index: size, size: shown.size() });
        }
        root_at(&mut TileNodes::new(&*self.shared.storage, shown.size()), size)
    }

    /// Syncs and publishes everything and ends the committer. Dropping does the same, but cannot tell what went wrong;
    /// what could not be published is recovered by the next `open`.
    ///
    /// # Errors
    /// The error of the last sync, publication or settling.
    pub fn close(self) -> Result<(), LogError> {
        self.stop();
        self.shared.lock().closing_fault.take().map_or(Ok(()), Err)
    }

    fn stop(&self) {
        self.shared.close();
        let thread = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the committer is reported to waiters by its guard; there is nothing to add here.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
    }
}

fn set_digest(entry: &mut Entry, key: &'static str, digest: Option<Hash>) -> Result<(), LogError> {
    let text = digest.map(|digest| digest.to_string());
    match (entry.digests.get(key), text) {
        (None, Some(text)) => {
            entry.digests.insert(key.to_owned(), text);
            Ok(())
        }
        (found, text) if found == text.as_ref() => Ok(()),
        _ => Err(LogError::Entry(EntryError::Reserved(key))),
    }
}

/// All of these subject keys have these values.
pub(crate) fn has_subject(entry: &Entry, subject: &[(&str, &str)]) -> bool {
    subject.iter().all(|(key, value)| entry.subject.get(*key).is_some_and(|found| found == value))
}

pub(crate) fn parse(index: u64, bytes: &[u8]) -> Result<Entry, LogError> {
    Entry::from_canonical_json(bytes).map_err(|error| LogError::damaged(&format!("entry {index}"), error.to_string()))
}

#[cfg(test)]
mod tests;
