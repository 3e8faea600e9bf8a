//! An ssh server on loopback that runs the real `git-upload-pack`. As sshd does, it gives the command to a shell, so how a
//! client quotes a path is tried by a shell as well.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use russh::keys::{PublicKey, load_secret_key};
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::keys::SigningKey;
use crate::ports::free_port;
use crate::process::{die_with_parent, hermetic_command};
use crate::scratch::Scratch;
use crate::serving::serve;

/// The one user of the server.
const USER: &str = "git";
/// Bytes that are passed on at a time.
const CHUNK: usize = 16 << 10;

/// What goes wrong on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshFault {
    /// Connections are accepted, and nothing is ever said.
    Silent,
    /// The command is accepted and never answers.
    Stall,
    /// The connection ends after so many bytes of the command's answer.
    Truncate(usize),
    /// Every command is refused.
    Refuse,
    /// The command is answered with a list of refs that has no end.
    Flood,
}

/// A command as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCommand {
    /// As it was sent.
    pub command: String,
    /// Environment variable `GIT_PROTOCOL`, if it was sent, taken or not.
    pub protocol: Option<String>,
}

#[derive(Default)]
struct State {
    allowed: Vec<PublicKey>,
    takes_protocol: bool,
    fault: Option<SshFault>,
    commands: Vec<SshCommand>,
}

/// A running server. Dropping it stops it.
pub struct SshServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _home: Scratch,
}

impl SshServer {
    /// Starts a server with this host key, which lets nobody in and takes `GIT_PROTOCOL`.
    pub fn start(host: &SigningKey) -> Result<Self> {
        let key = load_secret_key(host.private_file(), None).context("cannot read the host key")?;
        let config =
            Arc::new(Config { keys: vec![key], auth_rejection_time: Duration::from_millis(1), ..Config::default() });
        let home = Scratch::new("ssh-server")?;
        let socket = free_port()?;
        socket.set_nonblocking(true).context("cannot prepare the socket")?;
        let address = socket.local_addr().context("cannot read the socket's address")?;
        let state = Arc::new(Mutex::new(State { takes_protocol: true, ..State::default() }));
        let visitor =
            Visitor { state: Arc::clone(&state), home: home.path().to_owned(), channel: None, protocol: None };
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = blocking::channel();
        // Its own thread, as that of the Git server: its children die with it.
        let thread = std::thread::Builder::new()
            .name("ssh-server".into())
            .spawn(move || serve(socket, stopped, &ready, |listening| accept(listening, config, visitor)))
            .context("cannot start a thread")?;
        started.recv().context("the ssh server's thread ended")??;
        Ok(Self { address, state, stop: Some(stop), thread: Some(thread), _home: home })
    }

    /// Lets a public key in.
    pub fn allow(&self, key: &SigningKey) -> Result<()> {
        let key = PublicKey::from_openssh(key.public()).context("cannot read the public key")?;
        self.state().allowed.push(key);
        Ok(())
    }

    /// Whether the variable `GIT_PROTOCOL` reaches the command: sshd needs a line of settings for that.
    pub fn take_protocol(&self, takes: bool) {
        self.state().takes_protocol = takes;
    }

    /// Switches a fault on, or off with `None`; for connections made from now on.
    pub fn set_fault(&self, fault: Option<SshFault>) {
        self.state().fault = fault;
    }

    /// The commands so far.
    pub fn commands(&self) -> Vec<SshCommand> {
        self.state().commands.clone()
    }

    /// `ssh://git@127.0.0.1:PORT/PATH` of a repository on disk.
    pub fn url(&self, repository: &Path) -> String {
        format!("ssh://{USER}@{}{}", self.address, repository.display())
    }

