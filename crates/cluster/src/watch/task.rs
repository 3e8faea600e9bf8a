//! The life of one watch: list, follow, resume, list again.

use std::{sync::Arc, time::Duration};

use manifest::{Finding, Subject};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    Pulse, WatchEvent, WatchTarget, Watched,
    lines::Lines,
    open::{self, Parsed},
};
use crate::{Cluster, ClusterCode, Sighting, request::RequestError};

/// First pause after a failure; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: an API server that comes back is noticed within this time.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// A watch that is silent for longer is taken for dead. The server sends a bookmark about once a
/// minute.
const MAX_SILENCE: Duration = Duration::from_secs(180);
/// How long the server may take to answer a request for a watch with its first byte.
const OPEN_DEADLINE: Duration = Duration::from_secs(40);
/// Failures in a row to resume from a version before everything is listed again: a version that the
/// server will never know (a restored etcd) looks like an error that passes.
const MAX_RESUMES: u32 = 5;
/// How long a watch fails before it is reported: an API server restarts in 5 to 10 s, and that is no news. Everything of the kind
/// that is declared counts as unwatched from then on.
const REPORT_AFTER: Duration = Duration::from_secs(15);
/// How long a watch is open, after failures, before it works again, although nothing was to be said: the first line may be the
/// bookmark of a minute later. What ends sooner without a line has not worked.
const WORKS_AFTER: Duration = Duration::from_secs(1);
/// How long after its list a version is at least known: API servers keep the events of a minute and more. One that is too old
/// sooner is a failure, and after it a watch works again when it has gone on for as long: neither a list nor a line proves it.
const VERSION_LASTS: Duration = Duration::from_secs(15);

/// How a stretch of work ended.
enum End {
    /// The receiver is gone: the watch ends.
    Unheard,
    /// The stream ended as watches do; go on from the same version.
    Finished,
    /// The version is too old: everything is listed again.
    Expired,
    /// The server does not do streaming lists.
    NoStreamingList,
    /// Something failed; try again after a pause.
    Failed(String),
}

/// Whether the server offers streaming lists, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Streaming,
    Paged,
}

struct State<T> {
    cluster: Cluster,
    target: Arc<WatchTarget>,
    sender: mpsc::Sender<T>,
    pulse: Arc<Pulse>,
    listing: Listing,
    /// Where to go on; `None` until the first list is complete, and after a gap.
    version: Option<String>,
    /// True once anything of a list was delivered that has not been completed.
    torn: bool,
    failures: u32,
    /// When the first of them was.
    failing_since: Option<Instant>,
    reported: bool,
    /// Whether an open watch that says nothing is taken for one that works: once after each line.
    trusts_silence: bool,
    /// When the last list was complete; `None` once its version was too old.
    listed: Option<Instant>,
    /// The version of the list before was too old within [`VERSION_LASTS`].
    expired: bool,
}

