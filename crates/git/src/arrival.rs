//! What a fetch brings stands apart until the size of every object of it is known. Nobody reads it there, and whatever
//! ends the fetch early leaves nothing in the mirror.
//!
//! A pack that was fetched is complete: it holds the objects that those in it are stored as differences to. Once none of
//! its objects is too large, nobody who reads one of them has to make anything larger.
//!
//! What came is not yet what was accepted: whoever may push can push as much again and again. It is kept beside the
//! objects of the mirror until a commit of it is pinned; then its packs move there, also with what lies above that commit and
//! was refused, which goes when the mirror is compacted. Otherwise the next fetch removes it.
//! Since a fetch offers nothing but pins as known, what is accepted later does not rest on what was removed.

use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use git2::{ObjectType, Odb, Oid, Repository, RepositoryInitOptions};

use trust::{MAX_TAG_BYTES, ObjectFormat};

use crate::{
    exchange::ExchangeError,
    format::{self, for_git2},
    objects::MAX_COMMIT_BYTES,
    pins::PINS,
};

/// A repository inside the mirror that lives for one fetch.
const ARRIVING: &str = "arriving";
/// Its packs.
const ARRIVING_PACKS: &str = "arriving/objects/pack";
/// The objects of the head that was fetched last, as long as no commit of them is pinned.
pub(crate) const FETCHED: &str = "incoming";
/// Their packs.
pub(crate) const FETCHED_PACKS: &str = "incoming/pack";
/// The packs that stay.
pub(crate) const PACKS: &str = "objects/pack";

/// Bytes of a pack's index before its ids: mark and version, and how many ids begin with at most each byte.
const INDEX_HEAD: u64 = 8 + 256 * 4;

/// Makes the place where a fetch arrives, in the mirror that is the working directory.
///
/// A fetch offers the server as known what the refs of its repository lead to, and libgit2 parses it for that. This one
/// has the pins of the mirror and nothing else: what was judged. Anything else may be what libgit2 cannot parse, or a
/// history without end, and would keep every later fetch from succeeding.
pub(crate) fn open() -> Result<Repository, git2::Error> {
    let mirror = Repository::open_bare(".")?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).no_reinit(true).object_format(mirror.object_format());
    let apart = Repository::init_opts(ARRIVING, &options)?;
    let odb = apart.odb()?;
    odb.add_disk_alternate("objects")?;
    for pin in mirror.references_glob(&format!("{PINS}*"))? {
        let pin = pin?;
        // What a damaged mirror has lost is fetched again.
        if let Some(id) = pin.target().filter(|id| odb.exists(*id)) {
            apart.reference(pin.name()?, id, true, "")?;
        }
    }
    drop(odb);
    Ok(apart)
}

/// The format of the mirror that is the working directory.
pub(crate) fn format() -> Result<ObjectFormat, git2::Error> {
    Ok(format::of(Repository::open_bare(".")?.object_format()))
}

