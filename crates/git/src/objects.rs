//! Reading an object database: raw commits, trees by object id, blobs; bounded, verified by hash,
//! blind to replace refs and grafts.

use std::{cell::RefCell, collections::BTreeMap, path::Path, sync::Arc};

use git2::{ObjectType, Odb, OdbObject, Oid, Repository};
use manifest::{MAX_PATH_BYTES, RepoPath, RepoPathError};
use trust::{Change, CommitId, Entry, HistoryError, MAX_TAG_BYTES, ObjectFormat, TagId, TreeId};

use crate::{
    archive,
    exchange::quoted,
    folders::{Folder, Folders},
    format::{self, oid, parse_oid, tag_oid},
    library,
    remote::Limits,
    tree::{Node, TreeError, parse},
    walk::Ancestry,
};

/// The largest commit object, in bytes: a merge of a hundred signed tags fits; ordinary ones have 1 KiB.
pub const MAX_COMMIT_BYTES: u64 = 1 << 20;
/// The largest tree object, in bytes: 200,000 entries of 80.
pub const MAX_TREE_BYTES: u64 = 16 << 20;
/// The largest file that is read, in bytes: bundles of CRDs reach 4 MiB; four times that.
pub const MAX_BLOB_BYTES: u64 = 16 << 20;
/// The most entries of trees that one question may read: 10,000 manifests with folders, twenty times.
pub const MAX_ENTRIES: u64 = 200_000;
/// The most bytes of paths that one answer names: [`MAX_ENTRIES`] of 335 bytes; of the longest paths it is 16,000.
pub const MAX_PATHS_BYTES: usize = 64 << 20;
/// The most bytes of files that are read from a folder at once: 10,000 manifests of 3.4 kB, eight times.
pub const MAX_FOLDER_BYTES: u64 = 256 << 20;

/// The objects of a local repository, for reading only. `Send` but not `Sync`: open one per thread.
///
/// Every answer is made of raw objects whose hash was checked, so replace refs, grafts and
/// alternates of the repository cannot change it.
pub struct Objects {
    repository: Repository,
    format: ObjectFormat,
    ancestry: Ancestry,
    folders: RefCell<Folders>,
    /// Refs that are taken to be elsewhere than the repository says.
    pub(crate) tips: BTreeMap<String, Option<CommitId>>,
}

impl Objects {
    /// Opens a repository that belongs to someone else (`writ verify --repo DIR`): bare or with a working tree.
    ///
    /// # Errors
    /// When there is no readable repository.
    pub fn open(dir: &Path) -> Result<Self, HistoryError> {
        library::prepare().map_err(|reason| HistoryError::Read { reason })?;
        Repository::open(dir).map(Self::of).map_err(|error| HistoryError::Read { reason: quoted(error.message()) })
    }

    pub(crate) fn of(repository: Repository) -> Self {
        let format = format::of(repository.object_format());
        Self { repository, format, ancestry: Ancestry::default(), folders: RefCell::default(), tips: BTreeMap::new() }
    }

    /// The hash that its objects are named by.
    #[must_use]
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What differs below a folder, by object id, in order of paths. Equal subtrees are not read.
    ///
    /// # Errors
    /// As [`trust::History::changes`].
    pub fn changes_below(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
    ) -> Result<Vec<Change>, HistoryError> {
        self.changes_within(from, to, folder, usize::MAX)
    }

