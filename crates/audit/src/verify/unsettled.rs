//! What a power cut may take: files written since the log was settled. The next start makes them anew from the journal, so
//! a log without them is still what was signed.

use std::collections::BTreeSet;

use super::{Verifier, VerifyError, mismatch};
use crate::body::body_path;
use crate::entry::Entry;
use crate::journal;
use crate::merkle::Hash;
use crate::storage::Storage as _;
use crate::tile::{Tile, entries_of};

impl Verifier<'_> {
    /// Takes over what the journal holds; `settled` is the size that recovery starts from.
    pub(super) fn read_journal(&mut self, bytes: &[u8], settled: Option<u64>) -> Result<(), VerifyError> {
        let (records, used) = journal::records(bytes);
        let end = records.last().map_or(0, |last| last.index.saturating_add(1));
        // Otherwise recovery refuses the log.
        let whole = |settled: &u64| records.first().is_some_and(|first| first.index <= *settled);
        if let Some(settled) = settled.filter(whole)
            && end >= self.report.entries
        {
            self.anew = settled..end;
        }
        let (mut at, mut waiting) = (0, 0_u64);
        for record in &records {
            if !record.body.is_empty() && self.anew.contains(&record.index) {
                self.carried.insert(Hash::of(record.body));
            }
            if record.index < self.report.entries {
                self.journal.insert(record.index, (at, record.entry.to_vec()));
            } else {
                let entry = Entry::from_canonical_json(record.entry)
                    .map_err(|error| mismatch(journal::PATH, at, Some(record.index), error.to_string()))?;
                let body = entry.body_digest();
                if !record.body.is_empty() && body != Some(Hash::of(record.body)) {
                    return Err(mismatch(
                        journal::PATH,
                        at,
                        Some(record.index),
                        "the body is not the one the entry names",
                    ));
                }
                self.awaited.extend(body.map(|digest| body_path(&digest)));
                waiting += 1;
            }
            at += record.size() as u64;
        }
        if waiting > 0 {
            let wait = if waiting == 1 { "entry waits" } else { "entries wait" };
            self.report.notes.push(format!("{waiting} {wait} in the journal for a checkpoint"));
        }
        let rest = bytes.get(used as usize..).unwrap_or_default();
        if let Some(place) = rest.iter().position(|byte| *byte != 0) {
            let byte = used + place as u64;
            let last = records.last();
            let next = last.map_or(self.report.entries, |last| self.report.entries.max(last.index.saturating_add(1)));
            let hidden = match journal::hidden(rest, next, last.map_or(0, |last| last.epoch)) {
                0 => String::new(),
                1 => format!("; acknowledged entry {next} may be hidden there"),
                count => format!("; {count} acknowledged entries from {next} on may be hidden there"),
            };
            self.report.notes.push(format!("journal, byte {byte}: rest of an earlier or torn record{hidden}"));
        }
        Ok(())
    }

    /// Does the next start make this file anew, if it is one of its tree?
    pub(super) fn is_made_anew(&self, tile: Tile) -> bool {
        let reach = tile.first_entry().saturating_add(tile.width.saturating_mul(tile.span()));
        self.anew.start < reach && reach <= self.anew.end
    }

    pub(super) fn is_empty(&self, path: &str) -> Result<bool, VerifyError> {
        let length = self.disk.length(path).map_err(|error| VerifyError::unreadable(path, error))?;
        Ok(length == Some(0))
    }

    /// Notes a missing file that is made anew. Any other must be there, and so must the file of its settled part.
    pub(super) fn accept_missing(&mut self, tile: Tile, widths: &BTreeSet<u64>) -> Result<(), VerifyError> {
        let missing = |tile: Tile| Err(mismatch(&tile.to_string(), 0, Some(tile.first_entry()), "the file is missing"));
        if !self.is_made_anew(tile) {
            return missing(tile);
        }
        let settled = self.settled_part(tile);
        if settled.width > 0 && !widths.contains(&settled.width) {
            return missing(settled);
        }
        if !self.empty.contains(&tile) && !self.empty.contains(&tile.full()) {
            self.doubts += 1;
            self.report.notes.push(format!("{tile} is missing; the next start makes it from the journal"));
        }
        Ok(())
    }

    fn settled_part(&self, tile: Tile) -> Tile {
        Tile { width: self.anew.start.saturating_sub(tile.first_entry()) / tile.span(), ..tile }
    }

    /// The bytes of a bundle. What is missing is made as the next start does: from the file of the settled part and from
    /// the journal.
    pub(super) fn read_bundle(&mut self, bundle: Tile) -> Result<Vec<u8>, VerifyError> {
        self.made_from = None;
        if self.file_for(bundle).is_some() || !self.is_made_anew(bundle) {
            let (path, bytes) = self.read_needed(bundle)?;
            self.bundle = path;
            return Ok(bytes);
        }
        let first = bundle.first_entry();
        let settled = self.settled_part(bundle);
        self.bundle = journal::PATH.to_owned();
        let mut bytes = Vec::new();
        if settled.width > 0 {
            (self.bundle, bytes) = self.read_needed(settled)?;
            if entries_of(&bytes).is_none_or(|entries| entries.len() as u64 != settled.width) {
                let what = format!("it does not hold {} entries", settled.width);
                return Err(mismatch(&self.bundle, 0, Some(first), what));
            }
        }
        for (_, entry) in self.journal.range(first + settled.width..first + bundle.width).map(|(_, record)| record) {
            bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        self.made_from = Some(first + settled.width);
        Ok(bytes)
    }

    /// Where an entry of the current bundle was read: the file, and the byte where its record starts.
    pub(super) fn place(&self, index: u64, offset: u64) -> (String, u64) {
        match self.journal.get(&index) {
            Some((at, _)) if self.made_from.is_some_and(|from| index >= from) => (journal::PATH.to_owned(), *at),
            _ => (self.bundle.clone(), offset),
        }
    }
}
