//! Reading a log without its lock: what `audit show` does, also while the writer is at work.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::body::read_body;
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, EntryKind};
use crate::error::LogError;
use crate::log::{Indexed, has_subject, parse};
use crate::merkle::Hash;
use crate::note::{LogPublicKey, NoteError};
use crate::publish::CHECKPOINT;
use crate::recovery::CHECKPOINT_LIMIT;
use crate::storage::{Disk, Storage as _};
use crate::tile::WIDTH;
use crate::tiles::read_bundle;

/// Times a bundle is looked for again because the writer replaced the partial file meanwhile.
const ATTEMPTS: u32 = 8;

/// Which entries are wanted; the default wants all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<EntryKind>,
    /// With this code among its codes.
    pub code: Option<String>,
    /// With all these subject values.
    pub subject: BTreeMap<String, String>,
}

impl Filter {
    /// Does the entry pass?
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let subject: Vec<_> = self.subject.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        self.kind.is_none_or(|kind| kind == entry.kind)
            && self.code.as_ref().is_none_or(|code| entry.codes.contains(code))
            && has_subject(entry, &subject)
    }
}

/// A log directory, open for reading. Entries are parsed strictly, but not verified against the
/// tree: that is what [`verify_dir`](crate::verify_dir) is for.
pub struct LogReader {
    disk: Disk,
    key: LogPublicKey,
}

impl LogReader {
    /// Opens a directory whose checkpoint was signed by this key.
    ///
    /// # Errors
    /// When there is no checkpoint, or none by this key.
    pub fn open(dir: &Path, key: &LogPublicKey) -> Result<Self, LogError> {
        let reader = Self { disk: Disk::new(dir), key: key.clone() };
        reader.checkpoint()?;
        Ok(reader)
    }

    /// The newest checkpoint, its signature verified.
    ///
    /// # Errors
    /// A storage error, or [`LogError::Checkpoint`].
    pub fn checkpoint(&self) -> Result<Checkpoint, LogError> {
        let bytes = self.disk.read(CHECKPOINT, CHECKPOINT_LIMIT);
        let bytes = bytes.and_then(|bytes| bytes.ok_or_else(|| rustix::io::Errno::NOENT.into()));
        let bytes = bytes.map_err(|error| LogError::storage("read", CHECKPOINT, error))?;
        let note = String::from_utf8(bytes).map_err(|_| LogError::Checkpoint(NoteError::Format))?;
        Checkpoint::parse(&note, &self.key).map_err(LogError::Checkpoint)
    }

    /// The entries of a range that pass the filter, oldest first; what is beyond the checkpoint is left out.
    pub fn entries<'a>(
        &'a self,
        range: Range<u64>,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<Indexed, LogError>> + 'a {
        let numbers = range.start / WIDTH..range.end.div_ceil(WIDTH);
        let mut failed = false;
        numbers
            .map(move |number| if failed { Ok(Vec::new()) } else { self.bundle(number).inspect_err(|_| failed = true) })
            .take_while(|bundle| bundle.as_ref().map_or(true, |bundle| !bundle.is_empty()))
            .zip(range.start / WIDTH..)
            .flat_map(move |(bundle, number)| {
                let range = range.clone();
                let (entries, error) = match bundle {
                    Ok(entries) => (entries, None),
                    Err(error) => (Vec::new(), Some(Err(error))),
                };
                (number * WIDTH..)
                    .zip(entries)
                    .filter(move |(index, _)| range.contains(index))
                    .map(|(index, bytes)| Ok(Indexed { index, entry: parse(index, &bytes)? }))
                    .filter(|found| found.as_ref().map_or(true, |found| filter.matches(&found.entry)))
                    .chain(error)
                    .collect::<Vec<_>>()
            })
    }

    /// Entries of one bundle as far as a checkpoint covers them; none beyond its end.
    fn bundle(&self, number: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let mut attempt = 1;
        loop {
            let size = self.checkpoint()?.size();
            if number.saturating_mul(WIDTH) >= size {
                return Ok(Vec::new());
            }
            match read_bundle(&self.disk, number, size) {
                Err(LogError::Damaged { .. }) if attempt < ATTEMPTS && self.checkpoint()?.size() != size => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// A body, checked against its digest; `None` when there is none.
    ///
    /// # Errors
    /// A storage error, or [`LogError::Damaged`] when the file does not have this digest.
    pub fn body(&self, digest: &Hash) -> Result<Option<Vec<u8>>, LogError> {
        read_body(&self.disk, digest)
    }
}
