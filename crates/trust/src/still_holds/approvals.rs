//! Steps that stood on approvals which are withdrawn.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use manifest::{Finding, RepoPath};

use super::{Left, Ordered, StillHolds};
use crate::{
    Change, CommitId, CommitObject, Credit, MAX_SKIPPED, Revoked, TrustFile,
    approval::{Approvals, Bound, Withdrawn},
    declared_kinds::Definitions,
    instants::Instants,
    refusal::unreadable,
    repair::Place,
    step::{Brought, Step, authorise_all, changes, read_commit, read_trust_file},
    trust_file::{load_certificates, trust_file_path},
    verified::made_at,
};

/// The trust files that were in force, by the object ids of their files; nothing for what does not parse, which never was.
pub(crate) type Policies = RefCell<BTreeMap<String, Option<Rc<TrustFile>>>>;

/// A step as it was judged: what it follows, the trust file there, and the refused commits between the two.
pub(super) struct Judged<'a> {
    pub(super) predecessor: CommitId,
    pub(super) policy: Rc<TrustFile>,
    pub(super) object: &'a CommitObject,
    pub(super) skipped: Vec<CommitId>,
    /// Whether an order waives who must stand for it.
    pub(super) waives: bool,
}

impl StillHolds<'_> {
    /// What a step left that was accepted because somebody approved it, and would not be without what is withdrawn.
    pub(super) fn left_by_approvals(
        &self,
        place: usize,
        before: CommitId,
        ordered: Ordered,
        withdrawn: Withdrawn<'_>,
        left: &mut BTreeMap<RepoPath, Left>,
    ) -> Result<(), Finding> {
        let Some(step) = self.steps.get(place).filter(|_step| self.revokes_signers()) else { return Ok(()) };
        let beside = self.history.attestations(&step.commit, &step.tree);
        if beside.as_ref().is_ok_and(Vec::is_empty) {
            return Ok(());
        }
        let Some(policy) = self.policy_at(&before)? else { return Ok(()) };
        let object = read_commit(self.history, &step.commit)?;
        let mut judged = Judged {
            predecessor: before,
            policy,
            object: &object,
            skipped: Vec::new(),
            waives: ordered == Ordered::Stands,
        };
        if let Err(error) = beside {
            // Whoever makes it unreadable must not keep a withdrawn approval in force: it counts as withdrawn.
            self.unseen.set(true);
            let why = format!("commit {:.12}: what approved it cannot be read: {error}", step.commit.to_string());
            for change in self.unsupported(&judged, Approvals::default())? {
                left.insert(change.path, Left { step: Some(place), entry: change.after, why: why.clone() });
            }
            return Ok(());
        }
        let mut approvals = self.approvals(&judged, withdrawn)?;
        // An approval of the whole change since a commit further back: those between were left out.
        let further = approvals.withdrawn.iter().find_map(|(approval, _why)| self.skipped_since(place, approval.from));
        if let Some((predecessor, skipped)) = further
            && let Some(policy) = self.policy_at(&predecessor)?
        {
            judged = Judged { predecessor, policy, skipped, ..judged };
            approvals = self.approvals(&judged, withdrawn)?;
        }
        let from = judged.predecessor;
        let Some((_, why)) = approvals.withdrawn.iter().find(|(approval, _why)| approval.from == from) else {
            return Ok(());
        };
        let why = format!("commit {:.12}: {why}", step.commit.to_string());
        for change in self.unsupported(&judged, approvals)? {
            left.insert(change.path, Left { step: Some(place), entry: change.after, why: why.clone() });
        }
        Ok(())
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
        let Judged { predecessor, policy, object, skipped, waives } = judged;
        let changes = changes(self.history, Some(predecessor), &object.id, Place::Below)?;
        let Some(signer) = policy.signer_of_commit(object, self.verifier.parts()) else { return Ok(changes) };
        let instants = Instants { committer: made_at(object)?, first_sight: None };
        let is_skip = |principals| {
            let credit = Credit::by(None, principals);
            policy.authorise(&object.id, &trust_file_path(), &credit).is_ok()
        };
        if !skipped.is_empty() && !approvals.skips.values().cloned().any(is_skip) {
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

    /// A commit of the mainline before the predecessor of a step, and those between it and the step.
    pub(super) fn skipped_since(&self, place: usize, from: CommitId) -> Option<(CommitId, Vec<CommitId>)> {
        let between = self.steps.get(place.saturating_sub(MAX_SKIPPED.saturating_add(1))..place)?;
        let begin = match between.iter().position(|step| step.commit == from) {
            Some(found) => found.saturating_add(1),
            None if self.before == Some(from) && between.len() == place => 0,
            None => return None,
        };
        let skipped: Vec<CommitId> = between.get(begin..)?.iter().map(|step| step.commit).collect();
        (!skipped.is_empty()).then_some((from, skipped))
    }
}
