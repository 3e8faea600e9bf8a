//! What is true, seen by a watch of its own.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::api::{Access, Api};

/// How long anything may take that a bench waits for; what takes longer makes the run void.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// One line of a watch, as far as benches ask.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) object: Object,
}

/// An object, as far as benches ask.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    pub(super) resource_version: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Spec {
    pub(super) replicas: Option<u32>,
}

impl Object {
    pub(super) fn version(&self) -> Result<u64> {
        self.metadata.resource_version.parse().context("a resourceVersion that is no number")
    }
}

/// An object as it was at one moment.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) replicas: Option<u32>,
}

/// Watches collections of one namespace from now on, a thread and a connection each.
pub(super) struct Probe {
    seen: Receiver<Result<Seen>>,
}

impl Probe {
    /// Starts; `collections` are paths such as `/api/v1/namespaces/a/configmaps`.
    pub(super) fn start(access: &Access, collections: &[&str]) -> Result<Self> {
        let (sender, seen) = mpsc::channel();
        for collection in collections {
            let api = Api::new(access)?;
            let list: Line = listed(&api, collection)?;
            let from = list.object.metadata.resource_version;
            let path = format!("{collection}?watch=true&resourceVersion={from}");
            let (sender, lines) = (sender.clone(), api.watch(&path)?);
            std::thread::Builder::new()
                .name("probe".into())
                .spawn(move || {
                    if let Err(error) = follow(lines, &sender) {
                        // Nobody listens any more when the bench is over.
                        sender.send(Err(error)).ok();
                    }
                })
                .context("cannot start the probe")?;
        }
        Ok(Self { seen })
    }

    /// The next sight.
    pub(super) fn next(&self) -> Result<Seen> {
        match self.seen.recv_timeout(PATIENCE) {
            Ok(seen) => seen,
            Err(RecvTimeoutError::Timeout) => Err(anyhow!("the probe saw nothing for {} s", PATIENCE.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the probe's watch ended")),
        }
    }

    /// The first sight of `name` later than `version` with so many replicas.
    pub(super) fn wait(&self, name: &str, version: u64, replicas: u32) -> Result<Instant> {
        let started = Instant::now();
        loop {
            let seen = self.next()?;
            if seen.name == name && seen.version > version && seen.replicas == Some(replicas) {
                return Ok(seen.at);
            }
            if started.elapsed() > PATIENCE {
                bail!("{name} was not seen with {replicas} replicas within {} s", PATIENCE.as_secs());
            }
        }
    }
}

/// The state of a collection from which a watch misses nothing.
fn listed(api: &Api, collection: &str) -> Result<Line> {
    let list = api.get(&format!("{collection}?limit=1"))?;
    let object: Object = serde_json::from_str(&list).with_context(|| format!("{collection} is not a list"))?;
    Ok(Line { object })
}

fn follow(mut lines: impl std::io::BufRead, sender: &Sender<Result<Seen>>) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).context("the probe's watch broke")? == 0 {
            bail!("the server ended the probe's watch");
        }
        let at = Instant::now();
        let Line { object } = serde_json::from_str(&line).with_context(|| format!("not an event: {line}"))?;
        let version = object.version()?;
        let seen = Seen { at, name: object.metadata.name, version, replicas: object.spec.replicas };
        if sender.send(Ok(seen)).is_err() {
            return Ok(());
        }
    }
}
