//! Statements that a principal signs, in their envelopes.

use jiff::Timestamp;
use trust::{TrustFile, Verifiers, bundled_statement, envelope, envelope_message};

use crate::{signing::SigningKey, trusted_root::TrustedRoot};

/// A statement that is signed.
pub(crate) struct Signed {
    /// Who signed it.
    pub(crate) principal: String,
    /// Its envelope, on one line.
    pub(crate) envelope: String,
}

/// Signs a statement: what it is called, and the namespace of its signatures. One that an account has signed already must say
/// the same.
pub(crate) fn sign(
    file: &TrustFile,
    key: &SigningKey,
    purpose: (&str, &str),
    payload: &[u8],
    trusted_root: &TrustedRoot,
) -> anyhow::Result<Signed> {
    if let Some(bundle) = key.bundle()? {
        let keyless = trusted_root.verifier()?;
        let with = Verifiers { known: None, keyless: Some(&keyless) };
        let signer = file.signer_of_statement(bundle.as_bytes(), payload, Timestamp::now(), with);
        let principal = signer.map_err(|reason| anyhow::anyhow!("the {} would not count: {reason}", purpose.0))?;
        return Ok(Signed { principal, envelope: bundle });
    }
    let (principal, signature) = key.sign_as(file, purpose, &envelope_message(payload), trusted_root)?;
    Ok(Signed { envelope: envelope(payload, &[(&principal, &signature)]), principal })
}

/// The statement in the bundle that was signed elsewhere, if there is one.
pub(crate) fn signed_elsewhere(key: &SigningKey) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(bundle) = key.bundle()? else { return Ok(None) };
    let payload = bundled_statement(bundle.as_bytes())?;
    payload.map(Some).ok_or_else(|| {
        anyhow::anyhow!(
            "the file is no Sigstore bundle of version 0.3 with a statement, as cosign attest-blob --new-bundle-format writes it"
        )
    })
}
