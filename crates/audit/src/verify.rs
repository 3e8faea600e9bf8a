//! Offline verification of a whole log directory, without its lock and without trusting anything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::body::{BODY_LIMIT, body_path};
use crate::checkpoint::Checkpoint;
use crate::entry::Entry;
use crate::journal::{self, JOURNAL_BYTES};
use crate::merkle::{Hash, leaf_hash};
use crate::note::LogPublicKey;
use crate::publish::{CHECKPOINT, SETTLED};
use crate::recovery::CHECKPOINT_LIMIT;
use crate::storage::{Disk, Storage as _};
use crate::tile::{BUNDLE_BYTES, Content, Edge, TILE_BYTES, Tile, WIDTH, next_entry};
use crate::walk::files_below;

/// What is said of a log without a journal.
const NO_JOURNAL: &str = "there is no file journal: entries after the checkpoint, if there are any, are not here";
/// Times verification starts again because the writer moved on meanwhile.
const ATTEMPTS: u32 = 8;

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The newest checkpoint.
    pub checkpoint: Checkpoint,
    /// Entries below it, all verified.
    pub entries: u64,
    /// Tiles and bundles compared.
    pub tiles: u64,
    /// Bodies compared with their digests.
    pub bodies: u64,
    /// Earlier checkpoints that the log was shown to extend.
    pub extended: u64,
    /// What is no mismatch but worth knowing: surplus files, entries that wait in the journal, files that the next start
    /// makes from it.
    pub notes: Vec<String>,
}

/// Where the log is provably not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, byte {offset}{}: {what}", entry.map(|entry| format!(", entry {entry}")).unwrap_or_default())]
pub struct Mismatch {
    /// The file, relative to the directory.
    pub file: String,
    /// The first byte known to be wrong: exact in tiles, start of the entry's record in bundles, 0 where only the file
    /// as a whole can be judged (checkpoints, bodies).
    pub offset: u64,
    /// The first entry that is affected, where one can be named.
    pub entry: Option<u64>,
    /// What does not fit.
    pub what: String,
}

/// Why a log was not verified.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// It was tampered with or damaged: exit status 1.
    #[error("the log is not what was signed")]
    Mismatch(#[from] Mismatch),
    /// It could not be read, so nothing was shown: exit status 2.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file, relative to the directory.
        path: String,
        /// The operating system's words.
        #[source]
        source: Arc<io::Error>,
    },
}

impl VerifyError {
    pub(crate) fn unreadable(path: &str, source: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source: Arc::new(source) }
    }
}

fn mismatch(file: &str, offset: u64, entry: Option<u64>, what: impl Into<String>) -> VerifyError {
    Mismatch { file: file.to_owned(), offset, entry, what: what.into() }.into()
}

/// Verifies everything in `dir`: signature of the checkpoint, form of every entry, every tile and
/// bundle, root, journal and bodies, and that the log extends each of the remembered checkpoints. What a power cut may
/// take, as the journal holds it, is noted.
///
/// # Errors
/// [`VerifyError::Mismatch`] for what is proven wrong, [`VerifyError::Unreadable`] when it cannot be judged.
pub fn verify_dir(dir: &Path, key: &LogPublicKey, remembered: &[Checkpoint]) -> Result<Report, VerifyError> {
    let mut attempt = 1;
    loop {
        let disk = Disk::new(dir);
        let before = read(&disk, CHECKPOINT, CHECKPOINT_LIMIT)?;
        let result = verify_once(dir, &disk, before.as_deref(), key, remembered);
        // A writer may have replaced files while they were read, and added bodies of entries that came after the checkpoint.
        let doubtful = result.as_ref().map_or(true, |(_, doubts)| *doubts > 0);
        if !doubtful || attempt == ATTEMPTS || read(&disk, CHECKPOINT, CHECKPOINT_LIMIT)? == before {
            return result.map(|(report, _)| report);
        }
        attempt += 1;
    }
}

fn read(disk: &Disk, path: &str, limit: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    match disk.read(path, limit) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(mismatch(path, limit, None, format!("the file is larger than {limit} bytes")))
        }
        result => result.map_err(|error| VerifyError::unreadable(path, error)),
    }
}

fn parse_checkpoint(path: &str, bytes: &[u8], key: &LogPublicKey) -> Result<Checkpoint, VerifyError> {
    let note =
        std::str::from_utf8(bytes).map_err(|error| mismatch(path, error.valid_up_to() as u64, Some(0), "not text"))?;
    Checkpoint::parse(note, key).map_err(|error| mismatch(path, 0, Some(0), error.to_string()))
}

