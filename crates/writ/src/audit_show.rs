//! `writ audit show`: entries of a log, newest last.

use std::collections::BTreeMap;

use anyhow::Context as _;
use audit::{Filter, Indexed, LogError, LogPublicKey, LogReader, VerifyError, verify_dir};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use serde_json::Value;

use crate::{
    audit_key::quoted,
    audit_verify::read_key,
    cli::{AuditShowArgs, Bodies},
    exit::{Outcome, UsageError},
    generate,
    output::{self, Format, printable},
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/audit-entries/v1alpha1";
/// Entries that are read at once, from the newest back: 16 bundles of at most 4 MiB.
const WINDOW: u64 = 16 * 256;

#[derive(Debug, Serialize)]
struct Entries {
    schema: &'static str,
    /// Name of the log.
    origin: String,
    /// How many entries the log has.
    size: u64,
    entries: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    index: u64,
    time: String,
    kind: &'static str,
    subject: BTreeMap<String, String>,
    codes: Vec<String>,
    counts: BTreeMap<String, u64>,
    digests: BTreeMap<String, String>,
    /// With `--body`: the body, as JSON if it is JSON, else as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// Runs `writ audit show`.
pub(crate) fn run(args: &AuditShowArgs) -> anyhow::Result<Outcome> {
    let known = generate::register()?;
    if let Some(code) = args.code.as_deref().filter(|code| !known.contains_key(code)) {
        return Err(UsageError(format!("--code {code:?} is no code: docs/codes.md has all of them")).into());
    }
    let key = read_key(&args.key)?;
    let is_damage = |error: &anyhow::Error| {
        error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LogError::Damaged { .. })))
    };
    show(args, &key).map_err(|error| if is_damage(&error) { damaged(args, &key, error) } else { error })
}

/// What is wrong with a log of which something cannot be read: reading stops at the first thing that does not parse, a verification
/// knows file, byte and entry.
fn damaged(args: &AuditShowArgs, key: &LogPublicKey, error: anyhow::Error) -> anyhow::Error {
    let Err(VerifyError::Mismatch(mismatch)) = verify_dir(&args.dir, key, &[]) else { return error };
    let (dir, file) = (quoted(&args.dir), quoted(&args.key));
    let fix =
        format!("writ audit verify {dir} --key {file} # then bring the file back from a copy of the state volume");
    anyhow::anyhow!("the log in {} is damaged: {mismatch}. Fix: {fix}", args.dir.display())
}

fn show(args: &AuditShowArgs, key: &LogPublicKey) -> anyhow::Result<Outcome> {
    let cannot_read = || format!("cannot read the log in {}", args.dir.display());
    let reader = LogReader::open(&args.dir, key).with_context(cannot_read)?;
    let size = reader.checkpoint().with_context(cannot_read)?.size();
    let filter = Filter { kind: args.kind, code: args.code.clone(), ..Filter::default() };
    let found = newest(&reader, size, args.last, &filter).with_context(cannot_read)?;
    let entries =
        found.into_iter().map(|found| row(&reader, found, args.bodies())).collect::<anyhow::Result<Vec<_>>>()?;
    match args.output {
        Format::Human => human(&entries)?,
        format @ (Format::Json | Format::Yaml) => {
            output::document(format, &Entries { schema: SCHEMA, origin: key.name().to_owned(), size, entries })?;
        }
    }
    Ok(Outcome::Fine)
}

/// The newest entries that pass the filter, oldest first.
fn newest(reader: &LogReader, size: u64, last: usize, filter: &Filter) -> Result<Vec<Indexed>, LogError> {
    let mut found: Vec<Indexed> = Vec::new();
    let mut end = size;
    while end > 0 && found.len() < last {
        // Windows start at multiples of their size, so that no bundle is read twice.
        let start = (end - 1) / WINDOW * WINDOW;
        let mut window = reader.entries(start..end, filter).collect::<Result<Vec<_>, _>>()?;
        window.append(&mut found);
        found = window;
        end = start;
    }
    Ok(found.split_off(found.len().saturating_sub(last)))
}

fn row(reader: &LogReader, found: Indexed, bodies: Bodies) -> anyhow::Result<Row> {
    let Indexed { index, entry } = found;
    let body = match (bodies, entry.body_digest()) {
        (Bodies::Shown, Some(digest)) => {
            let bytes = reader.body(&digest).with_context(|| format!("cannot read the body of entry {index}"))?;
            let bytes = bytes.with_context(|| format!("the body of entry {index} is gone"))?;
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Some(serde_json::from_slice(&bytes).unwrap_or_else(|_not_json| text()))
        }
        (Bodies::Shown, None) | (Bodies::Hidden, _) => None,
    };
    Ok(Row {
        index,
        time: entry.time,
        kind: entry.kind.as_str(),
        subject: entry.subject,
        codes: entry.codes,
        counts: entry.counts,
        digests: entry.digests,
        body,
    })
}

fn human(entries: &[Row]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["ENTRY", "TIME", "KIND", "CODES", "SUBJECT"]);
    for row in entries {
        let subject: Vec<String> = row
            .subject
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain(row.counts.iter().map(|(name, value)| format!("{name}={value}")))
            .collect();
        let cells =
            [row.index.to_string(), row.time.clone(), row.kind.to_owned(), row.codes.join(","), subject.join(" ")];
        table.add_row(cells.map(|cell| printable(&cell).replace('\n', "\\n")));
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for (row, body) in entries.iter().filter_map(|row| Some((row, row.body.as_ref()?))) {
        let body = match body {
            Value::String(body) => body.clone(),
            other => serde_json::to_string_pretty(other)?,
        };
        text.push_str(&format!("\nbody of entry {}:\n{}\n", row.index, printable(&body)));
    }
    output::text(&text)
}
