//! Signed notes and the keys that open them.
#![no_main]

use std::sync::OnceLock;

use audit::{Checkpoint, LogKey, LogPublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static KEY: OnceLock<LogKey> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = KEY.get_or_init(|| LogKey::generate("writ.test/log").expect("a key"));
    assert!(Checkpoint::parse(text, key.public()).is_err(), "a note was forged");
    if let Ok(other) = LogPublicKey::parse(text) {
        assert!(Checkpoint::parse(text, &other).is_err());
    }
});
