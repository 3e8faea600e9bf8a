//! The line of accepted steps. It is not that of first parents: commits that root principals had left out are on that one,
//! and were never in force. What a revoked step left is asked along this line alone.

use std::sync::Arc;

use manifest::{Digest, Finding};

use super::{Judge, MAX_STEPS, Position, Refused, State, Taken, mainline::first_parent};
use crate::{
    CommitId, CommitObject, HistoryError, Start, TrustCode, Verifiers,
    declared_kinds::over_budget,
    refusal::{refuse, unreadable},
    step::read_commit,
    still_holds::{Approved, Made},
};

/// An accepted step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) commit: CommitId,
    /// What it was judged from; nothing for the introduction.
    pub(crate) predecessor: Option<CommitId>,
    /// The refused commits between the two that were left out.
    pub(crate) skipped: Vec<CommitId>,
    /// Whether it was judged by what lay beside it.
    pub(crate) approved: Approved,
}

/// Accepted steps that follow a commit, oldest first.
pub(super) struct Line {
    pub(super) from: CommitId,
    pub(super) steps: Vec<Accepted>,
}

impl Line {
    pub(super) const fn after(from: CommitId) -> Self {
        Self { from, steps: Vec::new() }
    }
}

impl Judge<'_> {
    /// The accepted steps from the introduction, which is the first, to a commit that was accepted before. Who accepted it
    /// knows no longer what was left out on the way, and nothing that lies beside a commit says so alone: the steps are
    /// judged again, as those up to a floor are.
    ///
    /// # Errors
    /// W304 where a step is refused by now: what it stood on is gone, and what it followed cannot be told. Or what cannot be
    /// read.
    pub(super) fn accepted_line(&self, to: CommitId) -> Result<Vec<Arc<Made>>, Finding> {
        let start = Start::Introduction;
        let blank = Judge::new(self.history, self.root, &start, self.now, (&to).into(), Verifiers::default());
        let again = Judge { verifier: self.verifier, waivers: self.waivers, ..blank };
        let cache = self.verifier.parts().known;
        let under = again.lined_under();
        let known = cache.and_then(|cache| cache.line(&under));
        if let Some(known) = &known
            && let Some(place) = known.iter().rposition(|step| step.commit == to)
        {
            return Ok(known.iter().take(place.saturating_add(1)).cloned().collect());
        }
        let untold = |finding| untold(&to, finding);
        let refused = |refused: Refused| refused.verdict.err().map_or_else(|| untold(no_verdict(&to)), untold);
        let further = known.as_deref().and_then(|known| again.further(known));
        let is_further = further.is_some();
        let (mut state, chain, mut line) = match further {
            Some(further) => further,
            None => {
                let introduction = self.root.introduction.commit;
                let (state, _) = again.introduce().map_err(refused)?;
                let object = read_commit(self.history, &introduction)?;
                let first = again.step_made(&object, None, Vec::new(), Approved::No);
                (state, again.chain(&introduction).map_err(untold)?, vec![Arc::new(first)])
            }
        };
        let mut at = 0;
        while let Some(commit) = chain.get(at).copied() {
            let alone = again.step(&state, commit, Position::Passed, &[]);
            let taken = alone.or_else(|refused| again.skip(&state, &chain, at, Position::Passed, refused));
            let Taken { good: (next, _), skipped, approvals, .. } = taken.map_err(refused)?;
            at = at.saturating_add(skipped.len()).saturating_add(1);
            let (predecessor, approved) = (Some(state.commit), again.approved(&next.commit, &approvals));
            let object = read_commit(self.history, &next.commit)?;
            line.push(Arc::new(again.step_made(&object, predecessor, skipped, approved)));
            state = next;
        }
        // A line that leads elsewhere does not take the place of the one that goes on.
        if let Some(cache) = cache.filter(|_cache| is_further || known.is_none()) {
            cache.keep_line(under, line.clone().into());
        }
        Ok(line)
    }

    /// What the accepted steps depend on besides what lies in the repository.
    fn lined_under(&self) -> Digest {
        let (root, basis) = (self.root.canonical(), self.verifier.basis());
        Digest::of_parts([root.as_slice()].into_iter().chain(basis.as_ref().map(<[u8; 32]>::as_slice)))
    }

    /// What is in force at the end of a line that is known, and the commits after it, if it leads to the head.
    fn further(&self, known: &[Arc<Made>]) -> Option<(State, Vec<CommitId>, Vec<Arc<Made>>)> {
        let last = known.last()?.commit;
        let chain = self.chain(&last).ok()?;
        Some((self.resume(&last, None).ok()?, chain, known.to_vec()))
    }

    /// What is asked of accepted steps.
    pub(super) fn made(&self, steps: &[Accepted]) -> Result<Vec<Arc<Made>>, Finding> {
        let made = |step: &Accepted| {
            let object = read_commit(self.history, &step.commit)?;
            Ok(Arc::new(self.step_made(&object, step.predecessor, step.skipped.clone(), step.approved)))
        };
        steps.iter().map(made).collect()
    }

    /// By what lay beside a step and counted. Somebody may approve one later that an order let through.
    pub(super) fn approved(&self, step: &CommitId, envelopes: &[Vec<u8>]) -> Approved {
        let is_head = self.waivers.head.as_ref().is_some_and(|by| by.order.commit == *step);
        match envelopes {
            [] if is_head || self.waivers.before.contains_key(step) => Approved::Untold,
            [] => Approved::No,
            _ => Approved::Yes,
        }
    }

    fn step_made(
        &self,
        object: &CommitObject,
        predecessor: Option<CommitId>,
        skipped: Vec<CommitId>,
        approved: Approved,
    ) -> Made {
        Made {
            commit: object.id,
            predecessor,
            skipped,
            approved,
            tree: object.tree,
            payload: object.payload_sha256,
            signed: self.verifier.signed_by(object),
            is_merge: object.parents.len() > 1,
        }
    }

    /// The commits along first parents before the introduction, oldest first, if this is one of them: what was accepted before
    /// an admin let trust start anew. Under which trust is no longer known, so each counts as a step; one that is not in the
    /// form of a commit never was one.
    pub(super) fn before_introduction(&self, commit: &CommitId) -> Result<Option<Vec<Arc<Made>>>, Finding> {
        let introduction = self.root.introduction.commit;
        if !self.is_before(commit, &introduction)? {
            return Ok(None);
        }
        let (mut objects, mut at) = (Vec::new(), introduction);
        for _ in 0..=MAX_STEPS {
            let raw = self.history.commit(&at).map_err(|error| unreadable(commit, &error))?;
            let Some(raw) = raw else {
                let missing = HistoryError::Missing { object: format!("commit {at}") };
                return Err(unreadable(commit, &missing));
            };
            if at != introduction {
                objects.extend(CommitObject::parse(at, &raw).ok());
            }
            let Some(parent) = first_parent(&raw) else {
                objects.reverse();
                let predecessors = std::iter::once(None).chain(objects.iter().map(|object| Some(object.id)));
                let made = |(object, before)| Arc::new(self.step_made(object, before, Vec::new(), Approved::Untold));
                return Ok(Some(objects.iter().zip(predecessors).map(made).collect()));
            };
            at = parent;
        }
        Err(over_budget(commit, "steps before the introduction", MAX_STEPS))
    }
}

/// W304: what was accepted up to a commit cannot be told any more.
fn untold(to: &CommitId, finding: Finding) -> Finding {
    if finding.code == TrustCode::W403.entry() {
        return finding;
    }
    let Finding { code, subject, found, .. } = finding;
    let found = format!(
        "it cannot be told what is left of what is revoked: {subject} is refused by now, and what approved it cannot be read \
         or is gone ({}: {found})",
        code.code
    );
    let needed = "what approved the commits before it, or had others left out".to_owned();
    let fix = "git push origin refs/notes/writ-approvals # from a clone that has them; or name a later introduction in the \
               TrustRoot: writ trust root REV prints it";
    refuse(TrustCode::W304, to, found, needed, fix.to_owned())
}

fn no_verdict(to: &CommitId) -> Finding {
    refuse(TrustCode::W304, to, "there is no verdict".to_owned(), "a verdict".to_owned(), String::new())
}
