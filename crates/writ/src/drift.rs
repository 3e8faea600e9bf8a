//! `writ drift`: what is known of drift, read from the audit log alone.

mod ls;
mod show;

use std::path::PathBuf;

use anyhow::Context as _;
use audit::{Filter, Indexed, LogKey, LogPublicKey, LogReader};
use clap::{Args, Subcommand};
use plan::{DriftId, EntryView, Record, Records, facts, is_told_by_body};

use crate::{
    exit::{Outcome, UsageError},
    input::{self, MAX_NOTE_BYTES},
    output::printable,
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/drift/v1alpha1";

/// What is asked about drift.
#[derive(Debug, Subcommand)]
pub(crate) enum DriftCommand {
    /// List drifts by cause: what one change did to many objects is one line. What is open, worst and newest stands first.
    ///
    /// Exit status 1 if one of them is open.
    Ls(ls::LsArgs),
    /// Show one drift: what changed, who did it, when and how often, what became of it, and what says otherwise.
    ///
    /// Exit status 1 if it is open.
    Show(show::ShowArgs),
    /// Say why one drift counts as drift, how grave it is, and what explains changes of its kind where anything does.
    Explain(show::ShowArgs),
}

/// Where the log is.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Folder of the log; default: `log` of the state folder.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The log's key: the public one, or the controller's own.
    #[arg(
        long,
        value_name = "FILE",
        env = "WRIT_LOG_KEY",
        hide_env_values = true,
        default_value = "/etc/writ/log-key/key"
    )]
    key: PathBuf,
    /// The state folder of the controller.
    #[arg(long, value_name = "DIR", env = "WRIT_STATE_DIR", hide_env_values = true, default_value = "/var/lib/writ")]
    state_dir: PathBuf,
}

/// What the log says of drift.
struct Known {
    reader: LogReader,
    /// Name of the log.
    origin: String,
    /// How many entries it has.
    size: u64,
    /// When the newest of them was written: what came later is not known.
    newest: Option<String>,
    records: Records,
    /// Entries about drift that could not be read.
    unreadable: u64,
}

/// Runs `writ drift`.
pub(crate) fn run(command: &DriftCommand) -> anyhow::Result<Outcome> {
    match command {
        DriftCommand::Ls(args) => ls::run(args),
        DriftCommand::Show(args) => show::run(args),
        DriftCommand::Explain(args) => show::explain(args),
    }
}

impl LogArgs {
    fn read(&self) -> anyhow::Result<Known> {
        let dir = self.log.clone().unwrap_or_else(|| self.state_dir.join("log"));
        let key = self.public_key()?;
        let cannot_read = || format!("cannot read the log in {}", dir.display());
        let reader = LogReader::open(&dir, &key).with_context(cannot_read)?;
        let size = reader.checkpoint().with_context(cannot_read)?.size();
        let (mut records, mut unreadable, mut newest) = (Records::default(), 0, None);
        let filter = Filter::default();
        for indexed in reader.entries(0..size, &filter) {
            let indexed = indexed.with_context(cannot_read)?;
            let view = view(&indexed);
            let body = match indexed.entry.body_digest().filter(|_| is_told_by_body(&view)) {
                Some(digest) => reader.body(&digest).with_context(cannot_read)?,
                None => None,
            };
            match facts(&view, body.as_deref()) {
                Ok(facts) => facts.iter().for_each(|fact| records.fold(fact)),
                Err(error) => {
                    eprintln!("warning: {error}");
                    unreadable += 1;
                }
            }
            newest = Some(indexed.entry.time);
        }
        Ok(Known { origin: key.name().to_owned(), reader, size, newest, records, unreadable })
    }

    /// In the Pod of the controller there is its own key alone, and the public one is part of it.
    fn public_key(&self) -> anyhow::Result<LogPublicKey> {
        let text = input::text(&self.key, MAX_NOTE_BYTES)?;
        let own = LogKey::parse(text.trim()).map(|key| key.public().clone());
        own.or_else(|_| LogPublicKey::parse(text.trim()))
            .with_context(|| format!("{} is no key of a log", self.key.display()))
    }
}

fn view(indexed: &Indexed) -> EntryView<'_> {
    let Indexed { index, entry } = indexed;
    EntryView {
        index: *index,
        kind: entry.kind.as_str(),
        time: &entry.time,
        subject: &entry.subject,
        codes: &entry.codes,
        counts: &entry.counts,
    }
}

impl Known {
    /// One drift, by its id or as many digits of it as make it the only one.
    fn find(&self, id: &str) -> anyhow::Result<&Record> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(UsageError(format!("{id:?} is no id of a drift: `writ drift ls` prints them")).into());
        }
        if let Some(record) = DriftId::parse(id).and_then(|id| self.records.get(&id)) {
            return Ok(record);
        }
        let mut found = self.records.iter().filter(|record| record.cause.id.as_str().starts_with(id));
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(record),
            (None, _) => anyhow::bail!("the log knows no drift {id}"),
            (Some(_), Some(_)) => Err(UsageError(format!("several drifts begin with {id}: give more digits")).into()),
        }
    }
}

/// Text of others on one line of a terminal.
fn plain(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// What changed, on one line.
fn change(record: &Record) -> String {
    let cause = &record.cause;
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), plain);
    let Some(field) = &cause.field else { return cause.change.name().to_owned() };
    format!("{} {}: {} -> {}", plain(field), cause.change.name(), value(&cause.before), value(&cause.after))
}

/// Who did it, and how that is known.
fn who(record: &Record) -> String {
    let cause = &record.cause;
    match (&cause.actor, &cause.level, &cause.gap) {
        (Some(actor), Some(level), _) => format!("{} ({level})", plain(actor)),
        (Some(actor), None, _) => plain(actor),
        (None, _, Some(gap)) => format!("unknown: {}", plain(gap)),
        (None, _, None) => "unknown".to_owned(),
    }
}

/// How often.
fn times(count: u64) -> String {
    manifest::counted(usize::try_from(count).unwrap_or(usize::MAX), "time")
}
