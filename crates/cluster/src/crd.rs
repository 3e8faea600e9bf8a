//! The custom resources of `writ.dev/v1alpha1`: types, schemas, and what they refuse.
//!
//! The spec of a TrustRoot is a type of `trust`, that of a Sync of `plan`; here they become kinds.
//! The definitions are built from those types by hand rather than by `kube`'s derive, which can
//! only wrap a spec of its own crate.

mod condition;
mod definition;
mod git_source;
mod requests;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plan::SyncSpec;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use trust::TrustRootSpec;

pub use condition::{Condition, ConditionStatus, set_condition};
pub use definition::{CrdError, crds, crds_yaml};
pub use git_source::{GitSourceSpec, LocalName};
pub use requests::{
    BreakGlassSpec, DetachedSignature, DriftAction, DriftRequestSpec, OrderError, PauseRequestSpec, RequestedBy,
    RollbackRequestSpec, Target,
};
pub use status::{
    DriftStatus, GitSourceStatus, HeldRevision, LogAnchor, OpenDrift, OverrideStatus, RolledBack, SyncStatus,
    TrustRootStatus,
};

use crate::Resource;

/// API group of all kinds here.
pub const GROUP: &str = "writ.dev";
/// Their only version.
pub const VERSION: &str = "v1alpha1";
/// Label of an ApplySet parent: the Sync's own id (KEP-3659).
pub const APPLYSET_ID_LABEL: &str = "applyset.kubernetes.io/id";

/// What makes a spec type a kind.
pub trait CustomSpec: Serialize + DeserializeOwned {
    /// Its status.
    type Status: Serialize + DeserializeOwned + PartialEq + Clone;
    /// Its kind.
    const KIND: &'static str;
    /// Its plural.
    const PLURAL: &'static str;
    /// Namespaced or not.
    const SCOPE: manifest::Scope;

    /// Where it is served.
    #[must_use]
    fn resource() -> Resource {
        Resource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            plural: Self::PLURAL.to_owned(),
            scope: Self::SCOPE,
        }
    }
}

/// One custom resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Custom<S: CustomSpec>
where
    S: std::fmt::Debug + Clone + PartialEq,
    S::Status: std::fmt::Debug,
{
    /// `writ.dev/v1alpha1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace, generation, annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: S,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<S::Status>,
}

/// A custom resource cannot be read: the definition in the cluster is older or newer than this
/// binary.
#[derive(Debug, thiserror::Error)]
#[error("this {kind} cannot be read: {source}")]
pub struct CustomError {
    kind: &'static str,
    source: serde_json::Error,
}

impl<S> Custom<S>
where
    S: CustomSpec + std::fmt::Debug + Clone + PartialEq,
    S::Status: std::fmt::Debug,
{
    /// Reads a custom resource from the bytes of a watch event or an answer.
    ///
    /// # Errors
    /// When a field is missing, of the wrong type, or unknown to the spec.
    pub fn read(json: &[u8]) -> Result<Self, CustomError> {
        serde_json::from_slice(json).map_err(|source| CustomError { kind: S::KIND, source })
    }

    /// Its name; the API server gives every object one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace; `None` for a TrustRoot.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    /// Value of an annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// Where trust starts (cluster-scoped).
pub type TrustRoot = Custom<TrustRootSpec>;
/// A repository that is fetched.
pub type GitSource = Custom<GitSourceSpec>;
/// A folder that is applied.
pub type Sync = Custom<SyncSpec>;
/// Stops reverts for a bounded time.
pub type PauseRequest = Custom<PauseRequestSpec>;
/// Says what is to be done about a drift.
pub type DriftRequest = Custom<DriftRequestSpec>;
/// Orders an earlier revision.
pub type RollbackRequest = Custom<RollbackRequestSpec>;
/// Waives authorisation for a bounded time.
pub type BreakGlass = Custom<BreakGlassSpec>;

macro_rules! custom {
    ($spec:ty, $status:ty, $kind:literal, $plural:literal, $scope:ident) => {
        impl CustomSpec for $spec {
            type Status = $status;
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;
            const SCOPE: manifest::Scope = manifest::Scope::$scope;
        }
    };
}
custom!(TrustRootSpec, TrustRootStatus, "TrustRoot", "trustroots", Cluster);
custom!(GitSourceSpec, GitSourceStatus, "GitSource", "gitsources", Namespaced);
custom!(SyncSpec, SyncStatus, "Sync", "syncs", Namespaced);
custom!(PauseRequestSpec, OverrideStatus, "PauseRequest", "pauserequests", Namespaced);
custom!(DriftRequestSpec, OverrideStatus, "DriftRequest", "driftrequests", Namespaced);
custom!(RollbackRequestSpec, OverrideStatus, "RollbackRequest", "rollbackrequests", Namespaced);
custom!(BreakGlassSpec, OverrideStatus, "BreakGlass", "breakglasses", Namespaced);