fn verify_once(
    dir: &Path,
    disk: &Disk,
    newest: Option<&[u8]>,
    key: &LogPublicKey,
    remembered: &[Checkpoint],
) -> Result<(Report, usize), VerifyError> {
    let newest = newest.ok_or_else(|| VerifyError::unreadable(CHECKPOINT, rustix::io::Errno::NOENT.into()))?;
    let checkpoint = parse_checkpoint(CHECKPOINT, newest, key)?;
    let settled = read(disk, SETTLED, CHECKPOINT_LIMIT)?;
    let settled = settled.map(|bytes| parse_checkpoint(SETTLED, &bytes, key)).transpose()?;
    let mut verifier = Verifier::new(disk, checkpoint);
    verifier.remember(SETTLED, settled.as_slice())?;
    verifier.remember("remembered checkpoint", remembered)?;
    match read(disk, journal::PATH, JOURNAL_BYTES)? {
        Some(journal) => verifier.read_journal(&journal, settled.as_ref().map(Checkpoint::size))?,
        // Copies often leave it out, and a log that nobody writes has nothing in it.
        None => verifier.report.notes.push(NO_JOURNAL.to_owned()),
    }
    verifier.list(dir)?;
    verifier.tree()?;
    verifier.bodies(dir)?;
    Ok((verifier.report, verifier.doubts))
}

/// One pass over the log.
struct Verifier<'a> {
    disk: &'a Disk,
    report: Report,
    /// Files below `tile/`, by content and number, with their widths.
    files: BTreeMap<(Content, u64), BTreeSet<u64>>,
    /// Files below `tile/` of which a power cut left the name only.
    empty: BTreeSet<Tile>,
    /// Entries from which the next start makes files anew.
    anew: Range<u64>,
    /// Roots that were signed for a size, with where that was said.
    signed: BTreeMap<u64, Vec<(String, Hash)>>,
    /// Published entries that the journal also has.
    journal: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Bodies that the next start makes anew.
    carried: BTreeSet<Hash>,
    /// Files that entries name which wait in the journal.
    awaited: BTreeSet<String>,
    /// Digest of each body, with the first entry that names it.
    body_digests: BTreeMap<Hash, u64>,
    /// The file of the current bundle, and the first entry that the journal gave in its stead.
    bundle: String,
    made_from: Option<u64>,
    /// Where each record of the current bundle starts.
    offsets: Vec<u64>,
    /// Notes that a writer at work may be the reason of.
    doubts: usize,
    /// First difference between a leaf and its tile, blamed on the bundle or on the tile.
    leaf: Option<(Mismatch, Mismatch)>,
    /// First difference in a tile above.
    above: Option<Mismatch>,
    /// First entry that is not in the form of the schema.
    form: Option<Mismatch>,
    /// First difference in an entry's copy.
    copy: Option<Mismatch>,
}

impl<'a> Verifier<'a> {
    fn new(disk: &'a Disk, checkpoint: Checkpoint) -> Self {
        let entries = checkpoint.size();
        Self {
            disk,
            report: Report { checkpoint, entries, tiles: 0, bodies: 0, extended: 0, notes: Vec::new() },
            files: BTreeMap::new(),
            empty: BTreeSet::new(),
            anew: 0..0,
            signed: BTreeMap::new(),
            journal: BTreeMap::new(),
            carried: BTreeSet::new(),
            awaited: BTreeSet::new(),
            body_digests: BTreeMap::new(),
            bundle: String::new(),
            made_from: None,
            offsets: Vec::new(),
            doubts: 0,
            leaf: None,
            above: None,
            form: None,
            copy: None,
        }
    }

    fn remember(&mut self, source: &str, checkpoints: &[Checkpoint]) -> Result<(), VerifyError> {
        for known in checkpoints {
            if known.size() > self.report.entries {
                let what = format!(
                    "it covers {} entries, but a checkpoint over {} was signed ({source}): the log was rolled back",
                    self.report.entries,
                    known.size()
                );
                return Err(mismatch(CHECKPOINT, 0, Some(self.report.entries), what));
            }
            self.signed.entry(known.size()).or_default().push((source.to_owned(), *known.root()));
        }
        Ok(())
    }

    fn list(&mut self, dir: &Path) -> Result<(), VerifyError> {
        for path in files_below(dir, "tile")? {
            match Tile::parse(&path) {
                Some(tile) if self.is_made_anew(tile) && self.is_empty(&path)? => {
                    self.doubts += 1;
                    self.empty.insert(tile);
                    self.report.notes.push(format!("{path} is empty; the next start makes or removes it"));
                }
                Some(tile) => {
                    self.files.entry((tile.content, tile.number)).or_default().insert(tile.width);
                }
                None => self.report.notes.push(format!("{path} is not a file of the log")),
            }
        }
        Ok(())
    }

