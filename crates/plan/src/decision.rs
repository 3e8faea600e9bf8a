//! The types of a decision: change, plan, refusal, drift report.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use manifest::{Digest, Finding, ObjectRef};
use trust::CommitId;

use crate::{Attribution, FieldDiff, SyncRef, Wave};

/// Who may win when fields are owned by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conflicts {
    /// A conflict is an error: first write of an object that is not in the inventory.
    Refuse,
    /// Our values win: the object is ours, or its manifest says `writ.dev/adopt: force`.
    Force,
}

/// What is done with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// First apply.
    Create {
        /// What happens on a conflict.
        conflicts: Conflicts,
    },
    /// The declaration changed.
    Configure,
    /// Live state left the declaration; it is put back.
    Revert,
    /// It left the declaration; it is deleted if it still is this very object at this version.
    Prune {
        /// Precondition.
        uid: String,
        /// Precondition.
        resource_version: String,
    },
}

impl Action {
    /// The word people know: `created`, `configured`, `reverted`, `pruned`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "created",
            Self::Configure => "configured",
            Self::Revert => "reverted",
            Self::Prune { .. } => "pruned",
        }
    }
}

/// One change of a plan: exactly one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub reference: ObjectRef,
    /// Its `apiVersion`.
    pub api_version: String,
    /// What is done.
    pub action: Action,
    /// When.
    pub wave: Wave,
    /// The body of an apply; `None` for a deletion.
    pub body: Option<Arc<[u8]>>,
    /// SHA-256 of the body; for a deletion of the body last applied, where known.
    pub digest: Option<Digest>,
    /// What differs, masked.
    pub differences: Vec<FieldDiff>,
    /// True for Secrets and sensitive kinds.
    pub sensitive: bool,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("reference", &self.reference)
            .field("action", &self.action)
            .field("wave", &self.wave)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Why a plan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanOrigin {
    /// A candidate revision advances.
    Advance,
    /// Live state left the accepted revision.
    Drift,
    /// The Sync was removed by an accepted commit and its policy is `Delete`.
    Removal,
    /// A signed order takes the Sync back to a revision that it accepted earlier.
    Rollback,
}

impl PlanOrigin {
    /// The word used in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Advance => "advance",
            Self::Drift => "drift",
            Self::Removal => "removal",
            Self::Rollback => "rollback",
        }
    }
}

/// How close the judged objects were to what the server would store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// The objects as declared, without the server's defaults.
    Raw,
}

impl Fidelity {
    /// The word used in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
        }
    }
}

/// The inputs of a verdict, printed with it, so that two verdicts that differ can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictInputs {
    /// Digest of TrustRoot, trust file and revocations in force.
    pub trust_digest: Digest,
    /// Digest of the policy set in force.
    pub policy_digest: Digest,
    /// The revision below which we never go.
    pub floor: Option<CommitId>,
    /// When it was judged.
    pub time: Timestamp,
    /// What was judged.
    pub fidelity: Fidelity,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The revision that is refused.
    pub revision: CommitId,
    /// All reasons; never empty.
    pub findings: Vec<Finding>,
    /// What it was judged by.
    pub inputs: VerdictInputs,
}

/// One object that drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftReport {
    /// Code, object, first field, and what to do.
    pub finding: Finding,
    /// The object.
    pub reference: ObjectRef,
    /// Every declared field that differs, masked; empty if the object is gone.
    pub differences: Vec<FieldDiff>,
    /// Who did it, as far as that is looked for: what is decided does not depend on it.
    pub by: Attribution,
}

/// One object that has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The object.
    pub reference: ObjectRef,
    /// What it waits for, and how to see what holds that up.
    pub finding: Finding,
    /// How it differs from its declaration, if it is there and we applied it: that is told and not put back.
    pub drift: Option<DriftReport>,
}

/// How many objects of a change set are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects applied for the first time.
    pub created: u64,
    /// Objects whose declaration changed.
    pub configured: u64,
    /// Objects whose live state is put back.
    pub reverted: u64,
    /// Objects that are deleted.
    pub pruned: u64,
    /// Objects that are as they should be: no request.
    pub unchanged: u64,
    /// Objects that are terminating and come back when they are gone.
    pub waiting: u64,
}

/// A plan that may be applied. Made by [`decide`](crate::decide) only; immutable; leaves no choice
/// to whoever applies it.
#[derive(Debug, Clone)]
pub struct ApprovedPlan {
    pub(crate) sync: SyncRef,
    pub(crate) origin: PlanOrigin,
    pub(crate) revision: CommitId,
    pub(crate) service_account: Option<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) counts: Counts,
    pub(crate) reports: Vec<DriftReport>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) inputs: VerdictInputs,
    pub(crate) digest: Digest,
}

impl ApprovedPlan {
    /// The Sync it is for.
    #[must_use]
    pub fn sync(&self) -> &SyncRef {
        &self.sync
    }

    /// Why it was made.
    #[must_use]
    pub fn origin(&self) -> PlanOrigin {
        self.origin
    }

    /// The authorised revision whose declarations it applies.
    #[must_use]
    pub fn revision(&self) -> CommitId {
        self.revision
    }

    /// The ServiceAccount of the Sync's namespace that all writes are made as; `None` only in
    /// writ's own namespace.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.service_account.as_deref()
    }

    /// The changes, ordered by wave, then by identity.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many objects are in which state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The drift that the plan mends.
    #[must_use]
    pub fn reports(&self) -> &[DriftReport] {
        &self.reports
    }

    /// Says of each report who did it. Nothing that is done is another for it.
    pub fn attribute(&mut self, who: impl FnMut(&mut DriftReport)) {
        self.reports.iter_mut().for_each(who);
    }

    /// What is not touched yet.
    #[must_use]
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// What it was judged by.
    #[must_use]
    pub fn inputs(&self) -> &VerdictInputs {
        &self.inputs
    }

    /// SHA-256 over everything that will be done. A receipt of the log names it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// What a plan would do if the TrustRoot were not in mode Audit. It cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// Why it was made.
    pub origin: PlanOrigin,
    /// The revision whose declarations it would apply.
    pub revision: CommitId,
    /// How many objects are in which state.
    pub counts: Counts,
}

/// The answer to push, drift, removal and rollback alike.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Apply this. The list of changes may be empty: the revision advances all the same.
    Apply(ApprovedPlan),
    /// Nothing speaks against this, and in mode Audit it is reported only.
    Report(Proposal),
    /// Put this back.
    Revert(ApprovedPlan),
    /// Report this and touch nothing. What has to wait is looked at again.
    Flag(Vec<DriftReport>, Vec<Waiting>),
    /// Nothing can be said or done yet: look again.
    Wait(Vec<Waiting>),
    /// The candidate is refused; what was accepted before stays in force.
    Refuse(Refusal),
    /// Everything is as it should be.
    Settled,
}
