//! Numbers with their nouns, as a person would say them.

use std::fmt::Display;

/// `count` and `noun`, which is given in the singular.
///
/// ```
/// use manifest::counted;
/// assert_eq!([counted(1, "object"), counted(2_u64, "object")], ["1 object", "2 objects"]);
/// assert_eq!([counted(0, "entry"), counted(2, "key"), counted(3, "branch")], ["0 entries", "2 keys", "3 branches"]);
/// ```
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}
