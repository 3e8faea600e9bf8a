//! The CMS message of a commit signature: the message, its certificate, its log entry, its timestamp.
#![no_main]

use std::sync::LazyLock;

use evidence::KeylessSignatures;
use libfuzzer_sys::fuzz_target;
use trust::KeylessVerifier as _;

/// The trust root of the seeds that are good.
const TRUSTED_ROOT: &str = include_str!("../seeds/cms/trusted_root.json");

static VERIFIER: LazyLock<KeylessSignatures> =
    LazyLock::new(|| KeylessSignatures::by(TRUSTED_ROOT).expect("the seeds have a trust root"));

fuzz_target!(|cms: &[u8]| {
    let claimed = VERIFIER.claimed(cms);
    let verdict = |message: &[u8]| VERIFIER.verify(cms, message);
    let first = verdict(b"message\n");
    assert!(first.is_err() || verdict(b"another message\n").is_err(), "one signature holds for two messages");
    if let Ok(good) = first {
        assert_eq!(claimed.as_ref(), Some(&good.signer), "another account is claimed than the one that signed");
    }
});
