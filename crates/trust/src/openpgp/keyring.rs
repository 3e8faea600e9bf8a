//! Several certificates, as `gpg --armor --export` writes them into one file.

use super::{Certificate, CertificateError, OpenPgpError, OpenPgpSignature, Signature};
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

    /// Verifies an armoured signature over `message`, and says which certificate vouches for it. Where several hold the
    /// key, the first that does.
    ///
    /// # Errors
    /// As [`Signature::parse`] and [`Signature::verify`] say.
    pub fn verify(
        &self,
        armored: &[u8],
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<(&Certificate, OpenPgpSignature), OpenPgpError> {
        let signature = Signature::parse(armored)?;
        let mut refused = OpenPgpError::UnknownKey(signature.issuer());
        let holders = self.certificates.iter().filter(|one| one.keys().any(|key| key == signature.issuer()));
        for certificate in holders {
            match signature.verify(certificate, message, crypto, at) {
                Ok(verified) => return Ok((certificate, verified)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}
