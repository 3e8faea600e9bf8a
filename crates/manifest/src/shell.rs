//! Words for a POSIX shell, so that a printed command can be pasted whatever a name holds.

/// Options of `git` that sign with the person's own SSH key, or with the usual one where none is set: a bare `--gpg-sign`
/// asks for OpenPGP wherever nothing else is configured.
pub const GIT_SIGN: &str =
    "-c gpg.format=ssh -c user.signingkey=\"$(git config user.signingkey || echo ~/.ssh/id_ed25519.pub)\"";

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
