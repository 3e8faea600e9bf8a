//! Opening a log: from what a crash left to a settled tree.
//!
//! 1. `checkpoint.settled` is durable and signed: the tree starts from there, and its right edge must have that root.
//! 2. Records of the journal from that size on are published again; all files they give are written anew.
//! 3. The tree must contain the tree of `checkpoint`, if that one is whole. 4. Everything is settled, the journal zeroed.

use std::sync::{Arc, RwLock};

use crate::body::read_body;
use crate::checkpoint::Checkpoint;
use crate::entry::Entry;
use crate::error::LogError;
use crate::journal::{self, JOURNAL_BYTES};
use crate::merkle::Hash;
use crate::note::{LogKey, LogPublicKey};
use crate::publish::{CHECKPOINT, Publisher, SETTLED};
use crate::reserve::RESERVE;
use crate::shared::Pending;
use crate::storage::Storage;
use crate::tile::Edge;
use crate::tiles::read_edge;

/// Most bytes of a checkpoint file; see the limit of notes.
pub(crate) const CHECKPOINT_LIMIT: u64 = 96 * 1024;

fn read(storage: &dyn Storage, path: &str, limit: u64) -> Result<Option<Vec<u8>>, LogError> {
    storage.read(path, limit).map_err(|error| LogError::storage("read", path, error))
}

fn read_checkpoint(
    storage: &dyn Storage,
    path: &str,
    key: &LogPublicKey,
) -> Result<Option<Result<Checkpoint, LogError>>, LogError> {
    let bytes = read(storage, path, CHECKPOINT_LIMIT)?;
    Ok(bytes.map(|bytes| match String::from_utf8(bytes) {
        Ok(note) => Checkpoint::parse(&note, key).map_err(LogError::Checkpoint),
        Err(_) => Err(LogError::Checkpoint(crate::note::NoteError::Format)),
    }))
}

pub(crate) fn recover(storage: &Arc<dyn Storage>, key: LogKey) -> Result<Publisher, LogError> {
    let public = key.public().clone();
    let journal = read(&**storage, journal::PATH, JOURNAL_BYTES)?;
    let newest = read_checkpoint(&**storage, CHECKPOINT, &public)?;
    let records = journal.as_deref().map(|bytes| journal::records(bytes).0).unwrap_or_default();
    let settled = read_checkpoint(&**storage, SETTLED, &public)?;
    let (settled, edge) = match settled {
        Some(settled) => (true, settled_edge(&**storage, &settled?)?),
        None => (false, new_edge(&**storage, newest.as_ref(), &records)?),
    };
    let base = edge.size;
    let mut publisher = Publisher::new(Arc::clone(storage), key, edge);
    let shown = RwLock::new(publisher.sign());
    if records.first().is_some_and(|first| first.index > base) {
        return Err(LogError::damaged(journal::PATH, "entries before its first are missing"));
    }
    let signed = newest.as_ref().and_then(|newest| newest.as_ref().ok()).map_or(base, Checkpoint::size);
    let mut entries: Vec<Pending> = Vec::new();
    for record in records.iter().filter(|record| record.index >= base) {
        if record.index >= signed && !has_body(&**storage, record)? {
            // Files of bodies are synced before records: this one and all after it never were.
            break;
        }
        entries.push(Pending::from(record));
    }
    // A log that was closed is settled to the last byte: opening it writes nothing, so that a full volume is no hindrance.
    let closed =
        journal.as_ref().is_some_and(|bytes| bytes.len() as u64 == JOURNAL_BYTES && bytes.iter().all(|b| *b == 0));
    if closed && settled {
        let newest = newest.ok_or_else(|| LogError::damaged(CHECKPOINT, "the file is missing"))??;
        return if newest.size() == base { Ok(publisher) } else { Err(stale(&newest, base)) };
    }
    check_newest(&publisher, newest, &entries)?;
    if journal.is_none() {
        empty_journal(&**storage)?;
    }
    let mut finish = || {
        let missing = entries.get((publisher.size() - base) as usize..).unwrap_or_default();
        publisher.publish(missing, &shown)?;
        publisher.remove_leftovers(base)?;
        publisher.settle(&shown)
    };
    match finish() {
        // What is in the journal was promised: this is what the reserve is for.
        Err(error) if error.is_out_of_space() => {
            storage.remove(RESERVE).map_err(|error| LogError::storage("remove", RESERVE, error))?;
            finish()?;
        }
        result => result?,
    }
    empty_journal(&**storage)?;
    publisher.forget_settled(&shown);
    Ok(publisher)
}