    /// What `known_hosts` calls the server.
    pub fn known_as(&self) -> String {
        format!("[{}]:{}", self.address.ip(), self.address.port())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        // A thread that has ended already has dropped its receiver: nothing is left to stop.
        let _stopped = self.stop.take().map(|stop| stop.send(()));
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listening: TcpListener, config: Arc<Config>, visitor: Visitor) {
    loop {
        // An error concerns one connection that went away before it was accepted.
        if let Ok((stream, _peer)) = listening.accept().await {
            tokio::spawn(receive(Arc::clone(&config), stream, visitor.clone_empty()));
        }
    }
}

async fn receive(config: Arc<Config>, stream: TcpStream, visitor: Visitor) {
    if visitor.fault() == Some(SshFault::Silent) {
        // Held open until the runtime ends.
        std::future::pending::<()>().await;
    }
    let _small_packets_wait = stream.set_nodelay(true);
    // A visitor that goes away, or does not trust us, ends the session: that is its right.
    if let Ok(session) = run_stream(config, stream, visitor).await {
        let _ended = session.await;
    }
}

/// One connection.
struct Visitor {
    state: Arc<Mutex<State>>,
    home: std::path::PathBuf,
    channel: Option<Channel<Msg>>,
    protocol: Option<String>,
}

impl Visitor {
    fn clone_empty(&self) -> Self {
        Self { state: Arc::clone(&self.state), home: self.home.clone(), channel: None, protocol: None }
    }

    fn fault(&self) -> Option<SshFault> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fault
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.allowed.iter().any(|allowed| allowed.key_data() == key.public_key.key_data());
        Ok(if user == USER && known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        _channel: ChannelId,
        name: &str,
        value: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if name == "GIT_PROTOCOL" {
            self.protocol = Some(value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(command).into_owned();
        let fault = self.fault();
        let protocol = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.commands.push(SshCommand { command: command.clone(), protocol: self.protocol.clone() });
            self.protocol.clone().filter(|_| state.takes_protocol)
        };
        let Some(channel) = self.channel.take().filter(|_| fault != Some(SshFault::Refuse)) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let mut shell = hermetic_command("sh", &self.home);
        shell.args(["-c", &command]).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(protocol) = protocol {
            shell.env("GIT_PROTOCOL", protocol);
        }
        // This thread lives as long as the server.
        die_with_parent(&mut shell);
        let handle = session.handle();
        tokio::spawn(async move {
            // Whoever asked may have gone.
            let _ended = converse(shell.into(), channel, handle, fault).await;
        });
        Ok(())
    }
}

/// Passes bytes between a command and a channel until both have ended.
async fn converse(mut shell: Command, channel: Channel<Msg>, handle: Handle, fault: Option<SshFault>) -> Result<()> {
    let id = channel.id();
    let gone = |()| anyhow!("the session ended");
    let (mut from_client, mut to_client) = tokio::io::split(channel.into_stream());
    match fault {
        Some(SshFault::Stall) => std::future::pending().await,
        Some(SshFault::Flood) => {
            let id = "1".repeat(40);
            let packet = |line: String| format!("{:04x}{line}", line.len() + 4);
            to_client.write_all(packet(format!("{id} HEAD\0side-band-64k\n")).as_bytes()).await?;
            let others = packet(format!("{id} refs/heads/a\n")).repeat(CHUNK / 64);
            loop {
                to_client.write_all(others.as_bytes()).await?;
            }
        }
        _ => {}
    }
    let mut child = shell.kill_on_drop(true).spawn().context("cannot start a shell")?;
    let mut stdin = child.stdin.take().context("a piped child has a standard input")?;
    let mut stdout = child.stdout.take().context("a piped child has a standard output")?;
    let mut stderr = child.stderr.take().context("a piped child has a standard error")?;
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut stdin).await });
    let words = tokio::spawn(async move {
        let mut words = Vec::new();
        stderr.read_to_end(&mut words).await.map(|_count| words)
    });
    let mut left = if let Some(SshFault::Truncate(limit)) = fault { limit } else { usize::MAX };
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = stdout.read(&mut chunk).await?;
        let passed = read.min(left);
        to_client.write_all(chunk.get(..passed).unwrap_or_default()).await?;
        left -= passed;
        if left == 0 {
            handle.disconnect(russh::Disconnect::ByApplication, String::new(), String::new()).await?;
            return Ok(());
        }
        if read == 0 {
            break;
        }
    }
    let words = words.await??;
    let status = child.wait().await?.code().unwrap_or(255);
    handle.extended_data(id, 1, words).await.map_err(|_unsent| anyhow!("the session ended"))?;
    handle.eof(id).await.map_err(gone)?;
    handle.exit_status_request(id, status.unsigned_abs()).await.map_err(gone)?;
    handle.close(id).await.map_err(gone)
}
