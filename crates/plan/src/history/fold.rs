//! The fold: facts in, records out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DriftFact, DriftId, DriftState, Record, Seen, UNDECLARED};
use crate::PlanCode;

/// The most drifts that are over and kept: with about 600 bytes each a snapshot of 6 MB.
pub const MAX_CLOSED: usize = 10_000;
/// The most drifts that are open and kept: two for each of 10,000 managed objects. What is beyond is counted.
pub const MAX_OPEN: usize = 20_000;

/// Every drift that is known. As JSON it is a snapshot: facts that are folded into what is read back from it give what they would
/// have given here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Snapshot")]
pub struct Records {
    records: BTreeMap<DriftId, Record>,
    /// Newest revision of each Sync and who signed it.
    accepted: BTreeMap<String, Accepted>,
    /// Drifts that were seen and for which there was no room.
    more: u64,
    /// Those that are open, by object.
    #[serde(skip)]
    open: BTreeMap<String, BTreeSet<DriftId>>,
    /// How many are open.
    #[serde(skip)]
    open_count: usize,
    /// The drift of each object that was seen last: what is said of an object without naming the drift is about it.
    newest: BTreeMap<String, DriftId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Accepted {
    commit: String,
    signer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Snapshot {
    records: BTreeMap<DriftId, Record>,
    accepted: BTreeMap<String, Accepted>,
    more: u64,
    newest: BTreeMap<String, DriftId>,
}

impl From<Snapshot> for Records {
    fn from(Snapshot { records, accepted, more, newest }: Snapshot) -> Self {
        let mut open: BTreeMap<String, BTreeSet<DriftId>> = BTreeMap::new();
        let mut open_count = 0;
        for (id, record) in records.iter().filter(|(_, record)| record.state.is_open()) {
            open.entry(record.object.clone()).or_default().insert(id.clone());
            open_count += 1;
        }
        Self { records, accepted, more, open, open_count, newest }
    }
}

impl Records {
    /// Takes in what an entry says.
    pub fn fold(&mut self, fact: &DriftFact) {
        match fact {
            DriftFact::Accepted { sync, commit, signer } => {
                let accepted = Accepted { commit: commit.clone(), signer: signer.clone() };
                self.accepted.insert(sync.clone(), accepted);
            }
            DriftFact::Seen(seen) => self.seen(seen),
            DriftFact::Counted { object, times, at } => {
                if let Some(record) = self.newest_of(object) {
                    record.count = record.count.saturating_add(*times);
                    record.last = record.last.max(*at);
                }
            }
            DriftFact::TurnedOut { object, code } => {
                if let Some(record) = self.newest_of(object) {
                    record.code.clone_from(code);
                }
            }
            DriftFact::Failed { object, code, .. } => {
                let Some(id) = self.newest.get(object).cloned() else { return };
                self.put(&id, DriftState::Open, "the revert failed");
                if let Some(record) = self.records.get_mut(&id) {
                    record.failed = Some(code.clone());
                }
            }
            DriftFact::RevertedLate { object, .. } => self.close(object, |_| (DriftState::Reverted, "put back later")),
            DriftFact::Lifted { object, declared } => self.close(object, |record| {
                let is_undeclared = declared.as_deref() == Some(UNDECLARED);
                let is_known = declared.is_some() && record.cause.declared.is_some();
                if is_undeclared || is_known && *declared != record.cause.declared {
                    (DriftState::Accepted, "a newer commit says what is live, or no longer declares it")
                } else {
                    (DriftState::Reverted, "it is as declared again, and not by writ")
                }
            }),
            DriftFact::Acknowledged { id, by } => {
                if let Some(record) = self.records.get_mut(id) {
                    record.acknowledged = Some(by.clone());
                }
            }
            DriftFact::Ended { sync } => self.ended(sync),
        }
        self.prune();
    }

    fn seen(&mut self, seen: &Seen) {
        let id = &seen.cause.id;
        if seen.reverted {
            // What is put back is the whole object.
            self.close(&seen.object, |_| (DriftState::Reverted, "put back with the object"));
        }
        let (state, reason) = state_of(seen);
        let before = self.records.get(id);
        if before.is_none() && state.is_open() && self.open_count >= MAX_OPEN {
            self.more = self.more.saturating_add(1);
            return;
        }
        // After a restart what is left alone is told once more: it is the same still, and nobody is asked again who it was.
        let told_before = before.filter(|record| {
            !seen.reverted && seen.times == 1 && record.state == state && record.cause.is_same_change(&seen.cause)
        });
        let times = if told_before.is_some() { 0 } else { seen.times };
        let known = told_before.filter(|_| seen.cause.actor.is_none());
        let signer = self.accepted.get(&seen.sync).filter(|accepted| Some(&accepted.commit) == seen.commit.as_ref());
        let record = Record {
            cause: known.map_or(&seen.cause, |before| &before.cause).clone(),
            sync: seen.sync.clone(),
            object: seen.object.clone(),
            state,
            reason: reason.to_owned(),
            code: seen.code.clone(),
            fields: seen.fields,
            first: before.map_or(seen.at, |before| before.first),
            last: seen.at,
            count: before.map_or(0, |before| before.count).saturating_add(times),
            commit: seen.commit.clone(),
            signer: signer.and_then(|accepted| accepted.signer.clone()),
            failed: None,
            acknowledged: before
                .filter(|before| before.state.is_open() && state.is_open())
                .and_then(|before| before.acknowledged.clone()),
            entry: seen.entry,
        };
        self.records.insert(id.clone(), record);
        self.newest.insert(seen.object.clone(), id.clone());
        self.index(id);
    }

    /// Every drift that is known.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = &Record> {
        self.open.values().flatten().filter_map(|id| self.records.get(id))
    }

    /// Those of an object that are open.
    pub fn open_of(&self, object: &str) -> impl Iterator<Item = &Record> {
        self.open.get(object).into_iter().flatten().filter_map(|id| self.records.get(id))
    }

    /// One drift.
    #[must_use]
    pub fn get(&self, id: &DriftId) -> Option<&Record> {
        self.records.get(id)
    }

    /// How many were seen for which there was no room.
    #[must_use]
    pub const fn more(&self) -> u64 {
        self.more
    }

    /// Keeps those that are open, and at most so many that are over: the newest.
    pub fn keep_closed(&mut self, most: usize) {
        let mut closed: Vec<(jiff::Timestamp, DriftId)> = self
            .records
            .iter()
            .filter(|(_, record)| !record.state.is_open())
            .map(|(id, record)| (record.last, id.clone()))
            .collect();
        closed.sort_unstable();
        for (_, id) in closed.iter().take(closed.len().saturating_sub(most)) {
            if let Some(record) = self.records.remove(id)
                && self.newest.get(&record.object) == Some(id)
            {
                self.newest.remove(&record.object);
            }
        }
    }

    /// Looks through them all only when a tenth has come on top, so that a fact costs little.
    fn prune(&mut self) {
        if self.records.len() - self.open_count > MAX_CLOSED + MAX_CLOSED / 10 {
            self.keep_closed(MAX_CLOSED);
        }
    }

    fn newest_of(&mut self, object: &str) -> Option<&mut Record> {
        self.records.get_mut(self.newest.get(object)?)
    }

    fn put(&mut self, id: &DriftId, state: DriftState, reason: &str) {
        let Some(record) = self.records.get_mut(id) else { return };
        record.state = state;
        reason.clone_into(&mut record.reason);
        if !state.is_open() {
            record.failed = None;
        }
        self.index(id);
    }

    /// What is open of an object is over.
    fn close(&mut self, object: &str, how: impl Fn(&Record) -> (DriftState, &'static str)) {
        for id in self.open.get(object).cloned().unwrap_or_default() {
            if let Some((state, reason)) = self.records.get(&id).map(&how) {
                self.put(&id, state, reason);
            }
        }
    }

    fn ended(&mut self, sync: &str) {
        self.accepted.remove(sync);
        let open: Vec<DriftId> =
            self.open().filter(|record| record.sync == sync).map(|record| record.cause.id.clone()).collect();
        for id in open {
            self.put(&id, DriftState::Expired, "its Sync is gone");
        }
    }

    /// Whether it is open may have changed.
    fn index(&mut self, id: &DriftId) {
        let Some(record) = self.records.get(id) else { return };
        if record.state.is_open() {
            let is_new = self.open.entry(record.object.clone()).or_default().insert(id.clone());
            self.open_count += usize::from(is_new);
        } else if let Some(open) = self.open.get_mut(&record.object) {
            self.open_count -= usize::from(open.remove(id));
            if open.is_empty() {
                self.open.remove(&record.object);
            }
        }
    }
}

/// Whether a code says that an object is written again after each revert, or in the answer to one.
#[must_use]
pub fn is_contested(code: &str) -> bool {
    [PlanCode::D106, PlanCode::D107].iter().any(|contested| contested.entry().code == code)
}

fn state_of(seen: &Seen) -> (DriftState, &'static str) {
    match seen.reverted {
        true => (DriftState::Reverted, "put back"),
        false if seen.code == PlanCode::D106.entry().code => {
            (DriftState::Contested, "what writ writes is stored as something else")
        }
        false if is_contested(&seen.code) => (DriftState::Contested, "it is written again after each revert"),
        false => (DriftState::Open, "it is told and left alone"),
    }
}
