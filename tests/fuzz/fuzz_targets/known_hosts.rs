//! The host keys of a Secret.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lines = git::fuzzing::known_hosts(text, "git.example.com").unwrap_or_default();
    assert!(lines <= text.lines().count(), "more lines than there are");
});
