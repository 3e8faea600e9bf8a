//! The strict parser of raw commit objects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{CommitId, CommitObject, ObjectFormat};

fuzz_target!(|raw: &[u8]| {
    let Ok(id) = CommitId::of(ObjectFormat::Sha256, raw) else { return };
    if let Ok(commit) = CommitObject::parse(id, raw) {
        assert_eq!(commit.id, id);
        assert!(raw.ends_with(&commit.message), "the message is the end of the body");
        assert!(commit.payload.len() <= raw.len(), "a payload is a part of the body");
        assert!(commit.signature.is_some() || commit.payload == raw, "unsigned: the payload is the whole body");
    }
});
