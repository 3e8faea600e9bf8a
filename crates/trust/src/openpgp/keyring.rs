//! Several certificates, as `gpg --armor --export` writes them into one file.

use super::{
    Certificate, CertificateError, OpenPgpError, OpenPgpFingerprint, OpenPgpSignature, OpenPgpVerifier, Signature,
};
use crate::{instants::Instants, ssh::Crypto};

/// The most bytes of a keyring: 1,000 certificates of 16 KiB each.
pub const MAX_KEYRING_BYTES: usize = 16 * 1024 * 1024;
/// The most certificates of a keyring.
pub const MAX_CERTIFICATES: usize = 1000;

/// Certificates, each of which may vouch for a signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

impl Keyring {
    /// Reads certificates: armoured blocks one after the other, or binary ones.
    ///
    /// # Errors
    /// The first certificate that [`Certificate::parse`] refuses, one that comes twice, or more than a limit of this
    /// module.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        let certificates = Certificate::parse_all(bytes, MAX_KEYRING_BYTES)?;
        if certificates.len() > MAX_CERTIFICATES {
            return Err(CertificateError::TooMany);
        }
        let mut fingerprints: Vec<_> = certificates.iter().map(Certificate::fingerprint).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        if fingerprints.len() < certificates.len() { Err(CertificateError::Several) } else { Ok(Self { certificates }) }
    }

    /// Its certificates, in the order of the file.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate of this fingerprint.
    #[must_use]
    pub fn certificate(&self, fingerprint: &OpenPgpFingerprint) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.fingerprint() == *fingerprint)
    }
}

impl OpenPgpVerifier for Keyring {
    fn verify_openpgp(
        &self,
        armored: &[u8],
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        Signature::parse(armored)?.verify_by_any(&self.certificates, message, crypto, at)
    }
}
