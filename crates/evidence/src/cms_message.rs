//! The CMS message of a commit signature, in the one form that gitsign writes.

use cms::{
    cert::CertificateChoices,
    content_info::{CmsVersion, ContentInfo},
    signed_data::{SignedData, SignerIdentifier, SignerInfo},
};
use der::{
    Decode, Encode as _,
    asn1::{ObjectIdentifier, OctetString},
    oid::db::{
        rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME},
        rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256},
    },
};
use sha2::{Digest as _, Sha256};
use trust::KeylessError;
use x509_cert::{Certificate, attr::Attributes, spki::AlgorithmIdentifierOwned};

use crate::certificate::{check_key, is_keyless};

/// The most bytes of a message: what [`trust::MAX_CMS_ARMOR_BYTES`] of armour can hold.
pub const MAX_CMS_BYTES: usize = trust::MAX_CMS_ARMOR_BYTES / 4 * 3;

/// Holds the entry of the transparency log.
const LOG_ENTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.3.1");
/// Holds a timestamp over the signature.
const TIMESTAMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14");
/// How a sequence begins that does not say how long it is: BER, as gpgsm writes it, and no DER.
const INDEFINITE: [u8; 2] = [0x30, 0x80];

/// A message, read and in its one form. Nothing in it is believed yet.
#[derive(Debug)]
pub(crate) struct CmsMessage {
    /// The one certificate.
    pub(crate) certificate: Certificate,
    /// What the signature is over: the signed attributes as a set.
    pub(crate) signed: Vec<u8>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    /// The log entry, as it was serialised.
    pub(crate) log_entry: Vec<u8>,
    /// The timestamp, if there is one.
    pub(crate) timestamp: Option<Vec<u8>>,
}

fn malformed(what: impl Into<String>) -> KeylessError {
    KeylessError::Malformed(what.into())
}

fn unreadable(error: der::Error) -> KeylessError {
    malformed(format!("not DER: {error}"))
}

impl CmsMessage {
    /// Reads a message that must be about `message`.
    pub(crate) fn parse(cms: &[u8], message: &[u8]) -> Result<Self, KeylessError> {
        let data = signed_data(cms)?;
        let (certificate, signer) = only_one_each(&data)?;
        if data.crls.is_some() {
            return Err(malformed("it holds revocation lists"));
        }
        if data.encap_content_info.econtent_type != ID_DATA || data.encap_content_info.econtent.is_some() {
            return Err(malformed("it is not the detached signature of plain data"));
        }
        let SignerIdentifier::IssuerAndSerialNumber(sid) = &signer.sid else {
            return Err(malformed("its signer is not named by issuer and serial number"));
        };
        let named = &certificate.tbs_certificate;
        if sid.issuer != named.issuer || sid.serial_number != named.serial_number {
            return Err(malformed("its signer is not the one of its certificate"));
        }
        if data.version != CmsVersion::V1 || signer.version != CmsVersion::V1 {
            return Err(malformed("it is not of version 1"));
        }
        check_algorithms(&data, &signer)?;
        check_key(&certificate)?;
        let signed = signed_attributes(&signer, message)?;
        let (log_entry, timestamp) = unsigned_attributes(&signer)?;
        Ok(Self { signed, signature: signer.signature.into_bytes(), log_entry, timestamp, certificate })
    }

    /// The certificate of a message, if there is exactly one.
    pub(crate) fn certificate(cms: &[u8]) -> Option<Certificate> {
        signed_data(cms).and_then(|data| only_one_each(&data)).ok().map(|(certificate, _signer)| certificate)
    }
}

/// Splits a message, which must be what encoding its parts again gives.
fn signed_data(cms: &[u8]) -> Result<SignedData, KeylessError> {
    if cms.len() > MAX_CMS_BYTES {
        return Err(malformed(format!("{} bytes are more than {MAX_CMS_BYTES}", cms.len())));
    }
    if cms.starts_with(&INDEFINITE) {
        return Err(not_keyless());
    }
    let outer = ContentInfo::from_der(cms).map_err(unreadable)?;
    if outer.content_type != ID_SIGNED_DATA {
        return Err(malformed("it is no signature"));
    }
    let inner = outer.content.to_der().map_err(unreadable)?;
    let data = SignedData::from_der(&inner).map_err(unreadable)?;
    if data.to_der().map_err(unreadable)? != inner || outer.to_der().map_err(unreadable)? != cms {
        return Err(malformed("it is not in the one form of DER"));
    }
    Ok(data)
}

/// What says that S/MIME is meant: a signature without any certificate of Fulcio.
fn not_keyless() -> KeylessError {
    KeylessError::NotSupported("an S/MIME signature, which is not supported".to_owned())
}

