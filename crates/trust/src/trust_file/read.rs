//! YAML to types.

mod keys;
mod revocations;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use manifest::{Digest, Document, Finding, Node, Position, Subject, parse_yaml};

use keys::Key;

use super::{
    Ancestry, Authority, HistoryRules, MAX_TRUST_FILE_BYTES, MergeCreditMode, Places, Principal, PrincipalKind,
    TrustFile, read_authority, reader::Reader, trust_file_path,
};
use crate::{Crypto, KeyFingerprint, RefBinding, TrustCode, git_ref::check_ref};

/// Largest version: what the log and every JSON reader keep exact, 2^53 − 1.
const MAX_VERSION: u64 = (1 << 53) - 1;
/// Longest name of a Kubernetes user: twice the longest e-mail address (254 bytes), for names of the form `issuer#address`.
const MAX_USER_BYTES: usize = 512;
const START: Position = Position { line: 1, column: 1 };

/// Reads the form of a trust file.
pub(super) fn read(bytes: &[u8]) -> Result<TrustFile, Vec<Finding>> {
    let mut reader = Reader::of(bytes);
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
    Finding { code: TrustCode::W502.entry(), subject, found: found.into(), ..finding }
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
    if let (Some(node), Some(Err(reason))) = (root.get("ref"), git_ref.as_deref().map(check_ref)) {
        reader.wrong(
            node.position,
            format!("ref: {reason}"),
            "a branch such as refs/heads/main, or a tag such as refs/tags/live",
        );
    }
    let version = reader.required(root, what, "version").and_then(|node| reader.number(node, "version", MAX_VERSION));
    let expires = reader.required(root, what, "expires").and_then(|node| reader.instant(node, "expires"));
    let (principals, authorities) =
        reader.required(root, what, "principals").map(|node| read_principals(reader, node, crypto.as_ref())).unzip();
    let known: BTreeSet<&str> = root
        .get("principals")
        .map(|node| node.entries().iter().map(|(key, _node)| key.name.as_str()).collect())
        .unwrap_or_default();
    let is_authority =
        |name: &str| authorities.as_ref().is_some_and(|all: &BTreeMap<String, Authority>| all.contains_key(name));
    let roles = reader.required(root, what, "roles").map(|node| rules::read_roles(reader, node, &known, &is_authority));
    let rules = reader.required(root, what, "rules").map(|node| rules::read(reader, node));
    let history = root.get("history").map_or_else(|| Some(HistoryRules::default()), |node| read_history(reader, node));
    let revoked = root.get("revoked").map_or_else(|| Some(BTreeMap::new()), |node| revocations::read(reader, node));
    if let (Some(node), Some(all), Some(revoked), Some(authorities)) =
        (root.get("revoked"), root.get("principals"), &revoked, &authorities)
    {
        read_authority::check_revocations(reader, all, node, revoked, authorities);
    }
    Some(TrustFile {
        repo_id: repo_id?,
        git_ref: git_ref?,
        version: version?,
        expires: expires?,
        principals: principals?,
        authorities: authorities?,
        roles: roles?,
        rules: rules?,
        history: history?,
        revoked: revoked?,
        crypto: crypto?,
        digest,
        certificates: BTreeMap::new(),
        places: places(root),
    })
}

/// Where the fields are that are compared with something outside the file.
fn places(root: &Node) -> Places {
    let place = |field: &str| root.get(field).map_or(root.position, |node| node.position);
    Places {
        repo_id: place("repoId"),
        git_ref: place("ref"),
        version: place("version"),
        rules: place("rules"),
        revoked: place("revoked"),
    }
}

type Principals = (BTreeMap<String, Principal>, BTreeMap<String, Authority>);

fn read_principals(reader: &mut Reader, node: &Node, crypto: Option<&Crypto>) -> Principals {
    const FIELDS: &[&str] = &["kind", "keys", "kubernetesUsers", "key", "principals", "maxValidity"];
    let (mut principals, mut authorities) = (BTreeMap::new(), BTreeMap::new());
    let all = node;
    let (mut holders, mut users) = (BTreeMap::new(), BTreeSet::new());
    for (name, node) in reader.named(node, "principals") {
        let what = format!("principal {}", name.name);
        if reader.fields(node, &what, FIELDS, &[]).is_none() {
            continue;
        }
        if node.get("kind").and_then(Node::as_str) == Some("ca") {
            if let Some(authority) = read_authority::authority(reader, node, &what, crypto) {
                let key = KeyFingerprint::Ssh(authority.key.fingerprint());
                note_holder(reader, &mut holders, node, key, name.name.as_str());
                authorities.insert(name.name.clone(), authority);
            }
            continue;
        }
        read_authority::refuse_fields(reader, node, &what);
        let kind = reader.required(node, &what, "kind").and_then(|kind| match kind.as_str() {
            Some("human") => Some(PrincipalKind::Human),
            Some("robot") => Some(PrincipalKind::Robot),
            Some("forge") => Some(PrincipalKind::Forge),
            _ => {
                reader.wrong(kind.position, format!("kind of {what} is unknown"), "human, robot, forge or ca");
                None
            }
        });
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        let (mut pinned, mut keyless) = (Vec::new(), Vec::new());
        if let Some(list) = reader.required(node, &what, "keys") {
            for item in reader.list(list, &format!("keys of {what}")) {
                if item.get("sshCertificate").is_some() {
                    certificates.extend(read_authority::certified_name(reader, item, &what));
                    continue;
                }
                let Some(key) = keys::read(reader, item, &what, crypto) else { continue };
                if !note_holder(reader, &mut holders, item, key.fingerprint(), name.name.as_str()) {
                    continue;
                }
                match key {
                    Key::Ssh(key) => keys.push(key),
                    Key::OpenPgp(pin) => pinned.push(pin),
                    Key::Keyless(key) => keyless.push(key),
                }
            }
        }
        let kubernetes_users = read_users(reader, node, &what, &mut users);
        if let Some(kind) = kind {
            let principal = Principal { kind, keys, kubernetes_users, certificates, pinned, keyless };
            principals.insert(name.name.clone(), principal);
        }
    }
    read_authority::check_names(reader, all, &principals, &authorities);
    (principals, authorities)
}

