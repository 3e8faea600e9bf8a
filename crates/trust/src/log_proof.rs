//! Resuming from the log: the second and last way to an [`AuthorizedCommit`].
//!
//! Everything is verified here, from bytes: the entry's canonical JSON, its inclusion proof (RFC 9162 §2.1.3), and the
//! checkpoint (<https://c2sp.org/tlog-checkpoint>) as a signed note (<https://c2sp.org/signed-note>) by the log's
//! Ed25519 key. The log says that this controller accepted the commit; nothing else can say so.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use manifest::{Digest, canonical_json};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{AuthorizedCommit, KeyFingerprint, Signer, TrustRootSpec};

/// Schema of log entries.
const SCHEMA: &str = "writ.dev/audit/v1alpha1";
/// Largest entry: what the log writes at most.
const MAX_ENTRY_BYTES: usize = 16 * 1024;
/// Largest checkpoint: three short lines and 16 signature lines of up to 5 kB.
const MAX_CHECKPOINT_BYTES: usize = 96 * 1024;
/// Longest inclusion proof: a log of 2^63 entries.
const MAX_PROOF_HASHES: usize = 63;
/// The field of the subject with the latest committer time.
const LATEST: &str = "latestCommitTime";
/// Signature type of plain Ed25519 in a signed note.
const ED25519_NOTE: u8 = 1;

/// The public key of a log: name (its origin) and Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

/// What proves that an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// The leaf: canonical JSON of the entry.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The path from the leaf's sibling upwards.
    pub hashes: Vec<[u8; 32]>,
    /// The signed checkpoint whose root the path leads to.
    pub checkpoint: String,
}

/// The parts of an `advance` entry that [`AuthorizedCommit::resume`] reads back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFields {
    /// `repoId`, `commit`, `tree`, `payloadSha256` and, if known, `latestCommitTime`, `principal`, `key` and `ca`.
    pub subject: BTreeMap<String, String>,
    /// `policyVersion`.
    pub counts: BTreeMap<String, u64>,
    /// `trust`.
    pub digests: BTreeMap<String, String>,
}

/// Why a commit cannot be resumed from the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The key text is no `<name>+<key id>+<base64>` of an Ed25519 key.
    #[error("not the public key of a log: {0}")]
    Key(&'static str),
    /// The checkpoint is not in its form.
    #[error("not a signed checkpoint: {0}")]
    Checkpoint(&'static str),
    /// No good signature by the log's key.
    #[error("the checkpoint is not signed by {0}")]
    Signature(String),
    /// The checkpoint is of another log.
    #[error("the checkpoint is of {found:?}, not of {needed:?}")]
    Origin {
        /// Origin in the checkpoint.
        found: String,
        /// Name of the key.
        needed: String,
    },
    /// The path does not lead to the root.
    #[error("entry {index} is not in the log of {size} entries that the checkpoint is of")]
    Inclusion {
        /// The claimed place.
        index: u64,
        /// Entries of the log.
        size: u64,
    },
    /// The entry is not the canonical JSON of an `advance`.
    #[error("the entry cannot be resumed from: {0}")]
    Entry(String),
}

impl LogKey {
    /// Reads `<name>+<key id>+<base64(0x01 ‖ key)>`, the text form of signed-note keys.
    ///
    /// # Errors
    /// [`ResumeError::Key`].
    pub fn parse(text: &str) -> Result<Self, ResumeError> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ResumeError::Key("it has not three parts"));
        };
        if name.is_empty() || name.len() > 256 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ResumeError::Key("its name is empty, too long, or has blanks"));
        }
        let bytes = STANDARD.decode(key).map_err(|_not_base64| ResumeError::Key("it is not base64"))?;
        let key: [u8; 32] = match bytes.split_first() {
            Some((&ED25519_NOTE, key)) => key.try_into().map_err(|_length| ResumeError::Key("it has not 32 bytes"))?,
            _ => return Err(ResumeError::Key("it is not of type Ed25519")),
        };
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_NOTE]).chain_update(key).finalize();
        let own_id = *hash.first_chunk::<4>().ok_or(ResumeError::Key("its hash is short"))?;
        if hex::encode(own_id) != id {
            return Err(ResumeError::Key("its id does not belong to it"));
        }
        Ok(Self { name: name.to_owned(), id: own_id, key })
    }

    /// The name: the origin of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size and root of a checkpoint that this key signed.
    fn open(&self, note: &str) -> Result<(u64, [u8; 32]), ResumeError> {
        let form = ResumeError::Checkpoint;
        if note.len() > MAX_CHECKPOINT_BYTES {
            return Err(form("it is too large"));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(form("it has control characters"));
        }
        let (body, signatures) = note.rsplit_once("\n\n").ok_or(form("it has no signatures"))?;
        let signatures = signatures.strip_suffix('\n').ok_or(form("its last line does not end"))?;
        let text = format!("{body}\n");
        let mut signed = false;
        for line in signatures.split('\n') {
            let parts = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let (name, value) = parts.ok_or(form("a signature line is malformed"))?;
            let value = STANDARD.decode(value).map_err(|_not_base64| form("a signature is not base64"))?;
            let (id, signature) = value.split_at_checked(4).ok_or(form("a signature is short"))?;
            if name != self.name || id != self.id.as_slice() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(text.as_bytes(), signature)
                .map_err(|_mismatch| ResumeError::Signature(self.name.clone()))?;
            signed = true;
        }
        if !signed {
            return Err(ResumeError::Signature(self.name.clone()));
        }
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(form("it has not three lines"));
        };
        if origin != self.name {
            return Err(ResumeError::Origin { found: origin.to_owned(), needed: self.name.clone() });
        }
        let number: u64 = size.parse().map_err(|_not_a_number| form("its size is no number"))?;
        if number.to_string() != size {
            return Err(form("its size is not canonical"));
        }
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        Ok((number, root.ok_or(form("its root is no hash"))?))
    }
}

