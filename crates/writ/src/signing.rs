//! Signatures of people: made by `ssh-keygen` and `gpg`, so that keys stay with them or with their agents, or by `cosign` before.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use clap::Args;
use git::Objects;
use jiff::Timestamp;
use trust::{CommitId, MAX_BUNDLE_BYTES, TRUST_FILE, TrustFile, Verifiers};

use crate::{input, trusted_root::TrustedRoot};

/// What signs.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SigningKey {
    /// The private SSH key that signs, or the public one of a key that an agent holds.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The OpenPGP key that signs, as `gpg --local-user` takes it: best its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    openpgp: Option<String>,
    /// The Sigstore bundle in which an account has signed already, as cosign wrote it: --print-payload says what to sign.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Print what is to be signed, byte for byte, and sign nothing.
    #[arg(long)]
    print_payload: bool,
}

impl SigningKey {
    /// Whether it is an OpenPGP key.
    pub(crate) const fn is_openpgp(&self) -> bool {
        self.openpgp.is_some()
    }

    /// Whether nothing is to be signed here.
    pub(crate) const fn prints_payload(&self) -> bool {
        self.print_payload
    }

    /// The bundle that was signed elsewhere, on one line.
    pub(crate) fn bundle(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.bundle else { return Ok(None) };
        let text = input::text(file, MAX_BUNDLE_BYTES)?;
        let bundle: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no Sigstore bundle", file.display()))?;
        Ok(Some(bundle.to_string()))
    }

    /// A signature over a message: armoured, in this namespace if it is by an SSH key; or the bundle.
    pub(crate) fn sign(&self, namespace: &str, message: &[u8]) -> anyhow::Result<String> {
        match (&self.key, &self.openpgp) {
            (Some(key), _) => {
                let mut command = Command::new("ssh-keygen");
                command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
                run(command, "ssh-keygen", "OpenSSH", &key.display().to_string(), message)
            }
            (None, Some(key)) => {
                let mut command = Command::new("gpg");
                command.args(["--quiet", "--armor", "--detach-sign", "--local-user", key]);
                run(command, "gpg", "GnuPG", key, message)
            }
            (None, None) => self.bundle()?.context("no key is given"),
        }
    }
}

impl SigningKey {
    /// As [`sign`](Self::sign), for what is called `what`, with the principal whose key it is. A signature of nobody's key
    /// would count for nothing, which is better said here.
    pub(crate) fn sign_as(
        &self,
        file: &TrustFile,
        (what, namespace): (&str, &str),
        message: &[u8],
        trusted_root: &TrustedRoot,
    ) -> anyhow::Result<(String, String)> {
        let signature = self.sign(namespace, message)?;
        let keyless = trusted_root.verifier()?;
        let with = Verifiers { known: None, keyless: Some(&keyless) };
        let signer = file.signer_of_message(signature.as_bytes(), message, namespace, Timestamp::now(), with);
        let principal = signer.map_err(|reason| anyhow::anyhow!("the {what} would not count: {reason}"))?;
        Ok((principal, signature))
    }
}

/// The trust file of a commit, with the certificates that it pins.
pub(crate) fn trust_file(repository: &Objects, commit: &CommitId) -> anyhow::Result<TrustFile> {
    TrustFile::of_commit(repository, commit).map_err(|findings| {
        let mistakes: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{TRUST_FILE} of {commit}: {}", mistakes.join("; "))
    })
}

/// What a program makes of the message.
fn run(mut command: Command, program: &str, package: &str, key: &str, message: &[u8]) -> anyhow::Result<String> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {program}, which signs; install {package}"))?;
    // Both read all of a message before they write.
    let mut stdin = child.stdin.take().with_context(|| format!("{program} takes no input"))?;
    let written = stdin.write_all(message);
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {program}"))?;
    // A program that does not sign may not read either: what it says itself is on the terminal already.
    if !output.status.success() {
        bail!("{program} did not sign with {key}");
    }
    written.with_context(|| format!("cannot write to {program}"))?;
    String::from_utf8(output.stdout).with_context(|| format!("{program} wrote no text"))
}
