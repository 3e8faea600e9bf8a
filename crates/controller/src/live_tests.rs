//! The table of live objects: events, answers, and the order in which they come.

use manifest::ClusterId;
use plan::declared_differences;
use serde_json::{Value, json};

use super::*;

fn reference() -> ObjectRef {
    ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("apps", "Deployment"),
        namespace: Some("shop".into()),
        name: "web".into(),
    }
}

fn plan() -> Digest {
    Digest::of(b"plan")
}

fn seen_as(uid: &str, version: &str, object: &Value) -> Observation {
    let json: Arc<[u8]> = serde_json::to_vec(object).unwrap().into();
    Observation {
        uid: uid.into(),
        resource_version: version.into(),
        generation: None,
        lifecycle: Lifecycle::Stable,
        manager: Manager::Writ,
        content: json.iter().fold(7_u128, |hash, byte| hash.wrapping_mul(31).wrapping_add(u128::from(*byte))),
        json,
    }
}

fn seen(version: &str, object: &Value) -> Observation {
    seen_as("u1", version, object)
}

fn deployment(replicas: u32, cpu: &str) -> Value {
    let container = json!({"name": "web", "resources": {"limits": {"cpu": cpu}}});
    json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}}})
}

fn as_served() -> Value {
    let mut object = deployment(3, "500m");
    object["spec"]["added"] = json!(true);
    object
}

fn edited() -> Value {
    deployment(10, "500m")
}

struct Fixture {
    table: LiveTable,
    body: Vec<u8>,
    kind: GroupKind,
}

impl Fixture {
    fn new() -> Self {
        let body = deployment(3, "0.5").to_string().into_bytes();
        let mut fixture = Self { table: LiveTable::default(), body, kind: GroupKind::new("apps", "Deployment") };
        fixture.table.begin(&reference(), plan());
        let sight = fixture.answer("5", &as_served());
        assert_eq!(sight, Sight::Settled);
        fixture
    }

    fn declared(&self) -> (Digest, Vec<u8>, GroupKind) {
        (Digest::of(&self.body), self.body.clone(), self.kind.clone())
    }

    fn answer(&mut self, version: &str, response: &Value) -> Sight {
        self.answer_of(seen(version, response))
    }

    fn answer_of(&mut self, seen: Observation) -> Sight {
        let (digest, body, kind) = self.declared();
        let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
        self.table.applied(
            &reference(),
            Applied { plan: plan(), digest, seen, compared: None, explained: None },
            &declared,
        )
    }

    fn observe(&mut self, version: &str, object: &Value) -> Sight {
        self.observe_as("u1", version, object)
    }

    fn observe_as(&mut self, uid: &str, version: &str, object: &Value) -> Sight {
        let (digest, body, kind) = self.declared();
        let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
        self.table.observe(&reference(), seen_as(uid, version, object), Some(&declared))
    }

    fn drift(&self) -> (Vec<&str>, DriftSeen) {
        let Live::Present(presence) = self.table.live(&reference()) else { panic!("not present") };
        (presence.drift.iter().map(|drift| drift.path.as_str()).collect(), presence.seen)
    }
}

