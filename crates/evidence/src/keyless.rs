//! Keyless signatures, of gitsign and in Sigstore bundles, verified by a trust root.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use der::Encode as _;
use sha2::{Digest as _, Sha256};
use sigstore_verify::{
    CertificateError, Error, TimestampError, VerificationPolicy, VerificationResult, Verifier,
    crypto::{SigningScheme, verify_signature},
    types::{
        Artifact, Bundle, DerCertificate, DerPublicKey, MediaType, SignatureBytes, SignatureContent, TimestampToken,
        bundle::{
            CertificateContent, MessageSignature, Rfc3161Timestamp, TimestampVerificationData, VerificationMaterial,
            VerificationMaterialContent,
        },
    },
};
use trust::{Bundled, KeylessError, KeylessIdentity, KeylessSignature, KeylessTrust, KeylessVerifier};
use x509_cert::Certificate;

use crate::{
    bundle::Signed,
    certificate::{identity, to_der},
    cms_message::CmsMessage,
    log_entry,
    trusted_root::{NOTHING, PUBLIC, TrustedRootError, verifier},
};

/// Counts up whenever a signature that was good no longer is, or the other way round.
const VERSION: u32 = 1;

/// Verifies what gitsign and cosign sign.
pub struct KeylessSignatures {
    /// `None` while there is no trust root: nothing is good then.
    verifier: Option<Verifier>,
    basis: [u8; 32],
}

impl KeylessSignatures {
    /// By what a TrustRoot says: the trust root that it holds, or that of the public Sigstore which this version of the
    /// program was built with. Of a repository of one's own from which nothing was fetched, no signature is good.
    ///
    /// # Errors
    /// If it holds something else, or one by which nothing could be verified.
    pub fn of(keyless: Option<&KeylessTrust>) -> Result<Self, TrustedRootError> {
        match text_of(keyless) {
            NOTHING => Ok(Self { verifier: None, basis: basis(NOTHING) }),
            text => Self::by(text),
        }
    }

    /// By the text of a `trusted_root.json`, as `cosign trusted-root create` makes it.
    ///
    /// # Errors
    /// If it is something else, or one by which nothing could be verified.
    pub fn by(trusted_root: &str) -> Result<Self, TrustedRootError> {
        Ok(Self { verifier: Some(verifier(trusted_root)?), basis: basis(trusted_root) })
    }

    /// What [`KeylessVerifier::basis`] is of the verifier of a TrustRoot, without making it.
    #[must_use]
    pub fn basis_of(keyless: Option<&KeylessTrust>) -> [u8; 32] {
        basis(text_of(keyless))
    }

    /// Whether there is a trust root at all.
    #[must_use]
    pub const fn has_trusted_root(&self) -> bool {
        self.verifier.is_some()
    }

    fn verify_parts(&self, cms: &[u8], message: &[u8]) -> Result<KeylessSignature, KeylessError> {
        let CmsMessage { certificate, signed, signature, log_entry, timestamp } = CmsMessage::parse(cms, message)?;
        let bytes = to_der(&certificate)?;
        // Looked at first: whatever else is wrong with what does not fit says nothing.
        fits(&certificate, &signed, &signature)?;
        let entry = log_entry::parse(&log_entry, &signed, &signature, &bytes)?;
        if timestamp.is_none() && (entry.inclusion_promise.is_none() || entry.integrated_time.is_none()) {
            return Err(KeylessError::NoTime("a log entry whose time nobody has signed, and no timestamp".to_owned()));
        }
        let content = CertificateContent::new(DerCertificate::from_bytes(&bytes));
        let mut material =
            VerificationMaterial::new(VerificationMaterialContent::Certificate(content)).with_tlog_entries(vec![entry]);
        if let Some(token) = timestamp {
            let token = Rfc3161Timestamp::new(TimestampToken::new(token));
            material = material.with_timestamp_verification_data(TimestampVerificationData::new(vec![token]));
        }
        let signature = SignatureContent::MessageSignature(MessageSignature::new(SignatureBytes::new(signature)));
        let bundle = Bundle::new(MediaType::Bundle0_3, material, signature);
        self.vouched(signed.as_slice(), &bundle, (&certificate, &bytes))
    }

    fn verify_bundle_parts(&self, text: &[u8], about: Bundled<'_>) -> Result<KeylessSignature, KeylessError> {
        let signed = Signed::parse(text, about)?;
        fits(&signed.certificate, &signed.message, &signed.signature)?;
        self.vouched(signed.artifact(), &signed.bundle, (&signed.certificate, &signed.certificate_der))
    }

