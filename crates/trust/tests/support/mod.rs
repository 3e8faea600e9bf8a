//! Keys, signatures and commits made at run time by the real `ssh-keygen` and `git`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "fixtures are made with real tools")]
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a fixture that cannot be made fails its test")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]
#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

pub mod gpg;
pub mod mutants;
pub mod packets;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use manifest::Finding;
use tempfile::TempDir;
use trust::{CommitId, CommitObject, ObjectFormat, PublicKey};

/// Seconds of 2026-01-01T00:00:00Z, the time of each commit unless another is given.
pub const COMMIT_TIME: i64 = 1_767_225_600;

/// Every key type that is supported, as arguments of ssh-keygen.
pub const KEY_TYPES: [&[&str]; 5] = [
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "3072"],
];

/// A folder that is also `HOME`, so that nothing of the machine's configuration is read.
pub struct Bench(TempDir);

/// A key pair.
#[derive(Clone)]
pub struct Key {
    pub private: PathBuf,
    /// `type base64`
    pub public: String,
}

impl Key {
    pub fn parsed(&self) -> PublicKey {
        PublicKey::parse(&self.public).unwrap()
    }
}

impl Bench {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(program);
        let date = format!("{COMMIT_TIME} +0000");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.0.path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_EDITOR", "true")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .current_dir(folder);
        command
    }

    pub fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Output {
        output(self.command(program, self.0.path()).args(args), input)
    }

    pub fn key(&self, name: &str, arguments: &[&str]) -> Key {
        let private = self.path(name);
        fs::create_dir_all(private.parent().unwrap()).unwrap();
        let mut args = vec!["-q", "-N", "", "-C", name, "-f", private.to_str().unwrap()];
        args.extend(arguments);
        ok(&self.run("ssh-keygen", &args, b""));
        let line = fs::read_to_string(private.with_extension("pub")).unwrap();
        let public = line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned();
        Key { private, public }
    }

    /// `ssh-keygen -Y sign`, armoured.
    pub fn sign(&self, key: &Key, namespace: &str, hash: &str, message: &[u8]) -> Vec<u8> {
        let hash = format!("hashalg={hash}");
        let args = ["-q", "-Y", "sign", "-n", namespace, "-O", &hash, "-f", key.private.to_str().unwrap()];
        ok(&self.run("ssh-keygen", &args, message))
    }

    /// Whether `ssh-keygen -Y verify` accepts.
    pub fn ssh_keygen_accepts(&self, key: &Key, namespace: &str, message: &[u8], signature: &[u8]) -> bool {
        let (signers, file) = (self.path("signers"), self.path("signature"));
        fs::write(&signers, format!("alice {}\n", key.public)).unwrap();
        fs::write(&file, signature).unwrap();
        let (signers, file) = (signers.to_str().unwrap(), file.to_str().unwrap());
        let args = ["-Y", "verify", "-f", signers, "-I", "alice", "-n", namespace, "-s", file];
        self.run("ssh-keygen", &args, message).status.success()
    }

    /// The private key in PEM, as maths libraries read it.
    pub fn as_pkcs8(&self, key: &Key) -> String {
        let copy = key.private.with_extension("pem");
        fs::copy(&key.private, &copy).unwrap();
        ok(&self.run("ssh-keygen", &["-q", "-p", "-m", "PKCS8", "-N", "", "-f", copy.to_str().unwrap()], b""));
        fs::read_to_string(&copy).unwrap()
    }

    /// `ssh-keygen -s`: certifies a key; the certificate lies beside it, as `ssh-keygen -Y sign -f` wants it.
    pub fn certify(&self, ca: &Key, key: &Key, arguments: &[&str]) -> Key {
        let public = key.private.with_extension("pub");
        let mut args = vec!["-q", "-s", ca.private.to_str().unwrap()];
        args.extend(arguments);
        args.push(public.to_str().unwrap());
        ok(&self.run("ssh-keygen", &args, b""));
        let private = self.path(&format!("{}-cert.pub", key.private.file_name().unwrap().to_str().unwrap()));
        let line = fs::read_to_string(&private).unwrap();
        Key { private, public: line.split(' ').take(2).collect::<Vec<_>>().join(" ") }
    }

    /// Whether `ssh-keygen -Y verify` accepts a signature with a certificate of this authority, at the time of commits.
    pub fn ssh_keygen_accepts_certificate(
        &self,
        ca: &str,
        principal: &str,
        namespace: &str,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let (signers, file) = (self.path("authorities"), self.path("signature"));
        fs::write(&signers, format!("*@example.com cert-authority {ca}\n")).unwrap();
        fs::write(&file, signature).unwrap();
        let (signers, file) = (signers.to_str().unwrap(), file.to_str().unwrap());
        let args = [
            "-Y",
            "verify",
            "-f",
            signers,
            "-I",
            principal,
            "-n",
            namespace,
            "-s",
            file,
            "-O",
            "verify-time=20260101000000Z",
        ];
        self.run("ssh-keygen", &args, message).status.success()
    }

    pub fn repository(&self, name: &str, key: &Key, format: &str) -> Repository<'_> {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        let repository = Repository { bench: self, folder };
        repository.git(&["init", "-q", "-b", "main", "--object-format", format]);
        for (name, value) in [
            ("user.name", "Alice"),
            ("user.email", "alice@example.com"),
            ("gpg.format", "ssh"),
            ("user.signingkey", key.private.to_str().unwrap()),
        ] {
            repository.git(&["config", name, value]);
        }
        repository
    }
}

