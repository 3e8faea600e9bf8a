//! `expected/`: what each object looked like when it was applied, kept over restarts.
//!
//! An append-only file of lines `<sha256 of the JSON> <JSON>\n`; the last line about an object
//! wins. It is a cache with a check, not a source of truth: a line that is torn or damaged is
//! dropped and counted, and an object without a line is compared by its declared fields only until
//! it is created again. Secrets are kept without their content.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use manifest::{Digest, ObjectRef};
use serde::{Deserialize, Serialize};

/// The longest line read back: a 1.5 MiB object (etcd's request limit), stored as JSON at most
/// twice (baseline and served), with as much again for escaping and identity.
const MAX_LINE_BYTES: usize = 6 << 20;
/// The file is rewritten on opening when less than half of its lines are in force and it has at
/// least this many: one rewrite for each thousand changes costs nothing.
const COMPACT_AT_LINES: usize = 1_000;

/// What is remembered of one object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpectedRecord {
    /// The object.
    pub object: ObjectRef,
    /// UID it had.
    pub uid: String,
    /// Version our last apply made.
    pub resource_version: String,
    /// `metadata.generation`, for kinds that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Digest of the body that was applied.
    pub applied: Digest,
    /// The declared fields with the values the server gave them, as canonical JSON; absent for
    /// Secrets and where it equals the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Box<serde_json::value::RawValue>>,
    /// Everything outside status and bookkeeping in the answer to our create (status 201), as
    /// canonical JSON: what the server adds by itself. Absent for Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Box<serde_json::value::RawValue>>,
}

