//! Whose a good signature is by a trust file, whatever it is over: by a key that the file names, in force, not revoked.

use crate::{
    KeyFingerprint, PrincipalKey, Revoked, SignatureFormat, Signer, SshSignature, TrustCode, TrustFile,
    instants::Instants, openpgp::OpenPgpSignature, rules::list, ssh::Unproven, trust_file::Uncertified,
};

impl TrustFile {
    /// The principal whose SSH signature this is.
    ///
    /// # Errors
    /// W202 unknown key, W204 key ended, W207 user not proven or certificate not usable, W304 revoked.
    pub(crate) fn signer_by_ssh(&self, signature: &SshSignature, instants: &Instants) -> Result<Signer, Uncertified> {
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
            return Err(Uncertified::new(TrustCode::W304, found, "a key that is not revoked", fix()));
        }
        let Some((principal, held)) = self.holder(&key) else {
            let found = format!("signed with key {key}, which belongs to no principal");
            let needed = format!("a key that .writ/trust.yaml lists, of {}", names());
            let fix = format!("{}; or root principals have this one added there: {}", fix(), signature.key());
            return Err(Uncertified::new(TrustCode::W202, found, needed, fix));
        };
        if let Err(reason) = instants.holds(held) {
            let found = format!("key {key} of {principal} {reason}");
            return Err(Uncertified::new(TrustCode::W204, found, "a key in its time", fix()));
        }
        if let Some(Unproven { found, needed, fix }) = held.user.unproven(signature.assertion()) {
            let found = format!("signed with key {key} of {principal} {found}");
            return Err(Uncertified::new(TrustCode::W207, found, needed, fix));
        }
        Ok(ssh_signer(principal, signature))
    }

    /// The principal whose OpenPGP signature this is.
    ///
    /// # Errors
    /// W202 unknown key, W204 key ended, W304 revoked.
    pub(crate) fn signer_by_openpgp(
        &self,
        signature: &OpenPgpSignature,
        instants: &Instants,
    ) -> Result<Signer, Uncertified> {
        let (principal, _pin) = self.certificate_in_window(signature, instants).map_err(|(code, found)| {
            let names = list(self.certificate_holders(instants.latest()));
            let needed = format!("an OpenPGP key in force that .writ/trust.yaml lists, of {names}");
            Uncertified::new(code, found, needed, self.sign_by_certificate(instants))
        })?;
        let key = KeyFingerprint::OpenPgp(signature.certificate());
        Ok(Signer { principal: principal.to_owned(), format: key.format(), key, ca: None, identity: None })
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
