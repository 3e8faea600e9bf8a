//! Signatures that a browser has a security key make (`webauthn-sk-ecdsa-sha2-nistp256@openssh.com`, PROTOCOL.u2f of
//! OpenSSH). The token then signs the digest of the *client data*, a JSON text of the browser that holds the message as
//! its challenge.
//!
//! Browsers write the client data in one fixed order (Web Authentication §5.8.1.1), so that it is compared as bytes with
//! what it must begin with and no JSON is interpreted, as the limited verification of the same specification does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    key_signature::Fault,
    security_key::Assertion,
    wire::{Malformed, Reader},
};

/// The name of the format.
pub(super) const FORMAT: &[u8] = b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/// The most bytes of an origin: `https://`, a host of 253, a port.
const MAX_ORIGIN_BYTES: usize = 512;
/// The most bytes of the client data: the message of at most 200 bytes in base64, the origin, and what browsers add.
const MAX_CLIENT_DATA_BYTES: usize = 2 * 1024;
/// The most bytes of extensions: a CBOR map of a few short entries.
const MAX_EXTENSIONS_BYTES: usize = 1024;

/// Attested credential data follow: only when a key is made.
const ATTESTED: u8 = 0x40;
/// Extensions follow.
const EXTENDED: u8 = 0x80;

/// What stands after the signature.
pub(super) struct Browser<'a> {
    pub(super) assertion: Assertion,
    pub(super) client_data: &'a [u8],
    pub(super) extensions: &'a [u8],
}

impl<'a> Browser<'a> {
    /// Reads it; the client data must hold `message`.
    pub(super) fn read(reader: &mut Reader<'a>, message: &[u8]) -> Result<Self, Fault> {
        let (read, origin) = Self::read_of_any(reader)?;
        if holds(read.client_data, origin, message) { Ok(read) } else { Err(Fault::Mismatch) }
    }

    /// Reads it whatever message the client data hold, with the origin that it names.
    pub(super) fn read_of_any(reader: &mut Reader<'a>) -> Result<(Self, &'a [u8]), Malformed> {
        let assertion = Assertion::read(reader)?;
        let origin = reader.string()?;
        let client_data = reader.string()?;
        let extensions = reader.string()?;
        let Assertion { flags, .. } = assertion;
        let bounded = (1..=MAX_ORIGIN_BYTES).contains(&origin.len())
            && client_data.len() <= MAX_CLIENT_DATA_BYTES
            && extensions.len() <= MAX_EXTENSIONS_BYTES;
        // An origin that JSON would have to escape is none, and could end the text before its end.
        let plain = origin.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        let flagged = flags & ATTESTED == 0 && (flags & EXTENDED != 0) != extensions.is_empty();
        if !bounded || !plain || !flagged {
            return Err(Malformed);
        }
        Ok((Self { assertion, client_data, extensions }, origin))
    }
}

/// Whether the client data is a request for a signature of exactly this message, from this origin.
fn holds(client_data: &[u8], origin: &[u8], message: &[u8]) -> bool {
    let mut start = br#"{"type":"webauthn.get","challenge":""#.to_vec();
    start.extend_from_slice(URL_SAFE_NO_PAD.encode(message).as_bytes());
    start.extend_from_slice(br#"","origin":""#);
    start.extend_from_slice(origin);
    start.push(b'"');
    match client_data.strip_prefix(start.as_slice()) {
        Some(b"}") => true,
        Some([b',', rest @ ..]) => rest.ends_with(b"}"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_data_has_one_beginning() {
        let of = |text: &str| holds(text.as_bytes(), b"https://a", b"\xff\xfe\xfd\xfc");
        assert!(of(r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a"}"#));
        assert!(of(r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a","crossOrigin":false}"#));
        for other in [
            "",
            r#"{"type":"webauthn.create","challenge":"__79_A","origin":"https://a"}"#,
            r#"{"type":"webauthn.get","challenge":"__79_A==","origin":"https://a"}"#,
            r#"{"type":"webauthn.get","challenge":"//79/A","origin":"https://a"}"#,
            r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a.b"}"#,
            r#"{"challenge":"__79_A","type":"webauthn.get","origin":"https://a"}"#,
            r#"{ "type":"webauthn.get","challenge":"__79_A","origin":"https://a"}"#,
            r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a""#,
            r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a"x}"#,
            r#"{"type":"webauthn.get","challenge":"__79_A","origin":"https://a","crossOrigin":false"#,
        ] {
            assert!(!of(other), "{other}");
        }
    }
}
