//! OpenPGP packets laid byte by byte (RFC 9580), so that certificates and signatures can lie in every way.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]
#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// An Ed25519 key of version 4 (as gpg makes it) or 6.
pub struct Key {
    pair: Ed25519KeyPair,
    pub version: u8,
    pub created: u32,
}

/// A signature to be: what is signed of it, and what is not.
#[derive(Clone)]
pub struct Draft {
    pub version: u8,
    pub kind: u8,
    pub algorithm: u8,
    pub digest: u8,
    pub hashed: Vec<u8>,
    pub unhashed: Vec<u8>,
    /// What is added to the first bytes of the digest.
    pub start: u8,
    /// Zeros before each number.
    pub zeros: usize,
    pub tail: Vec<u8>,
}

pub const SHA256: u8 = 8;
/// 2025-01-01, when keys are made.
pub const KEY_TIME: u32 = 1_735_689_600;
/// 2026-01-01, when they sign.
pub const SIGNED: u32 = 1_767_225_600;
/// 2026-03-01, when they are revoked.
pub const REVOKED: u32 = 1_772_323_200;
pub const USER: &str = "Alice <alice@example.com>";

pub const CERTIFY: u8 = 1;
pub const SIGN: u8 = 2;
pub const ENCRYPT: u8 = 4;

impl Key {
    pub fn new(version: u8, seed: u8, created: u32) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), version, created }
    }

    /// The body of its packet.
    pub fn body(&self) -> Vec<u8> {
        let key = self.pair.public_key().as_ref();
        let start = [&[self.version], self.created.to_be_bytes().as_slice()].concat();
        let rest = if self.version == 6 {
            [&[27, 0, 0, 0, 32], key].concat()
        } else {
            let curve = [9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
            [&[22], curve.as_slice(), &[0x01, 0x07, 0x40], key].concat()
        };
        [start, rest].concat()
    }

    /// What is hashed for it.
    pub fn hashed(&self) -> Vec<u8> {
        let body = self.body();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        if self.version == 6 {
            [&[0x9b], length.as_slice(), &body].concat()
        } else {
            [&[0x99], &length[2..], &body].concat()
        }
    }

    pub fn fingerprint(&self) -> Vec<u8> {
        let algorithm = if self.version == 6 { &digest::SHA256 } else { &digest::SHA1_FOR_LEGACY_USE_ONLY };
        digest::digest(algorithm, &self.hashed()).as_ref().to_vec()
    }

    pub fn key_id(&self) -> Vec<u8> {
        let fingerprint = self.fingerprint();
        if self.version == 6 { fingerprint[..8].to_vec() } else { fingerprint[12..].to_vec() }
    }

    /// The subpacket that names it.
    pub fn issuer(&self) -> Vec<u8> {
        subpacket(33, &[&[self.version], self.fingerprint().as_slice()].concat())
    }

    /// A signature of this type at this time, with more subpackets, none of them unsigned.
    pub fn draft(&self, kind: u8, time: u32, more: &[u8]) -> Draft {
        let algorithm = if self.version == 6 { 27 } else { 22 };
        let hashed = [self.issuer().as_slice(), &subpacket(2, &time.to_be_bytes()), more].concat();
        let (version, unhashed) = (self.version, Vec::new());
        Draft { version, kind, algorithm, digest: SHA256, hashed, unhashed, start: 0, zeros: 0, tail: Vec::new() }
    }

    /// The body of the signature packet over these bytes.
    pub fn sign(&self, draft: &Draft, message: &[u8]) -> Vec<u8> {
        let wide = draft.version == 6;
        let area = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[if wide { 0 } else { 2 }..], bytes].concat()
        };
        let salt = if wide { vec![7; 16] } else { Vec::new() };
        let start = [draft.version, draft.kind, draft.algorithm, draft.digest];
        let covered = [start.as_slice(), &area(&draft.hashed)].concat();
        let length = u32::try_from(covered.len()).unwrap().to_be_bytes();
        let message = [&salt, message, &covered, &[draft.version, 0xff], &length].concat();
        let algorithm = match draft.digest {
            2 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            10 => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let hash = digest::digest(algorithm, &message);
        let signature = self.pair.sign(hash.as_ref());
        let signature = if wide {
            [&[16], salt.as_slice(), signature.as_ref()].concat()
        } else {
            signature.as_ref().chunks(32).flat_map(|half| number(half, draft.zeros)).collect()
        };
        let first = [hash.as_ref()[0].wrapping_add(draft.start), hash.as_ref()[1]];
        [covered, area(&draft.unhashed), first.to_vec(), signature, draft.tail.clone()].concat()
    }
}

