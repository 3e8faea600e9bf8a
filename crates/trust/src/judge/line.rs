//! The line of accepted steps. It is not that of first parents: commits that root principals had left out are on that one,
//! and were never in force. What a revoked step left is asked along this line alone.

use manifest::Finding;

use super::{Judge, Position, Refused, Taken};
use crate::{CommitId, Start, TrustCode, Verifiers, refusal::refuse, step::read_commit, still_holds::Made};

/// An accepted step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) commit: CommitId,
    /// What it was judged from; nothing for the introduction.
    pub(super) predecessor: Option<CommitId>,
    /// The refused commits between the two that were left out.
    pub(super) skipped: Vec<CommitId>,
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
    pub(super) fn accepted_line(&self, to: CommitId) -> Result<Vec<Accepted>, Finding> {
        let introduction = self.root.introduction.commit;
        let mut line = vec![Accepted { commit: introduction, predecessor: None, skipped: Vec::new() }];
        if to == introduction {
            return Ok(line);
        }
        let start = Start::Introduction;
        let blank = Judge::new(self.history, self.root, &start, self.now, (&to).into(), Verifiers::default());
        let again = Judge { verifier: self.verifier, waivers: self.waivers, ..blank };
        let untold = |finding| untold(&to, finding);
        let refused = |refused: Refused| refused.verdict.err().map_or_else(|| untold(no_verdict(&to)), untold);
        let (mut state, _) = again.introduce().map_err(refused)?;
        let chain = again.chain(&introduction).map_err(untold)?;
        let mut at = 0;
        while let Some(commit) = chain.get(at).copied() {
            let alone = again.step(&state, commit, Position::Passed, &[]);
            let taken = alone.or_else(|refused| again.skip(&state, &chain, at, Position::Passed, refused));
            let Taken { good: (next, _), skipped, .. } = taken.map_err(refused)?;
            at = at.saturating_add(skipped.len()).saturating_add(1);
            line.push(Accepted { commit: next.commit, predecessor: Some(state.commit), skipped });
            state = next;
        }
        Ok(line)
    }

    /// What is asked of accepted steps.
    pub(super) fn made(&self, steps: &[Accepted]) -> Result<Vec<Made>, Finding> {
        let made = |step: &Accepted| {
            let object = read_commit(self.history, &step.commit)?;
            Ok(Made {
                commit: step.commit,
                predecessor: step.predecessor,
                skipped: step.skipped.clone(),
                tree: object.tree,
                payload: object.payload_sha256,
                signed: self.verifier.signed_by(&object),
                is_merge: object.parents.len() > 1,
            })
        };
        steps.iter().map(made).collect()
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
