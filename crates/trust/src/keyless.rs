//! Keyless signatures, as gitsign and cosign make them: with a key that lives for minutes and is certified for an account of an
//! identity provider, beside the proof that a transparency log saw it in that time.
//!
//! What such a signature is worth rests on certificates, logs and their trust root, which this crate does not know: the
//! caller brings a [`KeylessVerifier`]. Without one, or where it fails, the signature counts for nothing.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use manifest::{Digest, Finding, Subject};
use serde::{Serialize, Serializer};

use crate::{ArmorError, CommitObject, FingerprintError, TrustCode, armor::dearmor_cms, repair::resign_keyless};

/// Longest name of an issuer: the longest URL that is safe everywhere is 2,000 bytes; those of providers are below 100.
pub const MAX_ISSUER_BYTES: usize = 512;
/// Longest identity: a workflow is a repository (140 bytes), a path and a ref (255 bytes each).
pub const MAX_IDENTITY_BYTES: usize = 1024;

/// Most bytes of a Sigstore bundle, all in base64: a certificate of a workflow of 3 KiB, which the body of the log entry holds
/// once more in base64 (4 and 8 KiB), a proof of 63 hashes and a checkpoint (7 KiB), a timestamp with its certificates (8 KiB), and
/// of a statement about 64 commits that are left out its 6 KiB: 33 KiB, which no bundle has at once; 48 KiB leave a third.
pub const MAX_BUNDLE_BYTES: usize = 48 * 1024;
/// What a Sigstore bundle says that it is; those before it cannot be verified without asking a server.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const PREFIX: &str = "keyless:";

/// An account, as the identity provider and the certificate name it. Both are compared letter by letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct KeylessIdentity {
    /// The address of the identity provider.
    pub issuer: String,
    /// The e-mail address or the URI that the certificate is for.
    pub identity: String,
}

/// Names an identity where a key has its fingerprint: `keyless:` and SHA-256 over both its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeylessFingerprint(Digest);

/// A keyless signature that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeylessSignature {
    /// Whose it is.
    pub signer: KeylessIdentity,
    /// When it was made, as the log or a timestamp authority has signed.
    pub time: Timestamp,
}

/// Why a keyless signature counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeylessError {
    /// The armour is not in its one form (W201).
    #[error("the armour of the signature is not canonical")]
    Armor(#[source] ArmorError),
    /// The message is not in its one form (W201).
    #[error("the CMS message is refused: {0}")]
    Malformed(String),
    /// The bundle is not in a form that is read (W201).
    #[error("the Sigstore bundle is refused: {0}")]
    Bundle(String),
    /// It is good for other bytes, or for none (W201).
    #[error("the signature does not fit these bytes: {0}")]
    Mismatch(String),
    /// A key or digest that is too weak, or not the one that gitsign uses (W203).
    #[error("{0}")]
    Weak(String),
    /// Nothing says when it was made (W205).
    #[error("{0}")]
    NoTime(String),
    /// Its certificate, its log entry or its time is not vouched for by the trust root (W206).
    #[error("{0}")]
    Untrusted(String),
    /// Another kind of X.509 signature, or nothing is there to verify it (W208).
    #[error("{0}")]
    NotSupported(String),
}

