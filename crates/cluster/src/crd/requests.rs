//! PauseRequest, DriftRequest, RollbackRequest, BreakGlass: the kinds exist with their whole schema; the first two are refused as
//! not supported yet.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trust::{OrderKind, SignedOrder};

/// Spec of a PauseRequest: stops reverts for a bounded time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseRequestSpec {
    /// The Sync of the same namespace whose reverts stop.
    #[schemars(length(min = 1, max = 253))]
    pub sync: String,
    /// The objects that are left alone; none named: all of the Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub targets: Option<Vec<Target>>,
    /// When it ends, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub until: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Who made it: written by writ's webhook. Without it the request has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<RequestedBy>,
}

/// Spec of a DriftRequest: says of one drift what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftRequestSpec {
    /// The Sync of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub sync: String,
    /// The drift, by the id that `writ drift ls` prints.
    #[schemars(length(min = 1, max = 128))]
    pub drift: String,
    /// What is to be done about it.
    pub action: DriftAction,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Who made it: written by writ's webhook. Without it the request has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<RequestedBy>,
}

/// What is to be done about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftAction {
    /// It is reverted now, whatever flagged it.
    Revert,
    /// Somebody knows of it: it is told as such, and stays.
    Acknowledge,
}

/// Who made a request, as the API server told writ's webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestedBy {
    /// Name of the user.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// Its UID, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub uid: Option<String>,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 1024)))]
    pub groups: Vec<String>,
    /// What shows that the webhook wrote this: a keyed digest over all of the request.
    #[schemars(length(min = 1, max = 128))]
    pub mac: String,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// API group; empty for the core group.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Spec of a RollbackRequest: a signed order for an earlier accepted revision, as `writ rollback` prints it. What is signed
/// is all of it but the signatures, with the namespace of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequestSpec {
    /// The repository: `repoId` of its TrustRoot.
    #[schemars(length(min = 1, max = 253))]
    pub repo_id: String,
    /// The Sync of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub sync: String,
    /// The accepted commit to go back to, by its full id.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub to: String,
    /// SHA-256 of what was signed of that commit.
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub payload_sha256: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Until when it may be obeyed, RFC 3339; at most a day after the object is made. What was obeyed stays in force.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub not_after: String,
    /// Makes it an order that works once.
    #[schemars(length(min = 1, max = 128))]
    pub nonce: String,
    /// Detached signatures over it, namespace `writ-rollback@1`, of as many people as a commit would need.
    #[schemars(length(min = 1, max = 16))]
    pub signatures: Vec<DetachedSignature>,
}

/// A field of a signed order cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {reason}")]
pub struct OrderError {
    field: &'static str,
    reason: String,
}

impl RollbackRequestSpec {
    /// What its signatures are over, as the spec of an object in this namespace.
    ///
    /// # Errors
    /// When a field is not what the schema asks for.
    pub fn order(&self, namespace: &str) -> Result<SignedOrder, OrderError> {
        Ok(SignedOrder {
            kind: OrderKind::Rollback { nonce: self.nonce.clone() },
            repo_id: self.repo_id.clone(),
            about: format!("{namespace}/{}", self.sync),
            commit: read("to", &self.to)?,
            payload_sha256: read("payloadSha256", &self.payload_sha256)?,
            reason: self.reason.clone(),
            not_after: read::<Timestamp>("notAfter", &self.not_after)?,
        })
    }
}

impl BreakGlassSpec {
    /// What its signatures are over, as the spec of an object in this namespace.
    ///
    /// # Errors
    /// When a field is not what the schema asks for.
    pub fn order(&self, namespace: &str) -> Result<SignedOrder, OrderError> {
        Ok(SignedOrder {
            kind: OrderKind::BreakGlass,
            repo_id: self.repo_id.clone(),
            about: format!("{namespace}/{}", self.source),
            commit: read("commit", &self.commit)?,
            payload_sha256: read("payloadSha256", &self.payload_sha256)?,
            reason: self.reason.clone(),
            not_after: read::<Timestamp>("notAfter", &self.not_after)?,
        })
    }
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(field: &'static str, text: &str) -> Result<T, OrderError> {
    text.parse().map_err(|error: T::Err| OrderError { field, reason: error.to_string() })
}

/// Spec of a BreakGlass: lets one commit through that those who made it may not make; waives nothing else. `writ
/// break-glass` prints it. What is signed is all of it but the signatures, with the namespace of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlassSpec {
    /// The repository: `repoId` of its TrustRoot.
    #[schemars(length(min = 1, max = 253))]
    pub repo_id: String,
    /// The GitSource of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub source: String,
    /// The commit that is let through, by its full id.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub commit: String,
    /// SHA-256 of what was signed of that commit.
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub payload_sha256: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Until when the commit may be let through, RFC 3339; at most 4 hours after the object is made.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub not_after: String,
    /// Detached signatures over it, namespace `writ-breakglass@1`, of as many people as a change of the trust file takes.
    #[schemars(length(min = 1, max = 16))]
    pub signatures: Vec<DetachedSignature>,
}

/// A detached signature and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetachedSignature {
    /// Name of the principal in the trust file.
    #[schemars(length(min = 1, max = 253))]
    pub principal: String,
    /// The armoured signature, or the Sigstore bundle.
    #[schemars(length(min = 1, max = 49152))]
    pub signature: String,
}
