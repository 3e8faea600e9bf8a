//! Statements that a principal signs, in their envelopes.

use anyhow::bail;
use git::Objects;
use jiff::Timestamp;
use trust::{CommitId, Instants, TRUST_FILE, TrustFile, envelope, envelope_message, verify_sshsig};

use crate::signing::SigningKey;

/// A statement that is signed.
pub(crate) struct Signed {
    /// Who signed it.
    pub(crate) principal: String,
    /// Its envelope, on one line.
    pub(crate) envelope: String,
}

/// The trust file of a commit.
pub(crate) fn trust_file(repository: &Objects, commit: &CommitId) -> anyhow::Result<TrustFile> {
    TrustFile::of_commit(repository, commit).map_err(|findings| {
        let mistakes: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{TRUST_FILE} of {commit}: {}", mistakes.join("; "))
    })
}

/// Signs a statement for a purpose.
pub(crate) fn sign(file: &TrustFile, key: &SigningKey, payload: &[u8], namespace: &str) -> anyhow::Result<Signed> {
    let message = envelope_message(payload);
    let signature = key.sign(namespace, &message)?;
    let principal = principal(file, key, &message, &signature, namespace)?;
    Ok(Signed { envelope: envelope(payload, &[(&principal, &signature)]), principal })
}

/// Whose key it was. What another one signs would count for nothing, which is better said here.
fn principal(
    file: &TrustFile,
    key: &SigningKey,
    message: &[u8],
    signature: &str,
    namespace: &str,
) -> anyhow::Result<String> {
    if key.is_openpgp() {
        let instants = Instants { committer: Timestamp::now(), first_sight: None };
        let holder = file.openpgp_signer(signature.as_bytes(), message, &instants);
        return holder.map(str::to_owned).map_err(|reason| anyhow::anyhow!("what it signs would not count: {reason}"));
    }
    let verified = verify_sshsig(signature.as_bytes(), message, namespace, &file.crypto)?;
    match file.signer_of(&verified) {
        Some(principal) => Ok(principal.to_owned()),
        None => bail!(
            "key {} belongs to no principal of {TRUST_FILE}, so what it signs would not count",
            verified.key().fingerprint()
        ),
    }
}
