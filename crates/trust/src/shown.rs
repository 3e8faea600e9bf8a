//! Kinds, names and namespaces as a manifest has them, for a message: nothing has checked them yet.

use std::borrow::Cow;

/// Characters of the longest name that Kubernetes takes.
const MAX_SHOWN: usize = 253;

/// As it is where it could be such a name; else in quotation marks and no longer than one, so that nobody writes words of ours
/// there.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
    if !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let head: String = text.chars().take(MAX_SHOWN).collect();
    let cut = if head.len() < text.len() { "…" } else { "" };
    Cow::Owned(format!("{head:?}{cut}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_no_name_stands_in_quotation_marks_and_is_short() {
        for plain in ["ClusterRole.rbac.authorization.k8s.io", "system:node", "a_b-1"] {
            assert_eq!(shown(plain), plain);
        }
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("Conf Map\n\u{202e}\""), "\"Conf Map\\n\\u{202e}\\\"\"");
        let long = shown(&"é".repeat(300)).into_owned();
        assert_eq!((long.chars().count(), long.ends_with("\"…")), (MAX_SHOWN + 3, true));
    }
}
