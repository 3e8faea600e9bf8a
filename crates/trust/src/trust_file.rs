//! The trust file, `.writ/trust.yaml`: who may sign what.
//!
//! It is read strictly: a field that is unknown, or not supported yet, refuses the file, by name and with its place.
//! Every mistake is reported at once. Sub-modules: `reader` (positioned access to YAML), `read` (YAML to types),
//! `check` (what fields mean together, and against the predecessor), `signatures` (of the root principals),
//! `certificates` (OpenPGP keys, which are files of their own).

mod certificates;
mod check;
mod read;
mod reader;
mod signatures;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use manifest::{Digest, Finding, Position, RepoPath};

use crate::{Crypto, Fingerprint, PublicKey, glob::PathPattern, kinds::KindPatterns, openpgp::OpenPgpFingerprint};

pub(crate) use certificates::load_certificates;
pub use certificates::{CERTIFICATES, MAX_CERTIFICATES_BYTES, PinnedCertificate};
pub(crate) use signatures::SignatureFile;
pub use signatures::{MAX_SIGNATURE_FILES, signature_path};

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
    /// Roles by name: the principals that hold them.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// Rules, in the order written.
    pub rules: Vec<Rule>,
    /// What is demanded of side branches.
    pub ancestry: Ancestry,
    /// Revocations; never taken back.
    pub revoked: BTreeMap<Revoked, String>,
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

/// A person or a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Which of the two.
    pub kind: PrincipalKind,
    /// Their SSH keys; at least one of these or the certificates.
    pub keys: Vec<PrincipalKey>,
    /// Their OpenPGP keys.
    pub certificates: Vec<PinnedCertificate>,
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// A machine. It never counts for `.writ/`, `policies/` and `waivers/`.
    Robot,
}

/// A key of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalKey {
    /// The key.
    pub key: PublicKey,
    /// When it ends; a date is its first instant in UTC.
    pub not_after: Option<Timestamp>,
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
    pub(crate) place: Position,
}

/// So many different holders of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleThreshold {
    /// The role.
    pub role: String,
    /// How many; at least 1.
    pub threshold: u32,
    pub(crate) place: Position,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// An SSH key.
    Key(Fingerprint),
    /// An OpenPGP certificate, or one key of it.
    Certificate(OpenPgpFingerprint),
    /// The signed bytes of a commit.
    Payload(Digest),
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

    /// The rules that cover a path.
    pub fn rules_for<'a, 'p>(&'a self, path: &'p RepoPath) -> impl Iterator<Item = &'a Rule> + use<'a, 'p> {
        self.rules.iter().filter(|rule| rule.covers(path))
    }
}

impl Rule {
    /// Whether the rule covers a path.
    #[must_use]
    pub fn covers(&self, path: &RepoPath) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Certificate(key) => write!(f, "key {key}"),
            Self::Payload(payload) => write!(f, "payload sha256:{payload}"),
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
