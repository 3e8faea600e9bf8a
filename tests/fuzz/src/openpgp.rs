//! A keyring and a signature that goes with it, and the armour around what a fuzzer makes of the latter.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use trust::Instants;

/// Certificates of version 4 and 6 whose keys nobody has but who knows that their seeds are repeated bytes.
pub const CERTIFICATES: &[u8] = include_bytes!("../seeds/openpgp_certificate/both");
/// A signature over `message` and a line end.
pub const SIGNATURE: &[u8] = include_bytes!("../seeds/openpgp_signature/gpg");
/// 2026-01-01, the time of that signature.
pub const AT: Instants = Instants { committer: SIGNED, first_sight: None };
const SIGNED: jiff::Timestamp = jiff::Timestamp::constant(1_767_225_600, 0);

/// The armour of gpg, or without checksum that of sq.
pub fn armored(bytes: &[u8], checksum: bool) -> Vec<u8> {
    let mut text = "-----BEGIN PGP SIGNATURE-----\n\n".to_owned();
    let digits = STANDARD.encode(bytes);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push('\n');
    if checksum {
        let mut crc: u32 = 0x00b7_04ce;
        for byte in bytes {
            crc ^= u32::from(*byte) << 16;
            for _bit in 0..8 {
                crc = if crc & 0x0080_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x0186_4cfb };
            }
        }
        let [_, high, middle, low] = crc.to_be_bytes();
        text.push_str(&format!("={}\n", STANDARD.encode([high, middle, low])));
    }
    text.push_str("-----END PGP SIGNATURE-----\n");
    text.into_bytes()
}
