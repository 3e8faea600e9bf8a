//! `writ drift` on logs with entries as the controller writes them.

use std::fs;

use audit::{Durability, Entry, EntryKind, Log, LogKey};
use manifest::{ClusterId, GroupKind, ObjectRef};
use plan::{Cause, DriftChange, DriftId, FieldClass};
use serde_json::{Value, json};
use testkit::Finished;

use crate::support::{expect, text};

struct Logged {
    folder: tempfile::TempDir,
    entries: Vec<(Entry, Option<Value>)>,
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("apps", "Deployment"),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

fn cause(object: &ObjectRef, field: &str, class: FieldClass, after: &str) -> Cause {
    Cause {
        id: DriftId::of(object, Some(field), DriftChange::Edited),
        field: Some(field.to_owned()),
        before: Some("1".to_owned()),
        after: Some(after.to_owned()),
        class: class.name().to_owned(),
        severity: class.severity(),
        change: DriftChange::Edited,
        declared_at: Some("web/web.yaml:3".to_owned()),
        declared: None,
        actor: Some("alice@example.com".to_owned()),
        level: Some("observed".to_owned()),
        actor_class: None,
        gap: None,
    }
}

impl Logged {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        expect(0, &["audit", "key", "--name", "writ.dev/test", "--dir", text(folder.path())]);
        let mut logged = Self { folder, entries: Vec::new() };
        let mut advance = Entry::new(EntryKind::Advance, "2026-11-23T20:00:00Z");
        for (name, value) in [("gate", "sync"), ("sync", "shop/web"), ("commit", "c0ffee"), ("principal", "bob")] {
            advance.subject.insert(name.to_owned(), value.to_owned());
        }
        logged.entries.push((advance, None));
        logged
    }

    fn drifts(mut self, kind: EntryKind, name: &str, cause: &Cause) -> Self {
        let time = format!("2026-11-23T21:00:{:02}Z", self.entries.len());
        let mut entry = Entry::new(kind, time);
        let object = object(name).to_string();
        for (name, value) in [("sync", "shop/web"), ("object", &object), ("origin", "drift"), ("commit", "c0ffee")] {
            entry.subject.insert(name.to_owned(), value.to_owned());
        }
        entry.subject.extend(cause.subject());
        entry.codes.push("D101".to_owned());
        let difference =
            json!({ "path": cause.field, "before": cause.before, "after": cause.after, "class": cause.class });
        let member = if kind == EntryKind::Flag { "drift" } else { "changes" };
        self.entries.push((entry, Some(json!({ member: [{ "object": object, "differences": [difference] }] }))));
        self
    }

    fn written(self) -> Self {
        let key = LogKey::parse(fs::read_to_string(self.folder.path().join("key")).unwrap().trim()).unwrap();
        let log = Log::open(&self.folder.path().join("log"), key, "writ.dev/test").unwrap();
        for (entry, body) in &self.entries {
            let body = body.as_ref().map(|body| body.to_string());
            log.append(entry, body.as_deref().map(str::as_bytes), None, Durability::Grouped).unwrap();
        }
        log.close().unwrap();
        self
    }

    fn drift(&self, code: i32, arguments: &[&str]) -> Finished {
        let (log, key) = (self.folder.path().join("log"), self.folder.path().join("key.pub"));
        expect(code, &[&["drift"], arguments, &["--log", text(&log), "--key", text(&key)]].concat())
    }

    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let finished = self.drift(code, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&finished.stdout).unwrap()
    }
}

/// Three objects scaled alike and put back, one image that is left alone.
fn some() -> Logged {
    let mut logged = Logged::new();
    for name in ["a", "b", "c"] {
        logged =
            logged.drifts(EntryKind::Revert, name, &cause(&object(name), "spec.replicas", FieldClass::Replicas, "9"));
    }
    logged.drifts(EntryKind::Flag, "a", &cause(&object("a"), "image", FieldClass::Image, "evil")).written()
}

#[test]
fn what_one_change_did_is_one_line_and_what_is_open_stands_first() {
    let logged = some();
    let listed = logged.drift(1, &["ls"]).stdout;
    let heads: Vec<&str> = listed.lines().filter(|line| !line.starts_with(' ')).collect();
    let [image, replicas] = heads.as_slice() else { panic!("{listed}") };
    assert!(image.starts_with("critical image, image edited: 1 -> evil: 1 of 1 object open"), "{image}");
    assert!(replicas.starts_with("medium replicas, spec.replicas edited: 1 -> 9: 0 of 3 objects open, seen 3 times"));
    assert!(replicas.ends_with("by alice@example.com (observed)"), "{replicas}");

    let document = logged.json(1, &["ls"]);
    assert_eq!(document["schema"], "writ.dev/drift/v1alpha1");
    assert_eq!(document["groups"][1]["records"].as_array().unwrap().len(), 3);
    assert_eq!(document["groups"][0]["records"][0]["signer"], "bob");
    assert_eq!(logged.json(0, &["ls", "--object", "shop/b"])["groups"].as_array().unwrap().len(), 1);
    assert_eq!(logged.json(1, &["ls", "--open"])["groups"].as_array().unwrap().len(), 1);
    assert_eq!(logged.json(0, &["ls", "--sync", "shop/other"])["groups"], json!([]));
    assert_eq!(logged.json(1, &["ls", "--last", "1"])["more"], 1);
    assert_eq!(logged.drift(0, &["ls", "--sync", "shop/other"]).stdout, "no drift\n");
}

#[test]
fn one_drift_is_shown_with_everything_that_is_known_of_it() {
    let logged = some();
    let open = cause(&object("a"), "image", FieldClass::Image, "evil").id.to_string();
    let shown = logged.drift(1, &["show", &open]).stdout;
    for line in [
        "what      Deployment.apps shop/a image edited: 1 -> evil",
        "who       alice@example.com (observed)",
        "when      first 2026-11-23T21:00:04Z, last 2026-11-23T21:00:04Z, seen 1 time",
        "state     open: it is told and left alone; D101",
        "declared  at web/web.yaml:3 in commit c0ffee, signed by bob, by Sync shop/web",
        "risk      critical: image: another image is other code, with all that the workload may do",
        "same      no other object",
        "log       entry 4 of writ.dev/test, whose newest entry is of 2026-11-23T21:00:04Z",
        "field     image: 1 -> evil (image)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert!(logged.drift(0, &["explain", &open]).stdout.contains("no line of the catalogue of known mutators"));
    let scaled = cause(&object("a"), "spec.replicas", FieldClass::Replicas, "9").id.to_string();
    assert_eq!(logged.json(0, &["show", &scaled[..8]])["sameCause"].as_array().unwrap().len(), 2);
    assert_eq!(logged.json(0, &["show", &scaled])["drift"]["state"], "reverted");
    logged.drift(2, &["show", "000000000000"]);
    logged.drift(64, &["show", "no-id"]);
}

#[test]
fn names_and_values_do_nothing_to_a_terminal() {
    let tricks = "\u{1b}[2J\rx\u{7}";
    let mut cause = cause(&object("a"), "metadata.annotations[a]", FieldClass::Annotations, tricks);
    cause.actor = Some(tricks.to_owned());
    let logged = Logged::new().drifts(EntryKind::Flag, "a", &cause).written();
    for arguments in [&["ls"][..], &["show", cause.id.as_str()], &["explain", cause.id.as_str()]] {
        let code = if arguments[0] == "explain" { 0 } else { 1 };
        let shown = logged.drift(code, arguments).stdout;
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n') && shown.contains("\\u{1b}"), "{shown:?}");
    }
}
