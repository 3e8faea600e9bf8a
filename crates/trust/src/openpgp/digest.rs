//! Which digests count.

use aws_lc_rs::digest::{self, Algorithm};

use super::OpenPgpError;
use crate::ssh::{Crypto, HashAlgorithm};

/// A digest of SHA-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// By its number in RFC 9580, section 9.5.
    pub(super) fn of(number: u8) -> Result<Self, OpenPgpError> {
        let weak = |name: &str| Err(OpenPgpError::WeakDigest { found: name.to_owned() });
        match number {
            8 => Ok(Self::Sha256),
            9 => Ok(Self::Sha384),
            10 => Ok(Self::Sha512),
            1 => weak("MD5"),
            2 => weak("SHA-1"),
            3 => weak("RIPEMD-160"),
            11 => weak("SHA-224"),
            12 => Err(OpenPgpError::NotSupported("a digest of type SHA3-256".to_owned())),
            14 => Err(OpenPgpError::NotSupported("a digest of type SHA3-512".to_owned())),
            other => Err(OpenPgpError::NotSupported(format!("a digest of number {other}"))),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Whether the settings allow it. SHA-384 is SHA-512 cut short and stands or falls with it: `crypto.hashes` has no
    /// name of its own for it, since SSH signatures never use it.
    pub(super) fn check(self, crypto: &Crypto) -> Result<(), OpenPgpError> {
        let needed = match self {
            Self::Sha256 => HashAlgorithm::Sha256,
            Self::Sha384 | Self::Sha512 => HashAlgorithm::Sha512,
        };
        if crypto.hashes.contains(&needed) {
            Ok(())
        } else {
            Err(OpenPgpError::Digest { found: self.name(), allowed: crypto.hashes.iter().copied().collect() })
        }
    }

    /// The digest of these parts after each other.
    pub(super) fn hash<'p>(self, parts: impl IntoIterator<Item = &'p [u8]>) -> digest::Digest {
        let mut context = digest::Context::new(self.algorithm());
        parts.into_iter().for_each(|part| context.update(part));
        context.finish()
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}
