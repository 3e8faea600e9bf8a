//! Why a certificate or a signature is refused.

use jiff::Timestamp;
use manifest::{Finding, Subject};

use super::{
    OpenPgpFingerprint,
    certificate::{MAX_CERTIFICATE_BYTES, MAX_PACKETS, MAX_SELF_SIGNATURES, MAX_SUBKEYS, MAX_USER_IDS},
    keyring::{MAX_CERTIFICATES, MAX_KEYRING_BYTES},
};
use crate::{
    TrustCode,
    armor::{ArmorError, ArmorFormat},
    ssh::{HashAlgorithm, KeyAlgorithm},
};

/// Why bytes are no certificate, or no keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A certificate that is too large.
    #[error("a certificate of more than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// A keyring that is too large.
    #[error("more than {MAX_KEYRING_BYTES} bytes")]
    KeyringTooLarge,
    /// Too many certificates.
    #[error("more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// Neither packets nor armour of a public key.
    #[error("not an armoured PGP PUBLIC KEY BLOCK, nor its binary form")]
    Form,
    /// Base64 or checksum of the armour.
    #[error("the armour is damaged")]
    Armor,
    /// A private key.
    #[error("a private key: take it out, and whoever could read it must be taken to have it")]
    Private,
    /// Not the packets of a certificate.
    #[error("the packets are not those of a certificate: {0}")]
    Packets(&'static str),
    /// Too many packets of a kind.
    #[error(
        "more than {MAX_PACKETS} packets, {MAX_USER_IDS} user ids, {MAX_SUBKEYS} subkeys or {MAX_SELF_SIGNATURES} signatures of its own key"
    )]
    TooManyPackets,
    /// A version that is not supported.
    #[error("a key of version {0}, which is not supported")]
    Version(u8),
    /// The key was built to collide.
    #[error("the key is built to collide under SHA-1 with another")]
    Collision,
    /// More than one certificate where one is expected, or the same one twice.
    #[error("more than one certificate, or the same one twice")]
    Several,
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenPgpError {
    /// The armour is not one that gpg or sq write (W201).
    #[error("the armour of the signature is not canonical")]
    Armor(#[source] ArmorError),
    /// Another format than OpenPGP (W208).
    #[error("an {} signature", .0.name())]
    OtherFormat(ArmorFormat),
    /// Not one signature packet in the form of gpg or sq (W201).
    #[error("the signature is not in a canonical form: {0}")]
    Malformed(&'static str),
    /// Another type than that of a binary document (W201).
    #[error("a signature of type 0x{0:02x}")]
    Type(u8),
    /// A subpacket that changes the meaning in an unknown way, or has no place in a signature over data (W201).
    #[error("the signature says more than is understood: {0}")]
    Subpacket(String),
    /// What is not supported (W208).
    #[error("{0}, which is not supported yet")]
    NotSupported(String),
    /// No certificate holds the key (W202).
    #[error("signed by {0}, which belongs to no certificate")]
    UnknownKey(OpenPgpFingerprint),
    /// A digest below SHA-2 (W203).
    #[error("a signature over {found}")]
    WeakDigest {
        /// The digest.
        found: String,
    },
    /// A digest that the settings do not allow (W203).
    #[error("a signature over {found}")]
    Digest {
        /// The digest.
        found: &'static str,
        /// What the settings allow.
        allowed: Vec<HashAlgorithm>,
    },
    /// A key of an algorithm that is refused for good (W203).
    #[error("signed by a key of algorithm {0}")]
    WeakKey(&'static str),
    /// A key algorithm that the settings do not allow (W203).
    #[error("signed by a key of algorithm {found}")]
    KeyAlgorithm {
        /// The algorithm.
        found: KeyAlgorithm,
        /// What the settings allow.
        allowed: Vec<KeyAlgorithm>,
    },
    /// An RSA key that is too short (W203).
    #[error("signed by, or bound by, an RSA key of {bits} bits")]
    ShortRsa {
        /// Bits of its modulus.
        bits: u32,
        /// What the settings demand.
        needed: u32,
    },
    /// What binds the key is over a digest below SHA-2 (W203).
    #[error("key {key} is bound by a signature over {digest} only")]
    WeakBinding {
        /// The key.
        key: OpenPgpFingerprint,
        /// The digest.
        digest: String,
    },
    /// A key whose numbers are refused (W201).
    #[error("the key is refused: {0}")]
    Key(&'static str),
    /// The signature is none that the key makes (W201).
    #[error("the signature is not of the kind that key {0} makes")]
    Algorithm(OpenPgpFingerprint),
    /// The signature does not fit the bytes (W201).
    #[error("the signature by {0} does not fit these bytes")]
    Mismatch(OpenPgpFingerprint),
    /// The certificate does not vouch for the key (W204).
    #[error("key {key} {reason}")]
    NotBound {
        /// The key.
        key: OpenPgpFingerprint,
        /// What is missing.
        reason: &'static str,
    },
    /// The key is not for signing (W204).
    #[error("key {0} is not marked for signing")]
    NotSigning(OpenPgpFingerprint),
    /// The signature is older than the key (W204).
    #[error("the signature is of {signed}, key {key} of {created}")]
    BeforeKey {
        /// The key.
        key: OpenPgpFingerprint,
        /// When it was made.
        created: Timestamp,
        /// When the signature was made.
        signed: Timestamp,
    },
    /// The key had expired (W204).
    #[error("key {key} {reason}")]
    KeyEnded {
        /// The key.
        key: OpenPgpFingerprint,
        /// Since when, and when it was used.
        reason: String,
    },
    /// The signature has expired, or is of the future (W204).
    #[error("the signature is of {signed} and {reason}")]
    SignatureTime {
        /// When the signature was made.
        signed: Timestamp,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is revoked (W304).
    #[error("key {key} is revoked ({reason})")]
    Revoked {
        /// The key.
        key: OpenPgpFingerprint,
        /// Why, and for soft revocations since when.
        reason: String,
    },
}

impl OpenPgpError {
    /// The code of this refusal.
    #[must_use]
    pub const fn code(&self) -> TrustCode {
        match self {
            Self::Armor(_)
            | Self::Malformed(_)
            | Self::Type(_)
            | Self::Subpacket(_)
            | Self::Key(_)
            | Self::Algorithm(_)
            | Self::Mismatch(_) => TrustCode::W201,
            Self::OtherFormat(_) | Self::NotSupported(_) => TrustCode::W208,
            Self::UnknownKey(_) => TrustCode::W202,
            Self::WeakDigest { .. }
            | Self::Digest { .. }
            | Self::WeakKey(_)
            | Self::KeyAlgorithm { .. }
            | Self::ShortRsa { .. }
            | Self::WeakBinding { .. } => TrustCode::W203,
            Self::NotBound { .. }
            | Self::NotSigning(_)
            | Self::BeforeKey { .. }
            | Self::KeyEnded { .. }
            | Self::SignatureTime { .. } => TrustCode::W204,
            Self::Revoked { .. } => TrustCode::W304,
        }
    }

    /// The refusal as a finding about `subject`; `fix` is how that subject is signed again.
    #[must_use]
    pub fn finding(&self, subject: Subject, fix: String) -> Finding {
        let found = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Finding {
            code: self.code().entry(),
            subject,
            rule: None,
            found: found.into(),
            needed: self.needed().into(),
            fix: fix.into(),
        }
    }

    fn needed(&self) -> String {
        let text = match self {
            Self::Armor(_) | Self::Malformed(_) => "the form that gpg --armor --detach-sign writes, byte for byte",
            Self::OtherFormat(_) => "an OpenPGP signature",
            Self::Type(_) => "type 0x00, over the bytes as they are",
            Self::Subpacket(_) => "a signature without it",
            Self::NotSupported(_) => "an Ed25519, ECDSA (NIST curves) or RSA key, and SHA-2",
            Self::UnknownKey(_) => "a key that a certificate vouches for",
            Self::WeakDigest { .. } => "SHA-256, SHA-384 or SHA-512",
            Self::Digest { allowed, .. } => return format!("one of {}", list(allowed)),
            Self::WeakKey(_) => "an Ed25519, ECDSA or RSA key",
            Self::KeyAlgorithm { allowed, .. } => return format!("one of {}", list(allowed)),
            Self::ShortRsa { needed, .. } => return format!("at least {needed} bits"),
            Self::WeakBinding { .. } => "a certificate that was renewed with SHA-256 or better",
            Self::Key(_) => "another key",
            Self::Algorithm(_) => "a signature by the key that it names",
            Self::Mismatch(_) => "a signature over exactly these bytes",
            Self::NotBound { .. } => "a certificate that vouches for the key",
            Self::NotSigning(_) => "a key whose flags allow signing",
            Self::BeforeKey { .. } => "a signature that is not older than its key",
            Self::KeyEnded { .. } => "a key that has not ended",
            Self::SignatureTime { .. } => "a signature that is in force",
            Self::Revoked { .. } => "a key that is not revoked",
        };
        text.to_owned()
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
