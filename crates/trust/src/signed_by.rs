//! What made a signature, by its own account: for what was verified before, and is revoked now.

use crate::{
    CommitObject, Fingerprint, KeyFingerprint, KeylessSignature, SshSignature,
    openpgp::OpenPgpSignature,
    ssh::{Certificate, claimed_certificate},
    verified_signature::VerifiedSignature,
};

/// Keys, and the certificate of an SSH authority if one came with them.
#[derive(Debug, Clone)]
pub(crate) struct SignedBy {
    /// The key that signed, then whatever says whose it is: the authority's key, the OpenPGP certificate.
    pub(crate) keys: Vec<KeyFingerprint>,
    pub(crate) certificate: Option<Certified>,
    /// Whether it is keyless and whose account it is of cannot be told.
    pub(crate) is_unknown_account: bool,
}

/// What revocations name a certificate by.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) authority: Fingerprint,
    pub(crate) serial: u64,
    pub(crate) key_id: String,
}

impl SignedBy {
    pub(crate) fn of_commit(object: &CommitObject) -> Self {
        let keys = object.claimed_keys();
        // Only with an authority's signature beside it there is a second key of SSH.
        let armoured = object.signature.as_deref().filter(|_signature| keys.len() > 1);
        let certificate = armoured.and_then(claimed_certificate);
        Self { keys, certificate: certificate.as_deref().map(Certified::of), is_unknown_account: false }
    }
}

impl SignedBy {
    /// The key that its holder keeps: that of an authority may certify a new one for each signature.
    pub(crate) fn lasting(&self) -> Option<&KeyFingerprint> {
        if self.certificate.is_some() { self.keys.last() } else { self.keys.first() }
    }
}

impl From<&VerifiedSignature> for SignedBy {
    fn from(signature: &VerifiedSignature) -> Self {
        match signature {
            VerifiedSignature::Ssh(signature) => signature.into(),
            VerifiedSignature::OpenPgp(signature) => signature.into(),
            VerifiedSignature::Keyless(signature) => signature.into(),
        }
    }
}

impl From<&KeylessSignature> for SignedBy {
    fn from(signature: &KeylessSignature) -> Self {
        let account = KeyFingerprint::Keyless(signature.signer.fingerprint());
        Self { keys: vec![account], certificate: None, is_unknown_account: false }
    }
}

impl From<&SshSignature> for SignedBy {
    fn from(signature: &SshSignature) -> Self {
        let certificate = signature.certificate().map(Certified::of);
        let authority = certificate.as_ref().map(|certificate| certificate.authority);
        let keys = std::iter::once(signature.key().fingerprint()).chain(authority).map(KeyFingerprint::Ssh);
        Self { keys: keys.collect(), certificate, is_unknown_account: false }
    }
}

impl From<&OpenPgpSignature> for SignedBy {
    fn from(signature: &OpenPgpSignature) -> Self {
        let keys = [signature.key(), signature.certificate()].map(KeyFingerprint::OpenPgp);
        Self { keys: keys.to_vec(), certificate: None, is_unknown_account: false }
    }
}

impl Certified {
    fn of(certificate: &Certificate) -> Self {
        Self {
            authority: certificate.authority().fingerprint(),
            serial: certificate.serial(),
            key_id: certificate.key_id().to_owned(),
        }
    }
}
