//! What the controller is started with.

use std::{net::SocketAddr, path::PathBuf};

use git::FetchChild;
use plan::InstanceId;

/// Resolved and checked options of one controller.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state volume: `log/`, `mirror/`, `tuf/`, `expected/`.
    pub state_dir: PathBuf,
    /// File with the log's signing key.
    pub log_key: PathBuf,
    /// Name of the log in its checkpoints.
    pub log_origin: String,
    /// Id of this controller. It obeys the custom resources that carry it as label
    /// `writ.dev/instance`; the instance `writ` also those without the label.
    pub instance: InstanceId,
    /// writ's own namespace.
    pub namespace: String,
    /// Identity in the Lease.
    pub identity: String,
    /// Address of metrics and probes.
    pub listen: SocketAddr,
    /// Address of webhooks; `None`: none are taken.
    pub webhook_listen: Option<SocketAddr>,
    /// Address that the API server asks at who changes what; `None`: nobody is looked for.
    pub admission_listen: Option<SocketAddr>,
    /// File with the audit log of the API server; `None`: it is not read.
    pub audit_log: Option<PathBuf>,
    /// Kubeconfig, or the ServiceAccount of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// How the fetch child is started.
    pub fetch_child: FetchChild,
    /// Version for the log.
    pub version: &'static str,
    /// Seed of the jitter of polls.
    pub seed: u64,
}

/// The instance that also obeys custom resources without the instance label.
pub const DEFAULT_INSTANCE: &str = "writ";

impl Options {
    /// Whether a custom resource with this instance label is ours.
    #[must_use]
    pub fn is_ours(&self, label: Option<&str>) -> bool {
        match label {
            Some(label) => label == self.instance.as_str(),
            None => self.instance.as_str() == DEFAULT_INSTANCE,
        }
    }
}
