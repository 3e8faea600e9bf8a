//! What goes on while the event loop waits for the disk or decides about many objects: probes, metrics and the Lease, on a
//! thread, a runtime and a connection of their own. So a loop that hangs is said to hang, and a Lease is kept meanwhile.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{Lease, LeaseError};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::{sync::oneshot, time::MissedTickBehavior};

use crate::{
    http::{Probes, serve},
    options::Options,
    run::{ControllerError, connect, lease},
};

/// The thread. It ends when this is dropped.
pub(crate) struct Beside {
    /// Where metrics and probes are served.
    pub(crate) address: SocketAddr,
    /// Says that another instance took the Lease.
    pub(crate) lost: oneshot::Receiver<LeaseError>,
    _stop: oneshot::Sender<()>,
}

/// What the thread needs.
pub(crate) struct Duties {
    pub(crate) options: Arc<Options>,
    pub(crate) registry: Registry,
    pub(crate) probes: Arc<Probes>,
    /// From when the probes count seconds.
    pub(crate) started: Instant,
}

impl Beside {
    /// Starts the thread; returns once it serves.
    pub(crate) async fn start(duties: Duties) -> Result<Self, ControllerError> {
        let (ready, served) = oneshot::channel();
        let (losing, lost) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ControllerError::Thread)?;
        std::thread::Builder::new()
            .name("writ-beside".to_owned())
            .spawn(move || runtime.block_on(work(duties, ready, losing, stopped)))
            .map_err(ControllerError::Thread)?;
        let ended = |_| ControllerError::Thread(std::io::Error::other("it ended before it served"));
        let address = served.await.map_err(ended)??;
        Ok(Self { address, lost, _stop: stop })
    }
}

/// All of it, until it is stopped or the Lease is lost. Whoever no longer listens to an answer is ending.
async fn work(
    duties: Duties,
    ready: oneshot::Sender<Result<SocketAddr, ControllerError>>,
    losing: oneshot::Sender<LeaseError>,
    stopped: oneshot::Receiver<()>,
) {
    let Duties { options, registry, probes, started } = duties;
    let begin = async {
        let lease = lease(connect(&options).await?, &options);
        let address = serve(options.listen, registry, probes.clone()).await?;
        Ok((lease, address))
    };
    let (lease, address) = match begin.await {
        Ok(begun) => begun,
        Err(error) => {
            ready.send(Err(error)).ok();
            return;
        }
    };
    ready.send(Ok(address)).ok();
    tokio::select! {
        _ = stopped => {}
        () = tell_time(&probes, started) => {}
        lost = keep(&lease) => {
            losing.send(lost).ok();
        }
    }
}

/// Compares the loop's turns with a clock that does not depend on it.
async fn tell_time(probes: &Probes, started: Instant) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        probes.tick(started.elapsed().as_secs());
    }
}

/// Renews the Lease; returns when another instance took it.
async fn keep(lease: &Lease) -> LeaseError {
    let mut renew = tokio::time::interval(lease.renew_every());
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        renew.tick().await;
        match lease.acquire(Timestamp::now()).await {
            Ok(()) => {}
            Err(error @ LeaseError::Held { .. }) => return error,
            // The API server is away: so it is for everybody else.
            Err(error) => tracing::warn!(error = %error, "the Lease was not renewed"),
        }
    }
}