/// The certificate and the signer, where there is one of each.
fn only_one_each(data: &SignedData) -> Result<(Certificate, SignerInfo), KeylessError> {
    let certificates: Vec<&Certificate> = data
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .filter_map(|one| match one {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    if !certificates.is_empty() && !certificates.iter().any(|certificate| is_keyless(certificate)) {
        return Err(not_keyless());
    }
    let count = data.certificates.as_ref().map_or(0, |set| set.0.len());
    let (certificate, 1) = (certificates.first(), count) else {
        return Err(malformed(format!("it holds {count} certificates")));
    };
    let (signer, 1) = (data.signer_infos.0.get(0), data.signer_infos.0.len()) else {
        return Err(malformed(format!("it is by {} signers", data.signer_infos.0.len())));
    };
    let both = certificate.zip(signer).map(|(certificate, signer)| (Certificate::clone(certificate), signer.clone()));
    both.ok_or_else(|| malformed("its one certificate is of another kind"))
}

/// W203 for every other digest and signature than gitsign makes.
fn check_algorithms(data: &SignedData, signer: &SignerInfo) -> Result<(), KeylessError> {
    let is_sha256 = |digest: &AlgorithmIdentifierOwned| {
        digest.oid == ID_SHA_256 && digest.parameters.as_ref().is_none_or(der::Any::is_null)
    };
    let other = data.digest_algorithms.iter().chain([&signer.digest_alg]).find(|digest| !is_sha256(digest));
    if let Some(other) = other {
        return Err(KeylessError::Weak(format!("a digest of type {}, not SHA-256", other.oid)));
    }
    let algorithm = &signer.signature_algorithm;
    if algorithm.oid != ECDSA_WITH_SHA_256 || algorithm.parameters.is_some() {
        return Err(KeylessError::Weak(format!("a signature of type {}, not ECDSA with SHA-256", algorithm.oid)));
    }
    if data.digest_algorithms.len() != 1 {
        return Err(malformed(format!("it names {} digests", data.digest_algorithms.len())));
    }
    Ok(())
}

/// The signed attributes as they are signed: what they are about, when the signer says that it was, and the digest.
fn signed_attributes(signer: &SignerInfo, message: &[u8]) -> Result<Vec<u8>, KeylessError> {
    let attributes = signer.signed_attrs.as_ref().ok_or_else(|| malformed("it has no signed attributes"))?;
    only(attributes, &[ID_CONTENT_TYPE, ID_SIGNING_TIME, ID_MESSAGE_DIGEST])?;
    if value::<ObjectIdentifier>(attributes, ID_CONTENT_TYPE)? != Some(ID_DATA) {
        return Err(malformed("it is not signed as plain data"));
    }
    let digest: Option<OctetString> = value(attributes, ID_MESSAGE_DIGEST)?;
    let digest = digest.ok_or_else(|| malformed("no digest is signed"))?;
    if digest.as_bytes() != Sha256::digest(message).as_slice() {
        return Err(KeylessError::Mismatch("its digest is that of other bytes".to_owned()));
    }
    attributes.to_der().map_err(unreadable)
}

/// The log entry, and the timestamp if there is one; W205 without the former.
fn unsigned_attributes(signer: &SignerInfo) -> Result<(Vec<u8>, Option<Vec<u8>>), KeylessError> {
    let none = Attributes::default();
    let attributes = signer.unsigned_attrs.as_ref().unwrap_or(&none);
    only(attributes, &[LOG_ENTRY, TIMESTAMP])?;
    let entry: Option<OctetString> = value(attributes, LOG_ENTRY)?;
    let entry = entry.ok_or_else(|| {
        KeylessError::NoTime("a keyless signature without its log entry, as gitsign makes it in online mode".to_owned())
    })?;
    let timestamp: Option<der::Any> = value(attributes, TIMESTAMP)?;
    let timestamp = timestamp.map(|token| token.to_der().map_err(unreadable)).transpose()?;
    Ok((entry.into_bytes(), timestamp))
}

/// Refuses attributes other than these, and any of them twice: what is not looked at could be anything.
fn only(attributes: &Attributes, known: &[ObjectIdentifier]) -> Result<(), KeylessError> {
    for (index, attribute) in attributes.iter().enumerate() {
        let again = attributes.iter().take(index).any(|before| before.oid == attribute.oid);
        if again || !known.contains(&attribute.oid) {
            return Err(malformed(format!("it has the attribute {} in addition", attribute.oid)));
        }
    }
    Ok(())
}

/// The one value of an attribute.
fn value<T: for<'a> Decode<'a>>(attributes: &Attributes, oid: ObjectIdentifier) -> Result<Option<T>, KeylessError> {
    let Some(attribute) = attributes.iter().find(|attribute| attribute.oid == oid) else { return Ok(None) };
    let (Some(value), 1) = (attribute.values.get(0), attribute.values.len()) else {
        return Err(malformed(format!("the attribute {oid} has {} values", attribute.values.len())));
    };
    let bytes = value.to_der().map_err(unreadable)?;
    T::from_der(&bytes).map(Some).map_err(unreadable)
}
