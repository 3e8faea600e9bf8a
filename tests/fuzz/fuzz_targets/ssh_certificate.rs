//! Certificates of OpenSSH, as text and in their binary form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Certificate, PublicKey};

fuzz_target!(|bytes: &[u8]| {
    let as_text = std::str::from_utf8(bytes).ok().and_then(|text| Certificate::parse(text).ok());
    for certificate in as_text.into_iter().chain(Certificate::from_blob(bytes)) {
        assert_eq!(
            Certificate::from_blob(certificate.blob()).as_ref(),
            Ok(&certificate),
            "the binary form is not its own"
        );
        assert!(PublicKey::from_blob(certificate.blob()).is_err(), "a certificate passes for a key");
        assert!(!certificate.principals().is_empty(), "a certificate for anybody");
    }
});
