//! The verdict on a signature alone, by lists of keys: what `git verify-commit` decides, without its leniency.

use jiff::Timestamp;
use manifest::{Finding, Subject};

use crate::{
    AllowedSigners, ArmorFormat, CommitObject, Instants, KeyFingerprint, SignatureFormat, Signer, TrustCode,
    openpgp::Keyring,
    repair::{resign, resign_openpgp_with},
    ssh::{Crypto, NAMESPACE_GIT},
};

/// Whose signatures are good, by format; without a list no signature of that format is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownSigners {
    /// Of SSH.
    pub allowed_signers: Option<AllowedSigners>,
    /// Of OpenPGP.
    pub certificates: Option<Keyring>,
}

/// Who signed this commit, if the list of the signature's format holds the key, for commits at the committer's time
/// (which the signer chose: so does Git, and so a window here is no defence against a stolen key).
///
/// # Errors
/// W301 and W2xx as [`CommitObject::verify_ssh`] and [`CommitObject::verify_openpgp`] say under default settings; W202 if
/// the list does not hold the key, W204 if not for that time, W207 if not for commits, W208 if there is no list, W304 if
/// the key is revoked.
pub fn verify_signature_only(commit: &CommitObject, known: &KnownSigners) -> Result<Signer, Finding> {
    let no_list = |what: &str, needed: &str, fix: &str| {
        refuse(
            commit,
            TrustCode::W208,
            format!("{what} signature, for which no keys are given"),
            needed,
            fix.to_owned(),
        )
    };
    match (commit.signature_format(), &known.allowed_signers, &known.certificates) {
        (Some(ArmorFormat::OpenPgp), _, Some(certificates)) => by_certificates(commit, certificates),
        (Some(ArmorFormat::OpenPgp), _, None) => {
            let fix = "gpg --armor --export FINGERPRINT > FILE # of each signer; then verify with --openpgp-certs FILE";
            Err(no_list("an OpenPGP", "certificates of the signers", fix))
        }
        (None, None, Some(certificates)) => by_certificates(commit, certificates),
        (_, Some(allowed), _) => by_allowed_signers(commit, allowed),
        (_, None, _) => commit.verify_ssh(&Crypto::default()).and_then(|_nobody_known| {
            let fix =
                "list the signers as ssh-keygen(1) has it (ALLOWED SIGNERS); then verify with --allowed-signers FILE";
            Err(no_list("an SSH", "an allowed-signers file", fix))
        }),
    }
}

fn refuse(commit: &CommitObject, code: TrustCode, found: String, needed: &str, fix: String) -> Finding {
    let (code, subject) = (code.entry(), Subject::Commit(commit.id.to_string()));
    Finding { code, subject, rule: None, found, needed: needed.to_owned(), fix }
}

fn committer_time(commit: &CommitObject) -> Result<Timestamp, Finding> {
    Timestamp::from_second(commit.committer_time).map_err(|error| {
        let found = format!("committer time: {error}");
        refuse(commit, TrustCode::W101, found, "a time until the year 9999", resign(commit))
    })
}

fn by_certificates(commit: &CommitObject, certificates: &Keyring) -> Result<Signer, Finding> {
    let at = Instants { committer: committer_time(commit)?, first_sight: None };
    let signature = commit.verify_openpgp(certificates, &Crypto::default(), &at).map_err(|finding| {
        if finding.code != TrustCode::W202.entry() {
            return finding;
        }
        let add = "if its holder may sign, add what gpg --armor --export prints for it to the certificates";
        Finding { fix: format!("{} # {add}", resign_openpgp_with(commit)), ..finding }
    })?;
    let fingerprint = signature.certificate();
    let name = certificates.certificate(&fingerprint).and_then(|one| one.user_id());
    Ok(Signer {
        principal: name.map_or_else(|| fingerprint.to_string(), str::to_owned),
        format: SignatureFormat::OpenPgp,
        key: KeyFingerprint::OpenPgp(fingerprint),
    })
}

fn by_allowed_signers(commit: &CommitObject, allowed: &AllowedSigners) -> Result<Signer, Finding> {
    let signature = commit.verify_ssh(&Crypto::default())?;
    let key = signature.key();
    let fingerprint = key.fingerprint();
    let at = committer_time(commit)?;
    let Some(first) = allowed.lines_of(key).next() else {
        let needed = "a key that the allowed-signers file lists";
        let fix = format!(
            "if NAME holds the key, add the line: NAME namespaces=\"git\" {key}; else have it signed with a listed key"
        );
        return Err(refuse(commit, TrustCode::W202, format!("signed by {fingerprint}"), needed, fix));
    };
    // As with Git, the first line in force at that time decides, also if a later one would allow more.
    let Some(line) = allowed.lines_of(key).find(|line| line.allows_time(at)) else {
        let window = match (first.valid_after, first.valid_before) {
            (Some(after), Some(before)) => format!("from {after} to {before}"),
            (Some(after), None) => format!("from {after}"),
            (None, Some(before)) => format!("until {before}"),
            (None, None) => "always".to_owned(),
        };
        let found = format!("{fingerprint} of {} is valid {window}", first.principal);
        return Err(refuse(commit, TrustCode::W204, found, &format!("a key valid at {at}"), resign(commit)));
    };
    if !line.allows_namespace(NAMESPACE_GIT) {
        let found = format!("{fingerprint} of {} is not listed for commits", line.principal);
        let fix = "add git to the namespaces of the line, if the key may sign commits".to_owned();
        return Err(refuse(commit, TrustCode::W207, found, "a line whose namespaces match \"git\"", fix));
    }
    let (principal, key) = (line.principal.clone(), KeyFingerprint::Ssh(fingerprint));
    Ok(Signer { principal, format: SignatureFormat::Ssh, key })
}
