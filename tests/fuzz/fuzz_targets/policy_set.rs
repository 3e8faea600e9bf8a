//! Policies and bindings as YAML, compiled.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use manifest::RepoPath;
use policy::PolicySet;

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    let file: RepoPath = "policies/a.yaml".parse().unwrap();
    let files = BTreeMap::from([(file, bytes.to_vec())]);
    match PolicySet::compile(&files) {
        Ok(set) => assert_eq!(PolicySet::compile(&files).expect("as before").digest(), set.digest()),
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
    }
});