/// Notes whose key it is; false, with a mistake, if it is somebody's already.
fn note_holder<'n>(
    reader: &mut Reader,
    holders: &mut BTreeMap<KeyFingerprint, &'n str>,
    at: &Node,
    key: KeyFingerprint,
    name: &'n str,
) -> bool {
    let Some(holder) = holders.insert(key, name) else { return true };
    let found = format!("key {key} of principal {name} is there already, for {holder}");
    reader.wrong(at.position, found, "each key once, in one principal");
    false
}

/// The names by which the API server knows a person: each belongs to one.
fn read_users<'n>(reader: &mut Reader, node: &'n Node, what: &str, known: &mut BTreeSet<&'n str>) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    let Some(list) = node.get("kubernetesUsers") else { return users };
    for item in reader.list(list, &format!("kubernetesUsers of {what}")) {
        let Some(user) = reader.text(item, "a user") else { continue };
        if user.len() > MAX_USER_BYTES || user.chars().any(char::is_control) {
            let needed = format!("the exact name of a user, at most {MAX_USER_BYTES} bytes");
            reader.wrong(item.position, format!("a user of {what} is no name"), &needed);
        } else if !known.insert(user) {
            reader.wrong(
                item.position,
                format!("user {user:?} of {what} is there already"),
                "each user once, in one principal",
            );
        }
        users.insert(user.to_owned());
    }
    users
}

fn read_history(reader: &mut Reader, node: &Node) -> Option<HistoryRules> {
    const FIELDS: &[&str] = &["ancestry", "refBinding", "mergeCredit", "partialAdvance", "dualSigned"];
    reader.fields(node, "history", FIELDS, &[])?;
    let mut rules = HistoryRules::default();
    if let Some(value) = node.get("ancestry") {
        let known = [("firstParent", Ancestry::FirstParent), ("allSigned", Ancestry::AllSigned)];
        rules.ancestry = one_of(reader, value, "history.ancestry", &known)?;
    }
    if let Some(value) = node.get("refBinding") {
        let known = [("trailer", RefBinding::Trailer), ("attestation", RefBinding::Attestation)];
        rules.ref_binding = one_of(reader, value, "history.refBinding", &known)?;
    }
    if let Some(value) = node.get("mergeCredit") {
        let known = [("mergerOnly", MergeCreditMode::MergerOnly), ("transitive", MergeCreditMode::Transitive)];
        rules.merge_credit = one_of(reader, value, "history.mergeCredit", &known)?;
    }
    if let Some(value) = node.get("partialAdvance") {
        rules.partial_advance = reader.flag(value, "history.partialAdvance")?;
    }
    if let Some(value) = node.get("dualSigned") {
        rules.dual_signed = reader.flag(value, "history.dualSigned")?;
    }
    Some(rules)
}

/// One of several words.
fn one_of<T: Copy>(reader: &mut Reader, node: &Node, what: &str, known: &[(&str, T)]) -> Option<T> {
    let found = known.iter().find(|(word, _)| node.as_str() == Some(word)).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        reader.wrong(node.position, format!("{what} is unknown"), &words.join(" or "));
    }
    found
}

fn read_crypto(reader: &mut Reader, node: &Node) -> Option<Crypto> {
    /// Names of the full format for keys that are not verified yet.
    const LATER: &[&str] = &["mldsa44-ed25519"];
    const KEYLESS: &str = "gitsign-offline";
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
        crypto.keyless = false;
        for item in reader.list(list, "allow") {
            match reader.text(item, "an algorithm")? {
                KEYLESS => crypto.keyless = true,
                name if LATER.contains(&name) => reader.later(item.position, &format!("{name} in crypto.allow")),
                name => match name.parse() {
                    Ok(algorithm) => _ = crypto.allow.insert(algorithm),
                    Err(error) => {
                        let needed = "one of them, or gitsign-offline; OpenPGP keys count by their algorithm";
                        reader.wrong(item.position, crate::UnknownAlgorithm::to_string(&error), needed);
                    }
                },
            }
        }
    }
    // With nothing left to allow every key would be called too weak, which is not what is wrong.
    (!crypto.hashes.is_empty() && (!crypto.allow.is_empty() || crypto.keyless)).then_some(crypto)
}
