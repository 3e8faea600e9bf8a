//! Stories: what was done and what a person then sees, as text that is compared with `tests/scenarios/NAME.txt`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::wait_until;

use super::{SOURCE, SYNC, Stage, View, WITHIN};

/// Set to `1`, stories are written instead of compared.
const BLESS: &str = "WRIT_BLESS";

/// Whose status tells what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The GitSource: commits, trust, policies that do not compile.
    Source,
    /// The Sync: what a revision declares.
    Sync,
}

impl Owner {
    /// Its custom resource.
    pub(crate) fn read(self, view: &View<'_>) -> Result<Value> {
        match self {
            Self::Source => view.source(),
            Self::Sync => view.sync(SYNC),
        }
    }

    /// The Events about it, oldest first.
    pub(crate) fn events(self, view: &View<'_>) -> Result<Vec<Value>> {
        view.events(self.kind(), self.name())
    }

    /// What kubectl calls it.
    pub(crate) fn resource(self) -> String {
        format!("{}/{}", self.kind().to_lowercase(), self.name())
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Source => "GitSource",
            Self::Sync => "Sync",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Source => SOURCE,
            Self::Sync => SYNC,
        }
    }
}

/// Events whose own reason says what was done; that of the code stands in the note.
const OF_CODES: [&str; 4] = ["CommitRefused", "DriftContested", "DriftDetected", "DriftReverted"];

/// Whether an Event is of this reason; the Events of refused commits and of drift say so first, and then the reason of the code.
pub(crate) fn tells(event: &Value, reason: &str) -> bool {
    let note = event["note"].as_str().unwrap_or_default();
    event["reason"] == reason
        || OF_CODES.iter().any(|told| event["reason"] == *told) && note.contains(&format!(" {reason}: "))
}

/// A story in the making.
pub(crate) struct Story {
    name: &'static str,
    text: String,
    log_from: usize,
    /// Events that were there when the story began: a pooled stage has those of earlier stories.
    before: BTreeSet<String>,
    /// Entries of the audit log that were there then.
    entries_before: BTreeSet<String>,
}

impl Story {
    /// Begins a story; what log and Events say is told from here on.
    pub(crate) fn begin(stage: &Stage<'_>, name: &'static str, title: &str) -> Result<Self> {
        let mut before = BTreeSet::new();
        for owner in [Owner::Source, Owner::Sync] {
            before.extend(owner.events(&stage.view)?.iter().map(occurrence));
        }
        let text = format!("{title}\n{}\n", "=".repeat(title.len()));
        let has_log = stage.state().join("log/checkpoint").exists();
        let entries = if has_log { stage.entries(&[])? } else { Vec::new() };
        let entries_before = entries.iter().map(Value::to_string).collect();
        Ok(Self { name, text, log_from: stage.log()?.len(), before, entries_before })
    }

    /// What somebody did.
    pub(crate) fn done(&mut self, what: &str) {
        write!(self.text, "\nDone: {what}\n").unwrap();
    }

    /// What came of it, in a sentence.
    pub(crate) fn then(&mut self, what: &str) {
        write!(self.text, "\nThen: {what}\n").unwrap();
    }

    /// A command and what it printed.
    pub(crate) fn seen(&mut self, command: &str, output: &str) {
        writeln!(self.text, "\n$ {command}").unwrap();
        for line in output.trim_end().lines() {
            writeln!(self.text, "{}", line.trim_end()).unwrap();
        }
    }

    /// The status of a custom resource as a person reads it.
    pub(crate) fn status(&mut self, stage: &Stage<'_>, owner: Owner) -> Result<()> {
        let resource = owner.read(&stage.view)?;
        let command = format!("kubectl describe {} {}", owner.kind().to_lowercase(), owner.name());
        self.seen(&command, &described(&resource["status"], stage));
        Ok(())
    }

    /// The conditions of any custom resource as a person reads them.
    pub(crate) fn conditions(&mut self, stage: &Stage<'_>, kind: &str, name: &str, resource: &Value) {
        self.seen(&format!("kubectl describe {kind} {name}"), &described(&resource["status"], stage));
    }

