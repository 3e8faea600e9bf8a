//! Who is called: a webhook that Alertmanager tells of alerts.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::{Json, Router, extract::State, routing::post};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::ports::free_port;
use crate::serving::serve;
use crate::wait::wait_until;

/// One alert, as Alertmanager tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels; its name is `alertname`.
    pub labels: BTreeMap<String, String>,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Told {
    alerts: Vec<Alert>,
}

type Alerts = Arc<Mutex<Vec<Alert>>>;

/// A server on loopback that keeps what it is told, in order.
#[derive(Debug)]
pub struct AlertSink {
    address: String,
    told: Alerts,
    _stop: oneshot::Sender<()>,
}

impl AlertSink {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let listener = free_port()?;
        listener.set_nonblocking(true).context("cannot listen without blocking")?;
        let address = listener.local_addr().context("a listener without an address")?.to_string();
        let told = Alerts::default();
        let router = Router::new().route("/", post(keep)).with_state(told.clone());
        let ((stop, stopped), (ready, listening)) = (oneshot::channel(), mpsc::channel());
        std::thread::Builder::new()
            .name("alert-sink".into())
            .spawn(move || {
                serve(listener, stopped, &ready, |listener| async move { axum::serve(listener, router).await });
            })
            .context("cannot start the sink")?;
        listening.recv().map_err(|_| anyhow!("the sink has ended"))??;
        Ok(Self { address, told, _stop: stop })
    }

    /// Where it is told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until it was told that an alert is in a state, and returns it.
    pub fn wait(&self, name: &str, status: &str, within: Duration) -> Result<Alert> {
        wait_until(&format!("{name} is {status}"), within, || {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let is_it = |alert: &&Alert| {
                alert.status == status && alert.labels.get("alertname").is_some_and(|known| known == name)
            };
            told.iter().rev().find(is_it).cloned().ok_or_else(|| anyhow!("told: {told:?}"))
        })
    }
}

async fn keep(State(told): State<Alerts>, Json(news): Json<Told>) {
    told.lock().unwrap_or_else(PoisonError::into_inner).extend(news.alerts);
}
