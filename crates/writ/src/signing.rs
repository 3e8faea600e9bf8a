//! How a person signs with a key of theirs: by `ssh-keygen`, so that the key stays with it or with the agent.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use git::Objects;
use manifest::RepoPath;
use trust::{CommitId, History as _, TRUST_FILE, TrustFile, verify_sshsig};

/// The trust file of a commit.
pub(crate) fn trust_file(repository: &Objects, commit: &CommitId) -> anyhow::Result<TrustFile> {
    let path: RepoPath = TRUST_FILE.parse()?;
    let bytes = repository.read(commit, &path)?.with_context(|| format!("{commit} has no {TRUST_FILE}"))?;
    TrustFile::parse(&bytes).map_err(|findings| {
        let mistakes: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{TRUST_FILE} of {commit}: {}", mistakes.join("; "))
    })
}

/// Signs a message for this purpose; the principal whose key it was, and the armoured signature. One of nobody's key would
/// count for nothing, which is better said here.
pub(crate) fn sign(file: &TrustFile, key: &Path, namespace: &str, message: &[u8]) -> anyhow::Result<(String, String)> {
    let signature = by_ssh_keygen(key, namespace, message)?;
    let verified = verify_sshsig(signature.as_bytes(), message, namespace, &file.crypto)?;
    match file.signer_of(&verified) {
        Some(principal) => Ok((principal.to_owned(), signature)),
        None => bail!(
            "key {} belongs to no principal of {TRUST_FILE}, so its signature would not count",
            verified.key().fingerprint()
        ),
    }
}

fn by_ssh_keygen(key: &Path, namespace: &str, message: &[u8]) -> anyhow::Result<String> {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run ssh-keygen, which signs; install OpenSSH")?;
    // One statement is smaller than a pipe holds.
    child
        .stdin
        .take()
        .context("ssh-keygen takes no input")?
        .write_all(message)
        .context("cannot write to ssh-keygen")?;
    let output = child.wait_with_output().context("cannot wait for ssh-keygen")?;
    if !output.status.success() {
        bail!("ssh-keygen did not sign with {}", key.display());
    }
    String::from_utf8(output.stdout).context("ssh-keygen wrote no text")
}
