//! Messages that wait for the API server: the newest status of each custom resource, and Events in
//! the order in which they happened. No I/O: `report` delivers.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::{Duration, Instant},
};

use cluster::{Note, Regarding, crd};
use jiff::Timestamp;

/// Events that wait. 1,024 of at most 2 KiB are 2 MiB; beyond it the oldest go, since statuses and
/// the audit log tell the same.
const MAX_EVENTS: usize = 1_024;
/// How many messages wait when what is not kept is told no more: 4,096 of 4 KiB.
const MAX_SPARE: usize = 4_096;
/// First pause after a message was not taken; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest pause: an API server that is back is told everything within half a minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long an Event is worth telling: the API server itself forgets Events after an hour.
const EVENT_AGE_MAX: Duration = Duration::from_secs(3_600);
/// How often an Event is tried that the API server refuses for a reason of its own (a namespace that
/// ends, a missing permission), rather than because it is away.
const MAX_REFUSALS: u32 = 5;

/// A status that is to be written.
#[derive(Debug)]
pub(crate) enum Status {
    /// Of a TrustRoot.
    Root(Box<crd::TrustRoot>, Box<crd::TrustRootStatus>),
    /// Of a GitSource.
    Source(Box<crd::GitSource>, Box<crd::GitSourceStatus>),
    /// Of a Sync.
    Sync(Box<crd::Sync>, Box<crd::SyncStatus>),
    /// Of a RollbackRequest.
    Rollback(Box<crd::RollbackRequest>, Box<crd::OverrideStatus>),
    /// Of a BreakGlass.
    BreakGlass(Box<crd::BreakGlass>, Box<crd::OverrideStatus>),
}

/// Which custom resource a status belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    kind: &'static str,
    namespace: Option<String>,
    name: String,
}

impl Status {
    /// The custom resource.
    #[must_use]
    pub(crate) fn target(&self) -> Target {
        let (kind, namespace, name) = match self {
            Self::Root(object, _) => ("TrustRoot", object.namespace(), object.name()),
            Self::Source(object, _) => ("GitSource", object.namespace(), object.name()),
            Self::Sync(object, _) => ("Sync", object.namespace(), object.name()),
            Self::Rollback(object, _) => ("RollbackRequest", object.namespace(), object.name()),
            Self::BreakGlass(object, _) => ("BreakGlass", object.namespace(), object.name()),
        };
        Target { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }
}

/// An Event that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// What it is about.
    pub regarding: Regarding,
    /// What it says.
    pub note: Note,
    /// When it happened.
    pub at: Timestamp,
}

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// A status.
    Status(Status),
    /// An Event.
    Event(Announcement),
}

/// A message that is about to be delivered.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The message.
    pub message: Message,
    /// How often it failed before.
    pub failures: u32,
    /// When it was due first.
    pub since: Instant,
    /// Its place among Events.
    place: u64,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The object it is about is gone.
    Gone,
    /// The API server is away or overloaded.
    Away,
    /// The API server does not want it.
    Refused,
}

/// What becomes of a message that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is tried again, unless a newer one took its place.
    Kept,
    /// It is given up.
    Dropped,
}

/// Whether messages that failed wait for their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// They do.
    Open,
    /// The process ends: each is tried once more, now.
    Closing,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Deliver this.
    Deliver(Box<Attempt>),
    /// Wait, until then or until something is put in.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Waiting<T> {
    message: T,
    failures: u32,
    due: Instant,
    since: Instant,
    place: u64,
}

/// All messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    statuses: BTreeMap<Target, Waiting<Status>>,
    events: VecDeque<Waiting<Announcement>>,
    /// The status that was delivered last: the next one in order is next, so that none waits for ever
    /// behind one that changes all the time.
    last: Option<Target>,
    /// Whether an Event is next, if there is one: statuses and Events take turns.
    event_first: bool,
    /// Events put in so far.
    put_in: u64,
}

impl Outbox {
    /// Puts a status in that is due at `due`; it replaces an older one of the same object, whose time it
    /// keeps.
    pub(crate) fn put_status(&mut self, status: Status, due: Instant) {
        let target = status.target();
        match self.statuses.get_mut(&target) {
            Some(waiting) => waiting.message = status,
            None => {
                self.statuses.insert(target, Waiting { message: status, failures: 0, due, since: due, place: 0 });
            }
        }
    }

    /// Puts an Event in that is due at `due`. An equal one that still waits is told once. Returns
    /// whether the oldest had to go for it.
    pub(crate) fn put_event(&mut self, event: Announcement, due: Instant) -> Fate {
        let same = |waiting: &&Waiting<Announcement>| {
            waiting.message.regarding == event.regarding && waiting.message.note == event.note
        };
        if self.events.iter().find(same).is_some() {
            return Fate::Kept;
        }
        let full = self.events.len() >= MAX_EVENTS;
        if full {
            self.events.pop_front();
        }
        self.put_in += 1;
        self.events.push_back(Waiting { message: event, failures: 0, due, since: due, place: self.put_in });
        if full { Fate::Dropped } else { Fate::Kept }
    }

