//! The trust file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::TrustFile;

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    match TrustFile::parse(bytes) {
        Ok(file) => assert!(!file.against_predecessor(&file).is_empty(), "a trust file succeeded itself"),
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
    }
});
