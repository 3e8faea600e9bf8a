//! Entries of the audit log.
#![no_main]

use audit::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::from_canonical_json(bytes) {
        assert_eq!(entry.to_canonical_json().expect("what was read can be written"), bytes, "an entry has one form");
    }
});
