//! What a signature is worth by a trust file, whatever it is over: whose it is, by a key, a certificate or an account that
//! the file names, in force, not revoked.
//!
//! This is the one verdict on commits, tags, trust files, approvals, heartbeats and orders. Whether who signed may do what
//! is signed for is asked elsewhere.

use manifest::{CodeEntry, Finding};

use crate::{
    CommitObject, KeyFingerprint, KeylessSignature, PrincipalKey, Revoked, SignatureFormat, Signer, SshSignature,
    TrustCode, TrustFile, Verifiers,
    instants::{Instants, committer_time},
    openpgp::OpenPgpSignature,
    refusal::refuse_by,
    repair::resign,
    rules::list,
    signature_cache::Verifier,
    ssh::Unproven,
    verified_signature::{Signed, VerifiedSignature},
};

/// Why a signature counts for nobody.
pub(crate) struct Uncounted {
    pub(crate) code: &'static CodeEntry,
    pub(crate) found: String,
    pub(crate) needed: String,
    /// With what to sign; without it, as before.
    pub(crate) fix: Option<String>,
}

impl Uncounted {
    pub(crate) fn new(code: TrustCode, found: String, needed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: code.entry(), found, needed: needed.into(), fix: Some(fix.into()) }
    }

    /// Where signing again is all there is to do.
    pub(crate) fn again(code: TrustCode, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { code: code.entry(), found: found.into(), needed: needed.into(), fix: None }
    }

    /// The refusal of a commit.
    pub(crate) fn of_commit(self, object: &CommitObject) -> Finding {
        let fix = self.fix.unwrap_or_else(|| resign(object));
        refuse_by(self.code, &object.id, self.found, self.needed, fix)
    }
}

impl From<Finding> for Uncounted {
    fn from(finding: Finding) -> Self {
        let Finding { code, found, needed, .. } = finding;
        Self { code, found: found.into(), needed: needed.into(), fix: None }
    }
}