pub(super) async fn run<T: From<Watched> + Send>(
    cluster: Cluster,
    target: Arc<WatchTarget>,
    sender: mpsc::Sender<T>,
    pulse: Arc<Pulse>,
) {
    let mut state = State {
        cluster,
        target,
        sender,
        pulse,
        listing: Listing::Streaming,
        version: None,
        torn: false,
        failures: 0,
        failing_since: None,
        reported: false,
        trusts_silence: true,
        listed: None,
        expired: false,
    };
    loop {
        let end = match state.version.take() {
            Some(version) => state.follow(version).await,
            None => state.list().await,
        };
        match end {
            End::Unheard => return,
            End::Finished => {}
            End::NoStreamingList => state.listing = Listing::Paged,
            End::Expired => {
                let kind = state.target.resource.group_kind();
                tracing::info!(%kind, status = 410, "the watch cannot go on where it was: everything is listed again");
                state.version = None;
                if state.emit(WatchEvent::Gap).await.is_err() {
                    return;
                }
                // A server that says so each time must not be asked without pause.
                state.expired = !state.lasts();
                state.listed = None;
                let reason = "its version is too old as soon as it is listed";
                if state.expired && state.failed(reason.into()).await.is_err() {
                    return;
                }
            }
            End::Failed(reason) => {
                if state.failed(reason).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The receiver is gone.
struct Gone;

impl<T: From<Watched> + Send> State<T> {
    async fn emit(&mut self, event: WatchEvent) -> Result<(), Gone> {
        self.torn = matches!(event, WatchEvent::Applied(_)) && self.version.is_none();
        let watched = Watched { target: self.target.clone(), event };
        self.sender.send(T::from(watched)).await.map_err(|_closed| Gone)
    }

    /// Reports a failure if it lasts, and pauses.
    async fn failed(&mut self, reason: String) -> Result<(), Gone> {
        self.failures += 1;
        if self.version.is_some() && self.failures.is_multiple_of(MAX_RESUMES) {
            self.version = None;
            self.emit(WatchEvent::Gap).await?;
        } else if self.torn {
            // What a broken list delivered is delivered again.
            self.emit(WatchEvent::Gap).await?;
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= REPORT_AFTER && !self.reported {
            self.reported = true;
            let finding = self.finding(reason);
            self.emit(WatchEvent::Failing(finding)).await?;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(10)).min(MAX_PAUSE);
        tokio::time::sleep(pause).await;
        if self.sender.is_closed() { Err(Gone) } else { Ok(()) }
    }

    /// The watch works, as far as can be told: it was listed, or a line came.
    async fn works(&mut self) -> Result<(), Gone> {
        if self.expired && !self.lasts() {
            return Ok(());
        }
        self.trusts_silence = true;
        self.restored().await
    }

    /// Ends the row of failures: one that comes later is the first of another. Says so, if the watch was reported.
    async fn restored(&mut self) -> Result<(), Gone> {
        self.expired = false;
        self.failures = 0;
        self.failing_since = None;
        if std::mem::take(&mut self.reported) { self.emit(WatchEvent::Restored).await } else { Ok(()) }
    }

    fn finding(&self, reason: String) -> Finding {
        let resource = self.target.resource.full_name();
        Finding {
            code: ClusterCode::A113.entry(),
            subject: Subject::Named(self.target.resource.group_kind().to_string()),
            rule: None,
            found: reason.into(),
            needed: format!("an open watch on {resource}").into(),
            fix: format!("check that {resource} exists and that writ's ServiceAccount may list and watch it").into(),
        }
    }

    async fn list(&mut self) -> End {
        match self.listing {
            Listing::Streaming => {
                match timeout(OPEN_DEADLINE, open::streaming_list(self.cluster.client(), &self.target)).await {
                    Err(_elapsed) => End::Failed(format!("no answer within {} s", OPEN_DEADLINE.as_secs())),
                    // 400 and 422: `sendInitialEvents` is unknown or switched off.
                    Ok(Err(error)) if matches!(error.status(), Some(400 | 422)) => End::NoStreamingList,
                    Ok(Err(error)) => describe(&error),
                    Ok(Ok(lines)) => self.read(lines).await,
                }
            }
            Listing::Paged => self.pages().await,
        }
    }

    async fn pages(&mut self) -> End {
        let mut next = None;
        loop {
            let page = match open::page(self.cluster.client(), &self.target, next.as_deref()).await {
                Ok(page) => page,
                Err(error) => return describe(&error),
            };
            self.pulse.beat();
            for item in page.items {
                match self.sighting(item.get().as_bytes()) {
                    Ok(sighting) => {
                        if self.emit(WatchEvent::Applied(sighting)).await.is_err() {
                            return End::Unheard;
                        }
                    }
                    Err(end) => return end,
                }
            }
            next = page.next;
            if next.is_none() {
                self.listed(page.resource_version);
                if self.works().await.is_err() {
                    return End::Unheard;
                }
                return if self.emit(WatchEvent::Synced).await.is_err() { End::Unheard } else { End::Finished };
            }
        }
    }

    /// The list is complete, as of this version.
    fn listed(&mut self, version: String) {
        self.version = Some(version);
        self.listed = Some(Instant::now());
    }

    /// Whether the watch has gone on from its list for [`VERSION_LASTS`].
    fn lasts(&self) -> bool {
        self.listed.is_some_and(|listed| listed.elapsed() >= VERSION_LASTS)
    }

    async fn follow(&mut self, version: String) -> End {
        let opened = timeout(OPEN_DEADLINE, open::follow(self.cluster.client(), &self.target, &version)).await;
        self.version = Some(version);
        match opened {
            Err(_elapsed) => End::Failed(format!("no answer within {} s", OPEN_DEADLINE.as_secs())),
            Ok(Err(error)) => describe(&error),
            Ok(Ok(lines)) => self.read(lines).await,
        }
    }

    /// Reads a stream to its end. While `self.version` is `None` it is a list.
    async fn read(&mut self, mut lines: Lines) -> End {
        let mut silent = true;
        loop {
            let recovers = self.failures > 0 && self.version.is_some() && self.trusts_silence;
            let patience = match (recovers, self.expired) {
                (false, _) => MAX_SILENCE,
                (true, false) => WORKS_AFTER,
                (true, true) => VERSION_LASTS,
            };
            let line = match timeout(patience, lines.next()).await {
                Err(_elapsed) if recovers => {
                    // Without a line it may also be a server that answers and never says anything: the next silence is not
                    // believed.
                    self.trusts_silence = false;
                    if self.restored().await.is_err() {
                        return End::Unheard;
                    }
                    continue;
                }
                Err(_elapsed) => return End::Failed(format!("silent for {} s", MAX_SILENCE.as_secs())),
                Ok(Err(error)) => return End::Failed(error.to_string()),
                Ok(Ok(None)) if self.version.is_none() => {
                    return End::Failed("the list ended before it was complete".into());
                }
                // A server that ends every watch at once must not be asked without pause.
                Ok(Ok(None)) if silent => return End::Failed("the watch ended at once".into()),
                Ok(Ok(None)) => return End::Finished,
                Ok(Ok(Some(line))) => line,
            };
            silent = false;
            self.pulse.beat();
            let understood = self.interpret(line);
            // A list works when it is complete.
            if understood.is_ok() && self.version.is_some() && self.works().await.is_err() {
                return End::Unheard;
            }
            match understood {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if self.emit(event).await.is_err() {
                        return End::Unheard;
                    }
                }
                Err(end) => return end,
            }
        }
    }

    /// What one line means; notes how far the watch has come.
    fn interpret(&mut self, line: &[u8]) -> Result<Option<WatchEvent>, End> {
        let parsed = open::parse(line)
            .map_err(|error| End::Failed(format!("an event cannot be read (column {})", error.column())))?;
        let listing = self.version.is_none();
        let (event, version) = match parsed {
            Parsed::Applied(object) => {
                let sighting = self.sighting(object)?;
                let version = sighting.resource_version.clone();
                (Some(WatchEvent::Applied(sighting)), version)
            }
            Parsed::Deleted(object) => {
                let Sighting { reference, uid, resource_version, .. } = self.sighting(object)?;
                (
                    Some(WatchEvent::Deleted { reference, uid, resource_version: resource_version.clone() }),
                    resource_version,
                )
            }
            Parsed::Bookmark { resource_version, ends_list: true } if listing => {
                self.listed(resource_version.clone());
                (Some(WatchEvent::Synced), resource_version)
            }
            Parsed::Bookmark { resource_version, .. } => (None, resource_version),
            // The version is too old.
            Parsed::Failed { status: 410 } => return Err(End::Expired),
            Parsed::Failed { status } => return Err(End::Failed(format!("the server ended the watch with {status}"))),
        };
        if self.version.is_some() {
            self.version = Some(version);
        }
        Ok(event)
    }

    fn sighting(&self, object: &[u8]) -> Result<Sighting, End> {
        Sighting::read(self.cluster.id(), &self.target.resource.group_kind(), object)
            .map_err(|error| End::Failed(format!("an object cannot be read (column {})", error.column())))
    }
}

/// What a failed request means for the watch. A failure about a collection quotes no object.
fn describe(error: &RequestError) -> End {
    match error.failure() {
        Some(failure) if failure.status == 410 => End::Expired,
        Some(failure) => End::Failed(failure.words()),
        None => End::Failed(error.to_string()),
    }
}
