//! A rollback: whether those who signed it may have the folder of a Sync as it was.
//!
//! It takes what a commit would take that restores the folder on top of what is accepted: every rule for every file that
//! differs, kinds and thresholds, by the trust file and the revocations in force now. Nothing that was revoked since comes
//! back by it.

use std::{collections::BTreeSet, rc::Rc};

use jiff::Timestamp;
use manifest::{Finding, RepoPath};

use super::{Judge, State};
use crate::{
    Change, CommitId, CommitObject, Credit, History, Seen, SignedOrder, Start, TrustCode, TrustRootSpec, Verifiers,
    declared_kinds::judge_kinds,
    detached::Keys,
    instants::Instants,
    refusal::{refuse, unreadable},
    rules::people_only,
    signed_order::Signers,
    step::{MAX_CHANGED_PATHS, authorise_all, not_expired, payload_in_force, read_commit},
    verified::made_at,
};

/// What is asked about a rollback.
#[derive(Debug, Clone, Copy)]
pub struct Rollback<'a> {
    /// What was signed.
    pub order: &'a SignedOrder,
    /// The armoured signatures.
    pub signatures: &'a [String],
    /// Namespace and name of the Sync.
    pub sync: &'a str,
    /// Its folder.
    pub folder: &'a RepoPath,
    /// The revision whose trust file is in force.
    pub verified: &'a CommitId,
    /// The newest revision that the Sync accepted.
    pub accepted: &'a CommitId,
    /// The revision that the Sync is held to now: another one after an earlier rollback.
    pub in_force: &'a CommitId,
    /// When it was seen.
    pub seen: Seen,
}

/// An order that somebody signed, and what it is judged by.
struct Signed {
    object: CommitObject,
    in_force: State,
    signers: Signers,
}

/// Judges a rollback. That its commit was accepted by the Sync is for the caller to prove.
///
/// # Errors
/// As [`rollback_signers`] · W703 there is nothing to go back to · W304 the commit, or what is still of it, is revoked ·
/// W302, W303, W306 who signed it may not change what differs · W305 kinds · W508.
pub fn judge_rollback(
    history: &dyn History,
    root: &TrustRootSpec,
    rollback: &Rollback<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    judging(history, root, &rollback.order.commit, rollback.seen.now, with).rollback(rollback)
}

/// Who signed a rollback with a key in force. Anybody may write an order: this is what tells cheaply that it is none.
///
/// # Errors
/// W703 it is about something else, too early or over · W302 nobody signed it. Neither passes while trust stays as it is.
pub fn rollback_signers(
    history: &dyn History,
    root: &TrustRootSpec,
    rollback: &Rollback<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    let judge = judging(history, root, &rollback.order.commit, rollback.seen.now, with);
    judge.signed(rollback).map(|signed| signed.signers.good)
}

/// Whether the commit that a Sync went back to still holds by the revocations of `verified`.
///
/// # Errors
/// W304 the commit, or what is still of it, is revoked.
pub fn still_holds_at(
    history: &dyn History,
    root: &TrustRootSpec,
    commit: &CommitId,
    verified: &CommitId,
    now: Timestamp,
    with: Verifiers<'_>,
) -> Result<(), Finding> {
    let judge = judging(history, root, commit, now, with);
    let in_force = judge.in_force(verified)?;
    judge.holds_by(&read_commit(history, commit)?, &in_force)
}

/// What is in force says what is revoked, over the whole mainline.
fn judging<'a>(
    history: &'a dyn History,
    root: &'a TrustRootSpec,
    head: &CommitId,
    now: Timestamp,
    with: Verifiers<'a>,
) -> Judge<'a> {
    // What was looked through is about another line of commits.
    Judge { known: None, ..Judge::new(history, root, &Start::Introduction, now, head.into(), with) }
}

