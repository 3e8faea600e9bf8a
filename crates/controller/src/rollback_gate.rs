//! What a signed order to take a Sync back is worth. Blocking; runs on a thread of its own. What to do with it is
//! `plan::decide`'s.

use std::sync::Arc;

use git::{Approvals, Attested, Mirror};
use jiff::Timestamp;
use manifest::Finding;
use plan::{DesiredState, PruneTrailer};
use trust::{
    AuthorizedCommit, CommitId, HeldTo, ObeyedRollback, Rollback, Seen, SignatureCache, SignedOrder, TrustCode,
    TrustRootSpec, Verifiers, Waivers, held_to, judge_rollback, rollback_signers,
};

use crate::{
    journal::Journal,
    resume::{self, RollbackEntry},
    rollbacks::RolledBack,
    source_gate::{Verified, keyless},
    sync_gate::{self, Prepared, SyncJob},
};

/// What one judgement needs.
pub(crate) struct RollbackJob {
    /// The Sync, with what it is rendered by.
    pub sync: SyncJob,
    /// The log, which knows what was accepted, and which orders were used.
    pub journal: Journal,
    /// What trust starts from.
    pub root: Arc<TrustRootSpec>,
    /// What was verified before under it.
    pub known: Arc<SignatureCache>,
    /// What is in force.
    pub verified: Arc<Verified>,
    /// The newest revision that the Sync accepted.
    pub accepted: CommitId,
    /// The one that it is held to.
    pub in_force: CommitId,
    /// What is ordered.
    pub order: SignedOrder,
    /// Its nonce.
    pub nonce: String,
    /// The signatures.
    pub signatures: Vec<String>,
    /// When it was seen.
    pub seen: Seen,
    /// What orders let through.
    pub waivers: Waivers,
}

/// The verdict.
#[derive(Debug)]
pub(crate) enum RollbackVerdict {
    /// Those who signed it may order it.
    Good(Box<GoodRollback>),
    /// It was obeyed before. An order works once.
    Used,
    /// It is not obeyed, and never will be under this trust.
    Void(Box<Finding>),
    /// It is not obeyed.
    Refused(Vec<Finding>),
}

/// An order by those who may give it.
#[derive(Debug)]
pub(crate) struct GoodRollback {
    /// What its commit declares for the Sync.
    pub desired: Arc<DesiredState>,
    /// What kinds and policies of today object to.
    pub findings: Vec<Finding>,
    /// Who signed it.
    pub signers: Vec<String>,
}

/// What a Sync that was rolled back is held to.
pub(crate) struct Kept {
    /// The commit.
    pub target: AuthorizedCommit,
    /// What trust starts from.
    pub root: Arc<TrustRootSpec>,
    /// What was verified before under it.
    pub known: Arc<SignatureCache>,
    /// The order by which the Sync is held to it.
    pub order: RolledBack,
    /// What orders let through.
    pub waivers: Waivers,
}

/// Judges what a Sync is held to by what is verified now, as the order was. What is revoked in other folders says nothing about it.
///
/// # Errors
/// As [`sync_gate::prepare`]; W304 if it or the order holds no longer.
pub(crate) fn kept_verdict(job: &SyncJob, verified: &Verified, kept: Option<&Kept>) -> Result<Prepared, Vec<Finding>> {
    let one = |finding: Finding| vec![finding];
    let Some(kept) = kept else {
        let found = format!("what Sync {} is held to is not known", job.sync);
        return Err(one(sync_gate::unreadable(&verified.commit, &found)));
    };
    kept_holds(job, verified, kept).map_err(one)?;
    let (desired, findings) = sync_gate::prepare_again(job, &kept.target, verified)?;
    Ok(Prepared { desired, findings, trailer: PruneTrailer::default() })
}

