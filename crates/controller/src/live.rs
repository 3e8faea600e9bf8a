//! What is known of every managed object: what was applied, what was seen last, and whether the
//! two agree. Owned by the event loop; fed by watches and by the answers to our own requests.
//!
//! Nothing here holds a whole live object: an event is compared when it arrives and only its
//! version, a hash and the differences stay. Sights and answers are compared with the declaration
//! alone: an answer that has another value than was asked for is contested, never expected.

mod additions;
mod entry;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use cluster::AppliedByWrit;
use manifest::{Digest, GroupKind, ObjectRef};
use plan::{Claims, DriftSeen, FieldDiff, Lifecycle, Live, LiveStates, Manager, Presence, SyncRef, Visibility};

use entry::{Entry, Waiting, is_newer};

pub(crate) use additions::{Additions, Explained};

/// What our last apply left. What is expected of an object is what is declared; no answer of the
/// API server changes that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Digest of the body that was applied.
    pub applied: Digest,
    /// UID of the object that it was applied to.
    pub uid: Box<str>,
    /// Version that the answer had.
    pub resource_version: Box<str>,
    /// `metadata.generation` of the answer, for kinds that have one.
    pub generation: Option<i64>,
    /// What the server made of our create; `None` if it was not ours, or is not known.
    pub explained: Option<Explained>,
    /// What others added since.
    pub added: Additions,
}

/// One sight of an object.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// `metadata.generation`, for kinds that have one.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub lifecycle: Lifecycle,
    /// Who applied it, as it says itself.
    pub manager: Manager,
    /// Hash of everything outside status and bookkeeping; the same within one process for the same
    /// content.
    pub content: u128,
    /// The object as JSON text.
    pub json: Arc<[u8]>,
}

impl From<cluster::Sighting> for Observation {
    fn from(seen: cluster::Sighting) -> Self {
        Self {
            uid: seen.uid,
            resource_version: seen.resource_version,
            generation: seen.generation,
            lifecycle: seen.lifecycle,
            manager: match seen.applied_by_writ {
                AppliedByWrit::Yes => Manager::Writ,
                AppliedByWrit::No => Manager::Others,
            },
            content: seen.content,
            json: seen.raw.json().clone(),
        }
    }
}

/// What an event means for its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing of ours, nothing new, or as expected.
    Settled,
    /// It differs from what is declared.
    Drifted,
    /// It differs, and that is what our own apply was answered with: the next one would be, too.
    Contested,
    /// It tells of a time before what is known: it says nothing.
    Past,
    /// A request of ours is under way; the event is judged when it is answered.
    Waiting,
}

/// The answer to one apply.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// Digest of the plan.
    pub plan: Digest,
    /// Digest of the body.
    pub digest: Digest,
    /// What came back.
    pub seen: Observation,
    /// How it differs from the body, if that was looked at already.
    pub(crate) compared: Option<Vec<FieldDiff>>,
    /// If it was a create: what the server made of it.
    pub(crate) explained: Option<Explained>,
}

/// Every object that is managed, or was.
#[derive(Debug, Default)]
pub(crate) struct LiveTable {
    objects: HashMap<ObjectRef, Entry>,
    /// Kinds whose watch has delivered its first full list.
    watched: HashSet<GroupKind>,
    /// Kinds that the cluster certainly does not serve.
    unserved: BTreeSet<GroupKind>,
}

impl LiveTable {
    /// Notes that `sync` owns `reference` from now on.
    pub(crate) fn claim(&mut self, reference: &ObjectRef, sync: &SyncRef) {
        self.entry(reference).owner = Some(sync.clone());
    }

    /// Forgets an object that is no longer managed.
    pub(crate) fn release(&mut self, reference: &ObjectRef) {
        self.objects.remove(reference);
    }

    /// Notes what an earlier process applied.
    pub(crate) fn remember(&mut self, reference: &ObjectRef, expected: Expected) {
        self.entry(reference).expected = Some(expected);
    }

    /// The watch of `kind` has delivered everything that is there.
    pub(crate) fn synced(&mut self, kind: &GroupKind) {
        self.watched.insert(kind.clone());
    }

    /// The cluster certainly does not serve these kinds, and no others that matter.
    pub(crate) fn unserved(&mut self, kinds: BTreeSet<GroupKind>) {
        self.unserved = kinds;
    }

    /// The watch of `kind` lost its place: until it has synced again absence proves nothing.
    pub(crate) fn lost(&mut self, kind: &GroupKind) {
        self.watched.remove(kind);
        // A server that was restored counts versions anew: what comes next is believed.
        let entries = self.objects.iter_mut().filter(|(reference, _)| reference.group_kind == *kind);
        for seen in entries.filter_map(|(_, entry)| entry.seen.as_mut()) {
            seen.judged = false;
        }
    }

