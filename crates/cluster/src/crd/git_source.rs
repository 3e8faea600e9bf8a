//! GitSource: a repository that is fetched.

use manifest::{Digest, canonical_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Spec of a GitSource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSourceSpec {
    /// Address of the repository: `https://host/path.git` or `ssh://git@host/path.git`. Credentials belong into `secretRef`.
    #[schemars(length(min = 9, max = 2048), regex(pattern = r"^(https://[^\s@]+|ssh://[^\s@:/]+@[^\s@]+)$"))]
    pub url: String,
    /// The one ref that is fetched; the `ref` of the TrustRoot: `refs/heads/main`, or a signed tag such as `refs/tags/live`.
    #[schemars(length(min = 11, max = 255), regex(pattern = r"^refs/(heads|tags)/[^\s]+$"))]
    pub r#ref: String,
    /// How often the remote is asked, such as `30s`; jitter is added. Default one minute.
    #[serde(default = "interval_default")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(s|m|h))+$"))]
    pub interval: String,
    /// Secret of the same namespace. For https: `username` and `password`, `bearerToken`, or a GitHub App (`githubAppID`,
    /// `githubAppInstallationID`, `githubAppPrivateKey`, `githubAppBaseURL`); `ca.crt`; `tls.crt` and `tls.key`. For ssh:
    /// `identity` (a private key) with `password` for its passphrase, `known_hosts`. For webhooks: `webhook.token`. Nothing
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalName>,
    /// The TrustRoot that decides who may sign here.
    pub trust_root_ref: LocalName,
    /// GitSources whose policies are in force here as well. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub policy_from: Option<Vec<LocalName>>,
    /// Other namespaces whose Syncs may use this source. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub allowed_namespaces: Option<Vec<String>>,
    /// True stops fetching; what was accepted is healed all the same.
    #[serde(default)]
    pub suspend: bool,
}

fn interval_default() -> String {
    "1m".to_owned()
}

/// The name of an object in the same namespace, or of a cluster-scoped one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalName {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl GitSourceSpec {
    /// The fields that are set but not supported yet.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if self.policy_from.is_some() {
            fields.push("spec.policyFrom");
        }
        if self.allowed_namespaces.is_some() {
            fields.push("spec.allowedNamespaces");
        }
        fields
    }

    /// The digest a signed order is compared by: SHA-256 over the canonical JSON of the spec with
    /// every default filled in.
    ///
    /// # Errors
    /// Never for a value of this type; serde's error is passed on rather than hidden.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&canonical_json(&serde_json::to_value(self)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_no_difference_to_the_digest() {
        let read = |text: &str| serde_json::from_str::<GitSourceSpec>(text).unwrap().digest().unwrap();
        let short = r#"{"url":"https://h/r.git","ref":"refs/heads/main","trustRootRef":{"name":"t"}}"#;
        let long = r#"{"url":"https://h/r.git","ref":"refs/heads/main","trustRootRef":{"name":"t"},"interval":"1m","suspend":false}"#;
        let other = r#"{"url":"https://h/r.git","ref":"refs/heads/main","trustRootRef":{"name":"t"},"suspend":true}"#;
        assert_eq!(read(short), read(long));
        assert_ne!(read(short), read(other));
    }
}
