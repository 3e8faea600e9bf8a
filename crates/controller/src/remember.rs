//! What `expected/` is told: what each answer taught about an object.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use manifest::{Digest, ObjectRef};
use plan::DesiredObject;

use crate::{apply::declared_of, expected::ExpectedRecord, live::served_otherwise, state::State};

/// Whether a record is written even if nothing changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remember {
    /// The object is new.
    New,
    /// Only if another body was applied.
    Keep,
}

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
    /// Writes to `expected/` what an answer taught.
    pub(crate) fn remember(
        &mut self,
        object: Option<&DesiredObject>,
        seen: &cluster::Sighting,
        baseline: Option<Vec<u8>>,
        body: Option<Digest>,
        how: Remember,
    ) {
        let (Some(object), Some(applied)) = (object, body) else { return };
        if applied != object.digest {
            // The answer to an older body teaches nothing about the declared one.
            return;
        }
        let raw = |bytes: Vec<u8>| {
            String::from_utf8(bytes).ok().and_then(|text| serde_json::value::RawValue::from_string(text).ok())
        };
        let known = self.live.expected(&object.reference);
        if how == Remember::Keep && known.is_some_and(|known| known.applied == applied) {
            return;
        }
        let served = served_otherwise(&declared_of(object), seen.raw.json());
        let record = ExpectedRecord {
            object: object.reference.clone(),
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
            generation: seen.generation,
            applied,
            served: served.and_then(raw),
            baseline: baseline.and_then(raw),
        };
        self.pending_records.push(record);
    }

    pub(crate) fn forget(&mut self, reference: &ObjectRef) {
        self.forgotten.push(reference.clone());
    }

    /// Writes what was learnt since the last turn, with one sync, off the loop.
    pub(crate) fn flush_expected(&mut self, when: Flush) {
        if self.pending_records.is_empty() && self.forgotten.is_empty() {
            return;
        }
        if when == Flush::WhenFree && self.expected_busy.load(Ordering::Acquire) {
            // One thread and one sync at a time: the next turn takes all that came meanwhile.
            return;
        }
        let records = std::mem::take(&mut self.pending_records);
        let forgotten = std::mem::take(&mut self.forgotten);
        let (store, busy) = (self.expected.clone(), self.expected_busy.clone());
        busy.store(true, Ordering::Release);
        tokio::task::spawn_blocking(move || {
            let _done = Done(busy);
            // A panic elsewhere left whole lines; the file is checked by digest anyway.
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = store.commit(&records, &forgotten) {
                // Objects without a record are compared by their declared fields.
                tracing::warn!(error = %error, "expected/ was not written");
            }
        });
    }
}
