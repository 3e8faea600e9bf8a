//! What the revocation files of OpenSSH revoke: key revocation lists (`ssh-keygen -k`) and lists of public keys.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Certificate, Fingerprint, PublicKey, certificate::is_certificate, krl, public_key::shown, wire::Reader};

/// The most bytes of a file: a list of 1,000 RSA keys of 4096 bits, or 30,000 fingerprints.
pub const MAX_REVOCATIONS_BYTES: usize = 1024 * 1024;
/// The most things that one file may revoke. Each takes below 100 bytes, so that all of them take 10 MB.
pub const MAX_REVOCATIONS: usize = 100_000;

/// What a revocation file revokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    items: BTreeSet<RevokedItem>,
}

/// One thing that is revoked. Serials and names are those of one authority, by the fingerprint of its key, or of all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevokedItem {
    /// A key, and the certificates that it signed.
    Key(Fingerprint),
    /// The same by the SHA-1 of its binary form.
    KeySha1([u8; 20]),
    /// Certificates by their numbers, both ends included.
    Serials {
        /// The authority.
        authority: Option<Fingerprint>,
        /// The first; at least 1.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Certificates by the name that their authority gave them.
    KeyId {
        /// The authority.
        authority: Option<Fingerprint>,
        /// The name.
        key_id: String,
    },
}

/// Why a revocation file is refused. What is not understood wholly would leave something in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationsError {
    /// The file is too large.
    #[error("more than {MAX_REVOCATIONS_BYTES} bytes")]
    TooLarge,
    /// Too much is revoked.
    #[error("more than {MAX_REVOCATIONS} things are revoked")]
    TooMany,
    /// A line of a list that is no public key.
    #[error("line {0} is not a public key of the form `ssh-ed25519 AAAA… comment`")]
    Line(usize),
    /// Not in the form of a key revocation list.
    #[error("the key revocation list is malformed: {0}")]
    Malformed(&'static str),
    /// A list of another version.
    #[error("a key revocation list of version {0}; only version 1 is known")]
    Version(u32),
    /// A signature inside; OpenSSH since 9.4 refuses them as well.
    #[error("the key revocation list holds a signature, which OpenSSH no longer supports; sign the file instead")]
    Signed,
    /// An extension that must be understood.
    #[error("the key revocation list holds the critical extension {0:?}")]
    CriticalExtension(String),
    /// A section of an unknown type.
    #[error("the key revocation list holds a section of the unknown type {0}")]
    UnknownSection(u8),
}

impl Revocations {
    /// Reads either kind of file.
    ///
    /// # Errors
    /// Anything that is not understood wholly; see [`RevocationsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RevocationsError> {
        if bytes.len() > MAX_REVOCATIONS_BYTES {
            return Err(RevocationsError::TooLarge);
        }
        let mut revocations = Self::default();
        if krl::is_krl(bytes) {
            krl::read(bytes, &mut |item| revocations.add(item))?;
        } else {
            revocations.read_list(bytes)?;
        }
        Ok(revocations)
    }

    /// All that is revoked.
    pub fn items(&self) -> impl Iterator<Item = &RevokedItem> {
        self.items.iter()
    }

    /// Whether a key is revoked by itself.
    #[must_use]
    pub fn revokes_key(&self, key: &PublicKey) -> bool {
        self.items.contains(&RevokedItem::Key(key.fingerprint()))
            || self.items.contains(&RevokedItem::KeySha1(key.sha1()))
    }

    /// Whether a certificate is revoked: its key, its authority's, its number or its name. As with OpenSSH the number 0,
    /// which certificates without a number have, is never revoked.
    #[must_use]
    pub fn revokes_certificate(&self, certificate: &Certificate) -> bool {
        let issuer = certificate.authority().fingerprint();
        let of = |authority: &Option<Fingerprint>| authority.is_none_or(|authority| authority == issuer);
        self.revokes_key(certificate.key())
            || self.revokes_key(certificate.authority())
            || self.items.iter().any(|item| match item {
                RevokedItem::Serials { authority, from, to } => {
                    of(authority) && (*from..=*to).contains(&certificate.serial())
                }
                RevokedItem::KeyId { authority, key_id } => of(authority) && key_id == certificate.key_id(),
                RevokedItem::Key(_) | RevokedItem::KeySha1(_) => false,
            })
    }

    fn add(&mut self, item: RevokedItem) -> Result<(), RevocationsError> {
        self.items.insert(item);
        if self.items.len() > MAX_REVOCATIONS { Err(RevocationsError::TooMany) } else { Ok(()) }
    }

    /// One public key in each line; blank lines and lines that begin with `#` are skipped.
    fn read_list(&mut self, bytes: &[u8]) -> Result<(), RevocationsError> {
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                let key = listed_key(line).ok_or(RevocationsError::Line(index + 1))?;
                self.add(RevokedItem::Key(Fingerprint::of(&key)))?;
            }
        }
        Ok(())
    }
}

/// The binary form of a key in a line. Its type need not be one that is supported: to revoke it its name is enough.
fn listed_key(line: &[u8]) -> Option<Vec<u8>> {
    let mut words = line.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
    let (name, encoded) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(encoded).ok()?;
    (is_plain_key(&blob) && Reader::new(&blob).string().ok()? == name).then_some(blob)
}

/// Whether a blob can be a key of any type, and is no certificate.
pub(super) fn is_plain_key(blob: &[u8]) -> bool {
    let mut reader = Reader::new(blob);
    let named = reader.string().is_ok_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic));
    named && !reader.rest().is_empty() && !is_certificate(blob)
}

impl std::fmt::Display for RevokedItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |authority: &Option<Fingerprint>| match authority {
            Some(authority) => format!("of {authority}"),
            None => "of any authority".to_owned(),
        };
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::KeySha1(sha1) => write!(f, "key with SHA-1 {}", hex::encode(sha1)),
            Self::Serials { authority, from, to } if from == to => write!(f, "certificate {from} {}", of(authority)),
            Self::Serials { authority, from, to } => write!(f, "certificates {from} to {to} {}", of(authority)),
            Self::KeyId { authority, key_id } => {
                write!(f, "certificate {:?} {}", shown(key_id.as_bytes()), of(authority))
            }
        }
    }
}
