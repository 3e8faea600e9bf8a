//! An approved plan reaches the cluster: one request per change, wave by wave, as the ServiceAccount
//! of the Sync; deletions last.

mod change;
mod definitions;
mod foreign;
mod lanes;
mod rollout;

use std::{sync::atomic::AtomicBool, time::Duration};

use audit::{Durability, Receipt};
use manifest::{Digest, Finding, ObjectRef};
use plan::{ApprovedPlan, FieldDiff, PlanOrigin, SyncRef};
use tokio::{sync::mpsc, time::Instant};

#[cfg(test)]
pub(crate) use change::{Context, Novelty};
#[cfg(test)]
pub(crate) use lanes::Lane;
pub(crate) use lanes::Lanes;

use crate::{Cluster, ParentInventory, Sighting};

/// What trust and policy say at the moment of applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// Digest of TrustRoot, trust file and revocations in force.
    pub trust_digest: Digest,
    /// Digest of the policy set in force.
    pub policy_digest: Digest,
}

/// How a plan is applied.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// How long it may take in all (`spec.timeout`).
    pub timeout: Duration,
    /// Once it is set nothing more is sent: what is left of the plan is withheld.
    pub halt: Option<&'a AtomicBool>,
}

/// Why a plan is not applied at all. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyRefused {
    /// The log entry was written for another plan.
    #[error("the log entry is not for this plan: it names {logged}, the plan is {plan}")]
    OtherPlan {
        /// What the receipt names.
        logged: String,
        /// The plan's digest.
        plan: Digest,
    },
    /// Trust or policy changed since the plan was approved.
    #[error("{what} changed since the plan was approved: then {approved}, now {current}")]
    Superseded {
        /// `trust` or `policy`.
        what: &'static str,
        /// By which it was approved.
        approved: Digest,
        /// Which is in force.
        current: Digest,
    },
    /// The decision moves the accepted state and is not on disk yet.
    #[error("the log entry of this {origin} is not on disk yet")]
    NotSynced {
        /// Origin of the plan.
        origin: &'static str,
    },
}

/// What became of one change.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The Sync.
    pub sync: SyncRef,
    /// Digest of the plan.
    pub plan: Digest,
    /// The object.
    pub reference: ObjectRef,
    /// Digest of the body that was sent; `None` for a deletion.
    pub body: Option<Digest>,
    /// What was done, or why not.
    pub result: Result<Done, Failure>,
}

/// What was done.
#[derive(Debug, Clone)]
pub enum Done {
    /// It was not there (status 201).
    Created {
        /// The answer.
        sighting: Sighting,
        /// What we and the server made of it, and nobody else. `None` for Secrets and sensitive kinds.
        made: Option<Made>,
    },
    /// It was there (status 200).
    Configured {
        /// The answer.
        sighting: Sighting,
    },
    /// It was deleted, or its deletion has begun.
    Pruned,
    /// It was to be deleted and was gone already.
    Gone,
    /// It was not tried: it was to be deleted and an apply of the same plan failed, or nothing more may be sent.
    Withheld,
}

/// What a create came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Canonical JSON of the answer outside status and bookkeeping.
    pub baseline: Vec<u8>,
    /// How the answer differs from what was asked for.
    pub differences: Vec<FieldDiff>,
    /// Paths of what the answer has beyond it.
    pub surplus: Vec<String>,
}

/// Whether trying again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retry {
    /// It may succeed by itself.
    Later,
    /// Somebody has to mend something first; trying again is for noticing that.
    AfterMending,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Code, object, the server's words (reduced for Secrets), what to do.
    pub finding: Finding,
    /// Whether trying again helps.
    pub retry: Retry,
}

/// What became of a plan.
#[derive(Debug, Clone, Default)]
pub struct ApplyReport {
    /// Objects that were not there before.
    pub created: u64,
    /// Objects that were there before.
    pub configured: u64,
    /// Objects that were deleted.
    pub pruned: u64,
    /// Deletions that were not tried because an apply failed.
    pub withheld: u64,
    /// Every change that failed, in the order of the plan.
    pub failures: Vec<(ObjectRef, Failure)>,
    /// Requests that wrote, retries included.
    pub writes: u64,
    /// True if definitions changed, so that other kinds may be served now.
    pub kinds_changed: bool,
}

impl ApplyReport {
    /// True if everything was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.withheld == 0
    }
}

impl Cluster {
    /// Applies a plan. Every outcome is sent to `outcomes` as it is known, so that later events of
    /// the same objects can be told from drift; the report sums them up. `inventory` is what the
    /// Sync's annotations say; new group-kinds are written there before their first object.
    ///
    /// A receiver that is gone does not stop a roll-out that was logged.
    ///
    /// # Errors
    /// When the receipt is not for this plan, trust or policy moved on, or an advance is not on
    /// disk. Nothing was sent then.
    pub async fn apply<T>(
        &self,
        plan: ApprovedPlan,
        receipt: Receipt,
        current: &Current,
        inventory: &mut ParentInventory,
        options: ApplyOptions<'_>,
        outcomes: &mpsc::Sender<T>,
    ) -> Result<ApplyReport, ApplyRefused>
    where
        T: From<Outcome> + Send,
    {
        admit(&plan, &receipt, current)?;
        let deadline = Instant::now() + options.timeout;
        Ok(rollout::run(self, &plan, inventory, (deadline, options.halt), outcomes).await)
    }
}

fn admit(plan: &ApprovedPlan, receipt: &Receipt, current: &Current) -> Result<(), ApplyRefused> {
    if receipt.plan_digest() != Some(plan.digest().as_bytes()) {
        let logged = receipt.plan_digest().map_or_else(|| "none".to_owned(), hex::encode);
        return Err(ApplyRefused::OtherPlan { logged, plan: plan.digest() });
    }
    let inputs = plan.inputs();
    for (what, approved, current) in
        [("trust", inputs.trust_digest, current.trust_digest), ("policy", inputs.policy_digest, current.policy_digest)]
    {
        if approved != current {
            return Err(ApplyRefused::Superseded { what, approved, current });
        }
    }
    // A revert re-asserts what was accepted before; everything else must survive a crash.
    if plan.origin() != PlanOrigin::Drift && receipt.durability() != Durability::Synced {
        return Err(ApplyRefused::NotSynced { origin: plan.origin().name() });
    }
    Ok(())
}
