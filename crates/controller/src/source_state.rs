//! What the event loop knows of a GitSource.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::crd;
use jiff::Timestamp;
use manifest::Finding;
use plan::SyncRef;
use trust::{AuthorizedCommit, CommitId, SigningFormats, TrustMode, TrustRootSpec};

use crate::{
    break_glass::Overrides,
    freshness::Pulse,
    requests::{Asked, Requests},
    resources::REQUESTED_AT,
    schedule::next_poll,
    source_gate::{LastJudged, Verified},
    source_remote::KeptRemote,
    state::{Held, Key, Resume, State},
};

/// How often orders to let a commit through have a source polled before its time: as often as the shortest interval does,
/// whoever writes them. At most 16 are judged with a head, of 16 signatures each: 256 ms in 5 s are 5 % of a core.
const HURRY_EVERY: Duration = Duration::from_secs(5);

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
    /// The verified revision, and since when it is in force.
    pub verified: Option<Arc<Verified>>,
    pub(crate) since: Option<Timestamp>,
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
    /// For when it was hurried last.
    hurried: Option<Instant>,
    /// Whether its forge says that something was pushed since the last poll began.
    pub(crate) hinted: Asked,
    /// How fresh what it shows is.
    pub(crate) pulse: Pulse,
    /// That the trust file in force has expired.
    pub(crate) expired: Option<Finding>,
    /// The mode of its TrustRoot that was seen last.
    pub(crate) mode: Option<TrustMode>,
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
            since: None,
            overrides: Overrides::default(),
            held: None,
            unreachable: None,
            head: None,
            requests,
            hurried: None,
            hinted: Asked::No,
            pulse: Pulse::new(Timestamp::now()),
            expired: None,
            mode: None,
        }
    }

    /// With what those sign who may stand for anything, by the trust file in force.
    pub(crate) fn formats(&self) -> SigningFormats {
        self.verified.as_ref().map(|verified| verified.trust_file.formats(None)).unwrap_or_default()
    }

    /// There is a new order about it: it is polled at once, or soon if it was lately.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let soon = self.hurried.map_or(now, |last| now.max(last + HURRY_EVERY));
        if soon < self.due {
            (self.due, self.hurried) = (soon, Some(soon));
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

impl State {
    /// The source that a Sync names, whether it is there or not.
    #[must_use]
    pub(crate) fn source_key(&self, sync: &SyncRef) -> Option<Key> {
        let spec = self.syncs.get(sync)?.obeyed.as_ref()?;
        let namespace = spec.source_ref.namespace.as_ref().unwrap_or(&sync.namespace);
        Some(Key { namespace: namespace.clone(), name: spec.source_ref.name.clone() })
    }

    /// The source a Sync uses.
    #[must_use]
    pub(crate) fn source_of(&self, sync: &SyncRef) -> Option<(&Key, &SourceState)> {
        self.sources.get_key_value(&self.source_key(sync)?)
    }

    /// The Syncs that use a source.
    #[must_use]
    pub(crate) fn syncs_of(&self, source: &Key) -> Vec<SyncRef> {
        let uses = |sync: &&SyncRef| self.source_of(sync).is_some_and(|(key, _)| key == source);
        self.syncs.keys().filter(uses).cloned().collect()
    }

    /// The TrustRoot of a source, if it can be used.
    #[must_use]
    pub(crate) fn root_of(&self, source: &Key) -> Option<Arc<TrustRootSpec>> {
        let spec = self.sources.get(source)?.obeyed.as_ref()?;
        self.roots.get(&spec.trust_root_ref.name)?.spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceState {
        let resource = serde_json::json!({
            "apiVersion": "writ.dev/v1alpha1", "kind": "GitSource", "metadata": {"namespace": "shop", "name": "config"},
            "spec": {
                "url": "https://git.example/config.git", "ref": "refs/heads/main", "interval": "1h",
                "trustRootRef": {"name": "main"},
            },
        });
        SourceState::new(serde_json::from_value(resource).unwrap())
    }

    /// However many orders come, it is polled no more often than at the shortest interval.
    #[test]
    fn orders_have_a_source_polled_now_and_then() {
        let (mut source, start) = (source(), Instant::now());
        let hour = Duration::from_secs(3_600);
        source.due = start + hour;
        let mut polls = Vec::new();
        for tenth in 0..600_u32 {
            let now = start + Duration::from_millis(100) * tenth;
            source.hurry(now);
            if source.due <= now {
                polls.push(now);
                source.due = now + hour;
            }
        }
        assert_eq!(polls.first(), Some(&start));
        assert_eq!(polls.len(), 12);
        assert!(polls.windows(2).all(|two| two[1] - two[0] >= HURRY_EVERY));
    }

    #[test]
    fn what_is_due_sooner_is_not_put_off() {
        let (mut source, start) = (source(), Instant::now());
        source.due = start + HURRY_EVERY;
        source.hurry(start);
        assert_eq!(source.due, start);
        source.due = start + Duration::from_secs(1);
        source.hurry(start);
        assert_eq!(source.due, start + Duration::from_secs(1));
    }
}
