//! The parent's side of a fetch: start the child, hand it the request, wait no longer than allowed.

use std::{
    env,
    ffi::OsString,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    code::GitCode,
    exchange::quoted,
    wire::{MAX_REPLY_BYTES, Reply, Request},
};

/// How long the child may outlast its own deadline: it ends the exchange itself, then indexes.
const GRACE_SECONDS: u64 = 10;
/// How long a child that closed its output may take to exit.
const EXIT_WAIT: Duration = Duration::from_secs(2);
/// What is kept of the child's stderr: a panic message.
const MAX_STDERR_BYTES: u64 = 4 << 10;

/// The name of the limit of memory.
const MEMORY: &str = "memory";

/// How to start the fetch child.
#[derive(Debug, Clone)]
pub struct FetchChild {
    /// The program, absolute: the child runs in the mirror's directory.
    pub exe: PathBuf,
    /// The arguments that make it call [`crate::fetch_child`].
    pub args: Vec<OsString>,
    /// For whom it fetches. At most one child of an owner runs at a time, so that the servers of one keep nobody else waiting.
    pub owner: String,
}

impl FetchChild {
    /// This same binary with its hidden subcommand `git-fetch-child`.
    ///
    /// # Errors
    /// When the path of the running program is unknown.
    pub fn same_binary() -> io::Result<Self> {
        Ok(Self { exe: env::current_exe()?, args: vec!["git-fetch-child".into()], owner: String::new() })
    }

    /// The same, for another owner.
    #[must_use]
    pub fn owned_by(&self, owner: &str) -> Self {
        Self { owner: owner.to_owned(), ..self.clone() }
    }
}

/// Why a child gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("the fetch process could not be started")]
    Start(#[source] io::Error),
    /// It was ended because it took too long.
    #[error("the fetch took longer than {seconds} s and was ended")]
    Deadline {
        /// The limit with its grace.
        seconds: u64,
    },
    /// The kernel ended it at one of its limits.
    #[error("the fetch process was ended at its limit of {limit}")]
    Limit {
        /// Which limit.
        limit: &'static str,
    },
    /// It ended without a reply.
    #[error("the fetch process ended without an answer ({detail})")]
    Silent {
        /// Its status and last words.
        detail: String,
    },
    /// It says that it could not do its work.
    #[error("the fetch process failed ({detail})")]
    Broken {
        /// Its words.
        detail: String,
    },
}

impl ChildError {
    pub(crate) const fn code(&self) -> GitCode {
        match self {
            Self::Deadline { .. } => GitCode::W607,
            Self::Limit { .. } => GitCode::W603,
            Self::Silent { .. } => GitCode::W601,
            Self::Start(_) | Self::Broken { .. } => GitCode::W610,
        }
    }

    pub(crate) fn advice(&self) -> (String, String) {
        let (needed, fix) = match self {
            Self::Start(_) => ("permission and memory to start a process", "look at the limits of the pod"),
            Self::Deadline { .. } => (
                "a fetch within its time",
                "look at the load of the server and at the way to it; it is tried again by itself",
            ),
            Self::Limit { .. } => {
                ("a repository within the limits of a fetch", "keep large files elsewhere, also out of the history")
            }
            Self::Silent { .. } => ("an answer of the fetch process", "report this with the message"),
            Self::Broken { .. } => ("a mirror that can be written", "check space and permissions of the state volume"),
        };
        (needed.to_owned(), fix.to_owned())
    }
}

/// Runs one child in `mirror` and waits for its answer.
pub(crate) fn run(how: &FetchChild, mirror: &Path, request: &Request, seconds: u64) -> Result<Reply, ChildError> {
    let seconds = seconds.saturating_add(GRACE_SECONDS);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let body = serde_json::to_vec(request).map_err(|error| ChildError::Start(error.into()))?;
    let mut command = Command::new(&how.exe);
    command.args(&how.args).env_clear().current_dir(mirror);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(command).map_err(ChildError::Start)?;
    let output = converse(&mut child, body, deadline);
    let status = finish(&mut child, output.is_some());
    let Some(output) = output else { return Err(ChildError::Deadline { seconds }) };
    judge(&output, status)
}

/// What a child wrote.
struct Output {
    stdout: io::Result<Vec<u8>>,
    stderr: io::Result<Vec<u8>>,
}

