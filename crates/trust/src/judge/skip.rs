//! Going on after a refused commit that cannot be taken out of the branch any more.
//!
//! Root principals name, by their payloads, the commits to be left out, and with them a later commit that mends what they
//! did. That one is judged as one step from the last good commit: all that is different between the two is its signer's,
//! or has to be approved. Nothing of the commits that are left out is ever in force.

use manifest::Digest;

use super::{Judge, Position, Refused, State, Taken, made_at};
use crate::{
    CommitId, Credit, MAX_SKIPPED,
    approval::{Approvals, Bound},
    instants::Instants,
    refusal::accepted_before,
    step::{payload, read_commit},
    trust_file::trust_file_path,
};

impl Judge<'_> {
    /// The step to the next good commit for which enough root principals have those before it left out. `refused` is why the
    /// one at `at` does not count, and stays if there is none; of those that are not good, the last says why.
    pub(super) fn skip(
        &self,
        state: &State,
        chain: &[CommitId],
        at: usize,
        position: Position,
        refused: Refused,
    ) -> Result<Taken, Refused> {
        let Some((first, payload)) = chain.get(at).and_then(|first| Some((*first, self.payload(first)?))) else {
            return Err(refused);
        };
        let (mut payloads, mut skipped, mut refused) = (vec![payload], vec![first], refused);
        for later in chain.iter().skip(at.saturating_add(1)).take(MAX_SKIPPED) {
            if let Some(orders) = self.orders_to_skip(state, later, position.is_above(), &payloads) {
                match self.step(state, *later, position, &skipped) {
                    Ok(mut taken) => {
                        taken.approvals.extend(orders);
                        return Ok(taken);
                    }
                    // What was to mend it may be mended by a later one in its turn.
                    Err(finding) => refused = finding,
                }
            }
            let Some(payload) = self.payload(later) else { break };
            payloads.push(payload);
            skipped.push(*later);
        }
        Err(refused)
    }

    /// The envelopes in which enough of those who may change the trust file have these payloads left out before `later`.
    fn orders_to_skip(
        &self,
        state: &State,
        later: &CommitId,
        above: bool,
        payloads: &[Digest],
    ) -> Option<Vec<Vec<u8>>> {
        let object = read_commit(self.history, later).ok()?;
        let instants = Instants { committer: made_at(&object).ok()?, first_sight: above.then_some(self.now) };
        let bound = Bound {
            root: self.root,
            policy: &state.policy,
            predecessor: &state.commit,
            object: &object,
            instants: &instants,
            verifier: self.verifier,
            withdrawn: None,
        };
        let approvals = Approvals::of(self.history, &bound);
        let credit = Credit::by(None, approvals.skips.get(payloads)?.iter().cloned());
        let enough = state.policy.authorise(later, &trust_file_path(), &credit).is_ok();
        enough.then_some(approvals.counted)
    }

    /// A refusal of a commit that was accepted before, with what mends that.
    pub(super) fn accepted_before(&self, refused: Refused, state: &State) -> Refused {
        let is_merge = read_commit(self.history, &refused.commit).is_ok_and(|object| object.parents.len() > 1);
        let formats = state.policy.root_formats(self.now);
        Box::new(accepted_before(*refused, &state.commit, is_merge, (self.root, &formats)))
    }

    /// What root principals name it by. An error stays with `Watched`, and makes the whole judgement none.
    pub(super) fn payload(&self, commit: &CommitId) -> Option<Digest> {
        payload(self.history, commit).ok()?
    }
}