/// A line either remembers or forgets one object.
enum Line {
    Record(Box<ExpectedRecord>),
    Forgotten { forgotten: ObjectRef },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forgotten {
    forgotten: ObjectRef,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// Opening or creating the file failed.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record could not be encoded.
    #[error("cannot encode the record of {object}")]
    Encode {
        /// The object.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// What opening the store found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The records in force, by object.
    pub records: BTreeMap<ObjectRef, ExpectedRecord>,
    /// Lines that were torn or whose digest was wrong.
    pub damaged: u64,
}

/// The open store.
#[derive(Debug)]
pub(crate) struct ExpectedStore {
    path: PathBuf,
    file: File,
}

impl ExpectedStore {
    /// Opens `dir/records`, creating both, and reads it.
    ///
    /// # Errors
    /// When the file cannot be opened, read or rewritten.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Loaded), ExpectedError> {
        let path = dir.join("records");
        let open = |source| ExpectedError::Open { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(open)?;
        let mut loaded = Loaded::default();
        let mut lines = 0;
        match File::open(&path) {
            Ok(file) => lines = read(BufReader::new(file), &mut loaded).map_err(open)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(open(error)),
        }
        // A torn last line must not swallow the next record.
        if loaded.damaged > 0 || lines >= COMPACT_AT_LINES && loaded.records.len() * 2 < lines {
            rewrite(&path, &loaded)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(open)?;
        Ok((Self { path, file }, loaded))
    }

    /// Remembers `records` and forgets `forgotten`, with one sync for all.
    ///
    /// # Errors
    /// When encoding, writing or syncing fails; the store can be used again afterwards.
    pub(crate) fn commit(&mut self, records: &[ExpectedRecord], forgotten: &[ObjectRef]) -> Result<(), ExpectedError> {
        let mut batch = Vec::new();
        for record in records {
            encode(&Line::Record(Box::new(record.clone())), &record.object, &mut batch)?;
        }
        for object in forgotten {
            encode(&Line::Forgotten { forgotten: object.clone() }, object, &mut batch)?;
        }
        let write = |source| ExpectedError::Write { path: self.path.clone(), source };
        self.file.write_all(&batch).and_then(|()| self.file.sync_data()).map_err(write)
    }
}

fn encode(line: &Line, object: &ObjectRef, into: &mut Vec<u8>) -> Result<(), ExpectedError> {
    let json = match line {
        Line::Record(record) => serde_json::to_vec(record),
        Line::Forgotten { forgotten } => serde_json::to_vec(&Forgotten { forgotten: forgotten.clone() }),
    }
    .map_err(|source| ExpectedError::Encode { object: object.to_string(), source })?;
    into.extend_from_slice(Digest::of(&json).to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(&json);
    into.push(b'\n');
    Ok(())
}

/// Reads all lines; returns how many there were.
fn read(mut reader: impl BufRead, loaded: &mut Loaded) -> io::Result<usize> {
    let mut lines = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let length = io::Read::take(&mut reader, MAX_LINE_BYTES as u64).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            return Ok(lines);
        }
        lines += 1;
        match decode(&bytes) {
            Some(Line::Record(record)) => {
                loaded.records.insert(record.object.clone(), *record);
            }
            Some(Line::Forgotten { forgotten }) => {
                loaded.records.remove(&forgotten);
            }
            None => loaded.damaged += 1,
        }
    }
}

fn decode(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n")?;
    let (digest, json) = line.split_at_checked(64)?;
    let json = json.strip_prefix(b" ")?;
    let digest: Digest = std::str::from_utf8(digest).ok()?.parse().ok()?;
    if Digest::of(json) != digest {
        return None;
    }
    if let Ok(Forgotten { forgotten }) = serde_json::from_slice(json) {
        return Some(Line::Forgotten { forgotten });
    }
    serde_json::from_slice(json).ok().map(|record| Line::Record(Box::new(record)))
}

fn rewrite(path: &Path, loaded: &Loaded) -> Result<(), ExpectedError> {
    let next = path.with_extension("next");
    let write = |source| ExpectedError::Write { path: next.clone(), source };
    let mut bytes = Vec::new();
    for record in loaded.records.values() {
        encode(&Line::Record(Box::new(record.clone())), &record.object, &mut bytes)?;
    }
    let mut file = File::create(&next).map_err(write)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(write)?;
    fs::rename(&next, path).map_err(write)
}

#[cfg(test)]
mod tests {
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

    fn record(name: &str, version: &str) -> ExpectedRecord {
        ExpectedRecord {
            object: object(name),
            uid: "u".into(),
            resource_version: version.into(),
            generation: Some(1),
            applied: Digest::of(name.as_bytes()),
            served: Some(serde_json::value::RawValue::from_string(r#"{"spec":{"replicas":1}}"#.into()).unwrap()),
            baseline: None,
        }
    }

    fn same(a: &ExpectedRecord, b: &ExpectedRecord) -> bool {
        serde_json::to_string(a).unwrap() == serde_json::to_string(b).unwrap()
    }

    #[test]
    fn the_last_record_wins_and_forgotten_ones_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = ExpectedStore::open(dir.path()).unwrap();
        store.commit(&[record("a", "1"), record("b", "1")], &[]).unwrap();
        store.commit(&[record("a", "2")], &[object("b")]).unwrap();
        drop(store);
        let (_, loaded) = ExpectedStore::open(dir.path()).unwrap();
        assert_eq!(loaded.damaged, 0);
        assert_eq!(loaded.records.len(), 1);
        assert!(same(&loaded.records[&object("a")], &record("a", "2")));
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = ExpectedStore::open(dir.path()).unwrap();
        store.commit(&[record("a", "1"), record("b", "1")], &[]).unwrap();
        drop(store);
        let path = dir.path().join("records");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        let (mut store, loaded) = ExpectedStore::open(dir.path()).unwrap();
        assert_eq!((loaded.records.len(), loaded.damaged), (1, 1));
        store.commit(&[record("c", "1")], &[]).unwrap();
        drop(store);
        let (_, loaded) = ExpectedStore::open(dir.path()).unwrap();
        assert_eq!((loaded.records.len(), loaded.damaged), (2, 0));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = ExpectedStore::open(dir.path()).unwrap();
        store.commit(&[record("a", "1")], &[]).unwrap();
        let path = dir.path().join("records");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 5;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (_, loaded) = ExpectedStore::open(dir.path()).unwrap();
        assert_eq!((loaded.records.len(), loaded.damaged), (0, 1));
    }
}
