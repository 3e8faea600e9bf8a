//! YAML to types.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use manifest::{Digest, Document, Finding, Node, Position, RepoPath, Subject, parse_yaml};

use super::{
    Ancestry, CERTIFICATES, MAX_TRUST_FILE_BYTES, PinnedCertificate, Places, Principal, PrincipalKey, PrincipalKind,
    Revoked, RoleThreshold, Rule, TrustFile, reader::Reader, trust_file_path,
};
use crate::{
    Crypto, KeyFingerprint, PublicKey, TrustCode,
    branch::check_branch,
    glob::PathPattern,
    kinds::{KindPattern, KindPatterns},
};

/// Largest version: what the log and every JSON reader keep exact, 2^53 − 1.
const MAX_VERSION: u64 = (1 << 53) - 1;
const START: Position = Position { line: 1, column: 1 };

/// Reads the form of a trust file.
pub(super) fn read(bytes: &[u8]) -> Result<TrustFile, Vec<Finding>> {
    let mut reader = Reader::new();
    if bytes.len() > MAX_TRUST_FILE_BYTES {
        reader.wrong(START, format!("{} bytes", bytes.len()), &format!("at most {MAX_TRUST_FILE_BYTES} bytes"));
        return Err(reader.into_findings());
    }
    let documents = parse_yaml(&trust_file_path(), bytes).map_err(|finding| vec![as_trust_finding(finding)])?;
    let [Document { root, .. }] = documents.as_slice() else {
        reader.wrong(START, format!("{} documents", documents.len()), "one document");
        return Err(reader.into_findings());
    };
    let file = read_root(&mut reader, root, Digest::of(bytes));
    match file {
        Some(file) if reader.is_clean() => Ok(file),
        _ => Err(reader.into_findings()),
    }
}

/// What the YAML reader refuses is refused as a trust file, with the reader's own code in the text.
fn as_trust_finding(finding: Finding) -> Finding {
    let subject = match finding.subject {
        Subject::Path { line: None, .. } => Subject::Path { path: trust_file_path(), line: Some(1), column: Some(1) },
        other => other,
    };
    let found = format!("{} ({} {})", finding.found, finding.code.code, finding.code.reason);
    Finding { code: TrustCode::W502.entry(), subject, found, ..finding }
}

fn read_root(reader: &mut Reader, root: &Node, digest: Digest) -> Option<TrustFile> {
    const FIELDS: &[&str] = &[
        "apiVersion",
        "kind",
        "repoId",
        "ref",
        "version",
        "expires",
        "principals",
        "roles",
        "rules",
        "history",
        "revoked",
        "crypto",
    ];
    let what = "the trust file";
    reader.fields(root, what, FIELDS, &[])?;
    for (field, wanted) in [("apiVersion", "writ.dev/v1alpha1"), ("kind", "TrustPolicy")] {
        if let Some(node) = reader.required(root, what, field)
            && node.as_str() != Some(wanted)
        {
            reader.wrong(node.position, format!("{field} is not {wanted}"), wanted);
        }
    }
    let crypto = root.get("crypto").map_or_else(|| Some(Crypto::default()), |node| read_crypto(reader, node));
    let repo_id = reader.required_text(root, what, "repoId").map(str::to_owned);
    let git_ref = reader.required_text(root, what, "ref").map(str::to_owned);
    if let (Some(node), Some(Err(reason))) = (root.get("ref"), git_ref.as_deref().map(check_branch)) {
        reader.wrong(node.position, format!("ref: {reason}"), "a branch such as refs/heads/main");
    }
    let version = reader.required(root, what, "version").and_then(|node| reader.number(node, "version", MAX_VERSION));
    let expires = reader.required(root, what, "expires").and_then(|node| reader.instant(node, "expires"));
    let principals =
        reader.required(root, what, "principals").map(|node| read_principals(reader, node, crypto.as_ref()));
    let known: BTreeSet<&str> = root
        .get("principals")
        .map(|node| node.entries().iter().map(|(key, _node)| key.name.as_str()).collect())
        .unwrap_or_default();
    let roles = reader.required(root, what, "roles").map(|node| read_roles(reader, node, &known));
    let rules = reader.required(root, what, "rules").map(|node| read_rules(reader, node));
    let ancestry = root.get("history").map_or(Some(Ancestry::default()), |node| read_history(reader, node));
    let revoked = root.get("revoked").map_or_else(|| Some(BTreeMap::new()), |node| read_revoked(reader, node));
    let place = |field: &str| root.get(field).map_or(root.position, |node| node.position);
    Some(TrustFile {
        repo_id: repo_id?,
        git_ref: git_ref?,
        version: version?,
        expires: expires?,
        principals: principals?,
        roles: roles?,
        rules: rules?,
        ancestry: ancestry?,
        revoked: revoked?,
        crypto: crypto?,
        digest,
        certificates: BTreeMap::new(),
        places: Places {
            repo_id: place("repoId"),
            git_ref: place("ref"),
            version: place("version"),
            rules: place("rules"),
            revoked: place("revoked"),
        },
    })
}

