//! A thread of its own that serves one listening socket.

use std::sync::mpsc as blocking;

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Starts a runtime on this thread, says when it listens or why it does not, and serves until it is told to stop or the handle of
/// the server is gone.
pub(crate) fn serve<F: Future>(
    socket: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
    ready: &blocking::Sender<Result<()>>,
    serving: impl FnOnce(TcpListener) -> F,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Without a receiver nobody waits for the server any more.
            let _ignored = ready.send(Err(anyhow!(error).context("cannot start a runtime")));
            return;
        }
    };
    runtime.block_on(async {
        let listening = TcpListener::from_std(socket).context("cannot listen");
        let (outcome, listening) = match listening {
            Ok(listening) => (Ok(()), Some(listening)),
            Err(error) => (Err(error), None),
        };
        let _ignored = ready.send(outcome); // as above
        let Some(listening) = listening else { return };
        tokio::select! {
            _ended = stopped => {}
            _never = serving(listening) => {}
        }
    });
}
