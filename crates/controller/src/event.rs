//! Everything the event loop reacts to: one closed enum.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use audit::{LogError, Receipt};
use cluster::{ApplyRefused, ApplyReport, Outcome, ParentInventory, Watched};
use evidence::{Fetched, TufError};
use manifest::{Digest, Finding, ObjectRef};
use plan::{ApprovedPlan, DesiredState, PlanOrigin, PruneTrailer, SyncRef, SyncSpec, Waiting};
use trust::{CommitId, KeylessRefresh};

use crate::{
    holds_read::Logged,
    removal::Dropped,
    resume::{ObeyedSource, ResumedSource, ResumedSync},
    rollback_gate::RollbackVerdict,
    rollbacks::RolledBack,
    source_run::GateAnswer,
    state::Key,
    sync_gate::Prepared,
};

/// One event.
#[derive(Debug)]
pub(crate) enum Event {
    /// A watch saw something: a custom resource, or a managed object.
    Watched(Box<Watched>),
    /// A trust root of keyless signatures was fetched.
    KeylessFetched {
        /// The name of the TrustRoot.
        root: String,
        /// What it said of it then.
        declared: Box<KeylessRefresh>,
        /// What is the newest, or why that is not known.
        outcome: Result<Fetched, TufError>,
    },
    /// What the log knows of a source.
    SourceResumed {
        /// The source.
        source: Key,
        /// What was found; an error keeps the source from advancing.
        outcome: Result<Box<ResumedSource>, Finding>,
    },
    /// One run of the source gate ended.
    SourceJudged {
        /// The source.
        source: Key,
        /// How.
        answer: Box<GateAnswer>,
    },
    /// The GitSource spec that was obeyed before the restart.
    SourceSpecResumed {
        /// The source.
        source: Key,
        /// Its spec and TrustRoot, if the log has them.
        outcome: Result<Option<Box<ObeyedSource>>, Finding>,
    },
    /// What the log knows of a Sync.
    SyncResumed {
        /// The Sync.
        sync: SyncRef,
        /// What was found; an error keeps the Sync from advancing.
        outcome: Result<Box<ResumedSync>, Finding>,
    },
    /// The spec that was obeyed before the restart.
    SpecResumed {
        /// The Sync.
        sync: SyncRef,
        /// Its spec, if the log has one; an error keeps the Sync from being healed.
        outcome: Result<Option<Box<SyncSpec>>, Finding>,
    },
    /// A candidate was rendered and judged.
    Prepared {
        /// The Sync.
        sync: SyncRef,
        /// The candidate, or why it does not render.
        outcome: Result<Prepared, Vec<Finding>>,
    },
    /// A candidate declares for the Sync what the commit did that it was rolled back from.
    Kept {
        /// The Sync.
        sync: SyncRef,
        /// What is said today of the revision that it is held to.
        verdict: Result<Prepared, Vec<Finding>>,
    },
    /// An order to take a Sync back was judged.
    RollbackJudged {
        /// The Sync.
        sync: SyncRef,
        /// The RollbackRequest.
        request: Key,
        /// The verdict.
        verdict: Box<RollbackVerdict>,
    },
    /// An advance was written to the log, or not.
    Recorded {
        /// The plan.
        plan: Box<ApprovedPlan>,
        /// What it applies.
        desired: Arc<DesiredState>,
        /// The order by which it goes back, if it does.
        order: Option<Box<RolledBack>>,
        /// The receipt.
        receipt: Result<Receipt, LogError>,
    },
    /// A plan was carried out: an advance, a removal or a revert.
    Applied {
        /// The Sync.
        sync: SyncRef,
        /// What came of it all; every single outcome was sent before.
        report: Box<Result<ApplyReport, ApplyRefused>>,
        /// What the Sync's annotations say now, if the plan made them say something else.
        inventory: Option<ParentInventory>,
        /// Which plan it was.
        plan: AppliedPlan,
    },
    /// One change of a plan was answered.
    Outcome(Box<Outcome>),
    /// A task about a Sync ended without an answer.
    Broken {
        /// The Sync.
        sync: SyncRef,
        /// The plan whose requests were under way, if it had begun.
        begun: Option<AppliedPlan>,
        /// Why.
        why: String,
    },
    /// The Syncs that were removed before the restart and are not finished, or why they are not known.
    RemovalsRead(Result<BTreeMap<SyncRef, Dropped>, String>),
    /// What the log says was held before the start, or why that is not known.
    HoldsRead(Result<Logged, String>),
    /// The commits that removed a Sync were asked how many objects go.
    RemovalPrepared {
        /// The Sync.
        sync: SyncRef,
        /// What they say.
        trailer: Result<PruneTrailer, Finding>,
    },
    /// What a Sync says about its objects was written, or not.
    InventoryKept {
        /// The Sync.
        sync: SyncRef,
        /// What it says now.
        inventory: ParentInventory,
        /// Why it could not be written.
        result: Result<(), String>,
    },
    /// A refusal was written to the log, or not.
    RefusalLogged {
        /// Who is refused, as kind and name.
        owner: String,
        /// Error of the log; `None` if the task ended without an answer.
        result: Result<(), Option<LogError>>,
    },
    /// What is known of drift was kept, of so many entries, or not.
    DriftKept(Result<u64, String>),
    /// The state volume was asked for room after the log could not be written.
    LogRoom {
        /// Why there is none.
        room: Result<(), String>,
    },
    /// The names of the mirrors that nobody needed and that were removed, or why not all of them were.
    MirrorsSwept(Result<Vec<String>, String>),
    /// What is in force of a source is kept apart from its mirror, or not.
    InForceKept {
        /// The source.
        source: Key,
        /// Why it is not.
        result: Result<(), String>,
    },
    /// The kinds that the cluster serves were asked for again.
    Discovered,
    /// What was applied is written down, or not.
    Remembered {
        /// The Sync.
        sync: SyncRef,
        /// Error of the log, if the outcome could not be recorded.
        result: Result<(), LogError>,
    },
}

/// Which plan was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppliedPlan {
    /// Its digest.
    pub digest: Digest,
    /// Why it was made.
    pub origin: PlanOrigin,
    /// The revision it applied.
    pub revision: CommitId,
    /// What was not touched because it waits for something.
    pub waiting: Vec<Waiting>,
    /// The objects it changed.
    pub objects: Vec<ObjectRef>,
    /// When it was begun.
    pub started: Instant,
}

impl AppliedPlan {
    /// What is kept of a plan that is about to be applied.
    #[must_use]
    pub(crate) fn of(plan: &ApprovedPlan) -> Self {
        Self {
            digest: plan.digest(),
            origin: plan.origin(),
            revision: plan.revision(),
            waiting: plan.waiting().to_vec(),
            objects: plan.changes().iter().map(|change| change.reference.clone()).collect(),
            started: Instant::now(),
        }
    }
}

impl From<Outcome> for Event {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<Watched> for Event {
    fn from(watched: Watched) -> Self {
        Self::Watched(Box::new(watched))
    }
}
