//! An entry of the log: what was decided, as canonical JSON.
//!
//! The leaf is one JSON object with exactly these members, in this order, without white space (RFC 8785):
//! `{"codes":[…],"counts":{…},"digests":{…},"kind":"advance","schema":"writ.dev/audit/v1alpha1","subject":{…},"time":"…"}`.
//! The index is *not* inside: an entry is identified by its position in the tree, which an
//! inclusion proof shows. A number in the text could only contradict it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::merkle::Hash;

/// The schema every entry names.
pub const SCHEMA: &str = "writ.dev/audit/v1alpha1";

/// Most bytes of an entry's canonical JSON. Bundles prefix entries with 16 bits (65,535 bytes at
/// most); 16 KiB keeps a full bundle of 256 at 4 MiB. What is larger belongs into the body.
pub const ENTRY_LIMIT: usize = 16 * 1024;

/// Largest integer every JSON reader keeps exact: 2^53 − 1.
const COUNT_LIMIT: u64 = (1 << 53) - 1;

/// Most bytes of a map key.
const KEY_LIMIT: usize = 64;

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A controller started.
    Boot,
    /// A revision was accepted.
    Advance,
    /// A revision was refused.
    Refuse,
    /// Advancing is held.
    Hold,
    /// A hold ended.
    Release,
    /// Drift is reverted.
    Revert,
    /// Drift was found and left.
    Flag,
    /// Objects are deleted.
    Prune,
    /// What became of a plan.
    Outcome,
    /// A signed order to go back to an earlier accepted revision.
    Rollback,
    /// A signed override is used.
    Override,
    /// Something a person must look at.
    Alert,
    /// Somebody knows of a drift.
    Acknowledge,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Boot,
        Self::Advance,
        Self::Refuse,
        Self::Hold,
        Self::Release,
        Self::Revert,
        Self::Flag,
        Self::Prune,
        Self::Outcome,
        Self::Rollback,
        Self::Override,
        Self::Alert,
        Self::Acknowledge,
    ];

    /// The kind as it stands in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Advance => "advance",
            Self::Refuse => "refuse",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Revert => "revert",
            Self::Flag => "flag",
            Self::Prune => "prune",
            Self::Outcome => "outcome",
            Self::Rollback => "rollback",
            Self::Override => "override",
            Self::Alert => "alert",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// May use the reserve when the volume is full. Reverts go on then; roll-outs stop, since whoever
    /// starts one asks [`Log::room`](crate::Log::room) first.
    #[must_use]
    pub const fn may_use_reserve(self) -> bool {
        matches!(self, Self::Advance | Self::Refuse | Self::Revert | Self::Rollback | Self::Override)
    }

    pub(crate) const fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry. Holds no secret value and no large text: those who write it see to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is recorded.
    pub kind: EntryKind,
    /// When, as RFC 3339 in UTC (`2026-11-23T21:00:00Z`, with up to nine decimals of a second).
    pub time: String,
    /// What it is about, such as `repoId`, `commit`, `sync`.
    pub subject: BTreeMap<String, String>,
    /// The stable codes involved.
    pub codes: Vec<String>,
    /// Numbers, such as `policyVersion`; each at most 2^53 − 1.
    pub counts: BTreeMap<String, u64>,
    /// SHA-256 digests in lower-case hexadecimal. `body` and `plan` are set by
    /// [`Log::append`](crate::Log::append).
    pub digests: BTreeMap<String, String>,
}

/// Why an entry cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is not JSON of the schema: a field is missing, unknown or of another type.
    #[error("not an entry: {0}")]
    Json(String),
    /// It names another schema.
    #[error("schema {0:?} is not {SCHEMA:?}")]
    Schema(String),
    /// It is an entry, but not in the one canonical spelling.
    #[error("not in canonical form")]
    NotCanonical,
    /// Canonical JSON is larger than [`ENTRY_LIMIT`].
    #[error("{0} bytes are more than the {ENTRY_LIMIT} an entry may have")]
    TooLarge(usize),
    /// A key is not 1–64 of `A–Z a–z 0–9 . _ / -`.
    #[error("{0:?} is not a key")]
    Key(String),
    /// A digest is not 64 lower-case hexadecimal digits.
    #[error("digest {0:?} is not 64 lower-case hexadecimal digits")]
    Digest(String),
    /// A count is above 2^53 − 1.
    #[error("count {0:?} is above 2^53 - 1")]
    Count(String),
    /// The time is not RFC 3339 in UTC.
    #[error("{0:?} is not an RFC 3339 time in UTC")]
    Time(String),
    /// The entry already names another digest where `append` sets one.
    #[error("digest {0:?} is set by the log and differs")]
    Reserved(&'static str),
}