#[test]
fn the_servers_spelling_and_additions_are_no_drift() {
    let mut fixture = Fixture::new();
    let mut more = as_served();
    more["spec"]["other"] = json!(1);
    assert_eq!(fixture.observe("6", &more), Sight::Settled);
    assert_eq!(fixture.observe("7", &edited()), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

/// Whatever our apply is answered with: expected is what is declared.
#[test]
fn an_answer_with_another_value_is_contested_and_never_expected() {
    let mut fixture = Fixture::new();
    for version in ["7", "9"] {
        fixture.table.begin(&reference(), plan());
        assert_eq!(fixture.answer(version, &edited()), Sight::Contested);
        assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Answer));
        assert_eq!(fixture.table.contested(&reference()).len(), 1);
    }
    // The event of that write, and a list that mentions it, say nothing new: no revert for them.
    assert_eq!(fixture.observe("9", &edited()), Sight::Contested);
    // Neither does a change of what is not declared.
    let mut more = edited();
    more["spec"]["other"] = json!(1);
    assert_eq!(fixture.observe("9", &more), Sight::Contested);
    // Another edit is drift, and so is the contested value in it.
    assert_eq!(fixture.observe("10", &deployment(11, "500m")), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
    assert!(fixture.table.contested(&reference()).is_empty());
    // Contested as before, whoever wrote it: the next answer shows whether it still is.
    assert_eq!(fixture.observe("11", &edited()), Sight::Contested);
    // Nobody contests it any more.
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.answer("12", &as_served()), Sight::Settled);
    assert_eq!(fixture.observe("13", &edited()), Sight::Drifted);
}

/// What was as declared before is known by its hash only as long as the declaration is the same.
#[test]
fn a_known_content_is_compared_with_a_new_declaration() {
    let mut fixture = Fixture::new();
    fixture.body = deployment(4, "0.5").to_string().into_bytes();
    assert_eq!(fixture.observe("6", &as_served()), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

#[test]
fn drift_in_another_object_of_the_name_is_known_by_its_uid() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.observe_as("u2", "8", &edited()), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Replacement));
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.answer_of(seen_as("u2", "9", &as_served())), Sight::Settled);
    assert_eq!(fixture.observe_as("u2", "10", &edited()), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

#[test]
fn an_event_during_a_request_waits_and_an_older_one_is_dropped() {
    let mut fixture = Fixture::new();
    fixture.table.begin(&reference(), plan());
    assert!(fixture.table.is_in_flight(&reference()));
    assert_eq!(fixture.observe("6", &edited()), Sight::Waiting);
    assert_eq!(fixture.answer("7", &as_served()), Sight::Settled);
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.observe("9", &edited()), Sight::Waiting);
    assert_eq!(fixture.answer("8", &as_served()), Sight::Drifted);
    assert!(!fixture.table.is_in_flight(&reference()));
}

#[test]
fn an_event_that_comes_after_the_answer_and_is_older_says_nothing() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.observe("4", &edited()), Sight::Past);
    assert_eq!(fixture.table.vanish(&reference(), "4"), Sight::Past);
    assert_eq!(fixture.table.vanish(&reference(), "6"), Sight::Drifted);
}

#[test]
fn a_deletion_during_a_request_is_not_forgotten() {
    let mut fixture = Fixture::new();
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.table.vanish(&reference(), "9"), Sight::Waiting);
    assert_eq!(fixture.answer("7", &as_served()), Sight::Drifted);
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.table.vanish(&reference(), "10"), Sight::Waiting);
    assert_eq!(fixture.answer("11", &as_served()), Sight::Settled);
}

