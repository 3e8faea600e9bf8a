//! YAML to the types of certificates: authorities, the names they give, and revocations of what they issued.

use std::collections::BTreeMap;

use manifest::{Node, NodeValue};

use super::{Authority, CertifiedName, Principal, Revocation, Revoked, read_user, reader::Reader};
use crate::{Crypto, PublicKey, ssh::matches_list};

/// Fields that only a principal of kind `ca` has.
pub(super) const FIELDS: [&str; 3] = ["key", "principals", "maxValidity"];

/// Longest validity of a certificate: a year, after which a key would do as well.
const MAX_VALIDITY: u64 = 366 * 86_400;
/// Most bytes of a pattern or a name: as in certificates.
const MAX_NAME_BYTES: usize = 512;

/// Reads a principal of kind `ca`.
pub(super) fn authority(reader: &mut Reader, node: &Node, what: &str, crypto: Option<&Crypto>) -> Option<Authority> {
    if let Some(keys) = node.get("keys") {
        reader.wrong(keys.position, format!("{what} is of kind ca and has keys"), "its one key as `key`");
    }
    let key = authority_key(reader, node, what, crypto);
    let mut patterns: Vec<&str> = Vec::new();
    if let Some(list) = reader.required(node, what, "principals") {
        for item in reader.list(list, &format!("principals of {what}")) {
            let Some(text) = reader.text(item, "a pattern") else { continue };
            if is_name(text) {
                patterns.push(text);
            } else {
                reader.wrong(item.position, format!("{text:?} is no pattern"), "a pattern such as \"*@example.com\"");
            }
        }
    }
    let max_validity = reader.required(node, what, "maxValidity").and_then(|node| duration(reader, node));
    Some(Authority { key: key?, principals: patterns.join(","), max_validity: max_validity? })
}

fn authority_key(reader: &mut Reader, node: &Node, what: &str, crypto: Option<&Crypto>) -> Option<PublicKey> {
    let key = reader.required(node, what, "key")?;
    match PublicKey::parse(reader.text(key, "key")?) {
        Ok(parsed) => {
            if let Some(Err(weak)) = crypto.map(|crypto| crypto.check_key(&parsed)) {
                reader.wrong(key.position, weak.to_string(), "a key that `crypto` allows");
            }
            Some(parsed)
        }
        Err(error) => {
            reader.wrong(key.position, error.to_string(), "a public key such as \"ssh-ed25519 AAAA…\"");
            None
        }
    }
}

/// Refuses the fields of kind `ca` where they are none.
pub(super) fn refuse_fields(reader: &mut Reader, node: &Node, what: &str) {
    for field in FIELDS {
        if let Some(value) = node.get(field) {
            reader.wrong(value.position, format!("{what} has {field} and is not of kind ca"), "kind: ca, or keys");
        }
    }
}

/// Reads `{sshCertificate: {ca: …, principal: …}}` among the keys of a principal.
pub(super) fn certified_name(reader: &mut Reader, node: &Node, what: &str) -> Option<CertifiedName> {
    let what = format!("a certificate of {what}");
    reader.fields(node, &what, &["sshCertificate", "notAfter", "userPresence", "userVerification"], &[])?;
    let not_after = match node.get("notAfter") {
        Some(value) => Some(reader.instant(value, "notAfter")?),
        None => None,
    };
    let user = read_user::read(reader, node)?;
    let inner = reader.required(node, &what, "sshCertificate")?;
    reader.fields(inner, &what, &["ca", "principal"], &[])?;
    let ca = reader.required(inner, &what, "ca").and_then(|ca| reader.name(ca, "ca"))?;
    let principal = reader.required_text(inner, &what, "principal")?;
    if !is_name(principal) || principal.contains(['*', '?', '!']) {
        let found = format!("principal {:?} is no name", principal.chars().take(80).collect::<String>());
        reader.wrong(inner.position, found, "one exact principal such as \"carol@example.com\"");
        return None;
    }
    Some(CertifiedName { ca, principal: principal.to_owned(), not_after, user })
}

