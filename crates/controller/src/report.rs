//! What people are told: Events and statuses, delivered by one task so that the loop never waits.
//! What the API server does not take is delivered again (see `outbox`).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cluster::{Cluster, EventWriter, RequestError, StatusError, StatusWriter};
use tokio::sync::{mpsc, watch};

use crate::{
    metrics::Metrics,
    outbox::{Announcement, Attempt, Fate, Message, Next, Outbox, Refusal, Stage, Status},
};

/// How long a message waits before it is delivered: what changes again meanwhile is one status, and
/// what is said again one Event.
const TELL_AFTER: Duration = Duration::from_millis(250);
/// How much longer it waits while reverts are under way, whose requests the API server is to answer
/// first. A storm of drift delays what is told by this and no more.
const YIELD_MAX: Duration = Duration::from_secs(1);

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    /// A status.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// An Event.
    #[error("an Event cannot be written")]
    Event(#[from] RequestError),
}

impl DeliveryError {
    fn refusal(&self) -> Refusal {
        let request = match self {
            Self::Event(request) => request,
            Self::Status(StatusError::Write { source, .. }) => source,
            Self::Status(StatusError::Encode { .. }) => return Refusal::Refused,
        };
        match request.status() {
            Some(404) => Refusal::Gone,
            // Statuses are written with the UID: the object was deleted and created again.
            Some(409) if matches!(self, Self::Status(_)) => Refusal::Gone,
            _ if request.is_transient() => Refusal::Away,
            _ => Refusal::Refused,
        }
    }
}

/// Where messages are put.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    outbox: Arc<Mutex<Outbox>>,
    /// Full while the task has not yet looked; closed when the last reporter is gone.
    wake: mpsc::Sender<()>,
    /// How many reverts are under way.
    reverts: Arc<watch::Sender<usize>>,
    metrics: Arc<Metrics>,
}

/// A revert is under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct Underway(Arc<watch::Sender<usize>>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.send_modify(|reverts| *reverts = reverts.saturating_sub(1));
    }
}

impl Reporter {
    /// Starts the task. It ends when the last clone of the reporter is gone and everything was tried.
    #[must_use]
    pub(crate) fn start(
        cluster: Cluster,
        instance: &str,
        metrics: Arc<Metrics>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (wake, woken) = mpsc::channel(1);
        let outbox = Arc::new(Mutex::new(Outbox::default()));
        let reverts = watch::Sender::new(0);
        let courier = Courier {
            cluster,
            outbox: outbox.clone(),
            reverts: reverts.subscribe(),
            metrics: metrics.clone(),
            events: EventWriter::new(instance),
            statuses: StatusWriter::default(),
        };
        (Self { outbox, wake, reverts: Arc::new(reverts), metrics }, tokio::spawn(courier.run(woken)))
    }

    /// Requests that put drift back are on their way: messages wait for their answers.
    #[must_use]
    pub(crate) fn revert_begins(&self) -> Underway {
        self.reverts.send_modify(|reverts| *reverts += 1);
        Underway(self.reverts.clone())
    }

    /// Whether there is room for what need not be told.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.outbox).has_room()
    }

    /// Puts in a status; it takes the place of an older one of the same object.
    pub(crate) fn status(&self, status: Status) {
        self.put(|outbox| {
            outbox.put_status(status, Instant::now() + TELL_AFTER);
            Fate::Kept
        });
    }

    /// Puts in an Event.
    pub(crate) fn event(&self, event: Announcement) {
        self.put(|outbox| outbox.put_event(event, Instant::now() + TELL_AFTER));
    }

    fn put(&self, put: impl FnOnce(&mut Outbox) -> Fate) {
        let mut outbox = lock(&self.outbox);
        if put(&mut outbox) == Fate::Dropped {
            self.metrics.events_dropped.inc();
            tracing::warn!("too many Events are waiting for the API server; the oldest is not told");
        }
        self.metrics.reports_waiting.set(outbox.len() as i64);
        drop(outbox);
        // Full: the task will look anyway. Closed: the process ends.
        self.wake.try_send(()).ok();
    }
}

/// Nothing that can panic happens under the lock.
fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Delivers.
struct Courier {
    cluster: Cluster,
    outbox: Arc<Mutex<Outbox>>,
    reverts: watch::Receiver<usize>,
    metrics: Arc<Metrics>,
    events: EventWriter,
    statuses: StatusWriter,
}

