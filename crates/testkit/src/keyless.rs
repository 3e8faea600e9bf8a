//! A private Sigstore without servers: an authority for accounts, a certificate log, a transparency log and a timestamp
//! authority, all made at run time; the trust root that names them; and signatures as gitsign and cosign make them, good or
//! with one thing wrong.

mod bundle;
mod certificates;
mod der;
mod log;
mod timestamp;

use std::sync::Arc;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, ToSpan as _};

pub use bundle::Blob;
use certificates::{ECDSA_WITH_SHA256, Key, Purpose, Signer, certificate, name, sha256};
use der::{explicit, integer, octets, oid, sequence, set_of, utc_time};
use log::Logged;
use timestamp::{SHA256, attribute, token};

const ROOT: &str = "root.example.com";
const INTERMEDIATE: &str = "fulcio.example.com";
/// Serial number of the certificate for timestamps.
const TIMESTAMP_SERIAL: [u8; 1] = [3];
/// For how many minutes an account has a key.
const MINUTES: i64 = 10;
/// For how many minutes the others are valid: ten years.
const YEARS: i64 = 10 * 366 * 24 * 60;

/// One `trusted_root.json` by which all that each of these vouches for is good.
pub fn joined_trusted_roots(texts: &[&str]) -> Result<String> {
    let mut all = serde_json::Map::new();
    for text in texts {
        let one: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        for (name, value) in one {
            match (all.get_mut(&name), value) {
                (Some(serde_json::Value::Array(there)), serde_json::Value::Array(more)) => {
                    let new: Vec<_> = more.into_iter().filter(|one| !there.contains(one)).collect();
                    there.extend(new);
                }
                (_, value) => _ = all.insert(name, value),
            }
        }
    }
    Ok(serde_json::Value::Object(all).to_string())
}

/// An account of an identity provider.
#[derive(Debug, Clone)]
pub struct Account {
    /// The address of the provider.
    pub issuer: String,
    /// An e-mail address or a URI.
    pub identity: String,
}

/// Something wrong with a signature, or unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The time among the signed attributes was changed after they were signed.
    Attributes,
    /// The attributes are not in the order of DER.
    Order,
    /// The certificate is in no certificate log.
    NoSct,
    /// What the certificate log promised was about another certificate.
    Sct,
    /// The certificate says nothing of an identity provider, as one for mail.
    Mail,
    /// The log did not promise when it took the entry.
    NoPromise,
    /// The log promised another time.
    Promise,
    /// There is no inclusion proof.
    NoProof,
    /// The hashes of the inclusion proof are in another order.
    Proof,
    /// The checkpoint was signed by the log of somebody else.
    Checkpoint,
    /// The checkpoint is of a tree of another size, and signed.
    CheckpointSize,
    /// The entry holds its body, which is elsewhere.
    BodyInside,
    /// The entry is for a signature of another message.
    OtherEntry,
    /// The entry was made an hour later.
    Late,
    /// There is no entry, as in online mode.
    Online,
    /// The same signer signed twice.
    TwoSigners,
    /// There is no certificate.
    NoCertificate,
    /// There is the certificate of the authority as well.
    TwoCertificates,
    /// There is a timestamp as well.
    Timestamp,
    /// There is a timestamp as well, over something else.
    OtherTimestamp,
    /// The message is inside.
    Attached,
    /// The digest is said to be SHA-1.
    Sha1,
    /// The bundle is one of the version before.
    OldBundle,
    /// The bundle holds its log entry twice.
    TwoEntries,
}

/// The private Sigstore.
#[derive(Clone)]
pub struct Sigstore {
    root: Arc<Key>,
    intermediate: Arc<Key>,
    certificate_log: Arc<Key>,
    log: Arc<Key>,
    timestamps: Arc<Key>,
    begin: Timestamp,
}

impl Sigstore {
    /// A new one that begins at a time.
    pub fn generate(begin: Timestamp) -> Result<Self> {
        Ok(Self {
            root: Arc::new(Key::generate()?),
            intermediate: Arc::new(Key::generate()?),
            certificate_log: Arc::new(Key::generate()?),
            log: Arc::new(Key::generate()?),
            timestamps: Arc::new(Key::generate()?),
            begin,
        })
    }

