//! Edits of the trust file's text. What is not meant stays as it is, to the byte; what results is read as the cluster
//! reads it, so an edit that would be refused there, or that locks everybody out, is refused here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use manifest::{Digest, FieldPath, Finding, NewValue, Node, RepoPath, YamlEdit, YamlEditError, edit_yaml, parse_yaml};

use super::{PrincipalKind, Revoked, TrustFile, read::read, trust_file_path};
use crate::{
    CommitId, KeyFingerprint, KeylessIdentity, PublicKey, UserCheck, UserPresence, openpgp::OpenPgpFingerprint,
};

/// Why a trust file is not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustEditError {
    /// The file is refused, before or after the edit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Finding>),
    /// The text is written in a way that cannot be edited.
    #[error("{0}")]
    Text(#[source] YamlEditError),
    /// A principal that is not there.
    #[error("{0} is no principal")]
    NoPrincipal(String),
    /// A principal of another kind.
    #[error("{0} is there already, as a principal of another kind")]
    OtherKind(String),
    /// A role that is not there; a new one would mean nothing without a rule that names it.
    #[error("{0} is no role; roles are {1}")]
    NoRole(String, String),
    /// A key that somebody has.
    #[error("key {0} is a key of {1} already")]
    Held(KeyFingerprint, String),
    /// A key that the principal does not have.
    #[error("{1} has no key {0}")]
    NoKey(KeyFingerprint, String),
    /// The last key of a principal.
    #[error("{1} has no other key than {0}: remove the principal")]
    LastKey(KeyFingerprint, String),
    /// Something that is revoked in no weaker way.
    #[error("{0} is revoked already")]
    Revoked(String),
    /// No version follows.
    #[error("no version follows {0}")]
    LastVersion(u64),
}

/// Somebody to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrincipal {
    /// The name.
    pub name: String,
    /// The kind; by default that which it has, or a person.
    pub kind: Option<PrincipalKind>,
    /// The roles it is to have besides those that it has.
    pub roles: Vec<String>,
    /// Its new keys.
    pub keys: Vec<NewKey>,
}

/// A key as it is written into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub material: NewKeyMaterial,
    /// When it begins.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub not_after: Option<Timestamp>,
    /// What its signatures must prove about the user.
    pub user: UserCheck,
}

/// What kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKeyMaterial {
    /// An SSH key.
    Ssh(PublicKey),
    /// An OpenPGP certificate in a file of the repository.
    OpenPgp {
        /// Its fingerprint.
        fingerprint: OpenPgpFingerprint,
        /// Where it lies.
        file: RepoPath,
        /// Digest of the file.
        sha256: Digest,
    },
    /// What certificates of an authority call the principal.
    Certified {
        /// The authority.
        ca: String,
        /// The name in its certificates.
        principal: String,
    },
    /// An account of an identity provider.
    Keyless(KeylessIdentity),
}

/// Something to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevocation {
    /// What.
    pub what: Revoked,
    /// For a soft one, the last commit that stays good.
    pub after: Option<CommitId>,
    /// Why.
    pub reason: Option<String>,
}

/// A trust file that is being edited.
#[derive(Debug, Clone)]
pub struct TrustEditor {
    text: String,
    opened: TrustFile,
    file: TrustFile,
    root: Node,
}

impl NewKey {
    /// An SSH key without further conditions.
    #[must_use]
    pub const fn ssh(key: PublicKey) -> Self {
        let user = UserCheck { presence: UserPresence::OfSecurityKeys, verification: false };
        Self { material: NewKeyMaterial::Ssh(key), not_before: None, not_after: None, user }
    }

    /// Its fingerprint, if it is a key of its own.
    #[must_use]
    pub fn fingerprint(&self) -> Option<KeyFingerprint> {
        match &self.material {
            NewKeyMaterial::Ssh(key) => Some(KeyFingerprint::Ssh(key.fingerprint())),
            NewKeyMaterial::OpenPgp { fingerprint, .. } => Some(KeyFingerprint::OpenPgp(*fingerprint)),
            NewKeyMaterial::Keyless(account) => Some(KeyFingerprint::Keyless(account.fingerprint())),
            NewKeyMaterial::Certified { .. } => None,
        }
    }

