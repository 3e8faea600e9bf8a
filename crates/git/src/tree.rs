//! Raw tree objects, read strictly: what could mean different things to different readers is refused.

use std::collections::HashMap;

use git2::Oid;
use trust::{BadEntry, EntryMode, ObjectFormat};
use unicode_normalization::UnicodeNormalization as _;

/// The longest name, in bytes: that of Linux, macOS and Windows; a longer one cannot be checked out to be looked at.
const MAX_NAME_BYTES: usize = 255;

/// What a name in a tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file with its blob.
    File(EntryMode, Oid),
    /// A folder with its tree.
    Folder(Oid),
}

/// Why a tree is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeError {
    /// Not a tree object at all.
    Malformed,
    /// One entry is refused.
    Entry {
        /// Its name, as [`printable`] has it.
        name: String,
        /// Why.
        reason: BadEntry,
    },
}

/// The entries of a raw tree in the order of their names. Form: `<octal mode> <name>\0<20 or 32 bytes>`.
///
/// Git looks a name up by going through the entries in order, and does not find one that is out of order: a reviewer
/// would not see it.
pub(crate) fn parse(mut raw: &[u8], format: ObjectFormat) -> Result<Vec<(String, Node)>, TreeError> {
    let mut entries = Vec::new();
    let mut seen = HashMap::new();
    let mut last: Option<(&str, Node)> = None;
    while !raw.is_empty() {
        let (mode, rest) = split(raw, b' ')?;
        let (name, rest) = split(rest, 0)?;
        let (id, rest) = rest.split_at_checked(format.id_bytes()).ok_or(TreeError::Malformed)?;
        let id = Oid::from_bytes(id).map_err(|_| TreeError::Malformed)?;
        let refuse = |reason| TreeError::Entry { name: printable(name), reason };
        let text = std::str::from_utf8(name).ok().filter(|name| allowed(name)).ok_or_else(|| refuse(BadEntry::Name))?;
        let node = match mode {
            b"100644" => Node::File(EntryMode::File, id),
            b"100755" => Node::File(EntryMode::Executable, id),
            b"40000" => Node::Folder(id),
            b"120000" => return Err(refuse(BadEntry::Symlink)),
            b"160000" => return Err(refuse(BadEntry::Submodule)),
            _ => return Err(refuse(BadEntry::Mode)),
        };
        if let Some(other) = seen.insert(folded(text), text) {
            return Err(refuse(BadEntry::Collision { with: other.as_bytes().escape_ascii().to_string() }));
        }
        if let Some((before, _)) = last.filter(|before| !in_order(*before, (text, node))) {
            return Err(refuse(BadEntry::Order { after: before.escape_default().to_string() }));
        }
        last = Some((text, node));
        entries.push((text.to_owned(), node));
        raw = rest;
    }
    entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}

/// Git's order: by bytes, the name of a folder as if it ended with a slash.
fn in_order(one: (&str, Node), other: (&str, Node)) -> bool {
    key(one).lt(key(other))
}

fn key((name, node): (&str, Node)) -> impl Iterator<Item = u8> {
    name.bytes().chain(matches!(node, Node::Folder(_)).then_some(b'/'))
}

/// A name for people, unprintable bytes escaped. Of one that is too long, and may be as long as its tree, as much as a name may
/// have: at most 255 × 4 bytes (`\xff`) and the mark of the cut.
fn printable(name: &[u8]) -> String {
    match name.split_at_checked(MAX_NAME_BYTES) {
        Some((head, rest)) if !rest.is_empty() => format!("{}…", head.escape_ascii()),
        _ => name.escape_ascii().to_string(),
    }
}

fn split(bytes: &[u8], at: u8) -> Result<(&[u8], &[u8]), TreeError> {
    let position = bytes.iter().position(|byte| *byte == at).ok_or(TreeError::Malformed)?;
    let (head, tail) = bytes.split_at_checked(position).ok_or(TreeError::Malformed)?;
    Ok((head, tail.split_first().ok_or(TreeError::Malformed)?.1))
}

/// True for a name that is one segment of a path on every file system.
fn allowed(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name != "."
        && name != ".."
        && !name.chars().any(|character| manifest::is_unprintable(character) || matches!(character, '/' | '\\'))
        && !is_git_folder(name)
}

/// True for the names that HFS+ or NTFS take for `.git` (CVE-2014-9390 and what followed).
fn is_git_folder(name: &str) -> bool {
    let is_padding =
        |rest: &str| rest.split(':').next().unwrap_or_default().chars().all(|character| matches!(character, ' ' | '.'));
    // Nearly all names end here, without a copy.
    if name.is_ascii() {
        return [".git", "git~1"].into_iter().any(|folder| {
            name.split_at_checked(folder.len())
                .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(folder) && is_padding(rest))
        });
    }
    let ignored_by_hfs = |character: &char| matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let bare: String =
        name.chars().filter(|character| !ignored_by_hfs(character)).flat_map(char::to_lowercase).collect();
    bare.strip_prefix(".git").or_else(|| bare.strip_prefix("git~1")).is_some_and(is_padding)
}

