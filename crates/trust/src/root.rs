//! The TrustRoot: where trust starts. The spec is a type of this crate; the custom resource wraps it, and the same
//! manifest as a file is what the command line reads.

use std::collections::BTreeSet;

use manifest::{Digest, Finding, Node, RepoPath, canonical_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommitId, Crypto, Fingerprint, Freshness, KeylessTrust, MAX_CHANGED_PATHS, PublicKey, git_ref::check_ref};

/// The most root keys: a group of people who meet, with room for replacements.
pub const MAX_ROOT_KEYS: usize = 32;
/// The most entries of `bootstrap`: one GitSource and its first Syncs.
pub const MAX_BOOTSTRAP: usize = 256;
/// The most bytes that a mirror may be allowed to have: what the controller lets any have, 512 MiB.
pub const MAX_REPOSITORY_BYTES: u64 = 512 << 20;

/// Spec of a TrustRoot. Fields that are not supported yet are part of the schema; [`unsupported`](Self::unsupported)
/// names those that are set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRootSpec {
    /// What the repository is called, whatever its address: any text, equal to `repoId` of the trust file.
    #[schemars(length(min = 1, max = 256))]
    pub repo_id: String,
    /// The one ref that is tracked, such as `refs/heads/main` or the signed tag `refs/tags/live`; equal to `ref` of the trust file.
    #[schemars(length(max = 256), regex(pattern = r"^refs/(heads|tags)/[^\s~^:?*\[\\]+$"))]
    pub r#ref: String,
    /// The commit from which trust starts.
    pub introduction: Introduction,
    /// Keys that vouch for the trust file of the introduction, and how many of them are needed.
    pub root_keys: RootKeys,
    /// The lowest `version` of the trust file that may be in force at an accepted revision.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_policy_version: u64,
    /// Whether what is judged is done. In mode `Audit` all is judged and told, and nothing is written to the cluster by it.
    #[serde(default)]
    pub mode: TrustMode,
    /// Tighter limits than the built-in ones, for what is not accepted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TrustLimits>,
    /// A commit that an admin vouches for as accepted: the floor after the log was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<CommitId>,
    /// How new what the server shows must be, so that a server that hides new commits is told (W405).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// Whose orders are obeyed. Default `Signed`.
    #[serde(default)]
    pub orders: TrustOrders,
    /// By what keyless signatures are verified. Default: the trust root of the public Sigstore that writ was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<KeylessTrust>,
    /// GitSources and Syncs that are obeyed before an accepted commit declares them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub bootstrap: Vec<BootstrapOrder>,
}

/// The commit from which trust starts, pinned three ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introduction {
    /// Its full object id.
    pub commit: CommitId,
    /// SHA-256 of what was signed.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub payload_sha256: Digest,
    /// Fingerprint of the key that signed it, `SHA256:…`.
    pub signer: Fingerprint,
}

/// Keys that vouch for the trust file of the introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootKeys {
    /// How many different keys must have signed.
    #[schemars(range(min = 1, max = 32))]
    pub threshold: u32,
    /// Public keys as in `authorized_keys`: `ssh-ed25519 AAAA…`.
    #[schemars(length(min = 1, max = 32))]
    pub keys: Vec<String>,
}

/// Whether what is judged is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrustMode {
    /// What is good is rolled out, and drift is put back.
    #[default]
    Enforce,
    /// Commits, candidates and drift are judged and told as otherwise, and nothing is done about them.
    Audit,
}

/// Whose GitSources and Syncs are obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrustOrders {
    /// Those that an accepted commit declares, or `bootstrap` names.
    #[default]
    Signed,
    /// All in the cluster.
    Cluster,
}

/// Limits of what may come. What was accepted stays in force, also where it is over them: a step that was is not refused for
/// them later. A mirror that is lost is fetched by them, and is not if what was accepted is over `repository_bytes`: until
/// that is raised nothing new is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustLimits {
    /// Steps of one judgement. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Paths that one step above what was accepted may change, at most 20,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20_000))]
    pub changed_paths: Option<u32>,
    /// Bytes of a mirror's packs after a fetch, at most 536,870,912 (512 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 536_870_912))]
    pub repository_bytes: Option<u64>,
}

/// A GitSource or Sync that is obeyed if its spec has this digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootstrapOrder {
    /// `GitSource` or `Sync`.
    pub kind: BootstrapKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// SHA-256 of the canonical JSON of its spec with all defaults filled in.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub spec_sha256: Digest,
}

/// The kinds of `bootstrap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum BootstrapKind {
    /// A GitSource.
    GitSource,
    /// A Sync.
    Sync,
}

