//! Certificates of OpenSSH (PROTOCOL.certkeys): a key, who may be meant by it and until when, signed by an authority.
//!
//! A [`Certificate`] exists only if the authority's signature fits. Whether that authority counts for anything is asked
//! elsewhere.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use super::{
    HashAlgorithm, PublicKey, PublicKeyError,
    key_signature::{Fault, KeySignature},
    public_key::{Material, shown},
    wire::{Malformed, Reader, put_string},
};

/// The most bytes of a certificate. With RSA keys of 8192 bits on both sides 4 KiB; the rest is for principals.
pub const MAX_CERTIFICATE_BYTES: usize = 12 * 1024;
/// The most principals: as many as OpenSSH takes.
const MAX_PRINCIPALS: usize = 256;
/// The most bytes of a principal or a key id: an e-mail address has at most 254.
const MAX_NAME_BYTES: usize = 512;

const SUFFIX: &str = "-cert-v01@openssh.com";
/// The type of certificates for people and machines that log in, not for hosts.
const USER: u32 = 1;

/// A certificate for a user, signed by its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    key: PublicKey,
    serial: u64,
    key_id: String,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    authority: PublicKey,
    digest: Option<(&'static str, HashAlgorithm)>,
    blob: Arc<[u8]>,
}

/// Why something is no certificate that could stand for a signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the binary form of a certificate, or not the only one.
    #[error("the certificate is not in the binary form of SSH")]
    Malformed,
    /// The key that it certifies is refused.
    #[error("the key that the certificate is for is refused: {0}")]
    Key(#[source] PublicKeyError),
    /// The key of its authority is refused.
    #[error("the key of the authority of the certificate is refused: {0}")]
    Authority(#[source] PublicKeyError),
    /// It is for hosts, or for something unknown.
    #[error("a certificate of type {0}, not one for users")]
    NotForUsers(u32),
    /// It names nobody, which OpenSSH takes for everybody.
    #[error("a certificate without principals")]
    NoPrincipals,
    /// It has a critical option, and none means anything for a signature.
    #[error("a certificate with the critical option {0:?}")]
    CriticalOption(String),
    /// The authority signed with SHA-1.
    #[error("a certificate that its authority signed with ssh-rsa, which uses SHA-1")]
    WeakSignature,
    /// The authority's signature does not fit.
    #[error("the signature of the authority does not fit the certificate")]
    Mismatch,
}

impl From<Malformed> for CertificateError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// The type of the key that a certificate of this type is for; `None` if it is no type of a certificate.
fn certified_type(name: &[u8]) -> Option<String> {
    let plain = std::str::from_utf8(name).ok()?.strip_suffix(SUFFIX)?;
    Some(if plain.starts_with("sk-") { format!("{plain}@openssh.com") } else { plain.to_owned() })
}

/// Whether a blob says that it is a certificate, of whatever key.
pub(super) fn is_certificate(blob: &[u8]) -> bool {
    Reader::new(blob).string().is_ok_and(|name| certified_type(name).is_some())
}

impl Certificate {
    /// Reads the binary form and checks the signature of the authority.
    ///
    /// # Errors
    /// Any byte too many or too few, and everything that makes a certificate none for signing; see
    /// [`CertificateError`].
    pub fn from_blob(blob: &[u8]) -> Result<Self, CertificateError> {
        if blob.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::Malformed);
        }
        let mut reader = Reader::new(blob);
        let plain = certified_type(reader.string()?).ok_or(CertificateError::Malformed)?;
        let _nonce = reader.string()?;
        let key = certified_key(&plain, &mut reader)?;
        let serial = reader.u64()?;
        let kind = reader.u32()?;
        let key_id = name(reader.string()?)?;
        let principals = principals(reader.string()?)?;
        let (valid_after, valid_before) = (reader.u64()?, reader.u64()?);
        let (critical, extensions) = (reader.string()?, reader.string()?);
        let reserved = reader.string()?;
        let authority = reader.string()?;
        let signed = blob.len().checked_sub(reader.rest().len()).and_then(|end| blob.get(..end));
        let signature = KeySignature::parse(reader.string()?)?;
        reader.end()?;
        if !reserved.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let critical = options(critical)?;
        options(extensions)?;
        let authority = PublicKey::from_blob(authority).map_err(CertificateError::Authority)?;
        let digest = signature.chosen_digest();
        match signature.check(&authority, signed.ok_or(Malformed)?) {
            Ok(_assertion) => {}
            Err(Fault::Malformed | Fault::Format) => return Err(CertificateError::Malformed),
            Err(Fault::Sha1) => return Err(CertificateError::WeakSignature),
            Err(Fault::Mismatch) => return Err(CertificateError::Mismatch),
        }
        // What the authority did sign, and why it is still none for a signature.
        if kind != USER {
            return Err(CertificateError::NotForUsers(kind));
        }
        if let Some(option) = critical.first() {
            return Err(CertificateError::CriticalOption(shown(option)));
        }
        if principals.is_empty() {
            return Err(CertificateError::NoPrincipals);
        }
        let blob = blob.into();
        Ok(Self { key, serial, key_id, principals, valid_after, valid_before, authority, digest, blob })
    }

    /// Reads `<type> <base64> [comment]`, the form of a `-cert.pub` file with or without its line end.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob).
    pub fn parse(text: &str) -> Result<Self, CertificateError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(encoded)) = (words.next(), words.next()) else {
            return Err(CertificateError::Malformed);
        };
        let blob = STANDARD.decode(encoded).map_err(|_invalid| CertificateError::Malformed)?;
        if Reader::new(&blob).string()? != name.as_bytes() {
            return Err(CertificateError::Malformed);
        }
        Self::from_blob(&blob)
    }

    /// The key that it certifies.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key of the authority that signed it.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// The format in which the authority signed, and the digest that it chose by it.
    pub(super) const fn chosen_digest(&self) -> Option<(&'static str, HashAlgorithm)> {
        self.digest
    }

    /// The number that the authority gave it; 0 if it gives none.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// The name that the authority gave it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Who may be meant; at least one.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// Whether `at` is not before its start and before its end, as OpenSSH has it.
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        // Before 1970 nothing is valid.
        u64::try_from(at.as_second()).is_ok_and(|second| (self.valid_after..self.valid_before).contains(&second))
    }

    /// For how many seconds it is valid.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.valid_before.saturating_sub(self.valid_after)
    }

    /// Start and end, in words.
    #[must_use]
    pub fn window(&self) -> String {
        let instant = |second: u64| i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        match (instant(self.valid_after), instant(self.valid_before)) {
            (Some(after), Some(before)) => format!("from {after} until before {before}"),
            (Some(after), None) => format!("from {after}"),
            _ => "never".to_owned(),
        }
    }

    /// The binary form.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
}