/// What file systems that fold case or normalise compare names by.
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Upper case first: it folds what lower case alone keeps apart (ß and ss, ſ and s, ς and σ).
    name.nfc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut raw = Vec::new();
        for (mode, name) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(&[7; 20]);
        }
        raw
    }

    fn read(raw: &[u8]) -> Result<Vec<(String, Node)>, TreeError> {
        parse(raw, ObjectFormat::Sha1)
    }

    fn check(entries: &[(&str, &[u8])], expected: Result<&[&str], BadEntry>) {
        match (read(&tree(entries)), expected) {
            (Ok(found), Ok(names)) => {
                assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
            }
            (Err(TreeError::Entry { reason, .. }), Err(wanted)) => assert_eq!(reason, wanted, "{entries:?}"),
            (found, _) => panic!("{entries:?}: {found:?}"),
        }
    }

    #[test]
    fn files_and_folders_in_order_of_name() {
        check(&[], Ok(&[]));
        check(&[("100644", b"a.b"), ("40000", b"a"), ("100755", b"z")], Ok(&["a", "a.b", "z"]));
        check(
            &[("100644", b".github"), ("100644", b".gitignore"), ("100644", "\u{fc}.yaml".as_bytes())],
            Ok(&[".github", ".gitignore", "\u{fc}.yaml"]),
        );
    }

    #[test]
    fn entries_that_are_not_in_the_order_of_git() {
        let after = |name: &str| Err(BadEntry::Order { after: name.to_owned() });
        check(&[("100644", b"z.yaml"), ("100644", b"a.yaml")], after("z.yaml"));
        check(&[("40000", b"a"), ("100644", b"a.b")], after("a"));
        check(&[("100644", b"a"), ("40000", b"c"), ("100644", b"b")], after("c"));
        check(&[("100644", b"a-"), ("40000", b"a"), ("100644", b"a0")], Ok(&["a", "a-", "a0"]));
        check(&[("100644", b"a"), ("100644", b"a-")], Ok(&["a", "a-"]));
    }

    #[test]
    fn modes_that_are_no_file() {
        check(&[("120000", b"a")], Err(BadEntry::Symlink));
        check(&[("160000", b"a")], Err(BadEntry::Submodule));
        for mode in ["100664", "0100644", "040000", "100600", "", "100000", "40755", "777"] {
            check(&[(mode, b"a")], Err(BadEntry::Mode));
        }
    }

    #[test]
    fn names_that_are_no_segment() {
        for name in [
            &b""[..],
            b".",
            b"..",
            b".git",
            b".GIT",
            b".Git ",
            b".git.",
            b".git. .",
            b".git::$INDEX_ALLOCATION",
            b"git~1",
            b"GIT~1",
            ".g\u{200c}it".as_bytes(),
            "\u{feff}.git".as_bytes(),
            b"a/b",
            b"a\\b",
            b"a\nb",
            b"a\x7f",
            "a\u{200b}".as_bytes(),
            "a\u{202e}lmay.b".as_bytes(),
            "a\u{2029}b".as_bytes(),
            "a\u{2067}".as_bytes(),
            b"\xff",
        ] {
            check(&[("100644", name)], Err(BadEntry::Name));
        }
        check(&[("100644", &[b'n'; 256])], Err(BadEntry::Name));
        assert!(read(&tree(&[("100644", &[b'n'; 255])])).is_ok());
    }

    #[test]
    fn a_name_that_is_too_long_is_not_told_whole() {
        for (byte, told) in [(b'n', "n"), (0xff, "\\xff")] {
            let refused = read(&tree(&[("100644", &vec![byte; 9 << 20])]));
            let name = format!("{}…", told.repeat(255));
            assert_eq!(refused, Err(TreeError::Entry { name, reason: BadEntry::Name }));
        }
    }

    #[test]
    fn names_that_are_one_name_elsewhere() {
        for (one, other) in [
            ("policies", "Policies"),
            ("a", "a"),
            ("\u{e9}", "e\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
            ("\u{212a}", "k"),
        ] {
            check(
                &[("40000", one.as_bytes()), ("100644", other.as_bytes())],
                Err(BadEntry::Collision { with: one.as_bytes().escape_ascii().to_string() }),
            );
        }
    }

    #[test]
    fn ids_are_as_long_as_the_format_has_them() {
        let mut raw = b"100644 a\0".to_vec();
        raw.extend_from_slice(&[7; 32]);
        assert_eq!(parse(&raw, ObjectFormat::Sha1), Err(TreeError::Malformed));
        let entries = parse(&raw, ObjectFormat::Sha256).unwrap();
        assert!(matches!(entries.as_slice(), [(_, Node::File(_, id))] if id.to_string() == "07".repeat(32)));
        raw.pop();
        assert_eq!(parse(&raw, ObjectFormat::Sha256), Err(TreeError::Malformed));
    }

    #[test]
    fn bytes_that_are_no_tree() {
        let whole = tree(&[("100644", b"a")]);
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut]), Err(TreeError::Malformed), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(entries) = read(&bytes) {
                prop_assert!(entries.iter().all(|(name, _)| manifest::RepoPath::root().join(name).is_ok()));
            }
        }

        #[test]
        fn an_allowed_name_is_a_segment_of_a_path(name in "\\PC{1,12}") {
            prop_assert!(!allowed(&name) || manifest::RepoPath::root().join(&name).is_ok());
        }
    }
}
