//! Git repositories with signed commits, made at run time by the real `git`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::keys::{SigningKey, run_with_input};
use crate::process::{hermetic_command, run};
use crate::scratch::Scratch;

/// Time of the first commit unless set: 2026-01-01T00:00:00Z, in seconds of Unix time. Each commit is one minute later.
const FIRST_COMMIT: i64 = 1_767_225_600;
/// Namespace of signatures over trust files.
const TRUST_NAMESPACE: &str = "writ-trust@1";

/// Whether and by whom a commit is signed.
#[derive(Debug, Clone, Copy)]
pub enum Signing<'a> {
    /// By this key, in namespace `git`, by git itself.
    By(&'a SigningKey),
    /// Not at all.
    Unsigned,
}

/// How a branch is merged; there is always a merge commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// `--no-ff`
    NoFastForward,
    /// `--no-ff -s ours`: the other side's content is dropped, its commits become ancestors.
    Ours,
}

/// Whether a push may rewrite the branch on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// Only forward.
    FastForward,
    /// `--force`
    Force,
}

/// An entry of a tree object that is written as it is, however hostile.
#[derive(Debug, Clone)]
pub struct RawEntry<'a> {
    /// As in the object, e.g. `100644`, `120000`, `160000`.
    pub mode: &'a str,
    /// Any bytes but NUL.
    pub name: &'a [u8],
    /// Hex object id.
    pub id: &'a str,
}

/// A repository with a work tree on branch `main`. Commands see nothing of the developer's git configuration; author and
/// committer are `testkit`, times are fixed. Ids are hex.
#[derive(Debug)]
pub struct SignedRepo {
    directory: Scratch,
    time: Cell<i64>,
}

impl SignedRepo {
    /// An empty repository, no commit yet.
    pub fn new() -> Result<Self> {
        Self::with_ids("sha1")
    }

    /// The same with ids of a hash: `sha1` or `sha256`.
    pub fn with_ids(format: &str) -> Result<Self> {
        let repository = Self { directory: Scratch::new("repository")?, time: Cell::new(FIRST_COMMIT) };
        std::fs::create_dir(repository.path()).context("cannot make the work tree")?;
        repository.git(&["init", "--quiet", "--initial-branch=main", "--object-format", format])?;
        Ok(repository)
    }

    /// The work tree.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Sets author and committer time of the next commit, in seconds of Unix time; each later one is a minute later.
    pub fn set_time(&self, unix_seconds: i64) {
        self.time.set(unix_seconds);
    }

