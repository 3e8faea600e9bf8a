//! A security key in software: what a token would sign, so that it needs no hardware. The keys are made at run time.

#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

pub mod certificate;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest as _, Sha256, Sha512};

pub const TOUCHED: u8 = 1;
pub const VERIFIED: u8 = 4;
pub const EXTENDED: u8 = 0x80;

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

pub struct Token {
    pair: Pair,
    pub application: Vec<u8>,
}

/// How one signature is made; each field can be wrong by itself.
#[derive(Clone)]
pub struct Use {
    pub flags: u8,
    pub counter: u32,
    /// Bytes after the counter.
    pub tail: Vec<u8>,
    /// The flags that the token signs, if others than those it shows.
    pub signed_flags: Option<u8>,
}

/// What a browser adds.
#[derive(Clone)]
pub struct Browser {
    pub origin: Vec<u8>,
    /// The challenge in the client data, if another than the message.
    pub challenge: Option<Vec<u8>>,
    pub client_data_end: Vec<u8>,
    pub extensions: Vec<u8>,
}

impl Default for Use {
    fn default() -> Self {
        Self { flags: TOUCHED, counter: 7, tail: Vec::new(), signed_flags: None }
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self {
            origin: b"https://writ.example.com".to_vec(),
            challenge: None,
            client_data_end: b",\"crossOrigin\":false}".to_vec(),
            extensions: Vec::new(),
        }
    }
}

/// What `ssh-keygen -Y sign -n NAMESPACE` lets a key sign.
pub fn sshsig_data(namespace: &str, message: &[u8]) -> Vec<u8> {
    let parts = [namespace.as_bytes(), b"", b"sha512", &Sha512::digest(message)];
    [b"SSHSIG".to_vec(), parts.map(string).concat()].concat()
}

/// A signature blob, armoured as ssh-keygen does.
pub fn armored(public_key: &[u8], namespace: &str, signature: &[u8]) -> Vec<u8> {
    let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
    for part in [public_key, namespace.as_bytes(), b"", b"sha512", signature] {
        blob.extend(string(part));
    }
    let digits = STANDARD.encode(blob);
    let lines: Vec<&str> = digits.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n")).into_bytes()
}

fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = bytes.get(start..).unwrap();
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    string(&[sign, digits].concat())
}

impl Token {
    pub fn ed25519() -> Self {
        Self { pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()), application: b"ssh:".to_vec() }
    }

    pub fn ecdsa() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair: Pair::Ecdsa(pair), application: b"ssh:".to_vec() }
    }

    pub fn with_application(self, application: &[u8]) -> Self {
        Self { application: application.to_vec(), ..self }
    }

    pub const fn type_name(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Pair::Ecdsa(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// The fields of the key, as they also stand in a certificate.
    pub fn fields(&self) -> Vec<u8> {
        let point = match &self.pair {
            Pair::Ed25519(pair) => string(pair.public_key().as_ref()),
            Pair::Ecdsa(pair) => [string(b"nistp256"), string(pair.public_key().as_ref())].concat(),
        };
        [point, string(&self.application)].concat()
    }

    pub fn blob(&self) -> Vec<u8> {
        [string(self.type_name().as_bytes()), self.fields()].concat()
    }

    /// `type base64`
    pub fn public(&self) -> String {
        format!("{} {}", self.type_name(), STANDARD.encode(self.blob()))
    }

    fn raw(&self, how: &Use, extensions: &[u8], data: &[u8]) -> Vec<u8> {
        let mut signed = Sha256::digest(&self.application).to_vec();
        signed.push(how.signed_flags.unwrap_or(how.flags));
        signed.extend(how.counter.to_be_bytes());
        signed.extend(extensions);
        signed.extend(Sha256::digest(data));
        match &self.pair {
            Pair::Ed25519(pair) => string(pair.sign(&signed).as_ref()),
            Pair::Ecdsa(pair) => {
                let fixed = pair.sign(&SystemRandom::new(), &signed).unwrap();
                let (r, s) = fixed.as_ref().split_at(32);
                string(&[number(r), number(s)].concat())
            }
        }
    }

    /// A signature in the format of the key.
    pub fn signature(&self, how: &Use, data: &[u8]) -> Vec<u8> {
        let head = string(self.type_name().as_bytes());
        [head, self.raw(how, &[], data), vec![how.flags], how.counter.to_be_bytes().to_vec(), how.tail.clone()].concat()
    }

    /// A signature as a browser has it made.
    pub fn browser_signature(&self, how: &Use, browser: &Browser, data: &[u8]) -> Vec<u8> {
        let challenge = URL_SAFE_NO_PAD.encode(browser.challenge.as_deref().unwrap_or(data));
        let mut client_data =
            format!("{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"").into_bytes();
        client_data.extend(&browser.origin);
        client_data.push(b'"');
        client_data.extend(&browser.client_data_end);
        [
            string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com"),
            self.raw(how, &browser.extensions, &client_data),
            vec![how.flags],
            how.counter.to_be_bytes().to_vec(),
            string(&browser.origin),
            string(&client_data),
            string(&browser.extensions),
            how.tail.clone(),
        ]
        .concat()
    }

    pub fn sign(&self, namespace: &str, how: &Use, message: &[u8]) -> Vec<u8> {
        let signature = self.signature(how, &sshsig_data(namespace, message));
        armored(&self.blob(), namespace, &signature)
    }
}
