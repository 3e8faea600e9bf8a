//! Which keys and digests are strong enough.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Smallest RSA modulus in bits unless the trust file says otherwise: the strength of a 128-bit key.
pub const MIN_RSA_BITS_DEFAULT: u32 = 3072;

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`
    EcdsaP521,
    /// `ssh-rsa`
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`
    SkEcdsaP256,
}

/// The digest inside a signature blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// `sha256`
    Sha256,
    /// `sha512`
    Sha512,
}

/// A name that is no algorithm of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not one of {known}")]
pub struct UnknownAlgorithm {
    name: String,
    known: String,
}

/// What the trust file's `crypto` allows. The default allows all that is supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Smallest RSA modulus in bits; below 2048 has no effect, such keys are always refused.
    pub min_rsa: u32,
    /// Digests allowed in signature blobs.
    pub hashes: BTreeSet<HashAlgorithm>,
    /// Key algorithms allowed.
    pub allow: BTreeSet<KeyAlgorithm>,
    /// Whether keyless keys are allowed (`gitsign-offline`).
    pub keyless: bool,
}

impl Default for Crypto {
    fn default() -> Self {
        Self {
            min_rsa: MIN_RSA_BITS_DEFAULT,
            hashes: HashAlgorithm::ALL.into_iter().collect(),
            allow: KeyAlgorithm::ALL.into_iter().collect(),
            keyless: true,
        }
    }
}

impl KeyAlgorithm {
    /// All that are supported.
    pub const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa,
        Self::SkEd25519,
        Self::SkEcdsaP256,
    ];

    /// The name in `crypto.allow`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::Rsa => "rsa",
            Self::SkEd25519 => "sk-ed25519",
            Self::SkEcdsaP256 => "sk-ecdsa-p256",
        }
    }

    /// The key type on the wire and in key files.
    #[must_use]
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Whether the key lives in a token, which asserts what it saw of its user.
    #[must_use]
    pub const fn is_security_key(self) -> bool {
        matches!(self, Self::SkEd25519 | Self::SkEcdsaP256)
    }
}

impl HashAlgorithm {
    /// All that are supported.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name on the wire and in `crypto.hashes`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| unknown(name, &Self::ALL))
    }
}

impl FromStr for HashAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| unknown(name, &Self::ALL))
    }
}

fn unknown(name: &str, known: &[impl fmt::Display]) -> UnknownAlgorithm {
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    UnknownAlgorithm { name: name.chars().take(80).collect(), known: known.join(", ") }
}
