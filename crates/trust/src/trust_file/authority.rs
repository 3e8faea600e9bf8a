//! Certificates in the trust file: the authorities that are believed, the principals that certificates name, and which
//! one a certificate stands for.

use jiff::Timestamp;

use super::{Principal, Revoked, TrustFile};
use crate::{
    Certificate, Fingerprint, PublicKey, SshSignature, TrustCode, UserCheck, holder::Uncounted, instants::Instants,
    rules::list, ssh::matches_list,
};

/// A principal of kind `ca`: its certificates are believed, within these bounds. It never signs and never counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its key.
    pub key: PublicKey,
    /// Patterns of OpenSSH, with commas between them: each principal of a certificate must match.
    pub principals: String,
    /// For how many seconds a certificate may be valid.
    pub max_validity: u64,
}

/// What certificates call a principal, in place of a key of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedName {
    /// Name of the authority in the trust file.
    pub ca: String,
    /// The principal in certificates of that authority, letter by letter.
    pub principal: String,
    /// When this ends; a date is its first instant in UTC.
    pub not_after: Option<Timestamp>,
    /// What each signature must prove about the user.
    pub user: UserCheck,
}

impl TrustFile {
    /// The principal whose signature this is, by key or by certificate. Whether the key was in force is another
    /// question.
    #[must_use]
    pub fn signer_of(&self, signature: &SshSignature) -> Option<&str> {
        match signature.certificate() {
            None => self.holder(&signature.key().fingerprint()).map(|(name, _held)| name),
            Some(certificate) => {
                let (ca, _authority) = self.authority_of(certificate)?;
                self.named(ca, certificate).ok().map(|(name, _claim)| name)
            }
        }
    }

    /// The one principal that a certificate stands for, if it counts at these instants.
    pub(crate) fn certified(
        &self,
        signature: &SshSignature,
        certificate: &Certificate,
        instants: &Instants,
    ) -> Result<&str, Uncounted> {
        let key = certificate.key().fingerprint();
        let issuer = certificate.authority().fingerprint();
        let what = format!("signed with key {key}, certified by {issuer}");
        let Some((ca, authority)) = self.authority_of(certificate) else {
            let names = list(self.authorities.keys().map(String::as_str));
            let found = format!("{what}, which is no authority");
            let needed = format!("a certificate of one of [{names}] in .writ/trust.yaml");
            return Err(Uncounted::new(TrustCode::W202, found, needed, "sign with a key or certificate that it lists"));
        };
        if let Some((revoked, reason)) = self.revocation_of(ca, certificate) {
            let found = format!("{what} ({ca}): {revoked} is revoked ({reason})");
            return Err(Uncounted::new(TrustCode::W304, found, "a certificate in force", "sign with one in force"));
        }
        bounded(authority, certificate).map_err(|(why, needed)| {
            let fix =
                format!("have {ca} issue another certificate: ssh-keygen -s CA_KEY -I ID -n PRINCIPAL -V +8h KEY.pub");
            Uncounted::new(TrustCode::W207, format!("{what} ({ca}) {why}"), needed, fix)
        })?;
        let (principal, claim) = self.named(ca, certificate).map_err(|error| Uncounted {
            found: format!("{what} ({ca}) for {}", list(certificate.principals().iter().map(String::as_str)))
                + &error.found,
            ..error
        })?;
        if let Some((holder, _held)) = self.holder(&key) {
            let found = format!("{what} ({ca}) for {principal}, but listed as a key of {holder}");
            let fix = "sign without the certificate, or have another key certified";
            return Err(Uncounted::new(TrustCode::W207, found, "each key for one principal, in one way", fix));
        }
        in_time(certificate, claim, instants).map_err(|why| {
            let fix = format!("sign with a new certificate of {ca}");
            let needed = "a certificate valid when the commit was made and when it was first seen";
            Uncounted::new(TrustCode::W204, format!("{what} ({ca}) for {principal}, {why}"), needed, fix)
        })?;
        match claim.user.unproven(signature.assertion()) {
            None => Ok(principal),
            Some(unproven) => {
                let found = format!("{what} ({ca}) for {principal}, {}", unproven.found);
                Err(Uncounted::new(TrustCode::W207, found, unproven.needed, unproven.fix))
            }
        }
    }

