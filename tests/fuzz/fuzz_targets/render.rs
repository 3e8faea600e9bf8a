//! A folder with one file, rendered as plain YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::{BuiltinScopes, ClusterId, RenderOptions, RepoPath, Scope, ScopeLookup as _, declared, render_plain};

fuzz_target!(init: fuzz::let_the_yaml_parser_give_up(), |bytes: &[u8]| {
    let file: RepoPath = "apps/a.yaml".parse().unwrap();
    let options = RenderOptions {
        cluster: ClusterId::new("fuzz"),
        default_namespace: "shop",
        target_namespace: Some("shop"),
        scopes: &BuiltinScopes,
        sensitive_kinds: &[],
    };
    let rendered = render_plain([(&file, bytes)], &options);
    let declared = declared(&file, bytes);
    let Ok(set) = rendered else { return };
    let declared = declared.expect("what renders is declared");
    assert_eq!(set.len(), declared.len(), "the source gate sees every object that is applied");
    for object in set.iter() {
        let reference = &object.object.reference;
        assert!(!object.sources.is_empty());
        if BuiltinScopes.scope(&reference.group_kind) == Some(Scope::Namespaced) {
            assert_eq!(reference.namespace.as_deref(), Some("shop"), "an object left the target namespace");
        }
    }
});
