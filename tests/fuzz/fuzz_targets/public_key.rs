//! Public keys, as text and in their binary form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::PublicKey;

fuzz_target!(|bytes: &[u8]| {
    let as_text = std::str::from_utf8(bytes).ok().and_then(|text| PublicKey::parse(text).ok());
    for key in as_text.into_iter().chain(PublicKey::from_blob(bytes)) {
        assert_eq!(PublicKey::from_blob(key.blob()).as_ref(), Ok(&key), "the binary form is not the key's");
        assert_eq!(PublicKey::parse(&key.to_string()).as_ref(), Ok(&key), "the text is not the key's");
    }
});
