//! Names of branches: the one ref that a trust file, a TrustRoot and a source track.

/// The longest name, in bytes: what a file name may have (255).
pub const MAX_BRANCH_BYTES: usize = 255;

/// Checks the full name of a branch (`refs/heads/main`) by the rules of `git check-ref-format`. Tags are not supported
/// yet.
///
/// # Errors
/// What is wrong with it.
pub fn check_branch(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BRANCH_BYTES {
        return Err("it is longer than 255 bytes");
    }
    if text.starts_with("refs/tags/") {
        return Err("tags are not supported yet, only branches (refs/heads/…)");
    }
    let Some(name) = text.strip_prefix("refs/heads/") else {
        return Err("only branches by their full name are supported (refs/heads/…)");
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
