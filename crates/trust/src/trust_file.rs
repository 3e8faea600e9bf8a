//! The trust file, `.writ/trust.yaml`: who may sign what.
//!
//! It is read strictly: a field that is unknown, or not supported yet, refuses the file, by name and with its place.
//! Every mistake is reported at once. Sub-modules: `reader` (positioned access to YAML), `read` (YAML to types),
//! `check` (what fields mean together, and against the predecessor), `signatures` (of the root principals), `authority`
//! (SSH certificates), `certificates` (OpenPGP keys, which are files of their own), `identities` (keyless keys), `import` and
//! `import_signers` (revocations and signers from elsewhere),
//! `edit` (changes of its text).

mod authority;
mod certificates;
mod check;
mod edit;
mod edit_verdict;
mod identities;
mod import;
mod import_signers;
mod read;
mod read_authority;
mod read_user;
mod reader;
mod signatures;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use manifest::{Digest, Finding, Position, RepoPath};

use crate::{
    CommitId, Crypto, Fingerprint, KeyFingerprint, KeylessFingerprint, PublicKey, RefBinding, UserCheck,
    glob::PathPattern, kinds::KindPatterns, namespaces::NamespacePatterns, openpgp::OpenPgpFingerprint,
};

pub use authority::{Authority, CertifiedName};
pub(crate) use certificates::load_certificates;
pub use certificates::{CERTIFICATES, MAX_CERTIFICATES_BYTES, PinnedCertificate};
pub use edit::{NewKey, NewKeyMaterial, NewPrincipal, NewRevocation, TrustEditError, TrustEditor};
pub use identities::KeylessKey;
pub use import::ImportedRevocations;
pub use import_signers::{
    CertificateToImport, ImportTerms, ImportedSigners, KeyListError, NewAuthority, certificate_path, key_list,
};
pub(crate) use signatures::SignatureFile;
pub use signatures::{MAX_SIGNATURE_FILES, openpgp_signature_path, signature_path};

/// Path of the trust file.
pub const TRUST_FILE: &str = ".writ/trust.yaml";
/// Folder of its detached signatures.
pub const TRUST_SIGNATURES: &str = ".writ/trust.yaml.sigs";
/// Largest trust file: 1,000 principals of about 200 bytes and 200 rules fit.
pub const MAX_TRUST_FILE_BYTES: usize = 256 * 1024;
/// Most items of any list or mapping in it.
pub const MAX_ITEMS: usize = 1_000;
/// Most path patterns of all rules: with 20,000 changed paths and about 100 ns each, 2 s of matching.
pub const MAX_PATTERNS: usize = 1_000;

/// A trust file as types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// What the repository is called.
    pub repo_id: String,
    /// The ref it is for.
    pub git_ref: String,
    /// Counts up by one with every change.
    pub version: u64,
    /// After this (and a grace of [`EXPIRY_GRACE`](crate::EXPIRY_GRACE)) only `.writ/` may change.
    pub expires: Timestamp,
    /// Principals by name.
    pub principals: BTreeMap<String, Principal>,
    /// Authorities whose certificates are believed, by name.
    pub authorities: BTreeMap<String, Authority>,
    /// Roles by name: the principals that hold them.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// Rules, in the order written.
    pub rules: Vec<Rule>,
    /// What is demanded of history.
    pub history: HistoryRules,
    /// Revocations; never taken back.
    pub revoked: BTreeMap<Revoked, Revocation>,
    /// Which keys and digests are strong enough.
    pub crypto: Crypto,
    digest: Digest,
    places: Places,
    /// Empty until they are loaded. Their digests are in the bytes of the file, so `digest` covers them.
    certificates: certificates::Certificates,
}

/// Where the fields are that are compared with something outside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) repo_id: Position,
    pub(crate) git_ref: Position,
    pub(crate) version: Position,
    pub(crate) rules: Position,
    pub(crate) revoked: Position,
}

