//! Checkpoints: origin, size and root of the log, signed. Format: <https://c2sp.org/tlog-checkpoint>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::Hash;
use crate::note::{LogKey, LogPublicKey, NoteError};

/// A checkpoint whose signature was verified (or made by us).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// Verifies the signed note and reads it. The origin must be the key's name.
    ///
    /// # Errors
    /// A [`NoteError`]; extension lines are refused, as this log never writes any.
    pub fn parse(note: &str, key: &LogPublicKey) -> Result<Self, NoteError> {
        let text = key.open(note)?;
        let mut lines = text.strip_suffix('\n').ok_or(NoteError::Checkpoint)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint);
        };
        if origin != key.name() {
            return Err(NoteError::Origin);
        }
        let number: u64 = size.parse().map_err(|_| NoteError::Checkpoint)?;
        let bytes = STANDARD.decode(root).map_err(|_| NoteError::Checkpoint)?;
        let root = Hash(bytes.try_into().map_err(|_| NoteError::Checkpoint)?);
        // "007" and "+7" parse as 7; the format has one spelling only.
        if number.to_string() != size {
            return Err(NoteError::Checkpoint);
        }
        Ok(Self { size: number, root, note: note.to_owned() })
    }

    pub(crate) fn sign(key: &LogKey, size: u64, root: Hash) -> Self {
        let text = format!("{}\n{size}\n{}\n", key.public().name(), STANDARD.encode(root.0));
        Self { size, root, note: key.sign(&text) }
    }

    /// Number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root hash over them.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// The signed note, as it stands in the file.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}
