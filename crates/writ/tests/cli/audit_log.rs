//! `writ audit key`, `verify` and `show` on logs that the audit crate wrote.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use audit::{Durability, Entry, EntryKind, Log, LogKey};
use serde_json::Value;

use crate::support::{expect, json, text};

/// More than one full tile, so that there are hashes of level 1 as well.
const ENTRIES: u64 = 300;

struct Logged {
    folder: tempfile::TempDir,
}

impl Logged {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        expect(0, &["audit", "key", "--name", "writ.dev/test", "--dir", text(folder.path())]);
        let logged = Self { folder };
        logged.write("log", ENTRIES, "first");
        logged
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, entries: u64, word: &str) {
        let key = LogKey::parse(fs::read_to_string(self.path("key")).unwrap().trim()).unwrap();
        let log = Log::open(&self.path(name), key, "writ.dev/test").unwrap();
        for index in 0..entries {
            let kind = if index % 100 == 7 { EntryKind::Refuse } else { EntryKind::Revert };
            let mut entry = Entry::new(kind, "2026-11-23T21:00:00Z");
            entry.subject.insert("sync".to_owned(), format!("shop/{word}-{index}"));
            if kind == EntryKind::Refuse {
                entry.codes.push("W301".to_owned());
            }
            let body = format!(r#"{{"number":{index}}}"#);
            let body = (index % 100 == 7).then_some(body.as_bytes());
            log.append(&entry, body, None, Durability::Grouped).unwrap();
        }
        log.close().unwrap();
    }

    fn verify(&self, code: i32, more: &[&str]) -> Value {
        let (log, key) = (self.path("log"), self.path("key.pub"));
        let all = [&["audit", "verify", text(&log), "--key", text(&key), "-o", "json"], more].concat();
        let finished = expect(code, &all);
        if code == 2 { Value::Null } else { json(&finished) }
    }
}

/// A file somewhere below a folder whose path contains `part`.
fn find(folder: &Path, part: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if text(&path).contains(part) {
                return path;
            }
        }
    }
    panic!("no file with {part:?} in its path");
}

#[test]
fn the_key_is_secret_and_never_replaced() {
    let logged = Logged::new();
    let mode = |name: &str| fs::metadata(logged.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key"), mode("key.pub")), (0o600, 0o644));
    let finished = expect(2, &["audit", "key", "--dir", text(logged.folder.path())]);
    assert!(!finished.stderr.contains("PRIVATE+KEY"), "{}", finished.stderr);
    expect(2, &["audit", "key", "--name", "not a name", "--dir", text(&logged.folder.path().join("log"))]);
    let new = logged.folder.path().join("new/log-key");
    expect(0, &["audit", "key", "--dir", text(&new)]);
    let mode = fs::metadata(&new).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
}

#[test]
fn a_log_is_verified_and_a_flipped_byte_is_named() {
    let logged = Logged::new();
    let found = logged.verify(0, &[]);
    assert_eq!((&found["verdict"], &found["report"]["entries"]), (&"verified".into(), &ENTRIES.into()));
    assert_eq!(found["report"]["bodies"], 3);
    let log = logged.path("log");
    // Of a tile, an entry and a body: which file, where in it, which entry.
    for (part, offset, entry) in
        [("tile/0/000", Some(40), Some(1)), ("tile/entries/000", None, Some(0)), ("bodies/", None, Some(7))]
    {
        let file = find(&log, part);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let at = usize::try_from(offset.unwrap_or(10)).unwrap();
        bad[at] ^= 1;
        fs::write(&file, bad).unwrap();
        let found = logged.verify(1, &[]);
        let wrong = &found["mismatch"];
        assert_eq!(wrong["file"], text(file.strip_prefix(&log).unwrap()), "{found}");
        if let Some(offset) = offset {
            assert_eq!(wrong["offset"], offset, "{found}");
        }
        let named = wrong["entry"].as_u64();
        match part {
            "bodies/" => assert!(named.is_some_and(|entry| entry % 100 == 7), "{found}"),
            _ => assert_eq!(named, entry, "{found}"),
        }
        let key = logged.path("key.pub");
        let human = expect(1, &["audit", "verify", text(&log), "--key", text(&key)]);
        assert!(
            human.stdout.starts_with("mismatch: ") && human.stdout.contains(text(file.strip_prefix(&log).unwrap()))
        );
        fs::write(&file, good).unwrap();
    }
    logged.verify(0, &[]);
}

#[test]
fn what_is_shown_of_a_damaged_log_is_where_and_what_to_do() {
    let logged = Logged::new();
    let (log, key) = (logged.path("log"), logged.path("key.pub"));
    for (part, at, more) in [("tile/entries/000", 2, "-ohuman"), ("bodies/", 0, "--body")] {
        let file = find(&log, part);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, bad).unwrap();
        let said = expect(2, &["audit", "show", text(&log), "--key", text(&key), "--last", "1000", more]).stderr;
        let name = text(file.strip_prefix(&log).unwrap());
        assert!(said.contains(&format!("is damaged: {name}, byte 0, entry ")), "{said}");
        assert!(said.contains(&format!("Fix: writ audit verify {} --key {} #", text(&log), text(&key))), "{said}");
        assert!(!said.contains("column"), "{said}");
        fs::write(&file, good).unwrap();
    }
}

