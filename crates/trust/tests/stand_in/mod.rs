//! A stand-in for the verifier of keyless signatures, which is that of the crate `evidence`, and a repository in which bob
//! has an account.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Digest;
use trust::{Bundled, KeylessError, KeylessIdentity, KeylessSignature, KeylessVerifier};

use super::memory::{World, at, person, policy};

pub(crate) const ISSUER: &str = "https://accounts.example.com";
pub(crate) const BOB: &str = "bob@example.com";

/// A "message" is issuer, identity, second, digest of what is signed, and what is wrong with it, in lines.
#[derive(Debug)]
pub(crate) struct StandIn(u8);

fn parts(cms: &[u8]) -> Option<(KeylessSignature, String, String)> {
    let lines: Vec<&str> = std::str::from_utf8(cms).ok()?.lines().collect();
    let [issuer, identity, second, digest, wrong] = lines.as_slice() else { return None };
    let signer = KeylessIdentity { issuer: (*issuer).to_owned(), identity: (*identity).to_owned() };
    let time = at(second.parse().ok()?);
    Some((KeylessSignature { signer, time }, (*digest).to_owned(), (*wrong).to_owned()))
}

impl KeylessVerifier for StandIn {
    fn verify(&self, cms: &[u8], message: &[u8]) -> Result<KeylessSignature, KeylessError> {
        let (signature, digest, wrong) = parts(cms).ok_or_else(|| KeylessError::Malformed("no lines".to_owned()))?;
        match wrong.as_str() {
            "online" => Err(KeylessError::NoTime("no log entry".to_owned())),
            "chain" => Err(KeylessError::Untrusted("another root".to_owned())),
            "rsa" => Err(KeylessError::Weak("an RSA key".to_owned())),
            "smime" => Err(KeylessError::NotSupported("S/MIME".to_owned())),
            _ if digest != Digest::of(message).to_string() => Err(KeylessError::Mismatch("other bytes".to_owned())),
            _ => Ok(signature),
        }
    }

    /// As if it were a message, in the field `cms` of JSON.
    fn verify_bundle(&self, bundle: &[u8], about: Bundled<'_>) -> Result<KeylessSignature, KeylessError> {
        let text: serde_json::Value =
            serde_json::from_slice(bundle).map_err(|_| KeylessError::Bundle("no JSON".to_owned()))?;
        let (Bundled::Message(message) | Bundled::Statement(message)) = about;
        self.verify(text["cms"].as_str().unwrap_or_default().as_bytes(), message)
    }

    fn claimed(&self, cms: &[u8]) -> Option<KeylessIdentity> {
        parts(cms).map(|(signature, ..)| signature.signer)
    }

    fn basis(&self) -> [u8; 32] {
        [self.0; 32]
    }
}

pub(crate) static GOOD: StandIn = StandIn(1);
pub(crate) static OTHER: StandIn = StandIn(2);

pub(crate) fn armor(text: &str) -> String {
    let digits = STANDARD.encode(text);
    let lines: Vec<&str> = digits.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SIGNED MESSAGE-----\n{}\n-----END SIGNED MESSAGE-----\n", lines.join("\n"))
}

/// The trust file in which bob has an account instead of an SSH key.
pub(crate) fn with_bob(version: u64, more: &str, edits: &[(&str, &str)]) -> String {
    let ssh = format!("{{ssh: \"{}\"}}", person("bob").public());
    let account = format!("{{keyless: {{issuer: \"{ISSUER}\", identity: \"{BOB}\"}}{more}}}");
    policy(version, &[&[(ssh.as_str(), account.as_str())], edits].concat())
}

pub(crate) fn world(more: &str, edits: &[(&str, &str)]) -> World {
    let mut world = World::with(&with_bob(1, more, edits));
    world.keyless = Some(&GOOD);
    world
}
