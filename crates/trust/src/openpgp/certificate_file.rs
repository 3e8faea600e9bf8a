//! Files of certificates: binary, or one armoured block after the other.
//!
//! Such a file is pinned by its digest or given by the operator, so other than with signatures it need not have one form.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use pgp::types::Tag;

use super::{CertificateError, packets::Packets};

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
const PRIVATE: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";

/// How many digits of armour are on a line, as gpg writes it.
const ARMOR_COLUMNS: usize = 64;

/// The certificates of a keyring, each armoured on its own.
///
/// # Errors
/// Another form. What is in the certificates is not looked at.
pub fn split_keyring(bytes: &[u8]) -> Result<Vec<String>, CertificateError> {
    let mut certificates = Vec::new();
    for block in blocks(bytes)? {
        let mut current: Vec<u8> = Vec::new();
        let mut packets = Packets::of(&block);
        loop {
            let before = packets.rest();
            let Some(packet) = packets.next() else { break };
            let packet = packet.map_err(|_malformed| CertificateError::Packets("not of known length"))?;
            if packet.tag() == Tag::PublicKey && !current.is_empty() {
                certificates.push(armored(&current));
                current.clear();
            }
            let length = before.len().saturating_sub(packets.rest().len());
            current.extend_from_slice(before.get(..length).unwrap_or_default());
        }
        certificates.push(armored(&current));
    }
    Ok(certificates)
}

fn armored(packets: &[u8]) -> String {
    let digits = STANDARD.encode(packets);
    let mut text = format!("{BEGIN}\n\n");
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(ARMOR_COLUMNS).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The packets of each block.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    // The first byte of a packet has its top bit set, that of a text has not.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(vec![bytes.to_vec()]);
    }
    let text = std::str::from_utf8(bytes).map_err(|_error| CertificateError::Form)?;
    let mut lines = text.lines().map(str::trim_end);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        match line {
            "" => {}
            BEGIN => blocks.push(block(&mut lines)?),
            PRIVATE => return Err(CertificateError::Private),
            _ => return Err(CertificateError::Form),
        }
    }
    if blocks.is_empty() { Err(CertificateError::Form) } else { Ok(blocks) }
}

/// Headers, a blank line, base64, a checksum or none, and the end. The checksum is against accidents of transport, and
/// the packets have better ones.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, CertificateError> {
    for header in lines.by_ref().take_while(|line| !line.is_empty()) {
        if !header.contains(": ") && !header.ends_with(':') {
            return Err(CertificateError::Armor);
        }
    }
    let mut digits = String::new();
    let mut checked = false;
    for line in lines {
        match line {
            END => return STANDARD.decode(digits).map_err(|_invalid| CertificateError::Armor),
            _ if checked => return Err(CertificateError::Armor),
            _ if line.starts_with('=') => checked = true,
            _ => digits.push_str(line),
        }
    }
    Err(CertificateError::Armor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_text_and_binary() {
        let one = format!("{BEGIN}\nComment: x\n\nmDME\nAA==\n=abcd\n{END}\n");
        assert_eq!(blocks(one.as_bytes()), Ok(vec![vec![0x98, 0x33, 4, 0]]));
        assert_eq!(blocks(format!("\n{one}\n{one}").replace('\n', "\r\n").as_bytes()).map(|all| all.len()), Ok(2));
        assert_eq!(blocks(&[0x98, 0]), Ok(vec![vec![0x98, 0]]));
    }

    #[test]
    fn a_keyring_is_split_at_primary_keys() {
        // Of old form, length in one byte: public key (tag 6), user id (13), public key.
        let packets = [0x98, 1, 7, 0xb4, 2, 8, 9, 0x98, 1, 6];
        let split = split_keyring(&packets).unwrap();
        let found: Vec<_> = split.iter().flat_map(|one| blocks(one.as_bytes()).unwrap()).collect();
        assert_eq!(found, [packets[..7].to_vec(), packets[7..].to_vec()]);
        assert_eq!(split_keyring(split.concat().as_bytes()), Ok(split));
        assert_eq!(split_keyring(&[0x98, 9, 7]), Err(CertificateError::Packets("not of known length")));
    }

    #[test]
    fn everything_else_is_refused() {
        let one = format!("{BEGIN}\n\nmDME\n=abcd\n{END}\n");
        let cases = [
            (String::new(), CertificateError::Form),
            ("-----BEGIN PGP SIGNATURE-----\n".to_owned(), CertificateError::Form),
            (format!("text\n{one}"), CertificateError::Form),
            (one.replace("PUBLIC", "PRIVATE"), CertificateError::Private),
            (one.replace(END, ""), CertificateError::Armor),
            (one.replacen("\n\n", "\n", 1), CertificateError::Armor),
            (one.replace("mDME", "mD-E"), CertificateError::Armor),
            (one.replace("=abcd", "=abcd\nAAAA"), CertificateError::Armor),
        ];
        for (text, error) in cases {
            assert_eq!(blocks(text.as_bytes()), Err(error), "{text}");
        }
    }
}