/// A number without leading zeros, then with so many.
fn number(bytes: &[u8], zeros: usize) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..];
    let bits =
        (bytes.len() + zeros) * 8 - usize::try_from(if zeros > 0 { 0 } else { bytes[0].leading_zeros() }).unwrap();
    [&u16::try_from(bits).unwrap().to_be_bytes(), vec![0; zeros].as_slice(), bytes].concat()
}

/// A subpacket of fewer than 16,320 bytes; its type with 0x80 is critical.
pub fn subpacket(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() + 1;
    let mut out = if length < 192 {
        vec![u8::try_from(length).unwrap()]
    } else {
        vec![u8::try_from((length - 192) / 256 + 192).unwrap(), u8::try_from((length - 192) % 256).unwrap()]
    };
    out.push(kind);
    out.extend(body);
    out
}

/// The subpacket of key flags.
pub fn flags(flags: u8) -> Vec<u8> {
    subpacket(27, &[flags])
}

/// A primary key with one user id and these key flags.
pub fn primary(key: &Key, with: u8) -> Vec<u8> {
    let mut draft = key.draft(0x13, KEY_TIME, &flags(with));
    // gpg looks for it there
    draft.unhashed = subpacket(16, &key.key_id());
    let binding = key.sign(&draft, &[key.hashed(), user(USER)].concat());
    [packet(6, &key.body()), packet(13, USER.as_bytes()), packet(2, &binding)].concat()
}

/// What binds a subkey: by whom, with which flags, and the signature back.
pub struct Binding<'k> {
    pub by: &'k Key,
    pub flags: u8,
    pub back: Option<&'k Key>,
    pub digest: u8,
    pub hashed: Vec<u8>,
}

/// A subkey and what binds it.
pub fn bound(main: &Key, subkey: &Key, binding: &Binding<'_>, signed_back: bool) -> Vec<u8> {
    let about = [main.hashed(), subkey.hashed()].concat();
    let mut draft = main.draft(0x18, KEY_TIME, &[flags(binding.flags), binding.hashed.clone()].concat());
    draft.digest = binding.digest;
    // gpg looks for it there
    draft.unhashed = subpacket(16, &main.key_id());
    if let Some(back) = binding.back {
        let inner = subpacket(32, &back.sign(&back.draft(0x19, KEY_TIME, &[]), &about));
        if signed_back { draft.hashed.extend(inner) } else { draft.unhashed.extend(inner) }
    }
    [packet(14, &subkey.body()), packet(2, &binding.by.sign(&draft, &about))].concat()
}

/// A signature in the form of gpg: header of the old format, the key id behind the signed part, a checksum.
pub fn as_gpg(key: &Key, message: &[u8], change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = key.draft(0x00, SIGNED, &[]);
    draft.unhashed = subpacket(16, &key.key_id());
    change(&mut draft);
    armor(&old_packet(2, &key.sign(&draft, message)), true)
}

/// A packet with a header of the new format.
pub fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let mut out = vec![0xc0 | tag];
    if length < 192 {
        out.push(u8::try_from(length).unwrap());
    } else if length < 8384 {
        out.extend([u8::try_from((length - 192) / 256 + 192).unwrap(), u8::try_from((length - 192) % 256).unwrap()]);
    } else {
        out.push(255);
        out.extend(length.to_be_bytes());
    }
    [out, body.to_vec()].concat()
}

/// A packet with a header of the old format, as gpg writes it.
pub fn old_packet(tag: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[0x80 | tag << 2, length], body].concat(),
        Err(_more) => [&[0x81 | tag << 2], u16::try_from(body.len()).unwrap().to_be_bytes().as_slice(), body].concat(),
    }
}

/// What is hashed for a user id.
pub fn user(text: &str) -> Vec<u8> {
    [&[0xb4], u32::try_from(text.len()).unwrap().to_be_bytes().as_slice(), text.as_bytes()].concat()
}

/// The armour of gpg, or without checksum that of sq.
pub fn armor(bytes: &[u8], checksum: bool) -> Vec<u8> {
    let mut text = "-----BEGIN PGP SIGNATURE-----\n\n".to_owned();
    for line in STANDARD.encode(bytes).as_bytes().chunks(64) {
        text += &format!("{}\n", std::str::from_utf8(line).unwrap());
    }
    if checksum {
        let crc = bytes.iter().fold(0x00b7_04ce_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
                if crc & 0x0080_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x0186_4cfb }
            })
        });
        text += &format!("={}\n", STANDARD.encode(&crc.to_be_bytes()[1..]));
    }
    text += "-----END PGP SIGNATURE-----\n";
    text.into_bytes()
}
