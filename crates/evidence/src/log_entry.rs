//! The entry of the transparency log inside a signature: a `dev.sigstore.rekor.v1.TransparencyLogEntry` of protocol
//! buffers, without its body, which is rebuilt.
//!
//! Protocol buffers let a field come twice, in any order, or unknown, and a number be padded; here an entry has one form:
//! known fields, in their order, each once unless it is a list, numbers as short as they can be, nothing that is empty.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sigstore_verify::types::{
    CanonicalizedBody, Checkpoint, KindVersion, LogIndex, LogKeyId, Sha256Hash, SignedTimestamp, TransparencyLogEntry,
    bundle::{CheckpointData, InclusionPromise, InclusionProof, LogId},
};
use trust::KeylessError;

/// The most hashes of an inclusion proof: one for each level of a tree of 2^63 entries.
pub const MAX_PROOF_HASHES: usize = 63;
/// The most bytes of a checkpoint: origin, size, hash and the signatures of some witnesses, each below 200 bytes.
pub const MAX_CHECKPOINT_BYTES: usize = 4 * 1024;

/// Base64 digits in each line of PEM.
const PEM_LINE: usize = 64;

/// One field: its number and its value.
enum Field<'a> {
    Number(u32, u64),
    Bytes(u32, &'a [u8]),
}

/// Reads the fields of a message.
struct Fields<'a> {
    rest: &'a [u8],
    last: u32,
    /// The number of the field that may come several times.
    list: u32,
}

fn malformed(what: &str) -> KeylessError {
    KeylessError::Malformed(format!("the log entry: {what}"))
}

impl<'a> Fields<'a> {
    const fn of(bytes: &'a [u8], list: u32) -> Self {
        Self { rest: bytes, last: 0, list }
    }

