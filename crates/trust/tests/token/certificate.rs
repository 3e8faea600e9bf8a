//! Certificates, whatever an authority may sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::string;

/// A certificate by its fields, so that each can be changed by itself and signed all the same.
#[derive(Clone)]
pub struct Fields {
    pub name: &'static str,
    pub key: Vec<u8>,
    pub serial: u64,
    pub kind: u32,
    pub key_id: Vec<u8>,
    pub principals: Vec<u8>,
    pub window: [u64; 2],
    pub critical: Vec<u8>,
    pub extensions: Vec<u8>,
    pub reserved: Vec<u8>,
    pub authority: Vec<u8>,
    pub tail: Vec<u8>,
    /// Bytes that are changed after the authority signed.
    pub forge: fn(&mut Vec<u8>),
}

pub const PLAIN: &str = "ssh-ed25519-cert-v01@openssh.com";

pub fn plain_blob(pair: &Ed25519KeyPair) -> Vec<u8> {
    [string(b"ssh-ed25519"), string(pair.public_key().as_ref())].concat()
}

pub fn plain_signature(pair: &Ed25519KeyPair, data: &[u8]) -> Vec<u8> {
    [string(b"ssh-ed25519"), string(pair.sign(data).as_ref())].concat()
}

impl Fields {
    /// Good for a minute from the time of commits.
    pub fn of(key: Vec<u8>, authority: Vec<u8>, principal: &str) -> Self {
        let start = 1_767_225_600;
        Self {
            name: PLAIN,
            key,
            serial: 5,
            kind: 1,
            key_id: b"laptop".to_vec(),
            principals: string(principal.as_bytes()),
            window: [start, start + 60],
            critical: Vec::new(),
            extensions: [b"permit-pty".as_slice(), b"", b"x@example.com", b"1"].map(string).concat(),
            reserved: Vec::new(),
            authority,
            tail: Vec::new(),
            forge: |_| {},
        }
    }

    pub fn blob(&self, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut blob = [string(self.name.as_bytes()), string(&[7; 32]), self.key.clone()].concat();
        blob.extend(self.serial.to_be_bytes());
        blob.extend(self.kind.to_be_bytes());
        blob.extend([string(&self.key_id), string(&self.principals)].concat());
        blob.extend(self.window.map(u64::to_be_bytes).concat());
        for field in [&self.critical, &self.extensions, &self.reserved, &self.authority] {
            blob.extend(string(field));
        }
        let signature = sign(&blob);
        (self.forge)(&mut blob);
        [blob, string(&signature), self.tail.clone()].concat()
    }
}
