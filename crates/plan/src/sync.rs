//! The Sync: which folder of which source goes to which cluster, under whose rights, and what
//! happens to drift. The spec is a type of this crate; the custom resource wraps it.

use std::{fmt, sync::Arc};

use manifest::{Digest, RepoPath, canonical_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Severity;

/// Which Sync: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SyncRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for SyncRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which folder of which GitSource is applied, as whom, and what is done about drift. Fields that are not supported yet are part of
/// the schema and refused by it with their name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncSpec {
    /// The GitSource whose verified revisions are applied.
    pub source_ref: SourceRef,
    /// The folder of the repository that is rendered; empty or absent is the root.
    #[serde(default)]
    #[schemars(with = "String")]
    pub path: RepoPath,
    /// Namespace that every namespaced object is put into; an object that names another is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// ServiceAccount of the Sync's own namespace that all writes are made as. Required except in
    /// writ's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether objects that left the folder are deleted. Default true; the prune guard applies.
    #[serde(default = "prune_default")]
    pub prune: bool,
    /// Share of the applied objects, in percent, that one commit may prune without the trailer
    /// `Writ-Prune: <count>`. At least 10 objects may always be pruned. Default 30.
    #[serde(default = "prune_limit_default")]
    #[schemars(range(min = 0, max = 100))]
    pub prune_limit: u8,
    /// What happens to the objects when the Sync is deleted. Default `Orphan`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Wait until all objects are healthy. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// How long one roll-out may take before its remaining objects are reported as failed, as a
    /// duration such as `5m`. Default 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Syncs that must be ready first. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Vec<SourceRef>>,
    /// Extra health checks. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<Vec<HealthCheck>>,
    /// How new revisions advance. Only `mode: Auto` is supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// What happens to live changes that no accepted commit ordered.
    pub drift: Drift,
}

const fn prune_default() -> bool {
    true
}

const fn prune_limit_default() -> u8 {
    30
}

/// A reference to a GitSource, or to a Sync in `dependsOn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRef {
    /// Name.
    pub name: String,
    /// Namespace; default: the namespace of the Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What happens to a Sync's objects when the Sync is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay; writ forgets them.
    #[default]
    Orphan,
    /// They are deleted, if an accepted commit removed the Sync.
    Delete,
}

/// An object whose condition is waited for. Not supported yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// How new revisions advance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Advance {
    /// `Auto` (default) or `Manual` (not supported yet).
    #[serde(default)]
    pub mode: AdvanceMode,
    /// Times at which revisions may advance; without any, always. They hold roll-outs and never healing. At most 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
}

/// Whether an accepted revision is applied by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdvanceMode {
    /// As soon as it is accepted.
    #[default]
    Auto,
    /// Only when somebody orders it. Not supported yet.
    Manual,
}

/// A time that comes again and again, in which revisions may advance, or drift be reverted, or may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// `Allow`: if there is any of this kind, nothing is done but within one. `Deny`: within it nothing is, whatever is allowed.
    pub kind: WindowKind,
    /// When it begins, as `crontab(5)` has it: minute, hour, day of month, month, day of week.
    pub schedule: String,
    /// How long it lasts, such as `2h` or `1h30m`: a minute to 31 days (`744h`).
    pub duration: String,
    /// IANA time zone of the schedule, such as `Europe/Berlin`. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What a window is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowKind {
    /// It is done within it.
    Allow,
    /// It is not done within it.
    Deny,
}

/// What happens to live changes that no accepted commit ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drift {
    /// Revert, report, or neither.
    pub mode: DriftMode,
    /// When drift may be reverted; without windows always. What they hold is told, and reverted when they let it. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
    /// Another mode for some drift: the first rule that fits counts, those of signed `policies/` before these. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<DriftRule>>,
    /// Live changes that are left alone. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<DriftIgnore>>,
}

/// Another mode for the drift that it fits: all that it names has to fit, and what it does not name fits all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftRule {
    /// Which objects, as `Kind.group namespace/name` with `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which fields, with all below them, such as `spec.template.spec.containers[*].image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Of which severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severities: Option<Vec<Severity>>,
    /// What is done about it.
    pub mode: DriftMode,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is done about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftMode {
    /// It is reverted and reported.
    Revert,
    /// It is reported.
    Flag,
    /// Nothing.
    Off,
}

