//! Which kinds of objects a rule allows: `group/Kind` with `*`, `namespaced`, `cluster`, and `!` for "not".

use std::fmt;

use manifest::{GroupKind, Scope};

use crate::glob::{MAX_PATTERN_BYTES, Wildcard};

/// The kinds of a rule. Allowed is what matches any positive item (with none given: anything) and no negative one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindPatterns {
    items: Vec<KindPattern>,
}

/// One item of `kinds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPattern {
    text: String,
    negated: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Scope(Scope),
    Kind { group: Wildcard, kind: Wildcard },
}

/// Why a text is no item of `kinds`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindPatternError {
    /// Not one of the forms.
    #[error("{0:?} is none of `group/Kind` (core: `/Kind`), `namespaced`, `cluster`, each with or without `!`")]
    Form(String),
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("an item of kinds has at most {MAX_PATTERN_BYTES} bytes")]
    Length,
}

/// Whether a kind is allowed by a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindVerdict {
    /// It is.
    Allowed,
    /// It is not.
    Refused,
    /// An item asks for the scope, which is not known.
    UnknownScope,
}

impl KindPattern {
    /// Reads one item. A negative item may leave out the group: `!ClusterRole*` excludes these kinds in every group.
    ///
    /// # Errors
    /// When it is none of the forms.
    pub fn parse(text: &str) -> Result<Self, KindPatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(KindPatternError::Length);
        }
        let form = || KindPatternError::Form(text.to_owned());
        let (negated, body) = text.strip_prefix('!').map_or((false, text), |body| (true, body));
        let plain = |part: &str, extra: &[char]| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || c == '*' || extra.contains(&c))
        };
        let what = match (body, body.split_once('/')) {
            ("namespaced", _) => What::Scope(Scope::Namespaced),
            ("cluster", _) => What::Scope(Scope::Cluster),
            (_, Some((group, kind))) if !kind.is_empty() && plain(group, &['.', '-']) && plain(kind, &[]) => {
                What::Kind { group: Wildcard::new(group), kind: Wildcard::new(kind) }
            }
            (kind, None) if negated && !kind.is_empty() && plain(kind, &[]) => {
                What::Kind { group: Wildcard::new("*"), kind: Wildcard::new(kind) }
            }
            _ => return Err(form()),
        };
        Ok(Self { text: text.to_owned(), negated, what })
    }

    fn matches(&self, kind: &GroupKind, scope: Option<Scope>) -> Option<bool> {
        match &self.what {
            What::Scope(wanted) => scope.map(|scope| scope == *wanted),
            What::Kind { group, kind: name } => Some(group.matches(&kind.group) && name.matches(&kind.kind)),
        }
    }
}

impl KindPatterns {
    /// The kinds of a rule, in the order written.
    #[must_use]
    pub const fn new(items: Vec<KindPattern>) -> Self {
        Self { items }
    }

    /// True if the rule says nothing about kinds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a kind is allowed. A kind of unknown scope is neither `namespaced` nor `cluster`: where that decides,
    /// the answer is [`KindVerdict::UnknownScope`].
    #[must_use]
    pub fn judge(&self, kind: &GroupKind, scope: Option<Scope>) -> KindVerdict {
        let matching = |negated: bool| {
            let mut unknown = false;
            for item in self.items.iter().filter(|item| item.negated == negated) {
                match item.matches(kind, scope) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => unknown = true,
                }
            }
            (!unknown).then_some(false)
        };
        let any_positive = self.items.iter().any(|item| !item.negated);
        match (matching(true), if any_positive { matching(false) } else { Some(true) }) {
            (Some(true), _) | (_, Some(false)) => KindVerdict::Refused,
            (Some(false), Some(true)) => KindVerdict::Allowed,
            (None, _) | (_, None) => KindVerdict::UnknownScope,
        }
    }

    /// True if a positive item lets through this kind although its objects may be in no namespace: `cluster`, or one that names
    /// its group or the kind, or part of them. `*/*` does not.
    #[must_use]
    pub(crate) fn names_clusterwide(&self, kind: &GroupKind) -> bool {
        self.items.iter().any(|item| {
            !item.negated
                && match &item.what {
                    What::Scope(scope) => *scope == Scope::Cluster,
                    What::Kind { group, kind: name } => {
                        !(group.is_any() && name.is_any()) && item.matches(kind, None) == Some(true)
                    }
                }
        })
    }

    /// True if a positive item names the group of this kind, or part of it, and matches it: `*.writ.dev/*` names
    /// `writ.dev` kinds, `*/*` and `cluster` do not.
    #[must_use]
    pub fn names(&self, kind: &GroupKind) -> bool {
        self.items.iter().any(|item| {
            !item.negated
                && matches!(&item.what, What::Kind { group, .. } if !group.is_any())
                && item.matches(kind, None) == Some(true)
        })
    }
}

