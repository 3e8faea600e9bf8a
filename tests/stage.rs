//! One test's world: a tenant of a control plane, people with keys, a signed repository on a Git server, and writ.

mod names;
mod proxy;
mod setup;
mod story;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::{Finished, GitServer, Metrics, Push, SignedRepo, SigningKey, Tenant, Writ, WritCommand, wait_until};

pub(crate) use names::Names;
pub(crate) use proxy::Proxy;
pub(crate) use setup::{Setup, any_kind, config_map, deployment, people_and_roles, team};
pub(crate) use story::{Owner, Story, tells};
pub(crate) use view::View;

/// The outcome of a test.
pub(crate) type Test = Result<()>;

/// Long against everything that is waited for (a poll, a roll-out, a restart: seconds), also beside a compiler.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);
/// The binary under test.
const WRIT: &str = env!("CARGO_BIN_EXE_writ");
/// Name of the repository on its server.
const REPOSITORY: &str = "config";
/// Name of the GitSource.
pub(crate) const SOURCE: &str = "config";
/// Name of the first Sync.
pub(crate) const SYNC: &str = "shop";
/// Asks for a reconcile at once.
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Who signs.
pub(crate) struct People {
    /// Signs the trust file.
    pub(crate) root: SigningKey,
    /// Signs policies and waivers.
    pub(crate) security: SigningKey,
    /// Signs everything below `apps/`.
    pub(crate) sre: SigningKey,
    /// Has a key that no trust file names.
    pub(crate) stranger: SigningKey,
}

/// One test's world. Everything in it ends with it.
pub(crate) struct Stage<'a> {
    /// writ; first, so that it ends first. `None` while it is down.
    writ: Option<Writ>,
    /// Its command line.
    command: WritCommand,
    /// Its arguments.
    arguments: Vec<String>,
    /// What can be read of the cluster.
    pub(crate) view: View<'a>,
    /// Namespace and ServiceAccount.
    pub(crate) tenant: Tenant<'a>,
    /// The Git server.
    pub(crate) git: GitServer,
    /// Where commits are made.
    pub(crate) repo: SignedRepo,
    /// Who makes them.
    pub(crate) people: People,
    /// What volatile words of a story are called.
    pub(crate) names: Names,
    /// The newest commit that writ is known to have accepted.
    good: String,
    pokes: u32,
}

/// A program call of the binary that is not the controller.
pub(crate) fn writ(arguments: &[&str]) -> Result<Finished> {
    WritCommand::new(WRIT)?.args(arguments.iter().copied()).output()
}

/// As [`writ`]; any status but 0 is an error.
pub(crate) fn writ_ok(arguments: &[&str]) -> Result<String> {
    let finished = writ(arguments)?;
    ensure!(finished.code == Some(0), "writ {arguments:?}: status {:?}\n{}", finished.code, finished.stderr);
    Ok(finished.stdout)
}

