//! Whose a detached signature is: an SSH signature for a purpose, or an OpenPGP one, by a key in force.

use crate::{
    ArmorFormat, MAX_ARMOR_BYTES, Revoked, TrustFile, instants::Instants, signature_cache::Verifier,
    signed_by::SignedBy,
};

/// The keys that are in force, and when.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) policy: &'a TrustFile,
    pub(crate) instants: &'a Instants,
    pub(crate) verifier: Verifier<'a>,
}

impl Keys<'_> {
    /// The principal who signed a message for this purpose with a key in force, and with which; or why nobody did. An OpenPGP signature
    /// names no purpose, so no two purposes may have messages in common.
    pub(crate) fn signer(
        &self,
        armoured: &[u8],
        message: &[u8],
        namespace: &str,
    ) -> Result<(String, SignedBy), String> {
        if armoured.len() > MAX_ARMOR_BYTES {
            return Err(format!("a signature of {} bytes", armoured.len()));
        }
        if ArmorFormat::of(armoured) == Some(ArmorFormat::OpenPgp) {
            let (principal, signature) =
                self.policy.signed_by_certificate(armoured, message, self.instants, self.verifier)?;
            return Ok((principal.to_owned(), SignedBy::from(&signature)));
        }
        let settings = self.policy.digest();
        let verified = self
            .verifier
            .message(armoured, message, namespace, &self.policy.crypto, settings)
            .map_err(|error| error.to_string())?;
        let key = verified.key().fingerprint();
        if let Some(certificate) = verified.certificate() {
            let certified = self.policy.certified(&verified, certificate, self.instants);
            let principal = certified.map_err(|refused| refused.found)?;
            return Ok((principal.to_owned(), SignedBy::from(&verified)));
        }
        let Some((principal, held)) = self.policy.holder(&key) else {
            return Err(format!("key {key} belongs to no principal"));
        };
        if let Some(reason) = self.policy.revoked.get(&Revoked::Key(key)) {
            return Err(format!("key {key} of {principal} is revoked ({reason})"));
        }
        self.instants.holds(held).map_err(|reason| format!("key {key} of {principal} {reason}"))?;
        if let Some(unproven) = held.user.unproven(verified.assertion()) {
            return Err(format!("key {key} of {principal} {}", unproven.found));
        }
        Ok((principal.to_owned(), SignedBy::from(&verified)))
    }
}
