//! RSA with PKCS#1 v1.5 and SHA-2 (RFC 8332).

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};

use super::HashAlgorithm;

/// Largest modulus that the maths library takes, in bits.
pub(super) const MAX_BITS: u32 = 8192;
/// Smallest exponent: F4 = 2^16 + 1, which ssh-keygen always takes. Smaller ones turn padding faults into forgeries.
const MIN_EXPONENT: u64 = 65_537;
/// Largest exponent: 33 bits, the most that the maths library takes.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// Bits of a modulus without leading zero bytes.
pub(crate) fn bits(modulus: &[u8]) -> u32 {
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(modulus.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(unused)
}

/// Why this is no key; nothing if it is one. How short it may be is a question of the settings.
pub(crate) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), &'static str> {
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

/// Whether the signature fits. Only a signature as long as the modulus does.
pub(super) fn verifies(modulus: &[u8], exponent: &[u8], hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
    let parameters = match hash {
        HashAlgorithm::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        HashAlgorithm::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    };
    signature.len() == modulus.len()
        && RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!((bits(&[]), bits(&[1]), bits(&[0x80, 0]), bits(&[0x7f, 0])), (0, 1, 16, 15));
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