impl fmt::Display for KindPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<&str> = self.items.iter().map(|item| item.text.as_str()).collect();
        f.write_str(&items.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &[&str], kind: &str, scope: Option<Scope>) -> KindVerdict {
        let (group, kind) = kind.split_once('/').unwrap();
        KindPatterns::new(items.iter().map(|item| KindPattern::parse(item).unwrap()).collect())
            .judge(&GroupKind::new(group, kind), scope)
    }

    #[test]
    fn positive_and_negative_items() {
        use KindVerdict::{Allowed, Refused};
        let namespaced = Some(Scope::Namespaced);
        let rbac = "rbac.authorization.k8s.io";
        assert_eq!(check(&[], "apps/Deployment", None), Allowed);
        assert_eq!(check(&["apps/*"], "apps/Deployment", None), Allowed);
        assert_eq!(check(&["apps/*"], "/Secret", None), Refused);
        assert_eq!(check(&["/Secret"], "/Secret", None), Allowed);
        assert_eq!(check(&["/Secret"], "apps/Secret", None), Refused);
        assert_eq!(check(&["!ClusterRole*", "namespaced"], "apps/Deployment", namespaced), Allowed);
        assert_eq!(check(&["!*/ClusterRole*"], &format!("{rbac}/ClusterRoleBinding"), None), Refused);
        assert_eq!(check(&["!ClusterRole*"], &format!("{rbac}/ClusterRole"), Some(Scope::Cluster)), Refused);
        assert_eq!(check(&["!ClusterRole*"], &format!("{rbac}/Role"), namespaced), Allowed);
        assert_eq!(check(&["namespaced"], "/Namespace", Some(Scope::Cluster)), Refused);
    }

    #[test]
    fn an_unknown_scope_never_allows() {
        use KindVerdict::{Allowed, Refused, UnknownScope};
        assert_eq!(check(&["namespaced"], "x.io/Y", None), UnknownScope);
        assert_eq!(check(&["!cluster"], "x.io/Y", None), UnknownScope);
        assert_eq!(check(&["namespaced", "x.io/*"], "x.io/Y", None), Allowed);
        assert_eq!(check(&["!cluster", "apps/*"], "x.io/Y", None), Refused);
        assert_eq!(check(&["!x.io/*", "namespaced"], "x.io/Y", None), Refused);
    }

    #[test]
    fn only_a_named_group_names_a_kind() {
        let names = |item: &str| {
            KindPatterns::new(vec![KindPattern::parse(item).unwrap()]).names(&GroupKind::new("writ.dev", "Sync"))
        };
        assert!(names("writ.dev/*") && names("writ.dev/Sync") && names("*.dev/*"));
        assert!(!names("*/*") && !names("*/Sync") && !names("namespaced") && !names("!writ.dev/Sync"));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "!", "Deployment", "apps/", "a/b/c", "apps/Deploy ment", "Namespaced"] {
            assert!(KindPattern::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
