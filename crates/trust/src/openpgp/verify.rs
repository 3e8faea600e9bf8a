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

/// What a signature says of itself in the part that is signed. Of one that is known to fit it is all that a verdict
/// needs: whether the key is in force, and at which times, is asked of the certificates each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(super) issuer: OpenPgpFingerprint,
    pub(super) created: Timestamp,
    /// The last second at which it holds.
    pub(super) ends: Option<Timestamp>,
}

/// Does the maths of a signature with the key that it names.
type Fits<'f> = &'f mut dyn FnMut(&Key) -> Result<(), OpenPgpError>;

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
        self.claim.by_any(certificates, crypto, at, &mut |key| self.fits(key, message, crypto))
    }

    /// The same, and what it claims if it fits, in force or not.
    pub(crate) fn verify_to_remember<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> (Result<OpenPgpSignature, OpenPgpError>, Option<Claim>) {
        let mut fits = None;
        let verdict = self.claim.by_any(certificates, crypto, at, &mut |key| {
            self.fits(key, message, crypto)?;
            fits = Some(self.claim);
            Ok(())
        });
        (verdict, fits)
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
        self.claim.by(certificate, crypto, at, &mut |key| self.fits(key, message, crypto))
    }

    fn fits(&self, key: &Key, message: &[u8], crypto: &Crypto) -> Result<(), OpenPgpError> {
        self.digest.check(crypto)?;
        let made = self.packet.version == key.version;
        match self.packet.fits(&key.material, self.digest, &[message]).filter(|_fits| made) {
            Some(true) => Ok(()),
            Some(false) => Err(OpenPgpError::Mismatch(self.claim.issuer)),
            None => Err(OpenPgpError::Algorithm(self.claim.issuer)),
        }
    }
}

impl Claim {
    /// The verdict on a signature that is known to fit the key that it names: the same as with the maths.
    ///
    /// # Errors
    /// As [`Signature::verify_by_any`], but W201.
    pub(crate) fn known_to_fit<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        self.by_any(certificates, crypto, at, &mut |_key| Ok(()))
    }

    fn by_any<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
        crypto: &Crypto,
        at: &Instants,
        fits: Fits<'_>,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        let mut refused = OpenPgpError::UnknownKey(self.issuer);
        for certificate in certificates {
            match self.by(certificate, crypto, at, fits) {
                Ok(verified) => return Ok(verified),
                Err(OpenPgpError::UnknownKey(_)) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn by(
        &self,
        certificate: &Certificate,
        crypto: &Crypto,
        at: &Instants,
        fits: Fits<'_>,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        let primary = &certificate.primary;
        let key = std::iter::once(primary)
            .chain(&certificate.subkeys)
            .find(|key| key.fingerprint == self.issuer)
            .ok_or(OpenPgpError::UnknownKey(self.issuer))?;
        key.material.check(crypto)?;
        primary.material.check(crypto)?;
        fits(key)?;
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
        self.signs_until(crypto, at).is_ok()
    }

    /// Until when one of its keys signs that is in force at a time; `None`: without an end.
    ///
    /// # Errors
    /// Why none of them does.
    pub fn signs_until(&self, crypto: &Crypto, at: Timestamp) -> Result<Option<Timestamp>, OpenPgpError> {
        let instants = Instants { committer: at, first_sight: None };
        let check = |key: &Key| {
            let statement = key.standing.check(key.fingerprint, key.created, at, &instants)?;
            if !statement.signs {
                return Ok(None);
            }
            key.material.check(crypto)?;
            Ok(Some(statement.ends()))
        };
        let primary = &self.primary;
        let whole = primary.standing.check(primary.fingerprint, primary.created, at, &instants)?.ends();
        primary.material.check(crypto)?;
        let mut reason = OpenPgpError::NotSigning(primary.fingerprint);
        let mut ends = Vec::new();
        for key in std::iter::once(primary).chain(&self.subkeys) {
            match check(key) {
                Ok(end) => ends.extend(end),
                // What is wrong with a key that is for signing says more than that there is none.
                Err(error) => reason = error,
            }
        }
        let latest = ends.into_iter().max_by_key(|end| end.unwrap_or(Timestamp::MAX));
        latest.map(|end| [end, whole].into_iter().flatten().min()).ok_or(reason)
    }
}