    fn changes_within(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
        limit: usize,
    ) -> Result<Vec<Change>, HistoryError> {
        let mut reading = Reading { changes: limit, ..self.reading()? };
        let before = match from {
            Some(commit) => Side { commit, node: reading.at(commit, folder)? },
            None => Side { commit: to, node: None },
        };
        let after = Side { commit: to, node: reading.at(to, folder)? };
        let mut changes = Vec::new();
        reading.compare(before, after, folder, &mut changes)?;
        changes.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    /// All files at or below a folder with their modes and blob ids, in order of paths. A cache of
    /// rendered files is best keyed by blob id.
    ///
    /// # Errors
    /// As [`trust::History::list`].
    pub fn entries(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<(RepoPath, Entry)>, HistoryError> {
        let changes = self.changes_below(None, commit, folder)?;
        Ok(changes.into_iter().filter_map(|change| change.after.map(|entry| (change.path, entry))).collect())
    }

    /// All files at or below a folder with their bytes, in order of paths; at most [`MAX_FOLDER_BYTES`].
    ///
    /// # Errors
    /// As [`trust::History::list`] and [`trust::History::read`].
    pub fn files(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<(RepoPath, Vec<u8>)>, HistoryError> {
        let mut left = MAX_FOLDER_BYTES;
        let mut files = Vec::new();
        for (path, entry) in self.entries(commit, folder)? {
            let bytes = self.blob(&entry.id)?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| HistoryError::Limit {
                what: format!("bytes of the files below {folder}"),
                limit: MAX_FOLDER_BYTES,
            })?;
            files.push((path, bytes));
        }
        Ok(files)
    }

    /// The bytes of a blob by its id, as [`Entry`] names it; at most [`MAX_BLOB_BYTES`].
    ///
    /// # Errors
    /// When it is not there, too large, or not a blob.
    pub fn blob(&self, id: &str) -> Result<Vec<u8>, HistoryError> {
        let missing = || HistoryError::Missing { object: format!("blob {:?}", quoted(id)) };
        let id = parse_oid(id, self.format).ok_or_else(missing)?;
        let reading = self.reading()?;
        reading.object(id, ObjectType::Blob, MAX_BLOB_BYTES).map(|object| object.data().to_vec())
    }

    /// The content of an object by its id, within the limit of its kind.
    pub(crate) fn raw(&self, id: Oid, kind: ObjectType) -> Result<Vec<u8>, HistoryError> {
        self.reading()?.object(id, kind, archive::limit(kind)).map(|object| object.data().to_vec())
    }

    pub(crate) fn reading(&self) -> Result<Reading<'_>, HistoryError> {
        let odb = self.repository.odb().map_err(|error| HistoryError::Read { reason: quoted(error.message()) })?;
        Ok(Reading {
            odb,
            format: self.format,
            folders: &self.folders,
            entries_left: MAX_ENTRIES,
            changes: usize::MAX,
            path_bytes_left: MAX_PATHS_BYTES,
        })
    }
}

impl trust::History for Objects {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        match self.reading()?.commit(id) {
            Ok(object) => Ok(Some(object)),
            Err(HistoryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn tag(&self, id: &TagId) -> Result<Option<Vec<u8>>, HistoryError> {
        let Some(known) = tag_oid(id, self.format) else { return Ok(None) };
        match self.reading()?.object(known, ObjectType::Tag, MAX_TAG_BYTES as u64) {
            Ok(object) => Ok(Some(object.data().to_vec())),
            Err(HistoryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.changes_within(from, to, &RepoPath::root(), limit)
    }

    fn changes_in(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
        limit: usize,
    ) -> Result<Vec<Change>, HistoryError> {
        self.changes_within(from, to, folder, limit)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        Ok(match self.reading()?.at(commit, path)? {
            Some(Node::File(mode, id)) => Some(Entry { mode, id: id.to_string() }),
            Some(Node::Folder(_)) | None => None,
        })
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        let mut reading = self.reading()?;
        match reading.at(commit, path)? {
            Some(Node::File(_, id)) => Ok(Some(reading.object(id, ObjectType::Blob, MAX_BLOB_BYTES)?.data().to_vec())),
            Some(Node::Folder(_)) | None => Ok(None),
        }
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        Ok(self.entries(commit, folder)?.into_iter().map(|(path, _)| path).collect())
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        let reading = self.reading()?;
        self.ancestry.side(mainline, step, limit, &|id| reading.commit(id))
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        let reading = self.reading()?;
        self.ancestry.reaches(of, ancestor, &|id| reading.commit(id))
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.envelopes(commit, tree)
    }
}

/// The tree that a raw commit names.
pub(crate) fn tree_of(commit: &CommitId, body: &[u8], format: ObjectFormat) -> Result<Oid, HistoryError> {
    body.strip_prefix(b"tree ")
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .and_then(|id| std::str::from_utf8(id).ok())
        .and_then(|id| parse_oid(id, format))
        .ok_or_else(|| HistoryError::Malformed { object: format!("commit {commit} does not begin with its tree") })
}

/// One side of a comparison: a place in the tree of a commit, if there is something.
#[derive(Clone, Copy)]
struct Side<'a> {
    commit: &'a CommitId,
    node: Option<Node>,
}

impl Side<'_> {
    fn file(&self) -> Option<Entry> {
        match self.node {
            Some(Node::File(mode, id)) => Some(Entry { mode, id: id.to_string() }),
            _ => None,
        }
    }

    fn folder(&self) -> Option<Oid> {
        match self.node {
            Some(Node::Folder(id)) => Some(id),
            _ => None,
        }
    }
}

/// One question: the database and what it may still read.
pub(crate) struct Reading<'r> {
    odb: Odb<'r>,
    format: ObjectFormat,
    folders: &'r RefCell<Folders>,
    entries_left: u64,
    /// How many differences may be found.
    changes: usize,
    /// How many bytes their paths may still have.
    path_bytes_left: usize,
}

impl Reading<'_> {
    /// An object of the expected kind, its size checked before it is read.
    pub(crate) fn object(&self, id: Oid, kind: ObjectType, limit: u64) -> Result<OdbObject<'_>, HistoryError> {
        let name = || format!("{kind} {id}");
        let failed = |error: git2::Error| match error.code() {
            git2::ErrorCode::NotFound => HistoryError::Missing { object: name() },
            _ if error.class() == git2::ErrorClass::NoMemory => HistoryError::Limit {
                what: format!("bytes of the object that {} is stored as a difference to", name()),
                limit: Limits::OBJECT_BYTES,
            },
            _ => HistoryError::Read { reason: format!("{}: {}", name(), quoted(error.message())) },
        };
        let (size, found) = self.odb.read_header(id).map_err(failed)?;
        if found != kind {
            return Err(HistoryError::Malformed { object: format!("{id} is a {found}, not a {kind}") });
        }
        if size as u64 > limit {
            return Err(HistoryError::Limit { what: format!("bytes of {} ({size})", name()), limit });
        }
        self.odb.read(id).map_err(failed)
    }