impl TrustFile {
    /// Who signed, and by what.
    ///
    /// # Errors
    /// W2xx the signature is not good, W202 unknown key, W204 key ended, W206 unknown account, W207 user not proven or
    /// certificate not usable, W208 a format for which no principal has a key, W301 no signature, W304 revoked.
    pub(crate) fn signer(
        &self,
        signed: Signed<'_>,
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Result<(Signer, VerifiedSignature), Uncounted> {
        let signature = signed.verify(self, instants, verifier)?;
        let signer = match &signature {
            VerifiedSignature::Ssh(signature) => self.signer_by_ssh(signature, instants),
            VerifiedSignature::OpenPgp(signature) => self.signer_by_openpgp(signature, instants),
            VerifiedSignature::Keyless(signature) => self.signer_by_account(signature, instants),
        }?;
        Ok((signer, signature))
    }

    /// The principal whose signature a commit carries that fits it; a keyless one names nobody without its verifier. Whether
    /// the trust file has the key in force is another question.
    #[must_use]
    pub fn signer_of_commit(&self, commit: &CommitObject, with: Verifiers<'_>) -> Option<&str> {
        let instants = Instants { committer: committer_time(commit)?, first_sight: None };
        let verified = Signed::Commit(commit).verify(self, &instants, Verifier::new(with)).ok()?;
        match verified {
            VerifiedSignature::Ssh(signature) => self.signer_of(&signature),
            VerifiedSignature::OpenPgp(signature) => {
                self.certificate_holder(&signature.certificate()).map(|(name, _pin)| name)
            }
            VerifiedSignature::Keyless(signature) => {
                self.identity_holder(&signature.signer.fingerprint()).map(|(name, _key)| name)
            }
        }
    }

    /// The principal whose SSH signature this is.
    fn signer_by_ssh(&self, signature: &SshSignature, instants: &Instants) -> Result<Signer, Uncounted> {
        if let Some(certificate) = signature.certificate() {
            return self.certified(signature, certificate, instants).map(|principal| ssh_signer(principal, signature));
        }
        let key = signature.key().fingerprint();
        let in_force = |held: &PrincipalKey| {
            !self.revoked.contains_key(&Revoked::Key(held.key.fingerprint())) && instants.holds(held).is_ok()
        };
        let able = self.principals.iter().filter(|(_, principal)| {
            principal.keys.iter().any(in_force) || self.can_be_certified(principal, Some(instants.latest()))
        });
        let names = || list(able.clone().map(|(name, _)| name.as_str()));
        let fix = || format!("sign with a key in force of {}", names());
        if let Some(reason) = self.revoked.get(&Revoked::Key(key)) {
            let found = format!("signed with key {key}, which is revoked ({reason})");
            return Err(Uncounted::new(TrustCode::W304, found, "a key that is not revoked", fix()));
        }
        let Some((principal, held)) = self.holder(&key) else {
            let found = format!("signed with key {key}, which belongs to no principal");
            let needed = format!("a key that .writ/trust.yaml lists, of {}", names());
            let fix = format!("{}; or root principals have this one added there: {}", fix(), signature.key());
            return Err(Uncounted::new(TrustCode::W202, found, needed, fix));
        };
        if let Err(reason) = instants.holds(held) {
            let found = format!("key {key} of {principal} {reason}");
            return Err(Uncounted::new(TrustCode::W204, found, "a key in its time", fix()));
        }
        if let Some(Unproven { found, needed, fix }) = held.user.unproven(signature.assertion()) {
            let found = format!("signed with key {key} of {principal} {found}");
            return Err(Uncounted::new(TrustCode::W207, found, needed, fix));
        }
        Ok(ssh_signer(principal, signature))
    }

    /// The principal whose OpenPGP signature this is.
    fn signer_by_openpgp(&self, signature: &OpenPgpSignature, instants: &Instants) -> Result<Signer, Uncounted> {
        let (principal, _pin) = self.certificate_in_window(signature, instants).map_err(|(code, found)| {
            let names = list(self.certificate_holders(instants.latest()));
            let needed = format!("an OpenPGP key in force that .writ/trust.yaml lists, of {names}");
            Uncounted::new(code, found, needed, self.sign_by_certificate(instants))
        })?;
        let key = KeyFingerprint::OpenPgp(signature.certificate());
        Ok(Signer { principal: principal.to_owned(), format: key.format(), key, ca: None, identity: None })
    }

    /// The principal whose keyless signature this is.
    fn signer_by_account(&self, signature: &KeylessSignature, instants: &Instants) -> Result<Signer, Uncounted> {
        let principal = self.identity_in_window(signature, instants).map_err(|(code, found)| {
            let names = list(self.identity_holders(instants.latest()));
            let needed = format!("an identity in force that .writ/trust.yaml lists, of {names}");
            Uncounted::new(code, found, needed, self.sign_by_account(instants))
        })?;
        let key = KeyFingerprint::Keyless(signature.signer.fingerprint());
        let identity = Some(Box::new(signature.signer.clone()));
        Ok(Signer { principal: principal.to_owned(), format: key.format(), key, ca: None, identity })
    }

    /// What to do about a keyless signature that is refused.
    pub(crate) fn sign_by_account(&self, instants: &Instants) -> String {
        format!("sign with gitsign as one of {}", list(self.identity_holders(instants.latest())))
    }

    /// What to do about an OpenPGP signature that is refused.
    pub(crate) fn sign_by_certificate(&self, instants: &Instants) -> String {
        format!("sign with an OpenPGP key in force of {}", list(self.certificate_holders(instants.latest())))
    }
}

/// A principal, by its SSH key or by a certificate for it.
fn ssh_signer(principal: &str, signature: &SshSignature) -> Signer {
    Signer {
        principal: principal.to_owned(),
        format: SignatureFormat::Ssh,
        key: KeyFingerprint::Ssh(signature.key().fingerprint()),
        ca: signature.certificate().map(|certificate| Box::new(certificate.authority().fingerprint())),
        identity: None,
    }
}