/// A person, a machine or a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Which of them.
    pub kind: PrincipalKind,
    /// Their SSH keys; at least one of these, `certificates`, `pinned` and `keyless`.
    pub keys: Vec<PrincipalKey>,
    /// The names by which the API server knows them, exactly.
    pub kubernetes_users: BTreeSet<String>,
    /// What SSH certificates call them.
    pub certificates: Vec<CertifiedName>,
    /// Their OpenPGP keys.
    pub pinned: Vec<PinnedCertificate>,
    /// The accounts for which they get a key for minutes.
    pub keyless: Vec<KeylessKey>,
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// A machine. It never counts for `.writ/`, `policies/` and `waivers/`.
    Robot,
    /// A server that signs in the name of whoever presses its buttons. It may carry merges and counts for nothing.
    Forge,
}

impl PrincipalKind {
    /// As the file has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Robot => "robot",
            Self::Forge => "forge",
        }
    }
}

/// A key of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalKey {
    /// The key.
    pub key: PublicKey,
    /// When it begins; a date is its first instant in UTC.
    pub not_before: Option<Timestamp>,
    /// When it ends; a date is its first instant in UTC.
    pub not_after: Option<Timestamp>,
    /// What each of its signatures must prove about the user, if it is a security key.
    pub user: UserCheck,
}

/// Who may change which paths, and what may be declared there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The paths it covers: any of them.
    pub paths: Vec<PathPattern>,
    /// Any of these satisfies it.
    pub any_of: Vec<RoleThreshold>,
    /// The kinds that may be declared.
    pub kinds: KindPatterns,
    /// The namespaces that may be declared for.
    pub namespaces: NamespacePatterns,
    /// The rule that this one replaces where it covers a path (`override`).
    pub replaces: Option<String>,
    pub(crate) place: Position,
}

/// So many different holders of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleThreshold {
    /// The role.
    pub role: String,
    /// How many; at least 1.
    pub threshold: u32,
    /// Whether who made the change does not count: who signed the commit, or the side commit that a merge takes it from.
    pub distinct_from_author: bool,
    pub(crate) place: Position,
}

/// What a trust file demands of history (`history`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryRules {
    /// What is demanded of side branches.
    pub ancestry: Ancestry,
    /// What binds commits to the ref.
    pub ref_binding: RefBinding,
    /// Who stands for what a merge brings.
    pub merge_credit: MergeCreditMode,
    /// Whether the good steps before a refused one are accepted (`partialAdvance`).
    pub partial_advance: bool,
    /// Whether commits may carry a signature for each object format, of which one is verified (`dualSigned`).
    pub dual_signed: bool,
}

/// Who stands for what a merge brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MergeCreditMode {
    /// Who signed the merge. The default.
    #[default]
    MergerOnly,
    /// Also who signed the side commits that it takes over unchanged.
    Transitive,
}

/// What is demanded of the commits that a merge brings along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ancestry {
    /// The merge alone answers for what it changes against its first parent.
    FirstParent,
    /// Each must be signed by someone allowed to change its paths. The default.
    #[default]
    AllSigned,
}

/// What is revoked for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// An SSH key.
    Key(Fingerprint),
    /// An OpenPGP certificate, or one key of it.
    Certificate(OpenPgpFingerprint),
    /// An account of an identity provider.
    Keyless(KeylessFingerprint),
    /// The signed bytes of a commit.
    Payload(Digest),
    /// Certificates of an authority by their numbers, both ends included.
    Serials {
        /// Name of the authority.
        ca: String,
        /// The first; at least 1.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Certificates of an authority by the name it gave them.
    KeyId {
        /// Name of the authority.
        ca: String,
        /// The name.
        key_id: String,
    },
}

/// Since when something is revoked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Why, as written.
    pub reason: String,
    /// For a soft revocation the commit of the mainline up to which the key's signatures stay good; `None`: none of them is.
    pub after: Option<CommitId>,
    pub(crate) place: Position,
}