    /// The raw body of a commit.
    fn commit(&self, id: &CommitId) -> Result<Vec<u8>, HistoryError> {
        let known = oid(id, self.format).ok_or_else(|| HistoryError::Missing { object: format!("commit {id}") })?;
        self.object(known, ObjectType::Commit, MAX_COMMIT_BYTES).map(|object| object.data().to_vec())
    }

    /// What is at a path in the tree of a commit.
    pub(crate) fn at(&mut self, commit: &CommitId, path: &RepoPath) -> Result<Option<Node>, HistoryError> {
        let root = tree_of(commit, &self.commit(commit)?, self.format)?;
        let mut here = RepoPath::root();
        let mut node = Node::Folder(root);
        for segment in path.segments() {
            let Node::Folder(id) = node else { return Ok(None) };
            let folder = self.folder(commit, id, &here)?;
            let found = folder.binary_search_by(|(name, _)| name.as_str().cmp(segment)).ok();
            let Some((_, below)) = found.and_then(|index| folder.get(index)) else { return Ok(None) };
            node = *below;
            here = join(&here, segment, commit)?;
        }
        Ok(Some(node))
    }

    /// The checked entries of one folder in order of names. Each counts, also when it is known already: what a
    /// question may ask for does not depend on what was asked before.
    fn folder(&mut self, commit: &CommitId, id: Oid, path: &RepoPath) -> Result<Folder, HistoryError> {
        let known = self.folders.borrow_mut().get(id);
        let entries = match known {
            Some(entries) => entries,
            None => {
                let entries = self.parsed(commit, id, path)?;
                self.folders.borrow_mut().keep(id, Arc::clone(&entries));
                entries
            }
        };
        self.entries_left = self.entries_left.checked_sub(entries.len() as u64 + 1).ok_or_else(|| {
            HistoryError::Limit { what: format!("entries of the trees of commit {commit}"), limit: MAX_ENTRIES }
        })?;
        Ok(entries)
    }

