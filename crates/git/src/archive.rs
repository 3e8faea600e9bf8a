//! What was accepted, once more and apart from the mirror: a mirror can be lost when its server no longer has the commit,
//! and what was accepted is healed all the same.
//!
//! One file holds raw objects, `<kind> <id> <bytes>\n<content>\n` each, after a line that names the hash: commits, the trees
//! on the way to the wanted folders, and what is in those. No history: nothing is judged by it. New objects are appended;
//! what is no longer wanted goes when it is more than what is, so that the file has at most twice the bytes it needs. The
//! content is hashed whenever it is read, and what does not have its name is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use git2::{ObjectType, Odb, Oid, Repository};
use manifest::RepoPath;
use trust::{CommitId, HistoryError, ObjectFormat};

use crate::{
    exchange::quoted,
    format::{for_git2, oid, parse_oid},
    library,
    objects::{MAX_BLOB_BYTES, MAX_COMMIT_BYTES, MAX_ENTRIES, MAX_FOLDER_BYTES, MAX_TREE_BYTES, Objects, tree_of},
    tree::{Node, parse},
};

/// The most bytes of its objects: for those that share a source together what one Sync may render, and as much that is no
/// longer wanted. 10,000 manifests of 3.4 kB are 34 MB.
pub const MAX_ARCHIVE_BYTES: u64 = 2 * MAX_FOLDER_BYTES;
/// The file.
const OBJECTS: &str = "objects";
/// It, while it is written anew.
const UNFINISHED: &str = "objects.new";
/// How its first line begins; the name of the hash follows.
const MAGIC: &str = "writ accepted objects, ";
/// The longest line: kind 6, id 64 and size 20 bytes, with what separates them.
const MAX_LINE_BYTES: u64 = 96;

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refuses.
    #[error("{}: could not {operation}", path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What is wanted is too large.
    #[error("what was accepted has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// It cannot be read, neither from the mirror nor from here.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// libgit2 refuses.
    #[error("libgit2 takes no objects ({detail})")]
    Library {
        /// Its words.
        detail: String,
    },
}

/// What is kept of each commit: the folders that are read from it.
pub type Wanted = BTreeMap<CommitId, BTreeSet<RepoPath>>;

/// What becomes of what is kept already and not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Somebody may still ask for it.
    Stay,
    /// Nobody does.
    Go,
}

/// Accepted objects in a folder of their own. One writes at a time.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
    /// The most bytes of its objects.
    most: u64,
}

/// Whether the content of what is found is hashed at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Now,
    WhenRead,
}

