//! Signed orders: a GitSource or Sync in the cluster is obeyed only if its spec is what an
//! accepted commit declares or what the TrustRoot's `bootstrap` names by digest.

use manifest::{Digest, Finding, Subject};

use crate::PlanCode;

/// Whether specs in the cluster must be signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderMode {
    /// They must (the default).
    Signed,
    /// Whoever may write the object in the cluster may give orders.
    Cluster,
}

/// One GitSource or Sync as found in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order<'a> {
    /// `GitSource` or `Sync`.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Digest of its spec with all defaults filled in.
    pub digest: Digest,
    /// The field manager that wrote the spec last, as it claims.
    pub written_by: Option<&'a str>,
}

/// Whether an order is obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obedience {
    /// It is.
    Obeyed,
    /// It is not; the last obeyed spec stays in force.
    Held(Box<Finding>),
}

/// Judges an order. `declared` is the digest of the spec that an accepted commit declares for this
/// object, if one does; it outranks `bootstrap`, the digest the TrustRoot names, so that a first
/// order cannot be brought back once Git has taken over.
#[must_use]
pub fn judge_order(
    order: &Order<'_>,
    declared: Option<Digest>,
    bootstrap: Option<Digest>,
    mode: OrderMode,
) -> Obedience {
    let (wanted, source) = match (mode, declared, bootstrap) {
        (OrderMode::Cluster, ..) => return Obedience::Obeyed,
        (OrderMode::Signed, Some(digest), _) => (Some(digest), "the spec an accepted commit declares"),
        (OrderMode::Signed, None, Some(digest)) => (Some(digest), "the spec the TrustRoot's bootstrap names"),
        (OrderMode::Signed, None, None) => {
            (None, "an accepted commit that declares it, or an entry in the TrustRoot's bootstrap")
        }
    };
    if wanted == Some(order.digest) {
        return Obedience::Obeyed;
    }
    let by = order.written_by.map_or_else(String::new, |manager| format!(", last written by {manager},"));
    Obedience::Held(Box::new(Finding {
        code: PlanCode::A125.entry(),
        subject: Subject::Named(format!("{} {}/{}", order.kind, order.namespace, order.name)),
        rule: Some("orders: Signed".to_owned()),
        found: format!("its spec{by} has sha256 {}", order.digest).into(),
        needed: wanted.map_or_else(|| source.to_owned(), |digest| format!("{source}: sha256 {digest}")).into(),
        fix: "commit the change, signed, to the repository, or put the object back to what is declared".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(found: &str, declared: Option<&str>, bootstrap: Option<&str>, mode: OrderMode) -> bool {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let order = Order {
            kind: "Sync",
            namespace: "shop",
            name: "web",
            digest: digest(found),
            written_by: Some("kubectl-edit"),
        };
        judge_order(&order, declared.map(digest), bootstrap.map(digest), mode) == Obedience::Obeyed
    }

    #[test]
    fn only_signed_specs_are_obeyed() {
        assert!(judge("a", Some("a"), None, OrderMode::Signed));
        assert!(judge("a", None, Some("a"), OrderMode::Signed));
        assert!(!judge("a", None, None, OrderMode::Signed));
        assert!(!judge("a", Some("b"), None, OrderMode::Signed));
        assert!(judge("a", None, None, OrderMode::Cluster));
    }

    #[test]
    fn bootstrap_ends_where_git_begins() {
        assert!(!judge("first", Some("later"), Some("first"), OrderMode::Signed));
    }
}