    /// A relist of `kind` begins: objects that it does not mention are gone.
    pub(crate) fn relisted(&mut self, kind: &GroupKind, mentioned: &HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut gone = Vec::new();
        for (reference, entry) in &mut self.objects {
            if reference.group_kind == *kind && entry.seen.is_some() && !mentioned.contains(reference) {
                entry.seen = None;
                gone.push(reference.clone());
            }
        }
        gone
    }

    /// The owner of an object.
    #[must_use]
    pub(crate) fn owner_of(&self, reference: &ObjectRef) -> Option<&SyncRef> {
        self.objects.get(reference)?.owner.as_ref()
    }

    /// A request of this plan for `reference` is sent.
    pub(crate) fn begin(&mut self, reference: &ObjectRef, plan: Digest) {
        self.entry(reference).in_flight.push(plan);
    }

    /// A request of this plan failed or was not sent after all. Returns what its waiting event means,
    /// if there is one; `None` if the request was answered before.
    pub(crate) fn abandon(
        &mut self,
        reference: &ObjectRef,
        plan: Digest,
        declared: Option<&Declared<'_>>,
    ) -> Option<Sight> {
        self.objects.get_mut(reference)?.end(plan).then(|| self.judge_waiting(reference, declared))
    }

    /// A watch saw the object.
    pub(crate) fn observe(
        &mut self,
        reference: &ObjectRef,
        observation: Observation,
        declared: Option<&Declared<'_>>,
    ) -> Sight {
        let entry = self.entry(reference);
        if !entry.in_flight.is_empty() {
            entry.waiting = Some(Waiting::Seen(observation));
            return Sight::Waiting;
        }
        if entry.is_old(&observation.uid, &observation.resource_version) {
            return Sight::Past;
        }
        entry.judge(&observation, declared)
    }

    /// A watch saw that the object is gone, or no longer carries our label.
    pub(crate) fn vanish(&mut self, reference: &ObjectRef, resource_version: &str) -> Sight {
        let entry = self.entry(reference);
        if !entry.in_flight.is_empty() {
            entry.waiting = Some(Waiting::Gone { resource_version: resource_version.to_owned() });
            return Sight::Waiting;
        }
        entry.judge_gone(resource_version)
    }

    /// An apply was answered. The answer is compared with the declaration like any other sight: it
    /// says what our apply came to, never what is expected.
    pub(crate) fn applied(&mut self, reference: &ObjectRef, applied: Applied, declared: &Declared<'_>) -> Sight {
        let entry = self.entry(reference);
        entry.end(applied.plan);
        // An event that is not newer than the answer has nothing to add.
        let version = &applied.seen.resource_version;
        if entry.waiting.as_ref().is_some_and(|waiting| !is_newer(waiting.resource_version(), version)) {
            entry.waiting = None;
        }
        let sight = if entry.is_old(&applied.seen.uid, version) {
            // Something newer was seen, or answered, meanwhile: that stands.
            entry.stands(&applied, declared)
        } else if applied.digest == declared.digest {
            entry.answer(applied, declared)
        } else {
            // The answer to an older body teaches nothing about the declared one.
            entry.judge(&applied.seen, Some(declared))
        };
        if entry.in_flight.is_empty() && entry.waiting.is_none() {
            sight
        } else {
            self.judge_waiting(reference, Some(declared))
        }
    }

    /// A deletion was answered.
    pub(crate) fn pruned(&mut self, reference: &ObjectRef) {
        self.objects.remove(reference);
    }

    /// Whether a request for the object is under way.
    #[must_use]
    pub(crate) fn is_in_flight(&self, reference: &ObjectRef) -> bool {
        self.objects.get(reference).is_some_and(|entry| !entry.in_flight.is_empty())
    }

    /// How the object differs from what our own apply of its declaration asked for; empty if it does
    /// not, or if that is not what was seen last.
    #[must_use]
    pub(crate) fn contested(&self, reference: &ObjectRef) -> &[FieldDiff] {
        let seen = self.objects.get(reference).and_then(|entry| entry.seen.as_ref());
        seen.filter(|seen| seen.contested).map(|seen| seen.drift.as_slice()).unwrap_or_default()
    }

    /// What our last apply left of the object.
    #[must_use]
    pub(crate) fn expected(&self, reference: &ObjectRef) -> Option<&Expected> {
        self.objects.get(reference)?.expected.as_ref()
    }

    /// What our last apply left and others added, if the latter is another than when this was asked last.
    pub(crate) fn take_added(&mut self, reference: &ObjectRef) -> Option<&Expected> {
        let entry = self.objects.get_mut(reference)?;
        std::mem::take(&mut entry.has_news).then_some(())?;
        entry.expected.as_ref()
    }

