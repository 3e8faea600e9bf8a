//! Whose a detached signature is: over a trust file, an approval, a heartbeat or an order.

use jiff::Timestamp;

use crate::{
    TrustFile, Verifiers, instants::Instants, signature_cache::Verifier, signed_by::SignedBy,
    verified_signature::Signed,
};

/// The keys that are in force, and when.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) policy: &'a TrustFile,
    pub(crate) instants: &'a Instants,
    pub(crate) verifier: Verifier<'a>,
}

impl Keys<'_> {
    /// The principal who signed a message for this purpose with a key in force, and with which; or why nobody did.
    pub(crate) fn signer(
        &self,
        signature: &[u8],
        message: &[u8],
        namespace: &str,
    ) -> Result<(String, SignedBy), String> {
        self.of(Signed::Message { signature, message, namespace })
    }

    /// The same for what is signed.
    pub(crate) fn of(&self, signed: Signed<'_>) -> Result<(String, SignedBy), String> {
        let (signer, by) =
            self.policy.signer(signed, self.instants, self.verifier).map_err(|uncounted| uncounted.found)?;
        Ok((signer.principal, SignedBy::from(&by)))
    }
}

impl TrustFile {
    /// The principal who signed a message for this purpose (the namespace of SSH signatures) with a key that is in force at a
    /// time.
    ///
    /// # Errors
    /// Why it counts for nobody.
    pub fn signer_of_message(
        &self,
        signature: &[u8],
        message: &[u8],
        namespace: &str,
        at: Timestamp,
        with: Verifiers<'_>,
    ) -> Result<String, String> {
        let instants = Instants { committer: at, first_sight: None };
        let keys = Keys { policy: self, instants: &instants, verifier: Verifier::new(with) };
        keys.signer(signature, message, namespace).map(|(principal, _key)| principal)
    }

    /// The principal whose account signed a statement in a Sigstore bundle, in force at a time.
    ///
    /// # Errors
    /// Why it counts for nobody.
    pub fn signer_of_statement(
        &self,
        bundle: &[u8],
        payload: &[u8],
        at: Timestamp,
        with: Verifiers<'_>,
    ) -> Result<String, String> {
        let instants = Instants { committer: at, first_sight: None };
        let keys = Keys { policy: self, instants: &instants, verifier: Verifier::new(with) };
        keys.of(Signed::Statement { bundle, payload }).map(|(principal, _key)| principal)
    }
}
