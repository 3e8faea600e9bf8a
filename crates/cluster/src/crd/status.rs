//! What writ reports. Status is never the only place of a security state: it is lost when an object
//! is deleted and created again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// A revision that is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldRevision {
    /// The commit.
    pub revision: String,
    /// Code of the refusal, such as `W301`.
    pub code: String,
    /// Reason of the code, such as `Unsigned`.
    pub reason: String,
    /// What was found and what would be needed.
    #[serde(default)]
    pub message: String,
    /// What mends it.
    #[serde(default)]
    pub fix: String,
    /// Who signed it, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Status of a TrustRoot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrustRootStatus {
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The newest accepted commit: a floor below which writ never goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<String>,
    /// Digest of TrustRoot, trust file and revocations in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_digest: Option<String>,
    /// Where the log stands, for outsiders to hold against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogAnchor>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What outsiders need to verify the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogAnchor {
    /// Origin line of its checkpoints.
    pub origin: String,
    /// Its public key (C2SP signed-note verifier key).
    pub public_key: String,
    /// The newest checkpoint, a signed note.
    pub checkpoint: String,
}

/// Status of a GitSource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitSourceStatus {
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The head that was fetched last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_revision: Option<String>,
    /// The newest commit that was verified and authorised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_revision: Option<String>,
    /// The head, if it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_revision: Option<HeldRevision>,
    /// Value of `reconcile.fluxcd.io/requestedAt` that was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A signed order that a Sync follows instead of its newest revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The newest revision that the Sync had accepted.
    pub from: String,
    /// The RollbackRequest; it may be gone.
    pub request: String,
    /// Who signed it.
    pub signers: Vec<String>,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A drift that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenDrift {
    /// By which `writ drift show` finds it.
    pub id: String,
    /// The object, such as `Deployment.apps shop/web`.
    pub object: String,
    /// The field that matters most; absent if it is the object as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How much that matters: info, low, medium, high, critical.
    pub severity: String,
    /// open, contested or paused.
    pub state: String,
    /// Code of what is said of it, such as `D101`.
    pub code: String,
    /// When it was seen first, RFC 3339.
    pub since: String,
}

/// Drifts of a Sync that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DriftStatus {
    /// How many.
    pub open: u64,
    /// How many of them come back after each revert.
    pub contested: u64,
    /// How many of them are left alone because somebody asked for it.
    pub paused: u64,
    /// The worst of them: at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<OpenDrift>,
}

/// Status of a Sync. Of objects it names at most twenty that are drifted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The verified revision that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate_revision: Option<String>,
    /// The revision in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<String>,
    /// The revision whose every object was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_revision: Option<String>,
    /// The candidate, if it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_revision: Option<HeldRevision>,
    /// The order by which it is held to an earlier revision, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// How many objects it manages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// How many of them are drifted at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifted: Option<u64>,
    /// What is drifted and not put back, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// Value of `reconcile.fluxcd.io/requestedAt` that was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Status of a PauseRequest, RollbackRequest or BreakGlass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OverrideStatus {
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