/// Writes the request and reads both outputs to their end; `None` at the deadline.
fn converse(child: &mut Child, body: Vec<u8>, deadline: Instant) -> Option<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (done, whole) = mpsc::channel();
    // Not joined: each ends when its pipe does, at the latest when the child is killed below.
    let errors = gather(stderr, MAX_STDERR_BYTES);
    let replies = gather(stdout, MAX_REPLY_BYTES);
    thread::spawn(move || {
        // A child that ends early closes the pipe; its status tells more than this error.
        let written = stdin.map(|mut pipe| pipe.write_all(&body));
        drop(written);
    });
    thread::spawn(move || {
        let output = Output { stdout: received(&replies), stderr: received(&errors) };
        let _ = done.send(output); // nobody listens after the deadline
    });
    whole.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

fn received(from: &mpsc::Receiver<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    from.recv().unwrap_or_else(|_| Err(io::Error::other("the reading thread ended")))
}

/// Reads a pipe to its end, keeping at most `limit` bytes.
fn gather(pipe: Option<impl Read + Send + 'static>, limit: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let result = pipe.map_or_else(
            || Ok(Vec::new()),
            |mut pipe| {
                let mut kept = Vec::new();
                pipe.by_ref().take(limit).read_to_end(&mut kept)?;
                io::copy(&mut pipe, &mut io::sink())?;
                Ok(kept)
            },
        );
        let _ = sender.send(result); // nobody listens after the deadline
    });
    receiver
}

/// Reaps the child; kills it first unless it closed its outputs and ends within [`EXIT_WAIT`].
fn finish(child: &mut Child, closed: bool) -> io::Result<ExitStatus> {
    let until = Instant::now() + EXIT_WAIT;
    let mut pause = Duration::from_micros(50);
    while closed && Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()
}

fn judge(output: &Output, status: io::Result<ExitStatus>) -> Result<Reply, ChildError> {
    let status = status.map_err(|error| ChildError::Silent { detail: quoted(&error.to_string()) })?;
    if let Some(signal) = status.signal() {
        if signal == Signal::XFSZ.as_raw() {
            return Err(ChildError::Limit { limit: "file size" });
        }
        if signal == Signal::ABORT.as_raw() && says_no_memory(&output.stderr) {
            return Err(ChildError::Limit { limit: MEMORY });
        }
        if signal == Signal::XCPU.as_raw() {
            return Err(ChildError::Limit { limit: "processor time" });
        }
    }
    let reply = output.stdout.as_ref().ok().and_then(|bytes| serde_json::from_slice::<Reply>(bytes).ok());
    match reply {
        Some(reply @ (Reply::Fetched(_) | Reply::Compacted)) if status.success() => Ok(reply),
        Some(reply @ Reply::Failed(_)) => Ok(reply),
        Some(Reply::OutOfMemory) => Err(ChildError::Limit { limit: MEMORY }),
        Some(Reply::Broken(detail)) => Err(ChildError::Broken { detail: quoted(&detail) }),
        Some(Reply::Fetched(_) | Reply::Compacted) | None => {
            let words = output
                .stderr
                .as_ref()
                .map_or_else(ToString::to_string, |text| String::from_utf8_lossy(text).into_owned());
            Err(ChildError::Silent { detail: quoted(&format!("{status}; {words}")) })
        }
    }
}

/// Whether these are the last words of a Rust program that gets no memory. Whatever else aborts it is a fault of ours.
fn says_no_memory(stderr: &io::Result<Vec<u8>>) -> bool {
    stderr.as_ref().is_ok_and(|text| String::from_utf8_lossy(text).contains("memory allocation of "))
}

/// Starts a command from one thread that lives as long as the process: the child's parent-death
/// signal fires when the *thread* that started it ends.
fn start(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: OnceLock<Result<mpsc::Sender<Job>, io::ErrorKind>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || {
            for (mut command, reply) in jobs {
                // Nobody listens: a child without readers would linger.
                if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        };
        thread::Builder::new().name("git-fetch-start".to_owned()).spawn(run).map_err(|error| error.kind())?;
        Ok(sender)
    });
    let starter = starter.as_ref().map_err(|kind| io::Error::from(*kind))?;
    let (reply, answer) = mpsc::channel();
    starter.send((command, reply)).map_err(|_| io::Error::other("the starting thread ended"))?;
    answer.recv().map_err(|_| io::Error::other("the starting thread ended"))?
}