    fn next(&mut self) -> Result<Option<Field<'a>>, KeylessError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_large| malformed("a field that is unknown"))?;
        if number < self.last || (number == self.last && number != self.list) {
            return Err(malformed("fields twice or out of order"));
        }
        self.last = number;
        match tag & 7 {
            0 => match self.varint()? {
                0 => Err(malformed("an empty field")),
                value => Ok(Some(Field::Number(number, value))),
            },
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_large| malformed("a length"))?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or_else(|| malformed("it ends early"))?;
                self.rest = rest;
                Ok(Some(Field::Bytes(number, value)))
            }
            _ => Err(malformed("a field of another type")),
        }
    }

    /// A number, as short as it can be.
    fn varint(&mut self) -> Result<u64, KeylessError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(|| malformed("it ends early"))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && *byte == 0) {
                return Err(malformed("a number that is too long"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number that is too long"))
    }
}

fn unknown<T>() -> Result<T, KeylessError> {
    Err(malformed("a field that is unknown"))
}

/// A message with one field of bytes, which is not empty.
fn single(bytes: &[u8]) -> Result<&[u8], KeylessError> {
    let mut fields = Fields::of(bytes, 0);
    match (fields.next()?, fields.next()?) {
        (Some(Field::Bytes(1, value)), None) if !value.is_empty() => Ok(value),
        _ => unknown(),
    }
}

fn index(value: u64) -> Result<LogIndex, KeylessError> {
    LogIndex::new(value).map_err(|_large| malformed("an index that is too large"))
}

fn hash(bytes: &[u8]) -> Result<Sha256Hash, KeylessError> {
    Sha256Hash::try_from(bytes).map_err(|_short| malformed("a hash that is none of SHA-256"))
}

/// The entry that the log must have for this signature; W203 for a kind that gitsign does not use.
pub(crate) fn parse(
    bytes: &[u8],
    signed: &[u8],
    signature: &[u8],
    certificate: &[u8],
) -> Result<TransparencyLogEntry, KeylessError> {
    let mut fields = Fields::of(bytes, 0);
    let (mut log_index, mut log_id, mut is_known_kind) = (LogIndex::default(), None, false);
    let (mut time, mut promise, mut proof) = (None, None, None);
    while let Some(field) = fields.next()? {
        match field {
            Field::Number(1, value) => log_index = index(value)?,
            Field::Bytes(2, value) => log_id = Some(LogId::new(LogKeyId::from_bytes(hash(single(value)?)?.as_slice()))),
            Field::Bytes(3, value) => is_known_kind = is_hashedrekord(value)?,
            Field::Number(4, value) => {
                let second = i64::try_from(value).map_err(|_large| malformed("a time that no calendar has"))?;
                time = Some(Timestamp::from_second(second).map_err(|_late| malformed("a time that no calendar has"))?);
            }
            Field::Bytes(5, value) => {
                promise = Some(InclusionPromise::new(SignedTimestamp::from_bytes(single(value)?)));
            }
            Field::Bytes(6, value) => proof = Some(inclusion_proof(value)?),
            Field::Number(..) | Field::Bytes(..) => return unknown(),
        }
    }
    if !is_known_kind {
        return Err(KeylessError::NotSupported("a log entry of another kind than hashedrekord 0.0.1".to_owned()));
    }
    let log_id = log_id.ok_or_else(|| malformed("it names no log"))?;
    let proof = proof.ok_or_else(|| KeylessError::Untrusted("a log entry without inclusion proof".to_owned()))?;
    let body = CanonicalizedBody::from_bytes(body(signed, signature, certificate).as_bytes());
    let mut entry =
        TransparencyLogEntry::new(log_index, log_id, KindVersion::HashedRekordV001, body).with_inclusion_proof(proof);
    if let Some(time) = time {
        entry = entry.with_integrated_time(time);
    }
    if let Some(promise) = promise {
        entry = entry.with_inclusion_promise(promise);
    }
    Ok(entry)
}

fn is_hashedrekord(bytes: &[u8]) -> Result<bool, KeylessError> {
    let mut fields = Fields::of(bytes, 0);
    match (fields.next()?, fields.next()?, fields.next()?) {
        (Some(Field::Bytes(1, kind)), Some(Field::Bytes(2, version)), None) => {
            Ok(kind == b"hashedrekord" && version == b"0.0.1")
        }
        _ => unknown(),
    }
}

fn inclusion_proof(bytes: &[u8]) -> Result<InclusionProof, KeylessError> {
    const HASHES: u32 = 4;
    let mut fields = Fields::of(bytes, HASHES);
    let (mut log_index, mut size, mut root) = (LogIndex::default(), 0, None);
    let (mut hashes, mut checkpoint) = (Vec::new(), None);
    while let Some(field) = fields.next()? {
        match field {
            Field::Number(1, value) => log_index = index(value)?,
            Field::Bytes(2, value) => root = Some(hash(value)?),
            Field::Number(3, value) => size = index(value)?.get(),
            Field::Bytes(HASHES, value) => {
                if hashes.len() == MAX_PROOF_HASHES {
                    return Err(malformed("too many hashes"));
                }
                hashes.push(hash(value)?);
            }
            Field::Bytes(5, value) => checkpoint = Some(single(value)?),
            Field::Number(..) | Field::Bytes(..) => return unknown(),
        }
    }
    let root = root.ok_or_else(|| malformed("it proves no tree"))?;
    let untrusted = |what: &str| KeylessError::Untrusted(format!("a log entry whose checkpoint {what}"));
    let text = checkpoint.ok_or_else(|| untrusted("is missing"))?;
    if text.len() > MAX_CHECKPOINT_BYTES {
        return Err(malformed("too long a checkpoint"));
    }
    let text = std::str::from_utf8(text).map_err(|_other| malformed("a checkpoint that is no text"))?;
    let data = CheckpointData::new(text).map_err(|error| untrusted(&format!("is none: {error}")))?;
    let checkpoint = data.checkpoint().ok_or_else(|| untrusted("is missing"))?;
    if !is_in_one_form(checkpoint, text) {
        return Err(malformed("a checkpoint that is not in the form in which Rekor writes it"));
    }
    // Of what is signed, the verifier compares the hash alone.
    if checkpoint.tree_size() != size {
        return Err(untrusted("is of a tree of another size"));
    }
    Ok(InclusionProof::new(log_index, root, size, hashes, data))
}

/// Whether a checkpoint has one signature, by the name that its origin begins with, and nothing besides: the reader
/// skips blanks and what follows, and nobody has signed the name.
fn is_in_one_form(checkpoint: &Checkpoint, text: &str) -> bool {
    let [signature] = checkpoint.signatures() else { return false };
    let origin = checkpoint.origin();
    let name = origin.split_once(" - ").map_or(origin, |(name, _tree)| name);
    let bytes = [signature.key_id.as_slice(), signature.signature.as_bytes()].concat();
    let signed = std::str::from_utf8(checkpoint.signed_data()).unwrap_or_default();
    text == format!("{signed}\n\u{2014} {name} {}\n", STANDARD.encode(bytes))
}

/// The body as the log has it: canonical JSON of digest, signature and certificate.
fn body(signed: &[u8], signature: &[u8], certificate: &[u8]) -> String {
    let digest: String = Sha256::digest(signed).iter().map(|byte| format!("{byte:02x}")).collect();
    let (signature, certificate) = (STANDARD.encode(signature), STANDARD.encode(pem(certificate)));
    format!(
        r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{digest}"}}}},"signature":{{"content":"{signature}","publicKey":{{"content":"{certificate}"}}}}}}}}"#
    )
}

fn pem(certificate: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, digit) in STANDARD.encode(certificate).chars().enumerate() {
        if index > 0 && index % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}
