//! Child processes that never outlive this one.
//!
//! The kernel sends the parent-death signal when the *thread* that spawned a child ends, so every child is spawned by one
//! thread that lives as long as the process: a test may start a server in one of libtest's threads and keep it for the others.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal};

/// How much of a log is shown when its process fails: 40 lines fill one screen.
const LOG_TAIL_LINES: usize = 40;

struct Job {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// Spawns `command` from the thread that lives as long as this process; the kernel kills the child when this process ends,
/// however it ends. The child gets a process group of its own, so that Ctrl-C reaches this process only.
pub fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let program = command.get_program().to_owned();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        // The sender lives in a static, so the loop, and with it the thread, ends with the process only. If the thread could
        // not be started the receiver is dropped here, and every send below fails.
        let _thread = std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for mut job in jobs {
                die_with_parent(&mut job.command);
                job.command.process_group(0);
                // A caller that went away drops the receiver: its child must not stay.
                if let Err(mpsc::SendError(Ok(mut orphan))) = job.reply.send(job.command.spawn()) {
                    let _gone = orphan.kill().and_then(|()| orphan.wait());
                }
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    spawner.send(Job { command, reply }).map_err(|_| anyhow!("the spawner thread has ended"))?;
    answer
        .recv()
        .context("the spawner thread has ended")?
        .with_context(|| format!("cannot start {}", program.to_string_lossy()))
}

/// Makes the kernel kill the child when the thread that spawns it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let in_child = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died between fork and the call above; then nobody would send the signal.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec only two async-signal-safe system calls are made, nothing allocates"
    )]
    // SAFETY: `in_child` calls prctl and getppid and builds an `io::Error` from a number; it touches no lock and no heap.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// A command that inherits nothing from the environment but `PATH`: what `GIT_*`, `SSL_CERT_*`, `HOME`, `KUBECONFIG` say on the
/// developer's machine must not change what a test sees.
pub fn hermetic_command(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs `command` to its end and returns its standard output; a failure carries status and standard error.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        return Err(anyhow!("{}: {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// Program and arguments, for error messages: the environment that `Debug` would add hides them.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A long-running child with its output in a log file. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`; standard output and error are appended to the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = append(log)?;
        let copy = file.try_clone().with_context(|| format!("cannot share {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        Ok(Self { name: name.to_owned(), child: spawn(command)?, log: log.to_owned() })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with everything that the process printed, over all of its runs.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Status of a process that has ended, `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask for the state of {}", self.name))
    }

    /// An error with status and end of the log when the process is not running any more.
    pub fn check_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended with {status}; its log ends with:\n{}", self.name, self.log_tail())),
        }
    }

    /// Sends a signal. A process that has ended already is an error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check_running()?;
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// SIGKILL, and waits until the process is gone. Fine when it is gone already.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// The last lines of the log, for error messages.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be returned from here, and a process that is gone already is what is wanted.
        let _status = self.kill();
    }
}

/// The last lines of a log file; says so when it cannot be read.
pub(crate) fn log_tail(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let skipped = lines.len().saturating_sub(LOG_TAIL_LINES);
            lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", log.display()),
    }
}

fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("cannot open {}", log.display()))
}