/// The tree of a log that is not there yet. Its journal, then `checkpoint`, then `checkpoint.settled`
/// are made before any entry; more than that without the last one is not a crash's doing.
fn new_edge(
    storage: &dyn Storage,
    newest: Option<&Result<Checkpoint, LogError>>,
    records: &[journal::Record<'_>],
) -> Result<Edge, LogError> {
    let tiles = storage.length("tile").map_err(|error| LogError::storage("read", "tile", error))?;
    let signed = newest.is_some_and(|newest| newest.as_ref().is_ok_and(|newest| newest.size() > 0));
    if tiles.is_some() || signed || !records.is_empty() {
        return Err(LogError::damaged(SETTLED, "the file is missing"));
    }
    Ok(Edge::default())
}

/// Is the body that the entry names there, whole?
fn has_body(storage: &dyn Storage, record: &journal::Record<'_>) -> Result<bool, LogError> {
    let digest = Entry::from_canonical_json(record.entry).ok().and_then(|entry| entry.body_digest());
    let Some(digest) = digest else { return Ok(true) };
    if digest == Hash::of(record.body) {
        return Ok(true);
    }
    match read_body(storage, &digest) {
        Ok(body) => Ok(body.is_some()),
        Err(LogError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn stale(newest: &Checkpoint, base: u64) -> LogError {
    // Somebody put an old (or a foreign) file back.
    LogError::damaged(CHECKPOINT, format!("it is of {} entries, {base} were settled", newest.size()))
}

fn settled_edge(storage: &dyn Storage, settled: &Checkpoint) -> Result<Edge, LogError> {
    let edge = read_edge(storage, settled.size())?;
    if edge.root() == *settled.root() {
        Ok(edge)
    } else {
        Err(LogError::damaged(SETTLED, "the tiles do not have the signed root"))
    }
}

/// What was signed must be in the tree. A checkpoint that is not whole was being written in the
/// crash (it is not synced before it is settled) and is made again.
fn check_newest(
    publisher: &Publisher,
    newest: Option<Result<Checkpoint, LogError>>,
    entries: &[Pending],
) -> Result<(), LogError> {
    let newest = match newest {
        None => return Ok(()),
        Some(Ok(newest)) => newest,
        Some(Err(_)) => return Ok(()),
    };
    let mut edge = publisher.edge().clone();
    let base = edge.size;
    let Some(more) = newest.size().checked_sub(base) else {
        return Err(stale(&newest, base));
    };
    if more > entries.len() as u64 {
        return Err(LogError::damaged(journal::PATH, format!("entries up to {} were signed", newest.size())));
    }
    for entry in entries.iter().take(more as usize) {
        edge.push(&entry.entry);
    }
    if edge.root() == *newest.root() {
        Ok(())
    } else {
        Err(LogError::damaged(CHECKPOINT, "the entries do not have the signed root"))
    }
}

/// Zeroes the whole journal, so that its blocks exist and nothing of an earlier use is left.
fn empty_journal(storage: &dyn Storage) -> Result<(), LogError> {
    let write = |error| LogError::storage("write", journal::PATH, error);
    storage.allocate(journal::PATH, JOURNAL_BYTES).map_err(write)?;
    storage.write_at(journal::PATH, 0, &vec![0; JOURNAL_BYTES as usize]).map_err(write)?;
    storage.sync(journal::PATH).map_err(|error| LogError::storage("sync", journal::PATH, error))?;
    storage.sync_dir("").map_err(|error| LogError::storage("sync", journal::PATH, error))
}
