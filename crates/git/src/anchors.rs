//! The certificates that a server of https is trusted by.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::remote::RemoteError;

/// The largest bundle of certificates, in bytes: 500 authorities (there are about 150 public ones) of 2 KiB each.
pub const MAX_CA_BYTES: usize = 1 << 20;

/// The certificates of a bundle.
pub(crate) fn anchors_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let refuse = |reason: String| RemoteError::Anchors { reason };
    if pem.len() > MAX_CA_BYTES {
        return Err(refuse("the bundle is larger than 1 MiB".to_owned()));
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("it is not PEM ({error})")))?;
    if certificates.is_empty() {
        return Err(refuse("it holds no certificate".to_owned()));
    }
    let mut store = rustls::RootCertStore::empty();
    for (position, certificate) in certificates.iter().enumerate() {
        store
            .add(certificate.clone())
            .map_err(|error| refuse(format!("certificate {} of it is malformed ({error})", position + 1)))?;
    }
    Ok(certificates)
}

/// The system's bundle; one unreadable file among many does not take the others along.
pub(crate) fn system_anchors() -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a part of the system's trust anchors could not be read");
    }
    if found.certs.is_empty() {
        return Err(RemoteError::Anchors { reason: "none is configured and the system has none either".to_owned() });
    }
    Ok(found.certs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_that_is_none_is_refused() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(anchors_from_pem(pem).is_err());
        }
    }
}
