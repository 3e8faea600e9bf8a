//! What the event loop knows. Owned by it alone: no locks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Instant,
};

use cluster::{Cluster, Current, ParentInventory, Watch, WatchTarget, crd};
use jiff::Timestamp;
use manifest::{Digest, DigestKey, Finding, ObjectRef, Subject};
use plan::{DesiredState, DriftMode, SyncRef, SyncSpec};
use tokio::sync::mpsc;
use trust::{CommitId, SignatureCache, TrustRootSpec};

use crate::{
    absence::Absences,
    archives::Archives,
    attribution::Attributions,
    audit_mode::Enforcement,
    break_glass_orders::BreakGlassState,
    drift_history::History,
    event::Event,
    expected::ExpectedStore,
    fights::Fights,
    holds::Holds,
    journal::Journal,
    keyless_refresh::{Refresh, Refreshes},
    kinds::Kinds,
    live::LiveTable,
    logged_modes::Modes,
    metrics::Metrics,
    mirrors::Mirrors,
    options::Options,
    order_intake::Intakes,
    order_refusals::OrderRefusals,
    order_turns::OrderTurns,
    refusals::Refusals,
    removal::Dropped,
    render_cache::RenderCache,
    report::Reporter,
    requests::{Asked, Requests},
    resources::REQUESTED_AT,
    resume::names_others,
    revert_counts::RevertCounts,
    revert_failures::RevertFailures,
    rollback_orders::RollbackState,
    rollbacks::RolledBack,
    rollout::{MAX_PARTIAL, same},
    schedule::Jitter,
    source_state::SourceState,
    source_turns::Turns,
    stamp::Stamp,
    upkeep::Upkeep,
    webhook::Hooks,
};

pub(crate) use crate::{dirty::Dirty, key::Key};

/// A revision that is refused, since when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The refused commit.
    pub revision: String,
    /// Why; never empty.
    pub findings: Vec<Finding>,
    /// Who signed it.
    pub signer: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Held {
    /// `commit C, signed by P, is held`; nothing if what is held is no commit.
    #[must_use]
    pub(crate) fn words(&self) -> Option<String> {
        let by = self.signer.as_ref().map_or_else(String::new, |signer| format!(", signed by {signer},"));
        (!self.revision.is_empty()).then(|| format!("commit {}{by} is held", self.revision))
    }

    /// What is held from now on: the time moves only when revision or first reason change.
    #[must_use]
    pub(crate) fn renew(
        before: Option<&Self>,
        revision: String,
        findings: Vec<Finding>,
        signer: Option<String>,
        now: Timestamp,
    ) -> Self {
        let same = before.filter(|held| {
            held.revision == revision
                && held.findings.first().map(|finding| finding.code) == findings.first().map(|finding| finding.code)
        });
        Self { since: same.map_or(now, |held| held.since), revision, findings, signer }
    }

    /// The same refusal as was shown before the restart stands since then.
    pub(crate) fn stands_since(&mut self, shown: Option<&crd::HeldRevision>) {
        let code = self.findings.first().map(|finding| finding.code.code);
        let same = shown.filter(|shown| shown.revision == self.revision && Some(shown.code.as_str()) == code);
        let before: Option<Timestamp> = same.and_then(|shown| shown.since.parse().ok());
        self.since = before.map_or(self.since, |before| before.min(self.since));
    }

    /// Whether it is held, without a revision, for the reason of this finding.
    #[must_use]
    pub(crate) fn is_for(&self, finding: &Finding) -> bool {
        self.revision.is_empty() && self.findings.first().is_some_and(|first| first.code == finding.code)
    }

    /// What the log refused, if the status still shows that as held.
    #[must_use]
    pub(crate) fn shown_as(mut self, shown: Option<&crd::HeldRevision>) -> Option<Self> {
        let shown = shown.filter(|shown| shown.revision == self.revision)?;
        self.signer.clone_from(&shown.signer);
        self.stands_since(Some(shown));
        Some(self)
    }
}

/// A TrustRoot.
#[derive(Debug, Clone)]
pub(crate) struct RootState {
    /// As it is in the cluster.
    pub resource: Box<crd::TrustRoot>,
    /// Its spec, if it can be used, as it is in force: with the trust root that was fetched for it, if one was.
    pub spec: Option<Arc<TrustRootSpec>>,
    /// Why it cannot.
    pub problem: Option<Finding>,
    /// From where that is fetched, if it says so.
    pub(crate) refresh: Option<Refresh>,
    /// What was verified under it, or under what it was before an edit.
    pub signatures: Arc<SignatureCache>,
}