/// Removes what a fetch left.
pub(crate) fn remove(mirror: &Path) -> io::Result<()> {
    match fs::remove_dir_all(mirror.join(ARRIVING)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn is(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension == ending)
}

/// The objects of a pack, by its index: 20 MB for a million.
pub(crate) fn ids(index: &Path, format: ObjectFormat) -> io::Result<Vec<Oid>> {
    let mut table = BufReader::new(File::open(index)?);
    table.seek(SeekFrom::Start(INDEX_HEAD - 4))?;
    let mut count = [0; 4];
    table.read_exact(&mut count)?;
    let mut id = vec![0; format.id_bytes()];
    let next = |_| {
        table.read_exact(&mut id)?;
        Oid::from_bytes(&id).map_err(io::Error::other)
    };
    (0..u32::from_be_bytes(count)).map(next).collect()
}

/// Goes over the headers of all objects that came. None of them is made: a header has the size.
pub(crate) fn check_sizes(object_bytes: u64, format: ObjectFormat) -> Result<(), CheckError> {
    let odb = Odb::new_ext(for_git2(format))?;
    odb.add_disk_alternate(&format!("{ARRIVING}/objects"))?;
    for index in files(Path::new(ARRIVING_PACKS))?.iter().filter(|path| is(path, "idx")) {
        for id in ids(index, format)? {
            check_size(&odb, id, object_bytes)?;
        }
    }
    Ok(())
}

fn check_size(odb: &Odb<'_>, id: Oid, limit: u64) -> Result<(), CheckError> {
    let (bytes, kind) = odb.read_header(id)?;
    let (bytes, commit_limit) = (bytes as u64, limit.min(MAX_COMMIT_BYTES));
    if kind == ObjectType::Commit && bytes > commit_limit {
        return Err(ExchangeError::CommitBytes { commit: id.to_string(), bytes, limit: commit_limit }.into());
    }
    let limit = if kind == ObjectType::Tag { limit.min(MAX_TAG_BYTES as u64) } else { limit };
    if bytes > limit {
        return Err(ExchangeError::ObjectBytes { limit }.into());
    }
    Ok(())
}

/// Bytes of the packs that stay, in the mirror that is the working directory.
pub(crate) fn kept_bytes() -> io::Result<u64> {
    bytes(Path::new(PACKS))
}

/// Bytes of the packs that were fetched last.
pub(crate) fn fetched_bytes() -> io::Result<u64> {
    bytes(Path::new(FETCHED_PACKS))
}

/// Bytes of the packs that came.
pub(crate) fn arrived_bytes() -> io::Result<u64> {
    bytes(Path::new(ARRIVING_PACKS))
}

fn bytes(packs: &Path) -> io::Result<u64> {
    files(packs)?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
}

/// Lets in what came, to be judged.
pub(crate) fn let_in() -> io::Result<()> {
    move_packs(Path::new(ARRIVING_PACKS), Path::new(FETCHED_PACKS))?;
    remove(Path::new("."))
}

/// Makes what was fetched last stay.
pub(crate) fn keep(mirror: &Path) -> io::Result<()> {
    move_packs(&mirror.join(FETCHED_PACKS), &mirror.join(PACKS))
}

/// Each pack before its index: a reader sees it whole or not at all.
fn move_packs(from: &Path, to: &Path) -> io::Result<()> {
    let mut files = files(from)?;
    files.sort_by_key(|path| is(path, "idx"));
    for path in &files {
        fs::rename(path, to.join(path.file_name().unwrap_or_default()))?;
    }
    if files.is_empty() { Ok(()) } else { File::open(to)?.sync_all() }
}

/// Removes what was fetched last, each index before its pack.
pub(crate) fn forget(mirror: &Path) -> io::Result<()> {
    let mut files = files(&mirror.join(FETCHED_PACKS))?;
    files.sort_by_key(|path| !is(path, "idx"));
    files.iter().try_for_each(fs::remove_file)
}

/// Whether a commit is among the objects that stay; all that it rests on is there as well then.
pub(crate) fn is_kept(mirror: &Path, commit: Oid) -> Result<bool, git2::Error> {
    let odb = Odb::new_ext(commit.object_format())?;
    odb.add_disk_alternate(&utf8(&mirror.join("objects"))?)?;
    Ok(odb.exists(commit))
}

/// Makes a mirror read what was fetched last beside what stays.
pub(crate) fn show(mirror: &Path, repository: &Repository) -> Result<(), git2::Error> {
    repository.odb()?.add_disk_alternate(&utf8(&mirror.join(FETCHED))?)
}

fn utf8(path: &Path) -> Result<String, git2::Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| git2::Error::from_str("the path is not UTF-8"))
}

/// Why what came is not let in.
#[derive(Debug)]
pub(crate) enum CheckError {
    /// It is too large.
    Refused(ExchangeError),
    /// It cannot be looked at.
    Disk(io::Error),
    /// libgit2 refuses.
    Library(git2::Error),
}

impl From<ExchangeError> for CheckError {
    fn from(error: ExchangeError) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<git2::Error> for CheckError {
    fn from(error: git2::Error) -> Self {
        Self::Library(error)
    }
}
