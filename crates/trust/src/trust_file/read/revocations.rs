//! What a trust file revokes.

use std::collections::BTreeMap;

use manifest::Node;

use super::super::{Revocation, Revoked, read_authority, reader::Reader};
use crate::{FingerprintError, KeyFingerprint};

pub(super) fn read(reader: &mut Reader, node: &Node) -> Option<BTreeMap<Revoked, Revocation>> {
    if node.items().is_empty() && matches!(node.value, manifest::NodeValue::Sequence(_)) {
        return Some(BTreeMap::new());
    }
    let mut revoked = BTreeMap::new();
    for item in reader.list(node, "revoked") {
        let Some((what, revocation)) = read_one(reader, item) else { continue };
        if revoked.contains_key(&what) {
            reader.wrong(item.position, format!("{what} is revoked twice"), "each once");
        }
        revoked.insert(what, revocation);
    }
    Some(revoked)
}

fn read_one(reader: &mut Reader, node: &Node) -> Option<(Revoked, Revocation)> {
    reader.fields(
        node,
        "a revocation",
        &["key", "payload", "ca", "serial", "keyId", "kind", "after", "reason"],
        &[],
    )?;
    let reason = match node.get("reason") {
        Some(reason) => reader.text(reason, "reason")?.to_owned(),
        None => "no reason given".to_owned(),
    };
    let is_soft = match node.get("kind").map(|kind| (kind.position, kind.as_str())) {
        Some((_, Some("hard"))) => false,
        Some((_, Some("soft"))) if node.get("key").is_some() => true,
        Some((at, Some("soft"))) => {
            reader.wrong(at, "only a key is revoked softly".to_owned(), "kind: hard, or none");
            return None;
        }
        None if node.get("payload").is_some() || node.get("ca").is_some() => false,
        Some((at, _)) => {
            reader.wrong(at, "kind of a revocation is unknown".to_owned(), "hard or soft");
            return None;
        }
        None => {
            reader.wrong(node.position, "the revocation of a key has no kind".to_owned(), "kind: hard or soft");
            return None;
        }
    };
    let after = match (node.get("after"), is_soft) {
        (Some(value), true) => {
            let after = reader.text(value, "after")?.parse().ok();
            if after.is_none() {
                reader.wrong(
                    value.position,
                    "after is no commit".to_owned(),
                    "the full id of a commit of the mainline",
                );
            }
            Some(after?)
        }
        (None, false) => None,
        (Some(value), false) => {
            reader.wrong(value.position, "after is for soft revocations".to_owned(), "kind: soft, or no after");
            return None;
        }
        (None, true) => {
            reader.wrong(node.position, "a soft revocation has no after".to_owned(), "the last commit that stays good");
            return None;
        }
    };
    let what = read_what(reader, node)?;
    Some((what, Revocation { reason, after, place: node.position }))
}

fn read_what(reader: &mut Reader, node: &Node) -> Option<Revoked> {
    if ["ca", "serial", "keyId"].iter().any(|field| node.get(field).is_some()) {
        return read_authority::revocation(reader, node);
    }
    match (node.get("key"), node.get("payload")) {
        (Some(key), None) => match reader.text(key, "key")?.parse() {
            Ok(key) => {
                let key: KeyFingerprint = key;
                Some(key.into())
            }
            Err(error) => {
                let error: FingerprintError = error;
                reader.wrong(key.position, error.to_string(), "a fingerprint such as \"SHA256:…\"");
                None
            }
        },
        (None, Some(payload)) => {
            let text = reader.text(payload, "payload")?;
            let digest = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
            if digest.is_none() {
                reader.wrong(payload.position, "payload is no digest".to_owned(), "\"sha256:\" and 64 hex digits");
            }
            Some(Revoked::Payload(digest?))
        }
        _ => {
            reader.wrong(node.position, "a revocation needs one of key and payload".to_owned(), "exactly one");
            None
        }
    }
}
