//! A Sync that is to be taken back, and what is said of orders about it.

#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

use std::collections::BTreeSet;

use manifest::Finding;
use trust::{
    CommitId, HeldTo, NAMESPACE_ROLLBACK, ObeyedOrder, ObeyedRollback, OrderKind, Rollback, Seen, SignedOrder,
    Verifiers, Waivers, held_to, judge_rollback,
};

use crate::memory::{World, at, config_map, path, person, policy, put_policy};

/// A Sync of `apps`, whose newest accepted commit is to be taken back.
pub struct Case {
    pub world: World,
    pub folder: &'static str,
    pub verified: CommitId,
    pub accepted: CommitId,
    pub in_force: CommitId,
    pub to: CommitId,
    pub first_seen: i64,
    pub namespace: &'static str,
    pub by: Vec<&'static str>,
}

/// `apps/web.yaml` is 1, then 2, then 3; the rules for it are `edits` of those of the tests.
pub fn case(edits: &[(&str, &str)]) -> Case {
    let mut world = World::with(&policy(1, edits));
    let to = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let accepted = world.put(to, "bob", "apps/web.yaml", &config_map("web", 3));
    let first_seen = world.now;
    let (verified, in_force, namespace) = (accepted, accepted, NAMESPACE_ROLLBACK);
    Case { world, folder: "apps", verified, accepted, in_force, to, first_seen, namespace, by: vec!["bob"] }
}

impl Case {
    pub fn order(&self) -> SignedOrder {
        SignedOrder {
            kind: OrderKind::Rollback { nonce: "n1".to_owned() },
            repo_id: "urn:writ:test".to_owned(),
            about: "shop/web".to_owned(),
            commit: self.to,
            payload_sha256: self.world.memory.payload(&self.to),
            reason: "errors since noon".to_owned(),
            not_after: at(self.world.now + 3_600),
        }
    }

    /// `ok` with who stands for it, or code and what was found, of an order that was edited before it was signed.
    pub fn with(&self, edit: impl FnOnce(&mut SignedOrder)) -> String {
        let mut order = self.order();
        edit(&mut order);
        let signatures: Vec<String> =
            self.by.iter().map(|who| person(who).sign(self.namespace, &order.payload())).collect();
        self.judge(&order, &signatures)
    }

    pub fn judge(&self, order: &SignedOrder, signatures: &[String]) -> String {
        match self.judged(order, signatures) {
            Ok(signers) => format!("ok {}", signers.into_iter().collect::<Vec<_>>().join(" ")),
            Err(finding) => format!("{}: {}", finding.code.code, finding.found),
        }
    }

    pub fn judged(&self, order: &SignedOrder, signatures: &[String]) -> Result<BTreeSet<String>, Finding> {
        let rollback = Rollback {
            order,
            signatures,
            sync: "shop/web",
            folder: &path(self.folder),
            verified: &self.verified,
            accepted: &self.accepted,
            in_force: &self.in_force,
            seen: Seen { first: at(self.first_seen), now: at(self.world.now) },
            waivers: &Waivers::default(),
        };
        judge_rollback(&self.world.memory, &self.world.root, &rollback, Verifiers::default())
    }

    pub fn verdict(&self) -> String {
        self.with(|_| ())
    }
}

impl Case {
    /// What is said of the Sync's being held to the commit, by an order or without one.
    pub fn held(&self, order: Option<&ObeyedOrder>) -> String {
        let (folder, waivers) = (path(self.folder), Waivers::default());
        let held = HeldTo {
            commit: &self.to,
            folder: Some(&folder),
            verified: &self.verified,
            order: order.map(|order| ObeyedRollback { order, instead_of: [&self.accepted, &self.in_force] }),
            waivers: &waivers,
        };
        let verdict = held_to(&self.world.memory, &self.world.root, &held, at(self.world.now), Verifiers::default());
        told(verdict)
    }

    /// As it is kept once it was obeyed.
    pub fn obeyed(&self) -> ObeyedOrder {
        let order = self.order();
        let sign = |who: &&str| person(who).sign(NAMESPACE_ROLLBACK, &order.payload());
        ObeyedOrder {
            request: "shop/back".to_owned(),
            signatures: self.by.iter().map(sign).collect(),
            judged_by: self.verified,
            since: at(self.world.now),
            order,
        }
    }

    /// A trust file on top of what is verified that revokes this; it is in force from then on.
    pub fn revoke(&mut self, version: u64, edits: &[(&str, &str)], revoked: &str) {
        let revoked = format!("revoked: [{revoked}]");
        let mut edits = edits.to_vec();
        edits.push(("revoked: []", &revoked));
        let text = policy(version, &edits);
        self.verified =
            self.world.push(self.verified, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    }
}

fn told(verdict: Result<(), Finding>) -> String {
    verdict.map_or_else(|finding| format!("{}: {}", finding.code.code, finding.found), |()| "ok".to_owned())
}

pub fn check(found: &str, expected: &str) {
    assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
}
