//! Who signed, as it is printed.

use serde::Serialize;

use crate::Fingerprint;

/// The format of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureFormat {
    /// OpenSSH (`sshsig`).
    Ssh,
}

/// The principal that a signature was traced to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Signer {
    /// Name in the trust file, or in the allowed-signers file.
    pub principal: String,
    /// Format of the signature.
    pub format: SignatureFormat,
    /// Fingerprint of the key.
    pub key: Fingerprint,
    /// Fingerprint of the authority's key, if a certificate says whose key it is. Boxed since that is rare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Box<Fingerprint>>,
}
