//! Armour, SSH signature blob, what security keys and certificates add to it, and signature check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Crypto, NAMESPACE_GIT, verify_sshsig};

fuzz_target!(|armored: &[u8]| {
    let first = verify_sshsig(armored, b"message", NAMESPACE_GIT, &Crypto::default());
    let second = verify_sshsig(armored, b"another message", NAMESPACE_GIT, &Crypto::default());
    assert!(first.is_err() || second.is_err(), "one signature holds for two messages");
    if let Ok(signature) = first {
        let in_a_token = signature.key().algorithm().is_security_key();
        assert_eq!(signature.assertion().is_some(), in_a_token, "a token asserts, and nothing else does");
        if let Some(certificate) = signature.certificate() {
            assert_eq!(certificate.key(), signature.key(), "signed by another key than the certified one");
        }
    }
});