    /// Recomputes the tree from the bundles and compares all files with it.
    fn tree(&mut self) -> Result<(), VerifyError> {
        let size = self.report.entries;
        let mut edge = Edge::default();
        let mut roots = BTreeMap::from([(0, edge.root())]);
        for number in 0..size.div_ceil(WIDTH) {
            let bundle = Tile::holding(Content::Entries, number * WIDTH, size);
            let bytes = self.read_bundle(bundle)?;
            self.offsets.clear();
            let mut rest = bytes.as_slice();
            for index in bundle.first_entry()..bundle.first_entry() + bundle.width {
                let offset = (bytes.len() - rest.len()) as u64;
                let Some((entry, after)) = next_entry(rest) else {
                    return Err(self.broken_bundle(&bytes, offset, index)?);
                };
                self.offsets.push(offset);
                self.entry(offset, index, entry);
                rest = after;
                for (tile, expected) in edge.push(entry) {
                    self.compare(tile, &expected)?;
                }
                if self.signed.contains_key(&edge.size) {
                    roots.insert(edge.size, edge.root());
                }
            }
        }
        for (tile, expected) in edge.partials() {
            self.compare(tile, &expected)?;
        }
        self.judge(&edge, &roots)
    }

    /// Who is to blame is known when the root is.
    fn judge(&mut self, edge: &Edge, roots: &BTreeMap<u64, Hash>) -> Result<(), VerifyError> {
        let root = edge.root();
        let leaf = self.leaf.take();
        if root != *self.report.checkpoint.root() {
            // The entries are not those signed. Their tile says which, unless it was rewritten with them.
            let suspect = leaf.map(|(bundle, _)| bundle).or(self.above.take()).unwrap_or_else(|| Mismatch {
                file: CHECKPOINT.to_owned(),
                offset: 0,
                entry: (edge.size > 0).then_some(0),
                what: format!(
                    "entries and tiles agree, but their root {root} is not the signed one: all was rewritten"
                ),
            });
            return Err(suspect.into());
        }
        let wrong = leaf.map(|(_, tile)| tile).or(self.above.take()).or(self.copy.take()).or(self.form.take());
        if let Some(wrong) = wrong {
            return Err(wrong.into());
        }
        for (size, known) in &self.signed {
            for (source, expected) in known {
                if roots.get(size) != Some(expected) {
                    let what = format!("its first {size} entries do not have the root signed before ({source})");
                    return Err(mismatch(CHECKPOINT, 0, Some(0), what));
                }
                self.report.extended += 1;
            }
        }
        for (content, number) in self.files.keys() {
            let tile = Tile { content: *content, number: *number, width: WIDTH };
            if tile.first_entry() >= edge.size {
                self.report.notes.push(format!("{tile} lies beyond the checkpoint"));
            }
        }
        Ok(())
    }

    /// The file for this tile, or the full one in its place.
    fn file_for(&self, tile: Tile) -> Option<Tile> {
        let widths = self.files.get(&(tile.content, tile.number))?;
        [tile, tile.full()].into_iter().find(|tile| widths.contains(&tile.width))
    }

    fn read_needed(&self, tile: Tile) -> Result<(String, Vec<u8>), VerifyError> {
        let limit = if tile.content == Content::Entries { BUNDLE_BYTES } else { TILE_BYTES };
        let missing = || mismatch(&tile.to_string(), 0, Some(tile.first_entry()), "the file is missing");
        let path = self.file_for(tile).ok_or_else(missing)?.to_string();
        let bytes = read(self.disk, &path, limit)?.ok_or_else(missing)?;
        Ok((path, bytes))
    }

    fn entry(&mut self, offset: u64, index: u64, bytes: &[u8]) {
        match Entry::from_canonical_json(bytes) {
            Ok(entry) => {
                if let Some(digest) = entry.body_digest() {
                    self.body_digests.entry(digest).or_insert(index);
                }
            }
            Err(error) => {
                let (file, offset) = self.place(index, offset);
                let what = error.to_string();
                self.form.get_or_insert(Mismatch { file, offset, entry: Some(index), what });
            }
        }
        if let Some((at, copy)) = self.journal.get(&index)
            && copy != bytes
        {
            let what = "the entry is not the one in the tree".to_owned();
            self.copy.get_or_insert(Mismatch { file: journal::PATH.to_owned(), offset: *at, entry: Some(index), what });
        }
    }

