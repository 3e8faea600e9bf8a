//! OpenPGP keys, made at run time by the real `gpg` in a home of their own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use crate::keys::run_with_input;
use crate::process::{hermetic_command, run};
use crate::scratch::Scratch;

/// When keys are made: a year before the first commit.
const KEY_TIME: &str = "20250101T000000";
/// When they sign: the time of the first commit.
const SIGN_TIME: &str = "20260101T000000";

/// A folder of keys. Its agent ends with each call.
#[derive(Debug)]
pub struct Gpg {
    home: Scratch,
}

impl Gpg {
    /// An empty home.
    pub fn new() -> Result<Self> {
        let home = Scratch::new("gpg")?;
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o700)).context("cannot close a folder")?;
        Ok(Self { home })
    }

    /// A new signing key of 2025; its fingerprint. `algorithm` and `expires` as of `gpg --quick-generate-key`.
    pub fn generate(&self, user: &str, algorithm: &str, expires: &str) -> Result<String> {
        self.run(KEY_TIME, &["--quick-generate-key", user, algorithm, "sign", expires], b"")?;
        let listed = text(self.run(SIGN_TIME, &["--with-colons", "--list-keys", user], b"")?)?;
        let line = listed.lines().find(|line| line.starts_with("fpr:")).context("gpg lists no fingerprint")?;
        line.split(':').nth(9).map(str::to_owned).with_context(|| format!("no fingerprint in {line}"))
    }

    /// The certificate, armoured.
    pub fn export(&self, key: &str) -> Result<String> {
        text(self.run(SIGN_TIME, &["--armor", "--export", key], b"")?)
    }

    /// An armoured signature of 2026-01-01, detached unless `arguments` say otherwise.
    pub fn sign(&self, key: &str, arguments: &[&str], bytes: &[u8]) -> Result<String> {
        let how = if arguments.contains(&"--sign") { [].as_slice() } else { &["--detach-sign"] };
        text(self.run(SIGN_TIME, &[&["--armor", "-u", key], how, arguments].concat(), bytes)?)
    }

    /// The certificate as it is once the key is revoked without a reason. Here it is not, and goes on signing.
    pub fn export_revoked(&self, key: &str) -> Result<String> {
        let file = self.home.path().join(format!("revoked-{key}")).to_string_lossy().into_owned();
        let arguments = ["--no-batch", "--command-fd", "0", "--output", &file, "--generate-revocation", key];
        self.run(SIGN_TIME, &arguments, b"y\n0\n\ny\n")?;
        let elsewhere = Self::new()?;
        elsewhere.run(SIGN_TIME, &["--import"], self.export(key)?.as_bytes())?;
        elsewhere.run(SIGN_TIME, &["--import", &file], b"")?;
        elsewhere.export(key)
    }

    fn run(&self, time: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let clock = format!("{time}!");
        let mut command = hermetic_command("gpg", self.home.path());
        command.arg("--homedir").arg(self.home.path()).args([
            "--faked-system-time",
            &clock,
            "--batch",
            "--yes",
            "--quiet",
        ]);
        command.args(["--no-tty", "--expert", "--pinentry-mode", "loopback", "--passphrase", ""]).args(arguments);
        let output = run_with_input(&mut command, input).context("gpg (apt-get install gnupg)");
        // The agent alone: to end the card daemon gpgconf asks an agent that may just be going.
        let mut end = hermetic_command("gpgconf", self.home.path());
        run(end.arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]))
            .context("gpgconf (apt-get install gnupg)")?;
        output
    }
}

fn text(output: Vec<u8>) -> Result<String> {
    String::from_utf8(output).context("gpg printed something that is not UTF-8")
}
