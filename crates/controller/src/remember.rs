//! What `expected/` is told: what each answer taught about an object.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use manifest::{Digest, ObjectRef};
use plan::DesiredObject;

use crate::{
    expected::{ExpectedRecord, ExpectedStore},
    state::State,
};

/// Whether a write may wait for the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// If one is under way everything waits for a later turn.
    WhenFree,
    /// There is no later turn.
    Now,
}

/// Says that the thread is free again, however the write ended.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl State {
    /// Tells `expected/` what the answer to an apply of `body` taught. `made`: what our create came to.
    pub(crate) fn remember(
        &self,
        object: Option<&DesiredObject>,
        seen: &cluster::Sighting,
        made: Option<(Vec<u8>, Vec<String>)>,
        body: Option<Digest>,
    ) {
        let (Some(object), Some(applied)) = (object, body) else { return };
        if applied != object.digest {
            // The answer to an older body teaches nothing about the declared one.
            return;
        }
        let known = self.live.expected(&object.reference);
        if made.is_none() && known.is_some_and(|known| known.applied == applied && *known.uid == *seen.uid) {
            return;
        }
        let raw = |bytes: Vec<u8>| {
            String::from_utf8(bytes).ok().and_then(|text| serde_json::value::RawValue::from_string(text).ok())
        };
        let (baseline, surplus) = made.unzip();
        self.expected.remember(ExpectedRecord {
            object: object.reference.clone(),
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
            generation: seen.generation,
            applied,
            baseline: baseline.and_then(raw),
            surplus,
            added: known.filter(|known| *known.uid == *seen.uid).map(|known| known.added.clone()).unwrap_or_default(),
        });
    }

    /// Tells `expected/` what others added to an object, or took away again, if that is news. It is left alone.
    pub(crate) fn remember_added(&mut self, reference: &ObjectRef) {
        let Some(expected) = self.live.take_added(reference) else { return };
        let added = expected.added.clone();
        tracing::debug!(object = %reference, fields = ?added.paths, more = added.more, "what others added is left alone");
        self.expected.remember(ExpectedRecord {
            object: reference.clone(),
            uid: expected.uid.to_string(),
            resource_version: expected.resource_version.to_string(),
            generation: expected.generation,
            applied: expected.applied,
            baseline: None,
            surplus: None,
            added,
        });
    }

    pub(crate) fn forget(&self, reference: &ObjectRef) {
        self.expected.forget(reference);
    }

    /// Writes what was learnt since the last turn, with one sync, off the loop.
    pub(crate) fn flush_expected(&self, when: Flush) {
        if when == Flush::Now {
            // Waits for the write that is under way, if one is.
            return write(&self.expected);
        }
        if self.expected_busy.load(Ordering::Acquire) || !self.expected.is_due(Instant::now()) {
            // One thread and one sync at a time: the next turn takes all that came meanwhile.
            return;
        }
        let (store, busy) = (self.expected.clone(), self.expected_busy.clone());
        busy.store(true, Ordering::Release);
        tokio::task::spawn_blocking(move || {
            let _done = Done(busy);
            write(&store);
        });
    }
}

/// Writes what was learnt so far. Blocking. What cannot be written is tried again.
pub(crate) fn write(store: &ExpectedStore) {
    if let Err(error) = store.flush() {
        // Objects without a record are compared by their declaration all the same.
        tracing::warn!(error = %error, "expected/ was not written; it is tried again");
    }
}
