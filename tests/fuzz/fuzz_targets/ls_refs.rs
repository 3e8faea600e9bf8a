//! What a server answers to `ls-refs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let branch = "refs/heads/main".parse().expect("a branch");
    if let Some(commit) = git::fuzzing::ls_refs(answer, &branch) {
        let named = format!("{commit} refs/heads/main");
        let is_there = answer.windows(named.len()).any(|part| part.eq_ignore_ascii_case(named.as_bytes()));
        assert!(is_there, "the commit was not named by the server");
    }
});