impl Courier {
    async fn run(mut self, mut woken: mpsc::Receiver<()>) {
        let mut stage = Stage::Open;
        loop {
            let next = lock(&self.outbox).next(Instant::now(), stage);
            let until = match next {
                Next::Deliver(attempt) => {
                    self.deliver(attempt, stage).await;
                    continue;
                }
                Next::Wait(_) if stage == Stage::Closing => return,
                Next::Wait(until) => until,
            };
            let look = match until {
                // A pause that is over: look again.
                Some(at) => tokio::time::timeout_at(at.into(), woken.recv()).await.unwrap_or(Some(())),
                None => woken.recv().await,
            };
            if look.is_none() {
                stage = Stage::Closing;
            }
        }
    }

    async fn deliver(&mut self, attempt: Box<Attempt>, stage: Stage) {
        let failures = attempt.failures;
        if stage == Stage::Open {
            let latest = attempt.since + YIELD_MAX;
            // Too long, or nobody reverts any more: it is delivered either way.
            tokio::time::timeout_at(latest.into(), self.reverts.wait_for(|reverts| *reverts == 0)).await.ok();
        }
        let result = self.write(&attempt.message).await;
        let Err(error) = result else {
            if failures > 0 {
                tracing::info!(failures, "a report was written after all");
            }
            self.metrics.reports_waiting.set(lock(&self.outbox).len() as i64);
            return;
        };
        // Whether the request took effect is not known: what is shown there may be anything.
        self.statuses.forget();
        self.metrics.report_failures.inc();
        let refusal = error.refusal();
        let is_event = matches!(attempt.message, Message::Event(_));
        let mut outbox = lock(&self.outbox);
        let fate = match stage {
            Stage::Open => outbox.failed(*attempt, refusal, Instant::now()),
            Stage::Closing => Fate::Dropped,
        };
        self.metrics.reports_waiting.set(outbox.len() as i64);
        drop(outbox);
        if refusal == Refusal::Gone {
            return tracing::debug!(error = %chain(&error), "a report about something that is gone");
        }
        match fate {
            Fate::Dropped => {
                if is_event {
                    self.metrics.events_dropped.inc();
                }
                tracing::warn!(error = %chain(&error), "a report was not written and is given up");
            }
            // Once: an outage is one line for each report, not one for each attempt.
            Fate::Kept if failures == 0 => {
                tracing::warn!(error = %chain(&error), "a report was not written; it is tried again");
            }
            Fate::Kept => tracing::debug!(error = %chain(&error), failures, "a report was not written again"),
        }
    }

    async fn write(&mut self, message: &Message) -> Result<(), DeliveryError> {
        let (cluster, statuses) = (&self.cluster, &mut self.statuses);
        match message {
            Message::Event(event) => self.events.write(cluster, &event.regarding, &event.note, event.at).await?,
            Message::Status(Status::Root(object, status)) => drop(statuses.write(cluster, object, status).await?),
            Message::Status(Status::Source(object, status)) => drop(statuses.write(cluster, object, status).await?),
            Message::Status(Status::Sync(object, status)) => drop(statuses.write(cluster, object, status).await?),
            Message::Status(Status::Rollback(object, status)) => drop(statuses.write(cluster, object, status).await?),
            Message::Status(Status::BreakGlass(object, status)) => drop(statuses.write(cluster, object, status).await?),
        }
        Ok(())
    }
}

