//! The proof of a watch: a list beside its stream, so that an event which never came is found.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{Watch, WatchEvent, WatchTarget, Watched, open};
use crate::{Cluster, Sighting};

/// Pause between two pages: 10,000 objects are 20 pages, and whoever edits meanwhile does not wait for the list.
const PAGE_PAUSE: Duration = Duration::from_millis(50);

/// A list that is under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Proof {
    task: JoinHandle<()>,
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Lists what a watch is about, page by page, beside its stream: `Listed` for each object, then `Proved`, or `Unproved`
    /// with the reason. All of it is as of one version, which may be older than what the stream says meanwhile.
    pub fn prove<T>(&self, watch: &Watch, sender: mpsc::Sender<T>) -> Proof
    where
        T: From<Watched> + Send + 'static,
    {
        Proof { task: tokio::spawn(run(self.clone(), watch.target.clone(), sender)) }
    }
}

async fn run<T: From<Watched> + Send>(cluster: Cluster, target: Arc<WatchTarget>, sender: mpsc::Sender<T>) {
    let event = match list(&cluster, &target, &sender).await {
        Ok(resource_version) => WatchEvent::Proved { resource_version },
        Err(End::Unheard) => return,
        Err(End::Failed(why)) => WatchEvent::Unproved(why),
    };
    // Without a receiver there is nobody to be told.
    sender.send(T::from(Watched { target, event })).await.ok();
}

enum End {
    /// The receiver is gone.
    Unheard,
    Failed(String),
}

/// Emits every object; the version that all of them are as of.
async fn list<T: From<Watched> + Send>(
    cluster: &Cluster,
    target: &Arc<WatchTarget>,
    sender: &mpsc::Sender<T>,
) -> Result<String, End> {
    let mut next: Option<String> = None;
    loop {
        let page = open::page(cluster.client(), target, next.as_deref()).await.map_err(|error| {
            // A failure about a collection quotes no object.
            End::Failed(error.failure().map_or_else(|| error.to_string(), |failure| failure.words()))
        })?;
        for item in page.items {
            let sighting = Sighting::read(cluster.id(), &target.resource.group_kind(), item.get().as_bytes())
                .map_err(|error| End::Failed(format!("an object cannot be read (column {})", error.column())))?;
            let watched = Watched { target: target.clone(), event: WatchEvent::Listed(sighting) };
            sender.send(T::from(watched)).await.map_err(|_closed| End::Unheard)?;
        }
        next = page.next;
        if next.is_none() {
            return Ok(page.resource_version);
        }
        tokio::time::sleep(PAGE_PAUSE).await;
    }
}
