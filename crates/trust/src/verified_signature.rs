//! Signatures of every format that fit what they are over. Whose they are, and whether that counts, is said in `holder`.

use manifest::Subject;

use crate::{
    ArmorFormat, Bundled, CommitObject, KeylessError, KeylessSignature, MAX_ARMOR_BYTES, NAMESPACE_GIT, SshSignature,
    TrustCode, TrustFile,
    holder::Uncounted,
    instants::Instants,
    openpgp::{OpenPgpSignature, OpenPgpVerifier as _},
    signature_cache::Verifier,
};

/// A signature, and what it is over.
#[derive(Clone, Copy)]
pub(crate) enum Signed<'a> {
    /// That of a commit.
    Commit(&'a CommitObject),
    /// One over a message. Only SSH signatures name what they are for, so no two purposes may have messages in common.
    Message { signature: &'a [u8], message: &'a [u8], namespace: &'a str },
    /// A Sigstore bundle around a statement, whose predicate says what it is for.
    Statement { bundle: &'a [u8], payload: &'a [u8] },
}

/// The formats that signatures have.
enum Format {
    Ssh,
    OpenPgp,
    Cms,
    Bundle,
}

/// A signature that fits.
pub(crate) enum VerifiedSignature {
    Ssh(SshSignature),
    OpenPgp(OpenPgpSignature),
    Keyless(KeylessSignature),
}

impl Signed<'_> {
    fn format(self) -> Format {
        let armour = match self {
            Self::Commit(object) => object.signature_format(),
            Self::Message { signature, .. } if is_bundle(signature) => return Format::Bundle,
            Self::Message { signature, .. } => ArmorFormat::of(signature),
            Self::Statement { .. } => return Format::Bundle,
        };
        match armour {
            Some(ArmorFormat::OpenPgp) => Format::OpenPgp,
            Some(ArmorFormat::X509) => Format::Cms,
            Some(ArmorFormat::Ssh) | None => Format::Ssh,
        }
    }

    /// Verifies it by the settings of a trust file, in a format for which somebody has a key.
    pub(crate) fn verify(
        self,
        policy: &TrustFile,
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Result<VerifiedSignature, Uncounted> {
        // Whoever signs anew does so later than this commit: what has not begun then may have by now.
        let formats = || policy.formats(None);
        if matches!(self, Self::Commit(object) if object.signature.is_none()) {
            let needed = format!("{} by a principal", formats().needed());
            return Err(Uncounted::again(TrustCode::W301, "no signature", needed));
        }
        let unlisted = |found: &str| Err(Uncounted::again(TrustCode::W208, found, formats().needed()));
        match self.format() {
            Format::OpenPgp if policy.has_certificates() => self
                .by_certificate(policy, instants, verifier)
                .map_err(|refused| Uncounted { fix: Some(policy.sign_by_certificate(instants)), ..refused }),
            Format::OpenPgp => unlisted("an OpenPGP signature, and no principal has an OpenPGP key"),
            Format::Cms | Format::Bundle if policy.has_identities() => self
                .by_account(verifier)
                .map_err(|refused| Uncounted { fix: Some(policy.sign_by_account(instants)), ..refused }),
            Format::Cms => unlisted("an X.509 signature, and no principal has a keyless key"),
            Format::Bundle => unlisted("a Sigstore bundle, and no principal has a keyless key"),
            Format::Ssh => self.by_ssh_key(policy, verifier),
        }
    }

    fn by_ssh_key(self, policy: &TrustFile, verifier: Verifier<'_>) -> Result<VerifiedSignature, Uncounted> {
        let verified = match self {
            Self::Commit(object) => verifier.commit(object, policy),
            Self::Message { signature, message, namespace } => {
                bounded(signature)?;
                verifier
                    .message(signature, message, namespace, &policy.crypto, policy.digest())
                    .map_err(|error| error.finding(nothing(), String::new()))
            }
            Self::Statement { .. } => return Err(only_bundles()),
        };
        Ok(VerifiedSignature::Ssh(verified?))
    }

    fn by_certificate(
        self,
        policy: &TrustFile,
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Result<VerifiedSignature, Uncounted> {
        let verified = match self {
            Self::Commit(object) => {
                object.verify_openpgp(&verifier.openpgp_of_commit(object, policy), &policy.crypto, instants)
            }
            Self::Message { signature, message, .. } => {
                bounded(signature)?;
                verifier
                    .openpgp_of_message(policy)
                    .verify_openpgp(signature, message, &policy.crypto, instants)
                    .map_err(|error| error.finding(nothing(), String::new()))
            }
            Self::Statement { .. } => return Err(only_bundles()),
        };
        Ok(VerifiedSignature::OpenPgp(verified?))
    }

    fn by_account(self, verifier: Verifier<'_>) -> Result<VerifiedSignature, Uncounted> {
        let verified = match self {
            Self::Commit(object) => return Ok(VerifiedSignature::Keyless(verifier.keyless(object)?)),
            Self::Message { signature, message, .. } if is_bundle(signature) => {
                verifier.bundle(signature, Bundled::Message(message))
            }
            Self::Message { signature, message, namespace: NAMESPACE_GIT } => verifier.cms(signature, message),
            Self::Message { .. } => {
                Err(KeylessError::NotSupported("an X.509 signature, which only commits and tags carry".to_owned()))
            }
            Self::Statement { bundle, payload } => verifier.bundle(bundle, Bundled::Statement(payload)),
        };
        Ok(VerifiedSignature::Keyless(verified.map_err(|error| error.finding(nothing(), String::new()))?))
    }
}

/// Whether a signature is a Sigstore bundle: it is JSON, and no armour begins like that.
pub(crate) fn is_bundle(signature: &[u8]) -> bool {
    signature.trim_ascii_start().starts_with(b"{")
}

/// No statement gets here: its format is that of bundles.
fn only_bundles() -> Uncounted {
    Uncounted::again(TrustCode::W208, "a Sigstore bundle", "a signature of this format")
}

/// What is refused is said by whoever asked.
const fn nothing() -> Subject {
    Subject::Named(String::new())
}

fn bounded(signature: &[u8]) -> Result<(), Uncounted> {
    if signature.len() <= MAX_ARMOR_BYTES {
        return Ok(());
    }
    let found = format!("a signature of {} bytes", signature.len());
    Err(Uncounted::again(TrustCode::W201, found, format!("at most {MAX_ARMOR_BYTES} bytes")))
}
