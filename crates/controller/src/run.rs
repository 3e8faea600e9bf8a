//! Start, event loop, stop.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use audit::{Log, LogError};
use cluster::{Access, Cluster, ConnectError, Lease, LeaseError, WatchTarget, crd, crd::CustomSpec};
use jiff::Timestamp;
use manifest::DigestKey;
use prometheus_client::registry::Registry;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::{
    absence::Absences,
    admission::{Admission, AdmissionError, Observations},
    archives::Archives,
    attribution::Attributions,
    audit_source::{AuditEvents, AuditLogError, Tail},
    beside::{Beside, Duties},
    drift_history::History,
    drift_snapshot::{self, DriftHistoryError},
    event::Event,
    expected::{ExpectedError, ExpectedStore},
    fights::Fights,
    holds::Holds,
    http::{HttpError, Probes},
    journal::Journal,
    keyless_refresh::Refreshes,
    kinds::Kinds,
    live::LiveTable,
    logged_modes::Modes,
    metrics::Metrics,
    mirrors::Mirrors,
    options::Options,
    order_intake::Intakes,
    order_refusals::OrderRefusals,
    refusals::Refusals,
    remember::Flush,
    report::Reporter,
    revert_counts::RevertCounts,
    revert_failures::RevertFailures,
    schedule::Jitter,
    stamp::Stamp,
    state::State,
    upkeep::Upkeep,
    webhook::{Webhooks, WebhooksError},
};

