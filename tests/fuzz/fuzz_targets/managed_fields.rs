//! Who an object's own bookkeeping says wrote a field: never a panic, and no text that moves a terminal's cursor.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for field in ["spec.replicas", "spec.template.spec.containers[name=web].image", "metadata.labels", "rules[0]"] {
        if let Some(cluster::Claims::Named(claims)) = cluster::fuzzing::managed_fields(data, field) {
            for claim in claims {
                assert!(!claim.manager.chars().any(char::is_control));
                assert!(claim.manager.chars().count() <= 201);
            }
        }
    }
});
