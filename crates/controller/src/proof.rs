//! Proofs of the watches: each kind is listed now and then beside its stream, one at a time, so that an event which never came
//! is found. What the list finds is judged like any other sight; what is newer than the list stands.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{Proof, Sighting, WatchTarget};
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{Live, LiveStates};

use crate::state::State;

/// How often each watch is proved: 10,000 objects are 20 pages and some 0.8 s of the API server's CPU time, about one thousandth
/// of it.
const PROVE_EVERY: Duration = Duration::from_secs(600);
/// How long one list may take; 10,000 objects take some 3 s.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long an event may be later than the list that has its object: streams of a busy API server are some 1 s behind.
const LATE: Duration = Duration::from_secs(30);

/// What a list showed before the stream did.
#[derive(Debug)]
struct Suspect {
    target: Arc<WatchTarget>,
    /// The version of the object; `None` if it was not listed.
    version: Option<String>,
    since: Instant,
}

/// The list that is under way.
#[derive(Debug)]
struct Running {
    target: Arc<WatchTarget>,
    begun: Instant,
    /// What the list, the stream or an answer told of since it began. At most as many as are managed.
    mentioned: HashSet<ObjectRef>,
    /// It ends with this.
    _list: Option<Proof>,
}

/// When which watch was proved, and what is found out about it.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// When each was proved, or was seen to be complete for the first time.
    proved: BTreeMap<Arc<WatchTarget>, Instant>,
    /// When each may be tried again.
    tried: BTreeMap<Arc<WatchTarget>, Instant>,
    running: Option<Running>,
    suspects: BTreeMap<ObjectRef, Suspect>,
}

impl Proofs {
    /// The watch that is to be proved next, if one is due and none is being proved. `complete`: the watches that are open and
    /// have delivered everything.
    fn next(&mut self, complete: &[Arc<WatchTarget>], now: Instant) -> Option<Arc<WatchTarget>> {
        // A watch that was opened again has listed by itself.
        let is_open = |target: &Arc<WatchTarget>| complete.iter().any(|open| Arc::ptr_eq(open, target));
        self.proved.retain(|target, _| is_open(target));
        self.tried.retain(|target, _| is_open(target));
        self.suspects.retain(|_, suspect| is_open(&suspect.target));
        if self.running.as_ref().is_some_and(|running| !is_open(&running.target)) {
            self.running = None;
        }
        for target in complete {
            self.proved.entry(target.clone()).or_insert(now);
        }
        if self.running.is_some() {
            return None;
        }
        let since = |target: &Arc<WatchTarget>| self.tried.get(target).or_else(|| self.proved.get(target)).copied();
        let (at, target) =
            complete.iter().filter_map(|target| Some((since(target)?, target))).min_by_key(|(at, _)| *at)?;
        (now.duration_since(at) >= PROVE_EVERY).then(|| target.clone())
    }

    fn begin(&mut self, target: Arc<WatchTarget>, list: Option<Proof>, now: Instant) {
        self.tried.insert(target.clone(), now);
        self.running = Some(Running { target, begun: now, mentioned: HashSet::new(), _list: list });
    }

    /// Gives up a list that takes too long. Returns whether there was one.
    fn give_up(&mut self, now: Instant) -> bool {
        self.running.take_if(|running| now.duration_since(running.begun) >= PATIENCE).is_some()
    }

    /// The stream or an answer told of the object: what a list that is under way has of it may be older.
    pub(crate) fn mention(&mut self, reference: &ObjectRef) {
        if let Some(running) = &mut self.running {
            running.mentioned.insert(reference.clone());
        }
    }

    /// The stream told of this version of an object, or of its end.
    pub(crate) fn streamed(&mut self, reference: &ObjectRef, version: Option<&str>) {
        self.mention(reference);
        if self.suspects.get(reference).is_some_and(|suspect| suspect.version.as_deref() == version) {
            // It was only late.
            self.suspects.remove(reference);
        }
    }

    /// The list has an object. Returns whether it says something: nothing else told of the object since the list began.
    fn takes(&mut self, target: &Arc<WatchTarget>, reference: &ObjectRef) -> bool {
        let running = self.running.as_mut().filter(|running| Arc::ptr_eq(&running.target, target));
        running.is_some_and(|running| running.mentioned.insert(reference.clone()))
    }

    fn suspect(&mut self, target: &Arc<WatchTarget>, reference: &ObjectRef, version: Option<&str>, now: Instant) {
        let suspect = Suspect { target: target.clone(), version: version.map(str::to_owned), since: now };
        self.suspects.insert(reference.clone(), suspect);
    }

    /// The list is complete. What was mentioned since it began; `None` if it is not the one that is under way.
    fn complete(&mut self, target: &Arc<WatchTarget>, now: Instant) -> Option<HashSet<ObjectRef>> {
        let running = self.running.take_if(|running| Arc::ptr_eq(&running.target, target))?;
        self.proved.insert(running.target, now);
        Some(running.mentioned)
    }

