//! A transparency log: its tree, what it signs, and an entry of it as gitsign serialises it.

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

/// What was signed, as the log has it.
pub(super) fn body(signed: &[u8], signature: &[u8], certificate: &[u8]) -> String {
    let digits = STANDARD.encode(certificate);
    let lines: Vec<String> =
        digits.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
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

/// The entry for this body, integrated at a second.
pub(super) fn entry(log: &Key, body: &str, second: i64, flaws: &[Flaw]) -> Result<Vec<u8>> {
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
        "body": STANDARD.encode(body),
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
    let mut proof = [number(1, PLACE as u64), bytes(2, &root), number(3, SIZE as u64)].concat();
    for hash in &hashes {
        proof.extend(bytes(4, hash));
    }
    proof.extend(bytes(5, &bytes(1, checkpoint.as_bytes())));
    let kind = [bytes(1, b"hashedrekord"), bytes(2, b"0.0.1")].concat();
    let mut out = [number(1, INDEX), bytes(2, &bytes(1, &log.id())), bytes(3, &kind), number(4, second)].concat();
    if !has(Flaw::NoPromise) {
        out.extend(bytes(5, &bytes(1, &promise)));
    }
    if !has(Flaw::NoProof) {
        out.extend(bytes(6, &proof));
    }
    if has(Flaw::BodyInside) {
        out.extend(bytes(7, body.as_bytes()));
    }
    Ok(out)
}
