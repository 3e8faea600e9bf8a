//! What a server lists over ssh before it is asked anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let branch = "refs/heads/main".parse().expect("a branch");
    if let Some(commit) = git::fuzzing::advertised(answer, &branch) {
        let named = format!("{commit} refs/heads/main");
        let is_there = answer.windows(named.len()).any(|part| part.eq_ignore_ascii_case(named.as_bytes()));
        assert!(is_there, "the commit was not named by the server");
    }
});
