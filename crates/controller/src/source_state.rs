//! What the event loop knows of a GitSource.

use std::{sync::Arc, time::Instant};

use cluster::crd;
use jiff::Timestamp;
use manifest::Finding;
use trust::{AuthorizedCommit, CommitId};

use crate::{
    break_glass::Overrides,
    freshness::Pulse,
    requests::{Asked, Requests},
    resources::REQUESTED_AT,
    schedule::next_poll,
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
    /// What orders let through.
    pub(crate) overrides: Overrides,
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
    /// How fresh what it shows is.
    pub(crate) pulse: Pulse,
    /// That the trust file in force has expired.
    pub(crate) expired: Option<Finding>,
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
            overrides: Overrides::default(),
            held: None,
            unreachable: None,
            head: None,
            requests,
            hinted: Asked::No,
            pulse: Pulse::new(Timestamp::now()),
            expired: None,
        }
    }

    /// When it is polled next, after a run of its gate: at once if trust changed (`current` is false), somebody asked, or
    /// something was pushed meanwhile.
    pub(crate) fn next_due(&self, current: bool, random: u64) -> Instant {
        let interval = self.obeyed.as_ref().map(|spec| spec.interval.as_str()).unwrap_or_default();
        let is_asked = [self.requests.open(), self.hinted].contains(&Asked::Yes);
        if !current || is_asked { Instant::now() } else { Instant::now() + next_poll(interval, random) }
    }
}
