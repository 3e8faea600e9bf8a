use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::thread;

use super::*;
use crate::body::CARRIED_LIMIT;
use crate::note::LogPublicKey;
use crate::reserve::RESERVE_BYTES;
use crate::storage::model::{Crash, Model};
use crate::{Filter, LogReader, verify_dir};

const ORIGIN: &str = "writ.example/log";

fn keys() -> (String, LogPublicKey) {
    let key = LogKey::generate(ORIGIN).unwrap();
    (key.expose(), key.public().clone())
}

fn numbered(kind: EntryKind, number: u64) -> Entry {
    let mut entry = Entry::new(kind, "2026-11-23T21:00:00Z");
    entry.subject.insert("number".into(), number.to_string());
    entry
}

fn number(entry: &Entry) -> u64 {
    entry.subject["number"].parse().unwrap()
}

/// A log that publishes after every sync, so that every run does the same operations.
fn open(model: &Arc<Model>, key: &str) -> Result<Log, LogError> {
    open_with(model, key, Duration::ZERO)
}

fn open_with(model: &Arc<Model>, key: &str, publish_window: Duration) -> Result<Log, LogError> {
    let key = LogKey::parse(key).map_err(LogError::Checkpoint)?;
    Log::open_on(Arc::clone(model) as Arc<dyn Storage>, key, None, publish_window)
}

fn numbers(log: &Log) -> Vec<u64> {
    log.entries(0..u64::MAX).map(|found| number(&found.unwrap().entry)).collect()
}

/// Checks a file system from outside, as `writ audit verify` does.
fn verified(model: &Model, key: &LogPublicKey, remembered: &[Checkpoint]) -> crate::Report {
    let dir = tempfile::tempdir().unwrap();
    model.export(dir.path());
    verify_dir(dir.path(), key, remembered).unwrap()
}

#[test]
fn what_is_appended_is_found_proven_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let (text, public) = keys();
    let open = || Log::open(dir.path(), LogKey::parse(&text).unwrap(), ORIGIN).unwrap();
    let log = open();
    assert!(log.is_empty());
    assert!(log.latest(EntryKind::Advance, &[]).unwrap().is_none());
    let mut checkpoints = vec![log.checkpoint()];
    for index in 0..600 {
        let kind = if index == 3 { EntryKind::Advance } else { EntryKind::Revert };
        let plan = (index % 2 == 0).then_some([index as u8; 32]);
        let body = (index % 100 == 0).then(|| format!("body {index}"));
        let durability = if index % 50 == 0 { Durability::Synced } else { Durability::Grouped };
        let receipt =
            log.append(&numbered(kind, index), body.as_ref().map(String::as_bytes), plan, durability).unwrap();
        assert_eq!((receipt.index(), receipt.plan_digest().copied()), (index, plan));
        assert_eq!(receipt.durability(), durability);
        assert_eq!(log.len(), index + 1);
        if index % 50 == 0 {
            let proof = log.prove(index).unwrap();
            let checkpoint = Checkpoint::parse(log.checkpoint().note(), &public).unwrap();
            proof.verify(&proof.checkpoint).unwrap();
            assert!(checkpoint.size() >= proof.tree_size && proof.tree_size > index);
            assert_eq!(number(&Entry::from_canonical_json(&proof.entry).unwrap()), index);
            checkpoints.push(checkpoint);
        }
    }
    let check = |log: &Log| {
        let found = log.latest(EntryKind::Advance, &[("number", "3")]).unwrap().unwrap();
        assert_eq!((found.index, found.entry.kind), (3, EntryKind::Advance));
        assert!(log.latest(EntryKind::Advance, &[("number", "4")]).unwrap().is_none());
        assert!(log.latest(EntryKind::Boot, &[]).unwrap().is_none());
        assert_eq!(log.latest(EntryKind::Revert, &[]).unwrap().unwrap().index, 599);
        assert_eq!(numbers(log), (0..600).collect::<Vec<_>>());
        let entry = log.entries(100..101).next().unwrap().unwrap().entry;
        assert_eq!(log.body(&entry.body_digest().unwrap()).unwrap().unwrap(), b"body 100");
        assert_eq!(entry.digests["plan"], hex::encode([100; 32]));
        assert!(log.body(&Hash::of(b"none")).unwrap().is_none());
    };
    check(&log);
    log.prove(599).unwrap();
    for old in &checkpoints {
        let new = log.checkpoint();
        let proof = log.prove_consistency(old.size(), new.size()).unwrap();
        proof.verify(old.root(), new.root()).unwrap();
        assert_eq!(log.root_at(old.size()).unwrap(), *old.root());
    }
    assert!(matches!(log.prove(600), Err(LogError::OutOfRange { index: 600, size: 600 })));
    assert!(matches!(log.prove_consistency(5, 601), Err(LogError::OutOfRange { .. })));
    log.close().unwrap();
    let report = verify_dir(dir.path(), &public, &checkpoints).unwrap();
    assert_eq!((report.entries, report.bodies, report.notes), (600, 6, vec![]));
    let log = open();
    check(&log);
    assert_eq!(log.append(&numbered(EntryKind::Boot, 600), None, None, Durability::Synced).unwrap().index(), 600);
    // While it is open: a reader sees it, a second writer does not get in.
    assert!(matches!(Log::open(dir.path(), LogKey::parse(&text).unwrap(), ORIGIN), Err(LogError::Locked { .. })));
    log.prove(600).unwrap();
    let reader = LogReader::open(dir.path(), &public).unwrap();
    let all: Vec<u64> =
        reader.entries(0..u64::MAX, &Filter::default()).map(|found| number(&found.unwrap().entry)).collect();
    assert_eq!(all, (0..=600).collect::<Vec<_>>());
    let filter = Filter { kind: Some(EntryKind::Advance), ..Filter::default() };
    assert_eq!(reader.entries(0..601, &filter).count(), 1);
    assert_eq!(reader.entries(4..601, &filter).count(), 0);
    verify_dir(dir.path(), &public, &checkpoints).unwrap();
}

