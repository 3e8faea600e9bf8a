//! YAML as kubectl reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::{RepoPath, canonical_json, parse_yaml};

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    let file: RepoPath = "a.yaml".parse().unwrap();
    let Ok(documents) = parse_yaml(&file, bytes) else { return };
    for document in documents {
        let json = canonical_json(&document.root.to_json());
        let again: serde_json::Value = serde_json::from_slice(&json).expect("canonical JSON is JSON");
        assert_eq!(canonical_json(&again), json, "canonical JSON has one form");
    }
});