impl Archive {
    /// The one in this folder, which need not be there yet.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, most: MAX_ARCHIVE_BYTES }
    }

    /// The same with less room than [`MAX_ARCHIVE_BYTES`].
    #[must_use]
    pub fn with_room(self, most: u64) -> Self {
        Self { most: most.min(MAX_ARCHIVE_BYTES), ..self }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps what is wanted, from the mirror or from what is kept. What was damaged is written anew.
    ///
    /// # Errors
    /// When it cannot be written, is too large, or something wanted is nowhere; the rest of it is kept then.
    pub fn keep(&self, mirror: Option<&Objects>, wanted: &Wanted, others: Others) -> Result<(), ArchiveError> {
        let Some(format) = wanted.keys().next().map(CommitId::format) else { return Ok(()) };
        let index = self.index(format, Check::Now)?;
        let (mut needed, mut problem) = (BTreeMap::new(), None);
        for (commit, folders) in wanted {
            let here = mirror.map(|mirror| reach(commit, folders, format, &mut |id, kind| mirror.raw(id, kind)));
            let kept = || reach(commit, folders, format, &mut |id, kind| index.read(id, kind));
            let found = match here {
                None => kept(),
                Some(here) => here.or_else(|error| kept().map_err(|_| error)),
            };
            match found {
                Ok(found) => needed.extend(found),
                Err(error) => problem = Some(error),
            }
        }
        let rest = index.records.iter().filter(|(id, _)| !needed.contains_key(*id)).map(|(_, record)| record.bytes);
        let (rest, all) = (rest.sum::<u64>(), index.records.values().map(|record| record.bytes).sum::<u64>());
        let may_shrink = others == Others::Go && problem.is_none();
        let is_shrinking = may_shrink && rest > all.saturating_sub(rest);
        let is_anew = !index.is_whole || is_shrinking;
        let alone = needed.clone();
        if is_anew && !is_shrinking {
            needed.extend(index.records.iter().map(|(id, record)| (*id, record.kind)));
        }
        if !is_anew {
            needed.retain(|id, _| !index.records.contains_key(id));
        }
        if is_anew || !needed.is_empty() {
            let room = self.most.saturating_sub(if is_anew { 0 } else { all });
            let mut read = |id, kind| match mirror.map(|mirror| mirror.raw(id, kind)) {
                Some(Ok(content)) => Ok(content),
                _ => index.read(id, kind),
            };
            match self.write(format, is_anew, &needed, room, &mut read) {
                // What is no longer wanted takes the room of what is.
                Err(ArchiveError::TooLarge { .. }) if may_shrink && !is_shrinking => {
                    self.write(format, true, &alone, self.most, &mut read)?;
                }
                written => written?,
            }
        }
        problem.map_or(Ok(()), |error| Err(error.into()))
    }

    /// What is kept of a commit, in memory; every other object is missing.
    ///
    /// # Errors
    /// When something of it is not there, or not whole.
    pub fn open(&self, commit: &CommitId, folders: &BTreeSet<RepoPath>) -> Result<Objects, ArchiveError> {
        let library = |error: git2::Error| ArchiveError::Library { detail: quoted(error.message()) };
        library::prepare().map_err(|detail| ArchiveError::Library { detail })?;
        let format = commit.format();
        let index = self.index(format, Check::WhenRead)?;
        let found = reach(commit, folders, format, &mut |id, kind| index.read(id, kind))?;
        let bytes = found.keys().filter_map(|id| index.records.get(id)).map(|record| record.bytes).sum::<u64>();
        if bytes > self.most {
            return Err(ArchiveError::TooLarge { limit: self.most });
        }
        let odb = Odb::new_ext(for_git2(format)).map_err(library)?;
        // It belongs to the database from here on.
        odb.add_new_mempack_backend(1).map(drop).map_err(library)?;
        for (id, kind) in found {
            odb.write(kind, &index.read(id, kind)?).map_err(library)?;
        }
        Repository::from_odb(odb).map(Objects::of).map_err(library)
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> ArchiveError {
        move |source| ArchiveError::File { path: self.folder.clone(), operation, source }
    }

    fn index(&self, format: ObjectFormat, check: Check) -> Result<Index, ArchiveError> {
        match File::open(self.folder.join(OBJECTS)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Index::empty(format)),
            opened => {
                opened.and_then(|file| Index::of(file, format, check)).map_err(self.failed("read what was accepted"))
            }
        }
    }

    /// Writes these objects, in place of the file or at its end.
    fn write(
        &self,
        format: ObjectFormat,
        is_anew: bool,
        objects: &BTreeMap<Oid, ObjectType>,
        room: u64,
        read: &mut Reader<'_>,
    ) -> Result<(), ArchiveError> {
        let failed = self.failed("write what was accepted");
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(&failed)?;
        let (path, unfinished) = (self.folder.join(OBJECTS), self.folder.join(UNFINISHED));
        let file = if is_anew { File::create(&unfinished) } else { OpenOptions::new().append(true).open(&path) };
        let mut out = BufWriter::new(file.map_err(&failed)?);
        if is_anew {
            writeln!(out, "{MAGIC}{}", format.git_name()).map_err(&failed)?;
        }
        let mut left = room;
        for (id, kind) in objects {
            let content = read(*id, *kind)?;
            // What was appended so far is whole, and goes when the file is next written anew.
            left = left.checked_sub(content.len() as u64).ok_or(ArchiveError::TooLarge { limit: self.most })?;
            writeln!(out, "{kind} {id} {}", content.len())
                .and_then(|()| out.write_all(&content))
                .and_then(|()| out.write_all(b"\n"))
                .map_err(&failed)?;
        }
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(&failed)?;
        if is_anew {
            fs::rename(&unfinished, &path).and_then(|()| File::open(&self.folder)?.sync_all()).map_err(&failed)?;
        }
        Ok(())
    }
}

/// Where an object is in the file.
struct Record {
    kind: ObjectType,
    at: u64,
    bytes: u64,
}

/// What is in the file.
struct Index {
    format: ObjectFormat,
    file: Option<File>,
    records: BTreeMap<Oid, Record>,
    /// Whether all of it could be read, and had its name as far as that was looked at.
    is_whole: bool,
}

impl Index {
    /// Of a file that has to be made.
    const fn empty(format: ObjectFormat) -> Self {
        Self { format, file: None, records: BTreeMap::new(), is_whole: false }
    }