/// Whether what the log knows was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Not yet asked.
    Needed,
    /// On its way.
    Running,
    /// Done.
    Done,
}

/// What a Sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Idle,
    /// A candidate is rendered and judged.
    Preparing,
    /// A plan is recorded or carried out.
    Applying,
    /// A roll-out was incomplete; it is tried again.
    Waiting {
        /// When.
        until: Instant,
    },
}

/// What a candidate was judged by; the same again gives the same verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VerdictKey {
    /// The commit.
    pub commit: CommitId,
    /// Digest of trust.
    pub trust: Digest,
    /// Digest of the policy set.
    pub policy: Digest,
    /// Digest of the obeyed spec.
    pub spec: Digest,
    /// Whether a revocation keeps it from being rolled out.
    pub broken: bool,
}

/// A Sync.
#[derive(Debug)]
pub(crate) struct SyncState {
    /// As it is in the cluster.
    pub resource: Box<crd::Sync>,
    /// The spec that is obeyed.
    pub obeyed: Option<Arc<SyncSpec>>,
    /// Why the spec in the cluster is not obeyed, or holds all that would advance.
    pub order: Option<Finding>,
    /// It was deleted in the cluster, and what it applied is looked after.
    pub(crate) gone: bool,
    /// Whether the log was asked.
    pub resume: Resume,
    /// When the log is asked again, after it could not tell.
    pub(crate) resume_at: Instant,
    /// Whether the log was asked for the spec that was obeyed.
    pub(crate) spec_resume: Resume,
    /// What it is doing.
    pub phase: Phase,
    /// The candidate that was judged last.
    pub candidate: Option<CommitId>,
    /// What the last verdict was given by, if nothing is left to do about it.
    pub settled: Option<VerdictKey>,
    /// Plan and log entry of the newest advance.
    pub(crate) advance: Option<(Digest, u64)>,
    /// Digest of the spec in the newest advance.
    pub(crate) logged_spec: Option<Digest>,
    /// The verdict under way.
    pub judging: Option<VerdictKey>,
    /// The revision in force.
    pub accepted: Option<Arc<DesiredState>>,
    /// The revision whose every object was applied.
    pub applied: Option<Arc<DesiredState>>,
    /// Revisions accepted since then whose objects may have been applied in part, oldest first.
    pub(crate) partial: Vec<Arc<DesiredState>>,
    /// The order by which `accepted` is an earlier revision.
    pub(crate) rolled_back: Option<RolledBack>,
    /// Whether it is the turn of an order to take it back.
    pub(crate) turns: OrderTurns,
    /// The revision whose roll-out the last process may not have finished: it may have written more than we know.
    pub(crate) interrupted: Option<Arc<DesiredState>>,
    /// The candidate, if it is refused or has to wait.
    pub held: Option<Held>,
    /// What failed in the last roll-out and is not as declared since.
    pub failures: Vec<Finding>,
    /// Consecutive incomplete roll-outs.
    pub attempts: u32,
    /// Drift that is reported and not reverted, by object.
    pub flagged: BTreeMap<ObjectRef, Finding>,
    /// What trust and policy said when a revision was accepted last.
    pub(crate) last_current: Option<Current>,
    /// An advance that was not acted on, of which the log does not say so yet.
    pub(crate) superseded: Option<String>,
    /// What its annotations say about what it owns; `None` before the first roll-out.
    pub inventory: ParentInventory,
    /// Whether they may say something else than what is there.
    pub(crate) inventory_due: bool,
    /// When its inventory may be put back, if it was edited too often.
    pub(crate) inventory_after: Option<Instant>,
    /// Objects that its last roll-out waits for.
    pub(crate) waiting: BTreeSet<ObjectRef>,
    /// Files rendered before.
    pub cache: Arc<Mutex<RenderCache>>,
    /// Judgements that people ask for.
    pub requests: Requests,
    /// When drift was seen last.
    pub last_drift: Option<(Timestamp, String)>,
    /// Whether what is decided is done.
    pub(crate) enforcement: Enforcement,
}

