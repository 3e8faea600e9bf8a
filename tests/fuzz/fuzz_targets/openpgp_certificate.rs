//! OpenPGP certificates, binary and armoured, and what they vouch for.
#![no_main]

use fuzz::openpgp::{AT, SIGNATURE, armored};
use libfuzzer_sys::fuzz_target;
use trust::{
    Crypto,
    openpgp::{Certificate, Keyring, OpenPgpVerifier as _, Signature, split_keyring},
};

fuzz_target!(|bytes: &[u8]| {
    let _one = Certificate::parse(bytes);
    let Ok(keyring) = Keyring::parse(bytes) else { return };
    let split = split_keyring(bytes).expect("a keyring is split");
    let again: Vec<_> = split.iter().filter_map(|one| Certificate::parse(one.as_bytes()).ok()).collect();
    assert_eq!(again, keyring.certificates(), "another certificate after the split");
    let text = armored(SIGNATURE, true);
    let issuer = Signature::parse(&text).expect("the seed is a signature").issuer();
    let Ok(verified) = keyring.verify_openpgp(&text, b"message\n", &Crypto::default(), &AT) else { return };
    let holder = keyring.certificate(&verified.certificate()).expect("one of the keyring");
    assert!(holder.keys().any(|key| key == issuer), "a certificate vouches for a key that it does not hold");
    assert!(keyring.verify_openpgp(&text, b"another\n", &Crypto::default(), &AT).is_err(), "two messages");
});
