//! Detached signatures over the exact bytes of a trust file.

use std::collections::BTreeSet;

use manifest::{Finding, RepoPath, Subject};

use super::{Revoked, TRUST_SIGNATURES, TrustFile, signatures_folder};
use crate::{
    CommitId, Crypto, Fingerprint, History, MAX_ARMOR_BYTES, NAMESPACE_TRUST, PublicKey, SignatureFormat, TrustCode,
    TrustRootSpec, instants::Instants, refusal::unreadable, verify_sshsig,
};

/// Most files beside a trust file: twice the root keys a TrustRoot may name.
pub const MAX_SIGNATURE_FILES: usize = 64;

/// One file of `.writ/trust.yaml.sigs/`.
#[derive(Debug)]
pub(crate) struct SignatureFile {
    principal: String,
    format: SignatureFormat,
    armoured: Vec<u8>,
}

/// Who signed, and why the other files do not count.
#[derive(Debug)]
pub(crate) struct Signatures<T> {
    pub(crate) good: BTreeSet<T>,
    pub(crate) bad: Vec<String>,
}

/// Where the signature of a principal lies.
#[must_use]
pub fn signature_path(principal: &str) -> RepoPath {
    format!("{TRUST_SIGNATURES}/{principal}.sig").parse().unwrap_or_default()
}

/// Where the OpenPGP signature of a principal lies.
pub(super) fn openpgp_signature_path(principal: &str) -> RepoPath {
    format!("{TRUST_SIGNATURES}/{principal}.asc").parse().unwrap_or_default()
}

impl SignatureFile {
    /// Reads all signature files of a commit.
    pub(crate) fn all(history: &dyn History, commit: &CommitId) -> Result<Vec<Self>, Finding> {
        let refuse = |path: &RepoPath, found: String, needed: String| Finding {
            code: TrustCode::W502.entry(),
            subject: Subject::Path { path: path.clone(), line: None, column: None },
            rule: None,
            found,
            needed,
            fix: format!("git rm -- {}", manifest::shell_quote(path.as_str())),
        };
        let folder = signatures_folder();
        let paths = history.list(commit, &folder).map_err(|error| unreadable(commit, &error))?;
        if paths.len() > MAX_SIGNATURE_FILES {
            let needed = format!("at most {MAX_SIGNATURE_FILES} signatures");
            return Err(refuse(&folder, format!("{} files", paths.len()), needed));
        }
        let mut files = Vec::new();
        for path in paths {
            let name = path.as_str().strip_prefix(TRUST_SIGNATURES).and_then(|rest| rest.strip_prefix('/'));
            let of = |ending, format| name.and_then(|name| Some((name.strip_suffix(ending)?, format)));
            let named = of(".sig", SignatureFormat::Ssh).or_else(|| of(".asc", SignatureFormat::OpenPgp));
            let Some((principal, format)) = named.filter(|(name, _)| !name.contains('/')) else {
                let needed = format!("only {TRUST_SIGNATURES}/<principal>.sig and .asc there");
                return Err(refuse(&path, "not a signature".to_owned(), needed));
            };
            let bytes = history.read(commit, &path).map_err(|error| unreadable(commit, &error))?;
            let armoured =
                bytes.ok_or_else(|| refuse(&path, "listed but not there".to_owned(), "the file".to_owned()))?;
            // Before any right was looked at: what is kept of all files is bounded by what can be a signature.
            if armoured.len() > MAX_ARMOR_BYTES {
                let needed = format!("a signature, at most {MAX_ARMOR_BYTES} bytes");
                return Err(refuse(&path, format!("{} bytes", armoured.len()), needed));
            }
            files.push(Self { principal: principal.to_owned(), format, armoured });
        }
        Ok(files)
    }

    fn name(&self) -> String {
        let ending = match self.format {
            SignatureFormat::Ssh => "sig",
            SignatureFormat::OpenPgp => "asc",
        };
        format!("{}.{ending}", self.principal)
    }

    fn verify(&self, message: &[u8], crypto: &Crypto) -> Result<PublicKey, String> {
        verify_sshsig(&self.armoured, message, NAMESPACE_TRUST, crypto)
            .map(|signature| signature.key().clone())
            .map_err(|error| format!("{}.sig: {error}", self.principal))
    }
}

impl TrustFile {
    /// The principals of *this* file whose signatures over `message` are good.
    pub(crate) fn signed_by(&self, message: &[u8], files: &[SignatureFile], instants: &Instants) -> Signatures<String> {
        let mut signatures = Signatures { good: BTreeSet::new(), bad: Vec::new() };
        for file in files {
            let name = &file.principal;
            if file.format == SignatureFormat::OpenPgp {
                match self.signed_by_certificate(&file.armoured, message, instants) {
                    Ok(holder) if holder == name => _ = signatures.good.insert(name.clone()),
                    Ok(_other) => signatures.bad.push(format!("{}: not by a key of {name}", file.name())),
                    Err(reason) => signatures.bad.push(format!("{}: {reason}", file.name())),
                }
                continue;
            }
            let verdict = file.verify(message, &self.crypto).and_then(|key| {
                let fingerprint = key.fingerprint();
                match self.holder(&fingerprint) {
                    Some((holder, held)) if holder == name => {
                        if let Some(reason) = self.revoked.get(&Revoked::Key(fingerprint)) {
                            return Err(format!("{name}.sig: key {fingerprint} is revoked ({reason})"));
                        }
                        instants
                            .within(held.not_after)
                            .map_err(|error| format!("{name}.sig: key {fingerprint} {error}"))
                    }
                    _ => Err(format!("{name}.sig: key {fingerprint} is not a key of {name}")),
                }
            });
            match verdict {
                Ok(()) => _ = signatures.good.insert(name.clone()),
                Err(reason) => signatures.bad.push(reason),
            }
        }
        signatures
    }

    /// Whose keys these are: people, each once; a key that the file does not know stands for somebody of its own.
    pub(crate) fn people_of(&self, keys: &BTreeSet<Fingerprint>) -> BTreeSet<String> {
        keys.iter()
            .filter_map(|key| match self.holder(key) {
                Some((name, _held)) if self.is_machine(name) => None,
                Some((name, _held)) => Some(name.to_owned()),
                None => Some(key.to_string()),
            })
            .collect()
    }
}

impl TrustRootSpec {
    /// The root keys whose signatures over `message` are good.
    pub(crate) fn signed_by(&self, message: &[u8], files: &[SignatureFile]) -> Signatures<Fingerprint> {
        let keys: BTreeSet<Fingerprint> = self
            .root_keys
            .keys
            .iter()
            .filter_map(|text| PublicKey::parse(text).ok())
            .map(|key| key.fingerprint())
            .collect();
        let mut signatures = Signatures { good: BTreeSet::new(), bad: Vec::new() };
        for file in files {
            // Root keys are SSH keys: what OpenPGP keys sign counts by the rules of the file alone.
            if file.format == SignatureFormat::OpenPgp {
                signatures.bad.push(format!("{}: an OpenPGP key is no root key", file.name()));
                continue;
            }
            match file.verify(message, &Crypto::default()).map(|key| key.fingerprint()) {
                Ok(key) if keys.contains(&key) => _ = signatures.good.insert(key),
                Ok(key) => signatures.bad.push(format!("{}.sig: key {key} is not a root key", file.principal)),
                Err(reason) => signatures.bad.push(reason),
            }
        }
        signatures
    }
}
