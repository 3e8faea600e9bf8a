use std::fs;

use super::*;
use crate::{Durability, EntryKind, Log, LogKey};
use proptest::prelude::*;

const ORIGIN: &str = "writ.example/log";

struct Fixture {
    dir: tempfile::TempDir,
    key: String,
    public: LogPublicKey,
    /// Checkpoints as they were at some sizes.
    old: Vec<Checkpoint>,
}

fn entry(number: u64) -> Entry {
    let mut entry = Entry::new(EntryKind::Advance, "2026-11-23T21:00:00Z");
    entry.subject.insert("number".into(), number.to_string());
    entry
}

fn entry_with_body(number: u64, body: &[u8]) -> Entry {
    let mut entry = entry(number);
    entry.digests.insert("body".into(), Hash::of(body).to_string());
    entry
}

fn fixture(count: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let key = LogKey::generate(ORIGIN).unwrap();
    let (text, public) = (key.expose(), key.public().clone());
    let log = Log::open(dir.path(), key, ORIGIN).unwrap();
    let mut old = Vec::new();
    for number in 0..count {
        let body = (number % 5 == 1).then(|| format!("body of {number}"));
        log.append(&entry(number), body.as_ref().map(String::as_bytes), None, Durability::Grouped).unwrap();
        if number % 100 == 2 {
            log.prove(number).unwrap();
            old.push(log.checkpoint());
        }
    }
    log.close().unwrap();
    Fixture { dir, key: text, public, old }
}