/// What authorities and certified names mean together: each name is of an authority that may give it, and of one
/// principal.
pub(super) fn check_names(
    reader: &mut Reader,
    node: &Node,
    principals: &BTreeMap<String, Principal>,
    authorities: &BTreeMap<String, Authority>,
) {
    let mut holders = BTreeMap::new();
    for (name, principal) in principals {
        let at = node.get(name).map_or(node.position, |node| node.position);
        for claim in &principal.certificates {
            let CertifiedName { ca, principal: called, .. } = claim;
            match authorities.get(ca) {
                None if is_authority(node, ca) => {}
                None => {
                    reader.wrong(at, format!("principal {name} names the authority {ca}"), "a principal of kind ca");
                }
                Some(authority) if !matches_list(&authority.principals, called) => {
                    let found = format!("principal {name} is called {called}, which {ca} may not certify");
                    reader.wrong(at, found, &format!("a name that matches {}", authority.principals));
                }
                Some(_) => {}
            }
            if let Some(holder) = holders.insert((ca, called), name) {
                let found = format!("{called} of {ca} is {holder} and also {name}");
                reader.wrong(at, found, "each name once, in one principal");
            }
        }
    }
}

/// Reads `{ca: …, serial: …}` or `{ca: …, keyId: …}`.
pub(super) fn revocation(reader: &mut Reader, node: &Node) -> Option<Revoked> {
    let ca = reader.required(node, "a revocation", "ca").and_then(|ca| reader.name(ca, "ca"))?;
    match (node.get("serial"), node.get("keyId"), node.get("key").or_else(|| node.get("payload"))) {
        (Some(serial), None, None) => {
            let range = serials(serial);
            if range.is_none() {
                let needed = "a whole number from 1, or two in quotes with `-` between them: \"10-19\"";
                reader.wrong(serial.position, "serial is none".to_owned(), needed);
            }
            range.map(|(from, to)| Revoked::Serials { ca, from, to })
        }
        (None, Some(key_id), None) => {
            let key_id = reader.text(key_id, "keyId")?.to_owned();
            Some(Revoked::KeyId { ca, key_id })
        }
        _ => {
            let found = "a revocation of certificates needs one of serial and keyId".to_owned();
            reader.wrong(node.position, found, "exactly one, beside ca");
            None
        }
    }
}

/// Whether the authorities that revocations name are there: a name that is misspelt would revoke nothing.
pub(super) fn check_revocations(
    reader: &mut Reader,
    principals: &Node,
    node: &Node,
    revoked: &BTreeMap<Revoked, Revocation>,
    authorities: &BTreeMap<String, Authority>,
) {
    for what in revoked.keys() {
        if let Revoked::Serials { ca, .. } | Revoked::KeyId { ca, .. } = what
            && !authorities.contains_key(ca)
            && !is_authority(principals, ca)
        {
            let needed = "a principal of kind ca; to give up an authority, revoke its key and leave it there";
            reader.wrong(node.position, format!("{what} is revoked and {ca} is not there"), needed);
        }
    }
}

/// Whether the file has an authority of this name, even if there are mistakes in it.
fn is_authority(principals: &Node, name: &str) -> bool {
    principals.get(name).and_then(|node| node.get("kind")).and_then(Node::as_str) == Some("ca")
}

/// `7`, `"7"` or `"7-9"`. 0 is what certificates without a number have.
fn serials(node: &Node) -> Option<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|one| *one > 0 && one.to_string() == text);
    let (from, to) = match &node.value {
        NodeValue::Int(one) => {
            let one = u64::try_from(*one).ok()?;
            (one, one)
        }
        _ => match node.as_str()?.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(node.as_str()?)?, number(node.as_str()?)?),
        },
    };
    (1..=to).contains(&from).then_some((from, to))
}

/// A time such as `24h`, in seconds.
fn duration(reader: &mut Reader, node: &Node) -> Option<u64> {
    let text = reader.text(node, "maxValidity")?;
    let seconds = || {
        let unit = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            _ => return None,
        };
        let digits = text.get(..text.len().checked_sub(1)?)?;
        let count = digits.parse::<u64>().ok().filter(|count| count.to_string() == digits)?;
        count.checked_mul(unit).filter(|seconds| (1..=MAX_VALIDITY).contains(seconds))
    };
    let seconds = seconds();
    if seconds.is_none() {
        let found = format!("maxValidity is {:?}", text.chars().take(80).collect::<String>());
        reader.wrong(node.position, found, "a time such as \"24h\" (s, m, h or d), at most 366d");
    }
    seconds
}

/// What can stand in a list of OpenSSH.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text != "!" && !text.chars().any(|one| one.is_control() || matches!(one, ',' | ' '))
}