    /// How many messages wait.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.statuses.len() + self.events.len()
    }

    /// Whether there is room for what need not be told.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < MAX_SPARE
    }

    /// Takes the next message whose time has come.
    pub(crate) fn next(&mut self, now: Instant, stage: Stage) -> Next {
        let attempt = if self.event_first {
            self.next_event(now, stage).or_else(|| self.next_status(now, stage))
        } else {
            self.next_status(now, stage).or_else(|| self.next_event(now, stage))
        };
        match attempt {
            Some(attempt) => {
                self.event_first = matches!(attempt.message, Message::Status(_));
                Next::Deliver(Box::new(attempt))
            }
            None => {
                let statuses = self.statuses.values().map(|waiting| waiting.due);
                Next::Wait(statuses.chain(self.events.iter().map(|waiting| waiting.due)).min())
            }
        }
    }

    fn next_status(&mut self, now: Instant, stage: Stage) -> Option<Attempt> {
        let is_due = |(_, waiting): &(&Target, &Waiting<Status>)| stage == Stage::Closing || waiting.due <= now;
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.statuses.range::<Target, _>((after, Bound::Unbounded));
        let target = rest.chain(self.statuses.iter()).find(is_due).map(|(target, _)| target.clone())?;
        let Waiting { message, failures, since, place, .. } = self.statuses.remove(&target)?;
        self.last = Some(target);
        Some(Attempt { message: Message::Status(message), failures, since, place })
    }

    fn next_event(&mut self, now: Instant, stage: Stage) -> Option<Attempt> {
        let place = self.events.iter().position(|waiting| stage == Stage::Closing || waiting.due <= now)?;
        let Waiting { message, failures, since, place, .. } = self.events.remove(place)?;
        Some(Attempt { message: Message::Event(message), failures, since, place })
    }

    /// A message was not taken: it is tried again later each time, unless it is worth nothing any more.
    pub(crate) fn failed(&mut self, attempt: Attempt, refusal: Refusal, now: Instant) -> Fate {
        let failures = attempt.failures.saturating_add(1);
        let due = now + PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(PAUSE_MAX);
        let (since, place) = (attempt.since, attempt.place);
        match attempt.message {
            _ if refusal == Refusal::Gone => Fate::Dropped,
            Message::Status(message) => {
                let target = message.target();
                match self.statuses.get_mut(&target) {
                    // A newer one came meanwhile; it will not be taken any sooner.
                    Some(newer) => (newer.failures, newer.due) = (failures, due),
                    None => drop(self.statuses.insert(target, Waiting { message, failures, due, since, place })),
                }
                Fate::Kept
            }
            Message::Event(message) => {
                let stale = now.duration_since(since) >= EVENT_AGE_MAX;
                let unwanted = refusal == Refusal::Refused && failures >= MAX_REFUSALS;
                if stale || unwanted || self.events.len() >= MAX_EVENTS {
                    return Fate::Dropped;
                }
                let before = self.events.partition_point(|waiting| waiting.place < place);
                self.events.insert(before, Waiting { message, failures, due, since, place });
                Fate::Kept
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::Severity;

    use super::*;

    fn sync(name: &str, objects: u64) -> Status {
        let resource = serde_json::from_value(serde_json::json!({
            "apiVersion": "writ.dev/v1alpha1", "kind": "Sync", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"sourceRef": {"name": "config"}, "path": "web", "drift": {"mode": "Revert"}},
        }))
        .unwrap();
        let status = crd::SyncStatus { objects: Some(objects), ..crd::SyncStatus::default() };
        Status::Sync(Box::new(resource), Box::new(status))
    }

    fn event(text: &str) -> Announcement {
        Announcement {
            regarding: Regarding {
                api_version: "writ.dev/v1alpha1".into(),
                kind: "Sync".into(),
                namespace: Some("shop".into()),
                name: "web".into(),
                uid: None,
            },
            note: Note {
                severity: Severity::Warning,
                reason: "Edited",
                action: "Drift",
                text: text.into(),
                related: None,
            },
            at: Timestamp::UNIX_EPOCH,
        }
    }

    /// What is delivered until nothing is due: `name=objects` of statuses, text of Events.
    fn drain(outbox: &mut Outbox, now: Instant, stage: Stage) -> Vec<String> {
        std::iter::from_fn(|| match outbox.next(now, stage) {
            Next::Deliver(attempt) => Some(word(&attempt.message)),
            Next::Wait(_) => None,
        })
        .collect()
    }

    fn word(message: &Message) -> String {
        match message {
            Message::Status(Status::Sync(object, status)) => format!("{}={}", object.name(), status.objects.unwrap()),
            Message::Status(other) => panic!("{other:?}"),
            Message::Event(event) => event.note.text.clone(),
        }
    }

    fn take(outbox: &mut Outbox, now: Instant) -> Attempt {
        match outbox.next(now, Stage::Open) {
            Next::Deliver(attempt) => *attempt,
            Next::Wait(until) => panic!("nothing is due until {until:?}"),
        }
    }

    #[test]
    fn the_newest_status_of_each_object_is_kept_and_none_is_dropped() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for round in 0..5_000 {
            outbox.put_status(sync(&format!("s{}", round % 3), round), now);
        }
        assert_eq!(drain(&mut outbox, now, Stage::Open), ["s0=4998", "s1=4999", "s2=4997"]);
        assert!(matches!(outbox.next(now, Stage::Open), Next::Wait(None)));
    }

    #[test]
    fn a_status_that_was_not_taken_waits_longer_each_time_and_a_newer_one_takes_its_place() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        outbox.put_status(sync("a", 1), now);
        for pause in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let attempt = take(&mut outbox, now);
            assert_eq!(outbox.failed(attempt, Refusal::Refused, now), Fate::Kept);
            let due = now + Duration::from_millis(pause);
            assert!(matches!(outbox.next(now, Stage::Open), Next::Wait(Some(at)) if at == due), "{pause}");
            now = due;
        }
        // One that arrives while the old one is on its way.
        let attempt = take(&mut outbox, now);
        outbox.put_status(sync("a", 2), now);
        assert_eq!(outbox.failed(attempt, Refusal::Away, now), Fate::Kept);
        assert!(drain(&mut outbox, now, Stage::Open).is_empty());
        outbox.put_status(sync("a", 3), now);
        assert_eq!(drain(&mut outbox, now + PAUSE_MAX, Stage::Open), ["a=3"]);
    }

    #[test]
    fn the_status_of_an_object_that_is_gone_is_dropped() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put_status(sync("a", 1), now);
        let attempt = take(&mut outbox, now);
        assert_eq!(outbox.failed(attempt, Refusal::Gone, now), Fate::Dropped);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn one_that_changes_all_the_time_does_not_keep_the_others_waiting() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put_status(sync("b", 1), now);
        let mut told = Vec::new();
        for round in 0..3 {
            outbox.put_status(sync("a", round), now);
            outbox.put_event(event(&round.to_string()), now);
            told.push(word(&take(&mut outbox, now).message));
        }
        assert_eq!(told, ["a=0", "0", "b=1"]);
    }

    #[test]
    fn events_are_tried_again_in_order_and_only_for_so_long() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for text in ["first", "second", "first"] {
            assert_eq!(outbox.put_event(event(text), now), Fate::Kept);
        }
        for _ in ["first", "second"] {
            let attempt = take(&mut outbox, now);
            assert_eq!(outbox.failed(attempt, Refusal::Away, now), Fate::Kept);
        }
        assert_eq!(drain(&mut outbox, now + PAUSE_MAX, Stage::Open), ["first", "second"]);
        // Away: for an hour. Refused: five times.
        outbox.put_event(event("late"), now);
        let attempt = take(&mut outbox, now);
        assert_eq!(outbox.failed(attempt, Refusal::Away, now + EVENT_AGE_MAX), Fate::Dropped);
        outbox.put_event(event("unwanted"), now);
        let mut fates = Vec::new();
        for round in 0..MAX_REFUSALS {
            let later = now + PAUSE_MAX * round;
            let attempt = take(&mut outbox, later);
            fates.push(outbox.failed(attempt, Refusal::Refused, later));
        }
        assert_eq!(fates, [Fate::Kept, Fate::Kept, Fate::Kept, Fate::Kept, Fate::Dropped]);
    }

    #[test]
    fn of_too_many_events_the_oldest_go() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let fates: Vec<Fate> =
            (0..=MAX_EVENTS).map(|number| outbox.put_event(event(&number.to_string()), now)).collect();
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Dropped).count(), 1);
        let told = drain(&mut outbox, now, Stage::Open);
        assert_eq!((told.len(), told[0].as_str()), (MAX_EVENTS, "1"));
    }

    #[test]
    fn at_the_end_everything_is_tried_once_more_at_once() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put_status(sync("a", 1), now);
        let attempt = take(&mut outbox, now);
        outbox.failed(attempt, Refusal::Away, now);
        assert!(drain(&mut outbox, now, Stage::Open).is_empty());
        assert_eq!(drain(&mut outbox, now, Stage::Closing), ["a=1"]);
    }
}