/// The leaf as it is spelt; members in canonical (alphabetical) order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaf<'a> {
    codes: Vec<String>,
    counts: BTreeMap<String, u64>,
    digests: BTreeMap<String, String>,
    kind: EntryKind,
    schema: std::borrow::Cow<'a, str>,
    subject: BTreeMap<String, String>,
    time: String,
}

impl Entry {
    /// An entry without subject, codes, counts and digests.
    #[must_use]
    pub fn new(kind: EntryKind, time: impl Into<String>) -> Self {
        Self {
            kind,
            time: time.into(),
            subject: BTreeMap::new(),
            codes: Vec::new(),
            counts: BTreeMap::new(),
            digests: BTreeMap::new(),
        }
    }

    /// The leaf bytes.
    ///
    /// # Errors
    /// An [`EntryError`] when the entry has a value the schema does not allow or is too large.
    pub fn to_canonical_json(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        let leaf = Leaf {
            codes: self.codes.clone(),
            counts: self.counts.clone(),
            digests: self.digests.clone(),
            kind: self.kind,
            schema: SCHEMA.into(),
            subject: self.subject.clone(),
            time: self.time.clone(),
        };
        let bytes = serde_json::to_vec(&leaf).map_err(|error| EntryError::Json(error.to_string()))?;
        if bytes.len() > ENTRY_LIMIT { Err(EntryError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads leaf bytes strictly: unknown fields, other spellings and other schemas are errors.
    ///
    /// # Errors
    /// An [`EntryError`] that says what is wrong.
    pub fn from_canonical_json(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_LIMIT {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        let leaf: Leaf<'_> = serde_json::from_slice(bytes).map_err(|error| EntryError::Json(error.to_string()))?;
        if leaf.schema != SCHEMA {
            return Err(EntryError::Schema(leaf.schema.into_owned()));
        }
        let Leaf { codes, counts, digests, kind, subject, time, .. } = leaf;
        let entry = Self { kind, time, subject, codes, counts, digests };
        // One spelling only: what serialises to other bytes had white space, another order or duplicates.
        if entry.to_canonical_json()? == bytes { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    /// The digest of the body that belongs to this entry, if it has one.
    #[must_use]
    pub fn body_digest(&self) -> Option<Hash> {
        self.digests.get("body").and_then(|text| Hash::from_hex(text))
    }

    fn check(&self) -> Result<(), EntryError> {
        if !is_utc_time(&self.time) {
            return Err(EntryError::Time(self.time.clone()));
        }
        let keys = self.subject.keys().chain(self.counts.keys()).chain(self.digests.keys());
        if let Some(key) = keys.into_iter().find(|key| !is_key(key)) {
            return Err(EntryError::Key(key.clone()));
        }
        if let Some((key, _)) = self.digests.iter().find(|(_, value)| Hash::from_hex(value).is_none()) {
            return Err(EntryError::Digest(key.clone()));
        }
        if let Some((key, _)) = self.counts.iter().find(|(_, value)| **value > COUNT_LIMIT) {
            return Err(EntryError::Count(key.clone()));
        }
        Ok(())
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_LIMIT).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-'))
}

/// `YYYY-MM-DDTHH:MM:SS[.f{1,9}]Z` with every number in its range; the crate has no calendar, so
/// the 31st of each month passes.
fn is_utc_time(text: &str) -> bool {
    let Some((whole, rest)) = text.as_bytes().split_at_checked(19) else { return false };
    let shape = whole.iter().zip(b"0000-00-00T00:00:00").all(|(byte, pattern)| match pattern {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let number = |from: usize| {
        whole.get(from..from + 2).and_then(|two| std::str::from_utf8(two).ok()).and_then(|two| two.parse::<u8>().ok())
    };
    let within = |from, low, high| number(from).is_some_and(|value| (low..=high).contains(&value));
    let fraction = match rest {
        [b'Z'] => true,
        [b'.', digits @ .., b'Z'] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    shape
        && fraction
        && within(5, 1, 12)
        && within(8, 1, 31)
        && within(11, 0, 23)
        && within(14, 0, 59)
        && within(17, 0, 60)
}

#[cfg(test)]
mod tests;
