//! A bare repository that only this crate writes: what was fetched, and pins that keep it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
};

use git2::{Oid, Repository, RepositoryInitOptions};
use rustix::fs::{FlockOperation, flock};
use trust::{CommitId, ObjectFormat, TagId};

use crate::{
    arrival::{self, FETCHED_PACKS},
    code::GitCode,
    compact::{PACKS, packs},
    confinement::Confinement,
    error::GitError,
    exchange::quoted,
    fetch::{ChildError, FetchChild, run},
    format::for_git2,
    inspection::{config, inspect},
    library,
    objects::Objects,
    remote::Remote,
    turns::Turn,
    wire::{Fetched, Reply, Request},
};

/// The last fetched head.
pub(crate) const INCOMING: &str = "refs/writ/incoming";
/// The tag object that leads to it, if the tracked ref is a tag.
pub(crate) const INCOMING_TAG: &str = "refs/writ/tag";
/// The lock of fetches, beside libgit2's own.
const FETCH_LOCK: &str = "writ-fetch.lock";
/// Between the name of a mirror that is being made and what tells attempts apart.
pub(crate) const UNFINISHED: &str = ".new-";
/// Why a mirror cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The file system refuses.
    #[error("{}: could not {operation}", path.display())]
    File {
        /// The mirror.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// libgit2 refuses.
    #[error("{}: could not {operation} ({detail})", path.display())]
    Library {
        /// The mirror.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// libgit2's words.
        detail: String,
    },
    /// Something is there that only another program writes.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// The mirror.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// Another fetch into this mirror is running.
    #[error("{}: another fetch is running", path.display())]
    Busy {
        /// The mirror.
        path: PathBuf,
    },
    /// It was made for a repository of the other object format.
    #[error("{}: its objects have {found} ids, not {wanted}", path.display())]
    Format {
        /// The mirror.
        path: PathBuf,
        /// The format that it has.
        found: ObjectFormat,
        /// The format that it should have.
        wanted: ObjectFormat,
    },
    /// Not a name for a pin.
    #[error("{}: {name:?} is not a name for a pin", path.display())]
    PinName {
        /// The mirror.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

impl MirrorError {
    pub(crate) const fn code(&self) -> GitCode {
        match self {
            Self::Foreign { .. } => GitCode::W604,
            _ => GitCode::W610,
        }
    }

    pub(crate) fn place(&self) -> String {
        let (Self::File { path, .. }
        | Self::Library { path, .. }
        | Self::Foreign { path, .. }
        | Self::Busy { path }
        | Self::Format { path, .. }
        | Self::PinName { path, .. }) = self;
        path.display().to_string()
    }

    pub(crate) fn found(&self) -> String {
        match self {
            Self::File { operation, source, .. } => format!("could not {operation} ({source})"),
            Self::Library { operation, detail, .. } => format!("could not {operation} ({detail})"),
            Self::Foreign { what, .. } => what.clone(),
            Self::Busy { .. } => "another fetch is running".to_owned(),
            Self::Format { found, wanted, .. } => format!("its objects have {found} ids, not {wanted}"),
            Self::PinName { name, .. } => format!("{name:?} is not a name for a pin"),
        }
    }

    pub(crate) fn advice(&self) -> (String, String) {
        let pair = |needed: &str, fix: &str| (needed.to_owned(), fix.to_owned());
        match self {
            Self::File { .. } => {
                pair("a directory that can be read and written", "check space and permissions of the state volume")
            }
            Self::Foreign { .. } => {
                ("a mirror that only writ wrote".to_owned(), format!("rm -r {}", manifest::shell_quote(&self.place())))
            }
            Self::Library { .. } => (
                "an undamaged mirror".to_owned(),
                format!("rm -r {} # it is fetched anew", manifest::shell_quote(&self.place())),
            ),
            Self::Busy { .. } => pair("one fetch at a time", "wait for the other one"),
            Self::Format { wanted, .. } => (
                format!("a mirror of a repository with {wanted} ids, as the introduction of the TrustRoot has"),
                format!(
                    "if the TrustRoot names the right commit: rm -r {} # it is fetched anew",
                    manifest::shell_quote(&self.place())
                ),
            ),
            Self::PinName { .. } => pair("letters, digits, dots, dashes, underscores and slashes", "use another name"),
        }
    }
}

/// A mirror of one remote. `Send` but not `Sync`: open it once per thread, which costs a few `stat` calls. What is
/// pinned never leaves it; what was fetched and is not pinned goes with the next fetch, or if a commit below it was pinned,
/// when the mirror is compacted. It has no working tree.
pub struct Mirror {
    dir: PathBuf,
    objects: Objects,
}

impl Mirror {
    /// Opens a mirror, or creates it (with the directories above it), and checks that nobody else wrote to it. Whoever only
    /// reads takes it as it is; one that is not there yet is made for SHA-1 ids, and by [`Self::open_for`] made anew.
    ///
    /// # Errors
    /// When it cannot be read or created, or holds what another program wrote.
    pub fn open(dir: &Path) -> Result<Self, MirrorError> {
        Self::open_or_create(dir, ObjectFormat::default())
    }

    /// The same for a repository of an object format. A mirror of the other one that holds nothing is made anew.
    ///
    /// # Errors
    /// As [`Self::open`], and when it holds something and is of the other format.
    pub fn open_for(dir: &Path, wanted: ObjectFormat) -> Result<Self, MirrorError> {
        let mirror = Self::open_or_create(dir, wanted)?;
        if mirror.objects.format() == wanted || !mirror.is_empty()? {
            return mirror.of(wanted);
        }
        discard(dir)?;
        Self::open_or_create(dir, wanted)?.of(wanted)
    }

    fn of(self, wanted: ObjectFormat) -> Result<Self, MirrorError> {
        let found = self.objects.format();
        if found == wanted { Ok(self) } else { Err(MirrorError::Format { path: self.dir, found, wanted }) }
    }

    fn is_empty(&self) -> Result<bool, MirrorError> {
        Ok(self.incoming()?.is_none() && self.pins()?.is_empty())
    }

    fn open_or_create(dir: &Path, format: ObjectFormat) -> Result<Self, MirrorError> {
        let library = |operation, detail| MirrorError::Library { path: dir.to_owned(), operation, detail };
        library::prepare().map_err(|detail| library("prepare libgit2", detail))?;
        if !fs::exists(dir).map_err(|source| file(dir, "look for the mirror", source))? {
            create(dir, format)?;
        }
        // Those of a mirror have to be there for as long as it is open.
        fs::create_dir_all(dir.join(FETCHED_PACKS)).map_err(|source| file(dir, "create a folder of packs", source))?;
        inspect(dir)?;
        let failed = |error: git2::Error| library("open the mirror", quoted(error.message()));
        let repository = Repository::open_bare(dir).map_err(failed)?;
        arrival::show(dir, &repository).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), objects: Objects::of(repository) })
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its objects.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Fetches the remote's branch in a child process, and nothing else. Blocks for up to the remote's limit, and before
    /// that until it is the owner's turn: call it on a thread of its own.
    ///
    /// # Errors
    /// When server, way, limits or mirror do not allow it. Nothing but what is pinned is left then.
    pub fn fetch(&self, remote: &Remote, child: &FetchChild) -> Result<Fetched, GitError> {
        let (found, wanted) = (self.objects.format(), remote.tracked.format);
        if found != wanted {
            return Err(MirrorError::Format { path: self.dir.clone(), found, wanted }.into());
        }
        let request = Request::fetch(remote)?;
        let lock = lock_file(&self.dir, FETCH_LOCK)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(MirrorError::Busy { path: self.dir.clone() }.into()),
            Err(error) => return Err(file(&self.dir, "lock the mirror", error.into()).into()),
        }
        // What is there stays there for as long as others have their turn.
        let _turn = Turn::take(&child.owner);
        inspect(&self.dir)?;
        self.clean()?;
        self.forget_unpinned()?;
        let url = || remote.url().to_owned();
        let fetched = match run(child, &self.dir, &request, remote.limits().fetch_seconds) {
            Ok(Reply::Fetched(fetched)) => {
                tell(fetched.confinement);
                Ok(fetched)
            }
            Ok(Reply::Failed(source)) => Err(GitError::Exchange { url: url(), source }),
            Ok(_) => {
                let source = ChildError::Silent { detail: "it answered another question".to_owned() };
                Err(GitError::Child { url: url(), source })
            }
            Err(source) => Err(GitError::Child { url: url(), source }),
        };
        // What came of the fetch stands; what is left behind the next one removes.
        let (tidied, what) = match fetched {
            Err(_) => (self.clean(), "cleaned"),
            Ok(_) => (self.compact(remote, child), "compacted"),
        };
        if let Err(error) = tidied {
            tracing::warn!(mirror = %self.dir.display(), "not {what}: {}", error.found());
        }
        fetched
    }

    /// Makes one pack of many, now and then. That it cannot be done keeps nothing from going on.
    fn compact(&self, remote: &Remote, child: &FetchChild) -> Result<(), MirrorError> {
        let packs = packs(&self.dir).map_err(|source| file(&self.dir, "list the packs", source))?.len();
        if packs == 0 || packs % PACKS != 0 {
            return Ok(());
        }
        match run(child, &self.dir, &Request::compact(remote), remote.limits().fetch_seconds) {
            Ok(Reply::Compacted) => tracing::debug!(mirror = %self.dir.display(), packs, "compacted"),
            Ok(_) => tracing::warn!(mirror = %self.dir.display(), packs, "not compacted: another answer"),
            Err(error) => tracing::warn!(mirror = %self.dir.display(), packs, "not compacted: {error}"),
        }
        Ok(())
    }

    /// The last fetched head; `None` before the first fetch, and after one that failed if what was there before it is
    /// not pinned.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn incoming(&self) -> Result<Option<CommitId>, MirrorError> {
        match self.objects.repository().refname_to_id(INCOMING) {
            Ok(id) => self.commit_id(id).map(Some),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.library("read the fetched head", &error)),
        }
    }

    /// The tag object that leads to the last fetched head, if it came with one.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn incoming_tag(&self) -> Result<Option<TagId>, MirrorError> {
        match self.objects.repository().refname_to_id(INCOMING_TAG) {
            Ok(id) => {
                TagId::from_bytes(id.as_bytes()).map(Some).map_err(|_| self.library_text("read an id", "it is none"))
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.library("read the fetched tag", &error)),
        }
    }

    /// Removes what an interrupted fetch leaves: what arrived, packs without index or the reverse,
    /// their temporary files, locks of refs. Only under the fetch lock.
    fn clean(&self) -> Result<(), MirrorError> {
        arrival::remove(&self.dir).map_err(|source| file(&self.dir, "remove an interrupted fetch", source))?;
        for reference in [INCOMING, INCOMING_TAG] {
            remove(&self.dir, &self.dir.join(format!("{reference}.lock")))?;
        }
        let packs = self.dir.join(arrival::PACKS);
        // A pack that moves there has its index last.
        let _lock = self.lock_pins()?;
        for entry in fs::read_dir(&packs).map_err(|source| file(&self.dir, "list the packs", source))? {
            let path = entry.map_err(|source| file(&self.dir, "list the packs", source))?.path();
            let other = match path.extension().and_then(|extension| extension.to_str()) {
                Some("pack") => Some("idx"),
                Some("idx") => Some("pack"),
                _ => None,
            };
            if !other.is_some_and(|extension| path.with_extension(extension).exists()) {
                remove(&self.dir, &path)?;
            }
        }
        Ok(())
    }

    /// Whoever may push could fill the volume with heads that are refused: what was fetched last makes room. The ref
    /// goes first: it says that the objects are there.
    fn forget_unpinned(&self) -> Result<(), MirrorError> {
        let _lock = self.lock_pins()?;
        // A tag is not pinned; one that is there already costs nothing to fetch again.
        remove(&self.dir, &self.dir.join(INCOMING_TAG))?;
        if let Some(head) = self.incoming()?
            && !self.pins()?.iter().any(|(_, pinned)| *pinned == head)
        {
            remove(&self.dir, &self.dir.join(INCOMING))?;
        }
        arrival::forget(&self.dir).map_err(|source| file(&self.dir, "remove what was fetched last", source))
    }

    pub(crate) fn commit_id(&self, id: Oid) -> Result<CommitId, MirrorError> {
        id.to_string().parse().map_err(|_| self.library_text("read an id", "it is none"))
    }

    pub(crate) fn library(&self, operation: &'static str, error: &git2::Error) -> MirrorError {
        self.library_text(operation, error.message())
    }

    pub(crate) fn library_text(&self, operation: &'static str, detail: &str) -> MirrorError {
        MirrorError::Library { path: self.dir.clone(), operation, detail: quoted(detail) }
    }
}

