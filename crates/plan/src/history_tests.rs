use std::collections::BTreeMap;

use jiff::Timestamp;
use manifest::{ClusterId, GroupKind, ObjectRef};
use proptest::prelude::*;

use super::*;
use crate::{FieldClass, Severity};

/// Texts of a log: what entries are made of.
#[derive(Debug, Clone)]
struct Written {
    kind: &'static str,
    subject: BTreeMap<String, String>,
    codes: Vec<String>,
    counts: BTreeMap<String, u64>,
    body: Option<String>,
}

fn object(name: u8) -> ObjectRef {
    ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("apps", "Deployment"),
        namespace: Some("shop".into()),
        name: format!("o{name}"),
    }
}

fn cause(object: &ObjectRef, field: &str, after: &str) -> Cause {
    Cause {
        id: DriftId::of(object, Some(field), DriftChange::Edited),
        field: Some(field.to_owned()),
        before: Some("1".to_owned()),
        after: Some(after.to_owned()),
        class: FieldClass::Replicas.name().to_owned(),
        severity: FieldClass::Replicas.severity(),
        change: DriftChange::Edited,
        declared_at: Some("web/web.yaml:1".to_owned()),
        declared: Some("d1".to_owned()),
        actor: None,
        level: None,
        actor_class: None,
        gap: None,
    }
}

fn written(kind: &'static str, subject: &[(&str, &str)], code: &str) -> Written {
    Written {
        kind,
        subject: subject.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        codes: if code.is_empty() { Vec::new() } else { vec![code.to_owned()] },
        counts: BTreeMap::new(),
        body: None,
    }
}

/// Drift of one object, in its entry.
fn single(kind: &'static str, name: u8, code: &str, after: &str, suppressed: u64) -> Written {
    let object = object(name);
    let subject = [("sync", "shop/web"), ("object", &object.to_string()), ("origin", "drift"), ("commit", "c1")];
    let mut entry = written(kind, &subject, code);
    entry.subject.extend(cause(&object, "spec.replicas", after).subject());
    entry.counts.insert("suppressed".to_owned(), suppressed);
    entry
}

/// Drift of two objects, in a body.
fn several(kind: &'static str, code: &str) -> Written {
    let list = [0, 1].map(|name| {
        let object = object(name);
        let mut one = cause(&object, "spec.replicas", "9").body();
        one.insert("object".to_owned(), object.to_string().into());
        one.insert("code".to_owned(), code.into());
        one
    });
    let member = if kind == "revert" { "changes" } else { "drift" };
    let mut entry = written(kind, &[("sync", "shop/web"), ("origin", "drift"), ("commit", "c1")], code);
    entry.body = Some(serde_json::json!({ member: list }).to_string());
    entry
}

fn about(kind: &'static str, name: u8, more: &[(&str, &str)], code: &str) -> Written {
    let text = object(name).to_string();
    let mut subject = vec![("sync", "shop/web"), ("object", &*text), ("origin", "drift")];
    subject.extend(more);
    written(kind, &subject, code)
}

fn entries() -> impl Strategy<Value = Written> {
    let code = prop::sample::select(vec!["D101", "D106", "D107"]);
    let one = (prop::sample::select(vec!["revert", "flag"]), 0..3_u8, code, "[0-9]", 0..3_u64)
        .prop_map(|(kind, name, code, after, suppressed)| single(kind, name, code, &after, suppressed));
    prop_oneof![
        4 => one,
        1 => prop::sample::select(vec!["revert", "flag"]).prop_map(|kind| several(kind, "D101")),
        1 => (0..3_u8).prop_map(|name| about("outcome", name, &[("result", "failed")], "A101")),
        1 => (0..3_u8).prop_map(|name| about("outcome", name, &[("result", "reverted-late")], "")),
        1 => (0..3_u8).prop_map(|name| about("outcome", name, &[("result", "reverted")], "D103")),
        1 => (0..3_u8, "d[12]").prop_map(|(name, declared)| about("release", name, &[("declared", &declared)], "")),
        1 => (0..3_u8).prop_map(|name| {
            let id = cause(&object(name), "spec.replicas", "").id;
            written("acknowledge", &[("drift", id.as_str()), ("by", "bob")], "")
        }),
        1 => "c[12]".prop_map(|commit| {
            written("advance", &[("sync", "shop/web"), ("commit", &commit), ("principal", "alice")], "")
        }),
        1 => Just(written("outcome", &[("sync", "shop/web"), ("result", "ended")], "")),
        1 => Just(written("boot", &[("instance", "default")], "")),
    ]
}