/// A repository with an identity and a signing key.
pub struct Repository<'b> {
    pub bench: &'b Bench,
    pub folder: PathBuf,
}

impl Repository<'_> {
    pub fn output(&self, args: &[&str], input: &[u8]) -> Output {
        output(self.bench.command("git", &self.folder).args(args), input)
    }

    pub fn git(&self, args: &[&str]) -> Vec<u8> {
        ok(&self.output(args, b""))
    }

    /// Runs a line as a person who pasted it into a shell would.
    pub fn paste(&self, line: &str) {
        ok(&output(self.bench.command("sh", &self.folder).args(["-c", line]), b""));
    }

    pub fn commit(&self, args: &[&str]) -> (CommitId, Vec<u8>) {
        self.git(&[&["commit", "-q", "--allow-empty"], args].concat());
        self.raw("HEAD")
    }

    pub fn raw(&self, revision: &str) -> (CommitId, Vec<u8>) {
        let id = String::from_utf8(self.git(&["rev-parse", "--verify", revision])).unwrap();
        (id.trim().parse().unwrap(), self.git(&["cat-file", "commit", revision]))
    }

    /// Whether `git verify-commit` accepts under this allowed-signers file.
    pub fn git_accepts(&self, id: &CommitId, signers: &str) -> bool {
        self.allow(signers);
        self.git_verifies(id)
    }

    /// Sets the allowed-signers file of the repository.
    pub fn allow(&self, signers: &str) {
        let file = self.folder.join("signers");
        fs::write(&file, signers).unwrap();
        self.git(&["config", "gpg.ssh.allowedSignersFile", file.to_str().unwrap()]);
    }

    /// Whether `git verify-commit` accepts, as the repository is set up.
    pub fn git_verifies(&self, id: &CommitId) -> bool {
        self.output(&["verify-commit", &id.to_string()], b"").status.success()
    }

    /// Writes a commit as it is, as an attacker would.
    pub fn plant(&self, raw: &[u8]) -> CommitId {
        let id = ok(&self.output(&["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], raw));
        String::from_utf8(id).unwrap().trim().parse().unwrap()
    }
}

/// Whether git, gpg and OpenSSH here are those with which the tables were measured and hold exactly: git 2.39, gpg 2.2 and OpenSSH
/// 9.2. With others what git says is printed beside them, and only that we accept nothing it refuses is asked.
#[must_use]
pub fn tables_are_of_these_tools() -> bool {
    let measured = [
        ("git", "--version", "git version 2.39."),
        ("gpg", "--version", "gpg (GnuPG) 2.2."),
        ("ssh", "-V", "OpenSSH_9.2"),
    ];
    measured.iter().all(|(tool, argument, version)| {
        let output = Command::new(tool).arg(argument).output().unwrap();
        [output.stdout, output.stderr].concat().starts_with(version.as_bytes())
    })
}

/// Reads a SHA-1 commit under the id that its bytes have.
pub fn parse(raw: &[u8]) -> Result<CommitObject, Finding> {
    CommitObject::parse(CommitId::of(ObjectFormat::Sha1, raw).unwrap(), raw)
}

fn output(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Inputs are smaller than a pipe holds; a child that ended early without reading gives a broken pipe.
    let _written = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn ok(output: &Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.clone()
}