#[test]
fn what_was_seen_during_a_request_that_is_given_up_is_compared() {
    let mut fixture = Fixture::new();
    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    fixture.table.begin(&reference(), plan());
    assert_eq!(fixture.observe("6", &edited()), Sight::Waiting);
    assert_eq!(fixture.table.abandon(&reference(), plan(), Some(&declared)), Some(Sight::Drifted));
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

/// A plan that is given up takes back what of it was not answered, and nothing of another plan.
#[test]
fn an_answered_request_is_not_given_up() {
    let (mut fixture, other) = (Fixture::new(), Digest::of(b"other"));
    assert_eq!(fixture.table.abandon(&reference(), plan(), None), None);
    fixture.table.begin(&reference(), plan());
    fixture.table.begin(&reference(), other);
    assert_eq!(fixture.answer("7", &as_served()), Sight::Waiting);
    assert_eq!(fixture.table.abandon(&reference(), plan(), None), None);
    assert!(fixture.table.is_in_flight(&reference()));
    assert_eq!(fixture.table.abandon(&reference(), other, None), Some(Sight::Settled));
    assert!(!fixture.table.is_in_flight(&reference()));
}

#[test]
fn the_answer_to_an_older_body_is_judged_by_the_new_declaration() {
    let mut fixture = Fixture::new();
    fixture.table.begin(&reference(), plan());
    fixture.body = deployment(4, "0.5").to_string().into_bytes();
    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    // What it was compared with is not what is declared now.
    let compared = Some(Vec::new());
    let late = Applied {
        plan: plan(),
        digest: Digest::of(b"older"),
        seen: seen("8", &as_served()),
        compared,
        explained: None,
    };
    assert_eq!(fixture.table.applied(&reference(), late, &declared), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

/// Two writes of one object are answered in another order than the server made them: what it made last is what is there.
#[test]
fn an_answer_that_comes_late_hides_no_newer_one() {
    let mut fixture = Fixture::new();
    let (older, newer) = (plan(), Digest::of(b"newer plan"));
    let before = fixture.declared().0;
    fixture.table.begin(&reference(), older);
    fixture.table.begin(&reference(), newer);
    fixture.body = deployment(4, "0.5").to_string().into_bytes();
    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    let answer = |plan, digest, version: &str, replicas: u32| {
        let mut live = as_served();
        live["spec"]["replicas"] = replicas.into();
        Applied { plan, digest, seen: seen(version, &live), compared: None, explained: None }
    };
    // The revert to the older declaration came last, and is answered first.
    assert_eq!(fixture.table.applied(&reference(), answer(older, before, "11", 3), &declared), Sight::Waiting);
    assert_eq!(fixture.table.applied(&reference(), answer(newer, digest, "10", 4), &declared), Sight::Drifted);
    assert_eq!(fixture.drift(), (vec!["spec.replicas"], DriftSeen::Event));
}

#[test]
fn an_answer_that_was_compared_already_is_contested_all_the_same() {
    let mut fixture = Fixture::new();
    fixture.table.begin(&reference(), plan());
    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    let live = edited();
    let compared = Some(declared_differences(&serde_json::from_slice(&body).unwrap(), &live, &kind, Visibility::Shown));
    let answer = Applied { plan: plan(), digest, seen: seen("8", &live), compared, explained: None };
    assert_eq!(fixture.table.applied(&reference(), answer, &declared), Sight::Contested);
}

#[test]
fn what_was_seen_before_it_was_claimed_is_judged_afterwards() {
    let mut table = LiveTable::default();
    assert_eq!(table.observe(&reference(), seen("5", &edited()), None), Sight::Settled);
    let body = deployment(3, "0.5").to_string().into_bytes();
    let kind = GroupKind::new("apps", "Deployment");
    let declared = Declared { body: &body, digest: Digest::of(&body), kind: &kind, visibility: Visibility::Shown };
    assert_eq!(table.observe(&reference(), seen("5", &edited()), Some(&declared)), Sight::Drifted);
}

#[test]
fn what_cannot_be_read_is_not_as_declared() {
    let mut fixture = Fixture::new();
    let mut torn = seen("6", &edited());
    torn.json = Arc::from(&b"{"[..]);
    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    assert_eq!(fixture.table.observe(&reference(), torn, Some(&declared)), Sight::Drifted);
}

#[test]
fn absence_counts_only_once_the_kind_is_watched() {
    let mut table = LiveTable::default();
    assert_eq!(table.live(&reference()), Live::Unobserved);
    table.synced(&GroupKind::new("apps", "Deployment"));
    assert_eq!(table.live(&reference()), Live::Absent);
}

/// Also of objects that were seen: they went with their definition.
#[test]
fn nothing_is_there_of_a_kind_that_is_not_served() {
    let mut fixture = Fixture::new();
    let kind = fixture.kind.clone();
    fixture.table.unserved([kind].into());
    assert_eq!(fixture.table.live(&reference()), Live::Unserved);
    fixture.table.unserved(BTreeSet::new());
    assert_ne!(fixture.table.live(&reference()), Live::Unserved);
}

#[test]
fn a_relist_finds_what_vanished_in_a_gap() {
    let mut fixture = Fixture::new();
    let gone = fixture.table.relisted(&GroupKind::new("apps", "Deployment"), &HashSet::new());
    assert_eq!(gone, [reference()]);
}

fn annotated(mut object: Value, name: &str) -> Value {
    object["metadata"]["annotations"][name] = json!("x");
    object
}

fn news(fixture: &mut Fixture) -> Option<Vec<String>> {
    fixture.table.take_added(&reference()).map(|expected| expected.added.paths.clone())
}

/// What the answer to our create has beyond the declaration is the server's; what comes later is somebody's.
#[test]
fn what_others_add_is_noted_once_and_told_from_what_the_server_made() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.observe("6", &annotated(as_served(), "hand")), Sight::Settled);
    assert_eq!(news(&mut fixture), None, "nothing can be told apart from what is not known");

    let (digest, body, kind) = fixture.declared();
    let declared = Declared { body: &body, digest, kind: &kind, visibility: Visibility::Shown };
    let explained = Explained::new(&["spec.added".to_owned()]);
    let made = Applied { plan: plan(), digest, seen: seen("7", &as_served()), compared: Some(Vec::new()), explained };
    assert_eq!(fixture.table.applied(&reference(), made, &declared), Sight::Settled);
    assert_eq!((news(&mut fixture), fixture.table.added_to()), (None, 0));

    assert_eq!(fixture.observe("8", &annotated(as_served(), "hand")), Sight::Settled);
    assert_eq!(news(&mut fixture).unwrap(), ["metadata.annotations.hand"]);
    assert_eq!(fixture.observe("9", &annotated(as_served(), "hand")), Sight::Settled);
    assert_eq!(news(&mut fixture), None);

    // An edit comes with another addition: that is noted when the edit is put back.
    let more = |object| annotated(annotated(object, "hand"), "more");
    assert_eq!(fixture.observe("10", &more(edited())), Sight::Drifted);
    assert_eq!(news(&mut fixture), None);
    assert_eq!(fixture.answer("11", &more(as_served())), Sight::Settled);
    assert_eq!(news(&mut fixture).unwrap(), ["metadata.annotations.hand", "metadata.annotations.more"]);

    assert_eq!(fixture.observe("12", &as_served()), Sight::Settled);
    assert_eq!(news(&mut fixture).unwrap(), [] as [&str; 0], "taken away again");
    assert_eq!(fixture.observe_as("u2", "13", &annotated(as_served(), "hand")), Sight::Settled);
    assert_eq!(news(&mut fixture), None, "another object of the name is not ours");
}

#[test]
fn the_list_of_additions_is_bounded() {
    let explained = Explained::new(&[]).unwrap();
    let added = explained.added((0..50).map(|number| format!("spec.f{number}")).collect());
    assert_eq!((added.paths.len(), added.more), (20, 30));
    assert!(Explained::new(&vec![String::new(); plan::MAX_SURPLUS]).is_none());
}

#[test]
fn a_list_that_began_before_an_answer_undoes_nothing() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.answer("12", &as_served()), Sight::Settled);
    // As of version 10 it was edited, or not there.
    assert_eq!(fixture.observe("10", &edited()), Sight::Past);
    assert_eq!(fixture.table.vanish(&reference(), "10"), Sight::Past);
    assert_eq!(fixture.drift(), (Vec::new(), DriftSeen::Event));
    assert_eq!(fixture.table.present_of(&fixture.kind, |_| true), [reference()]);
    assert_eq!(fixture.table.vanish(&reference(), "13"), Sight::Drifted);
    assert!(fixture.table.present_of(&fixture.kind, |_| true).is_empty());
}
