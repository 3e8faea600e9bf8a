//! Steps that orders let through which too few are left for who signed them.

use manifest::Finding;

use super::{StillHolds, approvals::At};
use crate::{LetThrough, issuers::Issuers, signed_by::SignedBy};

/// Whether an order let a step through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ordered {
    /// None did.
    Not,
    /// One did, and stands.
    Stands,
    /// One did, and would not be obeyed without what is withdrawn: why.
    Fallen(String),
}

impl StillHolds<'_> {
    /// Whether an order let a step through, and still would. Of one that has fallen all is left for which those who made or
    /// approved the step do not stand.
    pub(super) fn ordered(&self, at: At<'_>, issuers: &Issuers) -> Result<Ordered, Finding> {
        let Some(LetThrough { by, .. }) = self.let_through.get(&at.step.commit) else {
            return Ok(Ordered::Not);
        };
        let withdrawn = |signed: &SignedBy| self.withdrawn_by(at.ends, at.place, signed, issuers);
        Ok(match self.policy_at(&by.judged_by)? {
            Some(policy) => match by.lets_through(&policy, self.verifier, Some(&withdrawn)) {
                Ok(()) => Ordered::Stands,
                Err(why) => Ordered::Fallen(why),
            },
            None => {
                let by_whom = format!("{} has no trust file that says who may give order", by.judged_by);
                Ordered::Fallen(format!("{by_whom} {}", by.request))
            }
        })
    }
}
