//! Steps as they were judged, by what is left of who approved them.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use manifest::{Digest, Finding};

use super::{Ends, Made, StillHolds};
use crate::{
    Approval, Change, CommitId, CommitObject, Credit, Decision, HistoryError, Revoked, TrustCode, TrustFile,
    approval::{Approvals, Bound, Withdrawn},
    declared_kinds::Definitions,
    instants::Instants,
    refusal::{refuse, unreadable},
    repair::Place,
    step::{Brought, Step, authorise_all, changes, payload, read_trust_file},
    trust_file::{load_certificates, trust_file_path},
    verified::made_at,
};

/// The trust files that were in force, by the object ids of their files; nothing for what does not parse, which never was.
pub(crate) type Policies = RefCell<BTreeMap<String, Option<Rc<TrustFile>>>>;

/// A step as it was judged: what it follows, the trust file there, and the refused commits between the two.
pub(super) struct Judged<'a> {
    predecessor: CommitId,
    policy: Rc<TrustFile>,
    object: &'a CommitObject,
    skipped: &'a [CommitId],
    /// Their payloads.
    left_out: Vec<Digest>,
    /// Whether an order waives who must stand for it.
    waives: bool,
}

impl Judged<'_> {
    /// Whether an approval of this decision can have made it accepted.
    pub(super) fn stood_on(&self, approval: &Approval) -> bool {
        match approval.decision {
            Decision::Approve => true,
            Decision::Skip => approval.skipped == self.left_out,
            Decision::Vouch => false,
        }
    }
}

/// A step among those that are looked at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// Its place, and where soft revocations begin among them.
    pub(super) place: usize,
    pub(super) ends: &'a Ends,
    pub(super) step: &'a Arc<Made>,
    pub(super) predecessor: &'a CommitId,
}

impl StillHolds<'_> {
    /// How a step was judged. A predecessor was in force, so it has a trust file.
    pub(super) fn judged<'o>(
        &self,
        At { step, predecessor, .. }: At<'o>,
        object: &'o CommitObject,
        waives: bool,
    ) -> Result<Judged<'o>, Finding> {
        let Some(policy) = self.policy_at(predecessor)? else {
            let (found, needed) = ("no trust file that can be read".to_owned(), "the one that was in force".to_owned());
            let fix = "remove the folder of the mirror; it is fetched again".to_owned();
            return Err(refuse(TrustCode::W501, predecessor, found, needed, fix));
        };
        let payload = |skipped: &CommitId| {
            let payload = payload(self.history, skipped).map_err(|error| unreadable(skipped, &error))?;
            let missing = || HistoryError::Missing { object: format!("commit {skipped}") };
            payload.ok_or_else(|| unreadable(skipped, &missing()))
        };
        let left_out = step.skipped.iter().map(payload).collect::<Result<_, _>>()?;
        Ok(Judged { predecessor: *predecessor, policy, object, skipped: &step.skipped, left_out, waives })
    }

    /// Whether anything is revoked that signs.
    pub(super) fn revokes_signers(&self) -> bool {
        self.policy.revoked.keys().any(|revoked| !matches!(revoked, Revoked::Payload(_)))
    }

    pub(super) fn approvals(&self, judged: &Judged<'_>, withdrawn: Withdrawn<'_>) -> Result<Approvals, Finding> {
        let instants = Instants { committer: made_at(judged.object)?, first_sight: None };
        let bound = Bound {
            root: self.root,
            policy: &judged.policy,
            predecessor: &judged.predecessor,
            object: judged.object,
            instants: &instants,
            verifier: self.verifier,
            withdrawn: Some(withdrawn),
        };
        Ok(Approvals::of(self.history, &bound))
    }

    /// The changes of a step for which those who are left do not stand.
    pub(super) fn unsupported(&self, judged: &Judged<'_>, approvals: Approvals) -> Result<Vec<Change>, Finding> {
        let Judged { predecessor, policy, object, skipped, left_out, waives } = judged;
        let changes = changes(self.history, Some(predecessor), &object.id, Place::Below)?;
        let Some(signer) = policy.signer_of_commit(object, self.verifier.parts()) else { return Ok(changes) };
        let instants = Instants { committer: made_at(object)?, first_sight: None };
        let is_skip = |principals| {
            let credit = Credit::by(None, principals);
            policy.authorise(&object.id, &trust_file_path(), &credit).is_ok()
        };
        if !skipped.is_empty() && !approvals.skips.get(left_out).cloned().is_some_and(is_skip) {
            return Ok(changes);
        }
        let (history, root, verifier, place) = (self.history, self.root, self.verifier, Place::Below);
        // Who signed a new trust file is asked as it was then; with a signature that does not count, all of it is in doubt.
        let Ok(brought) = Brought::by(history, root, policy, object, place, &instants, verifier, &changes, signer)
        else {
            return Ok(changes);
        };
        let definitions = &Definitions::default();
        let asked = Step {
            history,
            root,
            policy,
            predecessor,
            object,
            place,
            instants,
            verifier,
            changes,
            skipped,
            definitions,
            brought,
            approved: OnceCell::from(approvals),
            waives: *waives,
            waived: OnceCell::new(),
        };
        if asked.stands(signer).is_ok() {
            return Ok(Vec::new());
        }
        let (alone, signed) = (Credit::of_author(signer), asked.brought.as_ref().map(|brought| &brought.signed));
        let mut changes = asked.changes;
        let lacks =
            |change: &Change| authorise_all(policy, &object.id, std::slice::from_ref(change), &alone, signed).is_err();
        // If the signer alone may change everything, the approval bound the step to its ref.
        if changes.iter().any(lacks) {
            changes.retain(lacks);
        }
        Ok(changes)
    }

    /// The trust file of a commit of the mainline.
    pub(super) fn policy_at(&self, commit: &CommitId) -> Result<Option<Rc<TrustFile>>, Finding> {
        let entry = self.history.entry(commit, &trust_file_path()).map_err(|error| unreadable(commit, &error))?;
        let Some(entry) = entry else { return Ok(None) };
        if let Some(known) = self.policies.borrow().get(&entry.id) {
            return Ok(known.clone());
        }
        let bytes = read_trust_file(self.history, commit)?;
        let policy = match TrustFile::parse(&bytes) {
            Ok(mut policy) => {
                load_certificates(self.history, commit, &mut policy)?;
                Some(Rc::new(policy))
            }
            Err(_never_in_force) => None,
        };
        self.policies.borrow_mut().insert(entry.id, policy.clone());
        Ok(policy)
    }
}
