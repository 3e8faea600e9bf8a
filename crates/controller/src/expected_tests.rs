//! `expected/`: what is there after it was opened again.

use super::*;
use manifest::{ClusterId, GroupKind};

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("apps", "Deployment"),
        namespace: Some("shop".into()),
        name: name.into(),
    }
}

fn record(name: &str, body: &str) -> ExpectedRecord {
    ExpectedRecord {
        object: object(name),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: Some(1),
        applied: Digest::of(body.as_bytes()),
        baseline: None,
        surplus: None,
        added: Additions::default(),
    }
}

fn with_baseline(mut record: ExpectedRecord, baseline: &str) -> ExpectedRecord {
    record.baseline = Some(serde_json::value::RawValue::from_string(baseline.into()).unwrap());
    record
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> (ExpectedStore, Loaded) {
        ExpectedStore::open(self.0.path()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("records")
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.path()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_last_record_wins_and_forgotten_ones_are_gone() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    store.remember(record("a", "1"));
    store.remember(record("b", "1"));
    store.flush().unwrap();
    store.remember(record("a", "2"));
    store.forget(&object("b"));
    store.flush().unwrap();
    drop(store);
    let (_, loaded) = dir.open();
    assert_eq!(loaded.damaged, 0);
    let expected = Expected {
        applied: Digest::of(b"2"),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: Some(1),
        explained: None,
        added: Additions::default(),
    };
    assert_eq!(loaded.objects.into_iter().collect::<Vec<_>>(), [(object("a"), expected)]);
}

#[test]
fn a_torn_line_costs_only_itself() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    store.remember(record("a", "1"));
    store.remember(record("b", "1"));
    store.flush().unwrap();
    drop(store);
    let bytes = fs::read(dir.path()).unwrap();
    fs::write(dir.path(), &bytes[..bytes.len() - 10]).unwrap();
    let (store, loaded) = dir.open();
    assert_eq!((loaded.objects.len(), loaded.damaged), (1, 1));
    store.remember(record("c", "1"));
    store.flush().unwrap();
    drop(store);
    let (_, loaded) = dir.open();
    assert_eq!((loaded.objects.len(), loaded.damaged), (2, 0));
}

#[test]
fn a_changed_byte_is_noticed() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    store.remember(record("a", "1"));
    store.flush().unwrap();
    let mut bytes = fs::read(dir.path()).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(dir.path(), bytes).unwrap();
    let (_, loaded) = dir.open();
    assert_eq!((loaded.objects.len(), loaded.damaged), (0, 1));
}

/// What our create was answered with outlives later applies of the same object, and the rewriting of
/// the file; a new object of the same name begins anew.
#[test]
fn a_baseline_stays_as_long_as_its_object() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    store.remember(with_baseline(record("a", "1"), r#"{"first":1}"#));
    store.remember(record("a", "2"));
    store.flush().unwrap();
    assert!(dir.lines().concat().contains("first"), "lost before it was written: {:?}", dir.lines());
    for change in 0..COMPACT_AT_LINES + 3 {
        store.remember(record("a", &change.to_string()));
        store.flush().unwrap();
    }
    let lines = dir.lines();
    assert!(lines.len() < COMPACT_AT_LINES, "{} lines", lines.len());
    assert_eq!(lines.iter().filter(|line| line.contains("first")).count(), 1);
    drop(store);
    let (store, loaded) = dir.open();
    assert_eq!(loaded.objects[&object("a")].applied, Digest::of((COMPACT_AT_LINES + 2).to_string().as_bytes()));
    let mut other = record("a", "x");
    other.uid = "another".into();
    store.remember(other);
    store.flush().unwrap();
    let scan = Scan::of(&dir.path()).unwrap();
    assert_eq!(scan.objects[&object("a")].baseline, None);
}

#[test]
fn a_write_waits_until_it_is_worth_its_sync() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    assert!(!store.is_due(Instant::now()));
    store.remember(record("a", "1"));
    assert!(store.is_due(Instant::now()), "the first");
    store.flush().unwrap();
    let now = Instant::now();
    assert!(!store.is_due(now + WRITE_PAUSE), "nothing to write");
    store.remember(record("a", "2"));
    assert!(!store.is_due(now - WRITE_PAUSE / 2) && store.is_due(now + WRITE_PAUSE));
    for name in 0..WRITE_AT {
        store.remember(record(&name.to_string(), "1"));
    }
    assert!(store.is_due(now), "many do not wait");
}

/// What could not be written is written the next time, unless there is something newer.
#[test]
fn a_failed_write_loses_nothing() {
    let dir = Dir::new();
    let (store, _) = dir.open();
    store.remember(with_baseline(record("a", "1"), "{}"));
    store.remember(record("b", "1"));
    let good = std::mem::replace(&mut lock(&store.file).file, File::open(dir.path()).unwrap());
    store.flush().unwrap_err();
    let now = Instant::now();
    assert!(!store.is_due(now + WRITE_PAUSE), "at once again");
    assert!(store.is_due(now + RETRY_WRITE));
    store.remember(record("a", "2"));
    store.forget(&object("b"));
    lock(&store.file).file = good;
    store.flush().unwrap();
    drop(store);
    let scan = Scan::of(&dir.path()).unwrap();
    assert_eq!((scan.objects.len(), scan.damaged), (1, 0));
    let found = &scan.objects[&object("a")];
    assert_eq!((found.expected.applied, found.baseline.is_some()), (Digest::of(b"2"), true));
}

/// What the server made of an object stays with its baseline; what others added is as it was said last.
#[test]
fn additions_are_kept_beside_what_explains_the_rest() {
    let added = |path: &str| Additions { paths: vec![path.into()], more: 0 };
    let dir = Dir::new();
    let (store, _) = dir.open();
    let mut made = with_baseline(record("a", "1"), "{}");
    made.surplus = Some(vec!["spec.default".into()]);
    store.remember(made);
    store.flush().unwrap();
    store.remember(ExpectedRecord { added: added("spec.x"), ..record("a", "1") });
    store.flush().unwrap();
    let (_, loaded) = dir.open();
    let expected = &loaded.objects[&object("a")];
    assert_eq!(expected.added, added("spec.x"));
    let explained = expected.explained.as_ref().unwrap();
    assert_eq!(explained.added(vec!["spec.default".into(), "spec.x".into()]), added("spec.x"));
    store.remember(record("a", "2"));
    store.flush().unwrap();
    assert!(dir.open().1.objects[&object("a")].added.is_empty());
}
