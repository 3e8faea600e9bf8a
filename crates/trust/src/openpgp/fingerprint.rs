//! Fingerprints of OpenPGP keys, as `gpg --fingerprint` and `sq` print them.

use std::{fmt, str::FromStr};

use pgp::types::Fingerprint;
use sha1_checked::Sha1;
use sha2::{Digest as _, Sha256};

/// Identifies a key: 20 bytes for version 4 (SHA-1), 32 for version 6 (SHA-256). Shorter key ids identify nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenPgpFingerprint {
    /// Of a key of version 4.
    V4([u8; 20]),
    /// Of a key of version 6.
    V6([u8; 32]),
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an OpenPGP fingerprint (40 or 64 hex digits, as `gpg --list-keys` prints it)")]
pub struct OpenPgpFingerprintError {
    text: String,
}

impl OpenPgpFingerprint {
    /// Of the bytes that are hashed for a key of version 4; `None` if they are built to collide under SHA-1.
    pub(super) fn v4(hashed: &[u8]) -> Option<Self> {
        let result = Sha1::try_digest(hashed);
        (!result.has_collision()).then(|| Self::V4((*result.hash()).into()))
    }

    /// Of the bytes that are hashed for a key of version 6.
    pub(super) fn v6(hashed: &[u8]) -> Self {
        Self::V6(Sha256::digest(hashed).into())
    }

    /// What a subpacket says; `None` for other versions.
    pub(super) fn said(fingerprint: &Fingerprint) -> Option<Self> {
        match fingerprint {
            Fingerprint::V4(bytes) => Some(Self::V4(*bytes)),
            Fingerprint::V6(bytes) => Some(Self::V6(*bytes)),
            _ => None,
        }
    }

    /// The 8 bytes that are its key id: the last ones of version 4, the first ones of version 6.
    pub(super) fn key_id(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes.last_chunk::<8>().map_or(&[], |id| id.as_slice()),
            Self::V6(bytes) => bytes.first_chunk::<8>().map_or(&[], |id| id.as_slice()),
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }
}

impl fmt::Display for OpenPgpFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.as_bytes()))
    }
}

impl fmt::Debug for OpenPgpFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenPgpFingerprint({self})")
    }
}

impl FromStr for OpenPgpFingerprint {
    type Err = OpenPgpFingerprintError;

    /// Digits in either case, without blanks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).unwrap_or_default();
        <[u8; 20]>::try_from(bytes.as_slice())
            .map(Self::V4)
            .or_else(|_length| <[u8; 32]>::try_from(bytes.as_slice()).map(Self::V6))
            .map_err(|_length| OpenPgpFingerprintError { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses() {
        for text in ["FD099EA8E746EDA3AC3D63393AFE65ADFA2D27B9".to_owned(), "0A".repeat(32)] {
            let fingerprint: OpenPgpFingerprint = text.parse().unwrap();
            assert_eq!(fingerprint.to_string(), text);
            assert_eq!(text.to_lowercase().parse(), Ok(fingerprint));
        }
        for text in ["", "3AFE65ADFA2D27B9", "FD09 9EA8 E746 EDA3 AC3D  6339 3AFE 65AD FA2D 27B9", "FD09zz"] {
            assert!(text.parse::<OpenPgpFingerprint>().is_err(), "{text}");
        }
    }

    #[test]
    fn key_ids_are_the_last_or_the_first_bytes() {
        let v4: OpenPgpFingerprint = "FD099EA8E746EDA3AC3D63393AFE65ADFA2D27B9".parse().unwrap();
        assert_eq!(hex::encode_upper(v4.key_id()), "3AFE65ADFA2D27B9");
        let v6: OpenPgpFingerprint = format!("0102030405060708{}", "FF".repeat(24)).parse().unwrap();
        assert_eq!(v6.key_id(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