fn read_principals(reader: &mut Reader, node: &Node, crypto: Option<&Crypto>) -> BTreeMap<String, Principal> {
    let mut principals = BTreeMap::new();
    let mut holders = BTreeMap::new();
    for (name, node) in reader.named(node, "principals") {
        let what = format!("principal {}", name.name);
        if reader.fields(node, &what, &["kind", "keys"], &["key", "principals", "maxValidity"]).is_none() {
            continue;
        }
        let kind = reader.required(node, &what, "kind").and_then(|kind| match kind.as_str() {
            Some("human") => Some(PrincipalKind::Human),
            Some("robot") => Some(PrincipalKind::Robot),
            Some(kind_name @ ("forge" | "ca")) => {
                reader.later(kind.position, &format!("kind {kind_name} of {what}"));
                None
            }
            _ => {
                reader.wrong(kind.position, format!("kind of {what} is unknown"), "human or robot");
                None
            }
        });
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        if let Some(list) = reader.required(node, &what, "keys") {
            for item in reader.list(list, &format!("keys of {what}")) {
                let Some(key) = read_key(reader, item, &what, crypto) else { continue };
                let fingerprint = match &key {
                    Key::Ssh(key) => KeyFingerprint::Ssh(key.key.fingerprint()),
                    Key::OpenPgp(pin) => KeyFingerprint::OpenPgp(pin.fingerprint),
                };
                match (holders.insert(fingerprint, name.name.as_str()), key) {
                    (Some(holder), _) => reader.wrong(
                        item.position,
                        format!("key {fingerprint} of {what} is there already, for {holder}"),
                        "each key once, in one principal",
                    ),
                    (None, Key::Ssh(key)) => keys.push(key),
                    (None, Key::OpenPgp(pin)) => certificates.push(pin),
                }
            }
        }
        if let Some(kind) = kind {
            principals.insert(name.name.clone(), Principal { kind, keys, certificates });
        }
    }
    principals
}

/// A key of either format.
enum Key {
    Ssh(PrincipalKey),
    OpenPgp(PinnedCertificate),
}

fn read_key(reader: &mut Reader, node: &Node, what: &str, crypto: Option<&Crypto>) -> Option<Key> {
    let what = format!("a key of {what}");
    reader.fields(node, &what, &["ssh", "openpgp", "notAfter"], &["keyless", "userPresence"])?;
    if node.get("keyless").is_some() {
        return None;
    }
    let not_after = match node.get("notAfter") {
        Some(value) => Some(reader.instant(value, "notAfter")?),
        None => None,
    };
    if let Some(openpgp) = node.get("openpgp") {
        if node.get("ssh").is_some() {
            reader.wrong(node.position, format!("{what} is of two formats"), "one of ssh and openpgp");
        }
        return read_certificate(reader, openpgp, &what, not_after).map(Key::OpenPgp);
    }
    let ssh = reader.required(node, &what, "ssh")?;
    let text = reader.text(ssh, "ssh")?;
    match PublicKey::parse(text) {
        Ok(key) => {
            if let Some(Err(weak)) = crypto.map(|crypto| crypto.check_key(&key)) {
                reader.wrong(ssh.position, weak.to_string(), "a key that `crypto` allows");
            }
            Some(Key::Ssh(PrincipalKey { key, not_after }))
        }
        Err(error) => {
            reader.wrong(ssh.position, error.to_string(), "a public key such as \"ssh-ed25519 AAAA…\"");
            None
        }
    }
}

