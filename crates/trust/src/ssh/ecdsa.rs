//! ECDSA over the three NIST curves (RFC 5656). Each curve has its own digest.
//!
//! For each (r, s) also (r, n - s) fits. ssh-keygen writes either, so both are accepted; nothing may identify a commit
//! by its signature bytes, and nothing does (payload digests do).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    ParsedPublicKey, UnparsedPublicKey,
};

use super::wire::Reader;

/// One of the curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// Bytes of one coordinate, and of r and s.
    const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }

    /// Why this is no key; nothing if it is one. Only the uncompressed form is a key, so that a key has one blob.
    pub(super) fn check(self, point: &[u8]) -> Result<(), &'static str> {
        if point.len() != 1 + 2 * self.width() || point.first() != Some(&4) {
            return Err("the ECDSA key is not an uncompressed point of its curve");
        }
        ParsedPublicKey::new(self.algorithm(), point)
            .map(drop)
            .map_err(|_rejected| "the ECDSA key is not a point of its curve")
    }

    /// Whether the signature (r and s as numbers of SSH) fits.
    pub(super) fn verifies(self, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
        self.fixed(signature)
            .is_some_and(|fixed| UnparsedPublicKey::new(self.algorithm(), point).verify(message, &fixed).is_ok())
    }

    /// Whether these are r and s as numbers of SSH.
    pub(super) fn has_form(self, signature: &[u8]) -> bool {
        self.fixed(signature).is_some()
    }

    /// r and s, each filled up with zeros to the width of the curve.
    fn fixed(self, signature: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader::new(signature);
        let mut fixed = Vec::with_capacity(2 * self.width());
        for _ in 0..2 {
            let number = reader.positive().ok()?;
            let missing = self.width().checked_sub(number.len())?;
            fixed.resize(fixed.len() + missing, 0);
            fixed.extend_from_slice(number);
        }
        reader.end().ok()?;
        Some(fixed)
    }
}
