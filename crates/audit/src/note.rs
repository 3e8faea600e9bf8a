//! C2SP signed notes, Ed25519 only: keys in their text forms, signing, verifying.
//!
//! Formats: <https://c2sp.org/signed-note>; the key texts are those of Go's `golang.org/x/mod/sumdb/note`:
//! `PRIVATE+KEY+<name>+<key id>+<base64(0x01 ‖ seed)>` and `<name>+<key id>+<base64(0x01 ‖ public key)>`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Signature type of plain Ed25519.
const ALGORITHM: u8 = 1;
/// Most bytes of a note: three lines of text and 16 signature lines of up to 5 kB (the number verifiers must accept).
const NOTE_LIMIT: usize = 96 * 1024;
/// Most bytes of a key name.
const NAME_LIMIT: usize = 256;
const PRIVATE: &str = "PRIVATE+KEY+";

/// Why a key or a note is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The key name is empty, too long, or has white space, control characters or `+`.
    #[error("not a key name")]
    Name,
    /// The text is not a key.
    #[error("not a key in signed-note form")]
    Key,
    /// The random number generator or the signature library failed.
    #[error("the key cannot be made or used")]
    Crypto,
    /// The text is not a signed note.
    #[error("not a signed note")]
    Format,
    /// The note is larger than 96 KiB.
    #[error("the note is too large")]
    TooLarge,
    /// No signature is by the expected key.
    #[error("no signature by the expected key")]
    Unsigned,
    /// The signature by the expected key is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// The text of the note is not a checkpoint.
    #[error("not a checkpoint")]
    Checkpoint,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another origin")]
    Origin,
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LIMIT
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ALGORITHM]).chain_update(public).finalize();
    let mut id = [0; 4];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    id
}

/// `0x01 ‖ 32 bytes` from canonical base64.
fn decode_key(text: &str) -> Option<[u8; 32]> {
    let bytes = STANDARD.decode(text).ok()?;
    let (algorithm, key) = bytes.split_first()?;
    (*algorithm == ALGORITHM).then(|| key.try_into().ok()).flatten()
}

fn encode_key(key: &[u8; 32]) -> String {
    let mut bytes = vec![ALGORITHM];
    bytes.extend_from_slice(key);
    STANDARD.encode(bytes)
}

/// The public key of a log, by which its checkpoints are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPublicKey {
    name: String,
    key: [u8; 32],
}

impl LogPublicKey {
    /// Reads `<name>+<key id>+<base64>`; the key id must be that of the key.
    ///
    /// # Errors
    /// [`NoteError::Key`] or [`NoteError::Name`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        let key = decode_key(key).ok_or(NoteError::Key)?;
        if hex::encode(key_id(name, &key)) == id {
            Ok(Self { name: name.to_owned(), key })
        } else {
            Err(NoteError::Key)
        }
    }

    /// The key's name, which is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The raw Ed25519 key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Verifies a note and gives its text (with the final newline). Signatures of other keys are ignored.
    ///
    /// # Errors
    /// A [`NoteError`] when the form is wrong or this key's signature is missing or wrong.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        if note.len() > NOTE_LIMIT {
            return Err(NoteError::TooLarge);
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Format);
        }
        let (body, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Format)?;
        let text = note.get(..=body.len()).ok_or(NoteError::Format)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Format)?;
        let mut verified = false;
        for line in signatures.split('\n') {
            let (name, value) =
                line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or(NoteError::Format)?;
            let value = STANDARD.decode(value).map_err(|_| NoteError::Format)?;
            let (id, signature) = value.split_at_checked(4).ok_or(NoteError::Format)?;
            if !is_name(name) || signature.is_empty() {
                return Err(NoteError::Format);
            }
            if name != self.name || id != key_id(name, &self.key) {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::Signature)?;
            verified = true;
        }
        if verified { Ok(text) } else { Err(NoteError::Unsigned) }
    }
}

impl fmt::Display for LogPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex::encode(key_id(&self.name, &self.key)), encode_key(&self.key))
    }
}

/// The private key of a log. Never shown: `Debug` prints its name only.
pub struct LogKey {
    public: LogPublicKey,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl LogKey {
    /// Makes a new key from the system's random numbers.
    ///
    /// # Errors
    /// [`NoteError::Name`] or [`NoteError::Crypto`].
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| NoteError::Crypto)?;
        Self::from_seed(name, seed)
    }

    /// Reads `PRIVATE+KEY+<name>+<key id>+<base64>`, with or without a final newline.
    ///
    /// # Errors
    /// [`NoteError::Key`] or [`NoteError::Name`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest = text.trim_end_matches('\n').strip_prefix(PRIVATE).ok_or(NoteError::Key)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let key = Self::from_seed(name, decode_key(seed).ok_or(NoteError::Key)?)?;
        if hex::encode(key_id(name, &key.public.key)) == id { Ok(key) } else { Err(NoteError::Key) }
    }

    fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::Crypto)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Crypto)?;
        Ok(Self { public: LogPublicKey { name: name.to_owned(), key }, seed, pair })
    }

    /// The secret text form, for the one place that keeps it. Never print it.
    #[must_use]
    pub fn expose(&self) -> String {
        let id = hex::encode(key_id(&self.public.name, &self.public.key));
        format!("{PRIVATE}{}+{id}+{}", self.public.name, encode_key(&self.seed))
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &LogPublicKey {
        &self.public
    }

    /// Signs a text that ends in a newline.
    pub(crate) fn sign(&self, text: &str) -> String {
        let mut value = key_id(&self.public.name, &self.public.key).to_vec();
        value.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n— {} {}\n", self.public.name, STANDARD.encode(value))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogKey").field("name", &self.public.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