    /// To how many owned objects others added something.
    #[must_use]
    pub(crate) fn added_to(&self) -> usize {
        let is_added_to = |entry: &&Entry| entry.expected.as_ref().is_some_and(|expected| !expected.added.is_empty());
        self.objects.values().filter(|entry| entry.owner.is_some() && entry.seen.is_some()).filter(is_added_to).count()
    }

    /// Objects of a kind that are there, and of which this holds.
    #[must_use]
    pub(crate) fn present_of(&self, kind: &GroupKind, which: impl Fn(&ObjectRef) -> bool) -> Vec<ObjectRef> {
        let there = self.objects.iter().filter(|(_, entry)| entry.seen.is_some()).map(|(reference, _)| reference);
        there.filter(|reference| reference.group_kind == *kind && which(reference)).cloned().collect()
    }

    /// Every object that is there.
    #[must_use]
    pub(crate) fn present(&self) -> HashSet<ObjectRef> {
        self.objects.iter().filter(|(_, entry)| entry.seen.is_some()).map(|(reference, _)| reference.clone()).collect()
    }

    /// How many owned objects are there of which nothing is known that we applied.
    #[must_use]
    pub(crate) fn without_record(&self) -> usize {
        let known = |entry: &&Entry| entry.owner.is_some() && entry.seen.is_some() && entry.expected.is_none();
        self.objects.values().filter(known).count()
    }

    /// How many labelled objects are there that no accepted revision declares.
    #[must_use]
    pub(crate) fn unclaimed(&self) -> usize {
        self.objects.values().filter(|entry| entry.owner.is_none() && entry.seen.is_some()).count()
    }

    /// How many objects `sync` owns, and how many of them are drifted.
    #[must_use]
    pub(crate) fn count(&self, sync: &SyncRef) -> (usize, usize) {
        let owned = self.objects.values().filter(|entry| entry.owner.as_ref() == Some(sync));
        owned.fold((0, 0), |(all, drifted), entry| {
            let is_drifted = entry.seen.as_ref().is_none_or(|seen| !seen.drift.is_empty());
            (all + 1, drifted + usize::from(is_drifted))
        })
    }

    fn entry(&mut self, reference: &ObjectRef) -> &mut Entry {
        self.objects.entry(reference.clone()).or_default()
    }

    fn judge_waiting(&mut self, reference: &ObjectRef, declared: Option<&Declared<'_>>) -> Sight {
        let entry = self.entry(reference);
        if !entry.in_flight.is_empty() {
            return Sight::Waiting;
        }
        match entry.waiting.take() {
            None => Sight::Settled,
            Some(Waiting::Seen(observation)) if entry.is_old(&observation.uid, &observation.resource_version) => {
                Sight::Past
            }
            Some(Waiting::Seen(observation)) => entry.judge(&observation, declared),
            Some(Waiting::Gone { resource_version }) => entry.judge_gone(&resource_version),
        }
    }
}

/// The declaration an observation is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared<'a> {
    /// The body of the apply.
    pub body: &'a [u8],
    /// Its digest.
    pub digest: Digest,
    /// Group and kind, for merge keys.
    pub kind: &'a GroupKind,
    /// Whether differences may show values.
    pub visibility: Visibility,
}

impl LiveStates for LiveTable {
    fn is_written(&self, reference: &ObjectRef) -> bool {
        self.is_in_flight(reference)
    }

    fn was_applied(&self, reference: &ObjectRef) -> bool {
        self.expected(reference).is_some()
    }

    fn live(&self, reference: &ObjectRef) -> Live<'_> {
        match self.objects.get(reference) {
            _ if self.unserved.contains(&reference.group_kind) => Live::Unserved,
            Some(Entry { seen: Some(seen), expected, .. }) => {
                let is_other = expected.as_ref().is_some_and(|expected| *expected.uid != *seen.uid);
                Live::Present(Presence {
                    uid: &seen.uid,
                    resource_version: &seen.resource_version,
                    applied: expected.as_ref().map(|expected| expected.applied),
                    manager: seen.manager,
                    lifecycle: seen.lifecycle,
                    drift: &seen.drift,
                    seen: match (seen.contested, is_other) {
                        (true, _) => DriftSeen::Answer,
                        (false, true) => DriftSeen::Replacement,
                        (false, false) => DriftSeen::Event,
                    },
                })
            }
            _ if self.watched.contains(&reference.group_kind) => Live::Absent,
            _ => Live::Unobserved,
        }
    }
}

impl Claims for LiveTable {
    fn owner(&self, reference: &ObjectRef) -> Option<&SyncRef> {
        self.owner_of(reference)
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
