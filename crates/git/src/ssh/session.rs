//! One connection with one command running at its other end. Blocking: it has a runtime of its own, of one thread, which
//! runs while somebody waits here.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, mpsc},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use russh::{
    Channel, ChannelMsg, Preferred, SshId,
    client::{AuthResult, Config, Handle, Handler, Msg, connect_stream},
    keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

use super::{
    Client,
    known_hosts::{KnownHosts, Standing, line_for},
};
use crate::{
    address::SshAddress,
    budget::{Budget, CONNECT_SECONDS, SILENCE_SECONDS},
    exchange::{ExchangeError, KeyProblem, Waiting, quoted},
};

/// The program and its version, as servers log it.
const CLIENT_ID: &str = concat!("SSH-2.0-writ_", env!("CARGO_PKG_VERSION"));
/// What a server may send before it is read here: 2 MiB, as ssh itself allows.
const WINDOW_BYTES: u32 = 2 << 20;
/// Packets (32 KiB) that wait to be read: 512 KiB.
const WAITING_PACKETS: usize = 16;
/// What is kept of the command's standard error: a line or two are shown.
const MAX_WORDS_BYTES: usize = 4 << 10;

/// A command that runs at the server.
pub(crate) struct Session {
    runtime: Runtime,
    /// Both leave within the runtime only; `None` then.
    connection: Option<(Handle<Judge>, Channel<Msg>)>,
    failed: Failed,
    budget: Budget,
    pending: Pending,
    words: Vec<u8>,
    status: Option<u32>,
    ended: bool,
}

/// What arrived, and how much of it was read.
#[derive(Default)]
struct Pending {
    data: Vec<u8>,
    read: usize,
}

impl Pending {
    fn put(&mut self, data: &[u8]) {
        self.data.clear();
        self.data.extend_from_slice(data);
        self.read = 0;
    }

    fn rest(&self) -> &[u8] {
        self.data.get(self.read..).unwrap_or_default()
    }

    fn skip(&mut self, count: usize) {
        self.read = self.read.saturating_add(count);
    }
}

/// The first thing that went wrong below ssh, which tells it in other words.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Option<ExchangeError>>>);