    /// The list failed, or the watch lists everything anew: that says more.
    pub(crate) fn stop(&mut self, target: &Arc<WatchTarget>) -> bool {
        self.suspects.retain(|_, suspect| !Arc::ptr_eq(&suspect.target, target));
        self.running.take_if(|running| Arc::ptr_eq(&running.target, target)).is_some()
    }

    /// Objects of which the stream said nothing in time.
    fn missed(&mut self, now: Instant) -> Vec<ObjectRef> {
        self.suspects
            .extract_if(.., |_, suspect| now.duration_since(suspect.since) >= LATE)
            .map(|(object, _)| object)
            .collect()
    }

    /// How long ago the watch was proved that was not for longest.
    fn oldest(&self, now: Instant) -> Option<Duration> {
        self.proved.values().min().map(|at| now.duration_since(*at))
    }
}

impl State {
    /// Begins the next proof if it is time, and looks at what became of the last ones.
    pub(crate) fn prove_watches(&mut self) {
        let now = Instant::now();
        let heard = self.watches.values().map(|watch| now.duration_since(watch.heard())).max();
        self.metrics.watches.heard(heard.unwrap_or_default());
        if self.upkeep.proofs.give_up(now) {
            tracing::warn!(
                seconds = PATIENCE.as_secs(),
                "a list beside a watch takes too long: it is tried again later"
            );
            self.metrics.watches.listed(false);
        }
        let missed = self.upkeep.proofs.missed(now);
        if let Some(first) = missed.first() {
            tracing::warn!(objects = missed.len(), first = %first, "a watch left out events: it is opened again");
            self.metrics.watches.missed(missed.len());
            self.rewatch(&missed);
        }
        let is_complete =
            |target: &&Arc<WatchTarget>| self.synced.contains(*target) && !self.failing.contains_key(*target);
        let complete: Vec<Arc<WatchTarget>> = self.watches.keys().filter(is_complete).cloned().collect();
        let next = self.upkeep.proofs.next(&complete, now);
        self.metrics.watches.proved(Timestamp::now(), self.upkeep.proofs.oldest(now).map(|age| age.as_secs()));
        if let Some(target) = next
            && let Some(watch) = self.watches.get(&target)
        {
            tracing::debug!(kind = %target.resource.group_kind(), "listed beside its watch");
            let list = self.cluster.prove(watch, self.events.clone());
            self.upkeep.proofs.begin(target, Some(list), now);
        }
    }

    /// A proof found an object.
    pub(crate) fn listed(&mut self, target: &Arc<WatchTarget>, seen: Sighting, now: Timestamp) {
        // What is being written is judged by its answer.
        if !self.upkeep.proofs.takes(target, &seen.reference) || self.live.is_in_flight(&seen.reference) {
            return;
        }
        if self.version_of(&seen.reference) == Some(&seen.resource_version) {
            return;
        }
        let (reference, version) = (seen.reference.clone(), seen.resource_version.clone());
        self.object_seen(target, seen, now);
        if self.version_of(&reference) == Some(&version) {
            self.upkeep.proofs.suspect(target, &reference, Some(&version), Instant::now());
        }
    }

    /// A proof is complete: what it did not mention, and nothing else since it began, was deleted or stripped unseen.
    pub(crate) fn proved(&mut self, target: &Arc<WatchTarget>, version: &str, now: Timestamp) {
        let moment = Instant::now();
        let Some(mentioned) = self.upkeep.proofs.complete(target, moment) else { return };
        self.metrics.watches.listed(true);
        let kind = target.resource.group_kind();
        let unmentioned = self.live.present_of(&kind, |reference| !mentioned.contains(reference));
        for reference in unmentioned {
            if self.live.is_in_flight(&reference) {
                continue;
            }
            let Live::Present(known) = self.live.live(&reference) else { continue };
            let uid = known.uid.to_owned();
            self.object_gone(target, &reference, (&uid, version), now);
            if self.version_of(&reference).is_none() {
                self.upkeep.proofs.suspect(target, &reference, None, moment);
            }
        }
    }

    /// The version of an object that is there.
    fn version_of(&self, reference: &ObjectRef) -> Option<&str> {
        match self.live.live(reference) {
            Live::Present(known) => Some(known.resource_version),
            Live::Absent | Live::Unobserved | Live::Unserved => None,
        }
    }

    /// A proof could not be completed.
    pub(crate) fn unproved(&mut self, target: &Arc<WatchTarget>, why: &str) {
        if self.upkeep.proofs.stop(target) {
            tracing::warn!(kind = %target.resource.group_kind(), why, "what a watch is about cannot be listed: it is tried again later");
            self.metrics.watches.listed(false);
        }
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