    /// The newest Event since the story began about a custom resource with a reason; it comes shortly after the status.
    pub(crate) fn events(&mut self, stage: &Stage<'_>, owner: Owner, reason: &str) -> Result<()> {
        let newest = wait_until(&format!("an Event with reason {reason}"), WITHIN, || {
            let events = owner.events(&stage.view)?;
            let of_this = |event: &&Value| tells(event, reason) && !self.before.contains(&occurrence(event));
            let newest = events.iter().rev().find(of_this).cloned();
            newest.with_context(|| format!("there are only {events:?}"))
        })?;
        let field = |name: &str| newest[name].as_str().unwrap_or_default();
        let line = format!("{} {} {}: {}", field("type"), field("reason"), field("action"), field("note"));
        self.seen(&format!("kubectl events --for {}", owner.resource()), &line);
        Ok(())
    }

    /// The lines of the log since the story began that hold `word`.
    pub(crate) fn log(&mut self, stage: &Stage<'_>, word: &str) -> Result<()> {
        let log = stage.log()?;
        let new = log.get(self.log_from..).unwrap_or_default();
        let mut lines: Vec<String> = Vec::new();
        for line in new.lines().filter(|line| line.contains(word)) {
            let line = without_time_and_module(line);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        ensure!(!lines.is_empty(), "no line with {word} in the log since the story began:\n{new}");
        self.seen("kubectl -n writ-system logs writ-0", &lines.join("\n"));
        Ok(())
    }

    /// The newest entry of the audit log with a code, of those since the story began.
    pub(crate) fn audit(&mut self, stage: &Stage<'_>, code: &str) -> Result<()> {
        self.audit_entry(stage, "--code", code, |_entry| true)
    }

    /// The newest entry of the audit log of a kind, once there is one that `is_meant`.
    pub(crate) fn audit_kind(
        &mut self,
        stage: &Stage<'_>,
        kind: &str,
        is_meant: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        self.audit_entry(stage, "--kind", kind, is_meant)
    }

    /// The newest entry with that option, once it is one of this story that `is_meant`: entries are published with the next
    /// group, milliseconds after the status tells, and until then the newest is another one.
    pub(crate) fn audit_entry(
        &mut self,
        stage: &Stage<'_>,
        option: &str,
        value: &str,
        is_meant: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let entry = wait_until("the entry is published", WITHIN, || {
            let newest = stage.entries(&[option, value])?.pop();
            let meant = newest.filter(|entry| !self.entries_before.contains(&entry.to_string()) && is_meant(entry));
            meant.with_context(|| format!("no such entry with {option} {value} in the audit log"))
        })?;
        self.seen(
            &format!("writ audit show /var/lib/writ/log --key log.pub {option} {value} --last 1"),
            &shown(&entry)?,
        );
        Ok(())
    }

    /// The newest entry of a kind that `is_meant`, of those since the story began, whatever came after it.
    pub(crate) fn audit_of(&mut self, stage: &Stage<'_>, kind: &str, is_meant: impl Fn(&Value) -> bool) -> Result<()> {
        let is_new = |entry: &Value| !self.entries_before.contains(&entry.to_string());
        // What is read is published after it is acted on.
        let entry = wait_until(&format!("such an entry of the kind {kind} in the audit log"), WITHIN, || {
            let entries = stage.entries(&["--kind", kind])?;
            let found = entries.iter().rev().find(|entry| is_new(entry) && is_meant(entry)).cloned();
            found.with_context(|| format!("there are only {entries:?}"))
        })?;
        self.seen(&format!("writ audit show /var/lib/writ/log --key log.pub --kind {kind}"), &shown(&entry)?);
        Ok(())
    }

    /// `writ verify` of `revision` with its exit status, which must be 1.
    pub(crate) fn verify(&mut self, stage: &Stage<'_>, revision: &str) -> Result<()> {
        let finished = stage.verify(revision, &[])?;
        let command = format!("writ verify --trust-root trust-root.yaml --from {} {revision}", stage.good());
        let status = finished.code.map_or_else(|| "ended by a signal".to_owned(), |code| code.to_string());
        self.seen(&command, &format!("{}{}[exit status {status}]", finished.stdout, finished.stderr));
        ensure!(finished.code == Some(1), "writ verify ended with {status}\n{}{}", finished.stdout, finished.stderr);
        Ok(())
    }

    /// Compares the story with its file, or writes it.
    pub(crate) fn end(self, stage: &Stage<'_>) -> Result<()> {
        let told = stage.names.scrub(&self.text);
        let file = folder().join(format!("{}.txt", self.name));
        if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
            return std::fs::write(&file, told).with_context(|| format!("cannot write {}", file.display()));
        }
        let kept =
            std::fs::read_to_string(&file).with_context(|| format!("{} (WRIT_BLESS=1 writes it)", file.display()))?;
        if told == kept {
            return Ok(());
        }
        bail!("the story {} has changed (WRIT_BLESS=1 writes it anew):\n{}", self.name, difference(&kept, &told))
    }
}

