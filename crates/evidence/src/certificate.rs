//! What the certificate beside a signature says.

use der::{
    Encode as _,
    asn1::ObjectIdentifier,
    oid::db::{rfc5912::ID_EC_PUBLIC_KEY, rfc5912::SECP_256_R_1},
};
use sigstore_verify::{crypto::parse_certificate_info, types::DerCertificate};
use trust::{KeylessError, KeylessIdentity, MAX_IDENTITY_BYTES, MAX_ISSUER_BYTES};
use x509_cert::{Certificate, ext::pkix::SubjectAltName};

/// The issuer of an identity in certificates of Fulcio, as they had it first and as they have it now.
const ISSUERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1"), ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8")];

/// Whether a certificate is one of Fulcio: it says who vouched for the account.
pub(crate) fn is_keyless(certificate: &Certificate) -> bool {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    extensions.into_iter().any(|extension| ISSUERS.contains(&extension.extn_id))
}

/// W203 unless its key is one of ECDSA on P-256, which is what gitsign makes.
pub(crate) fn check_key(certificate: &Certificate) -> Result<(), KeylessError> {
    let key = &certificate.tbs_certificate.subject_public_key_info.algorithm;
    let curve = key.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    if key.oid == ID_EC_PUBLIC_KEY && curve == Some(SECP_256_R_1) {
        return Ok(());
    }
    Err(KeylessError::Weak(format!("a certificate for a key of type {}, not ECDSA on P-256", key.oid)))
}

/// The bytes of a certificate. They are those that were read: the message around it was compared with its one form.
pub(crate) fn to_der(certificate: &Certificate) -> Result<Vec<u8>, KeylessError> {
    certificate.to_der().map_err(|error| KeylessError::Malformed(format!("the certificate: {error}")))
}

/// Whom it names, if that is one name with one issuer.
pub(crate) fn identity(certificate: &Certificate, bytes: &[u8]) -> Result<KeylessIdentity, KeylessError> {
    let untrusted = |what: &str| KeylessError::Untrusted(format!("a certificate {what}"));
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let names = names.map_err(|error| KeylessError::Malformed(format!("the names of the certificate: {error}")))?;
    match names {
        Some((_critical, SubjectAltName(names))) if names.len() == 1 => {}
        _ => return Err(untrusted("that is not for exactly one name")),
    }
    let said = parse_certificate_info(&DerCertificate::from_bytes(bytes))
        .map_err(|error| KeylessError::Malformed(error.to_string()))?;
    let identity = said.identity.ok_or_else(|| untrusted("whose name is no e-mail address and no URI"))?;
    let issuer = said.issuer.ok_or_else(|| untrusted("that does not say who vouched for its name"))?;
    if issuer.len() > MAX_ISSUER_BYTES || identity.as_str().len() > MAX_IDENTITY_BYTES {
        return Err(untrusted("for a name that is too long"));
    }
    Ok(KeylessIdentity { issuer, identity: identity.as_str().to_owned() })
}