fn read(index: usize, entry: &Written) -> Vec<DriftFact> {
    let time = Timestamp::from_second(1_000 + i64::try_from(index).unwrap()).unwrap().to_string();
    let view = EntryView {
        index: index as u64,
        kind: entry.kind,
        time: &time,
        subject: &entry.subject,
        codes: &entry.codes,
        counts: &entry.counts,
    };
    facts(&view, entry.body.as_deref().map(str::as_bytes)).unwrap()
}

fn folded(log: &[Written]) -> Records {
    let mut records = Records::default();
    log.iter().enumerate().flat_map(|(index, entry)| read(index, entry)).for_each(|fact| records.fold(&fact));
    records
}

/// The one drift of a log of one object.
fn only(log: &[Written]) -> String {
    let records = folded(log);
    let all: Vec<&Record> = records.iter().collect();
    let [record] = all.as_slice() else { panic!("{all:?}") };
    format!("{} {} {} by {}", record.state.name(), record.count, record.code, record.signer.as_deref().unwrap_or("-"))
}

proptest! {
    #[test]
    fn a_snapshot_and_the_rest_of_a_log_give_what_the_whole_log_gives(
        log in prop::collection::vec(entries(), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let whole = folded(&log);
        let at = at.index(log.len() + 1);
        let text = serde_json::to_vec(&folded(&log[..at])).unwrap();
        let mut resumed: Records = serde_json::from_slice(&text).unwrap();
        log.iter().enumerate().skip(at).flat_map(|(index, entry)| read(index, entry)).for_each(|fact| resumed.fold(&fact));
        prop_assert_eq!(&resumed, &whole);
        // Each sighting is counted, whatever else stands between them.
        let seen: u64 = log.iter().enumerate().flat_map(|(index, entry)| read(index, entry)).map(|fact| match fact {
            DriftFact::Seen(seen) if seen.reverted => seen.times,
            _ => 0,
        }).sum();
        prop_assert!(whole.iter().map(|record| record.count).sum::<u64>() >= seen);
        prop_assert_eq!(whole.open().count(), whole.iter().filter(|record| record.state.is_open()).count());
        prop_assert_eq!(whole.groups(|_| true).iter().map(|group| group.records.len()).sum::<usize>(), whole.iter().count());
    }

    #[test]
    fn any_entry_is_read_without_harm(kind in "revert|flag|outcome|release|acknowledge", names in prop::collection::btree_map(
        "sync|object|origin|result|drift|class|severity|change|commit", "drift|low|edited|[0-9a-f]{12}|.{0,8}", 0..9,
    ), body in prop::option::of(".{0,40}")) {
        let entry = EntryView { index: 0, kind: &kind, time: "?", subject: &names, codes: &[], counts: &BTreeMap::new() };
        let _read = facts(&entry, body.as_deref().map(str::as_bytes));
    }
}

#[test]
fn a_drift_is_in_the_state_that_the_newest_entries_say() {
    let accepted = || written("advance", &[("sync", "shop/web"), ("commit", "c1"), ("principal", "alice")], "");
    let revert = || single("revert", 0, "D101", "9", 0);
    let flag = |code| single("flag", 0, code, "9", 0);
    let failed = || about("outcome", 0, &[("result", "failed")], "A101");
    let late = || about("outcome", 0, &[("result", "reverted-late")], "");
    let lifted = |declared| about("release", 0, &[("declared", declared)], "");
    let ended = || written("outcome", &[("sync", "shop/web"), ("result", "ended")], "");
    let boot = || written("boot", &[], "");
    let cases = [
        (vec![revert()], "reverted 1 D101 by -"),
        (vec![accepted(), revert()], "reverted 1 D101 by alice"),
        (vec![revert(), revert()], "reverted 2 D101 by -"),
        (vec![revert(), single("revert", 0, "D101", "9", 4)], "reverted 6 D101 by -"),
        (vec![revert(), failed()], "open 1 D101 by -"),
        (vec![revert(), failed(), late()], "reverted 1 D101 by -"),
        (vec![revert(), flag("D107")], "contested 2 D107 by -"),
        (vec![revert(), flag("D107"), late()], "reverted 2 D107 by -"),
        (vec![flag("D101")], "open 1 D101 by -"),
        // What is left alone is told again after a restart, and is the same.
        (vec![flag("D101"), boot(), flag("D101")], "open 1 D101 by -"),
        (vec![flag("D101"), lifted("d1")], "reverted 1 D101 by -"),
        (vec![flag("D101"), lifted("d1"), flag("D101")], "open 2 D101 by -"),
        (vec![flag("D101"), lifted("d2")], "accepted 1 D101 by -"),
        (vec![flag("D101"), lifted(UNDECLARED)], "accepted 1 D101 by -"),
        (vec![flag("D101"), about("release", 0, &[], "")], "reverted 1 D101 by -"),
        (vec![flag("D101"), ended()], "expired 1 D101 by -"),
        (vec![flag("D101"), revert()], "reverted 2 D101 by -"),
        (vec![revert(), about("outcome", 0, &[("result", "reverted")], "D103")], "reverted 1 D103 by -"),
    ];
    for (log, expected) in cases {
        assert_eq!(only(&log), expected, "{log:?}");
    }
}

#[test]
fn who_it_was_is_not_forgotten_when_it_is_told_again() {
    let mut first = single("flag", 0, "D101", "9", 0);
    let by = [("actor", "alice"), ("level", "observed"), ("actorClass", "human")];
    first.subject.extend(by.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let records = folded(&[first, single("flag", 0, "D101", "9", 0)]);
    let told: Vec<_> = records.iter().map(|record| (record.cause.actor.as_deref(), record.count)).collect();
    assert_eq!(told, [(Some("alice"), 1)]);
}

#[test]
fn what_one_cause_did_to_many_objects_is_one_group_and_the_worst_stand_first() {
    let mut log: Vec<Written> = (0..3).map(|name| single("revert", name, "D101", "9", 0)).collect();
    let mut image = single("revert", 1, "D101", "evil", 0);
    let by = Cause {
        id: DriftId::of(&object(1), Some("image"), DriftChange::Edited),
        class: FieldClass::Image.name().to_owned(),
        severity: Severity::Critical,
        ..cause(&object(1), "image", "evil")
    };
    image.subject.extend(by.subject());
    log.insert(0, image);
    log.push(single("flag", 2, "D101", "7", 0));
    let records = folded(&log);
    let groups: Vec<String> = records
        .groups(|_| true)
        .iter()
        .map(|group| format!("{} {} {}/{}", group.class, group.after.unwrap(), group.open, group.records.len()))
        .collect();
    // The newest of one object and field is what it was changed to last.
    assert_eq!(groups, ["replicas 7 1/1", "image evil 0/1", "replicas 9 0/2"]);
}

#[test]
fn of_what_is_over_the_newest_is_kept_and_of_what_is_open_everything() {
    let mut records = Records::default();
    for (index, name) in (0..=200).enumerate() {
        let kind = if name % 2 == 0 { "revert" } else { "flag" };
        read(index, &single(kind, name, "D101", "9", 0)).iter().for_each(|fact| records.fold(fact));
    }
    records.keep_closed(10);
    assert_eq!((records.open().count(), records.iter().count()), (100, 110));
    let kept: Vec<u64> = records.iter().filter(|record| !record.state.is_open()).map(|record| record.entry).collect();
    assert!(kept.iter().all(|entry| *entry > 180), "{kept:?}");
}

#[test]
fn an_entry_without_the_body_that_names_its_objects_says_so() {
    let several = several("flag", "D101");
    let view = EntryView {
        index: 7,
        kind: several.kind,
        time: "2026-01-01T00:00:00Z",
        subject: &several.subject,
        codes: &several.codes,
        counts: &several.counts,
    };
    assert!(is_told_by_body(&view));
    for body in [None, Some(&b"{"[..]), Some(b"{}")] {
        assert!(facts(&view, body).unwrap_err().to_string().starts_with("entry 7: its body does not say"));
    }
}
