//! The verdict on a signature alone, by an allowed-signers file: what `git verify-commit` decides, without its leniency.

use jiff::Timestamp;
use manifest::{Finding, Subject};

use crate::{
    AllowedSigners, Certificate, CommitObject, SignatureFormat, Signer, SshSignature, TrustCode, UserCheck,
    repair::resign,
    ssh::{AllowedLine, Crypto, NAMESPACE_GIT, Unproven},
};

/// Who signed this commit, if the file lists the key, or the authority of its certificate, for commits at the
/// committer's time (which the signer chose: so does Git, and so a window here is no defence against a stolen key).
///
/// # Errors
/// W301 and W2xx as [`CommitObject::verify_ssh`] says under default settings; W202 if the file does not list the key,
/// W207 if not for commits, not for a principal of the certificate, or if its security key was not touched, W204 if not
/// for that time.
pub fn verify_signature_only(commit: &CommitObject, allowed: &AllowedSigners) -> Result<Signer, Finding> {
    let signature = commit.verify_ssh(&Crypto::default())?;
    let asked = Asked { commit, allowed, signature: &signature };
    let at = Timestamp::from_second(commit.committer_time).map_err(|error| {
        let found = format!("committer time: {error}");
        asked.refuse(TrustCode::W101, found, "a time until the year 9999", resign(commit))
    })?;
    let (line, principal) = match signature.certificate() {
        None => asked.by_key(at)?,
        Some(certificate) => asked.by_certificate(certificate, at)?,
    };
    let key = signature.key().fingerprint();
    if !line.allows_namespace(NAMESPACE_GIT) {
        let found = format!("{key} of {principal} is not listed for commits");
        let fix = "add git to the namespaces of the line, if the key may sign commits".to_owned();
        return Err(asked.refuse(TrustCode::W207, found, "a line whose namespaces match \"git\"", fix));
    }
    if let Some(Unproven { found, needed, fix }) = UserCheck::default().unproven(signature.assertion()) {
        let found = format!("signed with key {key} of {principal} {found}");
        return Err(asked.refuse(TrustCode::W207, found, needed, fix.to_owned()));
    }
    let ca = signature.certificate().map(|certificate| Box::new(certificate.authority().fingerprint()));
    Ok(Signer { principal: principal.to_owned(), format: SignatureFormat::Ssh, key, ca })
}

struct Asked<'a> {
    commit: &'a CommitObject,
    allowed: &'a AllowedSigners,
    signature: &'a SshSignature,
}

impl<'a> Asked<'a> {
    fn refuse(&self, code: TrustCode, found: String, needed: &str, fix: String) -> Finding {
        Finding {
            code: code.entry(),
            subject: Subject::Commit(self.commit.id.to_string()),
            rule: None,
            found,
            needed: needed.to_owned(),
            fix,
        }
    }

    /// The line that decides. As with Git it is the first in force at that time, also if a later one would allow more.
    fn by_key(&self, at: Timestamp) -> Result<(&'a AllowedLine, &'a str), Finding> {
        let key = self.signature.key();
        let fingerprint = key.fingerprint();
        let Some(first) = self.allowed.lines_of(key).next() else {
            let needed = "a key that the allowed-signers file lists";
            let fix = format!(
                "if NAME holds the key, add the line: NAME namespaces=\"git\" {key}; else have it signed with a listed key"
            );
            return Err(self.refuse(TrustCode::W202, format!("signed by {fingerprint}"), needed, fix));
        };
        let Some(line) = self.allowed.lines_of(key).find(|line| line.allows_time(at)) else {
            let found = format!("{fingerprint} of {} is valid {}", first.principal, window(first));
            return Err(self.refuse(TrustCode::W204, found, &format!("a key valid at {at}"), resign(self.commit)));
        };
        Ok((line, &line.principal))
    }

    /// The same for a certificate: the line of its authority, and the principal that both name.
    fn by_certificate(
        &self,
        certificate: &'a Certificate,
        at: Timestamp,
    ) -> Result<(&'a AllowedLine, &'a str), Finding> {
        let ca = certificate.authority();
        let what = format!("signed by {}, certified by {}", certificate.key().fingerprint(), ca.fingerprint());
        let lines = || self.allowed.lines_of_authority(certificate);
        let Some((first, _principal)) = lines().next() else {
            let needed = "an authority that the allowed-signers file lists";
            let fix = format!(
                "if certificates of this authority are to count for NAMES, add the line: NAMES cert-authority,namespaces=\"git\" {ca}; else have it signed with a listed key"
            );
            return Err(self.refuse(TrustCode::W202, what, needed, fix));
        };
        if !lines().any(|(_line, principal)| principal.is_some()) {
            let found = format!("{what} for {}", certificate.principals().join(", "));
            let needed = "a certificate for principals that the line of its authority names";
            let fix = "have the authority name one of them, or the line name one of these".to_owned();
            return Err(self.refuse(TrustCode::W207, found, needed, fix));
        }
        if !certificate.is_valid_at(at) {
            let found = format!("{what}, valid {}", certificate.window());
            return Err(self.refuse(
                TrustCode::W204,
                found,
                &format!("a certificate valid at {at}"),
                resign(self.commit),
            ));
        }
        let in_force = |(line, principal): (&'a AllowedLine, Option<&'a str>)| {
            principal.filter(|_name| line.allows_time(at)).map(|name| (line, name))
        };
        lines().find_map(in_force).ok_or_else(|| {
            let found = format!("{what}, whose line is valid {}", window(first));
            self.refuse(TrustCode::W204, found, &format!("an authority valid at {at}"), resign(self.commit))
        })
    }
}

fn window(line: &AllowedLine) -> String {
    match (line.valid_after, line.valid_before) {
        (Some(after), Some(before)) => format!("from {after} to {before}"),
        (Some(after), None) => format!("from {after}"),
        (None, Some(before)) => format!("until {before}"),
        (None, None) => "always".to_owned(),
    }
}
