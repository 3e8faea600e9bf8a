//! Bad input: nothing that is refused reaches the cluster, what was accepted is healed all the while, and the person sees code,
//! cause and fix in status, event and log. Every test tells its story in `scenarios/`.

mod authority;
mod cluster;
mod commits;
pub(crate) mod content;
pub(crate) mod git_server;
mod history;
mod manifests;
mod offline;
pub(crate) mod orders;
mod start;
pub(crate) mod trees;
mod trust_file;

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::wait_until;

use crate::stage::{Owner, Setup, Stage, Story, Test, View, WITHIN};

/// What waits for its next test. What is refused changes nothing, so one stage serves many tests, one after the other.
pub(crate) trait Pooled: Sized + 'static {
    /// What waits.
    fn pool() -> &'static Mutex<Vec<Self>>;
    /// Another one.
    fn make() -> Result<Self>;
    /// The branch is at the last good commit, which is applied, and nothing is held.
    fn restore(&mut self) -> Result<()>;
}

static STAGES: Mutex<Vec<Stage<'static>>> = Mutex::new(Vec::new());

impl Pooled for Stage<'static> {
    fn pool() -> &'static Mutex<Vec<Self>> {
        &STAGES
    }

    fn make() -> Result<Self> {
        Setup::shared()?.start()
    }

    fn restore(&mut self) -> Result<()> {
        Stage::restore(self)
    }
}

/// A stage of a pool, given back at the end of the test.
pub(crate) struct Lent<T: Pooled>(Option<T>);

impl Lent<Stage<'static>> {
    /// The usual team's.
    pub(crate) fn stage() -> Result<Self> {
        Self::take()
    }
}

impl<T: Pooled> Lent<T> {
    /// One that waits, or another one.
    pub(crate) fn take() -> Result<Self> {
        let waiting = T::pool().lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut pooled) = waiting
            && pooled.restore().is_ok()
        {
            return Ok(Self(Some(pooled)));
        }
        // None was free, or the test before left one that cannot be used any more.
        Ok(Self(Some(T::make()?)))
    }
}

impl<T: Pooled> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T: Pooled> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl<T: Pooled> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(pooled) = self.0.take().filter(|_| !std::thread::panicking()) {
            T::pool().lock().unwrap_or_else(PoisonError::into_inner).push(pooled);
        }
    }
}

/// Whether `writ verify` can tell the same offline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offline {
    /// It can: the verdict is about commits.
    Told,
    /// It cannot: the verdict needs the cluster or the server.
    NotTold,
}

/// Waits until `commit`, which was just pushed, is refused with `code`, and checks and tells everything that a person sees.
pub(crate) fn refused(
    stage: &mut Stage<'_>,
    mut story: Story,
    owner: Owner,
    commit: &str,
    code: &str,
    offline: Offline,
) -> Test {
    told(stage, &mut story, owner, commit, code)?;
    if offline == Offline::Told {
        story.verify(stage, commit)?;
    }
    unharmed(stage, &mut story)?;
    story.end(stage)
}

/// Status, event, log line and log entry of a refusal.
pub(crate) fn told(stage: &mut Stage<'_>, story: &mut Story, owner: Owner, commit: &str, code: &str) -> Test {
    stage.names.call_commit(commit, "bad commit");
    let resource = stage.held(owner, commit, code)?;
    let held = |field: &str| resource["status"]["heldRevision"][field].as_str().unwrap_or_default().to_owned();
    ensure!(!held("fix").is_empty(), "no fix in {}", resource["status"]);
    ensure!(held("since").ends_with('Z'), "no time in {}", resource["status"]);
    let (ready, reason, message) = View::condition(&resource, "Ready");
    ensure!(ready == "False" && reason == held("reason"), "Ready={ready} {reason}");
    ensure!(message.contains(code) && message.contains("Fix: "), "no code or fix in {message}");
    story.status(stage, owner)?;
    story.events(stage, owner, &held("reason"))?;
    story.log(stage, code)?;
    story.audit_entry(stage, "--code", code, |entry| entry["subject"]["commit"] == commit)
}

/// What a person can see of a refusal elsewhere than in the status `resource`: event, log line and entry of the audit log.
pub(crate) fn noticed(stage: &mut Stage<'_>, owner: Owner, resource: &Value, commit: &str, code: &str) -> Test {
    let held = &resource["status"]["heldRevision"];
    ensure!(held["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "no fix in {held}");
    // Notes are shortened at 1 KiB.
    let cause: String = held["message"].as_str().context("no message")?.chars().take(200).collect();
    stage.wait(&format!("an event tells {code}"), |view| {
        let events = owner.events(view)?;
        let told = |event: &Value| {
            let note = event["note"].as_str().unwrap_or_default();
            note.contains(code) && note.contains(&cause) && note.contains("Fix: ")
        };
        ensure!(events.iter().any(told), "{events:?}");
        Ok(())
    })?;
    let log = stage.log()?;
    let told = |line: &&str| line.contains(code) && line.contains(commit) && line.contains("Fix: ");
    ensure!(log.lines().any(|line| told(&line)), "no line with {code} and {commit} in the log");
    wait_until("the refusal is in the audit log", WITHIN, || {
        let entries = stage.entries(&["--kind", "refuse", "--code", code])?;
        ensure!(
            entries.iter().any(|entry| entry["subject"]["commit"] == commit),
            "no entry about {commit}: {entries:?}"
        );
        Ok(())
    })
}

/// What the Sync says about itself when a roll-out is not complete, or an order not obeyed: status, event, log line, log entry.
pub(crate) fn in_ready(stage: &mut Stage<'_>, story: &mut Story, code: &str, reason: &str) -> Test {
    stage.wait(&format!("{code} is told"), |view| {
        let sync = view.sync(crate::stage::SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        let told = message.contains(code) && message.contains("Fix: ");
        ensure!(ready == "False" && told, "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.status(stage, Owner::Sync)?;
    story.events(stage, Owner::Sync, reason)?;
    story.log(stage, code)?;
    story.audit(stage, code)
}

/// What was accepted is what is there, and a hand edit of it is still reverted.
pub(crate) fn unharmed(stage: &mut Stage<'_>, story: &mut Story) -> Test {
    let value = stage.view.config_map("settings")?["data"]["value"].clone();
    ensure!(value == "good", "the refused commit reached the cluster: {value}");
    let applied = stage.view.sync(crate::stage::SYNC)?;
    let applied = applied.pointer("/status/appliedRevision").and_then(Value::as_str).context("nothing is applied")?;
    ensure!(applied == stage.good(), "applied is {applied}");
    stage.heals()?;
    story.then("nothing of it is in the cluster; a hand edit of ConfigMap settings is reverted as before.");
    Ok(())
}