    fn value(&self) -> NewValue {
        let mut entries = vec![match &self.material {
            NewKeyMaterial::Ssh(key) => entry("ssh", NewValue::text(key.to_string())),
            NewKeyMaterial::OpenPgp { fingerprint, file, sha256 } => entry(
                "openpgp",
                NewValue::Mapping(vec![
                    entry("fingerprint", NewValue::text(fingerprint.to_string())),
                    entry("certFile", NewValue::text(file.as_str())),
                    entry("sha256", NewValue::text(sha256.to_string())),
                ]),
            ),
            NewKeyMaterial::Certified { ca, principal } => entry(
                "sshCertificate",
                NewValue::Mapping(vec![entry("ca", NewValue::text(ca)), entry("principal", NewValue::text(principal))]),
            ),
            NewKeyMaterial::Keyless(KeylessIdentity { issuer, identity }) => entry(
                "keyless",
                NewValue::Mapping(vec![
                    entry("issuer", NewValue::text(issuer)),
                    entry("identity", NewValue::text(identity)),
                ]),
            ),
        }];
        let times = [("notBefore", self.not_before), ("notAfter", self.not_after)];
        entries.extend(times.into_iter().filter_map(|(name, at)| Some(entry(name, NewValue::text(at?.to_string())))));
        let presence = match self.user.presence {
            UserPresence::OfSecurityKeys => None,
            UserPresence::Required => Some("required"),
            UserPresence::NotRequired => Some("notRequired"),
        };
        entries.extend(presence.map(|word| entry("userPresence", NewValue::text(word))));
        if self.user.verification {
            entries.push(entry("userVerification", NewValue::text("required")));
        }
        NewValue::Mapping(entries)
    }
}

impl NewRevocation {
    fn value(&self) -> NewValue {
        let by = |ca: &str, name: &str, value: String| {
            vec![entry("ca", NewValue::text(ca)), entry(name, NewValue::text(value))]
        };
        let mut entries = match &self.what {
            Revoked::Key(key) => vec![entry("key", NewValue::text(key.to_string()))],
            Revoked::Certificate(key) => vec![entry("key", NewValue::text(key.to_string()))],
            Revoked::Keyless(key) => vec![entry("key", NewValue::text(key.to_string()))],
            Revoked::Payload(payload) => vec![entry("payload", NewValue::text(format!("sha256:{payload}")))],
            Revoked::Serials { ca, from, to } if from == to => by(ca, "serial", from.to_string()),
            Revoked::Serials { ca, from, to } => by(ca, "serial", format!("{from}-{to}")),
            Revoked::KeyId { ca, key_id } => by(ca, "keyId", key_id.clone()),
        };
        let kind = if self.after.is_some() { "soft" } else { "hard" };
        entries.push(entry("kind", NewValue::text(kind)));
        entries.extend(self.after.map(|after| entry("after", NewValue::text(after.to_string()))));
        entries.extend(self.reason.as_ref().map(|reason| entry("reason", NewValue::text(reason))));
        NewValue::Mapping(entries)
    }
}

fn entry(name: &str, value: NewValue) -> (String, NewValue) {
    (name.to_owned(), value)
}

