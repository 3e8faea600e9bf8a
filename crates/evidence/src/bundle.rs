//! Sigstore bundles (<https://docs.sigstore.dev/about/bundle/>) of version 0.3, as cosign writes them: certificate, signature, log
//! entry and timestamps in JSON, around a signature of a message or an envelope with a statement.
//!
//! What `sigstore-verify` does not ask is asked here: that there is one log entry of a kind that is known for what is signed,
//! with an inclusion proof of the size that its checkpoint has, and a time that somebody has signed; and that it is about these
//! bytes. A bundle names no commit, so it need not have one form.

use der::Decode as _;
use sigstore_verify::types::{
    Artifact, Bundle, DsseEnvelope, HashAlgorithm, KindVersion, MediaType, MessageSignature, Sha256Hash,
    SignatureContent, Statement, TransparencyLogEntry, VerificationMaterialContent,
};
use trust::{Bundled, KeylessError, MAX_BUNDLE_BYTES, PAYLOAD_TYPE, envelope_message};
use x509_cert::Certificate;

use crate::{
    certificate::{check_key, is_keyless, to_der},
    log_entry::{MAX_CHECKPOINT_BYTES, MAX_PROOF_HASHES},
};

/// A bundle, read. Nothing in it is believed yet.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The bundle, for the verifier.
    pub(crate) bundle: Bundle,
    /// Its one certificate.
    pub(crate) certificate: Certificate,
    /// The bytes of that.
    pub(crate) certificate_der: Vec<u8>,
    /// What the signature is over.
    pub(crate) message: Vec<u8>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    /// What the verifier takes for the thing that is signed: of a statement it asks for no more than a digest that is in there.
    subject: Option<Sha256Hash>,
}

fn refused(what: impl Into<String>) -> KeylessError {
    KeylessError::Bundle(what.into())
}

impl Signed {
    /// Reads a bundle that must be about this.
    pub(crate) fn parse(text: &[u8], about: Bundled<'_>) -> Result<Self, KeylessError> {
        if text.len() > MAX_BUNDLE_BYTES {
            return Err(refused(format!("{} bytes are more than {MAX_BUNDLE_BYTES}", text.len())));
        }
        let text = std::str::from_utf8(text).map_err(|_other| refused("it is no text"))?;
        let bundle = Bundle::from_json(text).map_err(|error| refused(error.to_string()))?;
        if bundle.media_type != MediaType::Bundle0_3 {
            return Err(refused(format!("it is {}, not {}", bundle.media_type, MediaType::Bundle0_3)));
        }
        let VerificationMaterialContent::Certificate(content) = &bundle.verification_material.content else {
            return Err(refused("it does not hold exactly one certificate"));
        };
        let certificate = Certificate::from_der(content.raw_bytes.as_bytes())
            .map_err(|error| refused(format!("the certificate is not DER: {error}")))?;
        let certificate_der = to_der(&certificate)?;
        if certificate_der != content.raw_bytes.as_bytes() {
            return Err(refused("the certificate is not in the one form of DER"));
        }
        if !is_keyless(&certificate) {
            return Err(KeylessError::NotSupported("a certificate that names no identity provider".to_owned()));
        }
        check_key(&certificate)?;
        let (message, signature, subject) = match (&bundle.content, about) {
            (SignatureContent::MessageSignature(signed), Bundled::Message(message)) => {
                (message.to_vec(), of_message(signed)?, None)
            }
            (SignatureContent::DsseEnvelope(envelope), Bundled::Statement(payload)) => {
                let signature = of_statement(envelope, payload)?;
                (envelope_message(payload), signature, Some(subject(payload)?))
            }
            (_, Bundled::Message(_)) => return Err(refused("it holds no signature of a message")),
            (_, Bundled::Statement(_)) => return Err(refused("it holds no envelope with a statement")),
        };
        let timestamps = bundle.verification_material.timestamp_verification_data.rfc3161_timestamps.len();
        if timestamps > 1 {
            return Err(refused(format!("it holds {timestamps} timestamps")));
        }
        check_entry(&bundle.verification_material.tlog_entries, about, timestamps == 1)?;
        Ok(Self { certificate, certificate_der, message, signature, subject, bundle })
    }

