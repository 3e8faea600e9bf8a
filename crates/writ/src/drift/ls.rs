//! `writ drift ls`: drifts by cause.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;
use manifest::counted;
use plan::{Group, Record, Severity};
use serde::Serialize;

use super::{Known, LogArgs, SCHEMA, change, plain, times, who};
use crate::{
    exit::Outcome,
    output::{self, Format},
};

/// The most objects that are named of one cause on a terminal.
const MAX_NAMED: usize = 10;

/// Arguments of `writ drift ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Only what is open.
    #[arg(long)]
    open: bool,
    /// Only drifts of this Sync.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    sync: Option<String>,
    /// Only drifts of objects whose name has this in it, such as `Deployment` or `shop/web`.
    #[arg(long, value_name = "TEXT")]
    object: Option<String>,
    /// At most so many causes.
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    origin: &'a str,
    size: u64,
    /// When the newest entry of the log was written.
    newest: Option<&'a str>,
    groups: Vec<Row<'a>>,
    /// Causes beyond those that were asked for.
    more: usize,
    /// Entries about drift that could not be read.
    unreadable: u64,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    actor: Option<&'a str>,
    class: &'a str,
    after: Option<&'a str>,
    severity: Severity,
    open: usize,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    records: &'a [&'a Record],
}

impl LsArgs {
    fn wants(&self, record: &Record) -> bool {
        (!self.open || record.state.is_open())
            && self.sync.as_ref().is_none_or(|sync| record.sync == *sync)
            && self.object.as_ref().is_none_or(|object| record.object.contains(object.as_str()))
    }
}

/// Runs `writ drift ls`.
pub(super) fn run(args: &LsArgs) -> anyhow::Result<Outcome> {
    let known = args.log.read()?;
    let groups = known.records.groups(|record| args.wants(record));
    let is_open = groups.iter().any(|group| group.open > 0);
    let (shown, beyond) = groups.split_at_checked(args.last).unwrap_or((&groups, &[]));
    match args.output {
        Format::Human => output::text(&human(&known, shown, beyond.len()))?,
        format => output::document(format, &document(&known, shown, beyond.len()))?,
    }
    Ok(if is_open { Outcome::Finding } else { Outcome::Fine })
}

fn document<'a>(known: &'a Known, groups: &'a [Group<'a>], more: usize) -> Document<'a> {
    let row = |group: &'a Group<'a>| Row {
        actor: group.actor,
        class: group.class,
        after: group.after,
        severity: group.severity,
        open: group.open,
        first: group.first,
        last: group.last,
        count: group.count,
        records: &group.records,
    };
    Document {
        schema: SCHEMA,
        origin: &known.origin,
        size: known.size,
        newest: known.newest.as_deref(),
        groups: groups.iter().map(row).collect(),
        more,
        unreadable: known.unreadable,
    }
}

fn human(known: &Known, groups: &[Group<'_>], more: usize) -> String {
    if groups.is_empty() {
        return "no drift\n".to_owned();
    }
    let mut text = String::new();
    for group in groups {
        let Some(first) = group.records.first() else { continue };
        text.push_str(&format!(
            "{} {}, {}: {} of {} open, seen {}, last {}, by {}\n",
            group.severity.name(),
            plain(group.class),
            change(first),
            group.open,
            counted(group.records.len(), "object"),
            times(group.count),
            group.last,
            who(first),
        ));
        text.push_str(&objects(group));
    }
    if more > 0 {
        text.push_str(&format!("and {}: --last shows more\n", counted(more, "more cause")));
    }
    if known.records.more() > 0 {
        text.push_str(&format!("drifts for which there was no room: {}\n", known.records.more()));
    }
    text
}

fn objects(group: &Group<'_>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for record in group.records.iter().take(MAX_NAMED) {
        table.add_row([
            format!("  {}", record.cause.id),
            record.state.name().to_owned(),
            plain(&record.object),
            format!("in {}", plain(&record.sync)),
        ]);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let more = group.records.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        text.push_str(&format!("   and {}\n", counted(more, "more object")));
    }
    text
}
