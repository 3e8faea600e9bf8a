//! What appenders and the committer thread share, and the appenders' side of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use crate::body::Carried;
use crate::checkpoint::Checkpoint;
use crate::entry::EntryKind;
use crate::error::LogError;
use crate::journal::{self, JOURNAL_BYTES, RECORD_LIMIT, Record};
use crate::log::Durability;
use crate::merkle::Hash;
use crate::publish::Publisher;
use crate::reserve::Reserve;
use crate::storage::Storage;

/// What appenders and the committer share.
pub(crate) struct State {
    /// Index of the next entry.
    pub(crate) next: u64,
    /// Entries below this index survive a power cut.
    pub(crate) synced: u64,
    /// Written entries that no checkpoint covers yet; the last one has index `next` − 1.
    pub(crate) unpublished: VecDeque<Pending>,
    /// Where the next record goes, and where the first unsynced one lies.
    pub(crate) position: u64,
    pub(crate) synced_position: u64,
    /// Written into records; grows when unsynced ones are withdrawn.
    pub(crate) epoch: u64,
    /// Unsynced entries that were acknowledged as grouped.
    pub(crate) grouped: Vec<u64>,
    pub(crate) lost_grouped: u64,
    /// Files of bodies that must be synced before the records.
    pub(crate) bodies: Vec<String>,
    /// Bodies whose sync failed: they look right, but must be written again to be durable.
    pub(crate) suspect_bodies: BTreeSet<String>,
    /// The journal is being emptied, or that failed: nothing may be written to it before it is empty.
    pub(crate) journal_unusable: bool,
    /// Who waits for a sync.
    pub(crate) waiters: Vec<Waiter>,
    /// Somebody waits for room in the journal.
    pub(crate) settle_wanted: bool,
    /// Somebody waits for a checkpoint that covers what is written.
    pub(crate) publish_wanted: bool,
    /// Counts finished attempts to settle.
    pub(crate) settlings: u64,
    pub(crate) settle_fault: Option<LogError>,
    pub(crate) publish_fault: Option<LogError>,
    pub(crate) closing_fault: Option<LogError>,
    pub(crate) closing: bool,
    /// The committer has ended.
    pub(crate) dead: bool,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) state: Mutex<State>,
    /// Wakes the committer.
    pub(crate) work: Condvar,
    /// Wakes those who wait for it.
    pub(crate) done: Condvar,
    pub(crate) shown: RwLock<Checkpoint>,
    pub(crate) reserve: Reserve,
    pub(crate) bodies: AtomicU64,
}

/// An entry on its way into the tree, with the body that travels with it.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) entry: Arc<[u8]>,
    pub(crate) body: Option<Carried>,
}

impl From<&Record<'_>> for Pending {
    fn from(record: &Record<'_>) -> Self {
        Self { entry: record.entry.into(), body: Carried::new(Hash::of(record.body), record.body) }
    }
}

impl State {
    /// A body that is no file yet.
    pub(crate) fn waiting_body(&self, digest: &Hash) -> Option<Arc<[u8]>> {
        let bodies = self.unpublished.iter().filter_map(|pending| pending.body.as_ref());
        bodies.filter(|body| body.digest == *digest).map(|body| Arc::clone(&body.bytes)).next()
    }

    /// Somebody waits for more than a sync.
    pub(crate) const fn is_urgent(&self) -> bool {
        self.settle_wanted || self.publish_wanted || self.closing
    }
}

/// One append that waits for its entry to be synced.
pub(crate) struct Waiter {
    pub(crate) index: u64,
    outcome: Arc<OnceLock<Result<(), LogError>>>,
}

impl Waiter {
    /// Tells it how the sync went.
    pub(crate) fn tell(&self, result: Result<(), LogError>) {
        // The committer tells each waiter once and forgets it; a second telling would find the first in place.
        drop(self.outcome.set(result));
    }
}

