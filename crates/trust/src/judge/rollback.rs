//! A rollback: whether those who signed it may have the folder of a Sync as it was.
//!
//! It takes what a commit would take that restores the folder on top of what is accepted: every rule for every file that
//! differs, kinds and thresholds, by the trust file and the revocations in force now. Nothing that was revoked since comes
//! back by it.

use std::{collections::BTreeSet, rc::Rc};

use manifest::{Finding, RepoPath};

use super::{Judge, State, Waivers};
use crate::{
    Change, CommitId, Credit, History, Seen, SignedOrder, Start, TrustRootSpec, Verifiers,
    declared_kinds::{Definitions, judge_kinds},
    detached::Keys,
    instants::Instants,
    refusal::unreadable,
    rules::people_only,
    signature_cache::Verifier,
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

/// Judges a rollback. That its commit was accepted by the Sync is for the caller to prove.
///
/// # Errors
/// W703 it is about something else, too early or over, or there is nothing to go back to · W304 the commit, or what is
/// still of it, is revoked · W302, W303, W306 who signed it may not change what differs · W305 kinds · W508.
pub fn judge_rollback(
    history: &dyn History,
    root: &TrustRootSpec,
    rollback: &Rollback<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    let order = rollback.order;
    order.bound(&root.repo_id, rollback.sync, rollback.seen)?;
    // What is in force says what is revoked, over the whole mainline.
    let start = Start::Introduction;
    let (definitions, verifier) = (Definitions::default(), Verifier::new(with));
    let (now, waivers) = (rollback.seen.now, Waivers::default());
    let judge = Judge {
        history,
        root,
        start: &start,
        now,
        head: (&order.commit).into(),
        tag: None,
        definitions,
        verifier,
        known: None,
        told: None,
        waivers: &waivers,
    };
    judge.rollback(rollback)
}

impl Judge<'_> {
    fn rollback(&self, rollback: &Rollback<'_>) -> Result<BTreeSet<String>, Finding> {
        let order = rollback.order;
        let commit = &order.commit;
        let object = read_commit(self.history, commit)?;
        if object.payload_sha256 != order.payload_sha256 {
            let found = format!("its payload has sha256 {}", object.payload_sha256);
            return Err(order.invalid(found, &format!("sha256 {}, as was signed", order.payload_sha256)));
        }
        self.is_earlier(rollback)?;
        let in_force = self.resume(rollback.verified, None).map_err(|refused| match refused.verdict {
            Err(finding) => finding,
            Ok(()) => order.invalid("there is no verdict".to_owned(), "a verdict"),
        })?;
        let policy = Rc::clone(&in_force.policy);
        payload_in_force(&object, &policy)?;
        let made = made_at(&object)?;
        self.still_holds(&State { commit: *commit, made, policy: Rc::clone(&policy), digest: in_force.digest })?;
        let mut changes = Vec::new();
        for from in BTreeSet::from([rollback.accepted, rollback.in_force]) {
            let between = self.restored(from, rollback)?;
            judge_kinds(self.history, &policy, from, commit, &between, &self.definitions)?;
            changes.extend(between);
        }
        if changes.is_empty() {
            let found = format!("nothing that the Sync applies differs from it below {:?}", rollback.folder.as_str());
            return Err(order.invalid(found, "a commit whose files there differ from those in force"));
        }
        // An order does not say when it was made: it is made when it is seen.
        let instants = Instants { committer: self.now, first_sight: Some(self.now) };
        not_expired(&policy, &instants, commit, &changes)?;
        let keys = Keys { policy: &policy, instants: &instants, verifier: self.verifier };
        let signers = order.signers(rollback.signatures, keys);
        // A commit has an author besides those who approve it, and some rules do not count who that is.
        let authors = signers.good.iter().map(|name| Some(name.as_str())).chain(std::iter::once(None));
        let authors = authors.take(signers.good.len().max(1));
        let mut refused = None;
        for author in authors {
            let credit = Credit::by(author, signers.good.iter().cloned());
            match authorise_all(&policy, commit, &changes, &credit, None) {
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
