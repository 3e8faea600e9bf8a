//! The armour of signatures of all formats, in the header of a commit: it has one form, so no two texts are one signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{ArmorFormat, CommitId, CommitObject, ObjectFormat};

const HEAD: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@b> 1767225600 +0000\ncommitter a <a@b> 1767225600 +0000\n";

/// A commit with this signature.
fn commit(armour: &[u8]) -> Vec<u8> {
    let folded = armour.strip_suffix(b"\n").unwrap_or(armour);
    let lines: Vec<&[u8]> = folded.split(|byte| *byte == b'\n').collect();
    [HEAD.as_bytes(), b"gpgsig ", &lines.join(b"\n ".as_slice()), b"\n\nmessage\n"].concat()
}

fuzz_target!(|armour: &[u8]| {
    let parse = |armour: &[u8]| {
        let raw = commit(armour);
        CommitObject::parse(CommitId::of(ObjectFormat::Sha1, &raw).ok()?, &raw).ok()
    };
    let Some(object) = parse(armour) else { return };
    let Some(signature) = object.signature else { return };
    assert!(ArmorFormat::of(&signature).is_some(), "a signature of no format");
    // A line more at its end, a space, another line end: each is another text, and none of them is armour.
    for more in [b"\n\n".as_slice(), b" ", b"\r"] {
        let text = signature.strip_suffix(b"\n").unwrap_or(&signature);
        assert!(parse(&[text, more].concat()).is_none(), "two forms of one signature");
    }
});