/// Why a TrustRoot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRootError {
    /// It is the manifest of something else.
    #[error("apiVersion and kind are not writ.dev/v1alpha1 and TrustRoot")]
    OtherKind,
    /// A field is unknown, missing or of another type.
    #[error("{0}")]
    Manifest(Box<Finding>),
    /// A field is set that is not supported yet.
    #[error("spec.{0} is not supported yet")]
    Unsupported(&'static str),
    /// A value that makes no sense.
    #[error("spec.{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The part of a manifest that is read.
#[derive(Deserialize)]
struct Manifest {
    spec: TrustRootSpec,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl TrustLimits {
    /// What is wrong with them, by field: each may only be tighter than what is built in.
    fn check(&self) -> Vec<(&'static str, String)> {
        let paths = ("limits.changedPaths", self.changed_paths.map(u64::from), MAX_CHANGED_PATHS as u64);
        let bytes = ("limits.repositoryBytes", self.repository_bytes, MAX_REPOSITORY_BYTES);
        let wrong = |(field, value, most): (&'static str, Option<u64>, u64)| {
            let value = value.filter(|value| *value == 0 || *value > most)?;
            Some((field, format!("{value} is not between 1 and {most}, the built-in limit")))
        };
        [paths, bytes].into_iter().filter_map(wrong).collect()
    }
}

impl TrustRootSpec {
    /// How many paths one step may change that was not accepted yet.
    #[must_use]
    pub fn changed_paths(&self) -> usize {
        let limit = self.limits.as_ref().and_then(|limits| usize::try_from(limits.changed_paths?).ok());
        limit.map_or(MAX_CHANGED_PATHS, |limit| limit.min(MAX_CHANGED_PATHS))
    }

    /// How many bytes the mirror may have after a fetch.
    #[must_use]
    pub fn repository_bytes(&self) -> u64 {
        let limit = self.limits.as_ref().and_then(|limits| limits.repository_bytes);
        limit.map_or(MAX_REPOSITORY_BYTES, |limit| limit.min(MAX_REPOSITORY_BYTES))
    }

    /// Reads the manifest of a TrustRoot (`apiVersion`, `kind`, `metadata`, `spec`) in `file` and checks its spec.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_manifest(file: &RepoPath, root: &Node) -> Result<Self, Vec<TrustRootError>> {
        let value = root.to_json();
        let is = |field: &str, wanted: &str| value.get(field).and_then(serde_json::Value::as_str) == Some(wanted);
        if !is("apiVersion", "writ.dev/v1alpha1") || !is("kind", "TrustRoot") {
            return Err(vec![TrustRootError::OtherKind]);
        }
        let Manifest { spec } =
            manifest::from_document(file, root).map_err(|finding| vec![TrustRootError::Manifest(Box::new(finding))])?;
        let errors = spec.check();
        if errors.is_empty() { Ok(spec) } else { Err(errors) }
    }

    /// Fields that are set and not supported yet, by name. A TrustRoot with one of them is not obeyed.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        // How many steps a judgement has depends on when it happens: one that comes in portions would pass where the whole does not.
        self.limits.iter().filter(|limits| limits.steps.is_some()).map(|_limits| "limits.steps").collect()
    }

    /// All that is wrong with the spec, unsupported fields included.
    #[must_use]
    pub fn check(&self) -> Vec<TrustRootError> {
        let mut errors: Vec<_> = self.unsupported().into_iter().map(TrustRootError::Unsupported).collect();
        let mut invalid = |field, reason: String| errors.push(TrustRootError::Invalid { field, reason });
        if self.repo_id.is_empty() || self.repo_id.len() > 256 {
            invalid("repoId", "needs 1 to 256 bytes".to_owned());
        }
        if let Err(reason) = check_ref(&self.r#ref) {
            invalid("ref", reason.to_owned());
        }
        let keys = self.root_keys.keys.len();
        if keys > MAX_ROOT_KEYS {
            invalid("rootKeys.keys", format!("{keys} keys are more than {MAX_ROOT_KEYS}"));
        }
        let mut different = BTreeSet::new();
        for key in self.root_keys.keys.iter().take(MAX_ROOT_KEYS) {
            match PublicKey::parse(key) {
                Ok(key) if !different.insert(key.fingerprint()) => {
                    invalid("rootKeys.keys", format!("{} is there twice", key.fingerprint()));
                }
                // What they sign is judged by these settings, since the file that has others is what they vouch for.
                Ok(key) => {
                    if let Err(weak) = Crypto::default().check_key(&key) {
                        invalid("rootKeys.keys", weak.to_string());
                    }
                }
                Err(reason) => invalid("rootKeys.keys", reason.to_string()),
            }
        }
        let threshold = self.root_keys.threshold;
        if threshold == 0 || usize::try_from(threshold).is_ok_and(|threshold| threshold > different.len()) {
            let reason = format!("{threshold} of {} different usable keys can never be reached", different.len());
            invalid("rootKeys.threshold", reason);
        }
        for (field, reason) in self.keyless.iter().flat_map(KeylessTrust::check) {
            invalid(field, reason);
        }
        for (field, reason) in self.freshness.iter().flat_map(Freshness::check) {
            invalid(field, reason);
        }
        for (field, reason) in self.limits.iter().flat_map(TrustLimits::check) {
            invalid(field, reason);
        }
        if self.bootstrap.len() > MAX_BOOTSTRAP {
            invalid("bootstrap", format!("{} entries are more than {MAX_BOOTSTRAP}", self.bootstrap.len()));
        }
        errors
    }

    /// As it is in force with a trust root that was fetched for it: as if `keyless.trustedRoot` held that text. An empty one
    /// verifies nothing.
    #[must_use]
    pub fn with_trusted_root(&self, text: &str) -> Self {
        let keyless = self.keyless.clone().unwrap_or_default();
        Self { keyless: Some(KeylessTrust { trusted_root: Some(text.to_owned()), ..keyless }), ..self.clone() }
    }

    /// The spec as canonical JSON: what the trust digest is made from.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "structs of texts, numbers and unit variants always serialise")]
        let value = serde_json::to_value(self).expect("a TrustRoot spec is JSON");
        canonical_json(&value)
    }
}
