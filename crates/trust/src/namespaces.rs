//! Which namespaces a rule allows: names with `*`, and `!` for "not".

use std::fmt;

use manifest::GroupKind;

use crate::glob::Wildcard;

/// The namespaces of a rule. Allowed is what matches any positive item (with none given: any) and no negative one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespacePatterns {
    items: Vec<NamespacePattern>,
}

/// One item of `namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePattern {
    text: String,
    negated: bool,
    name: Wildcard,
}

/// Not a name of a namespace with `*`, with or without `!`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a namespace, with `*` for any part of it and `!` before it for all others")]
pub struct NamespacePatternError(String);

impl NamespacePattern {
    /// Reads one item.
    ///
    /// # Errors
    /// When no name of a namespace can match it: 1 to 63 lower-case letters, digits and `-` (RFC 1123).
    pub fn parse(text: &str) -> Result<Self, NamespacePatternError> {
        let (negated, name) = text.strip_prefix('!').map_or((false, text), |name| (true, name));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
        if !(1..=63).contains(&name.len()) || !name.chars().all(fits) {
            return Err(NamespacePatternError(text.chars().take(80).collect()));
        }
        Ok(Self { text: text.to_owned(), negated, name: Wildcard::new(name) })
    }
}

impl NamespacePatterns {
    /// The namespaces of a rule, in the order written.
    #[must_use]
    pub const fn new(items: Vec<NamespacePattern>) -> Self {
        Self { items }
    }

    /// True if the rule says nothing about namespaces.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether an object may be in this namespace.
    #[must_use]
    pub fn allow(&self, namespace: &str) -> bool {
        let matches = |negated: bool| {
            let mut items = self.items.iter().filter(move |item| item.negated == negated);
            items.any(|item| item.name.matches(namespace))
        };
        let any_positive = self.items.iter().any(|item| !item.negated);
        (!any_positive || matches(false)) && !matches(true)
    }
}

/// The namespace that an object is about: the one it is in, or is. `None` if it has none, or gets it later.
pub(crate) fn namespace_of<'a>(kind: &GroupKind, namespace: Option<&'a str>, name: &'a str) -> Option<&'a str> {
    if is_namespace(kind) { Some(name) } else { namespace }
}

/// Whether objects of this kind are namespaces.
pub(crate) fn is_namespace(kind: &GroupKind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

impl fmt::Display for NamespacePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<&str> = self.items.iter().map(|item| item.text.as_str()).collect();
        f.write_str(&items.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_and_negative_items() {
        let allow = |items: &[&str], namespace: &str| {
            NamespacePatterns::new(items.iter().map(|item| NamespacePattern::parse(item).unwrap()).collect())
                .allow(namespace)
        };
        assert!(
            allow(&[], "shop")
                && allow(&["shop"], "shop")
                && allow(&["team-*"], "team-a")
                && allow(&["!kube-*"], "shop")
        );
        assert!(!allow(&["shop"], "shops") && !allow(&["team-*"], "other") && !allow(&["!kube-*"], "kube-system"));
        assert!(!allow(&["*", "!shop"], "shop") && allow(&["*", "!shop"], "other"));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "!", "Shop", "a.b", "a/b", "a b", "!!a", &"a".repeat(64)] {
            assert!(NamespacePattern::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
