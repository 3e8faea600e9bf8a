//! Whose change a merge brings, path by path (`history.mergeCredit: transitive`).
//!
//! Where the result of a merge is the clean three-way take of one of its sides (the mainline did not change the path since
//! the two parted, the side did), the signer of the side commit that changed it last stands for the change as well. What
//! the merge made up itself, or what brings an older value back over the mainline, is its signer's alone.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use manifest::{Finding, RepoPath};

use crate::{
    Change, CommitId, CommitObject, Entry, HistoryError, VerifiedCommit,
    declared_kinds::over_budget,
    refusal::unreadable,
    step::{Step, read_commit},
    verified::made_at,
};

/// Most entries that are looked up for one merge: 1,000 paths, each through a branch of 100 commits with a merge here and
/// there; at 10 µs, 2 s.
const MAX_LOOKUPS: usize = 200_000;
/// Most points at which a side and the mainline parted, or met again, of which the newest are looked for.
const MAX_PARTINGS: usize = 32;

/// What is known of the sides of one merge.
pub(crate) struct MergeCredit<'a> {
    step: &'a Step<'a>,
    /// The commits that the merge brings along.
    sides: BTreeMap<CommitId, CommitObject>,
    /// For each other parent: where it parted from the mainline last. `None`: in too many places to tell.
    partings: Vec<(CommitId, Option<Vec<CommitId>>)>,
    signers: RefCell<BTreeMap<CommitId, Option<String>>>,
    lookups: Cell<usize>,
}

impl<'a> MergeCredit<'a> {
    /// Reads the sides of a step that is a merge.
    pub(crate) fn of(step: &'a Step<'a>, sides: &[CommitId]) -> Result<Self, Finding> {
        let mut known = BTreeMap::new();
        for side in sides {
            known.insert(*side, read_commit(step.history, side)?);
        }
        let mut credit =
            Self { step, sides: known, partings: Vec::new(), signers: RefCell::default(), lookups: Cell::new(0) };
        for side in step.object.parents.iter().skip(1) {
            // A parent that the mainline has already brings nothing.
            if credit.sides.contains_key(side) {
                let partings = credit.partings_of(side)?;
                credit.partings.push((*side, partings));
            }
        }
        Ok(credit)
    }

    /// The principal who stands for a change besides who signed the merge, if there is one.
    pub(crate) fn of_change(&self, change: &Change) -> Result<Option<String>, Finding> {
        for (side, partings) in &self.partings {
            let Some(partings) = partings else { continue };
            if self.entry(side, &change.path)? != change.after {
                continue;
            }
            let mut is_clean = true;
            for parting in partings {
                is_clean &= self.entry(parting, &change.path)? == change.before;
            }
            if is_clean
                && let Some(commit) = self.changed_last(side, change)?
                && let Some(signer) = self.signer(&commit)?
            {
                return Ok(Some(signer));
            }
        }
        Ok(None)
    }

    /// The side commit that brought what is at a path now. None if the side has it from the mainline.
    fn changed_last(&self, side: &CommitId, change: &Change) -> Result<Option<CommitId>, Finding> {
        let mut at = *side;
        loop {
            let Some(object) = self.sides.get(&at) else { return Ok(None) };
            let mut elsewhere = false;
            let mut next = None;
            for parent in &object.parents {
                if self.entry(parent, &change.path)? != change.after {
                    continue;
                }
                if self.sides.contains_key(parent) {
                    next = Some(*parent);
                    break;
                }
                elsewhere = true;
            }
            match next {
                // Parents are older than their children, so this ends.
                Some(parent) => at = parent,
                None if elsewhere => return Ok(None),
                None => return Ok(Some(at)),
            }
        }
    }

    /// Who signed a side commit, by the policy of the mainline; nobody if the signature does not hold.
    fn signer(&self, commit: &CommitId) -> Result<Option<String>, Finding> {
        if let Some(known) = self.signers.borrow().get(commit) {
            return Ok(known.clone());
        }
        let Some(object) = self.sides.get(commit) else { return Ok(None) };
        let instants = self.step.instants.of_brought(made_at(object)?);
        let verified = VerifiedCommit::verify(object, self.step.policy, &instants, self.step.verifier).ok();
        let signer = verified.map(|verified| verified.signer().principal.clone());
        self.signers.borrow_mut().insert(*commit, signer.clone());
        Ok(signer)
    }

    /// The newest commits of the mainline that a side has in its history.
    fn partings_of(&self, side: &CommitId) -> Result<Option<Vec<CommitId>>, Finding> {
        let (mut seen, mut queue, mut met) = (BTreeSet::from([*side]), vec![*side], BTreeSet::new());
        while let Some(object) = queue.pop().and_then(|at| self.sides.get(&at)) {
            for parent in &object.parents {
                if !self.sides.contains_key(parent) {
                    met.insert(*parent);
                } else if seen.insert(*parent) {
                    queue.push(*parent);
                }
            }
        }
        if met.len() > MAX_PARTINGS {
            return Ok(None);
        }
        let mut newest = Vec::new();
        for one in &met {
            let mut is_newest = true;
            for other in met.iter().filter(|other| *other != one) {
                is_newest &= !self.read(self.step.history.is_ancestor(one, other))?;
            }
            if is_newest {
                newest.push(*one);
            }
        }
        Ok(Some(newest))
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, Finding> {
        let lookups = self.lookups.get().saturating_add(1);
        self.lookups.set(lookups);
        if lookups > MAX_LOOKUPS {
            return Err(over_budget(&self.step.object.id, "files looked up in the sides of one merge", MAX_LOOKUPS));
        }
        self.read(self.step.history.entry(commit, path))
    }

    fn read<T>(&self, answer: Result<T, HistoryError>) -> Result<T, Finding> {
        answer.map_err(|error| unreadable(&self.step.object.id, &error))
    }
}
