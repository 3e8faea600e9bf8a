//! The signature blob (PROTOCOL.sshsig), canonical or refused.

use sha2::{Digest as _, Sha256, Sha512};

use super::{
    HashAlgorithm,
    key_signature::KeySignature,
    wire::{Malformed, Reader, put_string},
};

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;

/// The parts of a blob, none of them judged but in form.
pub(super) struct Blob<'a> {
    pub(super) public_key: &'a [u8],
    pub(super) namespace: &'a [u8],
    pub(super) hash: &'a [u8],
    pub(super) signature: KeySignature<'a>,
}

impl<'a> Blob<'a> {
    /// Splits a blob. The reserved field must be empty: OpenSSH signs an empty one whatever the blob says, so its
    /// content would be covered by nothing.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
            return Err(Malformed);
        }
        let public_key = reader.string()?;
        let namespace = reader.string()?;
        if !reader.string()?.is_empty() {
            return Err(Malformed);
        }
        let hash = reader.string()?;
        let signature = KeySignature::parse(reader.string()?)?;
        reader.end()?;
        Ok(Self { public_key, namespace, hash, signature })
    }
}

/// The bytes that the key signed.
pub(super) fn signed_bytes(namespace: &str, hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_string(&mut out, namespace.as_bytes());
    put_string(&mut out, b"");
    put_string(&mut out, hash.as_str().as_bytes());
    match hash {
        HashAlgorithm::Sha256 => put_string(&mut out, &Sha256::digest(message)),
        HashAlgorithm::Sha512 => put_string(&mut out, &Sha512::digest(message)),
    }
    out
}