    /// One with the same logs, and another authority.
    pub fn with_another_authority(&self) -> Result<Self> {
        let (root, intermediate) = (Arc::new(Key::generate()?), Arc::new(Key::generate()?));
        Ok(Self { root, intermediate, ..self.clone() })
    }

    /// Its `trusted_root.json`.
    pub fn trusted_root(&self) -> Result<String> {
        let raw = |bytes: &[u8]| serde_json::json!({"rawBytes": STANDARD.encode(bytes)});
        let begins = serde_json::json!({"start": self.begin.to_string()});
        let by = Signer { name: ROOT, key: &self.root };
        let made = |subject: &str, serial: &[u8], key: &Key, purpose: &Purpose<'_>| {
            certificate(&by, (subject, serial, &key.public()), purpose, (self.begin, YEARS)).map(|bytes| raw(&bytes))
        };
        let root = made(ROOT, &[1], &self.root, &Purpose::Authority)?;
        let chain = serde_json::json!({
            "certificates": [made(INTERMEDIATE, &[2], &self.intermediate, &Purpose::Authority)?, root],
        });
        let stamps = made("tsa.example.com", &TIMESTAMP_SERIAL, &self.timestamps, &Purpose::Timestamps)?;
        let log = |address: &str, key: &Key| {
            serde_json::json!({
                "baseUrl": address,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.public()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": begins,
                },
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        let authority = |address: &str, chain: serde_json::Value| {
            serde_json::json!({
                "subject": {"organization": "example.com", "commonName": "example"},
                "uri": address,
                "certChain": chain,
                "validFor": begins,
            })
        };
        let stamped = serde_json::json!({"certificates": [stamps, root]});
        let whole = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.example.com", &self.log)],
            "certificateAuthorities": [authority("https://fulcio.example.com", chain)],
            "ctlogs": [log("https://ct.example.com", &self.certificate_log)],
            "timestampAuthorities": [authority("https://tsa.example.com", stamped)],
        });
        Ok(whole.to_string())
    }

    /// What gitsign writes for a message that an account signs at a time: the armour of [`Self::message`].
    pub fn sign(&self, message: &[u8], account: &Account, at: Timestamp, flaws: &[Flaw]) -> Result<String> {
        let digits = STANDARD.encode(self.message(message, account, at, flaws)?);
        let mut text = String::from("-----BEGIN SIGNED MESSAGE-----\n");
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                text.push('\n');
            }
            text.push(digit);
        }
        text.push_str("\n-----END SIGNED MESSAGE-----\n");
        Ok(text)
    }

    /// The CMS message of such a signature.
    pub fn message(&self, message: &[u8], account: &Account, at: Timestamp, flaws: &[Flaw]) -> Result<Vec<u8>> {
        let has = |flaw: Flaw| flaws.contains(&flaw);
        let key = Key::generate()?;
        let serial = sha256(&key.public());
        let serial = serial.get(..16).unwrap_or_default();
        let leaf = self.leaf(&key, serial, account, at, flaws)?;
        let signed = |second: Timestamp| {
            let mut all = vec![
                attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.7.1")),
                attribute("1.2.840.113549.1.9.5", utc_time(second)),
                attribute("1.2.840.113549.1.9.4", octets(&sha256(message))),
            ];
            if has(Flaw::Order) {
                all.sort();
                all.reverse();
                return der::tlv(0x31, &[&all.concat()]);
            }
            set_of(all)
        };
        let attributes = signed(at);
        let signature = key.sign(&attributes)?;
        let unsigned = self.unsigned(&attributes, &signature, &leaf, at, flaws)?;
        let shown = if has(Flaw::Attributes) { signed(at.checked_add(1.second())?) } else { attributes };
        let retagged = |tag: u8, set: &[u8]| [&[tag], set.get(1..).unwrap_or_default()].concat();
        let digest = sequence(&[&oid(if has(Flaw::Sha1) { "1.3.14.3.2.26" } else { SHA256 })]);
        let unsigned = if unsigned.is_empty() { Vec::new() } else { retagged(0xa1, &set_of(unsigned)) };
        let signer = |signature: &[u8]| {
            sequence(&[
                &integer(&[1]),
                &sequence(&[&name(INTERMEDIATE), &integer(serial)]),
                &digest,
                &retagged(0xa0, &shown),
                &sequence(&[&oid(ECDSA_WITH_SHA256)]),
                &octets(signature),
                &unsigned,
            ])
        };
        let mut signers = vec![signer(&signature)];
        if has(Flaw::TwoSigners) {
            signers.push(signer(&key.sign(&shown)?));
        }
        let mut certificates = if has(Flaw::NoCertificate) { Vec::new() } else { vec![leaf] };
        if has(Flaw::TwoCertificates) {
            let by = Signer { name: ROOT, key: &self.root };
            let public = self.intermediate.public();
            certificates.push(certificate(
                &by,
                (INTERMEDIATE, &[2], &public),
                &Purpose::Authority,
                (self.begin, YEARS),
            )?);
        }
        let content = if has(Flaw::Attached) { explicit(0, &[&octets(message)]) } else { Vec::new() };
        let data = sequence(&[
            &integer(&[1]),
            &set_of(vec![digest.clone()]),
            &sequence(&[&oid("1.2.840.113549.1.7.1"), &content]),
            &retagged(0xa0, &set_of(certificates)),
            &set_of(signers),
        ]);
        Ok(sequence(&[&oid("1.2.840.113549.1.7.2"), &explicit(0, &[&data])]))
    }

    fn leaf(&self, key: &Key, serial: &[u8], account: &Account, at: Timestamp, flaws: &[Flaw]) -> Result<Vec<u8>> {
        let has = |flaw: Flaw| flaws.contains(&flaw);
        let stranger = Key::generate()?;
        let promised = match (has(Flaw::NoSct), has(Flaw::Sct)) {
            (true, _) => None,
            (_, true) => Some(&stranger),
            _ => Some(&*self.certificate_log),
        };
        let purpose = Purpose::Account(account, promised, !has(Flaw::Mail));
        let by = Signer { name: INTERMEDIATE, key: &self.intermediate };
        certificate(&by, ("", serial, &key.public()), &purpose, (at, MINUTES))
    }

    fn unsigned(
        &self,
        signed: &[u8],
        signature: &[u8],
        leaf: &[u8],
        at: Timestamp,
        flaws: &[Flaw],
    ) -> Result<Vec<Vec<u8>>> {
        let has = |flaw: Flaw| flaws.contains(&flaw);
        let mut attributes = Vec::new();
        if !has(Flaw::Online) {
            let logged = if has(Flaw::OtherEntry) { b"other".as_slice() } else { signed };
            let second = at.as_second() + if has(Flaw::Late) { 3_600 } else { 1 };
            let entry = Logged::new(&self.log, "hashedrekord", log::body(logged, signature, leaf), second, flaws)?;
            let entry = entry.to_protobuf(has(Flaw::BodyInside));
            attributes.push(attribute("1.3.6.1.4.1.57264.3.1", octets(&entry)));
        }
        if let Some(token) = self.stamp(signature, at, flaws)? {
            attributes.push(attribute("1.2.840.113549.1.9.16.2.14", token));
        }
        Ok(attributes)
    }

    fn stamp(&self, signature: &[u8], at: Timestamp, flaws: &[Flaw]) -> Result<Option<Vec<u8>>> {
        let stamped = match (flaws.contains(&Flaw::Timestamp), flaws.contains(&Flaw::OtherTimestamp)) {
            (_, true) => b"other".as_slice(),
            (true, false) => signature,
            (false, false) => return Ok(None),
        };
        token(&self.timestamps, (ROOT, &TIMESTAMP_SERIAL), stamped, at.checked_add(2.seconds())?).map(Some)
    }
}
