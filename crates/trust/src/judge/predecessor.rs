//! What a step follows: what is in force at an accepted commit, and the time that it was made.

use std::rc::Rc;

use jiff::Timestamp;
use manifest::Finding;

use super::{Judge, Refused, State, refusal_of};
use crate::{
    AuthorizedCommit, CLOCK_SKEW, CommitId, CommitObject, TrustCode, TrustFile,
    refusal::{refuse, sign_again},
    repair::Place,
    step::{joined, read_commit, read_trust_file},
    trust_file::load_certificates,
    verified::{made_at, trust_digest},
};

impl Judge<'_> {
    /// What is in force at a commit that was accepted before.
    pub(super) fn resume(&self, id: &CommitId, proven: Option<&AuthorizedCommit>) -> Result<State, Refused> {
        let object = read_commit(self.history, id).map_err(|finding| self.about(*id, finding))?;
        let refused = |finding| refusal_of(&object, None, finding);
        if let Some(proven) = proven
            && (proven.tree != object.tree || proven.payload_sha256 != object.payload_sha256)
        {
            let found = format!("tree {} and payload {} differ from the log", object.tree, object.payload_sha256);
            let needed = format!("tree {} and payload {}", proven.tree, proven.payload_sha256);
            let fix = "fetch again from a server you trust".to_owned();
            return Err(refused(refuse(TrustCode::W106, id, found, needed, fix)));
        }
        let bytes = read_trust_file(self.history, id).map_err(refused)?;
        let mut policy = TrustFile::parse(&bytes).map_err(|findings| refused(joined(findings)))?;
        load_certificates(self.history, id, &mut policy).map_err(refused)?;
        let findings = policy.against_root(self.root);
        if !findings.is_empty() {
            return Err(refused(joined(findings)));
        }
        let own = made_at(&object).map_err(refused)?;
        // As an older entry of the log, and who accepts a commit by its id alone, knows no other.
        let made = proven.and_then(|proven| proven.latest).map_or(own, |latest| latest.max(own));
        let digest = trust_digest(self.root, &policy, self.verifier.basis());
        Ok(State { commit: *id, made, policy: Rc::new(policy), digest })
    }

    /// W406: the committer time may not decrease along the mainline nor lie in the future, but for the skew of clocks. The skew
    /// counts from the latest of all before it: from its predecessor alone it would add up, five minutes a step.
    pub(super) fn time(&self, state: &State, object: &CommitObject, place: Place) -> Result<Timestamp, Finding> {
        let made = made_at(object)?;
        let earliest = state.made.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        let latest = self.now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        if (earliest..=latest).contains(&made) {
            return Ok(made);
        }
        let (relation, needed) = if made < earliest {
            ("before what it follows", format!("not before {}", state.made))
        } else {
            ("in the future", format!("not after {}", self.now))
        };
        let again = sign_again(Some(&state.commit), place);
        let fix = format!("{again} # once the clock of the machine is right");
        Err(refuse(TrustCode::W406, &object.id, format!("made {made}, {relation}"), needed, fix))
    }
}
