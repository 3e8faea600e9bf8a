//! Whether what is in force still holds under its own revocations.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use manifest::Finding;

use super::{Judge, Judgement, LetThrough, Line, State, WaivedStep, Waivers};
use crate::{
    AuthorizedCommit, CommitId, History, Revoked, Start, TrustFile, TrustRootSpec, Verifiers,
    instants::Instants,
    issuers::Issuers,
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
    /// W304 if it does not. Looked at are all accepted steps from the introduction, or from where the caller says that it is
    /// accepted, of which `line` are those of this judgement; of what was looked through before under the same trust, what
    /// it left.
    pub(super) fn still_holds(&self, state: &State, waived: &[WaivedStep], line: Line) -> Result<(), Finding> {
        if state.policy.revoked.is_empty() {
            return Ok(());
        }
        let before = match self.start {
            Start::Accepted(commit) => Some(*commit),
            Start::Introduction | Start::Above(_) | Start::Resumed(_) => None,
        };
        // Of a part nothing is remembered: it would take the place of the whole.
        let known = self.known.filter(|_known| before.is_none());
        let was_looked = known.and_then(|known| known.looked(&state.digest));
        let (looked, steps) = self.not_looked(line, before, was_looked.as_deref())?;
        let from = looked.as_ref().map(|looked| looked.last).or(before);
        let mut looked = looked.unwrap_or_else(|| Looked::none(state.commit));
        let of_steps = steps.iter().map(|step| &step.commit);
        self.add_issuers(&mut looked.issuers, &state.policy, from.iter().chain(of_steps))?;
        let (ends, let_through) = (ends(&state.policy, &steps), self.let_through(waived));
        let asked = self.asked(state, &steps, &ends, &let_through);
        let looked = asked.look(looked)?;
        let verdict = asked.verdict(&looked);
        if let Some(known) = known {
            known.keep_looked(state.digest, Arc::new(looked));
        }
        verdict
    }

    /// What was looked through before, if that is on the line of what is accepted, and the steps after it; without it, all
    /// of them. Only then is it asked what was accepted before this judgement.
    fn not_looked(
        &self,
        line: Line,
        before: Option<CommitId>,
        known: Option<&Looked>,
    ) -> Result<(Option<Looked>, Vec<Arc<Made>>), Finding> {
        let Line { from, steps } = line;
        let after = |known: &Looked| {
            let of_steps = std::iter::once(&from).chain(steps.iter().map(|step| &step.commit));
            let place = of_steps.into_iter().position(|commit| *commit == known.last)?;
            Some((known.clone(), steps.get(place..)?))
        };
        if let Some((known, steps)) = known.and_then(after) {
            return Ok((Some(known), self.made(steps)?));
        }
        let steps = self.made(&steps)?;
        if before.is_some() {
            return Ok((None, steps));
        }
        let mut whole = self.accepted_line(from)?;
        whole.extend(steps);
        let place = known.and_then(|known| whole.iter().position(|step| step.commit == known.last));
        match place {
            Some(place) => Ok((known.cloned(), whole.split_off(place.saturating_add(1)))),
            None => Ok((None, whole)),
        }
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
        steps: &'a [Arc<Made>],
        ends: &'a Ends,
        let_through: &'a BTreeMap<CommitId, LetThrough>,
    ) -> StillHolds<'a> {
        StillHolds {
            history: self.history,
            root: self.root,
            policy: &state.policy,
            steps,
            ends,
            let_through,
            last: state.commit,
            judged_by: state.commit,
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
