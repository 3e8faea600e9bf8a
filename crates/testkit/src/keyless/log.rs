//! A transparency log: its tree, what it signs, and an entry of it as gitsign and bundles have it.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Flaw,
    certificates::{Key, sha256},
};

/// The place of the entry in the tree, and how many there are.
const PLACE: usize = 4;
const SIZE: usize = 7;
/// The place of the entry in all trees of the log.
const INDEX: u64 = 1_004;

fn pem(certificate: &[u8]) -> String {
    let digits = STANDARD.encode(certificate);
    let lines: Vec<String> =
        digits.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// An envelope that was signed, as the log has it.
pub(super) fn envelope_body(envelope: &str, payload: &[u8], signature: &[u8], certificate: &[u8]) -> String {
    let hash = |bytes: &[u8]| serde_json::json!({"algorithm": "sha256", "value": hex::encode(sha256(bytes))});
    let signed = serde_json::json!({
        "signature": STANDARD.encode(signature), "verifier": STANDARD.encode(pem(certificate)),
    });
    let spec = serde_json::json!({
        "envelopeHash": hash(envelope.as_bytes()), "payloadHash": hash(payload), "signatures": [signed],
    });
    serde_json::json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).to_string()
}

/// What was signed, as the log has it.
pub(super) fn body(signed: &[u8], signature: &[u8], certificate: &[u8]) -> String {
    let pem = pem(certificate);
    let hash = serde_json::json!({"algorithm": "sha256", "value": hex::encode(sha256(signed))});
    let key = serde_json::json!({"content": STANDARD.encode(pem)});
    let spec = serde_json::json!({
        "data": {"hash": hash}, "signature": {"content": STANDARD.encode(signature), "publicKey": key},
    });
    // Names come out in order, as in canonical JSON.
    serde_json::json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}).to_string()
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    sha256(&[&[1], left, right].concat())
}

fn root(leaves: &[Vec<u8>]) -> Vec<u8> {
    match leaves {
        [one] => one.clone(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().div_ceil(2).next_power_of_two());
            node(&root(left), &root(right))
        }
    }
}

/// The hashes beside the way from a leaf to the root, from below.
fn path(place: usize, leaves: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = leaves.len().div_ceil(2).next_power_of_two();
    let (left, right) = leaves.split_at(middle);
    let (mut below, beside) = match place.checked_sub(middle) {
        None => (path(place, left), root(right)),
        Some(place) => (path(place, right), root(left)),
    };
    below.push(beside);
    below
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(value, &mut out);
    out
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 2, &mut out);
    varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

/// Puts a field into a JSON object.
pub(super) fn put(object: &mut serde_json::Value, field: &str, value: serde_json::Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// An entry of the log, with what the log signed about it.
pub(super) struct Logged {
    kind: &'static str,
    body: String,
    log_id: Vec<u8>,
    second: u64,
    promise: Option<Vec<u8>>,
    proof: Option<Proof>,
}

struct Proof {
    root: Vec<u8>,
    hashes: Vec<Vec<u8>>,
    checkpoint: String,
}

impl Logged {
    /// The entry of a kind with this body, integrated at a second.
    pub(super) fn new(log: &Key, kind: &'static str, body: String, second: i64, flaws: &[Flaw]) -> Result<Self> {
        let has = |flaw: Flaw| flaws.contains(&flaw);
        let mut leaves: Vec<Vec<u8>> = (0..SIZE).map(|leaf| sha256(&[0, leaf as u8])).collect();
        if let Some(leaf) = leaves.get_mut(PLACE) {
            *leaf = sha256(&[&[0], body.as_bytes()].concat());
        }
        let (root, mut hashes) = (root(&leaves), path(PLACE, &leaves));
        if has(Flaw::Proof) {
            hashes.reverse();
        }
        let second = u64::try_from(second)?;
        let promised = serde_json::json!({
            "body": STANDARD.encode(&body),
            "integratedTime": if has(Flaw::Promise) { second + 1 } else { second },
            "logID": hex::encode(log.id()),
            "logIndex": INDEX,
        });
        let promise = log.sign(promised.to_string().as_bytes())?;
        let size = if has(Flaw::CheckpointSize) { SIZE + 1 } else { SIZE };
        let note = format!("rekor.example.com - 1\n{size}\n{}\n", STANDARD.encode(&root));
        let noted = if has(Flaw::Checkpoint) { note.replace("example", "sample") } else { note.clone() };
        let signature = [log.id().get(..4).unwrap_or_default(), &log.sign(noted.as_bytes())?].concat();
        let checkpoint = format!("{note}\n\u{2014} rekor.example.com {}\n", STANDARD.encode(signature));
        Ok(Self {
            kind,
            body,
            log_id: log.id(),
            second,
            promise: (!has(Flaw::NoPromise)).then_some(promise),
            proof: (!has(Flaw::NoProof)).then_some(Proof { root, hashes, checkpoint }),
        })
    }

    /// As gitsign serialises it: in protocol buffers, without its body unless that is the flaw.
    pub(super) fn to_protobuf(&self, with_body: bool) -> Vec<u8> {
        let kind = [bytes(1, self.kind.as_bytes()), bytes(2, b"0.0.1")].concat();
        let log = bytes(2, &bytes(1, &self.log_id));
        let mut out = [number(1, INDEX), log, bytes(3, &kind), number(4, self.second)].concat();
        if let Some(promise) = &self.promise {
            out.extend(bytes(5, &bytes(1, promise)));
        }
        if let Some(Proof { root, hashes, checkpoint }) = &self.proof {
            let mut proof = [number(1, PLACE as u64), bytes(2, root), number(3, SIZE as u64)].concat();
            for hash in hashes {
                proof.extend(bytes(4, hash));
            }
            proof.extend(bytes(5, &bytes(1, checkpoint.as_bytes())));
            out.extend(bytes(6, &proof));
        }
        if with_body {
            out.extend(bytes(7, self.body.as_bytes()));
        }
        out
    }

    /// As a bundle holds it.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut entry = serde_json::json!({
            "logIndex": INDEX.to_string(),
            "logId": {"keyId": STANDARD.encode(&self.log_id)},
            "kindVersion": {"kind": self.kind, "version": "0.0.1"},
            "integratedTime": self.second.to_string(),
            "canonicalizedBody": STANDARD.encode(&self.body),
        });
        if let Some(promise) = &self.promise {
            let promise = serde_json::json!({"signedEntryTimestamp": STANDARD.encode(promise)});
            put(&mut entry, "inclusionPromise", promise);
        }
        if let Some(Proof { root, hashes, checkpoint }) = &self.proof {
            let hashes: Vec<String> = hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
            let proof = serde_json::json!({
                "logIndex": PLACE.to_string(),
                "rootHash": STANDARD.encode(root),
                "treeSize": SIZE.to_string(),
                "hashes": hashes,
                "checkpoint": {"envelope": checkpoint},
            });
            put(&mut entry, "inclusionProof", proof);
        }
        entry
    }
}
