//! The strict parser of raw tree objects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::RepoPath;

fuzz_target!(|raw: &[u8]| {
    let Some(names) = git::fuzzing::tree(raw) else { return };
    assert!(names.is_sorted(), "the names are in no order");
    for name in names {
        assert!(RepoPath::root().join(&name).is_ok(), "a name is no segment of a path");
    }
});
