//! The verdict on a signature alone, by an allowed-signers file: what `git verify-commit` decides, without its leniency.

use jiff::Timestamp;
use manifest::{Finding, Subject};

use crate::{
    AllowedSigners, CommitObject, SignatureFormat, Signer, TrustCode, UserCheck,
    repair::resign,
    ssh::{Crypto, NAMESPACE_GIT, Unproven},
};

/// Who signed this commit, if the file lists the key for commits at the committer's time (which the signer chose: so
/// does Git, and so a window here is no defence against a stolen key).
///
/// # Errors
/// W301 and W2xx as [`CommitObject::verify_ssh`] says under default settings; W202 if the file does not list the key,
/// W207 if not for commits or made without a touch of its security key, W204 if not for that time.
pub fn verify_signature_only(commit: &CommitObject, allowed: &AllowedSigners) -> Result<Signer, Finding> {
    let signature = commit.verify_ssh(&Crypto::default())?;
    let key = signature.key();
    let fingerprint = key.fingerprint();
    let refuse = |code: TrustCode, found: String, needed: &str, fix: String| Finding {
        code: code.entry(),
        subject: Subject::Commit(commit.id.to_string()),
        rule: None,
        found,
        needed: needed.to_owned(),
        fix,
    };
    let at = Timestamp::from_second(commit.committer_time).map_err(|error| {
        refuse(TrustCode::W101, format!("committer time: {error}"), "a time until the year 9999", resign(commit))
    })?;
    if signature.certificate().is_some() {
        let found = format!("signed with key {fingerprint} and a certificate, which is not supported yet here");
        return Err(refuse(TrustCode::W208, found, "a key that the allowed-signers file lists", resign(commit)));
    }
    let Some(first) = allowed.lines_of(key).next() else {
        let needed = "a key that the allowed-signers file lists";
        let fix = format!(
            "if NAME holds the key, add the line: NAME namespaces=\"git\" {key}; else have it signed with a listed key"
        );
        return Err(refuse(TrustCode::W202, format!("signed by {fingerprint}"), needed, fix));
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
        return Err(refuse(TrustCode::W204, found, &format!("a key valid at {at}"), resign(commit)));
    };
    if !line.allows_namespace(NAMESPACE_GIT) {
        let found = format!("{fingerprint} of {} is not listed for commits", line.principal);
        let fix = "add git to the namespaces of the line, if the key may sign commits".to_owned();
        return Err(refuse(TrustCode::W207, found, "a line whose namespaces match \"git\"", fix));
    }
    if let Some(Unproven { found, needed, fix }) = UserCheck::default().unproven(signature.assertion()) {
        let found = format!("signed with key {fingerprint} of {} {found}", line.principal);
        return Err(refuse(TrustCode::W207, found, needed, fix.to_owned()));
    }
    Ok(Signer { principal: line.principal.clone(), format: SignatureFormat::Ssh, key: fingerprint, ca: None })
}
