//! A server, a clone and a mirror, and what is common to those who look at them.

use std::{collections::BTreeSet, error::Error, fmt::Write as _, fs, path::PathBuf};

use git::{
    Credentials, ExchangeError, FetchChild, Fetched, GitCode, GitError, HEARTBEAT_FILE, HEARTBEAT_REF, Limits, Mirror,
    Remote, RemoteOptions, poll,
};
use manifest::Sensitive;
use testkit::{GitServer, Push, SignedRepo};
use trust::{CommitId, ObjectFormat};

use super::{CHILD, MAIN};

/// A server with one repository, a clone to push from, and an empty mirror.
pub(super) struct Setting {
    pub(super) server: GitServer,
    pub(super) repo: SignedRepo,
    pub(super) dir: tempfile::TempDir,
    pub(super) mirror: Mirror,
}

impl Setting {
    pub(super) fn new() -> Self {
        Self::with_ids(ObjectFormat::Sha1)
    }

    pub(super) fn with_ids(format: ObjectFormat) -> Self {
        let server = GitServer::start().unwrap();
        server.create_with_ids("shop", format.git_name()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirror::open_for(&dir.path().join("mirrors/shop"), format).unwrap();
        Self { server, repo: SignedRepo::with_ids(format.git_name()).unwrap(), dir, mirror }
    }

    pub(super) fn commit(&self, path: &str, content: impl AsRef<[u8]>) -> CommitId {
        self.repo.write(path, content).unwrap();
        self.repo.commit_unsigned(path).unwrap().parse().unwrap()
    }

    /// Pushes another ref than the branch.
    pub(super) fn push_ref(&self, refspec: &str) {
        self.repo.push(&self.server.remote("shop"), refspec, Push::Force).unwrap();
        self.server.clear_requests();
    }

    /// Puts a heartbeat of this text on the server, in the place of the one before.
    pub(super) fn heartbeat(&self, text: &str) {
        self.repo.write(HEARTBEAT_FILE, text).unwrap();
        let blob = self.repo.git(&["hash-object", "-w", HEARTBEAT_FILE]).unwrap();
        self.repo.git(&["update-index", "--add", "--cacheinfo", "100644", blob.trim(), HEARTBEAT_FILE]).unwrap();
        let tree = self.repo.git(&["write-tree"]).unwrap();
        let commit = self.repo.git(&["commit-tree", "-m", "heartbeat", tree.trim()]).unwrap();
        self.push_ref(&format!("+{}:{HEARTBEAT_REF}", commit.trim()));
    }

    /// Adds an approval of this text about a commit.
    pub(super) fn note(&self, commit: &CommitId, text: &str) {
        let file = self.dir.path().join("note");
        fs::write(&file, text).unwrap();
        let (file, commit) = (file.to_str().unwrap(), commit.to_string());
        self.repo.git(&["notes", "--ref", "writ-approvals", "append", "-F", file, &commit]).unwrap();
        self.push_ref("refs/notes/writ-approvals");
    }

    pub(super) fn push(&self, push: Push) {
        self.repo.push(&self.server.remote("shop"), "HEAD:refs/heads/main", push).unwrap();
        self.server.clear_requests();
    }

    /// Makes the server keep, and send, what is alike as differences.
    pub(super) fn repack(&self) {
        let mut git = testkit::hermetic_command("git", self.dir.path());
        git.arg("-C").arg(self.server.repository("shop"));
        testkit::run(git.args(["repack", "-adfq", "--window=10", "--depth=10"])).unwrap();
    }

    pub(super) fn options(&self) -> RemoteOptions {
        RemoteOptions {
            ca: Some(self.server.authority().as_bytes().to_vec()),
            credentials: Some(basic(self.server.username(), self.server.password())),
            format: self.mirror.objects().format(),
            limits: Limits { poll_seconds: 10, fetch_seconds: 30, ..Limits::default() },
            ..RemoteOptions::default()
        }
    }

    pub(super) fn remote(&self) -> Remote {
        self.remote_of(MAIN, &self.options())
    }

    pub(super) fn remote_of(&self, reference: &str, options: &RemoteOptions) -> Remote {
        Remote::new(&self.server.url("shop"), reference, options).unwrap()
    }

    pub(super) fn limited(&self, limits: Limits) -> Remote {
        self.remote_of(MAIN, &RemoteOptions { limits, ..self.options() })
    }

    pub(super) fn fetch(&self, remote: &Remote) -> Result<Fetched, GitError> {
        self.mirror.fetch(remote, &child())
    }

    /// Every file of the mirror but its locks.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.mirror.dir().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path);
                }
            }
        }
        for lock in ["writ-fetch.lock", "writ-pins.lock"] {
            found.remove(&self.mirror.dir().join(lock));
        }
        found
    }

    /// Fails poll and fetch with the same code, leaves nothing behind, and never shows a credential.
    pub(super) fn check_refused(&self, remote: &Remote, code: GitCode) -> (ExchangeError, ExchangeError) {
        let polled = exchange(poll(remote).unwrap_err(), code, self);
        (polled, self.check_fetch_refused(remote, code))
    }

    pub(super) fn check_fetch_refused(&self, remote: &Remote, code: GitCode) -> ExchangeError {
        let before = self.files();
        let incoming = self.mirror.incoming().unwrap();
        let error = exchange(self.fetch(remote).unwrap_err(), code, self);
        assert_eq!(self.files(), before, "something was left behind");
        assert_eq!(self.mirror.incoming().unwrap(), incoming);
        error
    }
}

/// Bytes that do not compress, the same in every run (xorshift).
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

pub(super) fn child() -> FetchChild {
    FetchChild { exe: std::env::current_exe().unwrap(), args: vec![CHILD.into()], owner: String::new() }
}

/// A script in the place of the child.
pub(super) fn shell(script: &str) -> FetchChild {
    FetchChild { exe: "/bin/sh".into(), args: vec!["-c".into(), script.into()], owner: String::new() }
}

pub(super) fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.to_owned(), password: Sensitive::new(password.to_owned()) }
}

pub(super) fn exchange(error: GitError, code: GitCode, setting: &Setting) -> ExchangeError {
    let shown = everything(&error);
    assert_eq!(error.code(), code, "{shown}");
    assert_eq!(error.finding().code.code, code.as_str());
    let authorization = setting.server.remote("shop").authorization().unwrap();
    for secret in [setting.server.password(), setting.server.token(), &authorization, CANARY] {
        assert!(!shown.contains(secret.trim_start_matches("Basic ")), "{shown}");
    }
    match error {
        GitError::Exchange { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

pub(super) const CANARY: &str = "canary-9c41e7";

/// All that can be printed of an error.
pub(super) fn everything(error: &GitError) -> String {
    let mut text = format!("{error} {error:?} {} {:?}", error.finding(), error.finding());
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, " {cause}").unwrap();
        source = cause.source();
    }
    text
}