    /// What the verifier is asked about.
    pub(crate) fn artifact(&self) -> Artifact<'_> {
        match &self.subject {
            Some(subject) => subject.into(),
            None => self.message.as_slice().into(),
        }
    }
}

/// The signature over a message, if it is said to be made with SHA-256.
fn of_message(signed: &MessageSignature) -> Result<Vec<u8>, KeylessError> {
    match &signed.message_digest {
        Some(digest) if digest.algorithm != HashAlgorithm::Sha2256 => {
            Err(KeylessError::Weak(format!("a digest of type {}, not SHA-256", digest.algorithm)))
        }
        _ => Ok(signed.signature.as_bytes().to_vec()),
    }
}

/// The signature over the envelope of a statement.
fn of_statement(envelope: &DsseEnvelope, payload: &[u8]) -> Result<Vec<u8>, KeylessError> {
    if envelope.payload_type != PAYLOAD_TYPE || envelope.payload.as_bytes() != payload {
        return Err(KeylessError::Mismatch("it holds another statement".to_owned()));
    }
    Ok(envelope.signature.sig.as_bytes().to_vec())
}

/// The digest by which the verifier finds what a statement is about. What it is a digest of is asked where the statement is read.
fn subject(payload: &[u8]) -> Result<Sha256Hash, KeylessError> {
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|error| refused(format!("it holds no in-toto statement: {error}")))?;
    let digest = statement.subject.iter().find_map(|subject| subject.digest.sha256);
    digest.ok_or_else(|| refused("its statement has no subject with a SHA-256 digest"))
}

/// Whether there is one log entry, of a kind that says what was signed, with its proof and with a time.
fn check_entry(entries: &[TransparencyLogEntry], about: Bundled<'_>, is_stamped: bool) -> Result<(), KeylessError> {
    let untrusted = |what: &str| Err(KeylessError::Untrusted(format!("a log entry {what}")));
    let entry = match entries {
        [entry] => entry,
        [] => return Err(KeylessError::NoTime("a bundle without log entry".to_owned())),
        _ => return Err(refused(format!("it holds {} log entries", entries.len()))),
    };
    // A log of version 2 promises no time, and nothing but its checkpoint says how large it is.
    let is_v2 = match (entry.kind_version, about) {
        (KindVersion::HashedRekordV001, Bundled::Message(_)) | (KindVersion::DsseV001, Bundled::Statement(_)) => false,
        (KindVersion::HashedRekordV002, _) => true,
        (kind, _) => {
            let found = format!("a log entry of kind {} {} for what is signed", kind.kind(), kind.version());
            return Err(KeylessError::NotSupported(found));
        }
    };
    let Some(proof) = &entry.inclusion_proof else { return untrusted("without inclusion proof") };
    if proof.hashes.len() > MAX_PROOF_HASHES || proof.checkpoint.envelope().len() > MAX_CHECKPOINT_BYTES {
        return Err(refused("its inclusion proof is too long"));
    }
    let Some(checkpoint) = proof.checkpoint.checkpoint() else { return untrusted("whose checkpoint is missing") };
    // Of what is signed, the verifier compares the hash alone.
    if !is_v2 && checkpoint.tree_size() != proof.tree_size {
        return untrusted("whose checkpoint is of a tree of another size");
    }
    let is_promised = !is_v2 && entry.inclusion_promise.is_some() && entry.integrated_time.is_some();
    if !is_stamped && !is_promised {
        return Err(KeylessError::NoTime("a log entry whose time nobody has signed, and no timestamp".to_owned()));
    }
    Ok(())
}