impl Stage<'_> {
    /// Commits the work tree as the SRE and pushes it; the commit.
    pub(crate) fn commit(&mut self, message: &str) -> Result<String> {
        let commit = self.repo.commit_signed(&self.people.sre, message)?;
        self.push(Push::FastForward)?;
        Ok(commit)
    }

    /// Writes one file, commits as the SRE and pushes; the commit.
    pub(crate) fn change(&mut self, path: &str, content: &str) -> Result<String> {
        self.repo.write(path, content)?;
        self.commit(&format!("change {path}"))
    }

    /// Pushes the branch `main` and tells writ.
    pub(crate) fn push(&mut self, push: Push) -> Result<()> {
        self.repo.push(&self.git.remote(REPOSITORY), "main:refs/heads/main", push)?;
        self.poke()
    }

    /// Pushes a tag, also to where it was not, and tells writ.
    pub(crate) fn push_tag(&mut self, name: &str) -> Result<()> {
        self.repo.push(&self.git.remote(REPOSITORY), &format!("refs/tags/{name}"), Push::Force)?;
        self.poke()
    }

    /// Approves a commit as a person does: `writ trust approve`, then the notes are pushed; nothing is pushed to the branch.
    pub(crate) fn approve(&mut self, commit: &str, key: &SigningKey) -> Result<()> {
        let statement = self.approval(commit, key)?;
        self.attach(commit, &statement)?;
        self.poke()
    }

    /// What `writ trust approve --print` prints.
    pub(crate) fn approval(&self, commit: &str, key: &SigningKey) -> Result<String> {
        let (repo, key) = (self.repo.path().display().to_string(), key.private_file().display().to_string());
        let printed = writ_ok(&["trust", "approve", commit, "--repo", &repo, "--key", &key, "--print"])?;
        Ok(printed.trim().to_owned())
    }

    /// Attaches a text to a commit as its approval on the server, whatever it is.
    pub(crate) fn attach(&self, commit: &str, statement: &str) -> Result<()> {
        let identity = ["-c", "user.name=approver", "-c", "user.email=approver@example.com"];
        let note = ["notes", "--ref", "writ-approvals", "append", "-m", statement, commit];
        self.repo.git(&[identity.as_slice(), &note].concat())?;
        let notes = "refs/notes/writ-approvals:refs/notes/writ-approvals";
        self.repo.push(&self.git.remote(REPOSITORY), notes, Push::FastForward)
    }

    /// Pushes the heartbeat that the repository has and tells writ.
    pub(crate) fn push_heartbeat(&mut self) -> Result<()> {
        let refspec = "refs/writ/heartbeat:refs/writ/heartbeat";
        self.repo.push(&self.git.remote(REPOSITORY), refspec, Push::Force)?;
        self.poke()
    }

    /// Pushes `revision` to another branch of the server.
    pub(crate) fn push_aside(&self, revision: &str, branch: &str) -> Result<()> {
        let refspec = format!("{revision}:refs/heads/{branch}");
        self.repo.push(&self.git.remote(REPOSITORY), &refspec, Push::Force)
    }

    /// The bare repository on the server.
    pub(crate) fn server_repository(&self) -> PathBuf {
        self.git.repository(REPOSITORY)
    }

    /// Asks for a poll at once, as a person would.
    pub(crate) fn poke(&mut self) -> Result<()> {
        self.pokes += 1;
        let value = format!("{REQUESTED_AT}=poke-{}", self.pokes);
        self.tenant.kubectl(&["annotate", "--overwrite", &format!("gitsource/{SOURCE}"), &value]).map(drop)
    }

    /// Waits until the Sync has applied `commit` and is ready, and takes it for good from then on.
    pub(crate) fn applied(&mut self, commit: &str) -> Result<Value> {
        let sync = self.wait(&format!("the Sync has applied {commit}"), |view| {
            let sync = view.sync(SYNC)?;
            let (ready, reason, message) = View::condition(&sync, "Ready");
            let applied = sync.pointer("/status/appliedRevision").and_then(Value::as_str);
            ensure!(
                applied == Some(commit),
                "applied {applied:?}; {reason}: {message}; source: {}",
                view.source()?["status"]
            );
            ensure!(ready == "True", "Ready={ready} {reason}: {message}");
            Ok(sync)
        })?;
        commit.clone_into(&mut self.good);
        Ok(sync)
    }

    /// Writes, commits, pushes and waits until it is applied; the commit.
    pub(crate) fn roll_out(&mut self, path: &str, content: &str) -> Result<String> {
        let commit = self.change(path, content)?;
        self.applied(&commit)?;
        Ok(commit)
    }

    /// Waits until `owner` holds `commit` with `code`; its custom resource.
    pub(crate) fn held(&mut self, owner: Owner, commit: &str, code: &str) -> Result<Value> {
        self.wait(&format!("{owner:?} holds {commit} with {code}"), |view| {
            let resource = owner.read(view)?;
            let held = resource.pointer("/status/heldRevision");
            let field = |name: &str| held.and_then(|held| held[name].as_str()).unwrap_or_default();
            ensure!(field("code") == code && field("revision") == commit, "status: {}", resource["status"]);
            Ok(resource)
        })
    }

    /// Puts the branch back to the last good commit, and waits until nothing is held.
    pub(crate) fn restore(&mut self) -> Result<()> {
        let good = self.good.clone();
        self.repo.git(&["checkout", "--quiet", "--force", "-B", "main", &good])?;
        self.repo.git(&["clean", "-ffdxq"])?;
        self.push(Push::Force)?;
        self.wait("nothing is held", |view| {
            for owner in [Owner::Source, Owner::Sync] {
                let resource = owner.read(view)?;
                let held = resource.pointer("/status/heldRevision").filter(|held| !held.is_null());
                ensure!(held.is_none(), "{owner:?} holds {held:?}");
                let (ready, reason, message) = View::condition(&resource, "Ready");
                ensure!(ready == "True", "{owner:?}: Ready={ready} {reason}: {message}");
            }
            Ok(())
        })
    }

    /// The newest commit that is known to be applied.
    pub(crate) fn good(&self) -> &str {
        &self.good
    }

    /// Edits a declared value by hand and waits until it is back.
    pub(crate) fn heals(&mut self) -> Result<()> {
        let before = self.view.config_map("settings")?["data"]["value"].clone();
        self.tenant.kubectl(&[
            "patch",
            "configmap",
            "settings",
            "--type=merge",
            "-p",
            r#"{"data":{"value":"by hand"}}"#,
        ])?;
        self.wait("the hand edit is reverted", |view| {
            let now = view.config_map("settings")?["data"]["value"].clone();
            ensure!(now == before, "the value is {now}");
            Ok(())
        })
    }

    /// Scales the Deployment by hand and waits until it is back.
    pub(crate) fn scales_back(&mut self) -> Result<()> {
        self.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
        self.wait("the replicas are back", |view| {
            let replicas = view.deployment("web")?["spec"]["replicas"].clone();
            ensure!(replicas == 1, "replicas: {replicas}");
            Ok(())
        })
    }

    /// The source says that the accepted state is lost.
    pub(crate) fn tells_the_loss(&mut self) -> Result<()> {
        self.wait("the loss is told", |view| {
            let source = view.source()?;
            let (ready, reason, message) = View::condition(&source, "Ready");
            ensure!(ready == "False" && message.contains("W407"), "Ready={ready} {reason}: {message}");
            Ok(())
        })
    }

    /// Pastes the fix that a condition prints into the shell of a cluster admin; what the command printed.
    pub(crate) fn paste_fix(&self, owner: Owner, condition: &str) -> Result<String> {
        let resource = owner.read(&self.view)?;
        let (.., message) = View::condition(&resource, condition);
        let (_, fix) = message.split_once("Fix: ").with_context(|| format!("no fix in {message}"))?;
        self.view.plane.paste(fix)
    }

    /// Waits for a condition; fails at once when writ ends.
    pub(crate) fn wait<T>(&mut self, what: &str, mut condition: impl FnMut(&View<'_>) -> Result<T>) -> Result<T> {
        let view = &self.view;
        match &mut self.writ {
            Some(writ) => writ.wait_until(what, WITHIN, |_| condition(view)),
            None => wait_until(what, WITHIN, || condition(view)),
        }
    }

    /// Starts writ and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<()> {
        ensure!(self.writ.is_none(), "writ runs already");
        let runs = self.starts()?;
        self.writ = Some(self.command.start()?);
        self.wait_started(runs)
    }

    fn wait_started(&mut self, runs: usize) -> Result<()> {
        self.running()?.wait_until("writ has started", WITHIN, |writ| {
            ensure!(started_lines(&writ.log()?).len() > runs, "it has not");
            Ok(())
        })?;
        let address = self.address()?;
        self.wait("writ is ready", |_| ready(&address))
    }

    /// Starts writ so that it dies at a fault point, and waits until it has.
    pub(crate) fn start_and_die_at(&mut self, point: &str) -> Result<()> {
        ensure!(self.writ.is_none(), "writ runs already");
        let mut writ = self.command.clone().fault_point(point).start()?;
        let status = writ.wait_exit(WITHIN).with_context(|| format!("fault point {point} was never passed"))?;
        ensure!(status.code().is_none(), "writ was to die by a signal at {point}, not to exit with {status}");
        Ok(())
    }

    /// Runs writ to its end with the state folder mounted read-only, for it alone.
    pub(crate) fn run_on_read_only_state(&self) -> Result<Finished> {
        ensure!(self.writ.is_none(), "writ runs already");
        setup::on_read_only_state(&self.arguments, &self.state())?.output()
    }

    /// Runs another controller to its end, with a state of its own and these arguments in place of the stage's.
    pub(crate) fn run_another(&self, changes: &[(&str, &str)]) -> Result<Finished> {
        let command = WritCommand::new(WRIT)?;
        let state = command.directory().join("state").to_string_lossy().into_owned();
        let mut arguments = self.arguments.clone();
        for (name, value) in changes.iter().copied().chain([("--state-dir", state.as_str())]) {
            match arguments.iter().position(|argument| argument == name) {
                Some(place) => value.clone_into(&mut arguments[place + 1]),
                None => arguments.extend([name.to_owned(), value.to_owned()]),
            }
        }
        command.args(arguments).output()
    }

    /// Runs a shell script in the running writ's view of the file system, with the state folder as `$0`. Only for a stage whose
    /// state is on a volume of its own.
    pub(crate) fn state_volume(&mut self, script: &str) -> Result<Vec<u8>> {
        let (pid, state) = (self.running()?.pid().to_string(), self.state());
        let mut nsenter = testkit::hermetic_command("nsenter", std::path::Path::new("/"));
        nsenter.args(["--target", &pid, "--user", "--mount", "--preserve-credentials", "/bin/sh", "-c", script]);
        testkit::run(nsenter.arg(state))
    }

    /// As [`audit_verifies`](Self::audit_verifies), for such a stage.
    pub(crate) fn audit_verifies_on_volume(&mut self) -> Result<()> {
        let key = self.log_key_file();
        self.state_volume(&format!("exec '{WRIT}' audit verify \"$0\"/log --key '{}'", key.display())).map(drop)
    }

    /// The entries of the audit log of such a stage.
    pub(crate) fn entries_on_volume(&mut self) -> Result<Vec<Value>> {
        let key = self.log_key_file();
        let show = format!("exec '{WRIT}' audit show \"$0\"/log --key '{}' --last 10000 -o json", key.display());
        let document: Value = serde_json::from_slice(&self.state_volume(&show)?).context("no JSON")?;
        document["entries"].as_array().cloned().context("no entries")
    }

    /// What was accepted and what came of it, as the audit log of such a stage says: kind, commit and result of each entry.
    pub(crate) fn roll_outs_on_volume(&mut self) -> Result<Vec<String>> {
        let entries = self.entries_on_volume()?;
        let is_roll_out = |entry: &&Value| {
            entry["subject"]["sync"].is_string() && ["advance", "outcome"].iter().any(|kind| entry["kind"] == *kind)
        };
        let roll_outs = entries.iter().filter(is_roll_out);
        Ok(roll_outs
            .map(|entry| {
                let word = |name: &str| entry["subject"][name].as_str().unwrap_or_default();
                format!("{} {} {}", entry["kind"].as_str().unwrap_or_default(), word("commit"), word("result"))
            })
            .map(|line| line.trim_end().to_owned())
            .collect())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.writ.take().context("writ does not run")?.kill().map(drop)
    }

    /// SIGTERM; the exit status must be 0.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.running()?.terminate(WITHIN)?;
        self.writ = None;
        ensure!(status.success(), "writ ended with {status} on SIGTERM");
        Ok(())
    }

    /// The running writ.
    pub(crate) fn running(&mut self) -> Result<&mut Writ> {
        self.writ.as_mut().context("writ does not run")
    }

    /// Everything that all runs have printed.
    pub(crate) fn log(&self) -> Result<String> {
        match std::fs::read(self.command.directory().join("writ.log")) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).context("cannot read writ's log"),
        }
    }

    fn starts(&self) -> Result<usize> {
        Ok(started_lines(&self.log()?).len())
    }

    /// Where this run serves metrics and probes.
    pub(crate) fn address(&self) -> Result<String> {
        started_lines(&self.log()?).pop().context("writ has not said where it listens")
    }

    /// Where it takes webhooks.
    pub(crate) fn webhooks(&self) -> Result<String> {
        let log = self.log()?;
        let line = log.lines().rfind(|line| line.contains("webhooks are taken"));
        let address = line.and_then(|line| line.split("address=").nth(1)?.split_whitespace().next());
        address.map(str::to_owned).context("writ has not said where it takes webhooks")
    }

    /// What writ counts.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&self.address()?)
    }

    /// The state volume.
    pub(crate) fn state(&self) -> PathBuf {
        self.command.directory().join("state")
    }

    /// Empties the state volume.
    pub(crate) fn lose_state(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.state())? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    /// The TrustRoot as a file, for the command line.
    pub(crate) fn trust_root_file(&self) -> PathBuf {
        self.command.directory().join("trust-root.yaml")
    }

    /// The log's public key as a file.
    pub(crate) fn log_key_file(&self) -> PathBuf {
        self.command.directory().join("key.pub")
    }

    /// `writ verify` of `revision` from the last good commit, as a person would run it in the work tree.
    pub(crate) fn verify(&self, revision: &str, more: &[&str]) -> Result<Finished> {
        let (repo, root) = (self.repo.path(), self.trust_root_file());
        let (repo, root) = (repo.to_string_lossy(), root.to_string_lossy());
        let mut arguments = vec!["verify", "--repo", &repo, "--trust-root", &root, "--from", &self.good, revision];
        arguments.extend_from_slice(more);
        writ(&arguments)
    }

    /// Entries of the audit log as `writ audit show -o json` prints them.
    pub(crate) fn entries(&self, more: &[&str]) -> Result<Vec<Value>> {
        let (log, key) = (self.state().join("log"), self.log_key_file());
        let (log, key) = (log.to_string_lossy(), key.to_string_lossy());
        let mut arguments = vec!["audit", "show", &log, "--key", &key, "--last", "10000", "-o", "json"];
        arguments.extend_from_slice(more);
        let mut document: Value =
            serde_json::from_str(&writ_ok(&arguments)?).context("writ audit show printed no JSON")?;
        match document["entries"].take() {
            Value::Array(entries) => Ok(entries),
            other => bail!("writ audit show printed no entries but {other}"),
        }
    }

    /// The same, as soon as there are `count` of them: reverts and outcomes are published with the next group, milliseconds later.
    pub(crate) fn entries_once(&self, more: &[&str], count: usize) -> Result<Vec<Value>> {
        wait_until(&format!("{count} entries {more:?}"), WITHIN, || {
            let entries = self.entries(more)?;
            ensure!(entries.len() == count, "{entries:?}");
            Ok(entries)
        })
    }

    /// `writ audit verify` must find nothing.
    pub(crate) fn audit_verifies(&self) -> Result<()> {
        let (log, key) = (self.state().join("log"), self.log_key_file());
        writ_ok(&["audit", "verify", &log.to_string_lossy(), "--key", &key.to_string_lossy()]).map(drop)
    }

    /// Puts a raw object of the local repository on the server as the head of `main`, past everything that git would check.
    pub(crate) fn force_head(&mut self, commit: &str) -> Result<()> {
        let (folder, file) = commit.split_at(2);
        let server = self.server_repository();
        let target = server.join("objects").join(folder);
        std::fs::create_dir_all(&target).context("cannot make the object's folder")?;
        let source = self.repo.path().join(".git/objects").join(folder).join(file);
        std::fs::copy(&source, target.join(file)).with_context(|| format!("cannot copy {}", source.display()))?;
        std::fs::write(server.join("refs/heads/main"), format!("{commit}\n")).context("cannot move the branch")?;
        self.poke()
    }
}

/// The addresses in the lines that writ prints when it has started, oldest first.
fn started_lines(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(" started ") && line.contains("instance="));
    lines.filter_map(|line| line.split("address=").nth(1)?.split_whitespace().next().map(str::to_owned)).collect()
}

fn ready(address: &str) -> Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: writ\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let first = answer.lines().next().unwrap_or_default();
    ensure!(first.contains(" 200 "), "/readyz answers {first}");
    Ok(())
}
