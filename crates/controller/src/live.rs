//! What is known of every managed object: what was applied, what was seen last, and whether the
//! two agree. Owned by the event loop; fed by watches and by the answers to our own requests.
//!
//! Nothing here holds a whole live object: an event is compared when it arrives and only its
//! version, a hash and the differences stay.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use manifest::{Digest, GroupKind, ObjectRef};
use plan::{
    Claims, DriftSeen, FieldDiff, Lifecycle, Live, LiveStates, Presence, SyncRef, Visibility, as_served,
    declared_differences,
};
use serde_json::Value;

/// What our last apply made of an object.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Digest of the body that was applied.
    pub applied: Digest,
    /// The declared fields with the server's values, as JSON; `None`: as in the body.
    pub served: Option<Arc<[u8]>>,
}

/// What was seen of an object last.
#[derive(Debug, Clone)]
struct Seen {
    uid: String,
    resource_version: String,
    lifecycle: Lifecycle,
    drift: Vec<FieldDiff>,
    /// Content hash of the state that was last found to be as expected.
    settled: Option<u128>,
    /// Whether there was a declaration to compare with.
    judged: bool,
}

/// One managed object.
#[derive(Debug, Default)]
struct Entry {
    owner: Option<SyncRef>,
    expected: Option<Expected>,
    seen: Option<Seen>,
    /// Requests of ours that are under way; events are kept until they are answered.
    in_flight: u32,
    /// The last event that arrived meanwhile.
    waiting: Option<Waiting>,
}

/// An event that waits for the answer to a request of ours.
#[derive(Debug)]
enum Waiting {
    Seen(Observation),
    Gone { resource_version: String },
}

impl Waiting {
    fn resource_version(&self) -> &str {
        match self {
            Self::Seen(observation) => &observation.resource_version,
            Self::Gone { resource_version } => resource_version,
        }
    }
}

/// One sight of an object.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub lifecycle: Lifecycle,
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
            lifecycle: seen.lifecycle,
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
    /// It differs from what was applied.
    Drifted,
    /// A request of ours is under way; the event is judged when it is answered.
    Waiting,
}

/// The answer to one apply.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// Digest of the body.
    pub digest: Digest,
    /// What came back.
    pub seen: Observation,
}

/// Every object that is managed, or was.
#[derive(Debug, Default)]
pub(crate) struct LiveTable {
    objects: HashMap<ObjectRef, Entry>,
    /// Kinds whose watch has delivered its first full list.
    watched: HashSet<GroupKind>,
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

    /// Whether anything is known about what was applied to `reference`.
    #[must_use]
    pub(crate) fn is_expected(&self, reference: &ObjectRef) -> bool {
        self.objects.get(reference).is_some_and(|entry| entry.expected.is_some())
    }

