//! Watches: raw streams of events, decoded straight from bytes into small records.
//!
//! One task per (kind) or (kind, namespace). It lists by a streaming list where the server offers
//! it and by pages where not, then follows the watch, resumes after a cut, lists again after a gap,
//! and says so. It keeps one resourceVersion and one line, never an object.

mod lines;
mod open;
mod proof;
mod task;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use manifest::{Finding, ObjectRef};
use tokio::{sync::mpsc, task::JoinHandle};

pub use proof::Proof;

use crate::{Cluster, Resource, Sighting};

/// The object that a line tells of.
#[cfg(fuzzing)]
pub(crate) fn parse(line: &[u8]) -> Option<&[u8]> {
    match open::parse(line).ok()? {
        open::Parsed::Applied(object) | open::Parsed::Deleted(object) => Some(object),
        open::Parsed::Bookmark { .. } | open::Parsed::Failed { .. } => None,
    }
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchTarget {
    /// The kind.
    pub resource: Resource,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Label selector, such as `writ.dev/instance=prod`.
    pub labels: Option<String>,
    /// Field selector, such as `metadata.name=web`.
    pub fields: Option<String>,
}

impl WatchTarget {
    /// Every object of a kind.
    #[must_use]
    pub const fn all(resource: Resource) -> Self {
        Self { resource, namespace: None, labels: None, fields: None }
    }

    /// The objects of a kind that one controller manages.
    #[must_use]
    pub fn managed(resource: Resource, namespace: Option<String>, instance: &plan::InstanceId) -> Self {
        let labels = Some(format!("{}={}", plan::INSTANCE_LABEL, instance.as_str()));
        Self { resource, namespace, labels, fields: None }
    }
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// An object is there, or changed.
    Applied(Sighting),
    /// An object is gone, or no longer matches the selector: the server does not say which. The
    /// content is that of before.
    Deleted {
        /// The object.
        reference: ObjectRef,
        /// The UID it had.
        uid: String,
        /// The version of the deletion.
        resource_version: String,
    },
    /// Everything that is there has been delivered since the start or the last `Gap`; what was not
    /// mentioned is not there.
    Synced,
    /// Events were missed: everything is delivered again, then `Synced`.
    Gap,
    /// The watch could not be kept for a while and is tried again; said once until it works again.
    Failing(Finding),
    /// It works again.
    Restored,
    /// A proof found this object. The stream may have told of something newer meanwhile.
    Listed(Sighting),
    /// A proof has found all that is there.
    Proved {
        /// As of this version.
        resource_version: String,
    },
    /// A proof could not be completed.
    Unproved(String),
}

/// An event, and the watch it is from.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What is watched.
    pub target: Arc<WatchTarget>,
    /// What it saw.
    pub event: WatchEvent,
}

/// A running watch; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
    target: Arc<WatchTarget>,
    pulse: Arc<Pulse>,
}

/// When anything came over a watch last: a line, a page, or a bookmark of which nobody else is told.
#[derive(Debug)]
struct Pulse {
    opened: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Arc<Self> {
        Arc::new(Self { opened: Instant::now(), last: AtomicU64::new(0) })
    }

    fn beat(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

impl Watch {
    /// When something was heard last, if only a bookmark; when it was opened, if nothing ever was.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.pulse.last()
    }

    /// What is watched.
    #[must_use]
    pub fn target(&self) -> &WatchTarget {
        &self.target
    }

    /// True when the receiver of its events is gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Starts a watch. Its events go to `sender`, in order; a full channel makes the watch wait, so
    /// a slow receiver costs no memory.
    pub fn watch<T>(&self, target: WatchTarget, sender: mpsc::Sender<T>) -> Watch
    where
        T: From<Watched> + Send + 'static,
    {
        let target = Arc::new(target);
        let pulse = Pulse::new();
        let task = tokio::spawn(task::run(self.clone(), target.clone(), sender, pulse.clone()));
        Watch { task, target, pulse }
    }
}
