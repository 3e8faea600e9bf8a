//! OpenPGP keys and signatures made at run time by the real `gpg`, each in a home of its own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use trust::{
    KnownSigners,
    openpgp::{Certificate, Keyring, OpenPgpFingerprint},
};

use super::{Bench, KEY_TYPES, Repository, ok};

/// When keys are made unless another time is given: a year before the commits.
pub const KEY_TIME: &str = "20250101T000000";
/// The time of [`super::COMMIT_TIME`].
pub const SIGN_TIME: &str = "20260101T000000";

/// A folder of keys. Its agent ends with it.
pub struct Gpg<'b> {
    bench: &'b Bench,
    pub home: PathBuf,
}

impl<'b> Gpg<'b> {
    pub fn new(bench: &'b Bench, name: &str) -> Self {
        let home = bench.path(name);
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let version = bench.run("gpg", &["--version"], b"");
        assert!(version.status.success(), "gpg is missing: apt-get install gnupg");
        Self { bench, home }
    }

    /// A repository whose commits gpg signs with this key, and verifies, as if it were [`SIGN_TIME`] until
    /// [`set_clock`](Self::set_clock) says otherwise.
    pub fn repository(&self, name: &str, key: &str, format: &str) -> Repository<'b> {
        let ssh = self.bench.key(&format!("ssh-{name}"), KEY_TYPES[0]);
        let repository = self.bench.repository(&format!("repository-{name}"), &ssh, format);
        let (home, program) = (self.home.display(), self.home.join("program"));
        let options = "--batch --no-tty --pinentry-mode loopback --passphrase ''";
        let clock = format!("--faked-system-time \"$(cat '{home}/clock')!\"");
        fs::write(&program, format!("#!/bin/sh\nexec gpg --homedir '{home}' {clock} {options} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        self.set_clock(SIGN_TIME);
        for (name, value) in
            [("gpg.format", "openpgp"), ("gpg.program", program.to_str().unwrap()), ("user.signingkey", key)]
        {
            repository.git(&["config", name, value]);
        }
        repository
    }

    /// The time at which git runs gpg from now on.
    pub fn set_clock(&self, time: &str) {
        fs::write(self.home.join("clock"), time).unwrap();
    }

    /// Everybody whose key is here.
    pub fn known(&self) -> KnownSigners {
        let exported = self.ok(SIGN_TIME, &["--armor", "--export"], b"");
        KnownSigners { certificates: Some(Keyring::parse(&exported).unwrap()), ..KnownSigners::default() }
    }

    /// Runs gpg as if it were `time`.
    pub fn run(&self, time: &str, args: &[&str], input: &[u8]) -> std::process::Output {
        let clock = format!("{time}!");
        let all = ["--homedir", self.home.to_str().unwrap(), "--faked-system-time", &clock, "--batch", "--yes"];
        let more = ["--pinentry-mode", "loopback", "--passphrase", "", "--quiet", "--no-tty", "--expert"];
        self.bench.run("gpg", &[&all, more.as_slice(), args].concat(), input)
    }

    pub fn ok(&self, time: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
        ok(&self.run(time, args, input))
    }

    /// `gpg --quick-generate-key`, and the fingerprint of the new key.
    pub fn key(&self, name: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.ok(KEY_TIME, &["--quick-generate-key", name, algorithm, usage, expires], b"");
        self.fingerprints(name).swap_remove(0)
    }

    /// `gpg --quick-add-key`, and the fingerprint of the new subkey.
    pub fn subkey(&self, key: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.ok(KEY_TIME, &["--quick-add-key", key, algorithm, usage, expires], b"");
        self.fingerprints(key).pop().unwrap()
    }

    fn fingerprints(&self, key: &str) -> Vec<String> {
        let listed = self.ok(SIGN_TIME, &["--with-colons", "--list-keys", key], b"");
        let text = String::from_utf8(listed).unwrap();
        text.lines()
            .filter(|line| line.starts_with("fpr:"))
            .map(|line| line.split(':').nth(9).unwrap().into())
            .collect()
    }

    /// `gpg --armor --detach-sign`. A key or subkey is named exactly by `!` after its fingerprint.
    pub fn sign(&self, key: &str, args: &[&str], message: &[u8]) -> Vec<u8> {
        self.sign_at(SIGN_TIME, key, args, message)
    }

    pub fn sign_at(&self, time: &str, key: &str, args: &[&str], message: &[u8]) -> Vec<u8> {
        let exact = format!("{key}!");
        self.ok(time, &[&["--armor", "--detach-sign", "-u", &exact], args].concat(), message)
    }

    pub fn export(&self, key: &str) -> Vec<u8> {
        self.ok(SIGN_TIME, &["--armor", "--export", key], b"")
    }

    pub fn certificate(&self, key: &str) -> Certificate {
        Certificate::parse(&self.export(key)).unwrap()
    }

    /// Revokes a key at `time`, by the answers of a person: 0 no reason, 1 compromised, 2 superseded, 3 retired.
    pub fn revoke(&self, time: &str, key: &str, reason: u8) {
        let answers = format!("y\n{reason}\n\ny\n");
        let file = self.bench.path(&format!("revocation-{key}"));
        let args = ["--command-fd", "0", "--output", file.to_str().unwrap(), "--generate-revocation", key];
        let clock = format!("{time}!");
        let all = ["--homedir", self.home.to_str().unwrap(), "--faked-system-time", &clock, "--yes", "--no-tty"];
        let more = ["--pinentry-mode", "loopback", "--passphrase", ""];
        ok(&self.bench.run("gpg", &[&all, more.as_slice(), args.as_slice()].concat(), answers.as_bytes()));
        self.ok(time, &["--import", file.to_str().unwrap()], b"");
    }

    /// Removes a public key.
    pub fn forget(&self, key: &super::packets::Key) {
        self.ok(SIGN_TIME, &["--delete-keys", &hex::encode_upper(key.fingerprint())], b"");
    }

    /// Whether `gpg --verify` accepts at `time`.
    pub fn accepts(&self, time: &str, message: &[u8], signature: &[u8]) -> bool {
        let (text, file) = (self.bench.path("message"), self.bench.path("signature.asc"));
        fs::write(&text, message).unwrap();
        fs::write(&file, signature).unwrap();
        self.run(time, &["--verify", file.to_str().unwrap(), text.to_str().unwrap()], b"").status.success()
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        self.bench.run("gpgconf", &["--homedir", self.home.to_str().unwrap(), "--kill", "gpg-agent"], b"");
    }
}

pub fn fingerprint(text: &str) -> OpenPgpFingerprint {
    text.parse().unwrap()
}
