//! Breaking the glass: those who may change who may do what let one commit through that those who made it may not make.
//!
//! Waived is who must stand for a change, and nothing else: not the form of a commit, its signature, its place in history,
//! what is revoked, which kinds may be declared where, that policies change alone, the signatures of a trust file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use manifest::{Finding, RepoPath};

use super::{HeldTo, Judge, Judgement, Start, held_to, judge_and_tell};
use crate::{
    CommitId, Credit, Head, History, ObeyedOrder, Seen, SignedOrder, TrustCode, TrustFile, TrustRootSpec, Verifiers,
    detached::Keys,
    instants::Instants,
    refusal::unreadable,
    repair::Place,
    step::{changes, read_commit},
    trust_file::trust_file_path,
};

/// What a BreakGlass waives: who must stand for a change.
const WAIVED: [TrustCode; 4] = [TrustCode::W302, TrustCode::W303, TrustCode::W306, TrustCode::W307];

/// Whether a BreakGlass waives a refusal for this.
pub(crate) fn is_waivable(finding: &Finding) -> bool {
    WAIVED.iter().any(|code| finding.code == code.entry())
}

/// The commits for which it is waived who must stand for their changes.
#[derive(Debug, Clone, Default)]
pub struct Waivers {
    /// Those that were let through before, as the log has them. What let them through is judged again with them.
    pub before: BTreeMap<CommitId, LetThrough>,
    /// A good order ([`judge_break_glass`]) lets the head through, and no step before it: nobody signed for that.
    pub head: Option<Arc<ObeyedOrder>>,
}

/// What let a step through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetThrough {
    /// What the step followed.
    pub predecessor: CommitId,
    /// The order.
    pub by: Arc<ObeyedOrder>,
}

/// A step that was let through, and what it was refused for otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaivedStep {
    /// The step.
    pub commit: CommitId,
    /// What it followed.
    pub predecessor: CommitId,
    /// What was waived.
    pub finding: Finding,
}

/// What is asked about an order to break the glass.
#[derive(Debug, Clone, Copy)]
pub struct BreakGlass<'a> {
    /// What was signed.
    pub order: &'a SignedOrder,
    /// The armoured signatures.
    pub signatures: &'a [String],
    /// Namespace and name of the GitSource.
    pub source: &'a str,
    /// The last accepted commit: its trust file says who may order it.
    pub accepted: &'a CommitId,
    /// The head.
    pub head: &'a CommitId,
    /// When it was seen.
    pub seen: Seen,
}

/// No order lets anything through.
pub(super) static NO_WAIVERS: Waivers = Waivers { before: BTreeMap::new(), head: None };

impl Judge<'_> {
    /// Whether who must stand for a step is waived, or why the order that waived it no longer stands. What the log has
    /// counts for what it has as accepted, and for nothing new.
    pub(super) fn waives(&self, step: &CommitId, above: bool) -> Result<bool, String> {
        if above {
            let ordered = self.waivers.head.as_ref().is_some_and(|by| by.order.commit == self.head.commit);
            return Ok(ordered && *step == self.head.commit);
        }
        let Some(LetThrough { by, .. }) = self.waivers.before.get(step) else { return Ok(false) };
        let policy = TrustFile::of_commit(self.history, &by.judged_by);
        let policy = policy.map_err(|_findings| format!("the trust file of {} cannot be read", by.judged_by))?;
        by.lets_through(&policy, self.verifier, None).map(|()| true)
    }

    /// What let steps through that were judged now or before.
    pub(super) fn let_through(&self, waived: &[WaivedStep]) -> BTreeMap<CommitId, LetThrough> {
        let mut all = self.waivers.before.clone();
        if let Some(by) = &self.waivers.head {
            let now = waived.iter().map(|step| (step.commit, step.predecessor));
            all.extend(now.map(|(commit, predecessor)| (commit, LetThrough { predecessor, by: Arc::clone(by) })));
        }
        all
    }
}

/// A refusal, with why the order that would waive it no longer stands.
pub(super) fn unwaived(finding: Finding, order: &Result<bool, String>) -> Finding {
    match order {
        Err(why) if is_waivable(&finding) => Finding { found: format!("{}; {why}", finding.found).into(), ..finding },
        _ => finding,
    }
}