fn read_certificate(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    not_after: Option<Timestamp>,
) -> Option<PinnedCertificate> {
    reader.fields(node, what, &["fingerprint", "certFile", "sha256"], &[])?;
    let mut text = |field: &str| {
        let place = node.get(field).map_or(node.position, |value| value.position);
        reader.required_text(node, what, field).map(|text| (place, text))
    };
    let (fingerprint, file, sha256) = (text("fingerprint"), text("certFile"), text("sha256"));
    let mut parsed = |(place, text): (Position, &str), wrong: bool, needed: &str| {
        if wrong {
            reader.wrong(place, format!("{:?} in {what}", text.chars().take(80).collect::<String>()), needed);
        }
    };
    let (fingerprint, file, sha256) = (fingerprint?, file?, sha256?);
    let key = fingerprint.1.parse().ok();
    parsed(fingerprint, key.is_none(), "a fingerprint of 40 or 64 hex digits, as gpg --list-keys prints it");
    let path: Option<RepoPath> = file.1.parse().ok();
    let path = path.filter(|path| path.as_str().strip_prefix(CERTIFICATES).is_some_and(|rest| rest.starts_with('/')));
    parsed(file, path.is_none(), "a file below .writ/keys/");
    let digest = sha256.1.parse().ok();
    parsed(sha256, digest.is_none(), "64 lower-case hex digits, as sha256sum prints them");
    Some(PinnedCertificate { fingerprint: key?, file: path?, sha256: digest?, not_after })
}

fn read_roles(reader: &mut Reader, node: &Node, known: &BTreeSet<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let mut roles = BTreeMap::new();
    for (name, node) in reader.named(node, "roles") {
        let mut members = BTreeSet::new();
        for item in reader.list(node, &format!("role {}", name.name)) {
            let Some(member) = reader.name(item, "principal") else { continue };
            if !known.contains(member.as_str()) {
                reader.wrong(
                    item.position,
                    format!("role {} names {member}, who is no principal", name.name),
                    "a principal",
                );
            }
            if !members.insert(member) {
                reader.wrong(item.position, format!("role {} names a principal twice", name.name), "each once");
            }
        }
        roles.insert(name.name.clone(), members);
    }
    roles
}

fn read_rules(reader: &mut Reader, node: &Node) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for item in reader.list(node, "rules") {
        let Some(rule) = read_rule(reader, item) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            reader.wrong(item.position, format!("a second rule {:?}", rule.name), "rules with different names");
        }
        rules.push(rule);
    }
    rules
}

fn read_rule(reader: &mut Reader, node: &Node) -> Option<Rule> {
    reader.fields(node, "a rule", &["name", "paths", "anyOf", "kinds"], &["override"])?;
    let name = reader.required(node, "a rule", "name").and_then(|name| reader.name(name, "name"));
    let what = name.as_ref().map_or_else(|| "a rule".to_owned(), |name| format!("rule {name}"));
    let mut paths = Vec::new();
    if let Some(list) = reader.required(node, &what, "paths") {
        for item in reader.list(list, &format!("paths of {what}")) {
            let Some(text) = reader.text(item, "a path") else { continue };
            match PathPattern::parse(text) {
                Ok(pattern) => paths.push(pattern),
                Err(error) => reader.wrong(item.position, error.to_string(), "a pattern such as \"apps/**\""),
            }
        }
    }
    let mut any_of = Vec::new();
    if let Some(list) = reader.required(node, &what, "anyOf") {
        for item in reader.list(list, &format!("anyOf of {what}")) {
            any_of.extend(read_threshold(reader, item, &what));
        }
    }
    let mut kinds = Vec::new();
    if let Some(list) = node.get("kinds") {
        for item in reader.list(list, &format!("kinds of {what}")) {
            let Some(text) = reader.text(item, "a kind") else { continue };
            match KindPattern::parse(text) {
                Ok(kind) => kinds.push(kind),
                Err(error) => reader.wrong(item.position, error.to_string(), "an item such as \"apps/Deployment\""),
            }
        }
    }
    Some(Rule { name: name?, paths, any_of, kinds: KindPatterns::new(kinds), place: node.position })
}

fn read_threshold(reader: &mut Reader, node: &Node, what: &str) -> Option<RoleThreshold> {
    let what = format!("anyOf of {what}");
    reader.fields(node, &what, &["role", "threshold"], &["distinctFromAuthor"])?;
    let role = reader.required(node, &what, "role").and_then(|role| reader.name(role, "role"));
    let threshold = reader
        .required(node, &what, "threshold")
        .and_then(|value| reader.number(value, "threshold", u64::from(u32::MAX)))
        .and_then(|value| u32::try_from(value).ok());
    Some(RoleThreshold { role: role?, threshold: threshold?, place: node.position })
}

