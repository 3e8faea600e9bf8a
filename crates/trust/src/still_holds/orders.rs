//! Steps that orders let through which too few are left for who signed them.

use std::collections::BTreeMap;

use manifest::{Finding, RepoPath};

use super::{Left, StillHolds, approvals::At};
use crate::{LetThrough, approval::Withdrawn, step::read_commit};

/// Whether an order let a step through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordered {
    /// None did.
    Not,
    /// One did, and stands.
    Stands,
    /// One did, and would not be obeyed without what is withdrawn.
    Fallen,
}

impl StillHolds<'_> {
    /// What a step left that an order let through, if the order no longer stands: all for which those who made or approved
    /// the step do not stand.
    pub(super) fn left_by_order(
        &self,
        at: At<'_>,
        withdrawn: Withdrawn<'_>,
        left: &mut BTreeMap<RepoPath, Left>,
    ) -> Result<Ordered, Finding> {
        let (place, step, _) = at;
        let Some(LetThrough { by, .. }) = self.let_through.get(&step.commit) else {
            return Ok(Ordered::Not);
        };
        if !self.revokes_signers() {
            return Ok(Ordered::Stands);
        }
        let why = match self.policy_at(&by.judged_by)? {
            Some(policy) => match by.lets_through(&policy, self.verifier, Some(withdrawn)) {
                Ok(()) => return Ok(Ordered::Stands),
                Err(why) => why,
            },
            None => format!("{} has no trust file that says who may give order {}", by.judged_by, by.request),
        };
        let object = read_commit(self.history, &step.commit)?;
        let judged = self.judged(at, &object, false)?;
        let unsupported = self.unsupported(&judged, self.approvals(&judged, withdrawn)?)?;
        let why = format!("commit {:.12}: {why}", step.commit.to_string());
        for change in unsupported {
            left.insert(change.path, Left { step: Some(place), entry: change.after, why: why.clone() });
        }
        Ok(Ordered::Fallen)
    }
}