impl Shared {
    pub(crate) fn new(storage: Arc<dyn Storage>, publisher: &Publisher) -> Result<Self, LogError> {
        let reserve = Reserve::open(&*storage)?;
        let state = State {
            next: publisher.size(),
            synced: publisher.size(),
            unpublished: VecDeque::new(),
            position: 0,
            synced_position: 0,
            epoch: 1,
            grouped: Vec::new(),
            lost_grouped: 0,
            bodies: Vec::new(),
            suspect_bodies: BTreeSet::new(),
            journal_unusable: false,
            waiters: Vec::new(),
            settle_wanted: false,
            publish_wanted: false,
            settlings: 0,
            settle_fault: None,
            publish_fault: None,
            closing_fault: None,
            closing: false,
            dead: false,
        };
        Ok(Self {
            storage,
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            shown: RwLock::new(publisher.sign()),
            reserve,
            bodies: AtomicU64::new(0),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.done.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a body while it is written; no two at a time are equal.
    pub(crate) fn temporary_body(&self) -> String {
        // A handful of names, so that what crashes leave behind is overwritten and does not pile up.
        format!("body.{}.tmp", self.bodies.fetch_add(1, Ordering::Relaxed))
    }

    /// Refuses kinds that may not use the reserve while it is short.
    pub(crate) fn admit(&self, kind: EntryKind) -> Result<(), LogError> {
        match self.reserve.fill(&*self.storage) {
            Err(error) if error.is_out_of_space() && kind.may_use_reserve() => Ok(()),
            Err(error) if error.is_out_of_space() => Err(LogError::ReserveOnly { kind: kind.as_str() }),
            result => result,
        }
    }

    /// Repeats `write` while it finds the volume full and the reserve has something to give.
    pub(crate) fn with_reserve(
        &self,
        kind: EntryKind,
        needed: u64,
        write: impl FnMut() -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        if kind.may_use_reserve() {
            return self.drawing_on_reserve(needed, write);
        }
        let mut write = write;
        write().map_err(|error| match error.is_out_of_space() {
            true => LogError::ReserveOnly { kind: kind.as_str() },
            false => error,
        })
    }

    /// The same for what was already promised.
    pub(crate) fn drawing_on_reserve(
        &self,
        needed: u64,
        mut write: impl FnMut() -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        loop {
            let before = self.reserve.left();
            match write() {
                Err(error) if error.is_out_of_space() => {
                    // What another thread took from it meanwhile is free for this one as well.
                    let given = before > self.reserve.left() || self.reserve.shrink(&*self.storage, needed)?;
                    if !given {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// Writes a record and waits as long as the durability asks for. `file` is that of the body, if it has one already.
    pub(crate) fn append(
        &self,
        kind: EntryKind,
        pending: Pending,
        file: Option<String>,
        durability: Durability,
    ) -> Result<u64, LogError> {
        let mut state = self.room()?;
        let body = pending.body.as_ref().map_or(&[][..], |body| &body.bytes);
        let record = Record { epoch: state.epoch, index: state.next, entry: &pending.entry, body }.encode();
        let position = state.position;
        self.with_reserve(kind, record.len() as u64, || {
            self.storage
                .write_at(journal::PATH, position, &record)
                .map_err(|error| LogError::storage("write", journal::PATH, error))
        })?;
        let index = state.next;
        state.position += record.len() as u64;
        state.next += 1;
        state.unpublished.push_back(pending);
        state.bodies.extend(file);
        if durability == Durability::Grouped {
            state.grouped.push(index);
            self.work.notify_one();
            return Ok(index);
        }
        let outcome = Arc::new(OnceLock::new());
        state.waiters.push(Waiter { index, outcome: Arc::clone(&outcome) });
        self.work.notify_one();
        loop {
            match outcome.get() {
                Some(result) => return result.clone().map(|()| index),
                None if state.dead => return Err(LogError::Closed),
                None => state = self.wait(state),
            }
        }
    }

    /// Waits until the journal has room for any record.
    fn room(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let mut state = self.lock();
        loop {
            if state.closing || state.dead {
                return Err(LogError::Closed);
            }
            if !state.journal_unusable && state.position + RECORD_LIMIT as u64 <= JOURNAL_BYTES {
                return Ok(state);
            }
            let attempt = state.settlings;
            state.settle_wanted = true;
            self.work.notify_one();
            while state.settlings == attempt && !state.dead {
                state = self.wait(state);
            }
            if let Some(fault) = state.settle_fault.clone() {
                return Err(fault);
            }
        }
    }

    /// Waits until the checkpoint covers this entry.
    pub(crate) fn wait_published(&self, index: u64) -> Result<(), LogError> {
        let mut state = self.lock();
        loop {
            let published = state.next - state.unpublished.len() as u64;
            if index < published {
                return Ok(());
            }
            if index >= state.next || state.dead {
                return Err(LogError::OutOfRange { index, size: published });
            }
            if let Some(fault) = state.publish_fault.clone() {
                return Err(fault);
            }
            state.publish_wanted = true;
            self.work.notify_one();
            state = self.wait(state);
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }
}