    /// Whether a principal has a certificate that could count: of an authority that is not revoked, at a time.
    pub(crate) fn can_be_certified(&self, principal: &Principal, at: Option<Timestamp>) -> bool {
        principal.certificates.iter().any(|claim| {
            let ended = at.zip(claim.not_after).is_some_and(|(at, end)| at > end);
            let revoked = |ca: &Authority| self.revoked.contains_key(&Revoked::Key(ca.key.fingerprint()));
            !ended && self.authorities.get(&claim.ca).is_some_and(|ca| !revoked(ca))
        })
    }

    fn authority_of(&self, certificate: &Certificate) -> Option<(&str, &Authority)> {
        let found = self.authorities.iter().find(|(_name, ca)| ca.key == *certificate.authority())?;
        Some((found.0.as_str(), found.1))
    }

    /// The one principal that the principals of a certificate name; the error goes after who they are.
    fn named(&self, ca: &str, certificate: &Certificate) -> Result<(&str, &CertifiedName), Uncounted> {
        let claims = |claim: &CertifiedName| claim.ca == ca && certificate.principals().contains(&claim.principal);
        let mut named = self.principals.iter().filter_map(|(name, principal)| {
            principal.certificates.iter().find(|claim| claims(claim)).map(|claim| (name.as_str(), claim))
        });
        let fix = format!("have a certificate of {ca} issued that names one principal of .writ/trust.yaml");
        match (named.next(), named.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                let found = ", of whom none is a principal".to_owned();
                Err(Uncounted::new(TrustCode::W202, found, "one that sshCertificate of a principal names", fix))
            }
            (Some((one, _)), Some((other, _))) => {
                let found = format!(", who are {one} and {other}");
                Err(Uncounted::new(TrustCode::W207, found, "a certificate for one principal", fix))
            }
        }
    }

    /// What of a certificate is revoked, and why: either key, its number or its name.
    fn revocation_of(&self, ca: &str, certificate: &Certificate) -> Option<(String, &str)> {
        let hit = |revoked: &Revoked| match revoked {
            Revoked::Key(key) => self.is_key_of(certificate, key),
            Revoked::Serials { ca: of, from, to } => of == ca && (*from..=*to).contains(&certificate.serial()),
            Revoked::KeyId { ca: of, key_id } => of == ca && key_id == certificate.key_id(),
            Revoked::Certificate(_) | Revoked::Keyless(_) | Revoked::Payload(_) => false,
        };
        self.revoked
            .iter()
            .find(|(revoked, _reason)| hit(revoked))
            .map(|(what, why)| (what.to_string(), why.reason.as_str()))
    }

    fn is_key_of(&self, certificate: &Certificate, key: &Fingerprint) -> bool {
        certificate.key().fingerprint() == *key || certificate.authority().fingerprint() == *key
    }
}

/// Whether a certificate keeps within what its authority may certify; the error is what it does, and what is needed.
fn bounded(authority: &Authority, certificate: &Certificate) -> Result<(), (String, String)> {
    let outside = certificate.principals().iter().find(|one| !matches_list(&authority.principals, one));
    if let Some(principal) = outside {
        return Err((format!("names {principal}"), format!("only principals that match {}", authority.principals)));
    }
    if certificate.seconds() > authority.max_validity {
        let found = format!("is valid for {} s", certificate.seconds());
        return Err((found, format!("at most {} s (maxValidity)", authority.max_validity)));
    }
    Ok(())
}

/// Whether a certificate, and what the trust file makes of it, was valid when the commit was made and first seen.
fn in_time(certificate: &Certificate, claim: &CertifiedName, instants: &Instants) -> Result<(), String> {
    if !certificate.is_valid_at(instants.committer) {
        return Err(format!("valid {}, the commit is of {}", certificate.window(), instants.committer));
    }
    if !certificate.is_valid_at(instants.latest()) {
        return Err(format!("valid {}, the commit was first seen {}", certificate.window(), instants.latest()));
    }
    instants.within(claim.not_after).map_err(|why| format!("which {why}"))
}