/// An error with its causes, on one line. Errors of requests say reason and fields, never values.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use axum::{
        Router,
        body::Bytes,
        extract::State as Shared,
        http::{Method, StatusCode, Uri},
    };
    use cluster::{Access, Note, crd};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::announce::regarding;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// What the API server was told: statuses by name, notes of Events; and how it answers.
    #[derive(Debug, Default)]
    struct Server {
        statuses: BTreeMap<String, Value>,
        notes: Vec<String>,
        writes: usize,
        answer: Option<StatusCode>,
    }

    type Seen = Arc<watch::Sender<Server>>;

    async fn answer(Shared(seen): Shared<Seen>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
        if method == Method::GET {
            let list = json!({"kind": "APIGroupDiscoveryList", "items": [], "metadata": {"uid": "cluster-1"}});
            return (StatusCode::OK, list.to_string());
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        let mut status = StatusCode::OK;
        seen.send_modify(|server| {
            server.writes += 1;
            if let Some(answer) = server.answer {
                status = answer;
            } else if uri.path().ends_with("/status") {
                server.statuses.insert(body["metadata"]["name"].as_str().unwrap().to_owned(), body["status"].clone());
            } else {
                server.notes.push(body["note"].as_str().unwrap().to_owned());
            }
        });
        (status, json!({"message": "no leader"}).to_string())
    }

    struct Stage {
        reporter: Reporter,
        task: tokio::task::JoinHandle<()>,
        seen: Seen,
        metrics: Arc<Metrics>,
    }

    impl Stage {
        async fn start() -> Self {
            let seen: Seen = Arc::new(watch::Sender::new(Server::default()));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().fallback(answer).with_state(seen.clone());
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            let folder = tempfile::tempdir().unwrap();
            let kubeconfig = folder.path().join("kubeconfig");
            let config = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            });
            std::fs::write(&kubeconfig, config.to_string()).unwrap();
            let cluster = Cluster::connect(Access::Kubeconfig(&kubeconfig)).await.unwrap();
            let metrics = Arc::new(Metrics::default());
            let (reporter, task) = Reporter::start(cluster, "writ", metrics.clone());
            Self { reporter, task, seen, metrics }
        }

        fn set(&self, answer: Option<StatusCode>) {
            self.seen.send_modify(|server| server.answer = answer);
        }

        fn sync(&self, name: &str, objects: u64) {
            let resource = serde_json::from_value(json!({
                "apiVersion": "writ.dev/v1alpha1", "kind": "Sync",
                "metadata": {"name": name, "namespace": "shop", "uid": name},
                "spec": {"sourceRef": {"name": "config"}, "path": "web", "drift": {"mode": "Revert"}},
            }))
            .unwrap();
            let status = crd::SyncStatus { objects: Some(objects), ..crd::SyncStatus::default() };
            self.reporter.status(Status::Sync(Box::new(resource), Box::new(status)));
        }

        fn event(&self, text: &str) {
            let regarding = regarding("Sync", Some("shop"), "web", None);
            let note = Note {
                severity: cluster::Severity::Warning,
                reason: "Held",
                action: "Verify",
                text: text.into(),
                related: None,
            };
            self.reporter.event(Announcement { regarding, note, at: Timestamp::UNIX_EPOCH });
        }

        async fn until(&self, what: impl FnMut(&Server) -> bool) {
            let mut seen = self.seen.subscribe();
            let reached = tokio::time::timeout(DEADLINE, seen.wait_for(what)).await.is_ok();
            assert!(reached, "{:?}", self.seen.borrow());
        }

        fn objects(&self, name: &str) -> Option<u64> {
            self.seen.borrow().statuses.get(name)?["objects"].as_u64()
        }
    }

    #[tokio::test]
    async fn what_was_not_taken_is_told_when_the_api_server_is_back() {
        let stage = Stage::start().await;
        stage.set(Some(StatusCode::SERVICE_UNAVAILABLE));
        stage.sync("web", 1);
        stage.event("the head is refused");
        stage.until(|server| server.writes >= 2).await;
        stage.sync("web", 2);
        stage.set(None);
        stage.until(|server| server.statuses.contains_key("web") && !server.notes.is_empty()).await;
        assert_eq!(stage.objects("web"), Some(2));
        assert_eq!(stage.seen.borrow().notes, ["the head is refused"]);
        assert!(stage.metrics.report_failures.get() >= 2);
        assert_eq!(stage.metrics.events_dropped.get(), 0);
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_taken_for_written() {
        let stage = Stage::start().await;
        stage.sync("web", 1);
        stage.until(|server| server.statuses.contains_key("web")).await;
        stage.set(Some(StatusCode::GATEWAY_TIMEOUT));
        stage.sync("web", 2);
        stage.until(|server| server.writes == 2).await;
        // It may have taken effect: going back to what was written before is a write, too.
        stage.seen.send_modify(|server| server.statuses.clear());
        stage.sync("web", 1);
        stage.set(None);
        stage.until(|server| server.statuses.contains_key("web")).await;
        assert_eq!(stage.objects("web"), Some(1));
    }

    #[tokio::test]
    async fn at_the_end_what_waits_is_tried_once_more() {
        let stage = Stage::start().await;
        stage.set(Some(StatusCode::SERVICE_UNAVAILABLE));
        stage.sync("a", 1);
        stage.until(|server| server.writes == 1).await;
        stage.set(None);
        stage.sync("b", 2);
        drop(stage.reporter);
        tokio::time::timeout(DEADLINE, stage.task).await.unwrap().unwrap();
        let names: Vec<String> = stage.seen.borrow().statuses.keys().cloned().collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_revert_that_never_ends_silences_nobody() {
        let stage = Stage::start().await;
        let underway = stage.reporter.revert_begins();
        stage.event("told all the same");
        stage.until(|server| server.notes.len() == 1).await;
        assert_eq!(*stage.reporter.reverts.borrow(), 1);
        drop(underway);
        assert_eq!(*stage.reporter.reverts.borrow(), 0);
    }

    #[tokio::test]
    async fn the_status_of_what_is_gone_is_given_up() {
        let stage = Stage::start().await;
        stage.set(Some(StatusCode::NOT_FOUND));
        stage.sync("a", 1);
        drop(stage.reporter);
        tokio::time::timeout(DEADLINE, stage.task).await.unwrap().unwrap();
        assert_eq!((stage.seen.borrow().writes, stage.metrics.reports_waiting.get()), (1, 0));
    }
}
