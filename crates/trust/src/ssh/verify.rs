//! Verification of one signature over one message for one purpose.

use manifest::{Finding, Subject};

use super::{
    Assertion, Certificate, CertificateError, Crypto, Fingerprint, HashAlgorithm, KeyAlgorithm, PublicKey,
    PublicKeyError,
    certificate::is_certificate,
    key_signature::Fault,
    public_key::shown,
    sshsig::{Blob, signed_bytes},
};
use crate::{
    TrustCode,
    armor::{self, ArmorError, ArmorFormat},
};

/// The namespace that Git signs commits under.
pub const NAMESPACE_GIT: &str = "git";
/// The namespace of signatures over trust files.
pub const NAMESPACE_TRUST: &str = "writ-trust@1";

/// A signature that fits: whose key, over which digest. Whether the key may sign is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    key: PublicKey,
    hash: HashAlgorithm,
    assertion: Option<Assertion>,
    certificate: Option<Box<Certificate>>,
}

impl SshSignature {
    /// The key that signed. If there is a [`certificate`](Self::certificate), it is that which says whose it is, and a
    /// list of keys says nothing.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The digest that the signature is over.
    #[must_use]
    pub const fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// The certificate that came with the key. Its authority is genuine, and may be anybody.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }

    /// What the token asserts, if the key is a security key.
    #[must_use]
    pub const fn assertion(&self) -> Option<Assertion> {
        self.assertion
    }
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshsigError {
    /// The armour is not the canonical one (W201).
    #[error("the armour of the signature is not canonical")]
    Armor(#[source] ArmorError),
    /// Another format than SSH (W208).
    #[error("an {} signature{}", .0.name(), if *.0 == ArmorFormat::X509 { ", which is not supported yet" } else { "" })]
    OtherFormat(ArmorFormat),
    /// The blob is not in the canonical form (W201).
    #[error("the signature is not in the canonical form of version 1")]
    Malformed,
    /// The key inside is not supported (W208).
    #[error("signed by {0}, which is not supported yet")]
    KeyNotSupported(String),
    /// The key inside is malformed or refused (W201).
    #[error("the key inside the signature is refused")]
    Key(#[source] PublicKeyError),
    /// The certificate inside is malformed or not good (W201), signed with SHA-1 (W203), or none for signing (W207).
    #[error("the certificate inside the signature is refused")]
    Certificate(#[source] CertificateError),
    /// The namespace is another one (W207).
    #[error("a signature for the namespace {found:?}")]
    Namespace {
        /// The namespace inside, escaped.
        found: String,
        /// The namespace demanded.
        needed: String,
    },
    /// A digest that is not allowed (W203).
    #[error("a signature over a digest of type {found:?}")]
    Hash {
        /// The digest inside, escaped.
        found: String,
        /// What the settings allow.
        allowed: Vec<HashAlgorithm>,
    },
    /// An RSA signature, or that of an authority on a certificate, by a digest that is not allowed (W203).
    #[error("a signature of type {format}, which uses {digest}")]
    FormatDigest {
        /// The type.
        format: &'static str,
        /// Its digest.
        digest: HashAlgorithm,
        /// What the settings allow.
        allowed: Vec<HashAlgorithm>,
    },
    /// A signature algorithm weaker than SHA-2 (W203).
    #[error("a signature of type {0:?}, which uses SHA-1")]
    WeakFormat(String),
    /// The signature type is not one of the key (W201).
    #[error("a signature of type {format:?} by a key of type {}", .key.key_type())]
    Format {
        /// The type inside, escaped.
        format: String,
        /// The algorithm of the key.
        key: KeyAlgorithm,
    },
    /// A key algorithm that the settings do not allow (W203).
    #[error("signed by a key of algorithm {found}")]
    KeyAlgorithm {
        /// The algorithm.
        found: KeyAlgorithm,
        /// What the settings allow.
        allowed: Vec<KeyAlgorithm>,
    },
    /// An RSA key that is too short (W203).
    #[error("signed by an RSA key of {bits} bits")]
    ShortRsa {
        /// Bits of its modulus.
        bits: u32,
        /// What the settings demand.
        needed: u32,
    },
    /// The signature does not fit the bytes (W201).
    #[error("the signature by {0} does not fit these bytes")]
    Mismatch(Fingerprint),
}

/// Smallest RSA modulus in bits that any settings can allow; the maths library verifies nothing shorter.
const MIN_RSA_BITS: u32 = 2048;

impl Crypto {
    /// Whether the digest of a format is allowed, where whoever signed had a choice.
    fn check_digest(&self, chosen: Option<(&'static str, HashAlgorithm)>) -> Result<(), SshsigError> {
        match chosen {
            Some((format, digest)) if !self.hashes.contains(&digest) => {
                let allowed = self.hashes.iter().copied().collect();
                Err(SshsigError::FormatDigest { format, digest, allowed })
            }
            _ => Ok(()),
        }
    }

    /// Whether a key is strong enough under these settings.
    ///
    /// # Errors
    /// The algorithm is not allowed, or the RSA modulus too short.
    pub fn check_key(&self, key: &PublicKey) -> Result<(), SshsigError> {
        if !self.allow.contains(&key.algorithm()) {
            let allowed = self.allow.iter().copied().collect();
            return Err(SshsigError::KeyAlgorithm { found: key.algorithm(), allowed });
        }
        let needed = self.min_rsa.max(MIN_RSA_BITS);
        match key.rsa_bits() {
            Some(bits) if bits < needed => Err(SshsigError::ShortRsa { bits, needed }),
            _ => Ok(()),
        }
    }
}

/// Verifies an armoured SSH signature over `message`, made for `namespace` with a key strong enough for `crypto`.
///
/// # Errors
/// Anything that is not exactly what `ssh-keygen -Y sign -n <namespace>` writes for this message; see [`SshsigError`].
pub fn verify_sshsig(
    armored: &[u8],
    message: &[u8],
    namespace: &str,
    crypto: &Crypto,
) -> Result<SshSignature, SshsigError> {
    verify_sshsig_by(armored, message, namespace, crypto, &|_blob| None)
}

/// Verifies as [`verify_sshsig`] does; a key that `known` has by its binary form is not read and prepared anew.
pub(crate) fn verify_sshsig_by<'k>(
    armored: &[u8],
    message: &[u8],
    namespace: &str,
    crypto: &Crypto,
    known: &dyn Fn(&[u8]) -> Option<&'k PublicKey>,
) -> Result<SshSignature, SshsigError> {
    match ArmorFormat::of(armored) {
        Some(format @ (ArmorFormat::OpenPgp | ArmorFormat::X509)) => return Err(SshsigError::OtherFormat(format)),
        Some(ArmorFormat::Ssh) => {}
        None => return Err(SshsigError::Armor(ArmorError::UnknownFormat)),
    }
    let bytes = armor::dearmor(armored).map_err(SshsigError::Armor)?;
    let blob = Blob::parse(&bytes).map_err(|_malformed| SshsigError::Malformed)?;
    let (key, certificate) = match known(blob.public_key) {
        Some(key) => (key.clone(), None),
        None => key_and_certificate(blob.public_key)?,
    };
    crypto.check_key(&key)?;
    if let Some(certificate) = &certificate {
        crypto.check_key(certificate.authority())?;
        crypto.check_digest(certificate.chosen_digest())?;
    }
    if blob.namespace != namespace.as_bytes() {
        return Err(SshsigError::Namespace { found: shown(blob.namespace), needed: namespace.to_owned() });
    }
    let hash = HashAlgorithm::ALL
        .into_iter()
        .find(|hash| hash.as_str().as_bytes() == blob.hash && crypto.hashes.contains(hash))
        .ok_or_else(|| SshsigError::Hash {
            found: shown(blob.hash),
            allowed: crypto.hashes.iter().copied().collect(),
        })?;
    crypto.check_digest(blob.signature.chosen_digest())?;
    let format = blob.signature.format;
    match blob.signature.check(&key, &signed_bytes(namespace, hash, message)) {
        Ok(assertion) => Ok(SshSignature { key, hash, assertion, certificate }),
        Err(Fault::Malformed) => Err(SshsigError::Malformed),
        Err(Fault::Mismatch) => Err(SshsigError::Mismatch(key.fingerprint())),
        Err(Fault::Sha1) => Err(SshsigError::WeakFormat(shown(format))),
        Err(Fault::Format) => Err(SshsigError::Format { format: shown(format), key: key.algorithm() }),
    }
}

/// The keys that a signature names, whether or not it fits: the one that signed, and the authority that certified it.
pub(crate) fn claimed_keys(armored: &[u8]) -> Vec<Fingerprint> {
    let Ok(bytes) = armor::dearmor(armored) else { return Vec::new() };
    let Ok(blob) = Blob::parse(&bytes) else { return Vec::new() };
    match key_and_certificate(blob.public_key) {
        Ok((key, certificate)) => {
            let authority = certificate.map(|certificate| certificate.authority().fingerprint());
            std::iter::once(key.fingerprint()).chain(authority).collect()
        }
        Err(_) => Vec::new(),
    }
}

/// The certificate that a signature came with, whether or not it fits.
pub(crate) fn claimed_certificate(armored: &[u8]) -> Option<Box<Certificate>> {
    let bytes = armor::dearmor(armored).ok()?;
    let blob = Blob::parse(&bytes).ok()?;
    key_and_certificate(blob.public_key).ok()?.1
}

/// The key that a signature for Git names, with its certificate, whether or not it fits; `None` of any other form than that
/// which this key makes.
pub(crate) fn claimed_in_git(armored: &[u8]) -> Option<Vec<u8>> {
    let bytes = armor::dearmor(armored).ok()?;
    let blob = Blob::parse(&bytes).ok()?;
    let known = HashAlgorithm::ALL.iter().any(|hash| hash.as_str().as_bytes() == blob.hash);
    let (key, _certificate) = key_and_certificate(blob.public_key).ok()?;
    let readable = known && blob.namespace == NAMESPACE_GIT.as_bytes() && blob.signature.has_form_of(&key);
    readable.then(|| blob.public_key.to_vec())
}

/// What a blob says about who signed.
fn key_and_certificate(blob: &[u8]) -> Result<(PublicKey, Option<Box<Certificate>>), SshsigError> {
    if !is_certificate(blob) {
        return PublicKey::from_blob(blob).map(|key| (key, None)).map_err(|error| match error {
            PublicKeyError::NotSupported(what) => SshsigError::KeyNotSupported(what),
            other => SshsigError::Key(other),
        });
    }
    let certificate = Certificate::from_blob(blob).map_err(|error| match error {
        CertificateError::Key(PublicKeyError::NotSupported(what))
        | CertificateError::Authority(PublicKeyError::NotSupported(what)) => {
            SshsigError::KeyNotSupported(format!("a certificate with {what}"))
        }
        other => SshsigError::Certificate(other),
    })?;
    Ok((certificate.key().clone(), Some(Box::new(certificate))))
}

impl SshsigError {
    /// The code of this refusal.
    #[must_use]
    pub const fn code(&self) -> TrustCode {
        match self {
            Self::Armor(_) | Self::Malformed | Self::Key(_) | Self::Format { .. } | Self::Mismatch(_) => {
                TrustCode::W201
            }
            Self::Certificate(
                CertificateError::Malformed
                | CertificateError::Key(_)
                | CertificateError::Authority(_)
                | CertificateError::Mismatch,
            ) => TrustCode::W201,
            Self::Certificate(CertificateError::WeakSignature) => TrustCode::W203,
            Self::Certificate(
                CertificateError::NotForUsers(_) | CertificateError::NoPrincipals | CertificateError::CriticalOption(_),
            ) => TrustCode::W207,
            Self::OtherFormat(_) | Self::KeyNotSupported(_) => TrustCode::W208,
            Self::Namespace { .. } => TrustCode::W207,
            Self::Hash { .. }
            | Self::FormatDigest { .. }
            | Self::WeakFormat(_)
            | Self::KeyAlgorithm { .. }
            | Self::ShortRsa { .. } => TrustCode::W203,
        }
    }

    /// The refusal as a finding about `subject`; `fix` is how that subject is signed again.
    #[must_use]
    pub fn finding(&self, subject: Subject, fix: String) -> Finding {
        let found = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
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

    fn needed(&self) -> String {
        match self {
            Self::Armor(_) | Self::Malformed => "the form that ssh-keygen -Y sign writes, byte for byte".to_owned(),
            Self::OtherFormat(_) => "an SSH signature".to_owned(),
            Self::KeyNotSupported(_) | Self::Key(_) => {
                "an Ed25519, ECDSA or RSA key, in a file or in a security key".to_owned()
            }
            Self::Certificate(_) => {
                "a certificate for users that names principals and has no critical option (ssh-keygen -s)".to_owned()
            }
            Self::Namespace { needed, .. } => format!("the namespace {needed:?}"),
            Self::Hash { allowed, .. } | Self::FormatDigest { allowed, .. } => format!("one of {}", list(allowed)),
            Self::WeakFormat(_) => "rsa-sha2-256 or rsa-sha2-512".to_owned(),
            Self::Format { key, .. } => format!("a signature type of {} keys", key.key_type()),
            Self::KeyAlgorithm { allowed, .. } => format!("one of {}", list(allowed)),
            Self::ShortRsa { needed, .. } => format!("at least {needed} bits"),
            Self::Mismatch(_) => "a signature over exactly these bytes".to_owned(),
        }
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
