//! The trust root: the certificate authorities, certificate logs, transparency logs and timestamp authorities that count.

use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::Verifier;
use trust::MAX_TRUSTED_ROOT_BYTES;

/// Why a trust root cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootError {
    /// Longer than [`MAX_TRUSTED_ROOT_BYTES`].
    #[error("{0} bytes are more than {MAX_TRUSTED_ROOT_BYTES}")]
    TooLong(usize),
    /// Not the JSON of a trust root.
    #[error("no trusted_root.json: {0}")]
    Form(String),
    /// Keys or certificates in it that cannot be used.
    #[error("{0}")]
    Material(String),
    /// Without one of them no signature could ever be good.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// The one of the public Sigstore, as this version of the program was built with it.
pub(crate) const PUBLIC: &str = SIGSTORE_PRODUCTION_TRUSTED_ROOT;

/// The text of no trust root at all.
pub(crate) const NOTHING: &str = "";

/// What verifies by the text of a trust root.
pub(crate) fn verifier(text: &str) -> Result<Verifier, TrustedRootError> {
    if text.len() > MAX_TRUSTED_ROOT_BYTES {
        return Err(TrustedRootError::TooLong(text.len()));
    }
    let root = TrustedRoot::from_json(text).map_err(|error| TrustedRootError::Form(error.to_string()))?;
    for (what, is_missing) in [
        ("certificateAuthorities", root.certificate_authorities.is_empty()),
        ("ctlogs", root.ctlogs.is_empty()),
        ("tlogs", root.tlogs.is_empty()),
    ] {
        if is_missing {
            return Err(TrustedRootError::Missing(what));
        }
    }
    Verifier::new(&root).map_err(|error| TrustedRootError::Material(error.to_string()))
}