#[test]
fn proofs_hold_around_tile_boundaries() {
    let (text, _) = keys();
    let model = Model::new();
    let log = open(&model, &text).unwrap();
    let mut roots = vec![log.checkpoint()];
    for index in 0..515_u64 {
        log.append(&numbered(EntryKind::Revert, index), None, None, Durability::Grouped).unwrap();
        if [0, 1, 254, 255, 256, 257, 510, 511, 512, 513, 514].contains(&index) {
            log.prove(index).unwrap();
            roots.push(log.checkpoint());
        }
    }
    for new in &roots {
        for old in roots.iter().filter(|old| old.size() <= new.size()) {
            let proof = log.prove_consistency(old.size(), new.size()).unwrap();
            proof.verify(old.root(), new.root()).unwrap();
        }
    }
    for index in [0, 1, 127, 255, 256, 257, 300, 511, 512, 513, 514] {
        log.prove(index).unwrap().verify(&log.checkpoint()).unwrap();
    }
}

#[test]
fn a_log_is_only_opened_by_its_key() {
    let (text, _) = keys();
    let model = Model::new();
    open(&model, &text).unwrap().close().unwrap();
    assert!(matches!(open(&model, &keys().0), Err(LogError::Checkpoint(_))));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Log::open(dir.path(), LogKey::parse(&text).unwrap(), "other.example"),
        Err(LogError::Origin { .. })
    ));
}

#[test]
fn an_entry_that_does_not_fit_is_refused_before_anything_is_written() {
    let (text, _) = keys();
    let model = Model::new();
    let log = open(&model, &text).unwrap();
    let before = model.operations();
    let mut entry = numbered(EntryKind::Advance, 0);
    entry.digests.insert("body".into(), Hash::of(b"a").to_string());
    let append = |entry: &Entry, body| log.append(entry, body, None, Durability::Synced).unwrap_err();
    assert!(matches!(append(&entry, Some(b"b")), LogError::Entry(EntryError::Reserved("body"))));
    assert!(matches!(append(&entry, None), LogError::Entry(EntryError::Reserved("body"))));
    entry.time = "now".into();
    entry.digests.clear();
    assert!(matches!(append(&entry, None), LogError::Entry(EntryError::Time(_))));
    let large = vec![0; BODY_LIMIT as usize + 1];
    assert!(matches!(append(&numbered(EntryKind::Advance, 0), Some(&large)), LogError::BodyTooLarge { .. }));
    assert_eq!((model.operations(), log.len()), (before, 0));
}