impl Judge<'_> {
    fn in_force(&self, verified: &CommitId) -> Result<State, Finding> {
        self.resume(verified, None).map_err(|refused| match refused.verdict {
            Err(finding) => finding,
            Ok(()) => {
                let (found, needed) = ("there is no verdict".to_owned(), "a trust file that can be read".to_owned());
                let fix = "remove the folder of the mirror; it is fetched again".to_owned();
                refuse(TrustCode::W403, verified, found, needed, fix)
            }
        })
    }

    fn holds_by(&self, object: &CommitObject, in_force: &State) -> Result<(), Finding> {
        payload_in_force(object, &in_force.policy)?;
        let (commit, made) = (object.id, made_at(object)?);
        self.still_holds(&State { commit, made, policy: Rc::clone(&in_force.policy), digest: in_force.digest })
    }

    /// An order does not say when it was made: it is made when it is seen.
    fn seen_now(&self) -> Instants {
        Instants { committer: self.now, first_sight: Some(self.now) }
    }

    fn signed(&self, rollback: &Rollback<'_>) -> Result<Signed, Finding> {
        let order = rollback.order;
        order.bound(&self.root.repo_id, rollback.sync, rollback.seen)?;
        let object = read_commit(self.history, &order.commit)?;
        if object.payload_sha256 != order.payload_sha256 {
            let found = format!("its payload has sha256 {}", object.payload_sha256);
            return Err(order.invalid(found, &format!("sha256 {}, as was signed", order.payload_sha256)));
        }
        let in_force = self.in_force(rollback.verified)?;
        let instants = self.seen_now();
        let keys = Keys { policy: &in_force.policy, instants: &instants, verifier: self.verifier };
        let signers = order.signers(rollback.signatures, keys);
        if signers.good.is_empty() {
            let (found, needed) = ("nobody signed it".to_owned(), "a principal whose key is in force".to_owned());
            let nobody = refuse(TrustCode::W302, &order.commit, found, needed, String::new());
            return Err(order.unauthorised(nobody, &signers));
        }
        Ok(Signed { object, in_force, signers })
    }

    fn rollback(&self, rollback: &Rollback<'_>) -> Result<BTreeSet<String>, Finding> {
        let Signed { object, in_force, signers } = self.signed(rollback)?;
        let (order, policy) = (rollback.order, &in_force.policy);
        let commit = &order.commit;
        self.is_earlier(rollback)?;
        self.holds_by(&object, &in_force)?;
        let mut changes = Vec::new();
        for from in BTreeSet::from([rollback.accepted, rollback.in_force]) {
            let between = self.restored(from, rollback)?;
            judge_kinds(self.history, policy, from, commit, &between, &self.definitions)?;
            changes.extend(between);
        }
        if changes.is_empty() {
            let found = format!("nothing that the Sync applies differs from it below {:?}", rollback.folder.as_str());
            return Err(order.invalid(found, "a commit whose files there differ from those in force"));
        }
        not_expired(policy, &self.seen_now(), commit, &changes)?;
        // A commit has an author besides those who approve it, and some rules do not count who that is.
        let mut refused = None;
        for author in &signers.good {
            let credit = Credit::by(Some(author.as_str()), signers.good.iter().cloned());
            match authorise_all(policy, commit, &changes, &credit, None) {
                Ok(()) => return Ok(signers.good),
                Err(finding) => refused = Some(finding),
            }
        }
        Err(refused.map_or_else(
            || order.invalid("nobody signed it".to_owned(), "signatures of principals"),
            |finding| order.unauthorised(finding, &signers),
        ))
    }

    /// W703 unless the commit is before what is accepted, and another than what is in force.
    fn is_earlier(&self, rollback: &Rollback<'_>) -> Result<(), Finding> {
        let (order, accepted) = (rollback.order, rollback.accepted);
        if order.commit == *rollback.in_force {
            return Err(order.invalid("it is in force".to_owned(), "a commit that was in force before"));
        }
        let is_ancestor = self.history.is_ancestor(&order.commit, accepted);
        if is_ancestor.map_err(|error| unreadable(&order.commit, &error))? {
            return Ok(());
        }
        Err(order.invalid(format!("it is not in the history of {accepted}"), "a commit that was accepted before that"))
    }

    /// What a commit would change that restores what the Sync applies. Trust, policies and waivers are no Sync's.
    fn restored(&self, from: &CommitId, rollback: &Rollback<'_>) -> Result<Vec<Change>, Finding> {
        let commit = &rollback.order.commit;
        let changes = self.history.changes(Some(from), commit, MAX_CHANGED_PATHS);
        let mut changes = changes.map_err(|error| unreadable(commit, &error))?;
        changes.retain(|change| change.path.starts_with(rollback.folder) && !people_only(&change.path));
        Ok(changes)
    }
}