impl TrustEditor {
    /// Reads a file as it is before the edit. What its fields mean together may be wrong (W506): the edit may be what mends it.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn open(text: &str) -> Result<Self, TrustEditError> {
        let file = read(text.as_bytes()).map_err(TrustEditError::Refused)?;
        let root = only_root(text)?;
        Ok(Self { text: text.to_owned(), opened: file.clone(), file, root })
    }

    /// What the file says by now.
    #[must_use]
    pub const fn file(&self) -> &TrustFile {
        &self.file
    }

    /// What the file said when it was opened.
    #[must_use]
    pub const fn opened(&self) -> &TrustFile {
        &self.opened
    }

    /// Adds principals, or keys and roles to those that are there.
    ///
    /// # Errors
    /// When a key is somebody's, a role is not there, or a principal is of another kind.
    pub fn add(&mut self, new: &[NewPrincipal]) -> Result<(), TrustEditError> {
        let (mut edits, mut entries, mut joining) = (Vec::new(), Vec::new(), BTreeMap::<&str, Vec<NewValue>>::new());
        for one in new {
            for key in one.keys.iter().filter_map(NewKey::fingerprint) {
                if let Some(holder) = self.file.holder_of(&key) {
                    return Err(TrustEditError::Held(key, holder.to_owned()));
                }
            }
            let keys: Vec<NewValue> = one.keys.iter().map(NewKey::value).collect();
            match self.file.principals.get(&one.name) {
                Some(there) if one.kind.is_none_or(|kind| kind == there.kind) => {
                    if !keys.is_empty() {
                        edits.push(YamlEdit::Append { to: principal(&one.name).field("keys"), items: keys });
                    }
                }
                None if !self.file.authorities.contains_key(&one.name) => {
                    let kind = entry("kind", NewValue::text(one.kind.unwrap_or(PrincipalKind::Human).as_str()));
                    let fields = vec![kind, entry("keys", NewValue::List(keys))];
                    entries.push(entry(&one.name, NewValue::Mapping(fields)));
                }
                _ => return Err(TrustEditError::OtherKind(one.name.clone())),
            }
            for role in &one.roles {
                let members = self.file.roles.get(role).ok_or_else(|| self.no_role(role))?;
                if !members.contains(&one.name) {
                    joining.entry(role).or_default().push(NewValue::text(&one.name));
                }
            }
        }
        if !entries.is_empty() {
            edits.push(YamlEdit::Insert { into: principals(), entries });
        }
        let joining = joining.into_iter();
        edits
            .extend(joining.map(|(role, items)| YamlEdit::Append { to: FieldPath::of_fields(["roles", role]), items }));
        self.apply(&edits)
    }

    fn no_role(&self, role: &str) -> TrustEditError {
        let roles: Vec<&str> = self.file.roles.keys().map(String::as_str).collect();
        TrustEditError::NoRole(role.to_owned(), roles.join(", "))
    }

    /// Adds an authority, whose certificates are believed within these bounds.
    ///
    /// # Errors
    /// When the key is somebody's, or there is a principal of this name.
    pub fn add_authority(
        &mut self,
        name: &str,
        key: &PublicKey,
        principals_of_it: &[String],
        max_validity: &str,
    ) -> Result<(), TrustEditError> {
        let taken = self.file.principals.contains_key(name) || self.file.authorities.contains_key(name);
        if taken {
            return Err(TrustEditError::OtherKind(name.to_owned()));
        }
        let fields = vec![
            entry("kind", NewValue::text("ca")),
            entry("key", NewValue::text(key.to_string())),
            entry("principals", NewValue::List(principals_of_it.iter().map(NewValue::text).collect())),
            entry("maxValidity", NewValue::text(max_validity)),
        ];
        self.apply(&[YamlEdit::Insert { into: principals(), entries: vec![entry(name, NewValue::Mapping(fields))] }])
    }

    /// Takes a principal out of the file and out of all roles.
    ///
    /// # Errors
    /// When it is not there, or a rule could no longer be satisfied without it (W506).
    pub fn remove(&mut self, name: &str) -> Result<(), TrustEditError> {
        let mut without = self.file.clone();
        let is_there = without.principals.remove(name).is_some() || without.authorities.remove(name).is_some();
        if !is_there {
            return Err(TrustEditError::NoPrincipal(name.to_owned()));
        }
        let mut edits = vec![YamlEdit::Remove { at: principal(name) }];
        for (role, members) in &mut without.roles {
            if !members.remove(name) {
                continue;
            }
            let at = FieldPath::of_fields(["roles", role]);
            if members.is_empty() {
                edits.push(YamlEdit::Remove { at });
            } else {
                let items = self.root.get("roles").and_then(|roles| roles.get(role)).map(Node::items);
                let index = items.and_then(|items| items.iter().position(|item| item.as_str() == Some(name)));
                let index = index.ok_or_else(|| TrustEditError::NoPrincipal(name.to_owned()))?;
                edits.push(YamlEdit::Remove { at: at.index(index) });
            }
        }
        // Said before the text is touched, so that a role that is empty now is called that, and not one that is not there.
        without.left_by_edit(&self.opened, None).map_err(TrustEditError::Refused)?;
        self.apply(&edits)
    }

    /// Takes a key out of a principal.
    ///
    /// # Errors
    /// When it is not there, or the only one.
    pub fn remove_key(&mut self, name: &str, key: KeyFingerprint) -> Result<(), TrustEditError> {
        let there = self.root.get("principals").and_then(|all| all.get(name)).and_then(|one| one.get("keys"));
        let keys = there.map(Node::items).ok_or_else(|| TrustEditError::NoPrincipal(name.to_owned()))?;
        let found = keys.iter().position(|item| fingerprint(item) == Some(key));
        let index = found.ok_or_else(|| TrustEditError::NoKey(key, name.to_owned()))?;
        if keys.len() == 1 {
            return Err(TrustEditError::LastKey(key, name.to_owned()));
        }
        self.apply(&[YamlEdit::Remove { at: principal(name).field("keys").index(index) }])
    }

    /// Revokes. A soft revocation may become a hard one.
    ///
    /// # Errors
    /// When something is revoked in no weaker way.
    pub fn revoke(&mut self, revocations: &[NewRevocation]) -> Result<(), TrustEditError> {
        let list = FieldPath::of_fields(["revoked"]);
        let (mut new, mut edits) = (Vec::new(), Vec::new());
        for revocation in revocations {
            match self.file.revoked.get(&revocation.what) {
                None => new.push(revocation.value()),
                Some(before) if before.after.is_some() && revocation.after.is_none() => {
                    let items = self.root.get("revoked").map(Node::items).unwrap_or_default();
                    let index = items.iter().position(|item| item.position == before.place);
                    let at = list.index(index.ok_or_else(|| TrustEditError::Revoked(revocation.what.to_string()))?);
                    edits.push(YamlEdit::Set { at: at.field("kind"), value: NewValue::text("hard") });
                    edits.push(YamlEdit::Remove { at: at.field("after") });
                }
                Some(_) => return Err(TrustEditError::Revoked(revocation.what.to_string())),
            }
        }
        if !new.is_empty() {
            edits.push(match self.root.get("revoked") {
                Some(_) => YamlEdit::Append { to: list, items: new },
                None => YamlEdit::Insert {
                    into: FieldPath::default(),
                    entries: vec![entry("revoked", NewValue::List(new))],
                },
            });
        }
        self.apply(&edits)
    }

    /// The new text and what it says. The version becomes that after `before`, the version in force; a file that is in
    /// nobody's force yet keeps its own.
    ///
    /// # Errors
    /// When the cluster would refuse the file at this time, and for no less than before the edit.
    pub fn finish(mut self, before: Option<u64>, now: Timestamp) -> Result<(String, TrustFile), TrustEditError> {
        if let Some(before) = before {
            let version = before.checked_add(1).ok_or(TrustEditError::LastVersion(before))?;
            if version != self.file.version {
                let at = FieldPath::of_fields(["version"]);
                self.write(&[YamlEdit::Set { at, value: NewValue::Number(version) }])?;
            }
        }
        let file = read(self.text.as_bytes()).map_err(TrustEditError::Refused)?;
        file.left_by_edit(&self.opened, Some(now)).map_err(TrustEditError::Refused)?;
        Ok((self.text, file))
    }

    /// Makes the edits, and reads the file again.
    fn apply(&mut self, edits: &[YamlEdit]) -> Result<(), TrustEditError> {
        self.write(edits)?;
        self.file = read(self.text.as_bytes()).map_err(TrustEditError::Refused)?;
        Ok(())
    }

    fn write(&mut self, edits: &[YamlEdit]) -> Result<(), TrustEditError> {
        self.text = edit_yaml(&trust_file_path(), &self.text, edits).map_err(TrustEditError::Text)?;
        self.root = only_root(&self.text)?;
        Ok(())
    }
}

