//! What the event loop knows of a GitSource.

use std::{sync::Arc, time::Instant};

use cluster::crd;
use manifest::Finding;
use trust::{AuthorizedCommit, CommitId};

use crate::{
    requests::{Asked, Requests},
    resources::REQUESTED_AT,
    source_gate::{LastJudged, Verified},
    source_remote::KeptRemote,
    state::{Held, Resume},
};

/// A GitSource.
#[derive(Debug)]
pub(crate) struct SourceState {
    /// As it is in the cluster; `None` once it is deleted.
    pub resource: Box<crd::GitSource>,
    /// The spec that is obeyed.
    pub obeyed: Option<Arc<crd::GitSourceSpec>>,
    /// Why the spec in the cluster is not obeyed.
    pub order: Option<Finding>,
    /// The remote that was used last without an error, with its connection.
    pub(crate) remote: Option<Arc<KeptRemote>>,
    /// Whether the log was asked.
    pub resume: Resume,
    /// When it runs next.
    pub due: Instant,
    /// Consecutive failures to reach the server.
    pub failures: u32,
    /// What was judged last.
    pub(crate) judged: Option<LastJudged>,
    /// The proven start of the next judgement.
    pub floor: Option<AuthorizedCommit>,
    /// The verified revision.
    pub verified: Option<Arc<Verified>>,
    /// The head, if it is refused.
    pub held: Option<Held>,
    /// Why there is no verdict.
    pub unreachable: Option<Finding>,
    /// The last head that was seen.
    pub head: Option<CommitId>,
    /// Judgements that people ask for.
    pub requests: Requests,
    /// Whether its forge says that something was pushed since the last poll began.
    pub(crate) hinted: Asked,
}

impl SourceState {
    /// One that was seen for the first time.
    pub(crate) fn new(resource: crd::GitSource) -> Self {
        let answered = resource.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
        let requests = Requests::new(resource.annotation(REQUESTED_AT), answered);
        Self {
            resource: Box::new(resource),
            obeyed: None,
            order: None,
            remote: None,
            resume: Resume::Needed,
            due: Instant::now(),
            failures: 0,
            judged: None,
            floor: None,
            verified: None,
            held: None,
            unreachable: None,
            head: None,
            requests,
            hinted: Asked::No,
        }
    }
}
