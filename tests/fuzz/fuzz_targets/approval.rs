//! What an approval says, out of its envelope: its one form comes out as it went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Approval, envelope};

fuzz_target!(|text: &[u8]| {
    let Ok(approval) = Approval::of_envelope(text) else { return };
    let again = envelope(&approval.payload(), &[("a", "signature")]);
    assert_eq!(Approval::of_envelope(again.as_bytes()), Ok(approval), "an approval that says something else when it is written");
});
