//! Who signed, as it is printed.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    ArmorFormat, Fingerprint, FingerprintError, KeylessFingerprint, KeylessIdentity, openpgp::OpenPgpFingerprint,
};

/// The format of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureFormat {
    /// OpenSSH (`sshsig`).
    Ssh,
    /// OpenPGP, as gpg makes it.
    OpenPgp,
    /// Keyless, as gitsign makes it.
    Keyless,
}

impl From<ArmorFormat> for SignatureFormat {
    fn from(armour: ArmorFormat) -> Self {
        match armour {
            ArmorFormat::Ssh => Self::Ssh,
            ArmorFormat::OpenPgp => Self::OpenPgp,
            ArmorFormat::X509 => Self::Keyless,
        }
    }
}

/// What identifies a key of any format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyFingerprint {
    /// Of an SSH key: `SHA256:…`.
    Ssh(Fingerprint),
    /// Of an OpenPGP certificate: 40 or 64 hex digits.
    OpenPgp(OpenPgpFingerprint),
    /// Of an identity that has no lasting key: `keyless:…`.
    Keyless(KeylessFingerprint),
}

impl KeyFingerprint {
    /// The format of the signatures that such a key makes.
    #[must_use]
    pub const fn format(&self) -> SignatureFormat {
        match self {
            Self::Ssh(_) => SignatureFormat::Ssh,
            Self::OpenPgp(_) => SignatureFormat::OpenPgp,
            Self::Keyless(_) => SignatureFormat::Keyless,
        }
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh(key) => key.fmt(f),
            Self::OpenPgp(key) => key.fmt(f),
            Self::Keyless(key) => key.fmt(f),
        }
    }
}

impl FromStr for KeyFingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(key) = text.parse() {
            return Ok(Self::OpenPgp(key));
        }
        match text.parse() {
            Ok(key) => Ok(Self::Keyless(key)),
            Err(_other) => text.parse().map(Self::Ssh),
        }
    }
}

impl Serialize for KeyFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The principal that a signature was traced to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Signer {
    /// Name in the trust file or in the allowed-signers file; where only certificates are given, the first user id.
    pub principal: String,
    /// Format of the signature.
    pub format: SignatureFormat,
    /// Fingerprint of the key; of an OpenPGP certificate, whichever of its keys signed; of the identity if it is keyless.
    pub key: KeyFingerprint,
    /// Fingerprint of the authority's key, if an SSH certificate says whose key it is. Boxed since that is rare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Box<Fingerprint>>,
    /// The account that a keyless signature is for. Boxed as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<KeylessIdentity>>,
}
