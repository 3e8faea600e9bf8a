//! Public keys, from text (one line of a `.pub` file) and from the binary form inside signatures.

use std::{fmt, hash, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1_checked::{Digest as _, Sha1};

use super::{
    Fingerprint, KeyAlgorithm,
    ecdsa::Curve,
    ed25519,
    rsa::RsaKey,
    security_key,
    wire::{Malformed, Reader},
};

/// The most bytes a key may have as text. An 8192-bit RSA key is 1 KiB, 1.4 KiB in base64; the rest is for a comment.
pub const MAX_KEY_TEXT_BYTES: usize = 4 * 1024;

/// A public key. Equal if the binary form is; comments do not count.
#[derive(Clone)]
pub struct PublicKey {
    blob: Arc<[u8]>,
    fingerprint: Fingerprint,
    material: Material,
}

#[derive(Clone)]
pub(super) enum Material {
    Ed25519(Arc<[u8]>),
    Ecdsa { curve: Curve, point: Arc<[u8]> },
    Rsa(Arc<RsaKey>),
    SkEd25519 { point: Arc<[u8]>, application: Arc<[u8]> },
    SkEcdsa { point: Arc<[u8]>, application: Arc<[u8]> },
}

/// Why something is no public key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not `<type> <base64> [comment]` on one line.
    #[error("not a public key of the form `ssh-ed25519 AAAA… comment` on one line")]
    Form,
    /// The second word is not canonical base64.
    #[error("the key is not canonical base64")]
    Base64,
    /// The type in words and the type inside the key differ.
    #[error("the key says {found:?} inside, not {expected:?}")]
    OtherType {
        /// The type inside.
        found: String,
        /// The type before the base64.
        expected: String,
    },
    /// A key type that is not supported.
    #[error("{0}, which is not supported yet")]
    NotSupported(String),
    /// Not the binary form of a key, or not the only one.
    #[error("the key is not in the binary form of SSH")]
    Malformed,
    /// A key whose numbers are refused.
    #[error("{0}")]
    Refused(&'static str),
}

impl From<Malformed> for PublicKeyError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl PublicKey {
    /// Reads `<type> <base64> [comment]`, the form of a `.pub` file with or without its line end.
    ///
    /// # Errors
    /// Any other form (options before the type, several lines), a type that is not supported, or a key that is refused.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        if line.len() > MAX_KEY_TEXT_BYTES || line.chars().any(char::is_control) {
            return Err(PublicKeyError::Form);
        }
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(encoded)) = (words.next(), words.next()) else { return Err(PublicKeyError::Form) };
        if name.is_empty() || encoded.is_empty() {
            return Err(PublicKeyError::Form);
        }
        Self::from_words(name, encoded)
    }

    /// Reads a key whose type and base64 have been split already.
    pub(super) fn from_words(name: &str, encoded: &str) -> Result<Self, PublicKeyError> {
        if !KeyAlgorithm::ALL.iter().any(|algorithm| algorithm.key_type() == name) {
            // `alice ssh-ed25519 AAAA…` is a line of another file, not a key of an unknown type.
            return Err(not_supported(name.as_bytes()).unwrap_or(PublicKeyError::Form));
        }
        let blob = STANDARD.decode(encoded).map_err(|_invalid| PublicKeyError::Base64)?;
        let found = Reader::new(&blob).string()?;
        if found != name.as_bytes() {
            return Err(PublicKeyError::OtherType { found: shown(found), expected: name.to_owned() });
        }
        Self::from_blob(&blob)
    }

    /// Reads the binary form of SSH.
    ///
    /// # Errors
    /// Any byte too many or too few, a type that is not supported, or a key that is refused.
    pub fn from_blob(blob: &[u8]) -> Result<Self, PublicKeyError> {
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let material = Material::read(name, &mut reader)?;
        reader.end()?;
        Ok(Self { blob: blob.into(), fingerprint: Fingerprint::of(blob), material })
    }

    /// The binary form.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What `ssh-keygen -l` prints for this key.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// SHA-1 of the binary form, which old revocation lists name keys by.
    pub(crate) fn sha1(&self) -> [u8; 20] {
        Sha1::digest(&self.blob).into()
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match &self.material {
            Material::Ed25519(_) => KeyAlgorithm::Ed25519,
            Material::Ecdsa { curve: Curve::P256, .. } => KeyAlgorithm::EcdsaP256,
            Material::Ecdsa { curve: Curve::P384, .. } => KeyAlgorithm::EcdsaP384,
            Material::Ecdsa { curve: Curve::P521, .. } => KeyAlgorithm::EcdsaP521,
            Material::Rsa(_) => KeyAlgorithm::Rsa,
            Material::SkEd25519 { .. } => KeyAlgorithm::SkEd25519,
            Material::SkEcdsa { .. } => KeyAlgorithm::SkEcdsaP256,
        }
    }

    /// Bits of the modulus of an RSA key.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<u32> {
        match &self.material {
            Material::Rsa(key) => Some(key.bits()),
            Material::Ed25519(_) | Material::Ecdsa { .. } | Material::SkEd25519 { .. } | Material::SkEcdsa { .. } => {
                None
            }
        }
    }

    pub(super) const fn material(&self) -> &Material {
        &self.material
    }
}

