//! Group commit: one thread syncs the journal, publishes and settles for all who append.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::LogError;
use crate::journal::{self, JOURNAL_BYTES, RECORD_LIMIT};
use crate::publish::Publisher;
use crate::shared::{Pending, Shared, State};
use crate::storage::parents;
use crate::tile::WIDTH;

/// Within this time an entry written as [`Durability::Grouped`](crate::Durability::Grouped) is synced.
const GROUP_WINDOW: Duration = Duration::from_millis(10);
/// A checkpoint is signed at most this often, unless somebody waits for it or a bundle is full. Each one replaces three
/// files, so that one per group would cost more than all the rest of an append.
pub(crate) const PUBLISH_WINDOW: Duration = Duration::from_secs(1);
/// The journal is settled when this much of it is used: three quarters of what can be before somebody has to wait for it.
const SETTLE_AT: u64 = (JOURNAL_BYTES - RECORD_LIMIT as u64) / 4 * 3;
/// Bytes to zero so that no record starts there: more than a record's numbers, at most a record.
const HEAD: u64 = 50;

/// Starts the thread; it ends after [`Shared::close`].
pub(crate) fn start(
    shared: &Arc<Shared>,
    publisher: Publisher,
    publish_window: Duration,
) -> Result<JoinHandle<()>, LogError> {
    let committer = Committer {
        shared: Arc::clone(shared),
        publisher,
        publish_window,
        publish_at: Instant::now(),
        durable_dirs: BTreeSet::new(),
    };
    thread::Builder::new()
        .name("audit-committer".to_owned())
        .spawn(move || committer.run())
        .map_err(|error| LogError::Thread(Arc::new(error)))
}

struct Committer {
    shared: Arc<Shared>,
    publisher: Publisher,
    publish_window: Duration,
    /// When the next checkpoint may be signed without anybody asking for it.
    publish_at: Instant,
    /// Directories of bodies whose own names survive a power cut.
    durable_dirs: BTreeSet<String>,
}

/// However the thread ends, nobody waits for it any longer.
struct Dead<'a>(&'a Shared);

impl Drop for Dead<'_> {
    fn drop(&mut self) {
        self.0.lock().dead = true;
        self.0.done.notify_all();
    }
}

impl Committer {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _dead = Dead(&shared);
        let mut state = shared.lock();
        loop {
            state = self.wait_for_work(&shared, state);
            if state.synced < state.next {
                let gathering = |state: &mut State| state.waiters.is_empty() && !state.is_urgent();
                state = shared
                    .work
                    .wait_timeout_while(state, GROUP_WINDOW, gathering)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            state = self.serve(&shared, state);
            if state.closing {
                state.closing_fault = self.finish(&shared, &mut state);
                return;
            }
            if state.settle_wanted || state.position > SETTLE_AT {
                state = self.sync_ahead(&shared, state);
                state.settle_fault = self.settle(&shared, &mut state).err();
                state.settle_wanted = false;
                state.settlings += 1;
            }
            shared.done.notify_all();
        }
    }