/// Events that wait for the loop: the largest burst is a full list of 10,000 objects, which waits in
/// its watch instead; this is what keeps the watches from stalling on every turn.
const EVENT_QUEUE: usize = 1_024;
/// The loop turns at least this often: timers, retries, status.
const TICK: Duration = Duration::from_millis(500);
/// Status is written at most this often for each turn of events: a storm of drift is one write.
const STATUS_PAUSE: Duration = Duration::from_millis(200);
/// How long the Lease outlives a process that vanished.
const LEASE_VALIDITY: Duration = Duration::from_secs(15);
/// What the key of Secrets' digests is derived for. Another key is a change of all of them: each Secret is applied once more.
const DIGEST_PURPOSE: &str = "writ.dev/object-digests/v1";
/// How long running work may take when the process is asked to end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Why the controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The state volume cannot be used.
    #[error("cannot use the state folder {}", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log's key cannot be used.
    #[error("cannot use the log key {}", path.display())]
    LogKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log cannot be opened.
    #[error("cannot open the audit log")]
    Log(#[from] LogError),
    /// `expected/` cannot be opened.
    #[error("cannot open the expected state")]
    Expected(#[from] ExpectedError),
    /// What is known of drift cannot be read.
    #[error("cannot read what is known of drift")]
    DriftHistory(#[from] DriftHistoryError),
    /// There is no connection to the cluster.
    #[error("{}", .0.finding())]
    Connect(ConnectError),
    /// Another instance holds the Lease, or it cannot be used.
    #[error("{}", .0.finding())]
    Lease(LeaseError),
    /// Metrics and probes cannot be served.
    #[error("cannot serve metrics and probes")]
    Http(#[from] HttpError),
    /// Webhooks cannot be taken.
    #[error("cannot take webhooks")]
    Webhooks(#[from] WebhooksError),
    /// The API server cannot ask us.
    #[error("cannot take admission reviews")]
    Admission(#[from] AdmissionError),
    /// The audit log of the API server cannot be read.
    #[error("cannot follow the API server's audit log")]
    AuditLog(#[from] AuditLogError),
    /// The thread for probes, metrics and the Lease cannot be started.
    #[error("cannot start the thread for probes, metrics and the Lease")]
    Thread(#[source] std::io::Error),
}

/// Runs the controller until `stop` completes.
///
/// # Errors
/// What keeps it from starting, or from going on: a Lease that was taken by another instance.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), ControllerError> {
    let options = Arc::new(options);
    let (journal, keys) = open_log(&options)?;
    let (expected, loaded) = ExpectedStore::open(&options.state_dir.join("expected"))?;
    let cluster = connect(&options).await?;
    lease(cluster.clone(), &options).acquire(Timestamp::now()).await.map_err(ControllerError::Lease)?;
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let probes = Arc::new(Probes::default());
    let started = Instant::now();
    let duties = Duties { options: options.clone(), registry, probes: probes.clone(), started };
    let mut beside = Beside::start(duties).await?;
    let address = beside.address;
    if loaded.damaged > 0 {
        tracing::warn!(
            lines = loaded.damaged,
            "expected/ had damaged lines; their objects are compared by declared fields"
        );
    }
    let history = known_drift(&options, &journal)?;
    journal.boot(Timestamp::now(), options.instance.as_str(), options.version)?;
    tracing::info!(%address, instance = options.instance.as_str(), cluster = cluster.id().as_str(), "started");
    let (events, mut inbox) = mpsc::channel(EVENT_QUEUE);
    let (reporter, reports) = Reporter::start(cluster.clone(), options.instance.as_str(), metrics.clone());
    let mut state = new_state(options, cluster, (journal, keys, history), metrics, expected, events, reporter);
    for (object, expected) in loaded.objects {
        state.live.remember(&object, expected);
    }
    let webhooks = take_webhooks(&state)?;
    let admission = take_reviews(&mut state)?;
    let audit_log = follow_audit_log(&mut state)?;
    let result = tokio::select! {
        biased;
        Ok(lost) = &mut beside.lost => Err(ControllerError::Lease(lost)),
        () = drive(&mut state, &mut inbox, &probes, started, stop) => Ok(()),
    };
    drop((webhooks, admission, audit_log));
    stop_gracefully(state, inbox, reports).await;
    result
}

/// The thread of webhooks, if any are to be taken.
fn take_webhooks(state: &State) -> Result<Option<Webhooks>, WebhooksError> {
    let Some(address) = state.options.webhook_listen else { return Ok(None) };
    let webhooks = Webhooks::start(address, state.hooks.clone(), state.metrics.clone())?;
    tracing::info!(address = %webhooks.address, "webhooks are taken");
    Ok(Some(webhooks))
}

/// The thread that the API server asks, if it is to.
fn take_reviews(state: &mut State) -> Result<Option<Admission>, AdmissionError> {
    let Some(address) = state.options.admission_listen else { return Ok(None) };
    let observations = Arc::new(Observations::default());
    let names = (state.options.namespace.as_str(), state.options.instance.as_str());
    let admission = Admission::start(address, state.cluster.clone(), names, state.stamp.clone(), observations.clone())?;
    state.attributions.look(observations);
    tracing::info!(address = %admission.address, "admission reviews are taken");
    Ok(Some(admission))
}

/// The thread that reads the API server's audit log, if there is one to read.
fn follow_audit_log(state: &mut State) -> Result<Option<Tail>, AuditLogError> {
    let Some(path) = state.options.audit_log.clone() else { return Ok(None) };
    let own = crate::attribution::own_user(&state.options.namespace);
    let events = Arc::new(AuditEvents::new(own));
    let tail = Tail::start(&path, events.clone())?;
    state.attributions.look_into(events);
    tracing::info!(file = %path.display(), "the audit log of the API server is followed");
    Ok(Some(tail))
}

/// What is derived from the text of the log's key.
struct Keys {
    digest: DigestKey,
    stamp: Stamp,
}

fn open_log(options: &Options) -> Result<(Journal, Keys), ControllerError> {
    let directory = |source| ControllerError::StateDir { path: options.state_dir.clone(), source };
    std::fs::create_dir_all(&options.state_dir).map_err(directory)?;
    let path = options.log_key.clone();
    let text = std::fs::read_to_string(&path)
        .map_err(|source| ControllerError::LogKey { path: path.clone(), source: source.into() })?;
    let key =
        audit::LogKey::parse(text.trim()).map_err(|source| ControllerError::LogKey { path, source: source.into() })?;
    let public_key = key.public().to_string();
    let secret = text.trim().as_bytes();
    let keys = Keys { digest: DigestKey::derive(secret, DIGEST_PURPOSE), stamp: Stamp::derive(secret) };
    let log = Log::open(&options.state_dir.join("log"), key, &options.log_origin)?;
    Ok((Journal::new(Arc::new(log), &public_key), keys))
}

/// What the log says of drift.
fn known_drift(options: &Options, journal: &Journal) -> Result<History, ControllerError> {
    let began = Instant::now();
    let rebuilt = drift_snapshot::rebuild(journal.log(), &options.state_dir.join(drift_snapshot::FOLDER))?;
    tracing::info!(entries = rebuilt.tail, unreadable = rebuilt.unreadable, took = ?began.elapsed(), "what is known of drift is read");
    Ok(History::new(rebuilt))
}

/// Takes the place of this instance; not taken yet.
pub(crate) fn lease(cluster: Cluster, options: &Options) -> Lease {
    let name = format!("writ-{}", options.instance.as_str());
    Lease::new(cluster, &options.namespace, &name, &options.identity, LEASE_VALIDITY)
}

pub(crate) async fn connect(options: &Options) -> Result<Cluster, ControllerError> {
    let access = options.kubeconfig.as_deref().map_or(Access::InCluster, Access::Kubeconfig);
    Cluster::connect(access).await.map_err(ControllerError::Connect)
}

fn new_state(
    options: Arc<Options>,
    cluster: Cluster,
    (journal, keys, history): (Journal, Keys, History),
    metrics: Arc<Metrics>,
    expected: ExpectedStore,
    events: mpsc::Sender<Event>,
    reporter: Reporter,
) -> State {
    State {
        jitter: Jitter::new(options.seed),
        options,
        cluster,
        journal,
        digest_key: keys.digest,
        attributions: Attributions::default(),
        stamp: keys.stamp,
        expected: Arc::new(expected),
        metrics,
        events,
        roots: BTreeMap::new(),
        refreshes: Refreshes::default(),
        sources: BTreeMap::new(),
        last_roots: BTreeMap::new(),
        asked_sources: BTreeSet::new(),
        unmarked: Arc::default(),
        kinds: Kinds::default(),
        acceptance: Arc::default(),
        turns: Arc::default(),
        hooks: Arc::default(),
        mirrors: Mirrors::default(),
        archives: Archives::default(),
        syncs: BTreeMap::new(),
        rollbacks: BTreeMap::new(),
        break_glasses: BTreeMap::new(),
        order_refusals: OrderRefusals::default(),
        intakes: Intakes::default(),
        live: LiveTable::default(),
        watches: BTreeMap::new(),
        synced: BTreeSet::new(),
        failing: BTreeMap::new(),
        relisting: BTreeMap::new(),
        absences: Absences::default(),
        refusals: Refusals::default(),
        reverts: RevertCounts::default(),
        revert_entries: HashMap::new(),
        fights: Fights::default(),
        history,
        heal_later: BTreeMap::new(),
        dropped: BTreeMap::new(),
        removals: crate::state::Resume::Needed,
        revert_failures: RevertFailures::default(),
        upkeep: Upkeep::default(),
        dirty: BTreeSet::new(),
        expected_busy: Arc::default(),
        reporter,
        holds: Holds::default(),
        modes: Modes::default(),
        log_problem: None,
    }
}

/// The event loop.
async fn drive(
    state: &mut State,
    inbox: &mut mpsc::Receiver<Event>,
    probes: &Probes,
    started: Instant,
    stop: impl Future<Output = ()>,
) {
    let _own: Vec<_> = [crd::TrustRoot::target(), crd::GitSource::target(), crd::Sync::target()]
        .into_iter()
        .map(|target| state.cluster.watch(target, state.events.clone()))
        .collect();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = Instant::now();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return,
            Some(event) = inbox.recv() => state.handle(event),
            _ = tick.tick() => state.turn(),
        }
        probes.turned(started.elapsed().as_secs());
        probes.set_ready(state.knows_orders());
        state.flush_expected(Flush::WhenFree);
        if reported.elapsed() >= STATUS_PAUSE && inbox.is_empty() {
            state.flush_status(Timestamp::now());
            reported = Instant::now();
        }
    }
}

/// A custom resource's watch.
pub(crate) trait Target {
    fn target() -> WatchTarget;
}

impl<S> Target for crd::Custom<S>
where
    S: CustomSpec + std::fmt::Debug + Clone + PartialEq,
    S::Status: std::fmt::Debug,
{
    fn target() -> WatchTarget {
        WatchTarget::all(S::resource())
    }
}

/// Finishes what is under way and writes what was learnt. The Lease keeps its holder: the identity is
/// stable, so the same replica comes back to it at once.
async fn stop_gracefully(mut state: State, mut inbox: mpsc::Receiver<Event>, reports: tokio::task::JoinHandle<()>) {
    tracing::info!("stopping");
    state.watches.clear();
    let deadline = Instant::now() + STOP_GRACE;
    while state.is_busy() && Instant::now() < deadline {
        match tokio::time::timeout(TICK, inbox.recv()).await {
            Ok(Some(event)) => state.handle_last(event),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    state.flush_expected(Flush::Now);
    state.flush_status(Timestamp::now());
    drop(state);
    tokio::time::timeout(STOP_GRACE, reports).await.ok();
    tracing::info!("stopped");
}

impl State {
    /// One event.
    fn handle(&mut self, event: Event) {
        let now = Timestamp::now();
        match event {
            Event::Watched(watched) => self.watched(*watched, now),
            Event::Outcome(outcome) => self.outcome(*outcome, now),
            Event::KeylessFetched { root, declared, outcome } => self.keyless_fetched(&root, &declared, outcome),
            Event::SourceResumed { source, outcome } => self.source_resumed(&source, outcome, now),
            Event::SourceJudged { source, answer } => self.source_judged(&source, *answer, now),
            Event::SourceSpecResumed { source, outcome } => self.source_spec_resumed(&source, outcome, now),
            Event::SyncResumed { sync, outcome } => self.sync_resumed(&sync, outcome, now),
            Event::SpecResumed { sync, outcome } => self.spec_resumed(&sync, outcome, now),
            Event::Prepared { sync, outcome } => self.prepared(&sync, outcome, now),
            Event::Kept { sync, verdict } => self.kept(&sync, verdict, now),
            Event::RollbackJudged { sync, request, verdict } => self.rollback_judged(&sync, &request, *verdict, now),
            Event::Recorded { plan, desired, order, receipt } => self.recorded(*plan, &desired, order, receipt),
            Event::Applied { sync, report, inventory, plan } => self.applied(&sync, *report, inventory, &plan, now),
            Event::Remembered { sync, result } => self.remembered(&sync, result),
            Event::InventoryKept { sync, inventory, result } => self.inventory_kept(&sync, inventory, result),
            Event::RemovalsRead(outcome) => self.removals_read(outcome),
            Event::HoldsRead(outcome) => self.holds_read(outcome, now),
            Event::RemovalPrepared { sync, trailer } => self.removal_prepared(&sync, trailer, now),
            Event::DriftKept(result) => self.drift_kept(result),
            Event::LogRoom { room } => self.log_room(room),
            Event::MirrorsSwept(result) => self.mirrors_swept(result),
            Event::InForceKept { source, result } => self.in_force_kept(&source, result),
            Event::Broken { sync, begun, why } => self.broken(&sync, begun.as_ref(), &why),
            Event::RefusalLogged { owner, result } => self.refusal_logged(&owner, result),
            Event::Discovered => self.discovered(),
        }
        self.run_sources(now);
    }

    /// One event while stopping: what was begun is finished, nothing new begins.
    fn handle_last(&mut self, event: Event) {
        let now = Timestamp::now();
        match event {
            Event::Outcome(outcome) => self.outcome(*outcome, now),
            Event::Applied { sync, report, inventory, plan } => self.applied(&sync, *report, inventory, &plan, now),
            Event::Remembered { sync, result } => self.remembered(&sync, result),
            _ => {}
        }
    }

    /// What happens without an event.
    fn turn(&mut self) {
        let now = Timestamp::now();
        self.follow_modes(now);
        self.refresh_keyless();
        self.run_sources(now);
        self.resume_syncs();
        self.heal_due(now);
        self.prove_watches();
        self.ask_kinds();
        self.upkeep();
        self.ask_removals();
        self.ask_holds();
        self.keep_inventories(now);
        self.remove_gone();
        self.log_holds(now);
        self.log_counted_refusals(now);
        self.watch_freshness(now);
        self.watch_trust_files(now);
        self.keep_in_force();
        self.look_for_orders();
        self.follow_windows(now);
        self.attribute_later(now);
        self.consider_all();
    }

    fn is_busy(&self) -> bool {
        self.syncs.values().any(|sync| sync.phase == crate::state::Phase::Applying)
    }
}
