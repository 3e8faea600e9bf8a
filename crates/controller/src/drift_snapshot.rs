//! Where what is known of drift is kept between starts: `STATE/drift/snapshot`, made from the log alone. It is no more than a
//! short cut: what is damaged, or was made of another log, is not used, and the log is read from its first entry.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use audit::{Hash, Log, LogError};
use plan::{Records, facts, is_told_by_body};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::drift_history::view;

/// The folder of the state volume that has it.
pub(crate) const FOLDER: &str = "drift";
/// First words of the file, with the version of its form.
const HEADER: &str = "writ.dev/drift-snapshot/v1alpha1";
/// The largest snapshot that is read: 30,000 records of at most 2 kB.
const MAX_BYTES: u64 = 64 << 20;

/// Why what is known of drift cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum DriftHistoryError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The snapshot cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is known cannot be written as JSON.
    #[error("cannot encode what is known of drift")]
    Encode(#[source] serde_json::Error),
}

/// What the log says.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    /// The records.
    pub records: Records,
    /// They are made of so many entries.
    pub size: u64,
    /// How many of these were not in the snapshot.
    pub tail: u64,
    /// Entries that could not be read as facts.
    pub unreadable: u64,
}

/// What stands before the records.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The records are made of so many entries.
    size: u64,
    /// Root of the log at this size.
    root: String,
    /// SHA-256 of what follows.
    sha256: String,
}

/// Reads what is known of drift: the snapshot in `dir`, if it is one of this log, and the entries since.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn rebuild(log: &Log, dir: &Path) -> Result<Rebuilt, DriftHistoryError> {
    up_to(log, dir, log.len())
}

fn up_to(log: &Log, dir: &Path, size: u64) -> Result<Rebuilt, DriftHistoryError> {
    let (mut records, start) = match read(log, &file_of(dir)) {
        Ok(found) => found,
        Err(why) => {
            tracing::info!(why, "what is known of drift is read from the log as a whole");
            (Records::default(), 0)
        }
    };
    let mut unreadable = 0;
    for indexed in log.entries(start..size) {
        let indexed = indexed?;
        let view = view(indexed.index, &indexed.entry);
        let body = match indexed.entry.body_digest().filter(|_| is_told_by_body(&view)) {
            Some(digest) => log.body(&digest)?,
            None => None,
        };
        match facts(&view, body.as_deref()) {
            Ok(facts) => facts.iter().for_each(|fact| records.fold(fact)),
            Err(error) => {
                tracing::debug!(%error, "an entry about drift is left out");
                unreadable += 1;
            }
        }
    }
    Ok(Rebuilt { records, size, tail: size.saturating_sub(start), unreadable })
}

/// Makes the snapshot anew from the published part of the log.
///
/// # Errors
/// When the log cannot be read or the file not be written.
pub(crate) fn renew(log: &Log, dir: &Path) -> Result<Rebuilt, DriftHistoryError> {
    let rebuilt = up_to(log, dir, log.checkpoint().size())?;
    let root = log.root_at(rebuilt.size)?;
    let records = serde_json::to_vec(&rebuilt.records).map_err(DriftHistoryError::Encode)?;
    let head = Head { size: rebuilt.size, root: root.to_string(), sha256: digest(&records) };
    let head = serde_json::to_string(&head).map_err(DriftHistoryError::Encode)?;
    write(dir, &head, &records)?;
    Ok(rebuilt)
}

fn file_of(dir: &Path) -> PathBuf {
    dir.join("snapshot")
}

fn write(dir: &Path, head: &str, records: &[u8]) -> Result<(), DriftHistoryError> {
    let path = file_of(dir);
    let next = path.with_extension("next");
    let all = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file = File::create(&next)?;
        writeln!(file, "{HEADER}\n{head}")?;
        file.write_all(records)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(dir)?.sync_all()
    };
    all().map_err(|source| DriftHistoryError::Write { path: next.clone(), source })
}

/// The records of a snapshot and how many entries they are made of; or why it is not used.
fn read(log: &Log, path: &Path) -> Result<(Records, u64), String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("the snapshot is larger than {MAX_BYTES} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut parts = text.splitn(3, '\n');
    let (Some(HEADER), Some(head), Some(records)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("the snapshot is of another form".to_owned());
    };
    let head: Head = serde_json::from_str(head).map_err(|error| error.to_string())?;
    if digest(records.as_bytes()) != head.sha256 {
        return Err("the snapshot is damaged".to_owned());
    }
    let root = log.root_at(head.size).map_err(|_| "the snapshot is of a longer log".to_owned())?;
    if Hash::from_hex(&head.root) != Some(root) {
        return Err("the snapshot is of another log".to_owned());
    }
    Ok((serde_json::from_str(records).map_err(|error| error.to_string())?, head.size))
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
#[path = "drift_snapshot_tests.rs"]
mod tests;