#[test]
fn a_log_must_extend_the_checkpoints_kept_elsewhere() {
    let logged = Logged::new();
    let kept = logged.path("kept");
    fs::copy(logged.path("log/checkpoint"), &kept).unwrap();
    assert_eq!(logged.verify(0, &["--checkpoint", text(&kept)])["verdict"], "verified");
    // Another history by the same key: consistent in itself, yet not what was promised.
    fs::rename(logged.path("log"), logged.path("aside")).unwrap();
    logged.write("log", ENTRIES + 10, "second");
    assert_eq!(logged.verify(0, &[])["verdict"], "verified");
    assert_eq!(logged.verify(1, &["--checkpoint", text(&kept)])["verdict"], "mismatch");
    fs::write(&kept, "no note").unwrap();
    logged.verify(2, &["--checkpoint", text(&kept)]);
    logged.verify(2, &["--checkpoint", "/nowhere"]);
}

#[test]
fn what_cannot_be_read_exits_2_and_what_is_not_there_is_named() {
    let logged = Logged::new();
    let (log, key) = (logged.path("log"), logged.path("key.pub"));
    expect(2, &["audit", "verify", "/nowhere", "--key", text(&key)]);
    expect(2, &["audit", "verify", text(&log), "--key", "/nowhere"]);
    expect(2, &["audit", "verify", text(&log), "--key", text(&log.join("checkpoint"))]);
    expect(2, &["audit", "show", "/nowhere", "--key", text(&key)]);
    expect(64, &["audit", "verify", text(&log)]);
    fs::remove_file(log.join("journal")).unwrap();
    let without_journal = expect(0, &["audit", "verify", text(&log), "--key", text(&key)]);
    assert!(without_journal.stdout.contains("\n  note    there is no file journal: "), "{}", without_journal.stdout);
    fs::remove_file(log.join("checkpoint")).unwrap();
    for command in ["verify", "show"] {
        let said = expect(2, &["audit", command, text(&log), "--key", text(&key)]).stderr;
        assert!(said.contains("checkpoint: No such file or directory"), "{said}");
    }
}

#[test]
fn entries_are_shown_by_kind_newest_last() {
    let logged = Logged::new();
    let (log, key) = (logged.path("log"), logged.path("key.pub"));
    let show = |more: &[&str]| expect(0, &[&["audit", "show", text(&log), "--key", text(&key)], more].concat());
    let found = json(&show(&["--kind", "refuse", "--last", "2", "--body", "-o", "json"]));
    assert_eq!((&found["schema"], &found["size"]), (&"writ.dev/audit-entries/v1alpha1".into(), &ENTRIES.into()));
    let entries = found["entries"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["index"].as_u64().unwrap()).collect::<Vec<_>>(), [107, 207]);
    assert_eq!(entries[1]["body"]["number"], 207);
    assert_eq!(entries[1]["codes"][0], "W301");
    let found = json(&show(&["-o", "json"]));
    assert_eq!(found["entries"].as_array().unwrap().len(), 50);
    assert_eq!(found["entries"][49]["index"], ENTRIES - 1);
    assert_eq!(found["entries"][49].get("body"), None);
    let found = json(&show(&["--code", "W301", "--last", "1000", "-o", "json"]));
    let (folder, key) = (logged.path("log"), logged.path("key.pub"));
    let unknown = expect(64, &["audit", "show", text(&folder), "--key", text(&key), "--code", "W999"]);
    assert!(unknown.stderr.contains("\"W999\"") && unknown.stderr.contains("docs/codes.md"), "{}", unknown.stderr);
    assert_eq!(found["entries"].as_array().unwrap().len(), 3);
    let human = show(&["--last", "1"]).stdout;
    assert_eq!(human.lines().count(), 2, "{human}");
    assert!(human.contains("revert") && human.contains("sync=shop/first-299"), "{human}");
    expect(64, &["audit", "show", text(&log), "--key", text(&key), "--kind", "other"]);
}
