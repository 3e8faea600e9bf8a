//! The strict parser of raw tag objects, in both object formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{ObjectFormat, TagId, TagObject};

fuzz_target!(|raw: &[u8]| {
    let parsed = [ObjectFormat::Sha1, ObjectFormat::Sha256].map(|format| {
        let id = TagId::of(format, raw).ok()?;
        let tag = TagObject::parse(id, raw).ok()?;
        assert_eq!((tag.id, tag.commit.format()), (id, format));
        assert_eq!([tag.payload.as_slice(), &tag.signature].concat(), raw, "payload and signature are the whole body");
        assert!(tag.signature_format().is_some(), "a signature has a format");
        Some(tag)
    });
    assert!(parsed.iter().any(Option::is_none), "one body is a tag in both formats");
});
