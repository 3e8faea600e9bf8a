//! The manifest of a TrustRoot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::TrustRootSpec;

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    match TrustRootSpec::from_manifest(bytes) {
        Ok(root) => assert!(root.check().is_empty(), "a TrustRoot that is refused was read"),
        Err(errors) => assert!(!errors.is_empty(), "refused without a reason"),
    }
});