impl Material {
    /// Reads what follows the type `name` in the binary form.
    pub(super) fn read(name: &[u8], reader: &mut Reader<'_>) -> Result<Self, PublicKeyError> {
        Ok(match name {
            b"ssh-ed25519" => Self::Ed25519(ed25519_point(reader)?),
            b"ecdsa-sha2-nistp256" => Self::Ecdsa { curve: Curve::P256, point: ecdsa_point(Curve::P256, reader)? },
            b"ecdsa-sha2-nistp384" => Self::Ecdsa { curve: Curve::P384, point: ecdsa_point(Curve::P384, reader)? },
            b"ecdsa-sha2-nistp521" => Self::Ecdsa { curve: Curve::P521, point: ecdsa_point(Curve::P521, reader)? },
            b"ssh-rsa" => {
                let exponent = reader.positive()?;
                let modulus = reader.positive()?;
                Self::Rsa(Arc::new(RsaKey::new(modulus, exponent).map_err(PublicKeyError::Refused)?))
            }
            b"sk-ssh-ed25519@openssh.com" => {
                Self::SkEd25519 { point: ed25519_point(reader)?, application: application(reader)? }
            }
            b"sk-ecdsa-sha2-nistp256@openssh.com" => {
                Self::SkEcdsa { point: ecdsa_point(Curve::P256, reader)?, application: application(reader)? }
            }
            other => {
                return Err(not_supported(other)
                    .unwrap_or_else(|| PublicKeyError::NotSupported(format!("a key of type {:?}", shown(other)))));
            }
        })
    }
}

fn ed25519_point(reader: &mut Reader<'_>) -> Result<Arc<[u8]>, PublicKeyError> {
    let point = reader.string()?;
    ed25519::check(point).map_err(PublicKeyError::Refused)?;
    Ok(point.into())
}

fn ecdsa_point(curve: Curve, reader: &mut Reader<'_>) -> Result<Arc<[u8]>, PublicKeyError> {
    if reader.string()? != curve.name().as_bytes() {
        return Err(PublicKeyError::Malformed);
    }
    let point = reader.string()?;
    curve.check(point).map_err(PublicKeyError::Refused)?;
    Ok(point.into())
}

fn application(reader: &mut Reader<'_>) -> Result<Arc<[u8]>, PublicKeyError> {
    let application = reader.string()?;
    security_key::check_application(application).map_err(PublicKeyError::Refused)?;
    Ok(application.into())
}

/// The words for key types that OpenSSH knows and writ does not.
fn not_supported(name: &[u8]) -> Option<PublicKeyError> {
    let text = shown(name);
    // OpenSSH 10.4 and 10.5 call it ssh-mldsa44-ed25519@openssh.com, later ones ssh-mldsa44-ed25519. No maintained crate
    // verifies the pair of signatures.
    let what = if text.contains("-cert-v0") {
        format!("an SSH certificate ({text})")
    } else if text.starts_with("sk-") || text.starts_with("webauthn-") {
        format!("a security key ({text})")
    } else if text == "ssh-dss" {
        "a DSA key (ssh-dss)".to_owned()
    } else if text.contains("mldsa") {
        format!("an ML-DSA key ({text})")
    } else {
        return None;
    };
    Some(PublicKeyError::NotSupported(what))
}

/// Bytes from outside as they may be printed: escaped, and cut after 64 of them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.get(..64).unwrap_or(bytes).escape_ascii().to_string()
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// `<type> <base64>`, without comment.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm().key_type(), STANDARD.encode(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.blob.cmp(&other.blob)
    }
}

impl hash::Hash for PublicKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}