/// A log as a crash leaves it: `settled` entries, then as many as make `count`, in the tree and still in the journal.
fn crashed(settled: u64, count: u64) -> Fixture {
    let log = fixture(settled);
    let writer = Log::open(log.dir.path(), LogKey::parse(&log.key).unwrap(), ORIGIN).unwrap();
    for number in settled..count {
        let body = format!("body of {number}");
        writer.append(&entry(number), Some(body.as_bytes()), None, Durability::Grouped).unwrap();
    }
    writer.prove(count - 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for path in log.evidence().into_iter().chain([journal::PATH.to_owned()]) {
        let to = dir.path().join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(log.dir.path().join(&path), to).unwrap();
    }
    Fixture { dir, ..log }
}

impl Fixture {
    fn without<T>(&self, paths: &[String], then: impl FnOnce() -> T) -> T {
        let files: Vec<_> = paths.iter().map(|path| self.dir.path().join(path)).collect();
        let good: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        let result = then();
        files.iter().zip(good).for_each(|(file, good)| fs::write(file, good).unwrap());
        result
    }

    fn verify(&self) -> Result<Report, VerifyError> {
        verify_dir(self.dir.path(), &self.public, &self.old)
    }

    fn mismatch(&self) -> Mismatch {
        match self.verify() {
            Err(VerifyError::Mismatch(mismatch)) => mismatch,
            other => panic!("{other:?}"),
        }
    }

    fn with<T>(&self, path: &str, change: impl FnOnce(&mut Vec<u8>), then: impl FnOnce() -> T) -> T {
        let file = self.dir.path().join(path);
        let good = fs::read(&file).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
        let result = then();
        fs::write(&file, good).unwrap();
        result
    }

    /// Files that say something about the log; `journal`, `reserve` and `lock` of a closed log are empty.
    fn evidence(&self) -> Vec<String> {
        let mut files = vec![CHECKPOINT.to_owned(), SETTLED.to_owned()];
        files.extend(files_below(self.dir.path(), "tile").unwrap());
        files.extend(files_below(self.dir.path(), "bodies").unwrap());
        files
    }

    /// Offset and length of each record of a bundle.
    fn records(&self, path: &str) -> Vec<(u64, u64)> {
        let bytes = fs::read(self.dir.path().join(path)).unwrap();
        let entries = crate::tile::entries_of(&bytes).unwrap();
        let mut at = 0;
        entries
            .iter()
            .map(|entry| {
                let length = entry.len() as u64 + 2;
                at += length;
                (at - length, length)
            })
            .collect()
    }
}

/// The entry of a log's body, by its path.
fn entry_of_body(path: &str, count: u64) -> u64 {
    (0..count).find(|number| body_path(&Hash::of(format!("body of {number}").as_bytes())) == path).unwrap()
}

/// One flipped bit must be found where it is.
fn check_flip(log: &Fixture, path: &str, at: usize, bit: u8, count: u64) {
    let found = log.with(path, |bytes| bytes[at] ^= 1 << bit, || log.mismatch());
    let why = format!("{path}, byte {at}, bit {bit}: {found}");
    assert_eq!(found.file, path, "{why}");
    match Tile::parse(path) {
        Some(tile) if tile.content == Content::Entries => {
            let records = log.records(path);
            let item = records.partition_point(|(start, _)| *start <= at as u64) - 1;
            assert_eq!(found.entry, Some(tile.first_entry() + item as u64), "{why}");
            assert_eq!(found.offset, records[item].0, "{why}");
        }
        Some(tile) => {
            assert_eq!(found.offset, at as u64, "{why}");
            assert_eq!(found.entry, Some(tile.first_entry() + at as u64 / 32 * tile.span()), "{why}");
        }
        None if path.starts_with("bodies/") => assert_eq!(found.entry, Some(entry_of_body(path, count)), "{why}"),
        None => assert!(found.offset <= at as u64, "{why}"),
    }
}

#[test]
fn every_flipped_byte_of_a_small_log_is_found_where_it_is() {
    let log = fixture(12);
    assert_eq!(log.verify().unwrap().entries, 12);
    let mut flips = 0;
    for path in log.evidence() {
        for at in 0..fs::read(log.dir.path().join(&path)).unwrap().len() {
            check_flip(&log, &path, at, (at % 8) as u8, 12);
            flips += 1;
        }
    }
    assert!(flips > 2000, "{flips}");
    log.verify().unwrap();
}

#[test]
fn flipped_bytes_of_a_log_with_full_tiles_are_found_where_they_are() {
    let log = fixture(530);
    let report = log.verify().unwrap();
    assert_eq!((report.entries, report.extended), (530, 7));
    assert_eq!(report.notes, Vec::<String>::new());
    let files = log.evidence();
    assert!(files.contains(&"tile/1/000.p/2".to_owned()) && files.contains(&"tile/0/001".to_owned()));
    proptest!(ProptestConfig::with_cases(120), |(file: prop::sample::Index, at: prop::sample::Index, bit in 0_u8..8)| {
        let path = file.get(&files);
        let length = fs::read(log.dir.path().join(path)).unwrap().len();
        check_flip(&log, path, at.index(length), bit, 530);
    });
}

#[test]
fn truncated_and_missing_files_are_found() {
    let log = fixture(300);
    for path in log.evidence() {
        for part in [0, 1, 2, 3] {
            let found = log.with(&path, |bytes| bytes.truncate(bytes.len() * part / 4), || log.mismatch());
            assert_eq!(found.file, path, "{found}");
        }
        let longer = log.with(&path, |bytes| bytes.push(b'\n'), || log.mismatch());
        assert_eq!(longer.file, path, "{longer}");
        if path == CHECKPOINT || path == SETTLED {
            continue;
        }
        let missing = log.without(std::slice::from_ref(&path), || log.mismatch());
        assert!(missing.file == path && missing.what.contains("missing") && missing.entry.is_some(), "{missing}");
    }
    log.verify().unwrap();
}

#[test]
fn a_replayed_older_log_is_found_by_a_remembered_checkpoint() {
    let mut log = fixture(8);
    let old: Vec<(String, Vec<u8>)> = log
        .evidence()
        .into_iter()
        .map(|path| {
            let bytes = fs::read(log.dir.path().join(&path)).unwrap();
            (path, bytes)
        })
        .collect();
    let writer = Log::open(log.dir.path(), LogKey::parse(&log.key).unwrap(), ORIGIN).unwrap();
    writer.append(&entry(8), None, None, Durability::Synced).unwrap();
    writer.prove(8).unwrap();
    log.old.push(writer.checkpoint());
    writer.close().unwrap();
    log.verify().unwrap();
    // Only the checkpoint of before: the settled one says otherwise.
    let before = old.iter().find(|(path, _)| path == CHECKPOINT).unwrap().1.clone();
    assert_eq!(log.with(CHECKPOINT, |bytes| *bytes = before, || log.mismatch()).entry, Some(8));
    // The whole directory of before is right in itself; only the remembered checkpoint tells.
    fs::remove_dir_all(log.dir.path().join("tile")).unwrap();
    for (path, bytes) in &old {
        let file = log.dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let found = log.mismatch();
    assert!(found.file == CHECKPOINT && found.entry == Some(8) && found.what.contains("rolled back"), "{found}");
    log.old.pop();
    log.verify().unwrap();
}

#[test]
fn another_history_of_the_same_key_is_found_by_a_remembered_checkpoint() {
    let mut log = fixture(5);
    let other = tempfile::tempdir().unwrap();
    let writer = Log::open(other.path(), LogKey::parse(&log.key).unwrap(), ORIGIN).unwrap();
    for number in 10..14 {
        writer.append(&entry(number), None, None, Durability::Synced).unwrap();
    }
    writer.prove(3).unwrap();
    log.old = vec![writer.checkpoint()];
    let found = log.mismatch();
    assert!(found.file == CHECKPOINT && found.what.contains("signed before"), "{found}");
}

#[test]
fn what_cannot_be_read_is_no_proof() {
    let key = LogKey::generate(ORIGIN).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let unreadable = |dir: &Path| matches!(verify_dir(dir, key.public(), &[]), Err(VerifyError::Unreadable { .. }));
    assert!(unreadable(empty.path()));
    assert!(unreadable(&empty.path().join("none")));
    let Err(VerifyError::Unreadable { path, source }) = verify_dir(empty.path(), key.public(), &[]) else {
        panic!("a log without a checkpoint was judged")
    };
    assert_eq!((path.as_str(), source.to_string().as_str()), (CHECKPOINT, "No such file or directory (os error 2)"));
    fs::create_dir(empty.path().join(CHECKPOINT)).unwrap();
    assert!(unreadable(empty.path()));
}

#[test]
fn surplus_is_noted_and_a_body_must_be_there() {
    let log = fixture(3);
    let stray = "bodies/00/stray";
    fs::create_dir_all(log.dir.path().join("bodies/00")).unwrap();
    fs::write(log.dir.path().join(stray), "x").unwrap();
    fs::write(log.dir.path().join("tile/0/stray"), "x").unwrap();
    let notes = log.verify().unwrap().notes;
    assert_eq!(notes, ["tile/0/stray is not a file of the log", "bodies/00/stray belongs to no entry"]);
}

/// A copy without it proves all that is signed, but not that nothing came after.
#[test]
fn a_journal_that_is_not_there_is_noted() {
    let log = fixture(3);
    assert_eq!(log.verify().unwrap().notes, [""; 0]);
    fs::remove_file(log.dir.path().join(journal::PATH)).unwrap();
    let report = log.verify().unwrap();
    assert_eq!((report.entries, report.notes), (3, vec![NO_JOURNAL.to_owned()]));
}

/// A writer at work is no tampering.
#[test]
fn the_body_of_an_entry_that_waits_is_no_surplus() {
    let log = fixture(3);
    let body = Hash::of(b"large");
    let entry = entry_with_body(3, b"large").to_canonical_json().unwrap();
    let path = log.dir.path().join(body_path(&body));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "large").unwrap();
    let record = journal::Record { epoch: 1, index: 3, entry: &entry, body: b"" }.encode();
    let notes = log.with(journal::PATH, |journal| *journal = record, || log.verify().unwrap().notes);
    assert_eq!(notes, ["1 entry waits in the journal for a checkpoint"]);
    assert_eq!(log.verify().unwrap().notes, [format!("{} belongs to no entry", body_path(&body))]);
}

/// What a power cut takes before the files are synced is in the journal.
#[test]
fn a_body_that_the_journal_carries_may_be_missing_and_must_be_the_named_one() {
    let log = crashed(3, 6);
    let path = body_path(&Hash::of(b"body of 4"));
    let found = |bytes: &[u8]| log.with(&path, |file| *file = bytes.to_vec(), || log.verify());
    let missing = || log.without(std::slice::from_ref(&path), || log.verify());
    let note = format!("{path}: the body is in the journal only");
    assert_eq!(missing().unwrap().notes, [note.as_str()]);
    assert_eq!(found(b"").unwrap().notes, [note.as_str()]);
    let refused = |result, file: &str, entry, what: &str| match result {
        Err(VerifyError::Mismatch(found)) => {
            assert_eq!((found.file.as_str(), found.entry, found.what.as_str()), (file, Some(entry), what));
        }
        other => panic!("{other:?}"),
    };
    let another = "the body is not the one the entry names";
    refused(found(b"x"), &path, 4, another);
    log.with(journal::PATH, Vec::clear, || refused(found(b""), &path, 4, another));
    log.with(journal::PATH, Vec::clear, || refused(missing(), &path, 4, "the body is missing"));
    let named = entry_with_body(6, b"body of 4").to_canonical_json().unwrap();
    let waits = |bytes: &mut Vec<u8>| {
        let at = journal::records(bytes).1 as usize;
        let record = journal::Record { epoch: 1, index: 6, entry: &named, body: b"another" }.encode();
        bytes[at..at + record.len()].copy_from_slice(&record);
    };
    log.with(journal::PATH, waits, || refused(log.verify(), journal::PATH, 6, another));
}

/// Settling syncs the files before it empties the journal: no power cut takes them then.
#[test]
fn a_settled_body_must_be_there_though_the_journal_has_it() {
    let log = crashed(3, 6);
    let journal = fs::read(log.dir.path().join(journal::PATH)).unwrap();
    Log::open(log.dir.path(), LogKey::parse(&log.key).unwrap(), ORIGIN).unwrap().close().unwrap();
    fs::write(log.dir.path().join(journal::PATH), journal).unwrap();
    assert_eq!(log.verify().unwrap().notes, Vec::<String>::new());
    let path = body_path(&Hash::of(b"body of 4"));
    let found = log.without(std::slice::from_ref(&path), || log.mismatch());
    assert_eq!((found.file, found.entry, found.what.as_str()), (path, Some(4), "the body is missing"));
}

/// Written since the log was settled, for 300 entries of which 250 are.
const UNSETTLED: [&str; 5] =
    ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"];

/// A power cut may take files that were not synced, and keep the checkpoint over them.
#[test]
fn files_that_the_next_start_makes_anew_may_be_missing_or_empty() {
    let log = crashed(250, 300);
    assert_eq!(log.verify().unwrap().notes, Vec::<String>::new());
    let is_missing = |path: &str| format!("{path} is missing; the next start makes it from the journal");
    let is_empty = |path: &str| format!("{path} is empty; the next start makes or removes it");
    for path in UNSETTLED {
        let report = log.without(&[path.to_owned()], || log.verify()).unwrap();
        assert_eq!((report.entries, report.notes), (300, vec![is_missing(path)]));
        let report = log.with(path, Vec::clear, || log.verify()).unwrap();
        assert_eq!((report.entries, report.notes), (300, vec![is_empty(path)]));
        // Half of a file is no power cut's doing.
        let found = log.with(path, |bytes| bytes.truncate(bytes.len() / 2), || log.mismatch());
        assert_eq!(found.file, path, "{found}");
        // Without the journal nothing is made.
        let found = log.with(journal::PATH, Vec::clear, || log.without(&[path.to_owned()], || log.mismatch()));
        assert!(found.file == path && found.what.contains("missing"), "{found}");
    }
    let partials = ["tile/0/001.p/43", "tile/entries/001.p/43"];
    for path in partials {
        fs::write(log.dir.path().join(path), "").unwrap();
    }
    assert_eq!(log.verify().unwrap().notes, partials.map(is_empty), "what was removed may come back as a name");
    for path in UNSETTLED {
        fs::remove_file(log.dir.path().join(path)).unwrap();
    }
    let mut notes = log.verify().unwrap().notes;
    let mut expected: Vec<String> = partials.map(is_empty).into_iter().chain(UNSETTLED.map(is_missing)).collect();
    notes.sort();
    expected.sort();
    assert_eq!(notes, expected);
    Log::open(log.dir.path(), LogKey::parse(&log.key).unwrap(), ORIGIN).unwrap().close().unwrap();
    let report = log.verify().unwrap();
    assert_eq!((report.entries, report.notes), (300, vec![]), "the next start did");
}

#[test]
fn what_was_settled_must_be_there_and_what_is_made_anew_must_be_what_was_signed() {
    let log = crashed(250, 300);
    for (newest, settled) in [("tile/0/000", "tile/0/000.p/250"), ("tile/entries/000", "tile/entries/000.p/250")] {
        let found = log.without(&[newest, settled].map(str::to_owned), || log.mismatch());
        assert!(found.file == settled && found.what.contains("missing"), "{found}");
        let found = log.with(settled, Vec::clear, || log.without(&[newest.to_owned()], || log.mismatch()));
        assert_eq!(found.file, settled, "{found}");
    }
    let bundles = ["tile/entries/000", "tile/entries/001.p/44"].map(str::to_owned);
    let settled = "tile/entries/000.p/250";
    let start = log.records(settled)[7].0;
    let found = log.with(settled, |bytes| bytes[start as usize + 10] ^= 1, || log.without(&bundles, || log.mismatch()));
    assert_eq!((found.file.as_str(), found.entry, found.offset), (settled, Some(7), start), "{found}");
    // Another entry under a sum that holds, so that it takes the place of the one that was signed.
    let mut start = 0;
    let change = |bytes: &mut Vec<u8>| {
        let records = journal::records(bytes).0;
        start = records.iter().take(20).map(|record| record.size() as u64).sum();
        let other = entry(1000).to_canonical_json().unwrap();
        let record = |(place, record): (usize, &journal::Record<'_>)| match place {
            20 => journal::Record { entry: &other, ..record.clone() }.encode(),
            _ => record.encode(),
        };
        *bytes = records.iter().enumerate().flat_map(record).collect();
    };
    let found = log.with(journal::PATH, change, || log.without(&bundles, || log.mismatch()));
    assert_eq!((found.file.as_str(), found.entry, found.offset), (journal::PATH, Some(270), start), "{found}");
}

/// No checkpoint covers what is in the journal only, so one changed byte there hides all that follows it.
#[test]
fn what_a_changed_journal_may_hide_is_counted() {
    let log = fixture(3);
    let record = |index: u64| {
        let entry = entry(index).to_canonical_json().unwrap();
        journal::Record { epoch: 1, index, entry: &entry, body: b"" }.encode()
    };
    let notes = |changed: Option<usize>| {
        let mut bytes: Vec<u8> = (3..7).flat_map(record).collect();
        if let Some(at) = changed {
            bytes[at] ^= 1;
        }
        log.with(journal::PATH, |journal| *journal = bytes, || log.verify().unwrap().notes)
    };
    let length = record(3).len();
    assert_eq!(notes(None), ["4 entries wait in the journal for a checkpoint"]);
    let hidden = |byte: usize, what: &str| format!("journal, byte {byte}: rest of an earlier or torn record{what}");
    let wait = |count: &str| format!("{count} in the journal for a checkpoint");
    // The first byte that is not zero is the last of the epoch.
    assert_eq!(
        notes(Some(length + 30)),
        [wait("1 entry waits"), hidden(length + 7, "; 3 acknowledged entries from 4 on may be hidden there")]
    );
    assert_eq!(
        notes(Some(3 * length + 30)),
        [wait("3 entries wait"), hidden(3 * length + 7, "; acknowledged entry 6 may be hidden there")]
    );
}

#[test]
fn a_wrong_entry_signed_by_the_key_is_refused_by_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let key = LogKey::generate(ORIGIN).unwrap();
    let mut edge = Edge::default();
    edge.push(b"{}");
    for (tile, bytes) in edge.partials() {
        let file = dir.path().join(tile.to_string());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    fs::write(dir.path().join(CHECKPOINT), Checkpoint::sign(&key, 1, edge.root()).note()).unwrap();
    match verify_dir(dir.path(), key.public(), &[]) {
        Err(VerifyError::Mismatch(found)) => {
            assert_eq!((found.file.as_str(), found.entry), ("tile/entries/000.p/1", Some(0)));
        }
        other => panic!("{other:?}"),
    }
}
