//! writ itself, as a process with a log that tests can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;

use crate::process::{Server, hermetic_command, spawn};
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// Environment variable that names the step at which the controller kills itself, in builds that have fault points.
pub const FAULT_POINT_VARIABLE: &str = "WRIT_FAULT_POINT";

/// How the binary is called; can be started any number of times, also one after the other on the same state.
#[derive(Debug, Clone)]
pub struct WritCommand {
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    directory: Arc<Scratch>,
}

/// A command that ran to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl WritCommand {
    /// The binary at `program` (the caller's `env!("CARGO_BIN_EXE_writ")`), without arguments. Its environment holds `PATH`, a
    /// `HOME` of its own and `NO_COLOR`, nothing else.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]),
            directory: Arc::new(Scratch::new("process")?),
        })
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the controller end itself at a named step ([`FAULT_POINT_VARIABLE`]).
    #[must_use]
    pub fn fault_point(self, name: &str) -> Self {
        self.env(FAULT_POINT_VARIABLE, name)
    }

    /// A directory that lives as long as this command and everything started from it: for state and files of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self) -> Command {
        let mut command = hermetic_command(&self.program, self.directory.path());
        command.current_dir(self.directory.path()).args(&self.arguments).envs(&self.environment);
        command
    }

    /// Starts it in the background.
    pub fn start(&self) -> Result<Writ> {
        let log = self.directory.path().join("writ.log");
        Ok(Writ { server: Server::start("writ", self.command(), &log)?, _directory: Arc::clone(&self.directory) })
    }

    /// Runs it to its end. No status is an error here: refusals are what tests look at.
    pub fn output(&self) -> Result<Finished> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(command)?.wait_with_output().context("cannot wait for writ")?;
        Ok(Finished {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).context("standard output is not UTF-8")?,
            stderr: String::from_utf8(output.stderr).context("standard error is not UTF-8")?,
        })
    }
}

/// A running writ. Killed when dropped.
#[derive(Debug)]
pub struct Writ {
    server: Server,
    _directory: Arc<Scratch>,
}

impl Writ {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The file with everything that it prints.
    pub fn log_file(&self) -> &Path {
        self.server.log_file()
    }

    /// Everything printed so far, by this run and earlier ones of the same [`WritCommand`].
    pub fn log(&self) -> Result<String> {
        let path = self.server.log_file();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until a line of the log contains `needle`, and returns the first such line. Fails at once when the process ends.
    pub fn wait_for_log(&mut self, needle: &str, within: Duration) -> Result<String> {
        self.wait_until(&format!("a line with {needle:?} in writ's log"), within, |writ| {
            writ.log()?.lines().find(|line| line.contains(needle)).map(str::to_owned).context("there is none")
        })
    }

    /// As [`wait_until`], but fails at once, with the end of the log, when the process ends; the log's end is in every error.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let outcome = wait_until(what, within, || match condition(self) {
            Ok(value) => Ok(Ok(value)),
            Err(reason) => match self.server.check_running() {
                Ok(()) => Err(reason),
                Err(ended) => Ok(Err(ended.context(format!("{what}: {reason:#}")))),
            },
        });
        outcome
            .and_then(|inner| inner)
            .map_err(|error| anyhow!("{error:#}\nwrit's log ends with:\n{}", self.server.log_tail()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.server.ended()?.is_none())
    }

    /// Waits until it ends by itself.
    pub fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        wait_until("writ ends", within, || self.server.ended()?.context("it still runs"))
            .map_err(|error| anyhow!("{error:#}\nwrit's log ends with:\n{}", self.server.log_tail()))
    }

    /// SIGTERM, then waits until it ends by itself.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.server.signal(Signal::TERM)?;
        self.wait_exit(within)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.server.kill()
    }

    /// Resident memory now, in bytes (`VmRSS` of `/proc/PID/status`).
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
            .with_context(|| format!("no VmRSS in {path}"))?;
        Ok(kibibytes << 10)
    }
}