    /// Any git command in the work tree; its standard output without the last line end.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        text(run(self.command().args(arguments))?)
    }

    fn command(&self) -> Command {
        self.prepare_command("git")
    }

    fn prepare_command(&self, program: &str) -> Command {
        let mut command = without_configuration(program, self.directory.path());
        let date = format!("{} +0000", self.time.get());
        command.current_dir(self.path()).env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        command
    }

    /// Writes a file and its folders. Commits take everything that is in the work tree.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let file = self.prepared(path)?;
        std::fs::write(&file, content).with_context(|| format!("cannot write {path}"))
    }

    /// Reads a file of the work tree.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.path().join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// Removes a file, or a folder with everything in it.
    pub fn remove(&self, path: &str) -> Result<()> {
        let file = self.path().join(path);
        if file.is_dir() { std::fs::remove_dir_all(&file) } else { std::fs::remove_file(&file) }
            .with_context(|| format!("cannot remove {path}"))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, path: &str, target: &str) -> Result<()> {
        let link = self.prepared(path)?;
        std::os::unix::fs::symlink(target, link).with_context(|| format!("cannot link {path}"))
    }

    /// Adds a submodule entry (a tree entry of mode 160000; nothing is cloned).
    pub fn submodule(&self, path: &str, commit: &str) -> Result<()> {
        // An empty folder is what an uninitialised submodule looks like; without it the next commit would drop the entry.
        let folder = self.prepared(path)?;
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {path}"))?;
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]).map(drop)
    }

    fn prepared(&self, path: &str) -> Result<PathBuf> {
        let file = self.path().join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder of {path}"))?;
        }
        Ok(file)
    }

    /// Commits the whole work tree signed by `key`; the new commit.
    pub fn commit_signed(&self, key: &SigningKey, message: &str) -> Result<String> {
        self.commit(Signing::By(key), message)
    }

    /// Commits the whole work tree without a signature; the new commit.
    pub fn commit_unsigned(&self, message: &str) -> Result<String> {
        self.commit(Signing::Unsigned, message)
    }

    /// Commits the whole work tree, also when nothing changed; the new commit.
    pub fn commit(&self, signing: Signing<'_>, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        let mut command = self.signing_command(signing);
        run(command.args(["commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-m", message]))?;
        self.advance()
    }

    /// Runs a command as a person who pastes it into a shell in the work tree, and whose configuration names `key`; the new head.
    pub fn paste(&self, command: &str, key: &SigningKey) -> Result<String> {
        self.git(&["config", "user.signingkey", &key.private_file().to_string_lossy()])?;
        let mut shell = self.prepare_command("sh");
        run(shell.args(["-c", command]))?;
        self.advance()
    }

    /// Merges `branch` into the current one with a merge commit; the new commit.
    pub fn merge(&self, branch: &str, merge: Merge, signing: Signing<'_>) -> Result<String> {
        let mut command = self.signing_command(signing);
        command.args(["merge", "--quiet", "--no-ff", "--no-edit"]);
        if merge == Merge::Ours {
            command.args(["-s", "ours"]);
        }
        run(command.arg(branch))?;
        self.advance()
    }

    /// A commit over any tree and parents, on no branch; the new commit.
    pub fn commit_tree(&self, tree: &str, parents: &[&str], signing: Signing<'_>, message: &str) -> Result<String> {
        let mut command = self.signing_command(signing);
        command.arg("commit-tree");
        // commit-tree does not read commit.gpgsign.
        if matches!(signing, Signing::By(_)) {
            command.arg("-S");
        }
        for parent in parents {
            command.args(["-p", parent]);
        }
        let commit = text(run(command.args(["-m", message, tree]))?)?;
        self.time.set(self.time.get() + 60);
        Ok(commit)
    }

    fn signing_command(&self, signing: Signing<'_>) -> Command {
        let mut command = self.command();
        if let Signing::By(key) = signing {
            command.args(["-c", "gpg.format=ssh", "-c", "commit.gpgsign=true", "-c"]);
            command.arg(format!("user.signingkey={}", key.private_file().display()));
        }
        command
    }

    fn advance(&self) -> Result<String> {
        self.time.set(self.time.get() + 60);
        self.head()
    }

    /// The current commit.
    pub fn head(&self) -> Result<String> {
        self.rev_parse("HEAD")
    }

    /// Object id of a revision.
    pub fn rev_parse(&self, revision: &str) -> Result<String> {
        self.git(&["rev-parse", "--verify", "--end-of-options", revision])
    }

    /// Makes a branch at the current commit and switches to it.
    pub fn branch(&self, name: &str) -> Result<()> {
        self.git(&["switch", "--quiet", "-c", name]).map(drop)
    }

    /// Makes a branch without history and switches to it; the work tree is emptied.
    pub fn orphan(&self, name: &str) -> Result<()> {
        self.git(&["switch", "--quiet", "--orphan", name]).map(drop)
    }

    /// Switches to a branch.
    pub fn switch(&self, name: &str) -> Result<()> {
        self.git(&["switch", "--quiet", name]).map(drop)
    }

    /// Makes or moves a lightweight tag.
    pub fn tag(&self, name: &str, revision: &str) -> Result<()> {
        self.git(&["tag", "--force", name, revision]).map(drop)
    }

    /// Makes or moves an annotated tag that is signed by `key`.
    pub fn tag_signed(&self, key: &SigningKey, name: &str, revision: &str) -> Result<()> {
        let mut command = self.signing_command(Signing::By(key));
        run(command.args(["tag", "--sign", "--force", "-m", name, name, revision]))?;
        self.time.set(self.time.get() + 60);
        Ok(())
    }

    /// Moves the current branch and the work tree to `revision`.
    pub fn reset(&self, revision: &str) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard", revision]).map(drop)
    }

    /// Points the branch `main` at a commit without touching the work tree: for objects that git would refuse to check out.
    pub fn set_main(&self, commit: &str) -> Result<()> {
        self.git(&["update-ref", "refs/heads/main", commit]).map(drop)
    }

    /// The bytes of an object; `kind` is `commit`, `tree` or `blob`.
    pub fn read_object(&self, kind: &str, id: &str) -> Result<Vec<u8>> {
        run(self.command().args(["cat-file", kind, id]))
    }

    /// Writes any bytes as an object without a check (`--literally`); its id.
    pub fn write_object(&self, kind: &str, bytes: &[u8]) -> Result<String> {
        let mut command = self.command();
        command.args(["hash-object", "-w", "--stdin", "--literally", "-t", kind]);
        text(run_with_input(&mut command, bytes)?)
    }

    /// Writes a tree of the given entries in the given order, unchecked; its id.
    pub fn write_tree(&self, entries: &[RawEntry<'_>]) -> Result<String> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend_from_slice(entry.mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(entry.name);
            bytes.push(0);
            bytes.extend(hex::decode(entry.id).with_context(|| format!("{} is not an object id", entry.id))?);
        }
        self.write_object("tree", &bytes)
    }

    /// Signs `.writ/trust.yaml` as it is in the work tree and stores `.writ/trust.yaml.sigs/<principal>.sig`.
    pub fn sign_trust_file(&self, key: &SigningKey) -> Result<()> {
        let signature = key.sign(TRUST_NAMESPACE, self.read(".writ/trust.yaml")?.as_bytes())?;
        self.write(&format!(".writ/trust.yaml.sigs/{}.sig", key.principal()), signature)
    }

    /// Pushes `refspec` (e.g. `main` or `HEAD:refs/heads/main`) to `remote`.
    pub fn push(&self, remote: &Remote, refspec: &str, push: Push) -> Result<()> {
        let mut command = self.command();
        remote.configure(&mut command);
        command.args(["push", "--quiet"]);
        if push == Push::Force {
            command.arg("--force");
        }
        run(command.args(["--", &remote.url, refspec])).map(drop)
    }
}