/// Says once how fetch processes are confined: it is the same for all of them.
fn tell(confinement: Confinement) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| tracing::info!("processes that fetch are {confinement}"));
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("dir", &self.dir).finish_non_exhaustive()
    }
}

pub(crate) fn file(path: &Path, operation: &'static str, source: io::Error) -> MirrorError {
    MirrorError::File { path: path.to_owned(), operation, source }
}

pub(crate) fn remove(mirror: &Path, path: &Path) -> Result<(), MirrorError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(file(mirror, "remove what an interrupted write left", error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn lock_file(dir: &Path, name: &str) -> Result<File, MirrorError> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(dir.join(name))
        .map_err(|source| file(dir, "open a lock", source))
}

/// A place beside a mirror that nobody takes for one.
fn beside(dir: &Path) -> PathBuf {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let mut name = dir.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(format!("{UNFINISHED}{}-{}", std::process::id(), ATTEMPTS.fetch_add(1, Ordering::Relaxed)));
    dir.with_file_name(name)
}

/// Removes a mirror: it is whole or absent.
fn discard(dir: &Path) -> Result<(), MirrorError> {
    let away = beside(dir);
    fs::rename(dir, &away)
        .and_then(|()| fs::remove_dir_all(&away))
        .map_err(|source| file(dir, "remove an empty mirror of the other object format", source))
}

/// Creates the mirror beside its place and moves it there: it is whole or absent.
fn create(dir: &Path, format: ObjectFormat) -> Result<(), MirrorError> {
    let failed = |operation| move |source| file(dir, operation, source);
    let fresh = beside(dir);
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(file(dir, "remove a half-made mirror", error));
        }
        _ => {}
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&fresh).map_err(failed("create the mirror"))?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).no_reinit(true).object_format(for_git2(format));
    Repository::init_opts(&fresh, &options).map_err(|error| MirrorError::Library {
        path: dir.to_owned(),
        operation: "create the mirror",
        detail: quoted(error.message()),
    })?;
    fs::write(fresh.join("config"), config(format)).map_err(failed("write the mirror's settings"))?;
    match fs::rename(&fresh, dir) {
        // Another thread was faster.
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            fs::remove_dir_all(&fresh).map_err(failed("remove a second mirror"))
        }
        result => result.map_err(failed("put the mirror in its place")),
    }
}
