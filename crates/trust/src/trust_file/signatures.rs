//! Detached signatures over the exact bytes of a trust file.

use std::collections::BTreeSet;

use jiff::Timestamp;
use manifest::{Digest, Finding, RepoPath, Subject};

use super::{TRUST_SIGNATURES, TrustFile, signatures_folder};
use crate::{
    ArmorFormat, CommitId, Crypto, Fingerprint, History, MAX_ARMOR_BYTES, MAX_BUNDLE_BYTES, NAMESPACE_TRUST, PublicKey,
    SignatureFormat, SshSignature, TrustCode, TrustRootSpec, UserCheck, Verifiers,
    detached::Keys,
    instants::Instants,
    refusal::unreadable,
    repair::{Place, amend, in_place},
    signature_cache::Verifier,
    verified_signature::is_bundle,
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
#[must_use]
pub fn openpgp_signature_path(principal: &str) -> RepoPath {
    format!("{TRUST_SIGNATURES}/{principal}.asc").parse().unwrap_or_default()
}

/// Whose signature a file is, and in which format, by its name.
fn named(name: &str) -> Option<(&str, SignatureFormat)> {
    let of = |ending, format| Some((name.strip_suffix(ending)?, format));
    let named = of(".sig", SignatureFormat::Ssh).or_else(|| of(".asc", SignatureFormat::OpenPgp));
    named.filter(|(principal, _)| !principal.contains('/'))
}

impl SignatureFile {
    /// Reads all signature files of a commit.
    pub(crate) fn all(history: &dyn History, commit: &CommitId) -> Result<Vec<Self>, Finding> {
        let refuse = |path: &RepoPath, found: String, needed: String| Finding {
            code: TrustCode::W502.entry(),
            subject: Subject::Path { path: path.clone(), line: None, column: None },
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: in_place(
                &format!("git rm -- {} && {}", manifest::shell_quote(path.as_str()), amend()),
                commit,
                Place::Below,
            )
            .into(),
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
            let Some((principal, format)) = name.and_then(named) else {
                let needed = format!("only {TRUST_SIGNATURES}/<principal>.sig and .asc there");
                return Err(refuse(&path, "not a signature".to_owned(), needed));
            };
            let bytes = history.read(commit, &path).map_err(|error| unreadable(commit, &error))?;
            let armoured =
                bytes.ok_or_else(|| refuse(&path, "listed but not there".to_owned(), "the file".to_owned()))?;
            // Before any right was looked at: what is kept of all files is bounded by what can be a signature.
            let most = if is_bundle(&armoured) { MAX_BUNDLE_BYTES } else { MAX_ARMOR_BYTES };
            if armoured.len() > most {
                let needed = format!("a signature, at most {most} bytes");
                return Err(refuse(&path, format!("{} bytes", armoured.len()), needed));
            }
            files.push(Self { principal: principal.to_owned(), format, armoured });
        }
        Ok(files)
    }

    fn name(&self) -> String {
        let ending = match self.format {
            // a bundle takes the place of an SSH signature
            SignatureFormat::Ssh | SignatureFormat::Keyless => "sig",
            SignatureFormat::OpenPgp => "asc",
        };
        format!("{}.{ending}", self.principal)
    }

    fn verify(
        &self,
        message: &[u8],
        crypto: &Crypto,
        settings: Digest,
        verifier: Verifier<'_>,
    ) -> Result<SshSignature, String> {
        verifier
            .message(&self.armoured, message, NAMESPACE_TRUST, crypto, settings)
            .map_err(|error| format!("{}.sig: {error}", self.principal))
    }
}

/// Whether the signature proves what is asked about the user of its key.
fn proven(name: &str, user: UserCheck, signature: &SshSignature) -> Result<(), String> {
    match user.unproven(signature.assertion()) {
        None => Ok(()),
        Some(unproven) => {
            let key = signature.key().fingerprint();
            Err(format!("{name}.sig: signed with key {key} {}; needed: {}", unproven.found, unproven.needed))
        }
    }
}

impl TrustFile {
    /// The principals of *this* file whose signatures over `message` are good.
    pub(crate) fn signed_by(
        &self,
        message: &[u8],
        files: &[SignatureFile],
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Signatures<String> {
        let mut signatures = Signatures { good: BTreeSet::new(), bad: Vec::new() };
        for file in files {
            match self.stands(file, message, instants, verifier) {
                Ok(()) => _ = signatures.good.insert(file.principal.clone()),
                Err(reason) => signatures.bad.push(reason),
            }
        }
        signatures
    }

    /// Whose signature over `message` each of these files of [`TRUST_SIGNATURES`] is, by a key of *this* file that is in
    /// force at a time; or why it counts for nobody. OpenPGP keys count as far as their certificates are loaded, accounts as
    /// far as their signatures can be verified.
    #[must_use]
    pub fn signatures(
        &self,
        message: &[u8],
        files: &[(String, Vec<u8>)],
        at: Timestamp,
        with: Verifiers<'_>,
    ) -> Vec<Result<String, String>> {
        let instants = Instants { committer: at, first_sight: None };
        let judge = |(name, bytes): &(String, Vec<u8>)| {
            let (principal, format) = named(name).ok_or_else(|| format!("{name}: not <principal>.sig or .asc"))?;
            let file = SignatureFile { principal: principal.to_owned(), format, armoured: bytes.clone() };
            self.stands(&file, message, &instants, Verifier::new(with)).map(|()| principal.to_owned())
        };
        files.iter().map(judge).collect()
    }

    /// Whether the signature is by a key in force of the principal whose name the file bears; else why not.
    fn stands(
        &self,
        file: &SignatureFile,
        message: &[u8],
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Result<(), String> {
        let shown = file.name();
        let is_openpgp = ArmorFormat::of(&file.armoured) == Some(ArmorFormat::OpenPgp);
        if is_openpgp != (file.format == SignatureFormat::OpenPgp) {
            let what =
                if is_openpgp { "an OpenPGP signature, which belongs into .asc" } else { "no OpenPGP signature" };
            return Err(format!("{shown}: {what}"));
        }
        let keys = Keys { policy: self, instants, verifier };
        match keys.signer(&file.armoured, message, NAMESPACE_TRUST) {
            Ok((holder, _key)) if holder == file.principal => Ok(()),
            Ok((holder, _key)) => Err(format!("{shown}: signed by {holder}")),
            Err(reason) => Err(format!("{shown}: {reason}")),
        }
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
    pub(crate) fn signed_by(
        &self,
        message: &[u8],
        files: &[SignatureFile],
        verifier: Verifier<'_>,
    ) -> Signatures<Fingerprint> {
        let keys: BTreeSet<Fingerprint> = self
            .root_keys
            .keys
            .iter()
            .filter_map(|text| PublicKey::parse(text).ok())
            .map(|key| key.fingerprint())
            .collect();
        let mut signatures = Signatures { good: BTreeSet::new(), bad: Vec::new() };
        let (crypto, settings) = (Crypto::default(), Digest::of(&self.canonical()));
        for file in files {
            // Root keys are SSH keys: what OpenPGP keys sign counts by the rules of the file alone.
            if file.format == SignatureFormat::OpenPgp {
                signatures.bad.push(format!("{}: an OpenPGP key is no root key", file.name()));
                continue;
            }
            if is_bundle(&file.armoured) {
                signatures.bad.push(format!("{}: an account is no root key", file.name()));
                continue;
            }
            let verdict = file.verify(message, &crypto, settings, verifier).and_then(|signature| {
                if signature.certificate().is_some() {
                    return Err(format!("{}.sig: signed with a certificate, not with a root key", file.principal));
                }
                proven(&file.principal, UserCheck::default(), &signature)?;
                Ok(signature.key().fingerprint())
            });
            match verdict {
                Ok(key) if keys.contains(&key) => _ = signatures.good.insert(key),
                Ok(key) => signatures.bad.push(format!("{}.sig: key {key} is not a root key", file.principal)),
                Err(reason) => signatures.bad.push(reason),
            }
        }
        signatures
    }
}