impl TrustFile {
    /// Reads a trust file: its form, and what its fields mean together.
    ///
    /// # Errors
    /// Everything that is wrong with it, W502 and W506 with line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let file = read::read(bytes)?;
        let findings = check::check(&file, None);
        if findings.is_empty() { Ok(file) } else { Err(findings) }
    }

    /// Digest of the exact bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The principal that holds a key.
    #[must_use]
    pub fn holder(&self, key: &Fingerprint) -> Option<(&str, &PrincipalKey)> {
        self.principals.iter().find_map(|(name, principal)| {
            let found = principal.keys.iter().find(|one| one.key.fingerprint() == *key)?;
            Some((name.as_str(), found))
        })
    }

    /// The principal that holds a key of any format; an OpenPGP key may be a subkey of a certificate that is loaded.
    #[must_use]
    pub fn holder_of(&self, key: &KeyFingerprint) -> Option<&str> {
        match key {
            KeyFingerprint::Ssh(key) => self.holder(key).map(|(name, _held)| name),
            KeyFingerprint::OpenPgp(key) => {
                let certificates = std::iter::once(*key).chain(self.certificates_with(key));
                certificates.into_iter().find_map(|one| self.certificate_holder(&one)).map(|(name, _pin)| name)
            }
            KeyFingerprint::Keyless(key) => self.identity_holder(key).map(|(name, _held)| name),
        }
    }

    /// The rules that hold for a path: those that cover it, but those that another of them replaces.
    #[must_use]
    pub fn rules_for(&self, path: &RepoPath) -> Vec<&Rule> {
        self.rules_that(|rule| rule.covers(path))
    }

    /// The rules that hold for a ref, which those for files are not.
    #[must_use]
    pub fn rules_for_ref(&self, git_ref: &str) -> Vec<&Rule> {
        self.rules_that(|rule| rule.paths.iter().any(|pattern| pattern.matches_ref(git_ref)))
    }

    /// What a rule leaves open that the one it replaces had limited, of `kinds` and `namespaces`: an override replaces these as
    /// well.
    #[must_use]
    pub fn left_open(&self, rule: &Rule) -> Vec<&'static str> {
        let replaced = self.rules.iter().find(|other| rule.replaces.as_ref() == Some(&other.name));
        let Some(replaced) = replaced else { return Vec::new() };
        let kinds = (!replaced.kinds.is_empty() && rule.kinds.is_empty()).then_some("kinds");
        let namespaces = (!replaced.namespaces.is_empty() && rule.namespaces.is_empty()).then_some("namespaces");
        kinds.into_iter().chain(namespaces).collect()
    }

    fn rules_that(&self, cover: impl Fn(&Rule) -> bool) -> Vec<&Rule> {
        let covering: Vec<&Rule> = self.rules.iter().filter(|rule| cover(rule)).collect();
        let replaced = |rule: &Rule| covering.iter().any(|other| other.replaces.as_deref() == Some(&rule.name));
        covering.iter().copied().filter(|rule| !replaced(rule)).collect()
    }
}

impl From<KeyFingerprint> for Revoked {
    fn from(key: KeyFingerprint) -> Self {
        match key {
            KeyFingerprint::Ssh(key) => Self::Key(key),
            KeyFingerprint::OpenPgp(key) => Self::Certificate(key),
            KeyFingerprint::Keyless(key) => Self::Keyless(key),
        }
    }
}

impl RoleThreshold {
    /// One holder of the role.
    pub(crate) fn part(&self) -> Self {
        Self { threshold: 1, ..self.clone() }
    }
}

impl Rule {
    /// Whether the rule covers a path.
    #[must_use]
    pub fn covers(&self, path: &RepoPath) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Certificate(key) => write!(f, "key {key}"),
            Self::Keyless(key) => write!(f, "key {key}"),
            Self::Payload(payload) => write!(f, "payload sha256:{payload}"),
            Self::Serials { ca, from, to } if from == to => write!(f, "certificate {from} of {ca}"),
            Self::Serials { ca, from, to } => write!(f, "certificates {from} to {to} of {ca}"),
            Self::KeyId { ca, key_id } => write!(f, "certificate {key_id:?} of {ca}"),
        }
    }
}

/// Path of the trust file as a path.
pub(crate) fn trust_file_path() -> RepoPath {
    TRUST_FILE.parse().unwrap_or_default()
}

/// Folder of its signatures as a path.
pub(crate) fn signatures_folder() -> RepoPath {
    TRUST_SIGNATURES.parse().unwrap_or_default()
}