fn only_root(text: &str) -> Result<Node, TrustEditError> {
    let documents = parse_yaml(&trust_file_path(), text.as_bytes());
    let documents = documents.map_err(|finding| TrustEditError::Refused(vec![finding]))?;
    let first = documents.into_iter().next().map(|document| document.root);
    first.ok_or(TrustEditError::Text(YamlEditError::NotOneDocument))
}

fn principals() -> FieldPath {
    FieldPath::of_fields(["principals"])
}

fn principal(name: &str) -> FieldPath {
    principals().field(name)
}

/// The fingerprint of an item of `keys`.
fn fingerprint(item: &Node) -> Option<KeyFingerprint> {
    if let Some(key) = item.get("ssh") {
        return PublicKey::parse(key.as_str()?).ok().map(|key| KeyFingerprint::Ssh(key.fingerprint()));
    }
    if let Some(pin) = item.get("openpgp") {
        return pin.get("fingerprint")?.as_str()?.parse().ok().map(KeyFingerprint::OpenPgp);
    }
    let account = item.get("keyless")?;
    let name = |field: &str| account.get(field).and_then(Node::as_str).map(str::to_owned);
    let account = KeylessIdentity { issuer: name("issuer")?, identity: name("identity")? };
    Some(KeyFingerprint::Keyless(account.fingerprint()))
}