/// What a Sigstore bundle must be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundled<'a> {
    /// These bytes, as `cosign sign-blob` signs them.
    Message(&'a [u8]),
    /// This statement, which is inside, as `cosign attest-blob --statement` signs it.
    Statement(&'a [u8]),
}

/// Verifies keyless signatures by a trust root.
pub trait KeylessVerifier: fmt::Debug + Send + Sync {
    /// Verifies the CMS message (DER, out of its armour) of a detached signature over `message`.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    fn verify(&self, cms: &[u8], message: &[u8]) -> Result<KeylessSignature, KeylessError>;

    /// Verifies a Sigstore bundle (JSON).
    ///
    /// # Errors
    /// Whatever is wrong with it.
    fn verify_bundle(&self, bundle: &[u8], about: Bundled<'_>) -> Result<KeylessSignature, KeylessError>;

    /// Whom the certificate inside names, whether or not the signature is good: for commits that were verified before.
    fn claimed(&self, cms: &[u8]) -> Option<KeylessIdentity>;

    /// Digest of all that its answers rest on: the trust root and the version of the code.
    fn basis(&self) -> [u8; 32];
}

impl KeylessIdentity {
    /// What stands for it where keys have fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> KeylessFingerprint {
        KeylessFingerprint(Digest::of_parts([
            b"writ.dev/keyless-identity/v1".as_slice(),
            self.issuer.as_bytes(),
            self.identity.as_bytes(),
        ]))
    }
}

impl KeylessError {
    /// The code of the refusal.
    #[must_use]
    pub const fn code(&self) -> TrustCode {
        match self {
            Self::Armor(_) | Self::Malformed(_) | Self::Bundle(_) | Self::Mismatch(_) => TrustCode::W201,
            Self::Weak(_) => TrustCode::W203,
            Self::NoTime(_) => TrustCode::W205,
            Self::Untrusted(_) => TrustCode::W206,
            Self::NotSupported(_) => TrustCode::W208,
        }
    }

    /// The refusal as a finding about `subject`; `fix` is how that subject is signed again.
    pub(crate) fn finding(&self, subject: Subject, fix: String) -> Finding {
        let found = match self {
            Self::Armor(reason) => format!("{self}: {reason}"),
            _ => self.to_string(),
        };
        Finding {
            code: self.code().entry(),
            subject,
            rule: None,
            found: found.into(),
            needed: self.needed().into(),
            fix: fix.into(),
        }
    }

    const fn needed(&self) -> &'static str {
        match self {
            Self::Armor(_) => "the armour that gitsign writes",
            Self::Malformed(_) => "one signature in the one form that gitsign writes",
            Self::Bundle(_) => "a bundle as cosign --bundle --new-bundle-format writes it",
            Self::Mismatch(_) => "a signature over exactly these bytes",
            Self::Weak(_) => "ECDSA on P-256 with SHA-256, as gitsign signs",
            Self::NoTime(_) => "a signature with its log entry inside (gitsign.rekorMode offline)",
            Self::Untrusted(_) => {
                "a certificate, a log entry and a time that the trust root of keyless signatures covers"
            }
            Self::NotSupported(_) => "an SSH, OpenPGP or gitsign signature",
        }
    }
}

/// Verifies an armoured CMS message over `message`.
pub(crate) fn verify_cms(
    armoured: &[u8],
    message: &[u8],
    verifier: Option<&dyn KeylessVerifier>,
) -> Result<KeylessSignature, KeylessError> {
    let cms = dearmor_cms(armoured).map_err(KeylessError::Armor)?;
    able(verifier)?.verify(&cms, message)
}

/// Verifies a Sigstore bundle.
pub(crate) fn verify_bundle(
    bundle: &[u8],
    about: Bundled<'_>,
    verifier: Option<&dyn KeylessVerifier>,
) -> Result<KeylessSignature, KeylessError> {
    able(verifier)?.verify_bundle(bundle, about)
}

/// What verifies, if there is one.
fn able(verifier: Option<&dyn KeylessVerifier>) -> Result<&dyn KeylessVerifier, KeylessError> {
    let unable = || KeylessError::NotSupported("a keyless signature, which nothing here verifies".to_owned());
    verifier.ok_or_else(unable)
}

impl CommitObject {
    /// Verifies the signature over the payload as a keyless one.
    ///
    /// # Errors
    /// W201, W203, W205, W206 or W208 as [`KeylessError`] says; W208 without a verifier.
    pub(crate) fn verify_keyless(&self, verifier: Option<&dyn KeylessVerifier>) -> Result<KeylessSignature, Finding> {
        let armoured = self.signature.as_deref().unwrap_or_default();
        verify_cms(armoured, &self.payload, verifier).map_err(|error| {
            let once = "git config gitsign.rekorMode offline";
            let fix = match error {
                KeylessError::NoTime(_) => format!("{once} && {}", resign_keyless(self)),
                _ => resign_keyless(self),
            };
            error.finding(Subject::Commit(self.id.to_string()), fix)
        })
    }

    /// Whom the certificate of a keyless signature names, whether or not it is good.
    pub(crate) fn claimed_identity(&self, verifier: Option<&dyn KeylessVerifier>) -> Option<KeylessIdentity> {
        verifier?.claimed(&dearmor_cms(self.signature.as_deref()?).ok()?)
    }
}

impl fmt::Display for KeylessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.identity, self.issuer)
    }
}

impl fmt::Display for KeylessFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl FromStr for KeylessFingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = text.strip_prefix(PREFIX).and_then(|hex| hex.parse().ok());
        digest.map(Self).ok_or_else(|| FingerprintError::of(text))
    }
}

impl Serialize for KeylessFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
