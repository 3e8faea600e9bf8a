//! Where trust starts: a commit that the TrustRoot pins, whose trust file the root keys vouch for, or one that was accepted
//! before.

use std::rc::Rc;

use jiff::Timestamp;
use manifest::{Finding, counted};

use super::{Judge, Judgement, Refused, Start, State, UpToFloor, refusal_of};
use crate::{
    AuthorizedCommit, CommitId, CommitObject, History, RootKeys, SigningFormats, TrustCode, TrustFile, TrustRootSpec,
    VerifiedCommit, Verifiers,
    instants::Instants,
    refusal::refuse,
    repair::{Place, sign_trust_file},
    step::{Sealed, changes, joined, payload_in_force, read_commit, read_trust_file},
    trust_file::{SignatureFile, load_certificates},
    verified::{Grounds, made_at, trust_digest},
    watched::Watched,
};

/// Judges where trust would start, whatever ref leads there, before there is a TrustRoot that says so. Nothing is given out as
/// accepted.
#[must_use]
pub fn judge_introduction(history: &dyn History, root: &TrustRootSpec, now: Timestamp) -> Judgement {
    let watched = Watched::new(history);
    let head = (&root.introduction.commit).into();
    let judge = Judge::new(&watched, root, &Start::Introduction, now, head, Verifiers::default());
    let mut judgement = judge.run_from_introduction(None, UpToFloor::Listed);
    judge.minimum_version(&mut judgement);
    judgement.unreadable = watched.failure();
    judgement.accepted = None;
    judgement
}

impl Judge<'_> {
    /// The introduction: pinned by the TrustRoot, its trust file vouched for by the root keys.
    pub(super) fn introduce(&self) -> Result<(State, AuthorizedCommit), Refused> {
        let id = self.root.introduction.commit;
        let object = read_commit(self.history, &id).map_err(|finding| self.about(id, finding))?;
        let refused = |finding| refusal_of(&object, None, finding);
        let policy = self.first_policy(&object).map_err(refused)?;
        changes(self.history, None, &id, Place::of(&id, &self.head.commit)).map_err(refused)?;
        payload_in_force(&object, &policy).map_err(refused)?;
        let made = made_at(&object).map_err(refused)?;
        let instants = Instants { committer: made, first_sight: None };
        let verified = VerifiedCommit::verify(&object, &policy, &instants, self.verifier).map_err(refused)?;
        let signer = verified.signer().clone();
        let digest = trust_digest(self.root, &policy, self.verifier.basis());
        AuthorizedCommit::authorize(verified, &Grounds::Introduction, self.root, &policy, digest, made)
            .map(|authorized| (State { commit: id, made, policy: Rc::new(policy), digest }, authorized))
            .map_err(|finding| refusal_of(&object, Some(signer), finding))
    }

    fn first_policy(&self, object: &CommitObject) -> Result<TrustFile, Finding> {
        let bytes = read_trust_file(self.history, &object.id)?;
        let files = SignatureFile::all(self.history, &object.id)?;
        let signed = self.root.signed_by(&bytes, &files, self.verifier);
        self.enough(&object.id, signed.good.len(), "root key", &signed.bad)?;
        let mut policy = TrustFile::parse(&bytes).map_err(joined)?;
        load_certificates(self.history, &object.id, &mut policy)?;
        let instants = Instants { committer: made_at(object)?, first_sight: None };
        let mut findings = policy.against_root(self.root);
        findings.extend(policy.out_of_reach(instants.latest()));
        if !findings.is_empty() {
            return Err(joined(findings));
        }
        // Now that it is known whose keys they are: the root keys count as their holders, and what the file demands of
        // its successors it satisfies itself.
        self.enough(&object.id, policy.people_of(&signed.good).len(), "root key holder", &signed.bad)?;
        let place = Place::of(&object.id, &self.head.commit);
        let sealed = Sealed { bytes: &bytes, files: &files, author: None, verifier: self.verifier };
        sealed.vouched(&policy, "its own rules", &instants, &object.id, place)?;
        Ok(policy)
    }

    /// W504 unless the threshold of the root keys is met.
    fn enough(&self, introduction: &CommitId, good: usize, of: &str, bad: &[String]) -> Result<(), Finding> {
        let RootKeys { threshold, keys } = &self.root.root_keys;
        let threshold = (*threshold).max(1);
        if usize::try_from(threshold).is_ok_and(|threshold| good >= threshold) {
            return Ok(());
        }
        let demanded = counted(threshold, of);
        let mut found = format!(".writ/trust.yaml is signed by {good} of {demanded} that are needed");
        for reason in bad {
            found = format!("{found}; {reason}");
        }
        let needed = format!("good signatures of {threshold} of {}", counted(keys.len() as u64, "root key"));
        // Root keys are SSH keys.
        let formats = SigningFormats::default();
        let fix = sign_trust_file(&formats, introduction, Place::of(introduction, &self.head.commit));
        Err(refuse(TrustCode::W504, introduction, found, needed, fix))
    }
}
