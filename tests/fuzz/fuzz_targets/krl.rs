//! Revocation files of OpenSSH: key revocation lists and lists of keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{MAX_REVOCATIONS, Revocations, RevokedItem};

fuzz_target!(|bytes: &[u8]| {
    let Ok(revocations) = Revocations::parse(bytes) else { return };
    assert!(revocations.items().count() <= MAX_REVOCATIONS, "more than the limit");
    for item in revocations.items() {
        if let RevokedItem::Serials { from, to, .. } = item {
            assert!((1..=*to).contains(from), "a range of nothing, or serial 0");
        }
        assert!(!item.to_string().contains('\n'), "an item is not one line");
    }
});