    /// Waits until something is written, asked for, or due.
    fn wait_for_work<'a>(&self, shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let idle = |state: &mut State| state.synced == state.next && !state.is_urgent();
        if state.unpublished.is_empty() {
            return shared.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        }
        let left = self.publish_at.saturating_duration_since(Instant::now());
        shared.work.wait_timeout_while(state, left, idle).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Syncs what is written by now, and publishes if that is due.
    fn serve<'a>(&mut self, shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let state = self.sync(shared, state);
        if state.is_urgent() || state.unpublished.len() as u64 >= WIDTH || self.publish_at <= Instant::now() {
            return self.publish(shared, state);
        }
        state
    }

    /// Syncs what is published, so that settling, which holds the lock, has little left to do. Thousands of bodies may be
    /// among it and appends go on meanwhile, so these are served after every few files. It comes to an end: what they add
    /// must have room in the journal, and what cannot be published is not tried again here.
    fn sync_ahead<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            drop(state);
            let more = self.publisher.sync_ahead();
            state = self.serve(shared, shared.lock());
            if !more || state.publish_fault.is_some() {
                return state;
            }
        }
    }

    /// Syncs what is written by now. The lock is free meanwhile: what is appended then shares the next sync.
    fn sync<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.synced == state.next {
            return state;
        }
        let (target, position) = (state.next, state.position);
        let bodies = std::mem::take(&mut state.bodies);
        drop(state);
        let result = self.sync_files(shared, &bodies);
        let mut state = shared.lock();
        if result.is_err() {
            state.suspect_bodies.extend(bodies);
        }
        settle_waiters(&mut state, target, position, &result, shared);
        shared.done.notify_all();
        state
    }

    /// Publishes what is synced, also without the lock.
    fn publish<'a>(&mut self, shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.publish_wanted = false;
        self.publish_at = Instant::now() + self.publish_window;
        let entries = synced_entries(&state, self.publisher.size());
        if entries.is_empty() {
            return state;
        }
        drop(state);
        let result = self.publish_entries(shared, &entries);
        state = shared.lock();
        self.published(&mut state, entries.len(), result.err());
        shared.done.notify_all();
        state
    }

    fn publish_entries(&mut self, shared: &Shared, entries: &[Pending]) -> Result<(), LogError> {
        shared.drawing_on_reserve(0, || self.publisher.publish(entries, &shared.shown))
    }

    fn published(&self, state: &mut State, count: usize, fault: Option<LogError>) {
        if fault.is_none() {
            state.unpublished.drain(..count);
        }
        state.publish_fault = fault;
    }

    /// Syncs, publishes and settles with the lock held, so that the journal holds nothing afterwards that it is needed for.
    fn settle(&mut self, shared: &Shared, state: &mut State) -> Result<(), LogError> {
        if state.synced < state.next {
            let (target, position) = (state.next, state.position);
            let bodies = std::mem::take(&mut state.bodies);
            let result = self.sync_files(shared, &bodies);
            if result.is_err() {
                state.suspect_bodies.extend(bodies);
            }
            settle_waiters(state, target, position, &result, shared);
            result?;
        }
        let entries = synced_entries(state, self.publisher.size());
        if !entries.is_empty() {
            let result = self.publish_entries(shared, &entries);
            self.published(state, entries.len(), result.clone().err());
            result?;
        }
        shared.drawing_on_reserve(0, || self.publisher.settle(&shared.shown))?;
        // A first record that is no record ends the journal; only then may the old partials go.
        state.journal_unusable = true;
        self.wipe(shared, 0, HEAD)?;
        state.journal_unusable = false;
        self.publisher.forget_settled(&shared.shown);
        (state.position, state.synced_position) = (0, 0);
        Ok(())
    }

    fn sync_files(&mut self, shared: &Shared, bodies: &[String]) -> Result<(), LogError> {
        let storage = &*shared.storage;
        for path in bodies {
            let fault = |error| LogError::storage("sync", path, error);
            storage.sync(path).map_err(fault)?;
            let mut above = parents(path);
            let Some(own) = above.next() else { continue };
            storage.sync_dir(own).map_err(fault)?;
            if !self.durable_dirs.contains(own) {
                above.try_for_each(|directory| storage.sync_dir(directory)).map_err(fault)?;
                self.durable_dirs.insert(own.to_owned());
            }
        }
        storage.sync(journal::PATH).map_err(|error| LogError::storage("sync", journal::PATH, error))
    }

    fn wipe(&self, shared: &Shared, from: u64, to: u64) -> Result<(), LogError> {
        let zeros = vec![0; (to - from) as usize];
        let result = shared.storage.write_at(journal::PATH, from, &zeros);
        result.map_err(|error| LogError::storage("write", journal::PATH, error))?;
        shared.storage.sync(journal::PATH).map_err(|error| LogError::storage("sync", journal::PATH, error))
    }

    /// Settles for good and leaves a journal of zeros.
    fn finish(&mut self, shared: &Shared, state: &mut State) -> Option<LogError> {
        self.settle(shared, state).and_then(|()| self.wipe(shared, 0, JOURNAL_BYTES)).err()
    }
}

/// Entries that survive a power cut and are in no tile yet.
fn synced_entries(state: &State, published: u64) -> Vec<Pending> {
    state.unpublished.iter().take(state.synced.saturating_sub(published) as usize).cloned().collect()
}

/// Takes over how the sync of all below `target` went and tells those who wait.
///
/// After a failed sync nobody knows what the disk holds, and asking again would tell nothing (the
/// kernel drops what it could not write), so everything unsynced is withdrawn, as a power cut would have done.
fn settle_waiters(state: &mut State, target: u64, position: u64, result: &Result<(), LogError>, shared: &Shared) {
    let limit = if result.is_ok() { target } else { u64::MAX };
    state.waiters.retain(|waiter| {
        if waiter.index < limit {
            waiter.tell(result.clone());
        }
        waiter.index >= limit
    });
    if result.is_ok() {
        (state.synced, state.synced_position) = (target, position);
        state.grouped.retain(|index| *index >= target);
        return;
    }
    let withdrawn = (state.next - state.synced) as usize;
    let keep = state.unpublished.len().saturating_sub(withdrawn);
    state.unpublished.truncate(keep);
    state.lost_grouped += state.grouped.len() as u64;
    state.grouped.clear();
    state.bodies.clear();
    (state.next, state.position) = (state.synced, state.synced_position);
    // Records of the withdrawn entries that a later one does not overwrite fail by their epoch.
    state.epoch += 1;
    // Best effort: the disk has just failed; if this fails too, a crash right now may bring the first of them back.
    let end = (state.position + HEAD).min(JOURNAL_BYTES);
    let zeros = vec![0; (end - state.position) as usize];
    drop(shared.storage.write_at(journal::PATH, state.position, &zeros));
}

#[cfg(test)]
mod tests;