/// A rule for live changes that are left alone. Not supported yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftIgnore {
    /// Which objects, as `Kind.group namespace/name` with `*`.
    pub target: String,
    /// Which fields, with all below them, such as `spec.template.spec.containers[*].image`.
    pub paths: Vec<String>,
    /// Only what these field managers changed, by what they call themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managers: Option<Vec<String>>,
    /// Why.
    pub reason: String,
    /// Until when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl SyncSpec {
    /// The fields that are set but not supported yet, in the dotted form the schema uses.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        let mut check = |set: bool, field| {
            if set {
                fields.push(field);
            }
        };
        check(self.wait.is_some_and(|wait| wait), "spec.wait");
        check(self.depends_on.is_some(), "spec.dependsOn");
        check(self.health_checks.is_some(), "spec.healthChecks");
        if let Some(advance) = &self.advance {
            check(advance.mode == AdvanceMode::Manual, "spec.advance.mode: Manual");
        }
        check(self.drift.windows.is_some(), "spec.drift.windows");
        check(self.drift.rules.is_some(), "spec.drift.rules");
        check(self.drift.ignore.is_some(), "spec.drift.ignore");
        fields
    }

    /// The digest a signed order is compared by: SHA-256 over the canonical JSON of the spec with
    /// every default filled in, so that what the API server adds makes no difference.
    ///
    /// # Errors
    /// Never for a value of this type; serde's error is passed on rather than hidden.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&canonical_json(&serde_json::to_value(self)?)))
    }
}

/// The id of a Sync as an ApplySet parent (KEP-3659): `applyset-<base64url(sha256("<name>.<namespace>.<kind>.<group>"))>-v1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplySetId(Arc<str>);

impl ApplySetId {
    /// The id of `sync`.
    #[must_use]
    pub fn of(sync: &SyncRef) -> Self {
        use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
        let hash = Sha256::digest(format!("{}.{}.Sync.writ.dev", sync.name, sync.namespace));
        Self(format!("applyset-{}-v1", BASE64_URL_SAFE_NO_PAD.encode(hash)).into())
    }

    /// The id as label value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<SyncSpec, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn defaults_make_no_difference_to_the_digest() {
        let short = spec(r#"{"sourceRef":{"name":"a"},"drift":{"mode":"Revert"}}"#).unwrap();
        let long = spec(
            r#"{"sourceRef":{"name":"a"},"path":"","prune":true,"pruneLimit":30,"deletionPolicy":"Orphan","drift":{"mode":"Revert"}}"#,
        )
        .unwrap();
        assert_eq!(short.digest().unwrap(), long.digest().unwrap());
        let other = spec(r#"{"sourceRef":{"name":"a"},"drift":{"mode":"Flag"}}"#).unwrap();
        assert_ne!(short.digest().unwrap(), other.digest().unwrap());
    }

    #[test]
    fn unknown_fields_and_a_missing_drift_mode_are_refused() {
        assert!(spec(r#"{"sourceRef":{"name":"a"},"drift":{"mode":"Revert"},"pathh":"x"}"#).is_err());
        assert!(spec(r#"{"sourceRef":{"name":"a"},"drift":{}}"#).is_err());
        assert!(spec(r#"{"sourceRef":{"name":"a"},"path":"../x","drift":{"mode":"Revert"}}"#).is_err());
    }

    #[test]
    fn names_every_field_that_is_not_supported_yet() {
        let all = spec(
            r#"{"sourceRef":{"name":"a"},"wait":true,"dependsOn":[{"name":"b"}],"healthChecks":[],
                "advance":{"mode":"Manual"},"drift":{"mode":"Off","windows":[],"rules":[],"ignore":[]}}"#,
        )
        .unwrap();
        assert_eq!(
            all.unsupported(),
            [
                "spec.wait",
                "spec.dependsOn",
                "spec.healthChecks",
                "spec.advance.mode: Manual",
                "spec.drift.windows",
                "spec.drift.rules",
                "spec.drift.ignore"
            ]
        );
    }

    #[test]
    fn applyset_id_is_a_valid_label_value() {
        let id = ApplySetId::of(&SyncRef { namespace: "shop".into(), name: "web".into() });
        assert!(id.as_str().len() <= 63, "{}", id.as_str());
        assert!(id.as_str().starts_with("applyset-") && id.as_str().ends_with("-v1"));
    }
}
