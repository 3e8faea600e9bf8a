//! The ways in which an object drifts, and how long until the probe sees the declared state.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::{
    api::{Api, Patch},
    manifests::{INSTANCE_LABEL, Kind},
    probe::{Object, Probe},
};

/// What the hand does to a Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drift {
    /// A declared field gets another value.
    Edited,
    /// It is deleted.
    Deleted,
    /// It loses the label by which it is watched.
    Stripped,
}

impl Drift {
    pub(super) const ALL: [Self; 3] = [Self::Edited, Self::Deleted, Self::Stripped];

    /// What it is called in the result.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Stripped => "stripped",
        }
    }

    /// Does it to one Deployment; how long from the answer until it is seen as declared again.
    pub(super) fn act(self, hand: &Api, probe: &Probe, collection: &str, number: usize) -> Result<Duration> {
        let name = Kind::Deployment.name(number);
        let path = format!("{collection}/{name}");
        let patched = |patch: &serde_json::Value| {
            let answer = hand.patch(&format!("{path}?fieldManager=hand"), Patch::Merge, &patch.to_string())?;
            let at = Instant::now();
            let version = serde_json::from_str::<Object>(&answer).context("not an object")?.version()?;
            anyhow::Ok((at, version))
        };
        let (done, version) = match self {
            Self::Edited => patched(&json!({"spec": {"replicas": 3}}))?,
            Self::Stripped => patched(&json!({"metadata": {"labels": {INSTANCE_LABEL: null}}}))?,
            Self::Deleted => {
                hand.delete(&path)?;
                let done = Instant::now();
                (done, probe.wait_gone(&name)?)
            }
        };
        let seen = probe.wait_declared(&name, version).with_context(|| format!("{} of {name}", self.name()))?;
        Ok(seen.saturating_duration_since(done))
    }
}
