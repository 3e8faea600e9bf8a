//! TLS connections for the Git server, and the faults that happen below http.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::task::{Context as Poller, Poll};

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Fault;
use crate::authority::{Authority, Issued};

/// Connections that wait for their handshake or for axum: more than all clients of a test.
const BACKLOG: u32 = 128;

/// The order to change the fault; answered when it is in force.
pub(super) struct Control {
    pub(super) fault: Option<Fault>,
    pub(super) done: blocking::Sender<Result<()>>,
}

/// The two faces of the server.
pub(super) struct Acceptors {
    right: TlsAcceptor,
    wrong: TlsAcceptor,
}

impl Acceptors {
    pub(super) fn new(authority: &Authority, nobody_trusts: &Authority, clients: Option<&Authority>) -> Result<Self> {
        Ok(Self { right: acceptor(authority, clients)?, wrong: acceptor(nobody_trusts, clients)? })
    }
}

fn acceptor(authority: &Authority, clients: Option<&Authority>) -> Result<TlsAcceptor> {
    let Issued { certificate, key } = authority.server(&["127.0.0.1", "localhost"])?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).context("cannot read the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("cannot read the key")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no TLS version in common with ourselves")?
        .with_client_cert_verifier(verifier(clients)?)
        .with_single_cert(vec![certificate], key)
        .context("cannot use the certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Who may connect: everybody, or those with a certificate of an authority.
fn verifier(clients: Option<&Authority>) -> Result<Arc<dyn ClientCertVerifier>> {
    let Some(clients) = clients else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(clients.certificate().as_bytes());
    roots.add(certificate.context("cannot read the authority's certificate")?).context("cannot trust it")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .context("cannot ask for certificates")
}

/// Accepted and encrypted connections, for axum.
pub(super) struct Connections {
    accepted: mpsc::Receiver<(Connection, SocketAddr)>,
    address: io::Result<SocketAddr>,
}

impl Connections {
    /// Accepts in a task of its own, so that a client that is slow in its handshake holds nobody up.
    pub(super) fn start(
        listener: TcpListener,
        acceptors: Acceptors,
        fault: watch::Sender<Option<Fault>>,
        commands: mpsc::UnboundedReceiver<Control>,
    ) -> Self {
        let (sender, accepted) = mpsc::channel(BACKLOG as usize);
        let address = listener.local_addr();
        let era = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            let mut accepting = Accepting { acceptors, fault, era, sender };
            // An error was told to the one who sent the command that led to it; nothing is accepted any more.
            let _told = accepting.run(listener, commands).await;
        });
        Self { accepted, address }
    }
}

struct Accepting {
    acceptors: Acceptors,
    fault: watch::Sender<Option<Fault>>,
    era: Arc<AtomicU64>,
    sender: mpsc::Sender<(Connection, SocketAddr)>,
}

impl Accepting {
    async fn run(&mut self, listener: TcpListener, mut commands: mpsc::UnboundedReceiver<Control>) -> Option<()> {
        let mut socket = Socket::Listening(listener);
        loop {
            let command = match &socket {
                Socket::Listening(listener) => tokio::select! {
                    command = commands.recv() => command?,
                    accepted = listener.accept() => {
                        // An error concerns one connection that went away before it was accepted.
                        if let Ok((stream, peer)) = accepted {
                            self.shake_hands(stream, peer);
                        }
                        continue;
                    }
                },
                Socket::Refusing(..) => commands.recv().await?,
            };
            self.era.fetch_add(1, Ordering::SeqCst);
            let down = command.fault == Some(Fault::Down);
            self.fault.send_replace(command.fault);
            match socket.switched(down) {
                Ok(switched) => {
                    socket = switched;
                    // Whoever asked may have gone.
                    let _told = command.done.send(Ok(()));
                }
                Err(error) => {
                    let _told = command.done.send(Err(error));
                    return None;
                }
            }
        }
    }

    fn shake_hands(&self, stream: TcpStream, peer: SocketAddr) {
        let acceptor = match *self.fault.borrow() {
            Some(Fault::WrongCertificate) => self.acceptors.wrong.clone(),
            _ => self.acceptors.right.clone(),
        };
        let (sender, born, era) = (self.sender.clone(), self.era.load(Ordering::SeqCst), Arc::clone(&self.era));
        tokio::spawn(async move {
            // A client that does not trust us ends the handshake: that is its right. A closed channel means we are stopping.
            if stream.set_nodelay(true).is_err() {
                return;
            }
            match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => {
                    let _stopping = sender.send((Connection { stream, born, era }, peer)).await;
                }
                // Read to its end: closed with something unread, the connection is reset, and why is lost.
                Err((_refused, mut stream)) => {
                    let _gone = stream.shutdown().await;
                    let _gone = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
            }
        });
    }
}

/// The server's port: open, or reserved without listening, which refuses connections.
enum Socket {
    Listening(TcpListener),
    Refusing(TcpSocket, SocketAddr),
}

impl Socket {
    fn switched(self, down: bool) -> Result<Self> {
        match (self, down) {
            (Self::Listening(listener), true) => {
                let address = listener.local_addr().context("cannot read the socket's address")?;
                let socket = listener.into_std().context("cannot take the socket")?;
                // Shut down, not closed: another thread may be between fork and exec, and the copy in its child would go on
                // listening. The socket keeps its port, see `free_port`, and can listen again.
                let socket = std::net::TcpStream::from(OwnedFd::from(socket));
                socket
                    .shutdown(std::net::Shutdown::Read)
                    .with_context(|| format!("cannot stop listening on {address}"))?;
                Ok(Self::Refusing(TcpSocket::from_std_stream(socket), address))
            }
            (Self::Refusing(socket, address), false) => Ok(Self::Listening(
                socket.listen(BACKLOG).with_context(|| format!("cannot listen on {address} again"))?,
            )),
            (unchanged, _) => Ok(unchanged),
        }
    }
}

impl axum::serve::Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // Accepting has ended: there is no further connection, and the trait knows no end.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

/// A connection that breaks when the fault changes, so that no kept-alive connection lives through it.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    born: u64,
    era: Arc<AtomicU64>,
}

impl Connection {
    fn check(&self) -> io::Result<()> {
        if self.era.load(Ordering::SeqCst) == self.born { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.check()?;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