#[test]
fn concurrent_appends_share_syncs_and_lose_nothing() {
    let (text, public) = keys();
    let model = Model::new();
    let log = open(&model, &text).unwrap();
    let before = model.syncs();
    let mut indices: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|worker| {
                let log = &log;
                scope.spawn(move || {
                    let append = |step: u64| {
                        let entry = numbered(EntryKind::Advance, worker * 100 + step);
                        log.append(&entry, None, None, Durability::Synced).unwrap().index()
                    };
                    (0..20).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let syncs = model.syncs() - before;
    indices.sort_unstable();
    assert_eq!(indices, (0..320).collect::<Vec<_>>());
    assert_eq!(numbers(&log).into_iter().collect::<BTreeSet<_>>().len(), 320);
    log.close().unwrap();
    // One sync each would be 320 and more; the exact number depends on scheduling.
    assert!(syncs < 320, "{syncs} syncs for 320 appends");
    assert_eq!(verified(&model, &public, &[]).entries, 320);
}

/// Appends until something fails; gives the numbers whose receipt was synced, with their index.
fn work(log: &Log, from: u64, count: u64) -> Vec<(u64, u64)> {
    let mut synced = Vec::new();
    for step in from..from + count {
        let kind = if step % 3 == 0 { EntryKind::Advance } else { EntryKind::Revert };
        let mut entry = numbered(kind, step);
        // Large enough that the journal of the tests (64 KiB) fills up now and then.
        entry.subject.insert("padding".into(), "x".repeat(9000));
        let durability = if step % 3 == 0 { Durability::Synced } else { Durability::Grouped };
        // One that travels in the journal, and one that is too large for it.
        let body = (step % 4 == 0).then(|| vec![step as u8; if step % 8 == 0 { 700 } else { CARRIED_LIMIT + 1 }]);
        match log.append(&entry, body.as_deref(), None, durability) {
            Ok(receipt) if durability == Durability::Synced => synced.push((receipt.index(), step)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    synced
}

/// After a crash: every synced entry is there, none twice, none torn; the log goes on and verifies.
fn check_recovered(
    model: &Arc<Model>,
    key: &(String, LogPublicKey),
    synced: &[(u64, u64)],
    anchors: &[Checkpoint],
    why: &str,
) {
    let log = open(model, &key.0).unwrap_or_else(|error| panic!("{why}: {error:?}"));
    let found = numbers(&log);
    for (index, number) in synced {
        assert_eq!(found.get(*index as usize), Some(number), "{why}: entry {index} is lost");
    }
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "{why}: an entry is doubled");
    log.append(&numbered(EntryKind::Advance, 1_000_000), None, None, Durability::Synced).unwrap();
    log.close().unwrap();
    assert_eq!(verified(model, &key.1, anchors).entries, found.len() as u64 + 1, "{why}");
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_synced() {
    let key = keys();
    let run = |crash_at: Option<u64>| {
        let model = Model::new();
        if let Some(at) = crash_at {
            model.crash_at(at);
        }
        let (mut synced, mut anchors) = (Vec::new(), Vec::new());
        if let Ok(log) = open(&model, &key.0) {
            synced = work(&log, 0, 18);
            anchors.push(log.checkpoint());
            drop(log);
        }
        (model, synced, anchors)
    };
    let all = run(None).0.operations();
    assert!(all > 150, "{all}");
    for at in 1..=all {
        let (model, synced, anchors) = run(Some(at));
        for crash in [Crash::Kill, Crash::Power, Crash::Torn(at), Crash::Torn(at + 7919)] {
            check_recovered(&model.after(crash), &key, &synced, &anchors, &format!("operation {at}, {crash:?}"));
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let key = keys();
    for first in [40, 90, 140] {
        let model = Model::new();
        model.crash_at(first);
        let log = open(&model, &key.0).unwrap();
        let synced = work(&log, 0, 16);
        let anchors = [log.checkpoint()];
        drop(log);
        for at in 1..60 {
            let again = model.after(Crash::Torn(at));
            again.crash_at(at);
            drop(open(&again, &key.0));
            let why = format!("operation {first}, then {at}");
            check_recovered(&again.after(Crash::Torn(at * 31)), &key, &synced, &anchors, &why);
        }
    }
}

#[test]
fn a_failing_operation_fails_its_append_and_no_other() {
    let key = keys();
    for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        for at in 1..70 {
            let model = Model::new();
            let log = open(&model, &key.0).unwrap();
            let mut synced = work(&log, 0, 4);
            model.fail(at, 3, kind);
            let mut step = 100;
            // The fault passes; until then appends may fail, and what fails is not in the log.
            while step < 112 {
                let entry = numbered(EntryKind::Advance, step);
                match log.append(&entry, Some(&[step as u8; 9]), None, Durability::Synced) {
                    Ok(receipt) => synced.push((receipt.index(), step)),
                    Err(error) => {
                        assert_eq!(error.is_read_only(), kind == ErrorKind::ReadOnlyFilesystem, "{error:?}");
                        assert_eq!(error.is_out_of_space(), kind == ErrorKind::StorageFull, "{error:?}");
                    }
                }
                step += 1;
            }
            let why = format!("{kind:?} at {at}");
            let found = numbers(&log);
            assert!(found.len() > 8, "{why}: {found:?}");
            for (index, number) in &synced {
                assert_eq!(found.get(*index as usize), Some(number), "{why}");
            }
            let advanced: Vec<u64> = found.iter().copied().filter(|number| *number >= 100).collect();
            let receipts: Vec<u64> = synced.iter().map(|(_, number)| *number).filter(|number| *number >= 100).collect();
            assert_eq!(advanced, receipts, "{why}: exactly what has a receipt is in the log");
            check_recovered(&model.after(Crash::Power), &key, &synced, &[], &why);
            log.close().unwrap_or_else(|error| panic!("{why}: {error:?}"));
            check_recovered(&model.after(Crash::Power), &key, &synced, &[], &why);
        }
    }
}

#[test]
fn the_reserve_is_for_what_must_be_written() {
    let key = keys();
    let model = Model::new();
    let log = open(&model, &key.0).unwrap();
    let append =
        |kind, number, body: Option<&[u8]>| log.append(&numbered(kind, number), body, None, Durability::Synced);
    append(EntryKind::Revert, 0, None).unwrap();
    model.set_capacity(Some(model.used()));
    // The volume is full: the report of drift is refused by name, the advance with its body goes in.
    let body = vec![7; 300_000];
    let error = append(EntryKind::Flag, 1, Some(&body)).unwrap_err();
    assert!(matches!(error, LogError::ReserveOnly { kind: "flag" }) && error.is_out_of_space());
    assert!(matches!(log.room(), Err(LogError::ReserveOnly { .. })));
    append(EntryKind::Advance, 2, Some(&body)).unwrap();
    assert!(model.length("reserve").unwrap().unwrap() < RESERVE_BYTES);
    for (kind, number) in [(EntryKind::Boot, 3), (EntryKind::Hold, 4), (EntryKind::Alert, 5), (EntryKind::Prune, 6)] {
        assert!(matches!(append(kind, number, None), Err(LogError::ReserveOnly { .. })), "{kind}");
    }
    for (kind, number) in [(EntryKind::Refuse, 7), (EntryKind::Rollback, 8), (EntryKind::Revert, 9)] {
        append(kind, number, None).unwrap();
    }
    // Until that is used up as well; what is in the log stays readable.
    let mut number = 10;
    let error = loop {
        let body = vec![number as u8; 400_000];
        match append(EntryKind::Refuse, number, Some(&body)) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_out_of_space() && !matches!(error, LogError::ReserveOnly { .. }), "{error:?}");
    assert!(number > 12);
    let expected: Vec<u64> = [0, 2, 7, 8, 9].into_iter().chain(10..number).collect();
    assert_eq!(numbers(&log), expected);
    // Space is back: so is the reserve.
    model.set_capacity(None);
    log.room().unwrap();
    append(EntryKind::Revert, 1, None).unwrap();
    assert_eq!(model.length("reserve").unwrap(), Some(RESERVE_BYTES));
    log.close().unwrap();
    assert_eq!(verified(&model, &key.1, &[]).entries, expected.len() as u64 + 1);
}

/// What the other thread took from the reserve is free for both: nobody is told that the volume is full while it is not.
#[test]
fn what_another_thread_takes_from_the_reserve_is_free_for_all() {
    let key = keys();
    let model = Model::new();
    let log = open(&model, &key.0).unwrap();
    model.set_capacity(Some(model.used()));
    let mut attempts = 0;
    let full = || LogError::storage("write", "x", ErrorKind::StorageFull.into());
    // The first attempt finds no room; before it can ask, the committer has taken all that was left.
    let written = log.shared.drawing_on_reserve(0, || {
        attempts += 1;
        if attempts > 1 {
            return Ok(());
        }
        while log.shared.reserve.shrink(&*log.shared.storage, RESERVE_BYTES).unwrap() {}
        Err(full())
    });
    assert_eq!((written.is_ok(), attempts), (true, 2));
    // Where nothing was left before, nothing is given.
    assert!(log.shared.drawing_on_reserve(0, || Err(full())).unwrap_err().is_out_of_space());
}

#[test]
fn a_full_volume_does_not_keep_a_log_from_opening() {
    let key = keys();
    let model = Model::new();
    let log = open(&model, &key.0).unwrap();
    let synced = work(&log, 0, 12);
    let killed = model.after(Crash::Kill);
    log.close().unwrap();
    for model in [model, killed] {
        model.set_capacity(Some(model.used()));
        let log = open(&model, &key.0).unwrap();
        for (index, number) in &synced {
            assert_eq!(numbers(&log)[*index as usize], *number);
        }
        log.append(&numbered(EntryKind::Advance, 500), None, None, Durability::Synced).unwrap();
    }
}

#[test]
fn files_put_back_or_taken_away_are_noticed_at_open() {
    let (text, _) = keys();
    let dir = tempfile::tempdir().unwrap();
    let open = || Log::open(dir.path(), LogKey::parse(&text).unwrap(), ORIGIN);
    let log = open().unwrap();
    for number in 0..5 {
        log.append(&numbered(EntryKind::Advance, number), None, None, Durability::Synced).unwrap();
    }
    log.close().unwrap();
    let old = fs::read(dir.path().join("checkpoint")).unwrap();
    let log = open().unwrap();
    log.append(&numbered(EntryKind::Advance, 5), None, None, Durability::Synced).unwrap();
    log.close().unwrap();
    let check = |path: &str, content: Option<&[u8]>, expected: &str| {
        let file = dir.path().join(path);
        let good = fs::read(&file).unwrap();
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = open().map(drop).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { path, .. } if path == expected), "{path}: {error:?}");
        fs::write(&file, good).unwrap();
    };
    check("checkpoint", Some(&old), "checkpoint");
    check("checkpoint", None, "checkpoint");
    check("checkpoint.settled", None, "checkpoint.settled");
    check("tile/0/000.p/6", None, "tile/0/000.p/6");
    check("tile/entries/000.p/6", Some(b"\0\x01x"), "tile/entries/000.p/6");
    open().unwrap();
}

#[test]
fn within_the_window_a_checkpoint_is_signed_only_for_those_who_ask() {
    let (text, public) = keys();
    let model = Model::new();
    let log = open_with(&model, &text, Duration::from_secs(3600)).unwrap();
    let append = |index| {
        let body = format!("body {index}");
        log.append(&numbered(EntryKind::Revert, index), Some(body.as_bytes()), Some([1; 32]), Durability::Synced)
            .unwrap()
    };
    append(0);
    // The first is due at once, so that a quiet log is never behind.
    assert_eq!(log.prove(0).unwrap().checkpoint.size(), 1);
    for index in 1..4 {
        append(index);
    }
    assert_eq!((log.len(), log.checkpoint().size()), (4, 1));
    assert_eq!(log.recall(3, [1; 32]).unwrap().durability(), Durability::Synced, "synced, though not published");
    assert_eq!(numbers(&log), [0, 1, 2, 3]);
    let body = |log: &Log, index| log.body(&Hash::of(format!("body {index}").as_bytes())).unwrap();
    let is_file = |index| model.length(&body_path(&Hash::of(format!("body {index}").as_bytes()))).unwrap().is_some();
    assert_eq!(body(&log, 2).unwrap(), b"body 2", "a body is there as soon as its entry is");
    assert_eq!((is_file(0), is_file(2)), (true, false), "it becomes a file with the checkpoint");

    let proof = log.prove(2).unwrap();
    assert_eq!((proof.checkpoint.size(), log.checkpoint().size()), (4, 4));
    assert!(is_file(2));
    append(4);
    let cut = model.after(Crash::Power);
    let recovered = open(&cut, &text).unwrap();
    assert_eq!(numbers(&recovered), [0, 1, 2, 3, 4], "what no checkpoint covers is in the journal");
    assert_eq!(body(&recovered, 4).unwrap(), b"body 4", "and so is its body");
    recovered.close().unwrap();
    assert_eq!(verified(&cut, &public, &[proof.checkpoint]).entries, 5);
}

#[test]
fn a_full_bundle_is_published_within_the_window() {
    let (text, _) = keys();
    let model = Model::new();
    let log = open_with(&model, &text, Duration::from_secs(3600)).unwrap();
    for index in 0..2 * WIDTH {
        log.append(&numbered(EntryKind::Revert, index), None, None, Durability::Synced).unwrap();
    }
    let held_back = log.len() - log.checkpoint().size();
    assert!(held_back <= WIDTH, "{held_back} entries wait in memory");
}