/// An entry of the audit log, with its body's findings if it was asked for.
fn shown(entry: &Value) -> Result<String> {
    let mut text = format!("{} {}", entry["kind"].as_str().unwrap_or_default(), entry["codes"]);
    for part in ["subject", "counts", "digests"] {
        for (name, value) in entry[part].as_object().into_iter().flatten() {
            let value = match (name.as_str(), value.as_str()) {
                // A hash over cluster and namespace.
                ("drift", Some(_)) => "<drift id>".to_owned(),
                (_, Some(text)) => text.to_owned(),
                (_, None) => value.to_string(),
            };
            write!(text, "\n  {name}: {value}")?;
        }
    }
    Ok(text)
}

/// An Event and how often it happened.
fn occurrence(event: &Value) -> String {
    format!("{} {}", event["metadata"]["name"], event["series"]["count"])
}

/// `LEVEL MESSAGE` of a line `TIME LEVEL MODULE: MESSAGE`; a line that goes on an earlier one stays as it is.
fn without_time_and_module(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [time, level, _module, message @ ..] if time.ends_with('Z') && time.contains('T') => {
            format!("{level} {}", message.join(" "))
        }
        _ => line.to_owned(),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

/// Revisions, what is held, and every condition on a line.
fn described(status: &Value, stage: &Stage<'_>) -> String {
    let mut text = String::new();
    for name in ["fetchedRevision", "verifiedRevision", "candidateRevision", "acceptedRevision", "appliedRevision"] {
        if let Some(revision) = status[name].as_str() {
            writeln!(text, "{name}: {revision}").unwrap();
        }
    }
    if let Some(held) = status["heldRevision"].as_object() {
        writeln!(text, "heldRevision:").unwrap();
        for name in ["revision", "code", "reason", "message", "fix", "signer", "since"] {
            if let Some(value) = held.get(name).and_then(Value::as_str) {
                writeln!(text, "  {name}: {value}").unwrap();
            }
        }
    }
    if let Some(order) = status["rolledBack"].as_object() {
        writeln!(text, "rolledBack:").unwrap();
        for (name, value) in order {
            writeln!(text, "  {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap();
        }
    }
    for name in ["objects", "drifted"] {
        if let Some(count) = status[name].as_u64() {
            writeln!(text, "{name}: {count}").unwrap();
        }
    }
    if let Some(drift) = status["drift"].as_object() {
        writeln!(text, "drift: {} open, {} contested, {} paused", drift["open"], drift["contested"], drift["paused"])
            .unwrap();
        for record in drift["records"].as_array().into_iter().flatten() {
            let field = |name: &str| record[name].as_str().unwrap_or_default();
            let names = ["severity", "state", "code", "object", "field", "since"].map(field);
            writeln!(text, "  <drift id> {}", names.join(" ").trim_end()).unwrap();
        }
    }
    let mut conditions: Vec<&Value> = status["conditions"].as_array().into_iter().flatten().collect();
    conditions.sort_by_key(|condition| condition["type"].as_str());
    // Whether work is under way at the moment of looking is nothing a story can promise.
    for condition in conditions.into_iter().filter(|condition| condition["type"] != "Reconciling") {
        let field = |name: &str| condition[name].as_str().unwrap_or_default();
        let message = field("message");
        // When drift was seen last is of earlier stories on the same stage.
        let message = if message.starts_with("last seen ") { "" } else { message };
        writeln!(text, "{}={} {} {message}", field("type"), field("status"), field("reason")).unwrap();
    }
    stage.names.scrub(&text)
}

/// The lines that differ, with what both begin and end with left out.
fn difference(kept: &str, told: &str) -> String {
    let (kept, told): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), told.lines().collect());
    let head = kept.iter().zip(&told).take_while(|(a, b)| a == b).count();
    let shorter = kept.len().min(told.len()) - head;
    let tail = kept.iter().rev().zip(told.iter().rev()).take(shorter).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: char| {
        let middle = lines.iter().take(lines.len() - tail).skip(head);
        middle.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("from line {}:\n{}{}", head + 1, part(&kept, '-'), part(&told, '+'))
}
