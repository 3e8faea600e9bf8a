//! Development only: what writ is tested against, all of it real and on loopback. A Kubernetes control plane, Git repositories
//! with signed commits, Git servers over https and ssh, a Sigstore without servers, a TUF repository, and writ itself as a process with the
//! permissions that `deploy/` gives it.
//!
//! Everything blocks and returns [`anyhow::Result`]; a test unwraps. Nothing outlives the process.

/// The crates whose speed the benchmarks measure, for those who know this crate alone.
pub mod measured {
    pub use git;
    pub use manifest;
    pub use trust;
}

mod alert_sink;
mod authority;
mod control_plane;
mod git_server;
mod gpg;
mod keyless;
mod keys;
mod metrics;
mod ports;
mod process;
mod prometheus;
mod scratch;
mod serving;
mod signed_repo;
mod ssh_server;
mod tenants;
mod trust_file;
mod tuf;
mod wait;
mod writ_process;

pub use alert_sink::{Alert, AlertSink};
pub use authority::{Authority, Issued};
pub use control_plane::{Component, ControlPlane, PROGRAMS_VARIABLE, Profile};
pub use git_server::{Fault, GitRequest, GitServer};
pub use gpg::Gpg;
pub use keyless::{Account, Blob, Flaw, Sigstore, joined_trusted_roots};
pub use keys::{KeyType, Keys, SigningKey, allowed_signers};
pub use metrics::{Metrics, RequestFilter, RequestTotals, Sample};
pub use process::{Server, hermetic_command, run, spawn};
pub use prometheus::{Alerting, PrometheusRules};
pub use scratch::Scratch;
pub use signed_repo::{Credentials, Merge, Push, RawEntry, Remote, SignedRepo, Signing};
pub use ssh_server::{SshCommand, SshFault, SshServer};
pub use tenants::{
    Rights, Tenant, WRIT_NAMESPACE, WRIT_SERVICE_ACCOUNT, deploy_file, deploy_folder, install, permissions,
    writ_kubeconfig,
};
pub use trust_file::{PrincipalKind, TrustFile};
pub use tuf::{Metadata, Tuf, TufKey};
pub use wait::wait_until;
pub use writ_process::{FAULT_POINT_VARIABLE, Finished, Writ, WritCommand};
