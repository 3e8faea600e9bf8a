//! The strict parser of raw commit objects, in both object formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{CommitId, CommitObject, ObjectFormat};

fuzz_target!(|raw: &[u8]| {
    let parsed = [ObjectFormat::Sha1, ObjectFormat::Sha256].map(|format| {
        let id = CommitId::of(format, raw).ok()?;
        let commit = CommitObject::parse(id, raw).ok()?;
        assert_eq!(commit.id, id);
        assert!(raw.ends_with(&commit.message), "the message is the end of the body");
        assert!(commit.payload.len() <= raw.len(), "a payload is a part of the body");
        assert!(commit.signature.is_some() || commit.payload == raw, "unsigned: the payload is the whole body");
        Some(commit)
    });
    assert!(parsed.iter().any(Option::is_none), "one body is a commit in both formats");
});
