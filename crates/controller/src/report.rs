//! What people are told: Events and status, written by one task so that the loop never waits.

use cluster::{Cluster, EventWriter, Note, Regarding, StatusWriter, crd};
use jiff::Timestamp;
use manifest::Finding;
use plan::{DriftReport, SyncRef};
use tokio::sync::mpsc;

use crate::state::{Key, State};

/// Messages that wait: one status of each of a thousand custom resources, and their events.
const QUEUE: usize = 2_048;
/// The most findings announced at once: what fits on a screen; status and log have all.
const MAX_ANNOUNCED: usize = 20;

/// One message.
#[derive(Debug)]
pub(crate) enum Report {
    /// An Event.
    Event(Box<Regarding>, Note, Timestamp),
    /// Status of a TrustRoot.
    Root(Box<crd::TrustRoot>, Box<crd::TrustRootStatus>),
    /// Status of a GitSource.
    Source(Box<crd::GitSource>, Box<crd::GitSourceStatus>),
    /// Status of a Sync.
    Sync(Box<crd::Sync>, Box<crd::SyncStatus>),
}

/// Where messages are put.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    queue: mpsc::Sender<Report>,
}

impl Reporter {
    /// Starts the task. It ends when the last clone of the reporter is gone and all is written.
    #[must_use]
    pub(crate) fn start(cluster: Cluster, instance: &str) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut messages) = mpsc::channel(QUEUE);
        let mut events = EventWriter::new(instance);
        let mut statuses = StatusWriter::default();
        let task = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                if let Err(error) = write(&cluster, &mut events, &mut statuses, &message).await {
                    tracing::warn!(error = %chain(&*error), "a report was not written");
                }
            }
        });
        (Self { queue }, task)
    }

    /// Queues a message. If the queue is full the message is dropped and said so in the log: the
    /// same state is reported again at the next change, and the audit log has it anyway.
    pub(crate) fn send(&self, report: Report) {
        if self.queue.try_send(report).is_err() {
            tracing::warn!("too many reports are waiting for the API server; one was dropped");
        }
    }
}

async fn write(
    cluster: &Cluster,
    events: &mut EventWriter,
    statuses: &mut StatusWriter,
    message: &Report,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match message {
        Report::Event(regarding, note, now) => events.write(cluster, regarding, note, *now).await?,
        Report::Root(object, status) => drop(statuses.write(cluster, object, status).await?),
        Report::Source(object, status) => drop(statuses.write(cluster, object, status).await?),
        Report::Sync(object, status) => drop(statuses.write(cluster, object, status).await?),
    }
    Ok(())
}

/// An error with its causes, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl State {
    /// Tells a Sync's owners what was found.
    pub(crate) fn announce_sync(&self, sync: &SyncRef, findings: &[Finding]) {
        let Some(state) = self.syncs.get(sync) else { return };
        let regarding = regarding("Sync", Some(&sync.namespace), &sync.name, state.resource.metadata.uid.clone());
        self.announce(&regarding, findings, "Reconcile");
    }

    /// Tells a Sync's owners what drifted.
    pub(crate) fn announce_drift(&self, sync: &SyncRef, reports: &[DriftReport]) {
        let findings: Vec<Finding> = reports.iter().map(|report| report.finding.clone()).collect();
        let Some(state) = self.syncs.get(sync) else { return };
        let regarding = regarding("Sync", Some(&sync.namespace), &sync.name, state.resource.metadata.uid.clone());
        self.announce(&regarding, &findings, "Drift");
    }

    /// Tells a GitSource's owners what was found.
    pub(crate) fn announce_source(&self, key: &Key, findings: &[Finding]) {
        let Some(source) = self.sources.get(key) else { return };
        let regarding = regarding("GitSource", Some(&key.namespace), &key.name, source.resource.metadata.uid.clone());
        self.announce(&regarding, findings, "Verify");
    }

    fn announce(&self, regarding: &Regarding, findings: &[Finding], action: &'static str) {
        let now = Timestamp::now();
        for finding in findings.iter().take(MAX_ANNOUNCED) {
            self.reporter.send(Report::Event(Box::new(regarding.clone()), Note::of(finding, action), now));
        }
    }
}

fn regarding(kind: &str, namespace: Option<&str>, name: &str, uid: Option<String>) -> Regarding {
    Regarding {
        api_version: format!("{}/{}", crd::GROUP, crd::VERSION),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        uid,
    }
}
