//! From synced journal records to bodies, tiles, bundles and checkpoint.
//!
//! Publishing writes files without syncing: the journal can redo it. *Settling* syncs all of them,
//! then `checkpoint.settled`, and only then may the journal be overwritten and old partials go.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::body::{Carried, body_path, holds, place_body};
use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::journal;
use crate::note::LogKey;
use crate::shared::Pending;
use crate::storage::{Storage, parents};
use crate::tile::{Content, Edge, LEVELS, Tile, WIDTH};
use crate::tiles::read_edge;

/// The newest signed checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The newest checkpoint all of whose files are durable: where recovery starts.
pub(crate) const SETTLED: &str = "checkpoint.settled";
const TEMPORARY: &str = "checkpoint.tmp";
const TEMPORARY_BODY: &str = "body.tmp";
/// Files synced ahead in a row while appends wait for their own sync: at 2 ms each that leaves 2 of the 10 ms within which
/// a record is synced.
pub(crate) const AHEAD: usize = 4;

pub(crate) struct Publisher {
    storage: Arc<dyn Storage>,
    key: LogKey,
    edge: Edge,
    /// Partial files of the published and of the settled size.
    partials: BTreeSet<String>,
    settled: BTreeSet<String>,
    /// Partials of no use any more whose removal has not succeeded yet.
    stale: BTreeSet<String>,
    dirty_files: BTreeSet<String>,
    dirty_dirs: BTreeSet<String>,
    settled_size: u64,
    /// A sync failed: what the kernel did not write it may have forgotten, so it is written again.
    rewrite: bool,
}

impl Publisher {
    /// Continues from a settled tree.
    pub(crate) fn new(storage: Arc<dyn Storage>, key: LogKey, edge: Edge) -> Self {
        let partials: BTreeSet<String> = edge.partials().iter().map(|(tile, _)| tile.to_string()).collect();
        Self {
            storage,
            key,
            settled: partials.clone(),
            settled_size: edge.size,
            rewrite: false,
            edge,
            partials,
            stale: BTreeSet::new(),
            dirty_files: BTreeSet::new(),
            dirty_dirs: BTreeSet::new(),
        }
    }

    pub(crate) const fn size(&self) -> u64 {
        self.edge.size
    }

    pub(crate) const fn edge(&self) -> &Edge {
        &self.edge
    }

    pub(crate) fn sign(&self) -> Checkpoint {
        Checkpoint::sign(&self.key, self.edge.size, self.edge.root())
    }

    fn write(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), LogError> {
        let path = tile.to_string();
        self.storage.write(&path, bytes).map_err(|error| LogError::storage("write", &path, error))?;
        self.dirty_dirs.extend(parents(&path).map(str::to_owned));
        self.dirty_files.insert(path);
        Ok(())
    }

    /// A body that came with its entry becomes a file.
    fn write_body(&mut self, body: &Carried) -> Result<(), LogError> {
        let path = body_path(&body.digest);
        // An earlier entry may have named it; after a failed sync nobody knows what of it is on disk.
        if self.rewrite || !holds(&*self.storage, &path, &body.bytes) {
            place_body(&*self.storage, TEMPORARY_BODY, &path, &body.bytes)?;
        }
        self.dirty_dirs.extend(parents(&path).map(str::to_owned));
        self.dirty_files.insert(path);
        Ok(())
    }

    /// Adds synced entries to the tree and shows the new checkpoint. On an error nothing of it is
    /// visible and the same call may be repeated.
    pub(crate) fn publish(&mut self, entries: &[Pending], shown: &RwLock<Checkpoint>) -> Result<(), LogError> {
        let mut edge = self.edge.clone();
        for Pending { entry, body } in entries {
            if let Some(body) = body {
                self.write_body(body)?;
            }
            for (tile, bytes) in edge.push(entry) {
                self.write(tile, &bytes)?;
            }
        }
        let mut partials = BTreeSet::new();
        for (tile, bytes) in edge.partials() {
            let path = tile.to_string();
            // A file that is in use is not touched: it holds the same, and a crash could tear it.
            if !self.partials.contains(&path) && !self.settled.contains(&path) {
                self.stale.insert(path.clone());
                self.write(tile, &bytes)?;
            }
            partials.insert(path);
        }
        let checkpoint = Checkpoint::sign(&self.key, edge.size, edge.root());
        self.replace(CHECKPOINT, &checkpoint)?;
        self.edge = edge;
        let old = std::mem::replace(&mut self.partials, partials);
        self.stale.extend(old.difference(&self.settled).cloned());
        self.stale.retain(|path| !self.partials.contains(path));
        self.show(checkpoint, shown);
        Ok(())
    }

    fn replace(&mut self, path: &str, checkpoint: &Checkpoint) -> Result<(), LogError> {
        let write = |error| LogError::storage("write", TEMPORARY, error);
        self.storage.write(TEMPORARY, checkpoint.note().as_bytes()).map_err(write)?;
        if path == SETTLED {
            self.storage.sync(TEMPORARY).map_err(|error| LogError::storage("sync", TEMPORARY, error))?;
        }
        self.storage.rename(TEMPORARY, path).map_err(|error| LogError::storage("rename", TEMPORARY, error))?;
        self.dirty_files.insert(path.to_owned());
        self.dirty_dirs.insert(String::new());
        Ok(())
    }

