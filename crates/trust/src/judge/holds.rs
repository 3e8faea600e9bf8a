//! Whether what is in force still holds under its own revocations.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use manifest::Finding;

use super::{Judge, Judgement, LetThrough, MAX_STEPS, State, WaivedStep, Waivers};
use crate::{
    AuthorizedCommit, CommitId, History, Revoked, Start, TrustFile, TrustRootSpec, Verifiers,
    instants::Instants,
    issuers::Issuers,
    step::read_commit,
    still_holds::{Ends, Looked, Made, Policies, StillHolds, ends},
    watched::Watched,
};

/// Judges once more what was accepted before: nothing is asked of the tag that it was released by.
#[must_use]
pub fn judge_floor(
    history: &dyn History,
    root: &TrustRootSpec,
    floor: &AuthorizedCommit,
    now: Timestamp,
    with: Verifiers<'_>,
    waivers: &Waivers,
) -> Judgement {
    let (watched, start) = (Watched::new(history), Start::Resumed(floor.clone()));
    let head = (&floor.id).into();
    Judge { waivers, ..Judge::new(&watched, root, &start, now, head, with) }.range(&watched)
}

impl Judge<'_> {
    /// W304 if it does not. Looked at is the whole mainline from the introduction, or from where the caller says that it is
    /// accepted; of what was looked through before under the same trust, what it left.
    pub(super) fn still_holds(&self, state: &State, waived: &[WaivedStep]) -> Result<(), Finding> {
        if state.policy.revoked.is_empty() {
            return Ok(());
        }
        let (before, until) = match self.start {
            Start::Accepted(commit) => (Some(*commit), *commit),
            Start::Introduction | Start::Above(_) | Start::Resumed(_) => (None, self.root.introduction.commit),
        };
        let known = self.known.and_then(|known| known.looked(&state.digest, before));
        let (mut steps, mut at, mut looked) = (Vec::new(), state.commit, None);
        loop {
            if let Some(known) = known.as_deref().filter(|known| known.last == at) {
                looked = Some(known.clone());
                break;
            }
            if before == Some(at) {
                break;
            }
            let (made, parent) = self.made(at)?;
            steps.push(made);
            match parent {
                Some(parent) if at != until && steps.len() <= MAX_STEPS => at = parent,
                _ => break,
            }
        }
        steps.reverse();
        let from = looked.as_ref().map(|looked| looked.last).or(before);
        let mut looked = looked.unwrap_or_else(|| Looked::none(state.commit));
        let of_steps = steps.iter().map(|step| &step.commit);
        self.add_issuers(&mut looked.issuers, &state.policy, from.iter().chain(of_steps))?;
        let (ends, let_through) = (ends(&state.policy, &steps), self.let_through(waived));
        let asked = StillHolds { before: from, ..self.asked(state, &steps, &ends, &let_through) };
        let looked = asked.look(looked)?;
        let verdict = asked.verdict(&looked);
        if let Some(known) = self.known {
            known.keep_looked(state.digest, before, Arc::new(looked));
        }
        verdict
    }

    /// A commit of the mainline, and what it follows.
    pub(super) fn made(&self, commit: CommitId) -> Result<(Made, Option<CommitId>), Finding> {
        let object = read_commit(self.history, &commit)?;
        let made = Made {
            commit,
            tree: object.tree,
            payload: object.payload_sha256,
            signed: self.verifier.signed_by(&object),
            is_merge: object.parents.len() > 1,
        };
        Ok((made, object.parents.first().copied()))
    }

    /// Whose keys and certificates these commits know of, if anything is revoked by such a name.
    pub(super) fn add_issuers<'c>(
        &self,
        issuers: &mut Issuers,
        policy: &TrustFile,
        commits: impl Iterator<Item = &'c CommitId>,
    ) -> Result<(), Finding> {
        if asks_for_issuers(policy) {
            for commit in commits {
                issuers.add(self.history, commit)?;
            }
        }
        Ok(())
    }

    /// Whether what these steps left holds, of which the last made `state`.
    pub(super) fn asked<'a>(
        &'a self,
        state: &'a State,
        steps: &'a [Made],
        ends: &'a Ends,
        let_through: &'a BTreeMap<CommitId, LetThrough>,
    ) -> StillHolds<'a> {
        StillHolds {
            history: self.history,
            root: self.root,
            policy: &state.policy,
            before: None,
            steps,
            ends,
            let_through,
            last: state.commit,
            instants: Instants { committer: state.made, first_sight: Some(self.now) },
            verifier: self.verifier,
            policies: Policies::default(),
            unseen: Cell::default(),
        }
    }
}

/// Whether something is revoked that signatures do not name themselves.
fn asks_for_issuers(policy: &TrustFile) -> bool {
    policy.revoked.keys().any(|revoked| match revoked {
        Revoked::Certificate(_) | Revoked::Serials { .. } | Revoked::KeyId { .. } => true,
        Revoked::Key(_) | Revoked::Keyless(_) | Revoked::Payload(_) => false,
    })
}
