use std::sync::Arc;

use audit::LogKey;
use jiff::Timestamp;
use manifest::{Finding, ObjectRef, Subject};
use plan::{DriftReport, PlanCode, SyncRef};

use super::*;
use crate::journal::{Journal, Over};

fn journal(dir: &Path) -> Journal {
    let key = LogKey::generate("writ.dev/log").unwrap();
    let text = key.public().to_string();
    Journal::new(Arc::new(Log::open(dir, key, "writ.dev/log").unwrap()), &text)
}

fn sync() -> SyncRef {
    SyncRef { namespace: "shop".into(), name: "web".into() }
}

fn report(number: usize) -> DriftReport {
    let reference = ObjectRef {
        cluster: manifest::ClusterId::new("c"),
        group_kind: manifest::GroupKind::new("apps", "Deployment"),
        namespace: Some("shop".into()),
        name: format!("web-{number}"),
    };
    DriftReport {
        finding: Finding {
            code: PlanCode::D102.entry(),
            subject: Subject::Object { reference: reference.clone(), field: None },
            rule: None,
            found: "it is gone".into(),
            needed: "the declared object".into(),
            fix: String::new().into(),
        },
        reference,
        differences: Vec::new(),
        by: plan::Attribution::default(),
    }
}

/// Flags so many objects, every third of which is as declared again.
fn write_some(journal: &Journal, count: usize) {
    for number in 0..count {
        let (report, now) = (report(number), Timestamp::now());
        journal.flag(now, &sync(), std::slice::from_ref(&report), None, &[]).unwrap();
        if number % 3 == 0 {
            let over = (Over::Lifted, None);
            journal.drift_over(now, &sync().to_string(), &report.reference.to_string(), over).unwrap();
        }
    }
    // Two in one entry, which says so in its body alone.
    journal.flag(Timestamp::now(), &sync(), &[report(count), report(count + 1)], None, &[]).unwrap();
}

/// What was told while the entries were written.
fn told(journal: &Journal) -> Records {
    let mut records = Records::default();
    journal.take_told().iter().for_each(|fact| records.fold(fact));
    records
}

/// Waits until everything is published, as far as a snapshot can go.
fn settled(log: &Log) {
    while log.checkpoint().size() < log.len() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_start_knows_what_was_told_with_a_snapshot_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, kept) = (journal(&dir.path().join("log")), dir.path().join("drift"));
    write_some(&journal, 20);
    let log = journal.log();
    let told = told(&journal);
    assert_eq!(rebuild(log, &kept).unwrap().records, told);
    settled(log);
    let whole = renew(log, &kept).unwrap();
    assert_eq!((whole.tail, whole.unreadable), (log.len(), 0));
    assert_eq!(rebuild(log, &kept).unwrap().tail, 0);
    journal.flag(Timestamp::now(), &sync(), &[report(3)], None, &[]).unwrap();
    let resumed = rebuild(log, &kept).unwrap();
    let mut after = told;
    journal.take_told().iter().for_each(|fact| after.fold(fact));
    assert_eq!((resumed.records, resumed.tail), (after, 1));
}

#[test]
fn a_snapshot_that_is_damaged_or_of_another_log_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let (first, other) = (journal(&dir.path().join("one")), journal(&dir.path().join("two")));
    let kept = dir.path().join("drift");
    write_some(&first, 5);
    write_some(&other, 4);
    write_some(&other, 6);
    settled(first.log());
    settled(other.log());
    renew(first.log(), &kept).unwrap();
    assert_eq!(rebuild(other.log(), &kept).unwrap().tail, other.log().len());
    let text = fs::read_to_string(kept.join("snapshot")).unwrap();
    for damaged in [text.replace("open", "paused"), text.chars().take(text.len() / 2).collect(), String::new()] {
        fs::write(kept.join("snapshot"), damaged).unwrap();
        assert_eq!(rebuild(first.log(), &kept).unwrap().tail, first.log().len());
    }
}