    fn parsed(&self, commit: &CommitId, id: Oid, path: &RepoPath) -> Result<Folder, HistoryError> {
        let parsed = parse(self.object(id, ObjectType::Tree, MAX_TREE_BYTES)?.data(), self.format);
        parsed.map(Arc::from).map_err(|error| match error {
            TreeError::Malformed => HistoryError::Malformed { object: format!("tree {id} ({path}) is malformed") },
            TreeError::Entry { name, reason } => {
                let path = if path.is_root() { name } else { format!("{path}/{name}") };
                HistoryError::BadEntry { commit: *commit, path, reason }
            }
        })
    }

    /// Whether one more difference may be kept: 200,000 of the longest paths would be 800 MB.
    fn count(&mut self, commit: &CommitId, kept: usize, path: &RepoPath) -> Result<(), HistoryError> {
        let limit = |what: &str, limit: usize| HistoryError::Limit {
            what: format!("{what} of commit {commit}"),
            limit: limit as u64,
        };
        if kept >= self.changes {
            return Err(limit("changed paths", self.changes));
        }
        let left = self.path_bytes_left.checked_sub(path.as_str().len());
        self.path_bytes_left = left.ok_or_else(|| limit("bytes of paths", MAX_PATHS_BYTES))?;
        Ok(())
    }

    /// Appends what differs between two places. Recursion ends at [`manifest::MAX_PATH_SEGMENTS`].
    fn compare(
        &mut self,
        before: Side<'_>,
        after: Side<'_>,
        path: &RepoPath,
        changes: &mut Vec<Change>,
    ) -> Result<(), HistoryError> {
        let (old, new) = (before.file(), after.file());
        if old != new {
            self.count(after.commit, changes.len(), path)?;
            changes.push(Change { path: path.clone(), before: old, after: new });
        }
        if before.folder() == after.folder() {
            return Ok(());
        }
        let mut read =
            |side: &Side<'_>| side.folder().map_or_else(|| Ok(Arc::default()), |id| self.folder(side.commit, id, path));
        let (old, new) = (read(&before)?, read(&after)?);
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            // Both lists are in order of names: take the smaller name, or both when they are equal.
            let name = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some((name, _)), None) | (None, Some((name, _))) => name.clone(),
                (Some((one, _)), Some((other, _))) => one.min(other).clone(),
            };
            let left = Side { node: old.next_if(|entry| entry.0 == name).map(|entry| entry.1), ..before };
            let right = Side { node: new.next_if(|entry| entry.0 == name).map(|entry| entry.1), ..after };
            if left.node != right.node {
                let commit = if right.node.is_some() { after.commit } else { before.commit };
                self.compare(left, right, &join(path, &name, commit)?, changes)?;
            }
        }
    }
}

fn join(path: &RepoPath, name: &str, commit: &CommitId) -> Result<RepoPath, HistoryError> {
    path.join(name).map_err(|error| match error {
        RepoPathError::TooLong { segments, .. } => HistoryError::Limit {
            what: format!("the path {} ({segments} segments) in commit {commit}", quoted(&format!("{path}/{name}"))),
            limit: MAX_PATH_BYTES as u64,
        },
        _ => HistoryError::BadEntry {
            commit: *commit,
            path: quoted(&format!("{path}/{name}")),
            reason: trust::BadEntry::Name,
        },
    })
}
