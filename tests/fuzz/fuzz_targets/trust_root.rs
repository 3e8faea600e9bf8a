//! The manifest of a TrustRoot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::{RepoPath, parse_yaml};
use trust::TrustRootSpec;

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    let file: RepoPath = "trust-root.yaml".parse().expect("a path");
    let Ok(documents) = parse_yaml(&file, bytes) else { return };
    for document in documents {
        match TrustRootSpec::from_manifest(&file, &document.root) {
            Ok(root) => assert!(root.check().is_empty(), "a TrustRoot that is refused was read"),
            Err(errors) => assert!(!errors.is_empty(), "refused without a reason"),
        }
    }
});
