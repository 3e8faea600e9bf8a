//! What is known of drift: a projection of the log that is kept up while entries are written, and read from it at a start.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use audit::Entry;
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{Cause, DriftFact, DriftState, EntryView, Record, Records, SyncRef, UNDECLARED};

use crate::{
    drift_snapshot::{self, Rebuilt},
    event::Event,
    journal::Over,
    report::chain,
    state::{Dirty, Resume, State},
};

/// Drifts that are over and kept in memory: what is shown of them is in the log. With about 600 bytes each 150 kB.
const MAX_CLOSED_LIVE: usize = 256;

/// The snapshot is made anew when the log has so many entries more: a start reads them in a fraction of a second.
const RENEW_AFTER: u64 = 20_000;
/// And at most this often.
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// What is known of drift.
#[derive(Debug)]
pub(crate) struct History {
    records: Records,
    /// Facts since those that are over were counted last.
    folded: usize,
    /// How many entries the snapshot, or the start, knew.
    snapshot: u64,
    /// When the snapshot was made anew last; `None` while that goes on.
    renewed: Option<Instant>,
}

/// An entry as [`plan::facts`] reads it.
pub(crate) fn view(index: u64, entry: &Entry) -> EntryView<'_> {
    EntryView {
        index,
        kind: entry.kind.as_str(),
        time: &entry.time,
        subject: &entry.subject,
        codes: &entry.codes,
        counts: &entry.counts,
    }
}

impl History {
    /// What the log told at the start.
    pub(crate) fn new(rebuilt: Rebuilt) -> Self {
        let Rebuilt { mut records, size, tail, .. } = rebuilt;
        records.keep_closed(MAX_CLOSED_LIVE);
        Self { records, folded: 0, snapshot: size.saturating_sub(tail), renewed: Some(Instant::now()) }
    }

    fn fold(&mut self, fact: &DriftFact) {
        self.records.fold(fact);
        self.folded += 1;
        // Looking through them costs as much as there are of them.
        if self.folded > MAX_CLOSED_LIVE {
            self.records.keep_closed(MAX_CLOSED_LIVE);
            self.folded = 0;
        }
    }

    /// The drifts of a Sync that are open.
    pub(crate) fn open_of_sync<'a>(&'a self, sync: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.open().filter(move |record| record.sync == sync)
    }
}

impl State {
    /// Takes in what the entries since then say.
    pub(crate) fn follow_history(&mut self) {
        for fact in self.journal.take_told() {
            self.metrics.drift.count(&fact);
            self.history.fold(&fact);
        }
    }

    /// These objects are as declared: what was open of them is over, and the log says so.
    pub(crate) fn drift_over(&mut self, sync: &SyncRef, objects: &[ObjectRef], now: Timestamp) {
        self.follow_history();
        if self.history.records.open().next().is_none() {
            return;
        }
        for object in objects {
            if self.live.contested(object).is_empty() {
                self.close(&sync.to_string(), &object.to_string(), now);
            }
        }
    }

    fn close(&mut self, sync: &str, object: &str, now: Timestamp) {
        let is_late = |record: &Record| record.failed.is_some() || record.state == DriftState::Contested;
        let Some(late) = self.history.records.open_of(object).map(is_late).reduce(|one, other| one || other) else {
            return;
        };
        let over = if late { Over::RevertedLate } else { Over::Lifted };
        let accepted = sync_ref(sync).and_then(|sync| self.syncs.get(&sync)?.accepted.clone());
        let declared = accepted.as_ref().map(|state| state.iter().find(|one| one.reference.to_string() == object));
        let declared = match declared {
            Some(Some(object)) => Cause::declared(object),
            Some(None) => Some(UNDECLARED.to_owned()),
            None => None,
        };
        if let Err(error) = self.journal.drift_over(now, sync, object, (over, declared.as_deref())) {
            self.log_failed(&error);
            return;
        }
        self.follow_history();
        self.dirty.extend(sync_ref(sync).map(Dirty::Sync));
    }

    /// Makes the snapshot anew, if the log has grown by much: beside the loop, from the log.
    pub(crate) fn keep_history(&mut self) {
        let grown = self.journal.log().checkpoint().size().saturating_sub(self.history.snapshot);
        if grown < RENEW_AFTER || self.history.renewed.is_none_or(|at| at.elapsed() < RENEW_PAUSE) {
            return;
        }
        self.history.renewed = None;
        let (log, dir) = (self.journal.log().clone(), self.options.state_dir.join(drift_snapshot::FOLDER));
        self.blocking(
            move || {
                Event::DriftKept(drift_snapshot::renew(&log, &dir).map(|kept| kept.size).map_err(|error| chain(&error)))
            },
            |why| Event::DriftKept(Err(why)),
        );
    }

    /// The snapshot was made anew, of so many entries, or not.
    pub(crate) fn drift_kept(&mut self, result: Result<u64, String>) {
        self.history.renewed = Some(Instant::now());
        match result {
            Ok(size) => self.history.snapshot = size,
            Err(why) => tracing::warn!(why, "what is known of drift cannot be kept; a start reads more of the log"),
        }
    }

    /// What is open of objects that their Sync no longer declares is over.
    pub(crate) fn close_undeclared(&mut self, now: Timestamp) {
        self.follow_history();
        if self.log_problem.is_some() {
            return;
        }
        let syncs: BTreeSet<String> = self.history.records.open().map(|record| record.sync.clone()).collect();
        for name in syncs {
            let state = sync_ref(&name).and_then(|sync| self.syncs.get(&sync));
            let Some(state) = state.filter(|state| state.resume == Resume::Done && !state.gone) else { continue };
            let Some(accepted) = state.accepted.clone() else { continue };
            let declared: BTreeSet<String> = accepted.iter().map(|object| object.reference.to_string()).collect();
            let gone: BTreeSet<String> = self
                .history
                .open_of_sync(&name)
                .filter(|record| !declared.contains(&record.object))
                .map(|record| record.object.clone())
                .collect();
            for object in gone {
                self.close(&name, &object, now);
            }
        }
    }
}

fn sync_ref(name: &str) -> Option<SyncRef> {
    let (namespace, name) = name.split_once('/')?;
    Some(SyncRef { namespace: namespace.to_owned(), name: name.to_owned() })
}