    /// A record that does not end within the bundle: the first entry whose leaf differs, or this one.
    fn broken_bundle(&self, bytes: &[u8], offset: u64, index: u64) -> Result<VerifyError, VerifyError> {
        let path = &self.bundle;
        if let Some((bundle, _)) = &self.leaf {
            return Ok(bundle.clone().into());
        }
        let first = index / WIDTH * WIDTH;
        let tile = Tile::holding(Content::Level(0), first, self.report.entries);
        let (_, hashes) = self.read_needed(tile)?;
        let (hashes, _) = hashes.as_chunks::<32>();
        let mut rest = bytes;
        for ((entry_index, at), hash) in (first..).zip(&self.offsets).zip(hashes) {
            let Some((entry, after)) = next_entry(rest) else { break };
            if leaf_hash(entry).0 != *hash {
                return Ok(mismatch(path, *at, Some(entry_index), "the entry is not the one in the tree"));
            }
            rest = after;
        }
        Ok(mismatch(path, offset, Some(index), "the bundle ends within or before this entry"))
    }

    /// Compares every file there is for a tile with what the entries make of it.
    fn compare(&mut self, tile: Tile, expected: &[u8]) -> Result<(), VerifyError> {
        let widths = self.files.remove(&(tile.content, tile.number)).unwrap_or_default();
        if !widths.contains(&tile.width) && !widths.contains(&WIDTH) {
            self.accept_missing(tile, &widths)?;
        }
        for width in widths {
            let file = Tile { width, ..tile };
            let path = file.to_string();
            let limit = if tile.content == Content::Entries { BUNDLE_BYTES } else { TILE_BYTES };
            let Some(bytes) = read(self.disk, &path, limit)? else { continue };
            self.report.tiles += 1;
            let shared = self.prefix(tile, width.min(tile.width), expected.len());
            let expected = expected.get(..shared).unwrap_or(expected);
            // What lies beyond the checkpoint is not signed yet; it is only noted.
            let known = if width > tile.width { bytes.get(..shared).unwrap_or(&bytes) } else { &bytes };
            if width > tile.width {
                self.report.notes.push(format!("{path} reaches beyond the checkpoint"));
            }
            if known != expected {
                self.differs(file, &path, known, expected);
            }
        }
        Ok(())
    }

    /// Bytes that the first `width` items take.
    fn prefix(&self, tile: Tile, width: u64, all: usize) -> usize {
        match tile.content {
            Content::Level(_) => (width * 32) as usize,
            Content::Entries => self.offsets.get(width as usize).map_or(all, |offset| *offset as usize),
        }
    }

    fn differs(&mut self, file: Tile, path: &str, found: &[u8], expected: &[u8]) {
        let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let item = match file.content {
            Content::Level(_) => same / 32,
            Content::Entries => self.offsets.partition_point(|offset| *offset <= same as u64).saturating_sub(1),
        } as u64;
        let first = file.first_entry() + item * file.span();
        let blamed = |file: &str, offset, what: &str| Mismatch {
            file: file.to_owned(),
            offset,
            entry: Some(first),
            what: what.to_owned(),
        };
        match file.content {
            Content::Level(0) => {
                let start = self.offsets.get(item as usize).copied().unwrap_or_default();
                let (bundle, start) = self.place(first, start);
                let bundle = blamed(&bundle, start, "the entry is not the one in the tree");
                let tile = blamed(path, same as u64, "the hash is not that of the entry");
                self.leaf.get_or_insert((bundle, tile));
            }
            Content::Level(_) => {
                self.above.get_or_insert(blamed(path, same as u64, "the hash is not that of the tile below"));
            }
            Content::Entries => {
                self.copy.get_or_insert(blamed(path, same as u64, "the bundle is not the one in the tree"));
            }
        }
    }

    fn bodies(&mut self, dir: &Path) -> Result<(), VerifyError> {
        for (digest, index) in &self.body_digests {
            let path = body_path(digest);
            let body = read(self.disk, &path, BODY_LIMIT)?;
            // A power cut may have taken the file; the next start makes it anew.
            if body.as_ref().is_none_or(Vec::is_empty) && self.carried.contains(digest) {
                self.report.notes.push(format!("{path}: the body is in the journal only"));
                continue;
            }
            let body = body.ok_or_else(|| mismatch(&path, 0, Some(*index), "the body is missing"))?;
            if Hash::of(&body) != *digest {
                return Err(mismatch(&path, 0, Some(*index), "the body is not the one the entry names"));
            }
            self.report.bodies += 1;
        }
        let known: BTreeSet<String> = self.body_digests.keys().map(body_path).collect();
        for path in files_below(dir, "bodies")? {
            if !known.contains(&path) && !self.awaited.contains(&path) {
                self.doubts += 1;
                self.report.notes.push(format!("{path} belongs to no entry"));
            }
        }
        Ok(())
    }
}

mod unsettled;

#[cfg(test)]
mod tests;
