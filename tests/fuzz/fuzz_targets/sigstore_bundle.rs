//! Sigstore bundles: JSON around a certificate, a signature of a message or an envelope, a log entry, a timestamp.
#![no_main]

use std::sync::LazyLock;

use evidence::KeylessSignatures;
use libfuzzer_sys::fuzz_target;
use trust::{Bundled, KeylessVerifier as _, bundled_statement};

/// The trust root of the seeds that are good.
const TRUSTED_ROOT: &str = include_str!("../seeds/sigstore_bundle/trusted_root.json");

static VERIFIER: LazyLock<KeylessSignatures> =
    LazyLock::new(|| KeylessSignatures::by(TRUSTED_ROOT).expect("the seeds have a trust root"));

fuzz_target!(|text: &[u8]| {
    let is_good = |about| VERIFIER.verify_bundle(text, about).is_ok();
    let is_of_message = is_good(Bundled::Message(b"message\n"));
    assert!(!is_of_message || !is_good(Bundled::Message(b"another message\n")), "one signature holds for two messages");
    let Ok(Some(payload)) = bundled_statement(text) else { return };
    let is_of_statement = is_good(Bundled::Statement(&payload));
    assert!(!is_of_statement || !is_of_message, "one bundle is about a statement and a message");
    let other = [payload.as_slice(), b" "].concat();
    assert!(!is_good(Bundled::Statement(&other)), "a statement is believed that is not inside");
});