    /// The watch of `kind` has delivered everything that is there.
    pub(crate) fn synced(&mut self, kind: &GroupKind) {
        self.watched.insert(kind.clone());
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

    /// A request for `reference` is sent.
    pub(crate) fn begin(&mut self, reference: &ObjectRef) {
        self.entry(reference).in_flight += 1;
    }

    /// A request for `reference` failed or was not sent after all. Returns what its waiting event
    /// means, if there is one.
    pub(crate) fn abandon(&mut self, reference: &ObjectRef, declared: Option<&Declared<'_>>) -> Sight {
        let entry = self.entry(reference);
        entry.in_flight = entry.in_flight.saturating_sub(1);
        self.judge_waiting(reference, declared)
    }

    /// A watch saw the object.
    pub(crate) fn observe(
        &mut self,
        reference: &ObjectRef,
        observation: Observation,
        declared: Option<&Declared<'_>>,
    ) -> Sight {
        let entry = self.entry(reference);
        if entry.in_flight > 0 {
            entry.waiting = Some(Waiting::Seen(observation));
            return Sight::Waiting;
        }
        if entry.is_old(&observation.uid, &observation.resource_version) {
            return Sight::Settled;
        }
        entry.judge(&observation, declared)
    }

    /// A watch saw that the object is gone, or no longer carries our label.
    pub(crate) fn vanish(&mut self, reference: &ObjectRef, resource_version: &str) -> Sight {
        let entry = self.entry(reference);
        if entry.in_flight > 0 {
            entry.waiting = Some(Waiting::Gone { resource_version: resource_version.to_owned() });
            return Sight::Waiting;
        }
        entry.judge_gone(resource_version)
    }

    /// An apply was answered: from now on this is what is expected. An answer to an older body than
    /// the declared one blesses nothing: it is judged like any other sight.
    pub(crate) fn applied(&mut self, reference: &ObjectRef, applied: &Applied, declared: &Declared<'_>) -> Sight {
        let entry = self.entry(reference);
        entry.in_flight = entry.in_flight.saturating_sub(1);
        let blessed = applied.digest == declared.digest;
        if blessed {
            entry.expect(applied, declared);
        }
        // An event that is not newer than the answer has nothing to add.
        let version = &applied.seen.resource_version;
        if entry.waiting.as_ref().is_some_and(|waiting| !is_newer(waiting.resource_version(), version)) {
            entry.waiting = None;
        }
        if !blessed {
            entry.seen = None;
            let sight = entry.judge(&applied.seen, Some(declared));
            if entry.waiting.is_none() {
                return if entry.in_flight > 0 { Sight::Waiting } else { sight };
            }
        }
        self.judge_waiting(reference, Some(declared))
    }

    /// A deletion was answered.
    pub(crate) fn pruned(&mut self, reference: &ObjectRef) {
        self.objects.remove(reference);
    }

    /// What our last apply made of the object.
    #[must_use]
    pub(crate) fn expected(&self, reference: &ObjectRef) -> Option<&Expected> {
        self.objects.get(reference)?.expected.as_ref()
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
        if entry.in_flight > 0 {
            return Sight::Waiting;
        }
        match entry.waiting.take() {
            None => Sight::Settled,
            Some(Waiting::Seen(observation)) if entry.is_old(&observation.uid, &observation.resource_version) => {
                Sight::Settled
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

impl Entry {
    /// Whether an event tells of a time before what is known of the same object.
    fn is_old(&self, uid: &str, resource_version: &str) -> bool {
        let seen = self.seen.as_ref().filter(|seen| seen.judged && seen.uid == uid);
        seen.is_some_and(|seen| is_newer(&seen.resource_version, resource_version))
    }

    fn judge_gone(&mut self, resource_version: &str) -> Sight {
        let older =
            self.seen.as_ref().is_some_and(|seen| seen.judged && !is_newer(resource_version, &seen.resource_version));
        // The end of an earlier object of the same name, or of an earlier sight, is no news about this one.
        if older {
            return Sight::Settled;
        }
        self.seen = None;
        Sight::Drifted
    }

    /// The answer to an apply of the declared body becomes what is expected.
    fn expect(&mut self, applied: &Applied, declared: &Declared<'_>) {
        let served = served_otherwise(declared, &applied.seen.json).map(Arc::from);
        self.expected = Some(Expected { applied: applied.digest, served });
        self.seen = Some(Seen {
            uid: applied.seen.uid.clone(),
            resource_version: applied.seen.resource_version.clone(),
            lifecycle: applied.seen.lifecycle,
            drift: Vec::new(),
            settled: Some(applied.seen.content),
            judged: true,
        });
    }

    fn judge(&mut self, observation: &Observation, declared: Option<&Declared<'_>>) -> Sight {
        let settled = self.seen.as_ref().and_then(|seen| seen.settled).filter(|hash| *hash == observation.content);
        let drift = match (settled, declared) {
            (Some(_), _) | (None, None) => Vec::new(),
            (None, Some(declared)) => self.compare(observation, declared),
        };
        let sight = if drift.is_empty() { Sight::Settled } else { Sight::Drifted };
        self.seen = Some(Seen {
            uid: observation.uid.clone(),
            resource_version: observation.resource_version.clone(),
            lifecycle: observation.lifecycle,
            // Without a declaration nothing was compared, so nothing is settled.
            settled: (drift.is_empty() && declared.is_some()).then_some(observation.content),
            judged: declared.is_some(),
            drift,
        });
        sight
    }

    fn compare(&self, observation: &Observation, declared: &Declared<'_>) -> Vec<FieldDiff> {
        let expected = self.expected.as_ref().and_then(|expected| expected.served.as_deref()).unwrap_or(declared.body);
        match (serde_json::from_slice::<Value>(expected), serde_json::from_slice::<Value>(&observation.json)) {
            (Ok(expected), Ok(live)) => declared_differences(&expected, &live, declared.kind, declared.visibility),
            // What cannot be read cannot be called as expected.
            _ => vec![FieldDiff { path: "(unreadable)".to_owned(), before: None, after: None }],
        }
    }
}

/// The declared fields with the server's values, as canonical JSON, where those are not the declared
/// ones. An answer that cannot be read teaches nothing: then the declaration itself is expected.
pub(crate) fn served_otherwise(declared: &Declared<'_>, answer: &[u8]) -> Option<Vec<u8>> {
    if declared.visibility == Visibility::Masked {
        return None;
    }
    let body: Value = serde_json::from_slice(declared.body).ok()?;
    let served = as_served(&body, &serde_json::from_slice(answer).ok()?, declared.kind);
    (served != body).then(|| manifest::canonical_json(&served))
}

/// Whether `version` is newer than `than`. Kubernetes compares resource versions of one resource as
/// integers since 1.35; what is no integer is taken as newer, so that it is looked at.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

impl LiveStates for LiveTable {
    fn live(&self, reference: &ObjectRef) -> Live<'_> {
        match self.objects.get(reference) {
            Some(Entry { seen: Some(seen), expected, .. }) => Live::Present(Presence {
                uid: &seen.uid,
                resource_version: &seen.resource_version,
                applied: expected.as_ref().map(|expected| expected.applied),
                lifecycle: seen.lifecycle,
                drift: &seen.drift,
                seen: DriftSeen::Event,
            }),
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
mod tests {
    use super::*;
    use manifest::ClusterId;
    use serde_json::json;

    fn reference() -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("apps", "Deployment"),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn seen(version: &str, object: &Value) -> Observation {
        let json: Arc<[u8]> = serde_json::to_vec(object).unwrap().into();
        Observation {
            uid: "u1".into(),
            resource_version: version.into(),
            lifecycle: Lifecycle::Stable,
            content: json.iter().fold(7_u128, |hash, byte| hash.wrapping_mul(31).wrapping_add(u128::from(*byte))),
            json,
        }
    }

    struct Fixture {
        table: LiveTable,
        body: Vec<u8>,
        kind: GroupKind,
    }

    impl Fixture {
        fn new() -> Self {
            let body = json!({"spec": {"replicas": 3, "cpu": "0.5"}}).to_string().into_bytes();
            let mut fixture = Self { table: LiveTable::default(), body, kind: GroupKind::new("apps", "Deployment") };
            fixture.table.begin(&reference());
            let sight = fixture.apply("5", &json!({"spec": {"replicas": 3, "cpu": "500m", "added": true}}));
            assert_eq!(sight, Sight::Settled);
            fixture
        }

        fn apply(&mut self, version: &str, response: &Value) -> Sight {
            let declared = Declared {
                body: &self.body,
                digest: Digest::of(&self.body),
                kind: &self.kind,
                visibility: Visibility::Shown,
            };
            let applied = Applied { digest: Digest::of(&self.body), seen: seen(version, response) };
            self.table.applied(&reference(), &applied, &declared)
        }

        fn observe(&mut self, version: &str, object: &Value) -> Sight {
            let declared = Declared {
                body: &self.body,
                digest: Digest::of(&self.body),
                kind: &self.kind,
                visibility: Visibility::Shown,
            };
            self.table.observe(&reference(), seen(version, object), Some(&declared))
        }
    }

    #[test]
    fn the_servers_spelling_and_additions_are_expected() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.observe("6", &json!({"spec": {"replicas": 3, "cpu": "500m", "other": 1}})), Sight::Settled);
        assert_eq!(fixture.observe("7", &json!({"spec": {"replicas": 10, "cpu": "500m"}})), Sight::Drifted);
        let Live::Present(presence) = fixture.table.live(&reference()) else { panic!("not present") };
        assert_eq!(presence.drift[0].path, "spec.replicas");
    }

    #[test]
    fn an_event_during_a_request_waits_and_an_older_one_is_dropped() {
        let mut fixture = Fixture::new();
        fixture.table.begin(&reference());
        let drifted = json!({"spec": {"replicas": 10, "cpu": "500m"}});
        assert_eq!(fixture.observe("6", &drifted), Sight::Waiting);
        assert_eq!(fixture.apply("7", &json!({"spec": {"replicas": 3, "cpu": "500m"}})), Sight::Settled);
        fixture.table.begin(&reference());
        assert_eq!(fixture.observe("9", &drifted), Sight::Waiting);
        assert_eq!(fixture.apply("8", &json!({"spec": {"replicas": 3, "cpu": "500m"}})), Sight::Drifted);
    }

    #[test]
    fn an_event_that_comes_after_the_answer_and_is_older_says_nothing() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.observe("4", &json!({"spec": {"replicas": 10}})), Sight::Settled);
        assert_eq!(fixture.table.vanish(&reference(), "4"), Sight::Settled);
        assert_eq!(fixture.table.vanish(&reference(), "6"), Sight::Drifted);
    }

    #[test]
    fn a_deletion_during_a_request_is_not_forgotten() {
        let mut fixture = Fixture::new();
        fixture.table.begin(&reference());
        assert_eq!(fixture.table.vanish(&reference(), "9"), Sight::Waiting);
        assert_eq!(fixture.apply("7", &json!({"spec": {"replicas": 3, "cpu": "500m"}})), Sight::Drifted);
        fixture.table.begin(&reference());
        assert_eq!(fixture.table.vanish(&reference(), "10"), Sight::Waiting);
        assert_eq!(fixture.apply("11", &json!({"spec": {"replicas": 3, "cpu": "500m"}})), Sight::Settled);
    }

    #[test]
    fn the_answer_to_an_older_body_blesses_nothing() {
        let mut fixture = Fixture::new();
        fixture.table.begin(&reference());
        fixture.body = json!({"spec": {"replicas": 4}}).to_string().into_bytes();
        let declared = Declared {
            body: &fixture.body,
            digest: Digest::of(&fixture.body),
            kind: &fixture.kind,
            visibility: Visibility::Shown,
        };
        let late = Applied { digest: Digest::of(b"older"), seen: seen("8", &json!({"spec": {"replicas": 3}})) };
        assert_eq!(fixture.table.applied(&reference(), &late, &declared), Sight::Drifted);
    }

    #[test]
    fn what_was_seen_before_it_was_claimed_is_judged_afterwards() {
        let mut table = LiveTable::default();
        let drifted = json!({"spec": {"replicas": 10}});
        assert_eq!(table.observe(&reference(), seen("5", &drifted), None), Sight::Settled);
        let body = json!({"spec": {"replicas": 3}}).to_string().into_bytes();
        let kind = GroupKind::new("apps", "Deployment");
        let declared = Declared { body: &body, digest: Digest::of(&body), kind: &kind, visibility: Visibility::Shown };
        assert_eq!(table.observe(&reference(), seen("5", &drifted), Some(&declared)), Sight::Drifted);
    }

    #[test]
    fn an_answer_that_cannot_be_read_leaves_the_declaration_expected() {
        let (body, kind) = (br#"{"spec":{"replicas":3}}"#, GroupKind::new("apps", "Deployment"));
        let declared = Declared { body, digest: Digest::of(body), kind: &kind, visibility: Visibility::Shown };
        assert_eq!(served_otherwise(&declared, b"{"), None);
        assert_eq!(served_otherwise(&declared, br#"{"spec":{"replicas":3,"more":1}}"#), None);
        assert_eq!(
            served_otherwise(&declared, br#"{"spec":{"replicas":4}}"#),
            Some(br#"{"spec":{"replicas":4}}"#.to_vec())
        );
    }

    #[test]
    fn absence_counts_only_once_the_kind_is_watched() {
        let mut table = LiveTable::default();
        assert_eq!(table.live(&reference()), Live::Unobserved);
        table.synced(&GroupKind::new("apps", "Deployment"));
        assert_eq!(table.live(&reference()), Live::Absent);
    }

    #[test]
    fn a_relist_finds_what_vanished_in_a_gap() {
        let mut fixture = Fixture::new();
        let gone = fixture.table.relisted(&GroupKind::new("apps", "Deployment"), &HashSet::new());
        assert_eq!(gone, [reference()]);
    }
}
