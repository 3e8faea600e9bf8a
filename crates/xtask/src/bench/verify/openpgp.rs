//! Certificates and signatures of OpenPGP, version 4, laid out as gpg writes them (RFC 4880): what `git commit -S` would
//! store, in the time in which gpg is started a hundred times.

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Digits of base64 in a line of gpg's armour.
const LINE: usize = 64;
/// SHA-512, as gpg takes it for keys of this strength.
const DIGEST: u8 = 10;
const USER_ID: &str = "Bob <bob@example.com>";

/// Kinds of packets, in the first byte of the old header with one or two bytes of length.
const SIGNATURE: u8 = 0x88;
const KEY: u8 = 0x98;
const USER: u8 = 0xb4;

/// Numbers of algorithms, and what a key consists of.
pub(super) enum Material {
    /// The point; EdDSA as gpg has it.
    Ed25519(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

/// A key without subkeys, and when it and all its signatures are made.
pub(super) struct Certificate {
    body: Vec<u8>,
    algorithm: u8,
    fingerprint: Vec<u8>,
    created: [u8; 4],
}

impl Certificate {
    pub(super) fn new(material: &Material, created: u32) -> Result<Self> {
        let created = created.to_be_bytes();
        let (algorithm, numbers) = match material {
            Material::Ed25519(point) => {
                let curve = [9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
                // 0x40 marks the point as it is in its own right; its first bit makes the number one of 263 bits.
                (22, [curve.as_slice(), &number(&[&[0x40], point.as_slice()].concat())?].concat())
            }
            Material::Rsa { modulus, exponent } => (1, [number(modulus)?, number(exponent)?].concat()),
        };
        let body = [[4].as_slice(), &created, &[algorithm], &numbers].concat();
        let fingerprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed_key(&body)?).as_ref().to_vec();
        Ok(Self { body, algorithm, fingerprint, created })
    }

    /// In hex, as the trust file has it.
    pub(super) fn fingerprint(&self) -> String {
        hex::encode_upper(&self.fingerprint)
    }

    /// What `gpg --armor --export` prints. `sign` makes the plain signature over these bytes.
    pub(super) fn armoured(&self, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<String> {
        const CERTIFIES_AND_SIGNS: [u8; 3] = [2, 27, 3];
        let covered = self.covered(0x13, &CERTIFIES_AND_SIGNS)?;
        let length = u32::try_from(USER_ID.len())?.to_be_bytes();
        let about = [&hashed_key(&self.body)?, [USER].as_slice(), &length, USER_ID.as_bytes()].concat();
        let message = [about, covered.clone(), trailer(&covered)?].concat();
        let certification = self.signature(&covered, &message, &sign(&message)?)?;
        let packets = [packet(KEY, &self.body)?, packet(USER, USER_ID.as_bytes())?, certification].concat();
        armour("PUBLIC KEY BLOCK", &packets)
    }

    /// What follows a document in the bytes that are signed.
    pub(super) fn after_document(&self) -> Result<Vec<u8>> {
        let covered = self.covered(0, &[])?;
        Ok([covered.clone(), trailer(&covered)?].concat())
    }

    /// What `gpg --armor --detach-sign` prints; `message` is the document and [`Self::after_document`].
    pub(super) fn detached(&self, message: &[u8], plain: &[u8]) -> Result<String> {
        armour("SIGNATURE", &self.signature(&self.covered(0, &[])?, message, plain)?)
    }

    /// The part of a signature that is signed: kind, algorithms, whose it is, and since when.
    fn covered(&self, kind: u8, more: &[u8]) -> Result<Vec<u8>> {
        let issuer = [&[22, 33, 4], self.fingerprint.as_slice()].concat();
        let subpackets = [issuer.as_slice(), &[5, 2], &self.created, more].concat();
        let length = u16::try_from(subpackets.len())?.to_be_bytes();
        Ok([[4, kind, self.algorithm, DIGEST].as_slice(), &length, &subpackets].concat())
    }

    fn signature(&self, covered: &[u8], message: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let key_id = self.fingerprint.get(12..).context("a fingerprint has 20 bytes")?;
        let hash = digest(&SHA512, message);
        let start = hash.as_ref().get(..2).context("a digest has 64 bytes")?;
        let numbers = if self.algorithm == 22 {
            let (r, s) = plain.split_at_checked(32).context("half of a signature")?;
            [number(r)?, number(s)?].concat()
        } else {
            number(plain)?
        };
        packet(SIGNATURE, &[covered, &[0, 10, 9, 16], key_id, start, &numbers].concat())
    }
}

/// What is hashed for a key.
fn hashed_key(body: &[u8]) -> Result<Vec<u8>> {
    Ok([[0x99].as_slice(), &u16::try_from(body.len())?.to_be_bytes(), body].concat())
}

fn trailer(covered: &[u8]) -> Result<Vec<u8>> {
    Ok([[4, 0xff].as_slice(), &u32::try_from(covered.len())?.to_be_bytes()].concat())
}

fn packet(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    Ok(match u8::try_from(body.len()) {
        Ok(length) => [&[kind, length], body].concat(),
        Err(_) => [[kind | 1].as_slice(), &u16::try_from(body.len())?.to_be_bytes(), body].concat(),
    })
}

/// A number with its length in bits, without zeros before it.
fn number(bytes: &[u8]) -> Result<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    let unused = digits.first().map_or(0, |first| first.leading_zeros());
    let bits = u32::try_from(digits.len())? * 8 - unused;
    Ok([u16::try_from(bits)?.to_be_bytes().as_slice(), digits].concat())
}

fn armour(what: &str, packets: &[u8]) -> Result<String> {
    let digits = STANDARD.encode(packets);
    let mut text = format!("-----BEGIN PGP {what}-----\n\n");
    for line in digits.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).context("base64 is ASCII")?);
        text.push('\n');
    }
    let [_, checksum @ ..] = crc24(packets).to_be_bytes();
    text.push_str(&format!("={}\n-----END PGP {what}-----\n", STANDARD.encode(checksum)));
    Ok(text)
}

/// RFC 4880, section 6.1.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0186_4cfb }
        })
    })
}
