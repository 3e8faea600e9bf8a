//! Whether a signature counts: whose it is, whether it fits, and whether the key was in force.

use jiff::Timestamp;

use super::{Certificate, OpenPgpError, OpenPgpFingerprint, Signature, certificate::Key};
use crate::{
    instants::{CLOCK_SKEW, Instants},
    ssh::Crypto,
};

/// A signature that fits, by a key in force. Whether its holder may sign this is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPgpSignature {
    certificate: OpenPgpFingerprint,
    key: OpenPgpFingerprint,
    created: Timestamp,
}

impl OpenPgpSignature {
    /// The fingerprint of the certificate: that of its primary key.
    #[must_use]
    pub const fn certificate(&self) -> OpenPgpFingerprint {
        self.certificate
    }

    /// The fingerprint of the key that signed, which may be a subkey.
    #[must_use]
    pub const fn key(&self) -> OpenPgpFingerprint {
        self.key
    }

    /// When it was made, by its own account.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.created
    }
}

/// What can say whose an OpenPGP signature is: some certificates, with no or with some further conditions.
pub trait OpenPgpVerifier {
    /// Verifies an armoured signature over `message`, as of the times of `at`.
    ///
    /// # Errors
    /// As [`Signature::parse`] and [`Signature::verify`] say.
    fn verify_openpgp(
        &self,
        armored: &[u8],
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError>;
}

impl Signature {
    /// Verifies it with those of these certificates that hold its key. A signing key that two of them hold was bound by
    /// both in agreement, so the first that vouches for it is as good as the other.
    ///
    /// # Errors
    /// As [`Signature::verify`] says; W202 if none holds the key.
    pub fn verify_by_any<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        let mut refused = OpenPgpError::UnknownKey(self.issuer);
        for certificate in certificates {
            match self.verify(certificate, message, crypto, at) {
                Ok(verified) => return Ok(verified),
                Err(OpenPgpError::UnknownKey(_)) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Verifies it over `message` as a signature of this certificate. Three times have to lie in the window of the key
    /// and of the primary key: its own, and the two of `at`.
    ///
    /// # Errors
    /// W201 it does not fit, W202 another certificate's, W203 weak, W204 not in force or not for signing, W208 what is
    /// not supported, W304 revoked.
    pub fn verify(
        &self,
        certificate: &Certificate,
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        let primary = &certificate.primary;
        let key = std::iter::once(primary)
            .chain(&certificate.subkeys)
            .find(|key| key.fingerprint == self.issuer)
            .ok_or(OpenPgpError::UnknownKey(self.issuer))?;
        key.material.check(crypto)?;
        primary.material.check(crypto)?;
        self.digest.check(crypto)?;
        let made = self.packet.version == key.version;
        match self.packet.fits(&key.material, self.digest, &[message]).filter(|_fits| made) {
            Some(true) => {}
            Some(false) => return Err(OpenPgpError::Mismatch(self.issuer)),
            None => return Err(OpenPgpError::Algorithm(self.issuer)),
        }
        let in_force =
            |key: &Key| key.standing.check(key.fingerprint, key.created, self.created, at).map(|one| one.signs);
        in_force(primary)?;
        if !in_force(key)? {
            return Err(OpenPgpError::NotSigning(self.issuer));
        }
        self.in_force(at)?;
        Ok(OpenPgpSignature { certificate: primary.fingerprint, key: self.issuer, created: self.created })
    }

    fn in_force(&self, at: &Instants) -> Result<(), OpenPgpError> {
        let signed = self.created;
        match self.ends {
            Some(end) if at.latest() > end => {
                let reason = format!("held until {end}, what it signs is of {}", at.latest());
                return Err(OpenPgpError::SignatureTime { signed, reason });
            }
            _ => {}
        }
        match at.first_sight {
            Some(seen) if seen.checked_add(CLOCK_SKEW).is_ok_and(|latest| signed > latest) => {
                let reason = format!("was seen {seen} already");
                Err(OpenPgpError::SignatureTime { signed, reason })
            }
            _ => Ok(()),
        }
    }
}

impl Certificate {
    /// Whether any of its keys can sign at a time.
    #[must_use]
    pub fn can_sign(&self, crypto: &Crypto, at: Timestamp) -> bool {
        let instants = Instants { committer: at, first_sight: None };
        let in_force = |key: &Key| {
            let statement = key.standing.check(key.fingerprint, key.created, at, &instants).ok()?;
            key.material.check(crypto).ok().map(|()| statement.signs)
        };
        in_force(&self.primary).is_some_and(|signs| signs || self.subkeys.iter().any(|key| in_force(key) == Some(true)))
    }
}
