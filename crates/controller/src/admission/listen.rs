//! The thread that the API server asks, with a runtime of its own: it is answered within its second, whatever the loop does.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

use super::{AdmissionError, Desk, answer::router, certificate::CertificateError, lock};
use crate::visit::Visit;

type Stream = TlsStream<TcpStream>;

/// Connections at once; others wait in the kernel. An API server has a few, which it keeps.
const MAX_CONNECTIONS: usize = 32;
/// How long a handshake may take: the API server waits for a second in all.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long a connection lives: whoever holds one and says nothing has it for this long.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long nobody is let in after the kernel could not (no file descriptors, mostly).
const RETRY: Duration = Duration::from_millis(500);

/// What is shown, which changes.
#[derive(Debug)]
pub(super) struct Serving(Mutex<Arc<CertifiedKey>>);

impl Serving {
    pub(super) fn new(key: Arc<CertifiedKey>) -> Self {
        Self(Mutex::new(key))
    }

    pub(super) fn show(&self, key: Arc<CertifiedKey>) {
        *lock(&self.0) = key;
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(lock(&self.0).clone())
    }
}

/// The thread. It ends when this is dropped.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Listening {
    pub(super) fn start(address: SocketAddr, desk: Desk, serving: Arc<Serving>) -> Result<Self, AdmissionError> {
        let listen = |source| AdmissionError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::from)?
            .with_no_client_auth()
            .with_cert_resolver(serving);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdmissionError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let served = match TcpListener::from_std(listener) {
                Ok(listener) => axum::serve(Connections::start(listener, acceptor, bound), router(Arc::new(desk))),
                Err(error) => return tracing::error!(error = %error, "admission reviews are not taken"),
            };
            tokio::select! {
                // Nothing is kept for it any more.
                _ = stopped => {}
                ended = served.into_future() => tracing::error!(?ended, "admission reviews are not taken any more"),
            }
        };
        std::thread::Builder::new()
            .name("writ-admission".to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(AdmissionError::Thread)?;
        Ok(Self { address: bound, _stop: stop })
    }
}

/// Connections whose handshake is over.
struct Connections {
    accepted: mpsc::Receiver<(Visit<Stream>, SocketAddr)>,
    address: SocketAddr,
}

impl Connections {
    /// Each handshake is a task of its own: who is slow in it holds nobody up.
    fn start(listener: TcpListener, acceptor: TlsAcceptor, address: SocketAddr) -> Self {
        let (sender, accepted) = mpsc::channel(MAX_CONNECTIONS);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tokio::spawn(async move {
            loop {
                // Nobody ever closes the semaphore.
                let permit = room.clone().acquire_owned().await.ok();
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        tokio::spawn(shake_hands(acceptor.clone(), stream, peer, permit, sender.clone()));
                    }
                    Err(error) => {
                        tracing::debug!(error = %error, "a connection of the API server was not accepted");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        });
        Self { accepted, address }
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    room: Option<OwnedSemaphorePermit>,
    sender: mpsc::Sender<(Visit<Stream>, SocketAddr)>,
) {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let visit = Visit::new(stream, room, LIFETIME);
            // Without a receiver nothing is served any more.
            sender.send((visit, peer)).await.ok();
        }
        Ok(Err(error)) => tracing::debug!(error = %error, %peer, "a handshake for admission reviews failed"),
        Err(_late) => tracing::debug!(%peer, "a handshake for admission reviews took too long"),
    }
}

impl Listener for Connections {
    type Io = Visit<Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit<Stream>, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // Whoever accepts ends with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
