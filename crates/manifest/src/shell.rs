//! Words for a POSIX shell, so that a printed command can be pasted whatever a name holds.

/// `word` as one word of a POSIX shell: as it is if it is plain, else in single quotes.
///
/// ```
/// assert_eq!(manifest::shell_quote("apps/web.yaml"), "apps/web.yaml");
/// assert_eq!(manifest::shell_quote("a $(x) it's"), r"'a $(x) it'\''s'");
/// ```
#[must_use]
pub fn shell_quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:=%,".contains(&byte);
    if !word.is_empty() && !word.starts_with('-') && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
