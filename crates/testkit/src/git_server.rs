//! A Git server over https on loopback: the real `git http-backend`, one process per request, behind TLS with an authority of
//! its own, credentials, and faults that can be switched at run time.

mod app;
mod backend;
mod listener;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use tokio::sync::{mpsc, oneshot, watch};

use crate::authority::Authority;
use crate::keys::SigningKey;
use crate::ports::free_port;
use crate::process::{hermetic_command, run};
use crate::scratch::Scratch;
use crate::serving::serve;
use crate::signed_repo::{Credentials, Remote};
use listener::{Acceptors, Connections, Control};

/// Largest request body: a push of everything that a test makes.
const MAX_REQUEST_BYTES: usize = 512 << 20;
/// Below it are files for everybody.
const FILES: &str = "/files/";
/// The one user of the server.
const USERNAME: &str = "writ";

/// What goes wrong on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Connections are refused; the port stays reserved.
    Down,
    /// Requests are read and never answered, until the fault changes.
    Stall,
    /// Every request is answered with 302 to this address.
    Redirect(String),
    /// The certificate names this server but is signed by an authority that nobody trusts.
    WrongCertificate,
    /// Every request is answered with 401, whatever its credentials.
    Unauthorized,
    /// Every request is answered with this status and no content.
    Status(u16),
    /// Right before a pack is asked for, the file of a branch gets this content: history is rewritten between the two
    /// requests of a fetch.
    Rewrite(PathBuf, String),
    /// Whoever asks for the first commit is answered as if it had asked for the second.
    Instead(String, String),
    /// Answers end after so many bytes of their body, without the proper end of the transfer.
    Truncate(usize),
}

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRequest {
    /// GET or POST.
    pub method: String,
    /// E.g. `/shop.git/git-upload-pack`.
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    /// Header `Git-Protocol`, e.g. `version=2`.
    pub protocol: Option<String>,
    /// Command of protocol version 2: `ls-refs` or `fetch`.
    pub command: Option<String>,
    /// Status of the answer; `None` when it was never answered.
    pub status: Option<u16>,
}

struct Shared {
    root: PathBuf,
    files: PathBuf,
    log: PathBuf,
    password: String,
    token: String,
    fault: watch::Sender<Option<Fault>>,
    requests: Mutex<Vec<GitRequest>>,
    app: Mutex<Option<app::App>>,
}

/// A running server. Dropping it stops it and removes its repositories.
pub struct GitServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    control: mpsc::UnboundedSender<Control>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    authority: Authority,
    directory: Scratch,
}

impl GitServer {
    /// Starts a server without repositories. All access, reading too, needs the user's password or the token.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// The same, but only for clients with a certificate of an authority.
    pub fn start_for(clients: &Authority) -> Result<Self> {
        Self::start_with(Some(clients))
    }

    fn start_with(clients: Option<&Authority>) -> Result<Self> {
        let directory = Scratch::new("git-server")?;
        let root = directory.path().join("repositories");
        let files = directory.path().join("files");
        std::fs::create_dir(&root).context("cannot make the folder of repositories")?;
        std::fs::create_dir(&files).context("cannot make the folder of files")?;
        let authority = Authority::generate("testkit-git-server")?;
        std::fs::write(directory.path().join("ca.crt"), authority.certificate()).context("cannot write ca.crt")?;
        let acceptors = Acceptors::new(&authority, &Authority::generate("testkit-nobody-trusts-this")?, clients)?;
        let socket = free_port()?;
        socket.set_nonblocking(true).context("cannot prepare the socket")?;
        let address = socket.local_addr().context("cannot read the socket's address")?;
        let shared = Arc::new(Shared {
            root,
            files,
            log: directory.path().join("http-backend.log"),
            password: secret(),
            token: secret(),
            fault: watch::Sender::new(None),
            requests: Mutex::new(Vec::new()),
            app: Mutex::new(None),
        });
        let (control, commands) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = blocking::channel();
        let in_thread = Arc::clone(&shared);
        // Its own thread, not the caller's runtime: the server answers while a test blocks, and its children die with the thread.
        let thread = std::thread::Builder::new()
            .name("git-server".into())
            .spawn(move || {
                serve(socket, stopped, &ready, |listening| {
                    let connections = Connections::start(listening, acceptors, in_thread.fault.clone(), commands);
                    let router = axum::Router::new().fallback(handle).with_state(in_thread);
                    axum::serve(connections, router).into_future()
                });
            })
            .context("cannot start a thread")?;
        started.recv().context("the Git server's thread ended")??;
        Ok(Self { address, shared, control, stop: Some(stop), thread: Some(thread), authority, directory })
    }

