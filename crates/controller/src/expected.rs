//! `expected/`: what is remembered of each object that was applied, kept over restarts.
//!
//! An append-only file of lines `<sha256 of the JSON> <JSON>\n`; the last line about an object
//! wins, but what our create was answered with (the baseline) stays as long as the object does. It
//! is a cache with a check, not a source of truth: a line that is torn or damaged is dropped and
//! counted. Secrets are kept without their content.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use manifest::{Digest, ObjectRef};
use serde::{Deserialize, Serialize};

use crate::live::{Additions, Expected, Explained};

/// The longest line read back: a 1.5 MiB object (etcd's request limit), stored as JSON once, with as
/// much again for escaping, and as much again for identity and what is to come.
const MAX_LINE_BYTES: usize = 6 << 20;
/// The file is rewritten when it has this many lines more than twice those in force: 16 MB of Deployments, read once for as
/// many changes.
const COMPACT_AT_LINES: usize = 4_000;
/// Pause after a write: each is a sync, which takes a millisecond of a processor and of the disk that etcd may share. A crash
/// meanwhile loses a second of records, whose objects are then compared by declared fields. That a first write of ours was among
/// them is told by the log, as a roll-out without an outcome, and by the object (`Question::Drift`, `interrupted`).
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// As many records are written without a pause: a roll-out of a thousand objects a second holds 200 kB of them.
const WRITE_AT: usize = 64;
/// Pause after a write that failed: a full volume is not mended within a turn of the loop.
const RETRY_WRITE: Duration = Duration::from_secs(10);

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
    /// Everything outside status and bookkeeping in the answer to our create (status 201), as
    /// canonical JSON: what the server adds by itself. Absent for Secrets, and in records of later
    /// applies: the one of an earlier record of the same UID stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Box<serde_json::value::RawValue>>,
    /// Paths of what the baseline has beyond the body. Comes and stays with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surplus: Option<Vec<String>>,
    /// What others added since.
    #[serde(default, skip_serializing_if = "Additions::is_empty")]
    pub added: Additions,
}

/// A line either remembers or forgets one object.
enum Line {
    Record(Box<ExpectedRecord>),
    Forgotten(ObjectRef),
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
    /// What is in force, by object.
    pub objects: BTreeMap<ObjectRef, Expected>,
    /// Lines that were torn or whose digest was wrong.
    pub damaged: u64,
}

/// What was learnt of an object since the last write.
#[derive(Debug)]
enum News {
    Record(Box<ExpectedRecord>),
    Forgotten,
}

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Done,
    Failed,
}

/// The store, and what is on its way there: written in the order in which it was learnt, whoever
/// writes it; what could not be written stays until it can. At most one record per managed object.
#[derive(Debug)]
pub(crate) struct ExpectedStore {
    news: Mutex<BTreeMap<ObjectRef, News>>,
    /// When it was written last, and how that went.
    last: Mutex<Option<(Instant, Written)>>,
    file: Mutex<RecordFile>,
}

impl ExpectedStore {
    /// Opens `dir/records`, creating both, and reads it.
    ///
    /// # Errors
    /// When the file cannot be opened, read or rewritten.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Loaded), ExpectedError> {
        let (file, loaded) = RecordFile::open(dir)?;
        Ok((Self { news: Mutex::default(), last: Mutex::default(), file: Mutex::new(file) }, loaded))
    }

    /// Takes in what was learnt; written by the next flush.
    pub(crate) fn remember(&self, record: ExpectedRecord) {
        keep(&mut lock(&self.news), record);
    }

    /// The object is not managed any more.
    pub(crate) fn forget(&self, reference: &ObjectRef) {
        lock(&self.news).insert(reference.clone(), News::Forgotten);
    }

    /// Whether a write is worth its sync by `now`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let waiting = lock(&self.news).len();
        let last = *lock(&self.last);
        let pause = match last {
            Some((_, Written::Failed)) => RETRY_WRITE,
            Some((_, Written::Done)) if waiting < WRITE_AT => WRITE_PAUSE,
            Some((_, Written::Done)) | None => Duration::ZERO,
        };
        waiting > 0 && last.is_none_or(|(at, _)| now.saturating_duration_since(at) >= pause)
    }

    /// Writes what was learnt so far, with one sync. Blocking.
    ///
    /// # Errors
    /// When encoding, writing or syncing fails; what was to be written is tried again next time.
    pub(crate) fn flush(&self) -> Result<(), ExpectedError> {
        // Taken under the lock of the file: a later flush cannot overtake this one.
        let mut file = lock(&self.file);
        let batch = std::mem::take(&mut *lock(&self.news));
        if batch.is_empty() {
            return Ok(());
        }
        let result = file.commit(&batch);
        let written = if result.is_ok() { Written::Done } else { Written::Failed };
        *lock(&self.last) = Some((Instant::now(), written));
        if result.is_err() {
            let mut news = lock(&self.news);
            let since = std::mem::replace(&mut *news, batch);
            for (object, learnt) in since {
                match learnt {
                    News::Record(record) => keep(&mut news, *record),
                    News::Forgotten => drop(news.insert(object, News::Forgotten)),
                }
            }
        }
        result
    }
}

/// A later record takes the place of an earlier one, but for the baseline of the same object.
fn keep(news: &mut BTreeMap<ObjectRef, News>, mut record: ExpectedRecord) {
    if let (None, Some(News::Record(before))) = (&record.baseline, news.get_mut(&record.object))
        && before.uid == record.uid
    {
        record.baseline = before.baseline.take();
        record.surplus = before.surplus.take();
    }
    news.insert(record.object.clone(), News::Record(Box::new(record)));
}