/// How a client sends its credentials.
#[derive(Clone)]
pub enum Credentials {
    /// `Authorization: Basic`
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// `Authorization: Bearer`
    Bearer(String),
    /// No header.
    Anonymous,
}

/// A repository on a server, as a git client reaches it.
#[derive(Clone)]
pub struct Remote {
    /// `https://…`
    pub url: String,
    /// File with the authority that signed the server's certificate, PEM.
    pub authority: PathBuf,
    /// Sent with every request.
    pub credentials: Credentials,
}

impl Remote {
    /// Clones into `directory` with the real git; its standard error is in the error.
    pub fn clone_into(&self, directory: &Path) -> Result<()> {
        let home = directory.parent().unwrap_or(Path::new("/"));
        let mut command = git_command(home);
        self.configure(&mut command);
        run(command.args(["clone", "--quiet", "--", &self.url]).arg(directory)).map(drop)
    }

    /// Fetches `refspec` into the repository at `directory` with the real git.
    pub fn fetch_into(&self, directory: &Path, refspec: &str) -> Result<()> {
        let mut command = git_command(directory);
        self.configure(&mut command);
        run(command.current_dir(directory).args(["fetch", "--quiet", "--", &self.url, refspec])).map(drop)
    }

    /// The value of the `Authorization` header.
    pub fn authorization(&self) -> Option<String> {
        match &self.credentials {
            Credentials::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
            Credentials::Anonymous => None,
        }
    }

    fn configure(&self, command: &mut Command) {
        command.arg("-c").arg(format!("http.sslCAInfo={}", self.authority.display()));
        if let Some(authorization) = self.authorization() {
            command.args(["-c", &format!("http.extraHeader=Authorization: {authorization}")]);
        }
    }
}

/// `git` that sees neither environment nor configuration of the developer.
fn git_command(home: &Path) -> Command {
    without_configuration("git", home)
}

/// A program that runs `git`, or git itself, without environment and configuration of the developer.
fn without_configuration(program: &str, home: &Path) -> Command {
    let mut command = hermetic_command(program, home);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "testkit").env(format!("GIT_{role}_EMAIL"), "testkit@example.com");
    }
    command
}

fn text(output: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(output).context("git printed something that is not UTF-8")?;
    Ok(text.trim_end_matches('\n').to_owned())
}