impl Failed {
    fn put(&self, error: ExchangeError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn or(&self, error: ExchangeError) -> ExchangeError {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(error)
    }
}

impl Session {
    /// Connects, checks the server, logs in and starts `git-upload-pack`.
    pub(crate) fn open(client: &Client, protocol: Option<&str>, budget: Budget) -> Result<Self, ExchangeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ExchangeError::Connection { detail: quoted(&error.to_string()) })?;
        let failed = Failed::default();
        let within = budget.remaining()?.min(Duration::from_secs(CONNECT_SECONDS));
        let late = || timed_out(&budget, Waiting::Connecting, CONNECT_SECONDS);
        let stream = dial(&client.address, within)?;
        let within = budget.remaining()?.min(Duration::from_secs(CONNECT_SECONDS));
        let start = start(client, protocol, stream, &budget, &failed);
        let connection = runtime
            .block_on(async { tokio::time::timeout(within, start).await })
            .map_err(|_| failed.or(late()))?
            .map_err(|error| failed.or(error))?;
        Ok(Self {
            runtime,
            connection: Some(connection),
            failed,
            budget,
            pending: Pending::default(),
            words: Vec::new(),
            status: None,
            ended: false,
        })
    }

    /// Sends bytes to the command.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let within = self.budget.remaining()?.min(Duration::from_secs(SILENCE_SECONDS));
        let Some((_, channel)) = &self.connection else { return Err(ExchangeError::Truncated) };
        let sent =
            self.runtime.block_on(async { tokio::time::timeout(within, channel.data_bytes(bytes.to_vec())).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed.or(failure(&error))),
            Err(_) => Err(self.failed.or(timed_out(&self.budget, Waiting::Reading, SILENCE_SECONDS))),
        }
    }

    /// Waits for more to read; nothing more comes once this leaves nothing.
    fn receive(&mut self) -> Result<(), ExchangeError> {
        while !self.ended && self.pending.rest().is_empty() {
            let within = self.budget.remaining()?.min(Duration::from_secs(SILENCE_SECONDS));
            let Some((_, channel)) = &mut self.connection else { return Err(ExchangeError::Truncated) };
            let message = self.runtime.block_on(async { tokio::time::timeout(within, channel.wait()).await });
            let late = |_| self.failed.or(timed_out(&self.budget, Waiting::Reading, SILENCE_SECONDS));
            match message.map_err(late)? {
                Some(ChannelMsg::Data { data }) => self.pending.put(&data),
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = MAX_WORDS_BYTES.saturating_sub(self.words.len());
                    self.words.extend(data.iter().take(room));
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Failure) => {
                    return Err(ExchangeError::Server { message: "it does not run git-upload-pack".to_owned() });
                }
                Some(ChannelMsg::Close) | None => self.ended = true,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What an answer that cannot be understood means, if the server has said why it gives none.
    pub(crate) fn explain(&mut self, error: ExchangeError) -> ExchangeError {
        if !matches!(error, ExchangeError::Truncated | ExchangeError::Protocol { .. }) {
            return error;
        }
        let error = self.failed.or(error);
        if self.ended
            && let Some(said) = self.last_words()
        {
            said
        } else {
            error
        }
    }

    /// What the command said at its end, if it ended badly.
    pub(crate) fn last_words(&self) -> Option<ExchangeError> {
        let words = String::from_utf8_lossy(&self.words);
        match self.status {
            Some(0) => None,
            _ if !words.trim().is_empty() => Some(ExchangeError::Server { message: quoted(&words) }),
            Some(status) => {
                Some(ExchangeError::Server { message: format!("git-upload-pack ended with status {status}") })
            }
            None => None,
        }
    }
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive().map_err(io::Error::other)?;
        // What the connection was cut by is no end.
        if self.pending.rest().is_empty()
            && let Some(error) = self.failed.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        {
            return Err(io::Error::other(error));
        }
        let count = self.pending.rest().read(buffer)?;
        self.pending.skip(count);
        Ok(count)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _within = self.runtime.enter();
        self.connection = None;
    }
}

fn timed_out(budget: &Budget, waiting: Waiting, seconds: u64) -> ExchangeError {
    // Either limit may have been the nearer one.
    budget.remaining().err().unwrap_or(ExchangeError::TimedOut { waiting, seconds })
}

/// Connects to the first address that answers. Names are looked up on a thread of their own, for nothing ends that.
fn dial(address: &SshAddress, within: Duration) -> Result<TcpStream, ExchangeError> {
    let connection = |error: &io::Error| ExchangeError::Connection { detail: quoted(&error.to_string()) };
    let late = ExchangeError::TimedOut { waiting: Waiting::Connecting, seconds: CONNECT_SECONDS };
    let started = std::time::Instant::now();
    let (host, port) = (address.host.clone(), address.port);
    let (found, addresses) = mpsc::channel();
    thread::Builder::new()
        .name("git-ssh-name".to_owned())
        .spawn(move || {
            let looked_up = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
            let _ = found.send(looked_up); // nobody listens after the deadline
        })
        .map_err(|error| connection(&error))?;
    let addresses = addresses.recv_timeout(within).map_err(|_| late.clone())?;
    let mut last = ExchangeError::HostUnknown;
    for address in addresses.map_err(|_| ExchangeError::HostUnknown)? {
        let left = within.checked_sub(started.elapsed()).filter(|left| !left.is_zero()).ok_or_else(|| late.clone())?;
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                return ready.map(|()| stream).map_err(|error| connection(&error));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = late.clone(),
            Err(error) => last = connection(&error),
        }
    }
    Err(last)
}

