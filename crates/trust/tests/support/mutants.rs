//! What somebody without a key makes of a signed commit.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a fixture that cannot be made fails its test")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]
#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

/// Replaces the only occurrence of `old`.
pub fn edit(raw: &[u8], old: &str, new: impl AsRef<[u8]>) -> Vec<u8> {
    let places: Vec<_> = raw.windows(old.len()).enumerate().filter(|(_, bytes)| *bytes == old.as_bytes()).collect();
    assert_eq!(places.len(), 1, "{old:?} in {}", String::from_utf8_lossy(raw));
    let (before, rest) = raw.split_at(places[0].0);
    [before, new.as_ref(), rest.split_at(old.len()).1].concat()
}

/// The whole signature header with its continuation lines.
pub fn signature_header(raw: &[u8]) -> String {
    let (head, _message) = std::str::from_utf8(raw).unwrap().split_once("\n\n").unwrap();
    let lines = head.lines().skip_while(|line| !line.starts_with("gpgsig"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A commit with this signature, as git puts it in.
pub fn signed(unsigned: &[u8], armored: &[u8]) -> Vec<u8> {
    let armored = std::str::from_utf8(armored).unwrap().trim_end().replace('\n', "\n ");
    let text = std::str::from_utf8(unsigned).unwrap();
    text.replacen("\n\n", &format!("\ngpgsig {armored}\n\n"), 1).into_bytes()
}

/// The 13 mutants: each carries the signature of `good` in another place, or more than it, and is another object.
pub fn mutants(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let header = signature_header(good);
    let unsigned = edit(good, &header, b"");
    let tree = std::str::from_utf8(good).unwrap().lines().next().unwrap().to_owned() + "\n";
    let attacker = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4903\n";
    let end = header.lines().next_back().unwrap().trim_start();
    let message = header.trim_start_matches("gpgsig ").replace("\n ", "\n");
    let with = |old: &str, new: String| edit(good, old, new);
    vec![
        ("an extra header gpgsigX", with(&header, format!("{header}gpgsigX junk\n"))),
        ("junk gpgsig-sha256 before", with(&header, format!("gpgsig-sha256 junk\n{header}"))),
        ("junk gpgsig-sha256 after", with(&header, format!("{header}gpgsig-sha256 junk\n"))),
        ("gpgsig twice", with(&header, header.repeat(2))),
        ("garbage second", with(&header, format!("{header}gpgsig garbage\n"))),
        ("garbage first", with(&header, format!("gpgsig garbage\n{header}"))),
        ("signature in the message", [unsigned.as_slice(), message.as_bytes()].concat()),
        ("NUL and more after the message", [good, b"\0unsigned"].concat()),
        ("a second tree, the attacker's first", with(&tree, format!("{attacker}{tree}"))),
        ("a second tree, the attacker's second", with(&tree, format!("{tree}{attacker}"))),
        ("a blank after the armour", with(end, format!("{end} "))),
        ("gpgsig before author", edit(&unsigned, "author ", format!("{header}author "))),
        ("an extra blank continuation line", with(&header, format!("{header} \n"))),
    ]
}