/// A panic elsewhere left whole lines; the file is checked by digest anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open file.
#[derive(Debug)]
struct RecordFile {
    path: PathBuf,
    file: File,
    /// Lines it has, and how many of them were in force when that was looked at last.
    lines: usize,
    kept: usize,
}

impl RecordFile {
    fn open(dir: &Path) -> Result<(Self, Loaded), ExpectedError> {
        let path = dir.join("records");
        let open = |source| ExpectedError::Open { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(open)?;
        let scan = Scan::of(&path).map_err(open)?;
        let file = append(&path)?;
        let mut opened = Self { path, file, lines: scan.lines, kept: scan.kept().len() };
        // A torn last line must not swallow the next record.
        if scan.damaged > 0 || opened.is_wasteful() {
            opened.rewrite(&scan)?;
        }
        let objects = scan.objects.into_iter().map(|(object, found)| (object, found.expected)).collect();
        Ok((opened, Loaded { objects, damaged: scan.damaged }))
    }

    fn is_wasteful(&self) -> bool {
        self.lines >= self.kept.saturating_mul(2).saturating_add(COMPACT_AT_LINES)
    }

    fn commit(&mut self, news: &BTreeMap<ObjectRef, News>) -> Result<(), ExpectedError> {
        let mut batch = Vec::new();
        for (object, learnt) in news {
            let json = match learnt {
                News::Record(record) => serde_json::to_vec(record),
                News::Forgotten => serde_json::to_vec(&Forgotten { forgotten: object.clone() }),
            };
            let json = json.map_err(|source| ExpectedError::Encode { object: object.to_string(), source })?;
            batch.extend_from_slice(Digest::of(&json).to_string().as_bytes());
            batch.push(b' ');
            batch.extend_from_slice(&json);
            batch.push(b'\n');
        }
        let write = |source| ExpectedError::Write { path: self.path.clone(), source };
        if let Err(error) = self.file.write_all(&batch).and_then(|()| self.file.sync_data()) {
            // Half of it may be there: the next line must not be lost with it.
            self.file.write_all(b"\n").ok();
            return Err(write(error));
        }
        self.lines += news.len();
        if self.is_wasteful() {
            let scan = Scan::of(&self.path).map_err(write)?;
            self.rewrite(&scan)?;
        }
        Ok(())
    }

    /// Copies the lines that are in force into a new file, line by line.
    fn rewrite(&mut self, scan: &Scan) -> Result<(), ExpectedError> {
        let next = self.path.with_extension("next");
        let write = |source| ExpectedError::Write { path: next.clone(), source };
        let kept = scan.kept();
        let copy = || -> io::Result<()> {
            let mut to = BufWriter::new(File::create(&next)?);
            let mut number = 0;
            each_line(&self.path, |line| {
                number += 1;
                if kept.contains(&number) { to.write_all(line) } else { Ok(()) }
            })?;
            to.into_inner()?.sync_all()?;
            fs::rename(&next, &self.path)?;
            self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        copy().map_err(write)?;
        self.file = append(&self.path)?;
        (self.lines, self.kept) = (kept.len(), kept.len());
        Ok(())
    }
}

fn append(path: &Path) -> Result<File, ExpectedError> {
    let open = |source| ExpectedError::Open { path: path.to_owned(), source };
    OpenOptions::new().create(true).append(true).open(path).map_err(open)
}

/// Which lines are in force.
#[derive(Debug, Default)]
struct Scan {
    objects: BTreeMap<ObjectRef, Found>,
    lines: usize,
    damaged: u64,
}

#[derive(Debug)]
struct Found {
    expected: Expected,
    /// Number of the line, from 1.
    line: usize,
    /// Number of the line with the baseline.
    baseline: Option<usize>,
}

impl Scan {
    fn of(path: &Path) -> io::Result<Self> {
        let mut scan = Self::default();
        let all = each_line(path, |line| {
            scan.lines += 1;
            match decode(line) {
                // What follows a write that failed.
                None if line == b"\n" => {}
                Some(Line::Record(record)) => scan.note(*record),
                Some(Line::Forgotten(object)) => drop(scan.objects.remove(&object)),
                None => scan.damaged += 1,
            }
            Ok(())
        });
        match all {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
            Ok(()) => Ok(scan),
        }
    }

    fn note(&mut self, record: ExpectedRecord) {
        let line = self.lines;
        let before = self.objects.get(&record.object).filter(|before| *before.expected.uid == *record.uid);
        let baseline = if record.baseline.is_some() { Some(line) } else { before.and_then(|before| before.baseline) };
        let explained = match &record.surplus {
            Some(surplus) => Explained::new(surplus),
            None => before.and_then(|before| before.expected.explained.clone()),
        };
        let expected = Expected {
            applied: record.applied,
            uid: record.uid.into(),
            resource_version: record.resource_version.into(),
            generation: record.generation,
            explained,
            added: record.added,
        };
        self.objects.insert(record.object, Found { expected, line, baseline });
    }

    fn kept(&self) -> HashSet<usize> {
        self.objects.values().flat_map(|found| [Some(found.line), found.baseline]).flatten().collect()
    }
}

/// Calls `with` for each line, with its end.
fn each_line(path: &Path, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut reader, MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        with(&line)?;
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
        return Some(Line::Forgotten(forgotten));
    }
    serde_json::from_slice(json).ok().map(|record| Line::Record(Box::new(record)))
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;
