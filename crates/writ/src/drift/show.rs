//! `writ drift show` and `explain`: one drift on one screen.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use plan::{CATALOGUE_VERSION, FieldClass, Record};
use serde::Serialize;
use serde_json::Value;

use super::{Known, LogArgs, SCHEMA, change, plain, times, who};
use crate::{
    exit::Outcome,
    output::{self, Format},
};

/// The most fields, and objects of the same cause, that are shown on a terminal.
const MAX_SHOWN: usize = 12;

/// Arguments of `writ drift show` and `explain`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The id of the drift, or its first digits.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    log: LogArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema: &'static str,
    origin: &'a str,
    drift: &'a Record,
    /// Why a change of this class is as grave as it is.
    risk: &'static str,
    /// What differed when it was seen last, masked.
    differences: Vec<Value>,
    /// Other drifts of the same cause.
    same_cause: Vec<&'a Record>,
    /// When the newest entry of the log was written.
    newest: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn of(known: &'a Known, id: &str) -> anyhow::Result<Self> {
        let drift = known.find(id)?;
        let same = |record: &&Record| {
            record.cause.id != drift.cause.id
                && record.cause.class == drift.cause.class
                && record.cause.after == drift.cause.after
                && record.cause.actor == drift.cause.actor
        };
        Ok(Self {
            schema: SCHEMA,
            origin: &known.origin,
            drift,
            risk: class(&drift.cause.class).map_or("", FieldClass::reason),
            differences: differences(known, drift)?,
            same_cause: known.records.iter().filter(same).collect(),
            newest: known.newest.as_deref(),
        })
    }
}

/// Runs `writ drift show`.
pub(super) fn run(args: &ShowArgs) -> anyhow::Result<Outcome> {
    let known = args.log.read()?;
    let document = Document::of(&known, &args.id)?;
    match args.output {
        Format::Human => output::text(&human(&document))?,
        format => output::document(format, &document)?,
    }
    Ok(if document.drift.state.is_open() { Outcome::Finding } else { Outcome::Fine })
}

fn class(name: &str) -> Option<FieldClass> {
    FieldClass::ALL.into_iter().find(|class| class.name() == name)
}

/// What its newest entry lists.
fn differences(known: &Known, record: &Record) -> anyhow::Result<Vec<Value>> {
    let cannot_read = || format!("cannot read entry {}", record.entry);
    let filter = audit::Filter::default();
    let mut entries = known.reader.entries(record.entry..record.entry.saturating_add(1), &filter);
    let Some(indexed) = entries.next().transpose().with_context(cannot_read)? else { return Ok(Vec::new()) };
    let Some(digest) = indexed.entry.body_digest() else { return Ok(Vec::new()) };
    let Some(body) = known.reader.body(&digest).with_context(cannot_read)? else { return Ok(Vec::new()) };
    let body: Value = serde_json::from_slice(&body).with_context(cannot_read)?;
    let objects = ["changes", "drift"].iter().find_map(|name| body.get(*name)?.as_array());
    let of_it =
        objects.into_iter().flatten().find(|one| one.get("object").and_then(Value::as_str) == Some(&record.object));
    Ok(of_it.and_then(|one| one.get("differences")?.as_array()).cloned().unwrap_or_default())
}

fn human(document: &Document<'_>) -> String {
    let Record { cause, .. } = document.drift;
    let record = document.drift;
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "{name:<9} {what}");
    };
    line("drift", cause.id.as_str());
    line("what", &format!("{} {}", plain(&record.object), change(record)));
    line("who", &who(record));
    line("when", &format!("first {}, last {}, seen {}", record.first, record.last, times(record.count)));
    line("state", &state(record));
    line("declared", &declared(record));
    line("risk", &format!("{}: {}: {}", cause.severity.name(), cause.class, document.risk));
    let names: Vec<String> = document.same_cause.iter().take(MAX_SHOWN).map(|other| plain(&other.object)).collect();
    let more = document.same_cause.len().saturating_sub(MAX_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let same = if names.is_empty() { "no other object".to_owned() } else { format!("{}{more}", names.join(", ")) };
    line("same", &same);
    let newest = document.newest.map_or_else(|| "unknown".to_owned(), plain);
    line("log", &format!("entry {} of {}, whose newest entry is of {newest}", record.entry, plain(document.origin)));
    for difference in document.differences.iter().take(MAX_SHOWN) {
        let part =
            |name: &str| difference.get(name).and_then(Value::as_str).map_or_else(|| "nothing".to_owned(), plain);
        line("field", &format!("{}: {} -> {} ({})", part("path"), part("before"), part("after"), part("class")));
    }
    let more = document.differences.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        line("", &format!("and {more} more fields: -o json has them"));
    }
    text
}

fn state(record: &Record) -> String {
    let failed = record.failed.as_ref().map_or_else(String::new, |code| format!(" ({})", plain(code)));
    let known = record.acknowledged.as_ref().map_or_else(String::new, |by| format!(", acknowledged by {}", plain(by)));
    format!("{}: {}{failed}{known}; {}", record.state.name(), record.reason, plain(&record.code))
}

fn declared(record: &Record) -> String {
    let at = record.cause.declared_at.as_ref().map_or_else(|| "in Git".to_owned(), |at| format!("at {}", plain(at)));
    let commit = record.commit.as_ref().map_or_else(String::new, |commit| format!(" in commit {}", plain(commit)));
    let signer = record.signer.as_ref().map_or_else(String::new, |signer| format!(", signed by {}", plain(signer)));
    format!("{at}{commit}{signer}, by Sync {}", plain(&record.sync))
}

/// Runs `writ drift explain`.
pub(super) fn explain(args: &ShowArgs) -> anyhow::Result<Outcome> {
    let known = args.log.read()?;
    let document = Document::of(&known, &args.id)?;
    if args.output != Format::Human {
        output::document(args.output, &document)?;
        return Ok(Outcome::Fine);
    }
    let record = document.drift;
    output::text(&format!(
        "{} is drift: commit {} declares otherwise {}, and no line of the catalogue of known mutators (version {}) explains the \
         change.\nIt is of the class {}, severity {}: {}.\nIt is {}: {}.\nWhat explains other differences of an object: writ diff \
         --desired FILE --live FILE\n",
        plain(&format!("{} {}", record.object, change(record))),
        record.commit.as_deref().map_or_else(|| "in force".to_owned(), plain),
        record.cause.declared_at.as_deref().map_or_else(String::new, |at| format!("at {}", plain(at))),
        CATALOGUE_VERSION,
        plain(&record.cause.class),
        record.cause.severity.name(),
        document.risk,
        record.state.name(),
        record.reason,
    ))?;
    Ok(Outcome::Fine)
}