fn read_history(reader: &mut Reader, node: &Node) -> Option<Ancestry> {
    reader.fields(node, "history", &["ancestry"], &["refBinding", "mergeCredit"])?;
    let Some(value) = node.get("ancestry") else { return Some(Ancestry::default()) };
    match value.as_str() {
        Some("firstParent") => Some(Ancestry::FirstParent),
        Some("allSigned") => Some(Ancestry::AllSigned),
        _ => {
            reader.wrong(value.position, "history.ancestry is unknown".to_owned(), "firstParent or allSigned");
            None
        }
    }
}

fn read_revoked(reader: &mut Reader, node: &Node) -> Option<BTreeMap<Revoked, String>> {
    if node.items().is_empty() && matches!(node.value, manifest::NodeValue::Sequence(_)) {
        return Some(BTreeMap::new());
    }
    let mut revoked = BTreeMap::new();
    for item in reader.list(node, "revoked") {
        let Some((what, reason)) = read_revocation(reader, item) else { continue };
        if revoked.insert(what, reason).is_some() {
            reader.wrong(item.position, format!("{what} is revoked twice"), "each once");
        }
    }
    Some(revoked)
}

fn read_revocation(reader: &mut Reader, node: &Node) -> Option<(Revoked, String)> {
    reader.fields(node, "a revocation", &["key", "payload", "kind", "reason"], &["after"])?;
    let reason = match node.get("reason") {
        Some(reason) => reader.text(reason, "reason")?.to_owned(),
        None => "no reason given".to_owned(),
    };
    match node.get("kind").map(|kind| (kind.position, kind.as_str())) {
        Some((_, Some("hard"))) => {}
        Some((at, Some("soft"))) => {
            reader.later(at, "kind soft of a revocation");
            return None;
        }
        None if node.get("payload").is_some() => {}
        Some((at, _)) => {
            reader.wrong(at, "kind of a revocation is unknown".to_owned(), "hard");
            return None;
        }
        None => {
            reader.wrong(node.position, "the revocation of a key has no kind".to_owned(), "kind: hard");
            return None;
        }
    }
    match (node.get("key"), node.get("payload")) {
        (Some(key), None) => match reader.text(key, "key")?.parse() {
            Ok(KeyFingerprint::Ssh(key)) => Some((Revoked::Key(key), reason)),
            Ok(KeyFingerprint::OpenPgp(key)) => Some((Revoked::Certificate(key), reason)),
            Err(error) => {
                let error: crate::FingerprintError = error;
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
            Some((Revoked::Payload(digest?), reason))
        }
        _ => {
            reader.wrong(node.position, "a revocation needs one of key and payload".to_owned(), "exactly one");
            None
        }
    }
}

fn read_crypto(reader: &mut Reader, node: &Node) -> Option<Crypto> {
    /// Names of the full format for keys and formats that are not verified yet.
    const LATER: &[&str] = &["sk-ed25519", "sk-ecdsa-p256", "gitsign-offline", "openpgp"];
    reader.fields(node, "crypto", &["minRsa", "hashes", "allow"], &[])?;
    let mut crypto = Crypto::default();
    if let Some(value) = node.get("minRsa") {
        let bits = reader.number(value, "minRsa", 16_384)?;
        if bits < 2_048 {
            reader.wrong(value.position, format!("minRsa is {bits}"), "at least 2048 bits");
        }
        crypto.min_rsa = u32::try_from(bits).ok()?;
    }
    if let Some(list) = node.get("hashes") {
        crypto.hashes.clear();
        for item in reader.list(list, "hashes") {
            match reader.text(item, "a hash")?.parse() {
                Ok(hash) => _ = crypto.hashes.insert(hash),
                Err(error) => reader.wrong(item.position, crate::UnknownAlgorithm::to_string(&error), "a known one"),
            }
        }
    }
    if let Some(list) = node.get("allow") {
        crypto.allow.clear();
        for item in reader.list(list, "allow") {
            match reader.text(item, "an algorithm")? {
                name if LATER.contains(&name) => reader.later(item.position, &format!("{name} in crypto.allow")),
                name => match name.parse() {
                    Ok(algorithm) => _ = crypto.allow.insert(algorithm),
                    Err(error) => {
                        reader.wrong(item.position, crate::UnknownAlgorithm::to_string(&error), "a known one");
                    }
                },
            }
        }
    }
    // With nothing left to allow every key would be called too weak, which is not what is wrong.
    (!crypto.hashes.is_empty() && !crypto.allow.is_empty()).then_some(crypto)
}