/// One inner node of the tree.
fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Whether the path leads from the leaf to the root: the algorithm of RFC 9162 §2.1.3.2.
fn included(leaf: [u8; 32], index: u64, size: u64, path: &[[u8; 32]], root: &[u8; 32]) -> bool {
    if index >= size || path.len() > MAX_PROOF_HASHES {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size.saturating_sub(1), leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// A log entry, as far as it is read here. Unknown fields are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaf {
    #[expect(dead_code, reason = "part of the form; says nothing about acceptance")]
    codes: Vec<String>,
    counts: BTreeMap<String, u64>,
    digests: BTreeMap<String, String>,
    kind: String,
    schema: String,
    subject: BTreeMap<String, String>,
    #[expect(dead_code, reason = "part of the form; order is the log's, not the clock's")]
    time: String,
}

impl AuthorizedCommit {
    /// What the log entry that accepts this commit must hold, so that it can be resumed from.
    #[must_use]
    pub fn log_fields(&self, root: &TrustRootSpec) -> LogFields {
        let mut subject = BTreeMap::from([
            ("repoId".to_owned(), root.repo_id.clone()),
            ("commit".to_owned(), self.id.to_string()),
            ("tree".to_owned(), self.tree.to_string()),
            ("payloadSha256".to_owned(), self.payload_sha256.to_string()),
        ]);
        subject.extend(self.latest.map(|latest| (LATEST.to_owned(), latest.to_string())));
        if let Some(signer) = &self.signer {
            subject.insert("principal".to_owned(), signer.principal.clone());
            subject.insert("key".to_owned(), signer.key.to_string());
            subject.extend(signer.ca.as_ref().map(|ca| ("ca".to_owned(), ca.to_string())));
        }
        LogFields {
            subject,
            counts: BTreeMap::from([("policyVersion".to_owned(), self.policy_version)]),
            digests: BTreeMap::from([("trust".to_owned(), self.trust_digest.to_string())]),
        }
    }

    /// A commit that an entry of the log accepts. The entry must be about the repository of `root`.
    ///
    /// # Errors
    /// When signature, path or entry do not hold; see [`ResumeError`].
    pub fn resume(proof: &LogProof, log_key: &LogKey, root: &TrustRootSpec) -> Result<Self, ResumeError> {
        let entry = |reason: String| ResumeError::Entry(reason);
        if proof.entry.len() > MAX_ENTRY_BYTES {
            return Err(entry(format!("{} bytes are more than {MAX_ENTRY_BYTES}", proof.entry.len())));
        }
        let (size, tree_root) = log_key.open(&proof.checkpoint)?;
        let leaf = Sha256::new().chain_update([0]).chain_update(&proof.entry).finalize().into();
        if !included(leaf, proof.index, size, &proof.hashes, &tree_root) {
            return Err(ResumeError::Inclusion { index: proof.index, size });
        }
        let value: serde_json::Value =
            serde_json::from_slice(&proof.entry).map_err(|error| entry(error.to_string()))?;
        if canonical_json(&value) != proof.entry {
            return Err(entry("it is not canonical JSON".to_owned()));
        }
        let leaf: Leaf = serde_json::from_value(value).map_err(|error| entry(error.to_string()))?;
        if leaf.schema != SCHEMA || leaf.kind != "advance" {
            return Err(entry(format!("it is {:?} of schema {:?}, not an advance", leaf.kind, leaf.schema)));
        }
        leaf.accepted(root).map_err(entry)
    }
}

impl Leaf {
    fn accepted(&self, root: &TrustRootSpec) -> Result<AuthorizedCommit, String> {
        let text = |field: &str| self.subject.get(field).ok_or_else(|| format!("it has no subject {field}"));
        let wrong = |field: &str| format!("its {field} is malformed");
        if *text("repoId")? != root.repo_id {
            return Err(format!("it is about the repository {:?}, not {:?}", text("repoId")?, root.repo_id));
        }
        let trust = self.digests.get("trust").ok_or("it has no trust digest")?;
        let signer = match (self.subject.get("principal"), self.subject.get("key")) {
            (Some(principal), Some(key)) => {
                let key: KeyFingerprint = key.parse().map_err(|_form| wrong("key"))?;
                let ca = self.subject.get("ca").map(|ca| ca.parse().map(Box::new)).transpose();
                let ca = ca.map_err(|_form| wrong("ca"))?;
                Some(Box::new(Signer { principal: principal.clone(), format: key.format(), key, ca, identity: None }))
            }
            (None, None) if !self.subject.contains_key("ca") => None,
            _ => return Err("it names a principal, a key or an authority without the others".to_owned()),
        };
        let latest = self.subject.get(LATEST).map(|latest| latest.parse::<Timestamp>()).transpose();
        Ok(AuthorizedCommit {
            latest: latest.map_err(|_form| wrong(LATEST))?,
            id: text("commit")?.parse().map_err(|_form| wrong("commit"))?,
            tree: text("tree")?.parse().map_err(|_form| wrong("tree"))?,
            payload_sha256: text("payloadSha256")?.parse::<Digest>().map_err(|_form| wrong("payloadSha256"))?,
            trust_digest: trust.parse::<Digest>().map_err(|_form| wrong("trust digest"))?,
            policy_version: *self.counts.get("policyVersion").ok_or("it has no policyVersion")?,
            signer,
        })
    }
}
