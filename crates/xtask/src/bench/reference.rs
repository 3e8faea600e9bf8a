//! The bare loops that writ is compared with, in a process of their own: requests without logic.
//!
//! The job comes as one line of JSON on standard input; `ready` is the first answer. A job that works on demand reads one
//! line per demand and answers `done`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use testkit::{Credentials, Remote, spawn};

use super::api::{Access, Api, Patch};
use super::probe::{Line, Object};

/// What writ asks for, and under which name: the same here, so that the server does the same work.
const QUERY: &str = "fieldManager=writ&fieldValidation=Strict&force=true";

/// What a bare loop does.
#[derive(Serialize, Deserialize)]
pub(super) enum Job {
    /// Watches a collection; an event of an object that is not there, or not as declared, is answered with one forced apply of
    /// the known body.
    Revert { access: Access, collection: String, bodies: BTreeMap<String, String> },
    /// Applies all bodies in order, so many in flight, once per demand.
    Apply { access: Access, bodies: Vec<(String, String)>, in_flight: usize },
    /// Per demand (the object's path, a blank, its body): `git fetch`, then one apply.
    Commit { access: Access, fetch: Fetch },
}

/// What is fetched, and whereto.
#[derive(Serialize, Deserialize)]
pub(super) struct Fetch {
    pub(super) directory: PathBuf,
    pub(super) url: String,
    pub(super) authority: PathBuf,
    pub(super) username: String,
    pub(super) password: String,
}

/// A bare loop as a child process; it ends with this value.
pub(super) struct Reference {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reference {
    /// Starts it and waits until it is ready.
    pub(super) fn start(job: &Job) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("bench-reference").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command)?;
        let input = child.stdin.take().context("the bare loop has no input")?;
        let output = BufReader::new(child.stdout.take().context("the bare loop has no output")?);
        let mut reference = Self { child, input, output };
        reference.say(&serde_json::to_string(job).context("cannot write the job")?)?;
        reference.expect("ready")?;
        Ok(reference)
    }

    /// Process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for one piece of work.
    pub(super) fn demand(&mut self, line: &str) -> Result<()> {
        self.say(line)
    }

    /// Waits until the last demand is done.
    pub(super) fn done(&mut self) -> Result<()> {
        self.expect("done")
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).context("the bare loop does not listen")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("the bare loop does not answer")?;
        ensure!(line.trim() == word, "the bare loop answered {:?} instead of {word}", line.trim());
        Ok(())
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Nothing can be returned from here, and a process that is gone already is what is wanted.
        let _status = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// `xtask bench-reference`: does the job.
pub(crate) fn run() -> Result<()> {
    let mut demands = std::io::stdin().lock().lines();
    let job = demands.next().context("no job")?.context("cannot read the job")?;
    match serde_json::from_str(&job).context("cannot read the job")? {
        Job::Revert { access, collection, bodies } => revert(&access, &collection, &bodies),
        Job::Apply { access, bodies, in_flight } => {
            answer("ready")?;
            for demand in demands {
                demand.context("cannot read a demand")?;
                apply(&access, &bodies, in_flight)?;
                answer("done")?;
            }
            Ok(())
        }
        Job::Commit { access, fetch } => {
            let api = Api::new(&access)?;
            answer("ready")?;
            for demand in demands {
                commit(&api, &fetch, &demand.context("cannot read a demand")?)?;
                answer("done")?;
            }
            Ok(())
        }
    }
}

fn answer(word: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{word}").and_then(|()| output.flush()).context("nobody reads the answer")
}

fn revert(access: &Access, collection: &str, bodies: &BTreeMap<String, String>) -> Result<()> {
    let api = Api::new(access)?;
    let list: Object = serde_json::from_str(&api.get(&format!("{collection}?limit=1"))?).context("not a list")?;
    let from = list.metadata.resource_version;
    let mut lines = api.watch(&format!("{collection}?watch=true&resourceVersion={from}"))?;
    answer("ready")?;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).context("the watch broke")? == 0 {
            bail!("the server ended the watch");
        }
        let event: Line = serde_json::from_str(&line).with_context(|| format!("not an event: {line}"))?;
        let name = &event.object.metadata.name;
        if (event.is_deletion() || !event.object.is_declared())
            && let Some(body) = bodies.get(name)
        {
            api.patch(&format!("{collection}/{name}?{QUERY}"), Patch::Apply, body)?;
        }
    }
}

fn apply(access: &Access, bodies: &[(String, String)], in_flight: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        let api = Api::new(access)?;
        while let Some((path, body)) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            api.patch(&format!("{path}?{QUERY}"), Patch::Apply, body)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..in_flight).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}

fn commit(api: &Api, fetch: &Fetch, demand: &str) -> Result<()> {
    let (path, body) = demand.split_once(' ').context("a demand is a path and a body")?;
    let credentials = Credentials::Basic { username: fetch.username.clone(), password: fetch.password.clone() };
    let remote = Remote { url: fetch.url.clone(), authority: fetch.authority.clone(), credentials };
    remote.fetch_into(&fetch.directory, "+refs/heads/main:refs/remotes/origin/main")?;
    api.patch(&format!("{path}?{QUERY}"), Patch::Apply, body).map(drop)
}