    /// Shows a checkpoint to readers and removes what only older ones needed: while a reader holds
    /// the lock, the files of the checkpoint it read stay.
    fn show(&mut self, checkpoint: Checkpoint, shown: &RwLock<Checkpoint>) {
        let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
        *shown = checkpoint;
        let (storage, files, dirs) = (&self.storage, &mut self.dirty_files, &mut self.dirty_dirs);
        // What cannot be removed now is tried again with the next checkpoint.
        self.stale.retain(|path| {
            files.remove(path);
            dirs.extend(parents(path).map(str::to_owned));
            storage.remove(path).is_err()
        });
    }

    /// Removes partial files that a crash may have left between the size it started from and now.
    pub(crate) fn remove_leftovers(&mut self, from: u64) -> Result<(), LogError> {
        for content in std::iter::once(Content::Entries).chain((0..LEVELS).map(Content::Level)) {
            let span = Tile { content, number: 1, width: WIDTH }.first_entry();
            for number in from / span..=self.edge.size / span {
                let dir = format!("{}.p", Tile { content, number, width: WIDTH });
                let names = self.storage.list(&dir).map_err(|error| LogError::storage("list", &dir, error))?;
                let paths = names.iter().map(|name| format!("{dir}/{name}"));
                let paths: Vec<_> =
                    paths.filter(|path| !self.partials.contains(path) && !self.settled.contains(path)).collect();
                for path in paths {
                    self.storage.remove(&path).map_err(|error| LogError::storage("remove", &path, error))?;
                    self.dirty_dirs.extend(parents(&path).map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    /// Makes everything published durable. Afterwards the journal may be overwritten.
    pub(crate) fn settle(&mut self, shown: &RwLock<Checkpoint>) -> Result<(), LogError> {
        if self.rewrite {
            self.publish_again(shown)?;
        }
        self.rewrite = true;
        self.sync_all()?;
        self.rewrite = false;
        Ok(())
    }

    /// Syncs a few of the files that were written, and then their folders, so that settling has little left to do; says
    /// whether there are more.
    pub(crate) fn sync_ahead(&mut self) -> bool {
        for _ in 0..AHEAD {
            // These two change with every checkpoint.
            let file = self.dirty_files.iter().find(|path| *path != CHECKPOINT).cloned();
            let dir = self.dirty_dirs.iter().find(|path| !path.is_empty()).cloned();
            let result = match (file, dir) {
                (Some(file), _) => self.storage.sync(&file).map(|()| self.dirty_files.remove(&file)),
                (None, Some(dir)) => self.storage.sync_dir(&dir).map(|()| self.dirty_dirs.remove(&dir)),
                (None, None) => return false,
            };
            if result.is_err() {
                // Everything is written again before it is synced again.
                self.rewrite = true;
                return false;
            }
        }
        true
    }

    /// Publishes once more what the journal holds since the last settling.
    fn publish_again(&mut self, shown: &RwLock<Checkpoint>) -> Result<(), LogError> {
        let bytes = self.storage.read(journal::PATH, u64::MAX - 1);
        let bytes = bytes.map_err(|error| LogError::storage("read", journal::PATH, error))?.unwrap_or_default();
        let (from, to) = (self.settled_size, self.edge.size);
        let entries: Vec<Pending> = journal::records(&bytes)
            .0
            .iter()
            .filter(|record| (from..to).contains(&record.index))
            .map(Pending::from)
            .collect();
        if entries.len() as u64 != to - from {
            return Err(LogError::damaged(journal::PATH, "published entries are missing"));
        }
        let now = std::mem::replace(&mut self.edge, read_edge(&*self.storage, from)?);
        let root = now.root();
        // Only what was settled is known to be whole.
        let partials = std::mem::replace(&mut self.partials, self.settled.clone());
        self.stale.extend(partials.difference(&self.settled).cloned());
        let result = self.publish(&entries, shown);
        if result.is_err() {
            self.edge = now;
        } else if self.edge.root() != root {
            return Err(LogError::damaged(journal::PATH, "the entries are not those published"));
        }
        result
    }

    fn sync_all(&mut self) -> Result<(), LogError> {
        for path in &self.dirty_files {
            self.storage.sync(path).map_err(|error| LogError::storage("sync", path, error))?;
        }
        for path in &self.dirty_dirs {
            self.storage.sync_dir(path).map_err(|error| LogError::storage("sync", path, error))?;
        }
        let checkpoint = self.sign();
        self.replace(SETTLED, &checkpoint)?;
        self.storage.sync_dir("").map_err(|error| LogError::storage("sync", SETTLED, error))?;
        self.dirty_files.clear();
        self.dirty_dirs.clear();
        self.settled_size = self.edge.size;
        Ok(())
    }

    /// After the journal was emptied: partials of the tree settled before are of no use any more.
    pub(crate) fn forget_settled(&mut self, shown: &RwLock<Checkpoint>) {
        let old = std::mem::replace(&mut self.settled, self.partials.clone());
        self.stale.extend(old.into_iter().filter(|path| !self.partials.contains(path)));
        let checkpoint = self.sign();
        self.show(checkpoint, shown);
    }
}
