//! The thread of webhooks, with a runtime of its own: strangers take no time from the loop, the probes or the Lease.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::oneshot};

use super::{
    Hooks,
    answer::router,
    door::{DEADLINE, Door},
};
use crate::metrics::Metrics;

/// Why webhooks are not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhooksError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for webhooks")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the thread for webhooks")]
    Thread(#[source] std::io::Error),
}

/// The thread. It ends when this is dropped.
pub(crate) struct Webhooks {
    /// Where webhooks are taken.
    pub(crate) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Webhooks {
    /// Starts the thread; returns once it listens.
    ///
    /// # Errors
    /// When the address is taken, or the system gives no thread.
    pub(crate) fn start(address: SocketAddr, hooks: Arc<Hooks>, metrics: Arc<Metrics>) -> Result<Self, WebhooksError> {
        let listen = |source| WebhooksError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WebhooksError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let served = match TcpListener::from_std(listener) {
                Ok(listener) => axum::serve(Door::new(listener, DEADLINE), router(hooks, metrics)).into_future(),
                Err(error) => return tracing::error!(error = %error, "webhooks are not taken"),
            };
            tokio::select! {
                // Nothing is kept for it any more.
                _ = stopped => {}
                ended = served => tracing::error!(?ended, "webhooks are not taken any more"),
            }
        };
        std::thread::Builder::new()
            .name("writ-webhooks".to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(WebhooksError::Thread)?;
        Ok(Self { address: bound, _stop: stop })
    }
}
