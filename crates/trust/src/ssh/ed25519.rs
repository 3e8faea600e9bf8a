//! Ed25519: what the maths library leaves open about keys is closed here.
//!
//! aws-lc compares the encoding of R and refuses S ≥ L, so a signature has one form. It does not look at the key: under
//! a key of small order one signature fits any message (a key nobody would make, except to deny what they signed), and
//! a y that is not reduced modulo p is a second name of another key.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// p = 2^255 - 19, least byte first.
const PRIME: [u8; KEY_BYTES] = {
    let mut bytes = [0xff; KEY_BYTES];
    bytes[0] = 0xed;
    bytes[31] = 0x7f;
    bytes
};

/// The y coordinates, least byte first, of the eight points of order 1, 2, 4 and 8. With either sign of x each is refused.
const SMALL_ORDER: [[u8; KEY_BYTES]; 5] = [
    [0; KEY_BYTES], // order 4
    {
        let mut one = [0; KEY_BYTES]; // order 1
        one[0] = 1;
        one
    },
    {
        let mut minus_one = PRIME; // order 2
        minus_one[0] = 0xec;
        minus_one
    },
    // order 8
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    // order 8
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Whether these bytes are as many as a signature has.
pub(crate) const fn has_form(signature: &[u8]) -> bool {
    signature.len() == SIGNATURE_BYTES
}

/// Why these bytes are no key; nothing if they are one.
pub(crate) fn check(key: &[u8]) -> Result<(), &'static str> {
    let mut y: [u8; KEY_BYTES] = key.try_into().map_err(|_length| "an Ed25519 key has 32 bytes")?;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f; // the top bit is the sign of x
    }
    if SMALL_ORDER.contains(&y) {
        return Err("the Ed25519 key has small order, so one signature fits many messages");
    }
    // Most significant byte first, arrays compare as numbers.
    if y.iter().rev().ge(PRIME.iter().rev()) {
        return Err("the Ed25519 key is not encoded canonically");
    }
    Ok(())
}

/// Whether the signature fits. `key` has passed [`check`].
pub(crate) fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    signature.len() == SIGNATURE_BYTES && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    #[test]
    fn one_signature_fits_all_under_a_small_order_key_so_it_is_refused() {
        let identity = SMALL_ORDER[1];
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(verifies(&identity, b"pay 1", &signature), "the library no longer accepts it: drop the list");
        assert!(verifies(&identity, b"pay 1000", &signature));
        for mut key in SMALL_ORDER {
            assert!(check(&key).is_err());
            key[31] |= 0x80;
            assert!(check(&key).is_err(), "with the other sign");
        }
    }

    #[test]
    fn unreduced_keys_are_refused() {
        for low in 0xed..=0xff {
            let mut key = PRIME;
            key[0] = low;
            assert!(check(&key).is_err(), "{low:x}");
        }
        assert!(check(&[1; 31]).is_err());
    }

    #[test]
    fn s_plus_l_is_refused() {
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let good = pair.sign(b"message");
        let key = pair.public_key().as_ref();
        assert_eq!(check(key), Ok(()));
        assert!(verifies(key, b"message", good.as_ref()));
        let mut twin: Vec<u8> = good.as_ref().to_vec();
        let mut carry = 0;
        for (byte, add) in twin[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!verifies(key, b"message", &twin));
    }
}
