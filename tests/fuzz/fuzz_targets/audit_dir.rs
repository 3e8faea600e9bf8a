//! A log directory in which one file is another: checkpoint, tiles, bundles, bodies and journal.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use audit::{Durability, Entry, EntryKind, Log, LogKey, LogPublicKey, verify_dir};
use libfuzzer_sys::fuzz_target;

const JOURNAL: &str = "journal";

struct Sample {
    dir: PathBuf,
    key: LogPublicKey,
    /// All files, and what is in them.
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn files_below(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            let bytes = fs::read(&path).expect("a file");
            // Space that is kept free is no part of what is read.
            if !path.ends_with("reserve") && !path.ends_with(JOURNAL) {
                files.push((path, bytes));
            }
        }
    }
}

fn sample() -> Sample {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-audit-dir");
    // Of the run before, which ended without notice.
    drop(fs::remove_dir_all(&dir));
    let key = LogKey::generate("writ.test/log").expect("a key");
    let public = key.public().clone();
    let log = Log::open(&dir, key, "writ.test/log").expect("a log");
    for number in 0..3_u8 {
        let entry = Entry::new(EntryKind::Boot, format!("2026-01-01T00:00:0{number}Z"));
        log.append(&entry, Some(&[number]), None, Durability::Synced).expect("an entry");
    }
    log.close().expect("a log that ends");
    let mut files = Vec::new();
    files_below(&dir, &mut files);
    files.sort();
    // All zeros after a clean end, as it would be with fewer of them.
    let journal = dir.join(JOURNAL);
    fs::write(&journal, [0; 64]).expect("a file is written");
    files.push((journal, vec![0; 64]));
    Sample { dir, key: public, files }
}

fuzz_target!(|bytes: &[u8]| {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    let sample = SAMPLE.get_or_init(sample);
    let Some((which, content)) = bytes.split_first() else { return };
    let (path, original) = &sample.files[usize::from(*which) % sample.files.len()];
    fs::write(path, content).expect("a file is written");
    let verdict = verify_dir(&sample.dir, &sample.key, &[]);
    fs::write(path, original).expect("a file is written");
    if let Ok(report) = verdict {
        assert_eq!(report.entries, 3, "an entry was forged, or lost");
        let covered = ["tile", "bodies"].iter().any(|folder| path.starts_with(sample.dir.join(folder)));
        assert!(!covered || content == original, "a change of {} is not noticed", path.display());
    }
});
