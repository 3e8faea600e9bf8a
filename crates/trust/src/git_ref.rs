//! Names of refs: the one branch or tag that a trust file, a TrustRoot and a source track.

/// The longest name, in bytes: what a file name may have (255).
pub const MAX_REF_BYTES: usize = 255;

const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// Checks the full name of a branch (`refs/heads/main`) or tag (`refs/tags/v1`) by the rules of `git check-ref-format`.
///
/// # Errors
/// What is wrong with it.
pub fn check_ref(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_REF_BYTES {
        return Err("it is longer than 255 bytes");
    }
    let Some(name) = text.strip_prefix(BRANCHES).or_else(|| tag_name(text)) else {
        return Err("only branches and tags by their full name are supported (refs/heads/… or refs/tags/…)");
    };
    let forbidden = |character: char| {
        character.is_control()
            || character.is_whitespace()
            || matches!(character, '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    let component = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.contains(forbidden)
        || name.contains("..")
        || name.contains("@{")
        || name.ends_with('.')
        || name.split('/').any(component)
    {
        return Err("it is not a valid ref name (git check-ref-format)");
    }
    Ok(())
}

/// What a tag is called whose ref this is; `None` for any other ref.
#[must_use]
pub fn tag_name(git_ref: &str) -> Option<&str> {
    git_ref.strip_prefix(TAGS)
}