/// The key inside, with the binary form that it has by itself.
fn certified_key(plain: &str, reader: &mut Reader<'_>) -> Result<PublicKey, CertificateError> {
    let start = reader.rest();
    Material::read(plain.as_bytes(), reader).map_err(|error| match error {
        PublicKeyError::Malformed => CertificateError::Malformed,
        other => CertificateError::Key(other),
    })?;
    let fields = start.len().checked_sub(reader.rest().len()).and_then(|count| start.get(..count)).ok_or(Malformed)?;
    let mut blob = Vec::new();
    put_string(&mut blob, plain.as_bytes());
    blob.extend_from_slice(fields);
    PublicKey::from_blob(&blob).map_err(CertificateError::Key)
}

/// A text that can be printed and listed.
fn name(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_encoding| Malformed)?;
    if text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) { Err(Malformed) } else { Ok(text.to_owned()) }
}

/// One principal after another. A comma would make two of one where OpenSSH writes them as a list.
fn principals(bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut principals = Vec::new();
    while !reader.rest().is_empty() {
        let principal = name(reader.string()?)?;
        if principal.is_empty() || principal.contains(',') || principals.len() == MAX_PRINCIPALS {
            return Err(Malformed);
        }
        principals.push(principal);
    }
    Ok(principals)
}

/// The names of options, in order and each once.
fn options(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut names: Vec<&[u8]> = Vec::new();
    while !reader.rest().is_empty() {
        let name = reader.string()?;
        let _data = reader.string()?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(Malformed);
        }
        names.push(name);
    }
    Ok(names)
}
