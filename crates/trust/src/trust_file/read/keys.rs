//! Keys of principals, in either format.

use jiff::Timestamp;
use manifest::{Node, Position, RepoPath};

use super::super::{CERTIFICATES, PinnedCertificate, PrincipalKey, read_user, reader::Reader};
use crate::{Crypto, KeyFingerprint, PublicKey};

/// A key.
pub(super) enum Key {
    Ssh(PrincipalKey),
    OpenPgp(PinnedCertificate),
}

impl Key {
    pub(super) fn fingerprint(&self) -> KeyFingerprint {
        match self {
            Self::Ssh(key) => KeyFingerprint::Ssh(key.key.fingerprint()),
            Self::OpenPgp(pin) => KeyFingerprint::OpenPgp(pin.fingerprint),
        }
    }
}

/// When a key begins and ends.
type Window = (Option<Timestamp>, Option<Timestamp>);

pub(super) fn read(reader: &mut Reader, node: &Node, what: &str, crypto: Option<&Crypto>) -> Option<Key> {
    const FIELDS: &[&str] = &["ssh", "openpgp", "notBefore", "notAfter", "userPresence", "userVerification"];
    let what = format!("a key of {what}");
    reader.fields(node, &what, FIELDS, &["keyless"])?;
    if node.get("keyless").is_some() {
        return None;
    }
    let mut instant = |field: &str| match node.get(field) {
        Some(value) => reader.instant(value, field).map(Some),
        None => Some(None),
    };
    let (not_before, not_after) = (instant("notBefore")?, instant("notAfter")?);
    if not_before.zip(not_after).is_some_and(|(begin, end)| begin > end) {
        reader.wrong(node.position, format!("{what} ends before it begins"), "notBefore before notAfter");
    }
    let user = read_user::read(reader, node)?;
    if let Some(openpgp) = node.get("openpgp") {
        if node.get("ssh").is_some() {
            reader.wrong(node.position, format!("{what} is of two formats"), "one of ssh and openpgp");
        }
        read_user::refuse(reader, node, "openpgp");
        return certificate(reader, openpgp, &what, (not_before, not_after)).map(Key::OpenPgp);
    }
    let ssh = reader.required(node, &what, "ssh")?;
    let text = reader.text(ssh, "ssh")?;
    match PublicKey::parse(text) {
        Ok(key) => {
            if let Some(Err(weak)) = crypto.map(|crypto| crypto.check_key(&key)) {
                reader.wrong(ssh.position, weak.to_string(), "a key that `crypto` allows");
            }
            if !key.algorithm().is_security_key() {
                read_user::refuse(reader, node, key.algorithm().key_type());
            }
            Some(Key::Ssh(PrincipalKey { key, not_before, not_after, user }))
        }
        Err(error) => {
            reader.wrong(ssh.position, error.to_string(), "a public key such as \"ssh-ed25519 AAAA…\"");
            None
        }
    }
}

fn certificate(reader: &mut Reader, node: &Node, what: &str, window: Window) -> Option<PinnedCertificate> {
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
    let (not_before, not_after) = window;
    let place = node.position;
    Some(PinnedCertificate { fingerprint: key?, file: path?, sha256: digest?, not_before, not_after, place })
}
