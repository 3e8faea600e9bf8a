//! Statements that a principal signs, in their envelopes.

use trust::{TrustFile, envelope, envelope_message};

use crate::signing::SigningKey;

/// A statement that is signed.
pub(crate) struct Signed {
    /// Who signed it.
    pub(crate) principal: String,
    /// Its envelope, on one line.
    pub(crate) envelope: String,
}

/// Signs a statement: what it is called, and the namespace of its signatures.
pub(crate) fn sign(
    file: &TrustFile,
    key: &SigningKey,
    purpose: (&str, &str),
    payload: &[u8],
) -> anyhow::Result<Signed> {
    let (principal, signature) = key.sign_as(file, purpose, &envelope_message(payload))?;
    Ok(Signed { envelope: envelope(payload, &[(&principal, &signature)]), principal })
}
