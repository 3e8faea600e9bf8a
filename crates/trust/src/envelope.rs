//! Envelopes: statements of principals that lie where anybody may put them, and prove themselves or count for nothing.
//!
//! A statement (see `statement`) lies in a DSSE envelope
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>), signed as `ssh-keygen -Y sign` does under a
//! namespace for what it says, or as `gpg --armor --detach-sign` does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{detached::Keys, signed_by::SignedBy};

/// The type of what is in the envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Most bytes of one envelope: a statement of about 800 bytes and eight signatures of RSA keys, in base64 twice.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024;
/// Most envelopes about one thing that are looked at: four from each of a team of sixteen.
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
    /// Base64 of armoured signatures; who made them is not known yet.
    pub(crate) signatures: Vec<String>,
}

impl Opened {
    /// Who signed it for this purpose with a key in force, and with which; or why a signature counts for nobody.
    pub(crate) fn signers<'a>(
        &'a self,
        keys: Keys<'a>,
        namespace: &'a str,
    ) -> impl Iterator<Item = Result<(String, SignedBy), String>> + 'a {
        let message = envelope_message(&self.payload);
        self.signatures.iter().map(move |signature| {
            let signature = STANDARD.decode(signature).map_err(|_invalid| "a signature is not base64".to_owned())?;
            keys.signer(&signature, &message, namespace)
        })
    }
}

/// Opens an envelope.
pub(crate) fn open(text: &[u8]) -> Result<Opened, EnvelopeError> {
    if text.len() > MAX_ENVELOPE_BYTES {
        return Err(EnvelopeError::TooLarge(text.len()));
    }
    let wrong = |what: &str| EnvelopeError::Form(what.to_owned());
    let envelope: Envelope = serde_json::from_slice(text).map_err(|error| EnvelopeError::Form(error.to_string()))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(wrong("another type of payload"));
    }
    if !(1..=MAX_ENVELOPE_SIGNATURES).contains(&envelope.signatures.len()) {
        return Err(wrong("no signature, or too many"));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|_invalid| wrong("the payload is not base64"))?;
    Ok(Opened { payload, signatures: envelope.signatures.into_iter().map(|signature| signature.sig).collect() })
}