    /// Makes an empty repository that can be pushed to; it is then at [`GitServer::url`].
    pub fn create(&self, name: &str) -> Result<()> {
        self.create_with_ids(name, "sha1")
    }

    /// The same with ids of a hash: `sha1` or `sha256`.
    pub fn create_with_ids(&self, name: &str, format: &str) -> Result<()> {
        let path = self.repository(name);
        let git = || {
            let mut command = hermetic_command("git", self.directory.path());
            command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
            command
        };
        run(git().args(["init", "--quiet", "--bare", "--initial-branch=main", "--object-format", format]).arg(&path))?;
        run(git().arg("-C").arg(&path).args(["config", "http.receivepack", "true"]))?;
        Ok(())
    }

    /// The bare repository on disk, to look into or to change behind the server's back.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.shared.root.join(format!("{name}.git"))
    }

    /// `https://127.0.0.1:PORT/NAME.git`
    pub fn url(&self, name: &str) -> String {
        format!("https://{}/{name}.git", self.address)
    }

    /// Folder whose files everybody may read, at [`GitServer::files_url`].
    pub fn files(&self) -> PathBuf {
        self.shared.files.clone()
    }

    /// `https://127.0.0.1:PORT/files`
    pub fn files_url(&self) -> String {
        format!("https://{}/files", self.address)
    }

    /// The repository with the user's name and password.
    pub fn remote(&self, name: &str) -> Remote {
        let credentials =
            Credentials::Basic { username: self.username().to_owned(), password: self.password().to_owned() };
        self.remote_with(name, credentials)
    }

    /// The repository with other credentials.
    pub fn remote_with(&self, name: &str, credentials: Credentials) -> Remote {
        Remote { url: self.url(name), authority: self.authority_file(), credentials }
    }

    /// User name for basic authentication.
    pub fn username(&self) -> &str {
        USERNAME
    }

    /// Password for basic authentication, made at the start.
    pub fn password(&self) -> &str {
        &self.shared.password
    }

    /// Bearer token, made at the start.
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// Gives tokens, as GitHub does it, to an installation of an App with this RSA key.
    pub fn install_app(&self, id: &str, installation: &str, key: &SigningKey, lifetime: Duration) -> Result<()> {
        let app = app::App::new(id, installation, key, lifetime)?;
        *self.shared.app.lock().unwrap_or_else(PoisonError::into_inner) = Some(app);
        Ok(())
    }

    /// Certificate of the authority that signed the server's certificate, PEM.
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// The same as a file.
    pub fn authority_file(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// Address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches a fault on, or off with `None`. When it returns the fault is in force; connections made before are cut at their next
    /// use, a stalled request ends.
    pub fn set_fault(&self, fault: Option<Fault>) -> Result<()> {
        let (done, answer) = blocking::channel();
        self.control.send(Control { fault, done }).map_err(|_| anyhow!("the Git server's thread ended"))?;
        answer.recv().context("the Git server's thread ended")?
    }

    /// All requests since the start or the last [`GitServer::clear_requests`], in the order of their answers.
    pub fn requests(&self) -> Vec<GitRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// File with what `git http-backend` complained about; absent when it never did.
    pub fn log_file(&self) -> &Path {
        &self.shared.log
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        // A thread that has ended already has dropped its receiver: nothing is left to stop.
        let _stopped = self.stop.take().map(|stop| stop.send(()));
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

fn secret() -> String {
    hex::encode(rand::rng().random::<[u8; 16]>())
}

async fn handle(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, MAX_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(error) => return answer(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
    };
    let mut seen = GitRequest {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        protocol: text(&parts.headers, "git-protocol"),
        command: command(&body),
        status: None,
    };
    let fault = shared.fault.borrow().clone();
    let body = match interfere(fault.as_ref(), seen.command.as_deref(), body) {
        Ok(body) => body,
        Err(error) => return answer(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let response = match &fault {
        // Down: this connection is older than the fault, and is cut at its next use in any case.
        Some(Fault::Stall | Fault::Down) => {
            shared.record(seen);
            let mut changes = shared.fault.subscribe();
            // An error means that the server is stopping.
            let _changed = changes.wait_for(|current| *current != fault).await;
            return answer(StatusCode::SERVICE_UNAVAILABLE, String::new());
        }
        Some(Fault::Redirect(location)) => redirect(location),
        Some(Fault::Unauthorized) => unauthorized(),
        Some(Fault::Status(code)) => {
            answer(StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), String::new())
        }
        _ if seen.path.starts_with(FILES) => shared.file(&seen.path),
        _ if shared.is_app(&seen.path) => shared.app_answer(&parts.headers),
        _ if !shared.authorised(&parts.headers) => unauthorized(),
        Some(Fault::Truncate(limit)) => shared.backend(&seen, &parts.headers, body, *limit).await,
        Some(Fault::WrongCertificate | Fault::Rewrite(..) | Fault::Instead(..)) | None => {
            shared.backend(&seen, &parts.headers, body, usize::MAX).await
        }
    };
    seen.status = Some(response.status().as_u16());
    shared.record(seen);
    response
}

/// What a fault does before, and to, the question for a pack: the one without a command of version 2.
fn interfere(fault: Option<&Fault>, command: Option<&str>, body: Bytes) -> std::io::Result<Bytes> {
    match fault {
        Some(Fault::Rewrite(branch, content)) if command.is_none() => {
            std::fs::write(branch, content)?;
            Ok(body)
        }
        Some(Fault::Instead(wanted, given)) if command.is_none() => {
            // The question is text: lines with ids.
            Ok(String::from_utf8_lossy(&body).replace(wanted.as_str(), given).into())
        }
        _ => Ok(body),
    }
}

impl Shared {
    fn record(&self, request: GitRequest) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    fn authorised(&self, headers: &HeaderMap) -> bool {
        let Some(given) = text(headers, "authorization") else { return false };
        let basic = STANDARD.encode(format!("{USERNAME}:{}", self.password));
        let app = STANDARD.encode(format!("x-access-token:{}", self.token));
        given == format!("Basic {basic}")
            || given == format!("Basic {app}")
            || given == format!("Bearer {}", self.token)
    }

    fn file(&self, path: &str) -> Response<Body> {
        let name = path.strip_prefix(FILES).filter(|name| !name.split('/').any(|part| part == ".."));
        match name.map(|name| std::fs::read(self.files.join(name))) {
            Some(Ok(bytes)) => Response::new(Body::from(bytes)),
            _ => answer(StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn is_app(&self, path: &str) -> bool {
        self.app.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|app| app.path() == path)
    }

    fn app_answer(&self, headers: &HeaderMap) -> Response<Body> {
        let app = self.app.lock().unwrap_or_else(PoisonError::into_inner);
        let authorization = text(headers, "authorization").unwrap_or_default();
        match app.as_ref().map(|app| app.answer(&authorization, &self.token)) {
            Some(Ok(token)) => answer(StatusCode::CREATED, token.to_string()),
            Some(Err(error)) => answer(StatusCode::UNAUTHORIZED, format!("{error:#}")),
            None => answer(StatusCode::NOT_FOUND, String::new()),
        }
    }

    async fn backend(&self, request: &GitRequest, headers: &HeaderMap, body: Bytes, limit: usize) -> Response<Body> {
        match backend::run(&self.root, &self.log, request, headers, body, limit).await {
            Ok(response) => response,
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
        }
    }
}

/// Command of a protocol version 2 request: its first packet line is `command=NAME`.
fn command(body: &[u8]) -> Option<String> {
    let length = usize::from_str_radix(std::str::from_utf8(body.get(..4)?).ok()?, 16).ok()?;
    let line = std::str::from_utf8(body.get(4..length)?).ok()?;
    line.trim_end().strip_prefix("command=").map(str::to_owned)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

fn unauthorized() -> Response<Body> {
    let mut response = answer(StatusCode::UNAUTHORIZED, String::new());
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"testkit\""));
    response
}

fn redirect(location: &str) -> Response<Body> {
    match header::HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = answer(StatusCode::FOUND, String::new());
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
