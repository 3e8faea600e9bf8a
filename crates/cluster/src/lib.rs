//! The only user of `kube`: custom resources, discovery, watches, apply, prune, status and events.
//!
//! | question | where |
//! |---|---|
//! | how a request is made, bounded and refused | `request` |
//! | which kinds the cluster serves | `discovery` |
//! | whether anything carries our label | `labelled` |
//! | what the custom resources look like | `crd` |
//! | what is remembered of a live object | `record` |
//! | how changes in the cluster are seen | `watch` |
//! | how an approved plan reaches the cluster | `apply` |
//! | who the server's bookkeeping says wrote a field | `managed_fields` |
//! | how the API server comes to ask us | `webhook_configuration` |
//! | which commands grant what was denied | `permission` |
//! | how a Sync keeps its inventory | `applyset` |
//! | what is reported | `status`, `events` |
//! | how a second instance is kept out | `lease` |
//!
//! No field of a custom resource holds per-object state, and no object gets a finalizer.

mod apply;
mod applyset;
mod code;
mod connect;
mod content_hash;
pub mod crd;
mod discovery;
mod events;
mod explain;
#[cfg(test)]
mod faults;
#[cfg(fuzzing)]
pub mod fuzzing;
mod labelled;
mod lease;
mod managed_fields;
mod permission;
mod read;
mod record;
mod request;
mod status;
mod text;
mod watch;
mod webhook_configuration;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use apply::{ApplyOptions, ApplyRefused, ApplyReport, Current, Done, Failure, Made, Outcome, Retry};
pub use applyset::{PARENT_MANAGER, ParentInventory};
pub use code::ClusterCode;
pub use connect::{Access, Cluster, ConnectError};
pub use discovery::{Discovery, Resource};
pub use events::{EventWriter, Note, Regarding, Severity};
pub use lease::{Lease, LeaseError};
pub use managed_fields::{Claim, Claims, claims};
pub use read::SecretData;
pub use record::{AdmittedObject, AppliedByWrit, FIELD_MANAGER, RawObject, Sighting};
pub use request::{ApiCause, ApiFailure, Identity, RequestError};
pub use status::{StatusError, StatusWriter, Written};
pub use watch::{Proof, Watch, WatchEvent, WatchTarget, Watched};
pub use webhook_configuration::{Endpoint, Pointed, WebhookKind};
