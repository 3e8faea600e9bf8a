//! Files of certificates: binary, or one armoured block after the other.
//!
//! Such a file is pinned by its digest or given by the operator, so other than with signatures it need not have one form.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::CertificateError;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
const PRIVATE: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";

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
