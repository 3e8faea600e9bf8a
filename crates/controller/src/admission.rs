//! What the API server asks us before it stores something: who changes objects that carry our label, which is noted and
//! always allowed, and who makes a request, which is stamped.
//!
//! Of its own port and thread, over TLS with a certificate that is made here and never leaves the process. Whoever may reach
//! the port could tell us anything, so the path holds a token that only those know who may read webhook configurations.
//! Sub-modules: `certificate` (what we show), `listen` (the thread, and how many connections), `answer` (what is said),
//! `review` (what is read of a question), `observations` (what is kept), `keeper` (that we are asked at all).

mod answer;
mod certificate;
mod keeper;
mod listen;
mod observations;
mod review;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cluster::Cluster;
use jiff::Timestamp;

use crate::stamp::Stamp;

pub(crate) use certificate::CertificateError;
pub(crate) use observations::{Changed, Observations, Observed};

use certificate::Certificates;
use listen::{Listening, Serving};

/// Name of the Service that the API server reaches us by (`deploy/webhooks.yaml`).
const SERVICE: &str = "writ-admission";

/// Why the API server cannot ask us.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for admission reviews")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the thread for admission reviews")]
    Thread(#[source] std::io::Error),
    /// There is no certificate to show.
    #[error("cannot make a certificate for admission reviews")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<CertificateError> for AdmissionError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error.into())
    }
}

/// What the thread needs to answer.
pub(super) struct Desk {
    pub(super) observations: Arc<Observations>,
    pub(super) stamp: Stamp,
    pub(super) token: String,
    /// The instance whose objects are observed.
    pub(super) instance: String,
}

/// The thread and the task that keeps the API server asking. Both end when this is dropped.
pub(crate) struct Admission {
    /// Where reviews are taken.
    pub(crate) address: SocketAddr,
    _listening: Listening,
    keeper: tokio::task::JoinHandle<()>,
}

impl Admission {
    /// Starts both; returns once it listens.
    ///
    /// # Errors
    /// When the address is taken, there is no certificate, or the system gives no thread.
    pub(crate) fn start(
        address: SocketAddr,
        cluster: Cluster,
        (namespace, instance): (&str, &str),
        stamp: Stamp,
        observations: Arc<Observations>,
    ) -> Result<Self, AdmissionError> {
        let names = [
            format!("{SERVICE}.{namespace}.svc"),
            format!("{SERVICE}.{namespace}.svc.cluster.local"),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let certificates = Certificates::begin(&names, Timestamp::now())?;
        let token = certificates.token();
        let serving = Arc::new(Serving::new(certificates.serving()));
        let desk =
            Desk { observations: observations.clone(), stamp, token: token.clone(), instance: instance.to_owned() };
        let listening = Listening::start(address, desk, serving.clone())?;
        let keeper =
            keeper::Keeper { cluster, instance: instance.to_owned(), token, certificates, serving, observations };
        Ok(Self { address: listening.address, _listening: listening, keeper: tokio::spawn(keeper.keep()) })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Nothing that can panic happens under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
