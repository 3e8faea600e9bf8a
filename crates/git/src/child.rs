//! The fetch child: a process that lives for one fetch, confined and under limits of its own, so that a hostile
//! server or pack harms nothing else.

use std::{
    env,
    io::{Read, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use git2::{AutotagOption, FetchOptions, FetchPrune, ObjectType, Oid, RemoteCallbacks, RemoteRedirect, Repository};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use trust::{CommitId, Head, ObjectFormat, TagId};

use crate::{
    arrival::{self, CheckError},
    budget::Budget,
    compact::compact,
    confinement::{Confinement, confine},
    exchange::{ExchangeError, quoted},
    format::oid,
    library, memory,
    mirror::{INCOMING, INCOMING_TAG},
    remote::{Limits, Remote},
    transport::{ADDRESS, Session, register},
    wire::{Fetched, MAX_REQUEST_BYTES, Reply, Request, Task},
};

/// Where the head arrives, in the repository of the fetch.
const ARRIVED: &str = "refs/writ/arrived";
/// Memory beside what the objects need: libgit2's caches (16 and 8 MiB), 150 certificates and TLS (2 MiB), the data of
/// the program (10 MiB in a debug build); rounded up. With the default limits that makes 48 + 3×32 + 183 = 327 MiB.
const BASE_MEMORY: u64 = 48 << 20;
/// Address space beside memory, which is files that the kernel may drop: the program and its libraries (200 MiB in a
/// debug build), mapped windows of packs (64 MiB), indexes of a million objects (48 MiB), twice.
const MAPPED: u64 = 384 << 20;
/// A difference, its base and its result are in memory at once.
const OBJECTS_IN_MEMORY: u64 = 3;
/// Memory of the indexer per object: entry, id and offset. libgit2's ids have room for those of SHA-256, and there are two.
const MEMORY_PER_OBJECT: u64 = 192;
/// Index of a pack per object: id 32 (SHA-256), checksum 4, offset 4, large offset 8 bytes; rounded up.
const INDEX_PER_OBJECT: u64 = 52;
/// Descriptors: three standard streams, a socket, a few packs and refs; a mirror of many packs has more.
const MAX_DESCRIPTORS: u64 = 512;

/// The hidden subcommand: reads one request from `input`, fetches into the mirror that is the
/// working directory, writes one reply to `output`. Call it first thing in `main`, in a process
/// without other threads, started by [`crate::Mirror::fetch`].
pub fn fetch_child(input: impl Read, mut output: impl Write) -> ExitCode {
    let reply = answer(input).unwrap_or_else(Reply::Broken);
    let written = serde_json::to_vec(&reply)
        .map_err(std::io::Error::from)
        .and_then(|bytes| output.write_all(&bytes).and_then(|()| output.flush()));
    // The parent judges by the reply alone; without one it knows that the child failed.
    match (written, reply) {
        (Ok(()), Reply::Fetched(_) | Reply::Compacted) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn answer(input: impl Read) -> Result<Reply, String> {
    let mut bytes = Vec::new();
    input
        .take(MAX_REQUEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("the request could not be read ({error})"))?;
    if bytes.len() as u64 > MAX_REQUEST_BYTES {
        return Err("the request is too long".to_owned());
    }
    // serde's message could quote a credential.
    let request: Request = serde_json::from_slice(&bytes).map_err(|_| "the request is malformed".to_owned())?;
    let task = request.task;
    let room = limit(request.parent, request.limits())?;
    let confinement = confine(request.port().map_err(|error| error.to_string())?)?;
    library::prepare()?;
    if task == Task::Compact {
        let fetched =
            arrival::fetched_bytes().map_err(|error| format!("the packs could not be looked at ({error})"))?;
        return compact(room.saturating_sub(fetched)).map(|()| Reply::Compacted);
    }
    let format = arrival::format().map_err(|error| quoted(error.message()))?;
    let remote = request.into_remote(format).map_err(|error| error.to_string())?;
    match fetch(&remote, confinement) {
        Ok(fetched) => Ok(Reply::Fetched(fetched)),
        Err(Failure::Exchange(error)) => Ok(Reply::Failed(error)),
        Err(Failure::Memory) => Ok(Reply::OutOfMemory),
        Err(Failure::Local(detail)) => Err(detail),
    }
}

/// Limits of this process, and its end with its parent's. Returns how many bytes a pack may have that it writes.
fn limit(parent: u32, limits: &Limits) -> Result<u64, String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("no parent-death signal ({error})"))?;
    // The parent may have ended before the signal was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(parent) {
        return Err("the parent is gone".to_owned());
    }
    let objects = OBJECTS_IN_MEMORY.saturating_mul(limits.object_bytes);
    let table = MEMORY_PER_OBJECT.saturating_mul(limits.objects);
    let index = INDEX_PER_OBJECT.saturating_mul(limits.objects);
    let memory = BASE_MEMORY.saturating_add(objects).saturating_add(table);
    // A pack holds what was received, and bases from the mirror that complete it.
    let pack = limits.bytes.saturating_mul(2);
    let kept = arrival::kept_bytes().map_err(|error| format!("the packs could not be looked at ({error})"))?;
    let room = limits.mirror_bytes.saturating_sub(kept).min(pack);
    for (resource, value) in [
        (Resource::Data, memory),
        (Resource::As, memory.saturating_add(MAPPED).saturating_add(index)),
        // One thread cannot use more than the time it has; this holds when nobody watches the clock.
        (Resource::Cpu, limits.fetch_seconds.saturating_add(1)),
        (Resource::Fsize, room.saturating_add(index)),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
            .map_err(|error| format!("the limit {resource:?} could not be set ({error})"))?;
    }
    Ok(room)
}

enum Failure {
    Exchange(ExchangeError),
    Memory,
    Local(String),
}

/// Whether a failure is that of an allocation or of a mapping.
fn is_memory(error: &git2::Error) -> bool {
    error.class() == git2::ErrorClass::NoMemory || error.message().contains("Cannot allocate memory")
}

impl From<git2::Error> for Failure {
    fn from(error: git2::Error) -> Self {
        if is_memory(&error) { Self::Memory } else { Self::Local(quoted(error.message())) }
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Refused(error) => Self::Exchange(error),
            CheckError::Disk(error) => error.into(),
            CheckError::Library(error) => error.into(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Local(quoted(&error.to_string()))
    }
}

fn fetch(remote: &Remote, confinement: Confinement) -> Result<Fetched, Failure> {
    let limits = remote.limits;
    let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    library::limit_packs(as_size(limits.objects), as_size(limits.object_bytes))?;
    let budget = Budget::new(limits.fetch_seconds, limits.bytes);
    let session = Session::new(remote.client.clone(), remote.tracked.clone(), budget);
    register(&session)?;
    let repository = arrival::open()?;
    let room = Room::of(&limits)?;
    let objects = download(&repository, remote, &session, &room).map_err(|error| explain(&error, &session, &limits))?;
    let reference = || remote.tracked.reference.to_string();
    let Ok(arrived) = repository.refname_to_id(ARRIVED) else {
        return Err(Failure::Exchange(ExchangeError::RefMissing { reference: reference() }));
    };
    arrival::check_sizes(limits.object_bytes, remote.tracked.format)?;
    let Some(head) = led_to(&repository, arrived, remote.tracked.format)? else {
        return Err(Failure::Exchange(ExchangeError::NotACommit { reference: reference() }));
    };
    if arrival::arrived_bytes()? > room.bytes {
        return Err(Failure::Exchange(room.exceeded));
    }
    arrival::let_in()?;
    let mirror = Repository::open_bare(".")?;
    arrival::show(Path::new("."), &mirror)?;
    let commit =
        oid(&head.commit, remote.tracked.format).ok_or_else(|| Failure::Local("an id that is none".to_owned()))?;
    if head.tag.is_some() {
        mirror.reference(INCOMING_TAG, arrived, true, "")?;
    }
    mirror.reference(INCOMING, commit, true, "")?;
    let Head { commit: head, tag } = head;
    Ok(Fetched { head, tag, bytes: session.received(), objects, requests: session.requests(), confinement })
}

/// The commit that what arrived is or, as a tag, names itself; a tag of anything else leads nowhere.
fn led_to(repository: &Repository, arrived: Oid, format: ObjectFormat) -> Result<Option<Head>, git2::Error> {
    let odb = repository.odb()?;
    let commit = |id: &str| id.parse::<CommitId>().ok().filter(|id| id.format() == format);
    match odb.read_header(arrived)?.1 {
        ObjectType::Commit => Ok(commit(&arrived.to_string()).map(|commit| Head { commit, tag: None })),
        ObjectType::Tag => {
            let tag = odb.read(arrived)?;
            let mut lines = tag.data().split(|byte| *byte == b'\n');
            let named = lines.next().and_then(|line| std::str::from_utf8(line.strip_prefix(b"object ")?).ok());
            let (Some(named), Some(b"type commit")) = (named.and_then(commit), lines.next()) else { return Ok(None) };
            Ok(Some(Head { commit: named, tag: TagId::from_bytes(arrived.as_bytes()).ok() }))
        }
        _ => Ok(None),
    }
}

/// How much the mirror that is the working directory may take.
struct Room {
    bytes: u64,
    /// What it is called when that is not enough.
    exceeded: ExchangeError,
}

impl Room {
    fn of(limits: &Limits) -> Result<Self, Failure> {
        let mirror = env::current_dir()?.display().to_string();
        Ok(Self {
            bytes: limits.mirror_bytes.saturating_sub(arrival::kept_bytes()?),
            exceeded: ExchangeError::MirrorBytes { mirror, limit: limits.mirror_bytes },
        })
    }
}

/// Fetches exactly one ref; a forced push may arrive, for what it means is not decided here.
fn download(repository: &Repository, remote: &Remote, session: &Arc<Session>, room: &Room) -> Result<u64, git2::Error> {
    let limit = remote.limits.objects;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|progress| {
        let within = progress.total_objects() as u64 <= limit;
        if !within {
            session.fail(ExchangeError::Objects { limit });
        }
        let fits = progress.received_bytes() as u64 <= room.bytes;
        if !fits {
            session.fail(room.exceeded.clone());
        }
        within && fits
    });
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .download_tags(AutotagOption::None)
        .prune(FetchPrune::Off)
        .update_fetchhead(false)
        .follow_redirects(RemoteRedirect::None);
    let mut source = repository.remote_anonymous(ADDRESS)?;
    source.fetch(&[format!("+{}:{ARRIVED}", remote.tracked.reference)], Some(&mut options), Some(""))?;
    Ok(source.stats().received_objects() as u64)
}

/// libgit2 tells what went wrong in words only; what our own code saw first is more exact.
fn explain(error: &git2::Error, session: &Session, limits: &Limits) -> Failure {
    if let Some(failure) = session.failure() {
        return Failure::Exchange(failure);
    }
    let message = error.message();
    Failure::Exchange(if memory::refused() {
        ExchangeError::ObjectBytes { limit: limits.object_bytes }
    } else if message.contains("too many objects") {
        ExchangeError::Objects { limit: limits.objects }
    } else if message.contains("overly large object") {
        ExchangeError::ObjectBytes { limit: limits.object_bytes }
    } else if ["early EOF", "unexpected end", "could not read from remote"].iter().any(|end| message.contains(end)) {
        ExchangeError::Truncated
    } else if let Some(words) = message.strip_prefix("remote error: ") {
        ExchangeError::Server { message: quoted(words) }
    } else if message.contains("target OID for the reference doesn't exist") {
        ExchangeError::Protocol { detail: "the pack comes without the commit that was asked for".to_owned() }
    } else if is_memory(error) {
        return Failure::Memory;
    } else if matches!(error.class(), git2::ErrorClass::Os | git2::ErrorClass::Filesystem) {
        return Failure::Local(quoted(message));
    } else {
        ExchangeError::Protocol { detail: quoted(message) }
    })
}
