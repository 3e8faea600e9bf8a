//! Armour, SSH signature blob and signature check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Crypto, NAMESPACE_GIT, verify_sshsig};

fuzz_target!(|armored: &[u8]| {
    let first = verify_sshsig(armored, b"message", NAMESPACE_GIT, &Crypto::default());
    let second = verify_sshsig(armored, b"another message", NAMESPACE_GIT, &Crypto::default());
    assert!(first.is_err() || second.is_err(), "one signature holds for two messages");
});
