//! SSH signing keys, made at run time by the real `ssh-keygen`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{hermetic_command, run, shown};
use crate::scratch::Scratch;

/// Kind of an SSH key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ssh-ed25519
    Ed25519,
    /// ecdsa-sha2-nistp256
    EcdsaP256,
    /// ecdsa-sha2-nistp384
    EcdsaP384,
    /// ecdsa-sha2-nistp521
    EcdsaP521,
    /// ssh-rsa with a modulus of so many bits (ssh-keygen makes 1024 and more).
    Rsa(u16),
}

/// Key pairs in a directory that disappears with the value.
#[derive(Debug)]
pub struct Keys {
    directory: Scratch,
}

/// One key pair of a principal.
#[derive(Debug, Clone)]
pub struct SigningKey {
    principal: String,
    private: PathBuf,
    public: String,
}

impl Keys {
    /// An empty directory for keys.
    pub fn new() -> Result<Self> {
        Ok(Self { directory: Scratch::new("keys")? })
    }

    /// A new key pair without passphrase for `principal`. A second one of the same principal is another key.
    pub fn generate(&self, principal: &str, key_type: KeyType) -> Result<SigningKey> {
        SigningKey::generate(self.directory.path(), principal, key_type)
    }
}

impl SigningKey {
    /// A new key pair in `directory`.
    pub fn generate(directory: &Path, principal: &str, key_type: KeyType) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("key-")
            .tempdir_in(directory)
            .with_context(|| format!("cannot make a folder in {}", directory.display()))?
            .keep();
        let private = folder.join("key");
        let (name, bits) = match key_type {
            KeyType::Ed25519 => ("ed25519", None),
            KeyType::EcdsaP256 => ("ecdsa", Some(256)),
            KeyType::EcdsaP384 => ("ecdsa", Some(384)),
            KeyType::EcdsaP521 => ("ecdsa", Some(521)),
            KeyType::Rsa(bits) => ("rsa", Some(bits)),
        };
        let mut command = hermetic_command("ssh-keygen", &folder);
        command.args(["-q", "-N", "", "-C", principal, "-t", name]);
        if let Some(bits) = bits {
            command.args(["-b", &bits.to_string()]);
        }
        run(command.arg("-f").arg(&private)).context("cannot make a signing key")?;
        let line = std::fs::read_to_string(folder.join("key.pub")).context("cannot read the public key")?;
        let mut words = line.split_whitespace();
        let (Some(algorithm), Some(key)) = (words.next(), words.next()) else {
            bail!("ssh-keygen wrote a public key of an unknown form: {line}");
        };
        Ok(Self { principal: principal.to_owned(), public: format!("{algorithm} {key}"), private })
    }

    /// Writes the private key in the form that GitHub gives Apps theirs: RSA, PKCS #1, PEM.
    pub fn make_pem(&self) -> Result<()> {
        let mut command = hermetic_command("ssh-keygen", Path::new("/"));
        command.args(["-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f"]).arg(&self.private);
        run(&mut command).context("cannot convert a private key").map(drop)
    }

    /// Encrypts the private key with a passphrase, as ssh-keygen does it.
    pub fn lock(&self, passphrase: &str) -> Result<()> {
        let mut command = hermetic_command("ssh-keygen", Path::new("/"));
        command.args(["-q", "-p", "-P", "", "-N", passphrase, "-f"]).arg(&self.private);
        run(&mut command).context("cannot encrypt a private key").map(drop)
    }

    /// Whose key it is.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// `ssh-ed25519 AAAA…`, without comment: the form of trust files and of authorised keys.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// File of the private key; the public key is beside it with `.pub`.
    pub fn private_file(&self) -> &Path {
        &self.private
    }

    /// `SHA256:…`, as ssh-keygen prints it.
    pub fn fingerprint(&self) -> Result<String> {
        let output = run(hermetic_command("ssh-keygen", Path::new("/")).arg("-lf").arg(&self.private))?;
        let text = String::from_utf8(output).context("ssh-keygen printed something that is not UTF-8")?;
        text.split_whitespace().nth(1).map(str::to_owned).with_context(|| format!("no fingerprint in {text:?}"))
    }

    /// An armoured SSH signature over `bytes` in `namespace` (`git` for commits, `writ-trust@1` for trust files).
    pub fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String> {
        let mut command = hermetic_command("ssh-keygen", Path::new("/"));
        command.args(["-Y", "sign", "-n", namespace, "-f"]).arg(&self.private);
        let signature = run_with_input(&mut command, bytes).context("cannot sign")?;
        String::from_utf8(signature).context("ssh-keygen printed something that is not UTF-8")
    }
}

/// The text of an `allowed_signers` file in which every key is allowed in namespace `git`.
pub fn allowed_signers(keys: &[&SigningKey]) -> String {
    keys.iter().fold(String::new(), |mut text, key| {
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "{} namespaces=\"git\" {}", key.principal, key.public);
        text
    })
}

/// Runs a command that reads `input`, and returns its standard output.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let mut stdin = child.stdin.take().context("a piped child has a standard input")?;
    // A thread of its own: a child that writes before it has read everything would block us both.
    let (written, output) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    let output = output.with_context(|| format!("cannot wait for {}", shown(command)))?;
    if !output.status.success() {
        bail!("{}: {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    match written {
        Ok(result) => result.with_context(|| format!("cannot write to {}", shown(command)))?,
        Err(_panic) => bail!("the thread that writes to {} panicked", shown(command)),
    }
    Ok(output.stdout)
}
