//! What is true, seen by a watch of its own.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::api::{Access, Api};
use super::manifests::INSTANCE_LABEL;

/// How long anything may take that a bench waits for; what takes longer makes the run void.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// One line of a watch, as far as benches ask.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
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
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Spec {
    pub(super) replicas: Option<u32>,
}

impl Line {
    pub(super) fn is_deletion(&self) -> bool {
        self.kind == "DELETED"
    }
}

impl Object {
    /// Whether it is as every object of the benches of drift is declared: no replicas, and watched by its label.
    pub(super) fn is_declared(&self) -> bool {
        self.spec.replicas == Some(0) && self.metadata.labels.contains_key(INSTANCE_LABEL)
    }

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
    /// It is there, and as declared.
    pub(super) declared: bool,
    /// It is deleted.
    pub(super) gone: bool,
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
            let from = listed(&api, collection)?.metadata.resource_version;
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

    /// How much was seen since the last sight that was asked for; none of it is asked for again.
    pub(super) fn seen_meanwhile(&self) -> Result<usize> {
        self.seen.try_iter().try_fold(0, |count, seen| seen.map(|_| count + 1))
    }

    /// The first sight of `name` later than `version` with so many replicas.
    pub(super) fn wait(&self, name: &str, version: u64, replicas: u32) -> Result<Instant> {
        let what = format!("{name} with {replicas} replicas");
        let seen = self.wait_for(&what, |seen| {
            seen.name == name && seen.version > version && !seen.gone && seen.replicas == Some(replicas)
        })?;
        Ok(seen.at)
    }

    /// The first sight of `name` later than `version` as it is declared.
    pub(super) fn wait_declared(&self, name: &str, version: u64) -> Result<Instant> {
        let what = format!("{name} as declared");
        let seen = self.wait_for(&what, |seen| seen.name == name && seen.version > version && seen.declared)?;
        Ok(seen.at)
    }

    /// The next deletion of `name`; its version.
    pub(super) fn wait_gone(&self, name: &str) -> Result<u64> {
        let what = format!("the deletion of {name}");
        Ok(self.wait_for(&what, |seen| seen.name == name && seen.gone)?.version)
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let started = Instant::now();
        loop {
            let seen = self.next()?;
            if is_it(&seen) {
                return Ok(seen);
            }
            if started.elapsed() > PATIENCE {
                bail!("{what} was not seen within {} s", PATIENCE.as_secs());
            }
        }
    }
}

/// The state of a collection from which a watch misses nothing.
fn listed(api: &Api, collection: &str) -> Result<Object> {
    let list = api.get(&format!("{collection}?limit=1"))?;
    serde_json::from_str(&list).with_context(|| format!("{collection} is not a list"))
}

fn follow(mut lines: impl std::io::BufRead, sender: &Sender<Result<Seen>>) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).context("the probe's watch broke")? == 0 {
            bail!("the server ended the probe's watch");
        }
        let at = Instant::now();
        let line: Line = serde_json::from_str(&line).with_context(|| format!("not an event: {line}"))?;
        let (version, gone) = (line.object.version()?, line.is_deletion());
        let (declared, replicas) = (!gone && line.object.is_declared(), line.object.spec.replicas);
        let seen = Seen { at, name: line.object.metadata.name, version, replicas, declared, gone };
        if sender.send(Ok(seen)).is_err() {
            return Ok(());
        }
    }
}