    /// Goes through the file up to its end, or to where an interrupted write or another program left something else.
    fn of(file: File, format: ObjectFormat, check: Check) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut index = Self { file: Some(file.try_clone()?), is_whole: true, ..Self::empty(format) };
        let mut reader = BufReader::new(file);
        let mut at = 0;
        if line(&mut reader, &mut at)?.is_none_or(|line| line != format!("{MAGIC}{}", format.git_name())) {
            return Ok(Self { is_whole: false, ..index });
        }
        while at < length {
            let record = line(&mut reader, &mut at)?.and_then(|line| header(&line, format));
            // The content and the end of its line.
            let whole = record.filter(|(.., bytes)| {
                *bytes <= MAX_BLOB_BYTES && at.saturating_add(*bytes).saturating_add(1) <= length
            });
            let Some((kind, id, bytes)) = whole else {
                index.is_whole = false;
                break;
            };
            let is_named = match check {
                Check::WhenRead => {
                    reader.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))?;
                    true
                }
                Check::Now => {
                    let mut content = Vec::new();
                    reader.by_ref().take(bytes).read_to_end(&mut content)?;
                    is_of(&content, id, kind, format)
                }
            };
            if is_named {
                index.records.insert(id, Record { kind, at, bytes });
            }
            index.is_whole &= is_named;
            at = at.saturating_add(bytes).saturating_add(1);
            reader.seek_relative(1)?;
        }
        Ok(index)
    }

    /// The content of an object, hashed.
    fn read(&self, id: Oid, kind: ObjectType) -> Result<Vec<u8>, HistoryError> {
        let missing = || HistoryError::Missing { object: format!("{kind} {id}") };
        let failed = |error: io::Error| HistoryError::Read { reason: format!("{kind} {id}: {error}") };
        let record = self.records.get(&id).filter(|record| record.kind == kind && record.bytes <= limit(kind));
        let (record, mut file) = record.zip(self.file.as_ref()).ok_or_else(missing)?;
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(record.at)).map_err(failed)?;
        file.take(record.bytes).read_to_end(&mut content).map_err(failed)?;
        if is_of(&content, id, kind, self.format) { Ok(content) } else { Err(missing()) }
    }
}

/// The next line without its end; `None` if it has none within the longest.
fn line(reader: &mut BufReader<File>, at: &mut u64) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
    *at = at.saturating_add(read as u64);
    Ok(String::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n').map(str::to_owned)))
}

fn header(line: &str, format: ObjectFormat) -> Option<(ObjectType, Oid, u64)> {
    let (kind, rest) = line.split_once(' ')?;
    let (id, bytes) = rest.split_once(' ')?;
    let kind = match kind {
        "commit" => ObjectType::Commit,
        "tree" => ObjectType::Tree,
        "blob" => ObjectType::Blob,
        _ => return None,
    };
    Some((kind, parse_oid(id, format)?, bytes.parse().ok()?))
}

fn is_of(content: &[u8], id: Oid, kind: ObjectType, format: ObjectFormat) -> bool {
    Oid::hash_object_ext(kind, content, for_git2(format)).is_ok_and(|found| found == id)
}

/// The largest object of a kind.
pub(crate) const fn limit(kind: ObjectType) -> u64 {
    match kind {
        ObjectType::Commit => MAX_COMMIT_BYTES,
        ObjectType::Tree => MAX_TREE_BYTES,
        _ => MAX_BLOB_BYTES,
    }
}

/// Where objects are read.
type Reader<'a> = dyn FnMut(Oid, ObjectType) -> Result<Vec<u8>, HistoryError> + 'a;

/// The commit, the trees on the way to these folders and in them, and their files. Of files only the names are read.
fn reach(
    commit: &CommitId,
    folders: &BTreeSet<RepoPath>,
    format: ObjectFormat,
    read: &mut Reader<'_>,
) -> Result<BTreeMap<Oid, ObjectType>, HistoryError> {
    let id = oid(commit, format).ok_or_else(|| HistoryError::Missing { object: format!("commit {commit}") })?;
    let root = tree_of(commit, &read(id, ObjectType::Commit)?, format)?;
    let mut found = BTreeMap::from([(id, ObjectType::Commit)]);
    let (mut ahead, mut left) = (vec![(root, RepoPath::root())], MAX_ENTRIES);
    while let Some((tree, path)) = ahead.pop() {
        let malformed = || HistoryError::Malformed { object: format!("tree {tree} ({path}) is malformed") };
        let entries = parse(&read(tree, ObjectType::Tree)?, format).map_err(|_| malformed())?;
        left = left.checked_sub(entries.len() as u64 + 1).ok_or_else(|| HistoryError::Limit {
            what: format!("entries of the trees of commit {commit}"),
            limit: MAX_ENTRIES,
        })?;
        found.insert(tree, ObjectType::Tree);
        for (name, node) in entries {
            let here = path.join(&name).map_err(|_| malformed())?;
            let is_within = folders.iter().any(|folder| here.starts_with(folder));
            match node {
                Node::Folder(id) if is_within || folders.iter().any(|folder| folder.starts_with(&here)) => {
                    ahead.push((id, here));
                }
                Node::File(_, id) if is_within => drop(found.insert(id, ObjectType::Blob)),
                Node::Folder(_) | Node::File(..) => {}
            }
        }
    }
    Ok(found)
}