    /// Whether all of a bundle is vouched for by the trust root.
    fn vouched<'a>(
        &self,
        artifact: impl Into<Artifact<'a>>,
        bundle: &Bundle,
        (certificate, bytes): (&Certificate, &[u8]),
    ) -> Result<KeylessSignature, KeylessError> {
        let unable = || KeylessError::Untrusted("nothing to verify it by: no trust root was fetched yet".to_owned());
        let verifier = self.verifier.as_ref().ok_or_else(unable)?;
        // Whose account it must be is asked of the trust file, once it is known whose it is.
        let policy = VerificationPolicy::any_identity();
        let result = verifier.verify(artifact, bundle, &policy).map_err(|error| refused(&error))?;
        Ok(KeylessSignature { signer: identity(certificate, bytes)?, time: time(&result)? })
    }
}

impl KeylessVerifier for KeylessSignatures {
    fn verify(&self, cms: &[u8], message: &[u8]) -> Result<KeylessSignature, KeylessError> {
        // The parsers of others see these bytes: one that gives up refuses the signature and not the program.
        catch_unwind(AssertUnwindSafe(|| self.verify_parts(cms, message)))
            .unwrap_or_else(|_panic| Err(KeylessError::Malformed("a parser gave up on it".to_owned())))
    }

    fn verify_bundle(&self, bundle: &[u8], about: Bundled<'_>) -> Result<KeylessSignature, KeylessError> {
        catch_unwind(AssertUnwindSafe(|| self.verify_bundle_parts(bundle, about)))
            .unwrap_or_else(|_panic| Err(KeylessError::Bundle("a parser gave up on it".to_owned())))
    }

    fn claimed(&self, cms: &[u8]) -> Option<KeylessIdentity> {
        let claimed = || {
            let certificate = CmsMessage::certificate(cms)?;
            identity(&certificate, &to_der(&certificate).ok()?).ok()
        };
        catch_unwind(AssertUnwindSafe(claimed)).ok().flatten()
    }

    fn basis(&self) -> [u8; 32] {
        self.basis
    }
}

impl fmt::Debug for KeylessSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeylessSignatures").finish_non_exhaustive()
    }
}

/// The text of the trust root that counts.
fn text_of(keyless: Option<&KeylessTrust>) -> &str {
    let Some(keyless) = keyless else { return PUBLIC };
    // That of the public Sigstore says nothing about another one.
    let is_own = keyless.refresh.as_ref().is_some_and(|refresh| refresh.root.is_some());
    keyless.trusted_root.as_deref().unwrap_or(if is_own { NOTHING } else { PUBLIC })
}

fn basis(trusted_root: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"writ.dev/keyless-basis/v1").chain_update(VERSION.to_be_bytes());
    hash.chain_update(trusted_root).finalize().into()
}

/// Whether the signature is one of the certificate's key over these bytes.
fn fits(certificate: &Certificate, signed: &[u8], signature: &[u8]) -> Result<(), KeylessError> {
    let key = certificate.tbs_certificate.subject_public_key_info.to_der();
    let key = DerPublicKey::new(key.map_err(|error| KeylessError::Malformed(error.to_string()))?);
    verify_signature(&key, signed, &SignatureBytes::from_bytes(signature), SigningScheme::EcdsaP256Sha256)
        .map_err(|_other| KeylessError::Mismatch("it is not one of its certificate over them".to_owned()))
}

/// When it was made: the earliest of the times that were signed, all of which the certificate was valid at. That each
/// check was made is asked once more of the result.
fn time(result: &VerificationResult) -> Result<jiff::Timestamp, KeylessError> {
    if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
        return Err(KeylessError::Untrusted("a signature of which not everything was verified".to_owned()));
    }
    let times = result.verified_timestamps().iter().min().copied();
    times.ok_or_else(|| KeylessError::NoTime("a signature without a time that somebody has signed".to_owned()))
}

fn refused(error: &Error) -> KeylessError {
    let text = error.to_string();
    match error {
        // That it fits was asked before: here the log entry is about something else.
        Error::SignatureInvalid(_) => KeylessError::Mismatch(text),
        Error::Certificate(CertificateError::Malformed(_)) | Error::Types(_) => KeylessError::Malformed(text),
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => KeylessError::NoTime(text),
        _ => KeylessError::Untrusted(text),
    }
}
