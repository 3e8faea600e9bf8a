//! Envelopes: statements of principals that lie where anybody may put them, and prove themselves or count for nothing.
//!
//! A statement (see `statement`) lies in a DSSE envelope
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>), signed as `ssh-keygen -Y sign` does under a
//! namespace for what it says, or as `gpg --armor --detach-sign` does. An account signs it as `cosign attest-blob` does: then the
//! envelope, with that one signature, lies in a Sigstore bundle.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{BUNDLE_TYPE, detached::Keys, signed_by::SignedBy, verified_signature::Signed};

/// The type of what is in the envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Most bytes of one envelope: a statement of about 800 bytes and eight signatures of RSA keys, in base64 twice.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024;
/// Most envelopes about one thing that count: four from each of a team of sixteen.
pub const MAX_ENVELOPES: usize = 64;
/// Most signatures of one envelope.
const MAX_ENVELOPE_SIGNATURES: usize = 8;

/// Why something is no envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Too large.
    #[error("an envelope of {0} bytes; at most {MAX_ENVELOPE_BYTES}")]
    TooLarge(usize),
    /// Not of this form.
    #[error("not a DSSE envelope: {0}")]
    Form(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    /// A hint, which decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    /// Base64 of the armoured signature.
    sig: String,
}

/// Tells a bundle from an envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(default)]
    media_type: Option<String>,
}

/// A Sigstore bundle, as far as it says what was signed. All of it is read by what verifies it, which compares the payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: BundledEnvelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundledEnvelope {
    payload_type: String,
    payload: String,
}

/// What is signed of a payload: the pre-authentication encoding of DSSE.
#[must_use]
pub fn envelope_message(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The envelope around a payload and armoured signatures over its [`envelope_message`], on one line.
#[must_use]
pub fn envelope(payload: &[u8], signatures: &[(&str, &str)]) -> String {
    let signature = |(principal, armoured): &(&str, &str)| EnvelopeSignature {
        keyid: Some((*principal).to_owned()),
        sig: STANDARD.encode(armoured),
    };
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: signatures.iter().map(signature).collect(),
    };
    #[expect(clippy::expect_used, reason = "a struct of texts always serialises")]
    serde_json::to_string(&envelope).expect("an envelope serialises")
}

/// What is in an envelope.
pub(crate) struct Opened {
    /// The statement.
    pub(crate) payload: Vec<u8>,
    signed: Signatures,
}

/// Who made them is not known yet.
enum Signatures {
    /// Base64 of armoured signatures.
    Armoured(Vec<String>),
    /// The bundle that the envelope lies in, with what proves its one signature.
    Bundle(Vec<u8>),
}

impl Opened {
    /// Who signed it for this purpose with a key in force, and with which; or why a signature counts for nobody.
    pub(crate) fn signers<'a>(
        &'a self,
        keys: Keys<'a>,
        namespace: &'a str,
    ) -> impl Iterator<Item = Result<(String, SignedBy), String>> + 'a {
        let message = envelope_message(&self.payload);
        let (armoured, bundle) = match &self.signed {
            Signatures::Armoured(signatures) => (signatures.as_slice(), None),
            Signatures::Bundle(bundle) => (&[][..], Some(bundle)),
        };
        let bundle = bundle.map(|bundle| keys.of(Signed::Statement { bundle, payload: &self.payload }));
        let armoured = armoured.iter().map(move |signature| {
            let signature = STANDARD.decode(signature).map_err(|_invalid| "a signature is not base64".to_owned())?;
            keys.signer(&signature, &message, namespace)
        });
        bundle.into_iter().chain(armoured)
    }
}

/// The statement in a Sigstore bundle, if it is one with a statement: nothing of it counts yet.
///
/// # Errors
/// What it is not.
pub fn bundled_statement(text: &[u8]) -> Result<Option<Vec<u8>>, EnvelopeError> {
    if text.len() > MAX_ENVELOPE_BYTES {
        return Err(EnvelopeError::TooLarge(text.len()));
    }
    let form = |error: serde_json::Error| EnvelopeError::Form(error.to_string());
    let kind: Kind = serde_json::from_slice(text).map_err(form)?;
    if kind.media_type.as_deref() != Some(BUNDLE_TYPE) {
        return Ok(None);
    }
    let bundle: Bundle = serde_json::from_slice(text).map_err(form)?;
    if bundle.dsse_envelope.payload_type != PAYLOAD_TYPE {
        return Err(EnvelopeError::Form("another type of payload".to_owned()));
    }
    payload(&bundle.dsse_envelope.payload).map(Some)
}

fn payload(base64: &str) -> Result<Vec<u8>, EnvelopeError> {
    STANDARD.decode(base64).map_err(|_invalid| EnvelopeError::Form("the payload is not base64".to_owned()))
}

/// Opens an envelope.
pub(crate) fn open(text: &[u8]) -> Result<Opened, EnvelopeError> {
    if text.len() > MAX_ENVELOPE_BYTES {
        return Err(EnvelopeError::TooLarge(text.len()));
    }
    if let Some(payload) = bundled_statement(text)? {
        return Ok(Opened { payload, signed: Signatures::Bundle(text.to_vec()) });
    }
    let wrong = |what: &str| EnvelopeError::Form(what.to_owned());
    let envelope: Envelope = serde_json::from_slice(text).map_err(|error| EnvelopeError::Form(error.to_string()))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(wrong("another type of payload"));
    }
    if !(1..=MAX_ENVELOPE_SIGNATURES).contains(&envelope.signatures.len()) {
        return Err(wrong("no signature, or too many"));
    }
    let payload = payload(&envelope.payload)?;
    let signatures = envelope.signatures.into_iter().map(|signature| signature.sig).collect();
    Ok(Opened { payload, signed: Signatures::Armoured(signatures) })
}
