//! RSA with PKCS#1 v1.5 and SHA-2 (RFC 8332).

use std::{fmt, sync::OnceLock};

use aws_lc_rs::{
    digest,
    signature::{
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RsaParameters, RsaPublicKeyComponents,
    },
};

/// Largest modulus that the maths library takes, in bits.
pub(super) const MAX_BITS: u32 = 8192;
/// Smallest exponent: F4 = 2^16 + 1, which ssh-keygen always takes. Smaller ones turn padding faults into forgeries.
const MIN_EXPONENT: u64 = 65_537;
/// Largest exponent: 33 bits, the most that the maths library takes.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// Bits of a modulus without leading zero bytes.
fn bits(modulus: &[u8]) -> u32 {
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(modulus.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(unused)
}

/// Why this is no key; nothing if it is one. How short it may be is a question of the settings.
fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), &'static str> {
    if bits(modulus) > MAX_BITS {
        return Err("the RSA key has more than 8192 bits");
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err("the RSA modulus is even");
    }
    let value = exponent.iter().try_fold(0_u64, |value, byte| {
        value.checked_mul(256).and_then(|shifted| shifted.checked_add(u64::from(*byte)))
    });
    match value {
        Some(value) if (MIN_EXPONENT..=MAX_EXPONENT).contains(&value) && value % 2 == 1 => Ok(()),
        _ => Err("the RSA exponent is not an odd number from 65537 to 2^33 - 1"),
    }
}

/// The digests that signatures are over; OpenPGP has one more than SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sha2 {
    Sha256,
    Sha384,
    Sha512,
}

/// A key. What the maths library makes of it before the first signature, for each digest, is kept: made anew each time
/// it takes a fifth of the time of a verification.
pub(crate) struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// `None` inside: the library does not take the key.
    prepared: [OnceLock<Option<ParsedPublicKey>>; 3],
}

impl RsaKey {
    /// Both numbers without leading zero bytes.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        check(modulus, exponent)?;
        Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec(), prepared: Default::default() })
    }

    /// Bits of the modulus.
    pub(crate) fn bits(&self) -> u32 {
        bits(&self.modulus)
    }

    /// Bytes of the modulus, and of a signature.
    pub(crate) const fn width(&self) -> usize {
        self.modulus.len()
    }

    /// Whether the signature fits. Only a signature as long as the modulus does.
    pub(crate) fn verifies(&self, digest: Sha2, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == self.width()
            && self.prepared(digest).is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    /// The same for what has this digest.
    pub(crate) fn verifies_digest(&self, digest: Sha2, signed: &digest::Digest, signature: &[u8]) -> bool {
        signature.len() == self.width()
            && self.prepared(digest).is_some_and(|key| key.verify_digest_sig(signed, signature).is_ok())
    }

    fn prepared(&self, digest: Sha2) -> Option<&ParsedPublicKey> {
        let [sha256, sha384, sha512] = &self.prepared;
        let (kept, parameters): (_, &'static RsaParameters) = match digest {
            Sha2::Sha256 => (sha256, &RSA_PKCS1_2048_8192_SHA256),
            Sha2::Sha384 => (sha384, &RSA_PKCS1_2048_8192_SHA384),
            Sha2::Sha512 => (sha512, &RSA_PKCS1_2048_8192_SHA512),
        };
        let numbers = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        kept.get_or_init(|| numbers.to_parsed_public_key(parameters).ok()).as_ref()
    }
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus == other.modulus && self.exponent == other.exponent
    }
}

impl Eq for RsaKey {}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey").field("bits", &self.bits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::{KeyPair, KeySize},
        signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512},
    };

    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!((bits(&[]), bits(&[1]), bits(&[0x80, 0]), bits(&[0x7f, 0])), (0, 1, 16, 15));
    }

    fn encoding_digest(digest: Sha2) -> &'static digest::Algorithm {
        match digest {
            Sha2::Sha256 => &digest::SHA256,
            Sha2::Sha384 => &digest::SHA384,
            Sha2::Sha512 => &digest::SHA512,
        }
    }

    #[test]
    fn each_digest_has_a_key_of_its_own() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let numbers = (public.modulus(), public.exponent());
        let key = RsaKey::new(numbers.0.big_endian_without_leading_zero(), numbers.1.big_endian_without_leading_zero())
            .unwrap();
        let all = [Sha2::Sha256, Sha2::Sha384, Sha2::Sha512];
        let encodings = [&RSA_PKCS1_SHA256, &RSA_PKCS1_SHA384, &RSA_PKCS1_SHA512];
        for (digest, encoding) in all.into_iter().zip(encodings) {
            let mut signature = vec![0; key.width()];
            pair.sign(encoding, &SystemRandom::new(), b"message", &mut signature).unwrap();
            // The second time with what the first one left.
            for _ in 0..2 {
                assert_eq!(all.map(|other| key.verifies(other, b"message", &signature)), all.map(|one| one == digest));
                assert!(!key.verifies(digest, b"massage", &signature));
            }
            assert!(!key.verifies(digest, b"message", &signature[1..]));
            let signed = |message: &[u8]| digest::digest(encoding_digest(digest), message);
            assert!(key.verifies_digest(digest, &signed(b"message"), &signature));
            assert!(!key.verifies_digest(digest, &signed(b"massage"), &signature));
            assert!(!key.verifies_digest(digest, &signed(b"message"), &signature[1..]));
        }
    }

    #[test]
    fn exponents_and_moduli() {
        let modulus = [0xff; 384];
        assert_eq!(check(&modulus, &[1, 0, 1]), Ok(()));
        for exponent in [&[][..], &[1], &[3], &[1, 0, 2], &[4, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(check(&modulus, exponent).is_err(), "{exponent:?}");
        }
        assert!(check(&[0xff; 1025], &[1, 0, 1]).is_err());
        assert!(check(&[0xfe; 384], &[1, 0, 1]).is_err());
    }
}
