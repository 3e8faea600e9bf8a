//! PauseRequest, RollbackRequest, BreakGlass: the kinds exist with their whole schema, and each is
//! refused as not supported yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Spec of a RollbackRequest: a signed order for an earlier accepted revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequestSpec {
    /// The Sync of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub sync: String,
    /// The accepted commit to go back to, by its full id.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub to: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Detached signatures, namespace `writ-rollback@1`.
    #[schemars(length(min = 1, max = 16))]
    pub signatures: Vec<DetachedSignature>,
}

/// Spec of a BreakGlass: waives authorisation, never signatures or history, for at most 4 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlassSpec {
    /// The GitSource of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub source: String,
    /// The commit that is let through, by its full id.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub commit: String,
    /// When it ends, RFC 3339.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub until: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Detached signatures.
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
    /// The armoured signature.
    #[schemars(length(min = 1, max = 16384))]
    pub signature: String,
}