/// Judges an order to break the glass: those who signed it are those whose signatures a change of the trust file takes.
///
/// # Errors
/// W702.
pub fn judge_break_glass(
    history: &dyn History,
    root: &TrustRootSpec,
    asked: &BreakGlass<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    let order = asked.order;
    order.bound(&root.repo_id, asked.source, asked.seen)?;
    if order.commit != *asked.head {
        let found = format!("it is not the head, which is {}", asked.head);
        return Err(order.invalid(found, "an order about the head, which a push on top of it needs anew"));
    }
    let object = read_commit(history, &order.commit)?;
    if object.payload_sha256 != order.payload_sha256 {
        let found = format!("its payload has sha256 {}", object.payload_sha256);
        return Err(order.invalid(found, &format!("sha256 {}, as was signed", order.payload_sha256)));
    }
    let (start, now) = (Start::Accepted(*asked.accepted), asked.seen.now);
    // What was looked through is about another line of commits.
    let judge = Judge { known: None, ..Judge::new(history, root, &start, now, (&order.commit).into(), with) };
    let state = judge.resume(asked.accepted, None).map_err(|refused| match refused.verdict {
        Err(finding) => finding,
        Ok(()) => order.invalid("there is no verdict".to_owned(), "a verdict"),
    })?;
    let instants = Instants { committer: now, first_sight: Some(now) };
    let signers =
        order.signers(asked.signatures, Keys { policy: &state.policy, instants: &instants, verifier: judge.verifier });
    let credit = Credit::by(None, signers.good.iter().cloned());
    match state.policy.authorise(&order.commit, &trust_file_path(), &credit) {
        Ok(()) => Ok(signers.good),
        Err(finding) => {
            let finding = order.unauthorised(finding, &signers, &state.policy.root_formats(now));
            Err(Finding { code: TrustCode::W702.entry(), ..finding })
        }
    }
}

/// Judges `head` as [`crate::judge_with`] does, with these waivers. Where it is refused all the same, or holds no longer as
/// soon as it is accepted ([`Judgement::broken`]), nothing of it is let through by the order.
#[must_use]
pub fn judge_waiving(
    history: &dyn History,
    root: &TrustRootSpec,
    start: &Start,
    head: impl Into<Head>,
    now: Timestamp,
    with: Verifiers<'_>,
    waivers: &Waivers,
) -> Judgement {
    let head = head.into();
    let judgement = judge_and_tell(history, root, start, head, now, with, None, waivers);
    // A head that is broken by its own revocations counts all the same; one that an order lets through would count unsaid.
    let is_broken = judgement.broken().is_some() && !judgement.waived().is_empty();
    if waivers.head.is_none() || (judgement.refusal().is_none() && !is_broken) {
        return judgement;
    }
    let before = Waivers { before: waivers.before.clone(), head: None };
    judge_and_tell(history, root, start, head, now, with, None, &before)
}

/// The files that a step brought which was let through, and that are still as it left them in a later commit. None if the
/// step has become one that needs no order: those who may have approved it since. `waivers` is what let steps through, this
/// one or others.
///
/// # Errors
/// When the history cannot be read.
pub fn still_waived(
    history: &dyn History,
    root: &TrustRootSpec,
    step: (&CommitId, &CommitId),
    later: &CommitId,
    now: Timestamp,
    with: Verifiers<'_>,
    waivers: &Waivers,
) -> Result<Vec<RepoPath>, Finding> {
    let (predecessor, commit) = step;
    let mut left = Vec::new();
    for change in changes(history, Some(predecessor), commit, Place::Below)? {
        let entry = history.entry(later, &change.path).map_err(|error| unreadable(later, &error))?;
        if entry == change.after {
            left.push(change.path);
        }
    }
    if !left.is_empty() {
        let alone = crate::judge_with(history, root, &Start::Accepted(*predecessor), commit, now, with);
        // An approval with a key that is revoked by now ends nothing.
        let mut others = Waivers { before: waivers.before.clone(), head: None };
        others.before.remove(commit);
        let held = HeldTo { commit, folder: None, verified: later, order: None, waivers: &others };
        if alone.refusal().is_none() && held_to(history, root, &held, now, with).is_ok() {
            left.clear();
        }
    }
    Ok(left)
}
