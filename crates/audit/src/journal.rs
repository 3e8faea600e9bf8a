//! The journal: entries that are promised but not yet durable in the tiles.
//!
//! A file of fixed, allocated length, overwritten from the start after each settling, so that a sync
//! writes data blocks only and a full volume does not stop it. A record is
//! `epoch:u64 ‖ index:u64 ‖ length:u16 ‖ length of the body:u16 ‖ entry ‖ body ‖ SHA-256 of all that`, big-endian. A body
//! of no bytes is none: the entry has no body, or one that is too large to be carried here.
//! Records are valid from the start as long as their sums hold, their indices are consecutive and
//! their epochs do not fall: what an earlier use of the file left behind fails one of these.

use sha2::{Digest as _, Sha256};

use crate::body::CARRIED_LIMIT;
use crate::entry::ENTRY_LIMIT;

pub(crate) const PATH: &str = "journal";
const HEADER: usize = 8 + 8 + 2 + 2;
const SUM: usize = 32;
/// Bytes of the largest record.
pub(crate) const RECORD_LIMIT: usize = HEADER + ENTRY_LIMIT + CARRIED_LIMIT + SUM;
/// Length of the file: 256 of the largest records, so one full bundle fits; 5,256,192 bytes. The
/// tests of this crate take 4, so that it fills up in a few appends.
pub(crate) const JOURNAL_BYTES: u64 = if cfg!(test) { 4 } else { 256 } * RECORD_LIMIT as u64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) epoch: u64,
    pub(crate) index: u64,
    pub(crate) entry: &'a [u8],
    /// What is carried of its body; empty if nothing is.
    pub(crate) body: &'a [u8],
}

/// The numbers that a record begins with.
struct Header {
    epoch: u64,
    index: u64,
    entry: usize,
    body: usize,
}

impl Header {
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (epoch, rest) = bytes.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (entry, rest) = rest.split_first_chunk::<2>()?;
        let (body, rest) = rest.split_first_chunk::<2>()?;
        let [entry, body] = [entry, body].map(|length| usize::from(u16::from_be_bytes(*length)));
        Some((Self { epoch: u64::from_be_bytes(*epoch), index: u64::from_be_bytes(*index), entry, body }, rest))
    }
}

impl<'a> Record<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(&length(self.entry));
        bytes.extend_from_slice(&length(self.body));
        bytes.extend_from_slice(self.entry);
        bytes.extend_from_slice(self.body);
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// Bytes it takes in the file.
    pub(crate) const fn size(&self) -> usize {
        HEADER + self.entry.len() + self.body.len() + SUM
    }

    fn decode(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = Header::decode(bytes).filter(|(header, _)| header.body <= CARRIED_LIMIT)?;
        let (entry, rest) = rest.split_at_checked(header.entry)?;
        let (body, rest) = rest.split_at_checked(header.body)?;
        let (sum, rest) = rest.split_at_checked(SUM)?;
        let summed = bytes.get(..HEADER + header.entry + header.body)?;
        (Sha256::digest(summed).as_slice() == sum).then_some(())?;
        Some((Self { epoch: header.epoch, index: header.index, entry, body }, rest))
    }
}

/// The valid records from the start of the file, and how many bytes they take.
pub(crate) fn records(bytes: &[u8]) -> (Vec<Record<'_>>, u64) {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut rest = bytes;
    while let Some((record, after)) = Record::decode(rest) {
        if records.last().is_some_and(|last| record.index != last.index + 1 || record.epoch < last.epoch) {
            break;
        }
        records.push(record);
        rest = after;
    }
    (records, (bytes.len() - rest.len()) as u64)
}

/// How many entries from `next` on may be hidden in what follows the last record that is read: the torn one, and those up
/// to the newest whole one there. An earlier use of the file leaves older indices, and what was withdrawn has an older
/// epoch.
pub(crate) fn hidden(rest: &[u8], next: u64, epoch: u64) -> u64 {
    // No more records than the file holds.
    let newest = next.saturating_add(JOURNAL_BYTES / (HEADER + SUM) as u64);
    // Nearly every place ends here, before anything is hashed.
    let header = |bytes: &[u8]| {
        let (header, _) = Header::decode(bytes)?;
        let plausible =
            header.epoch >= epoch && (1..=ENTRY_LIMIT).contains(&header.entry) && header.body <= CARRIED_LIMIT;
        (plausible && (next..newest).contains(&header.index)).then_some(header.index)
    };
    let torn = header(rest).filter(|index| *index == next);
    let whole = (0..rest.len()).filter_map(|at| {
        let bytes = rest.get(at..)?;
        header(bytes).filter(|_| Record::decode(bytes).is_some())
    });
    whole.chain(torn).max().map_or(0, |last| last - next + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_an_earlier_use_left_behind_is_not_read() {
        let record = |epoch, index, entry: &'static [u8]| Record { epoch, index, entry, body: b"" }.encode();
        let check = |parts: &[Vec<u8>], indices: &[u64]| {
            let bytes = parts.concat();
            let found: Vec<u64> = records(&bytes).0.iter().map(|record| record.index).collect();
            assert_eq!(found, indices);
        };
        check(&[record(1, 5, b"a"), record(1, 6, b"b")], &[5, 6]);
        check(&[record(1, 7, b"a"), record(1, 6, b"b")], &[7]);
        check(&[record(2, 5, b"a"), record(1, 6, b"withdrawn")], &[5]);
        check(&[record(1, 5, b"a"), record(1, 7, b"gap")], &[5]);
        check(&[vec![0; 500]], &[]);
    }

    #[test]
    fn what_a_torn_record_hides_is_counted() {
        let record = |epoch, index| Record { epoch, index, entry: b"0123456", body: b"89" }.encode();
        let torn = |index| record(2, index)[..59].to_vec();
        let check = |parts: &[Vec<u8>], wanted: u64| assert_eq!(hidden(&parts.concat(), 5, 2), wanted, "{parts:?}");
        check(&[torn(5), record(2, 6), record(2, 7)], 3);
        check(&[torn(5), torn(6), record(3, 7), vec![0; 500]], 3);
        check(&[torn(5)], 1);
        check(&[torn(5), record(2, 3), record(2, 4)], 1);
        check(&[torn(3), record(2, 4)], 0);
        check(&[torn(5), record(1, 6)], 1);
        check(&[vec![0; 500], b"rest".to_vec()], 0);
        assert_eq!(hidden(&[vec![0; 500], record(0, 0)].concat(), 0, 0), 1);
    }

    proptest! {
        #[test]
        fn a_torn_or_flipped_record_ends_the_journal(cut in 0_usize..180, bit in 0_u8..8) {
            let whole: Vec<u8> =
                (0..3).flat_map(|index| Record { epoch: 1, index, entry: b"01234", body: b"789" }.encode()).collect();
            let size = whole.len() / 3;
            prop_assert_eq!(whole.len(), 180);
            prop_assert_eq!(records(&whole[..cut]).0.len(), cut / size);
            let mut flipped = whole;
            flipped[cut] ^= 1 << bit;
            prop_assert_eq!(records(&flipped).0.len(), cut / size);
        }
    }
}
