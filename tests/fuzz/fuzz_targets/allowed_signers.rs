//! Allowed-signers files of OpenSSH.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::AllowedSigners;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = text.lines().count();
    match AllowedSigners::parse(text) {
        Ok(_) => assert!(AllowedSigners::parse(&format!("# a note\n\n{text}")).is_ok(), "a comment changes nothing"),
        Err(error) => assert!(error.line <= lines, "the line that is named is not there"),
    }
});
