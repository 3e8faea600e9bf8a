//! `/metrics`, `/healthz` and `/readyz`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// The event loop turns at least every second; five missed turns mean that it hangs.
pub(crate) const STALLED_AFTER_SECONDS: u64 = 5;

/// What the probes answer from; written by the event loop.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    ready: AtomicBool,
    last_turn: AtomicU64,
    now: AtomicU64,
}

impl Probes {
    /// Everything needed to act is there: log open, watches synced.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// The loop turned at `second` (seconds since start).
    pub(crate) fn turned(&self, second: u64) {
        self.last_turn.store(second, Ordering::Relaxed);
    }

    /// A clock that is independent of the loop says it is `second`.
    pub(crate) fn tick(&self, second: u64) {
        self.now.store(second, Ordering::Relaxed);
    }

    fn alive(&self) -> bool {
        self.now.load(Ordering::Relaxed).saturating_sub(self.last_turn.load(Ordering::Relaxed)) < STALLED_AFTER_SECONDS
    }
}

/// Why the endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for metrics and probes")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

struct Shared {
    registry: Registry,
    probes: Arc<Probes>,
}

/// Binds `address` and serves in the background until the process ends. Returns the bound address.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn serve(
    address: SocketAddr,
    registry: Registry,
    probes: Arc<Probes>,
) -> Result<SocketAddr, HttpError> {
    let listener = TcpListener::bind(address).await.map_err(|source| HttpError::Listen { address, source })?;
    let bound = listener.local_addr().map_err(|source| HttpError::Listen { address, source })?;
    let shared = Arc::new(Shared { registry, probes });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(error = %error, "the metrics endpoint ended");
        }
    });
    Ok(bound)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => {
            (StatusCode::OK, [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.probes.alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the event loop hangs\n")
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.probes.ready.load(Ordering::Relaxed) && shared.probes.alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
