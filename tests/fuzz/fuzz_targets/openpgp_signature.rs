//! Packets of a detached OpenPGP signature, in either armour; what is no packet is tried as armour.
#![no_main]

use std::sync::LazyLock;

use fuzz::openpgp::{AT, CERTIFICATES, armored};
use libfuzzer_sys::fuzz_target;
use trust::{
    Crypto,
    openpgp::{Keyring, OpenPgpVerifier as _, Signature},
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::parse(CERTIFICATES).expect("the seeds are certificates"));

fuzz_target!(|bytes: &[u8]| {
    let _refused = Signature::parse(bytes);
    for checksum in [true, false] {
        let text = armored(bytes, checksum);
        let verdict = |message: &[u8]| KEYRING.verify_openpgp(&text, message, &Crypto::default(), &AT);
        assert!(
            verdict(b"message\n").is_err() || verdict(b"another message\n").is_err(),
            "one signature holds for two messages"
        );
    }
});
