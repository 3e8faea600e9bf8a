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
}
