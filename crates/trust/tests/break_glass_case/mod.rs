//! An order to break the glass, and what is kept of it.

#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

use std::{collections::BTreeMap, sync::Arc};

use trust::{CommitId, LetThrough, NAMESPACE_BREAK_GLASS, ObeyedOrder, OrderKind, SignedOrder, Waivers};

use crate::memory::{World, at, person};

/// An order about a commit.
pub fn order(world: &World, head: CommitId) -> SignedOrder {
    SignedOrder {
        kind: OrderKind::BreakGlass,
        repo_id: "urn:writ:test".to_owned(),
        about: "shop/config".to_owned(),
        commit: head,
        payload_sha256: world.memory.payload(&head),
        reason: "the shop is down".to_owned(),
        not_after: at(world.now + 3_600),
    }
}

/// An order about a commit that these signed, as it is kept.
pub fn obeyed(world: &World, commit: CommitId, judged_by: CommitId, by: &[&str]) -> Arc<ObeyedOrder> {
    let order = order(world, commit);
    let signatures = by.iter().map(|who| person(who).sign(NAMESPACE_BREAK_GLASS, &order.payload())).collect();
    Arc::new(ObeyedOrder { request: "shop/urgent".to_owned(), order, signatures, judged_by, since: at(world.now) })
}

/// What the log has: a step that follows the introduction, and what let it through.
pub fn logged(world: &World, commit: CommitId, by: &[&str]) -> Waivers {
    let predecessor = world.introduction;
    let through = LetThrough { predecessor, by: obeyed(world, commit, predecessor, by) };
    Waivers { before: BTreeMap::from([(commit, through)]), head: None }
}

pub fn check(found: &str, expected: &str) {
    assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
}

/// The key of somebody, as a revocation without an end names it.
pub fn hard(name: &str) -> String {
    format!("{{key: \"{}\", kind: hard, reason: stolen}}", person(name).fingerprint())
}