async fn start(
    client: &Client,
    protocol: Option<&str>,
    stream: TcpStream,
    budget: &Budget,
    failed: &Failed,
) -> Result<(Handle<Judge>, Channel<Msg>), ExchangeError> {
    let host = client.address.known_as();
    let config = Arc::new(Config {
        client_id: SshId::Standard(CLIENT_ID.into()),
        window_size: WINDOW_BYTES,
        channel_buffer_size: WAITING_PACKETS,
        preferred: Preferred { key: client.hosts.preferred(&host).into(), ..Preferred::DEFAULT },
        ..Config::default()
    });
    let stream = tokio::net::TcpStream::from_std(stream)
        .map_err(|error| ExchangeError::Connection { detail: quoted(&error.to_string()) })?;
    let counted = Counted { stream, budget: budget.clone(), failed: failed.clone() };
    let judge = Judge { host, hosts: Arc::clone(&client.hosts), failed: failed.clone() };
    let mut handle = connect_stream(config, counted, judge).await.map_err(|error| failure(&error))?;
    log_in(client, &mut handle).await?;
    let channel = handle.channel_open_session().await.map_err(|error| failure(&error))?;
    if let Some(version) = protocol {
        // Whether the server takes it shows in what it says next.
        channel.set_env(false, "GIT_PROTOCOL", version).await.map_err(|error| failure(&error))?;
    }
    channel.exec(true, client.address.command()).await.map_err(|error| failure(&error))?;
    Ok((handle, channel))
}

async fn log_in(client: &Client, handle: &mut Handle<Judge>) -> Result<(), ExchangeError> {
    let user = &client.address.user;
    let key = client.identity.open().map_err(|error| ExchangeError::Ssh { detail: error.to_string() })?;
    let refused = || ExchangeError::KeyRefused {
        user: user.clone(),
        fingerprint: key.public_key().fingerprint(HashAlg::Sha256).to_string(),
    };
    let hash = match key.algorithm() {
        Algorithm::Rsa { .. } => match handle.best_supported_rsa_hash().await.map_err(|error| failure(&error))? {
            Some(Some(hash)) => Some(hash),
            // It takes RSA keys with SHA-1 alone, which is never made here.
            Some(None) => return Err(refused()),
            None => Some(HashAlg::Sha512),
        },
        _ => None,
    };
    let key = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
    match handle.authenticate_publickey(user.clone(), key).await.map_err(|error| failure(&error))? {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { .. } if handle.is_closed() => Err(ExchangeError::Truncated),
        AuthResult::Failure { .. } => Err(refused()),
    }
}

fn failure(error: &russh::Error) -> ExchangeError {
    match error {
        russh::Error::IO(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExchangeError::Truncated,
        russh::Error::IO(error) => ExchangeError::Connection { detail: quoted(&error.to_string()) },
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => {
            ExchangeError::Truncated
        }
        other => ExchangeError::Ssh { detail: quoted(&other.to_string()) },
    }
}

/// Decides whether a host key is the server's.
struct Judge {
    host: String,
    hosts: Arc<KnownHosts>,
    failed: Failed,
}

impl Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = shown.public_key();
        let standing = match shown {
            PublicKeyOrCertificate::PublicKey { .. } => self.hosts.standing(&self.host, &key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => Standing::Unknown,
        };
        let problem = match standing {
            Standing::Known => return Ok(true),
            Standing::Unknown => KeyProblem::Unknown,
            Standing::Different => KeyProblem::Different,
            Standing::Revoked => KeyProblem::Revoked,
        };
        self.failed.put(ExchangeError::HostKey {
            host: self.host.clone(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            problem,
            line: line_for(&self.host, &key),
        });
        Ok(false)
    }
}

/// A connection that counts what it receives: all of it, whatever it is for.
struct Counted {
    stream: tokio::net::TcpStream,
    budget: Budget,
    failed: Failed,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len().saturating_sub(before);
        if let Err(error) = self.budget.take(count) {
            self.failed.put(error.clone());
            return Poll::Ready(Err(io::Error::other(error)));
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