/// Judges a candidate. If it is refused, a Sync that was rolled back stays where it is, and what is to be said against that is
/// said as well.
///
/// # Errors
/// As [`sync_gate::prepare`].
pub(crate) fn candidate_verdict(
    job: &SyncJob,
    verified: &Verified,
    kept: Option<&Kept>,
) -> Result<Prepared, Vec<Finding>> {
    let mut prepared = sync_gate::prepare(job, verified);
    let refused = match &mut prepared {
        Ok(prepared) => &mut prepared.findings,
        Err(findings) => findings,
    };
    if let Some(kept) = kept.filter(|_kept| !refused.is_empty()) {
        refused.extend(kept_holds(job, verified, kept).err());
    }
    prepared
}

/// Whether what a Sync is held to, and the order that did it, hold by what is in force.
fn kept_holds(job: &SyncJob, verified: &Verified, kept: &Kept) -> Result<(), Finding> {
    let Kept { target, root, known, order, waivers } = kept;
    let mirror = Mirror::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let approvals = Approvals::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let history = Attested { objects: mirror.objects(), approvals: &approvals };
    let keyless = keyless(root);
    let with = Verifiers { known: Some(known), keyless: keyless.as_ref().map(|one| one as _) };
    let obeyed = order.obeyed();
    let held = HeldTo {
        commit: &target.id(),
        folder: Some(&job.spec.path),
        verified: &verified.commit.id(),
        order: Some(ObeyedRollback { order: &obeyed, instead_of: [&order.over, &order.instead_of] }),
        waivers,
    };
    held_to(&history, root, &held, Timestamp::now(), with)
}

/// Judges an order.
pub(crate) fn judge(job: &RollbackJob) -> RollbackVerdict {
    verdict(job).unwrap_or_else(RollbackVerdict::Refused)
}

fn verdict(job: &RollbackJob) -> Result<RollbackVerdict, Vec<Finding>> {
    let one = |finding: Finding| vec![finding];
    let (name, order) = (job.sync.sync.to_string(), &job.order);
    match resume::rollback_with(&job.journal, &job.root.repo_id, &job.nonce).map_err(one)? {
        Some(RollbackEntry { order: used, .. }) if used == *order => return Ok(RollbackVerdict::Used),
        Some(entry) => {
            let found = format!("its nonce was used by another order (log entry {})", entry.index);
            return Ok(RollbackVerdict::Void(Box::new(order.invalid(found, "a nonce that was never used"))));
        }
        None => {}
    }
    let mirror = Mirror::open(&job.sync.mirror).map_err(|error| one(git::GitError::from(error).finding()))?;
    let approvals = Approvals::open(&job.sync.mirror).map_err(|error| one(git::GitError::from(error).finding()))?;
    let history = Attested { objects: mirror.objects(), approvals: &approvals };
    let rollback = Rollback {
        order,
        signatures: &job.signatures,
        sync: &name,
        folder: &job.sync.spec.path,
        verified: &job.verified.commit.id(),
        accepted: &job.accepted,
        in_force: &job.in_force,
        seen: job.seen,
        waivers: &job.waivers,
    };
    let keyless = keyless(&job.root);
    let with = Verifiers { known: Some(&job.known), keyless: keyless.as_ref().map(|one| one as _) };
    if let Err(finding) = rollback_signers(&history, &job.root, &rollback, with) {
        let is_void = [TrustCode::W302, TrustCode::W703].iter().any(|code| finding.code == code.entry());
        return if is_void { Ok(RollbackVerdict::Void(Box::new(finding))) } else { Err(one(finding)) };
    }
    let signers = judge_rollback(&history, &job.root, &rollback, with).map_err(one)?;
    let accepted = resume::accepted_before(&job.journal, &job.sync.sync, &order.commit, &job.root).map_err(one)?;
    let Some(commit) = accepted else {
        let found = format!("Sync {name} never accepted it");
        return Err(one(order.invalid(found, "a commit of an advance entry of the Sync in the log")));
    };
    let (desired, findings) = sync_gate::prepare_again(&job.sync, &commit, &job.verified)?;
    let signers = signers.into_iter().collect();
    Ok(RollbackVerdict::Good(Box::new(GoodRollback { desired, findings, signers })))
}
