//! Sigstore bundles, as `cosign sign-blob` and `cosign attest-blob --statement` write them.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Account, Flaw, Sigstore,
    certificates::{Key, sha256},
    log::{self, Logged, put},
};

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Blob<'a> {
    /// These bytes.
    Message(&'a [u8]),
    /// A statement, in an envelope.
    Statement(&'a [u8]),
}

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

impl Sigstore {
    /// The bundle around what an account signs at a time.
    pub fn bundle(&self, blob: Blob<'_>, account: &Account, at: Timestamp, flaws: &[Flaw]) -> Result<String> {
        let has = |flaw: Flaw| flaws.contains(&flaw);
        let key = Key::generate()?;
        let serial = sha256(&key.public());
        let leaf = self.leaf(&key, serial.get(..16).unwrap_or_default(), account, at, flaws)?;
        let second = at.as_second() + if has(Flaw::Late) { 3_600 } else { 1 };
        let other = |bytes: &[u8]| if has(Flaw::OtherEntry) { b"other".to_vec() } else { bytes.to_vec() };
        let (signature, field, content, logged) = match blob {
            Blob::Message(message) => {
                let signature = key.sign(message)?;
                let algorithm = if has(Flaw::Sha1) { "SHA2_512" } else { "SHA2_256" };
                let content = json!({
                    "messageDigest": {"algorithm": algorithm, "digest": STANDARD.encode(sha256(message))},
                    "signature": STANDARD.encode(&signature),
                });
                let body = log::body(&other(message), &signature, &leaf);
                let logged = Logged::new(&self.log, "hashedrekord", body, second, flaws)?;
                (signature, "messageSignature", content, logged)
            }
            Blob::Statement(payload) => {
                let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
                let signature = key.sign(&[head.as_bytes(), payload].concat())?;
                let envelope = json!({
                    "payload": STANDARD.encode(payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": STANDARD.encode(&signature)}],
                });
                let body = log::envelope_body(&envelope.to_string(), &other(payload), &signature, &leaf);
                let logged = Logged::new(&self.log, "dsse", body, second, flaws)?;
                (signature, "dsseEnvelope", envelope, logged)
            }
        };
        let entries = match (has(Flaw::Online), has(Flaw::TwoEntries)) {
            (true, _) => Vec::new(),
            (false, false) => vec![logged.to_json()],
            (false, true) => vec![logged.to_json(), logged.to_json()],
        };
        let raw = json!({"rawBytes": STANDARD.encode(leaf)});
        let (kind, certificate) = if has(Flaw::OldBundle) {
            let kind = "application/vnd.dev.sigstore.bundle+json;version=0.2";
            (kind, json!({"x509CertificateChain": {"certificates": [raw]}}))
        } else {
            ("application/vnd.dev.sigstore.bundle.v0.3+json", json!({"certificate": raw}))
        };
        let mut material = certificate;
        put(&mut material, "tlogEntries", Value::Array(entries));
        if let Some(token) = self.stamp(&signature, at, flaws)? {
            let token = json!({"signedTimestamp": STANDARD.encode(token)});
            put(&mut material, "timestampVerificationData", json!({"rfc3161Timestamps": [token]}));
        }
        let mut bundle = json!({"mediaType": kind, "verificationMaterial": material});
        put(&mut bundle, field, content);
        Ok(bundle.to_string())
    }
}