impl SyncState {
    /// Whether what is accepted is not all applied.
    #[must_use]
    pub(crate) fn is_incomplete(&self) -> bool {
        let id = |state: &Arc<DesiredState>| state.commit().id();
        self.accepted.is_some() && self.accepted.as_ref().map(id) != self.applied.as_ref().map(id)
    }

    /// These objects are as declared, if they are declared at all, whatever came of them in the last roll-out. Returns whether
    /// that is news.
    pub(crate) fn mend(&mut self, objects: &[ObjectRef]) -> bool {
        let before = self.failures.len();
        let Some(accepted) = &self.accepted else { return false };
        self.failures.retain(|failure| match &failure.subject {
            Subject::Object { reference, .. } => !objects.contains(reference) || accepted.get(reference).is_none(),
            _ => true,
        });
        self.failures.len() != before
    }

    /// What came of a roll-out. Returns whether the very same failed before.
    pub(crate) fn rolled_out(&mut self, failures: &[Finding], waiting: BTreeSet<ObjectRef>, complete: bool) -> bool {
        if complete || failures.iter().any(|failure| names_others(failure.code.code)) {
            // As after a restart: from here on an object is not ours because of what it says.
            self.interrupted = None;
        }
        let repeated = self.failures == failures && !failures.is_empty();
        self.failures = failures.to_vec();
        self.waiting = waiting;
        self.attempts = if complete { 0 } else { self.attempts.saturating_add(1) };
        repeated
    }

    /// One that was seen for the first time.
    pub(crate) fn new(resource: crd::Sync) -> Self {
        let answered = resource.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
        let requests = Requests::new(resource.annotation(REQUESTED_AT), answered);
        let inventory = ParentInventory::of(&resource);
        Self {
            resource: Box::new(resource),
            obeyed: None,
            gone: false,
            order: None,
            resume: Resume::Needed,
            resume_at: Instant::now(),
            spec_resume: Resume::Needed,
            phase: Phase::Idle,
            candidate: None,
            settled: None,
            advance: None,
            logged_spec: None,
            judging: None,
            accepted: None,
            applied: None,
            partial: Vec::new(),
            rolled_back: None,
            turns: OrderTurns::default(),
            interrupted: None,
            held: None,
            failures: Vec::new(),
            attempts: 0,
            flagged: BTreeMap::new(),
            last_current: None,
            superseded: None,
            inventory,
            inventory_due: true,
            inventory_after: None,
            waiting: BTreeSet::new(),
            cache: Arc::default(),
            requests,
            last_drift: None,
            enforcement: Enforcement::default(),
        }
    }

    /// An advance is on disk: from now on it is what is accepted, by this order if it is one to go back.
    pub(crate) fn accept(&mut self, desired: &Arc<DesiredState>, entry: (Digest, u64), order: Option<RolledBack>) {
        self.advance = Some(entry);
        self.logged_spec = self.judging.as_ref().map(|key| key.spec);
        if !self.partial.iter().any(|before| same(before, desired)) {
            if self.partial.len() >= MAX_PARTIAL {
                tracing::error!(sync = %desired.sync(), "too many revisions in a row were not completed; the oldest is forgotten");
                self.partial.remove(0);
            }
            self.partial.push(desired.clone());
        }
        let before = self.accepted.replace(desired.clone());
        self.rolled_back = order;
        self.held = None;
        self.enforcement.forget_proposal();
        let looks = self.obeyed.as_ref().is_some_and(|spec| spec.drift.mode != DriftMode::Off);
        // Drift of what this revision leaves as it was is still there, if anybody looks.
        let digest = |state: &DesiredState, object: &ObjectRef| state.get(object).map(|object| object.digest);
        self.flagged.retain(|object, _| {
            looks && before.as_ref().is_some_and(|before| digest(before, object) == digest(desired, object))
        });
    }

    /// What its roll-out waits for has happened.
    pub(crate) fn stop_waiting(&mut self) {
        match self.phase {
            Phase::Waiting { .. } => self.phase = Phase::Idle,
            Phase::Preparing => self.turns.stop_waiting(),
            Phase::Idle | Phase::Applying => {}
        }
    }

    /// A judgement is over. With `key` nothing is left to do about it, unless somebody asked for another one meanwhile.
    pub(crate) fn judged(&mut self, key: Option<VerdictKey>) {
        let asked = self.requests.end();
        self.settled = key.filter(|_| asked == Asked::No);
    }
}

/// Everything.
pub(crate) struct State {
    /// Options.
    pub options: Arc<Options>,
    /// The cluster.
    pub cluster: Cluster,
    /// The log.
    pub journal: Journal,
    /// For the digests of sensitive objects.
    pub(crate) digest_key: DigestKey,
    /// Who changed what.
    pub(crate) attributions: Attributions,
    /// For the stamps on requests.
    pub(crate) stamp: Stamp,
    /// `expected/`, written on a thread of its own.
    pub(crate) expected: Arc<ExpectedStore>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Where tasks send what they found.
    pub events: mpsc::Sender<Event>,
    /// TrustRoots by name.
    pub roots: BTreeMap<String, RootState>,
    /// Fetches of trust roots of keyless signatures.
    pub(crate) refreshes: Refreshes,
    /// GitSources.
    pub sources: BTreeMap<Key, SourceState>,
    /// The TrustRoot that each source was accepted under last.
    pub(crate) last_roots: BTreeMap<Key, Arc<TrustRootSpec>>,
    /// Sources whose obeyed spec was asked from the log.
    pub(crate) asked_sources: BTreeSet<Key>,
    /// Set once it is known that an empty log has lost nothing.
    pub(crate) unmarked: Arc<tokio::sync::OnceCell<()>>,
    /// What is known of the kinds that the cluster serves.
    pub(crate) kinds: Kinds,
    /// Held while an acceptance is compared with the log's floor and recorded.
    pub(crate) acceptance: Arc<Mutex<()>>,
    /// Which gates may run.
    pub(crate) turns: Arc<Turns>,
    /// What forges say.
    pub(crate) hooks: Arc<Hooks>,
    /// Who works in which mirror.
    pub(crate) mirrors: Mirrors,
    /// What is in force, apart from them.
    pub(crate) archives: Archives,
    /// Syncs.
    pub syncs: BTreeMap<SyncRef, SyncState>,
    /// Orders to take a Sync back.
    pub(crate) rollbacks: BTreeMap<Key, RollbackState>,
    /// Orders to let a commit through.
    pub(crate) break_glasses: BTreeMap<Key, BreakGlassState>,
    /// Refusals of both that the log has or is to have.
    pub(crate) order_refusals: OrderRefusals,
    /// Those that are not kept.
    pub(crate) intakes: Intakes,
    /// Managed objects.
    pub live: LiveTable,
    /// Watches of managed kinds: one for each version that is declared.
    pub watches: BTreeMap<Arc<WatchTarget>, Watch>,
    /// Watches whose full list has arrived.
    pub synced: BTreeSet<Arc<WatchTarget>>,
    /// Watches that cannot be kept at the moment, and why.
    pub(crate) failing: BTreeMap<Arc<WatchTarget>, Finding>,
    /// Objects mentioned in a list that is under way.
    pub relisting: BTreeMap<Arc<WatchTarget>, HashSet<ObjectRef>>,
    /// Reverts of objects that were not there, which have not been answered.
    pub(crate) absences: Absences,
    /// Refusals that were logged.
    pub refusals: Refusals,
    /// Reverts of this minute.
    pub reverts: RevertCounts,
    /// The log entry of the last revert of each object, by plan.
    pub revert_entries: HashMap<Digest, u64>,
    /// Objects that are reverted again and again.
    pub(crate) fights: Fights,
    /// What is known of drift.
    pub(crate) history: History,
    /// Objects whose revert failed, and when it is tried again.
    pub heal_later: BTreeMap<ObjectRef, Instant>,
    /// Syncs that an accepted commit removed and that are still there.
    pub(crate) dropped: BTreeMap<SyncRef, Dropped>,
    /// Whether the log was asked for those of before the start.
    pub(crate) removals: Resume,
    /// Objects whose drift could not be reverted.
    pub(crate) revert_failures: RevertFailures,
    /// What was found when it was looked at last.
    pub(crate) upkeep: Upkeep,
    /// Custom resources whose status may have changed.
    pub dirty: BTreeSet<Dirty>,
    /// Whether a write of `expected/` is under way.
    pub(crate) expected_busy: Arc<AtomicBool>,
    /// Jitter of polls.
    pub jitter: Jitter,
    /// Status and events on their way to the API server.
    pub reporter: Reporter,
    /// What the log says is held.
    pub(crate) holds: Holds,
    /// The modes of TrustRoots, those that are gone included.
    pub(crate) modes: Modes,
    /// The log takes no more entries.
    pub log_problem: Option<Finding>,
}
