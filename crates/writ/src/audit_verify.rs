//! `writ audit verify`: everything a log's signatures promise, checked offline.

use std::fmt::Write as _;

use anyhow::Context as _;
use audit::{Checkpoint, LogPublicKey, Mismatch, Report, VerifyError, verify_dir};
use manifest::counted;
use serde::Serialize;

use crate::{
    cli::AuditVerifyArgs,
    exit::Outcome,
    input::{self, MAX_NOTE_BYTES},
    output::{self, Format, Paint, printable},
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/audit-verification/v1alpha1";

#[derive(Debug, Serialize)]
struct Verification {
    schema: &'static str,
    /// `verified` or `mismatch`.
    verdict: &'static str,
    /// Name of the key, which is the log's.
    origin: String,
    /// What was verified; null after a mismatch.
    report: Option<Verified>,
    /// What is proven wrong; null if nothing is.
    mismatch: Option<Wrong>,
}

#[derive(Debug, Serialize)]
struct Verified {
    entries: u64,
    root: String,
    tiles: u64,
    bodies: u64,
    /// Earlier checkpoints that the log extends.
    extended: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Wrong {
    /// Relative to the folder of the log.
    file: String,
    /// The first byte known to be wrong; 0 where only the file as a whole can be judged.
    offset: u64,
    /// The first entry affected, where one can be named.
    entry: Option<u64>,
    what: String,
}

/// Runs `writ audit verify`.
pub(crate) fn run(args: &AuditVerifyArgs) -> anyhow::Result<Outcome> {
    let key = read_key(&args.key)?;
    let mut remembered = Vec::new();
    for file in &args.checkpoint {
        let note = input::text(file, MAX_NOTE_BYTES)?;
        let checkpoint = Checkpoint::parse(&note, &key)
            .with_context(|| format!("{} is no checkpoint signed by {}", file.display(), key.name()))?;
        remembered.push(checkpoint);
    }
    let (outcome, verification) = match verify_dir(&args.dir, &key, &remembered) {
        Ok(report) => (Outcome::Fine, Verification::of_report(&key, report)),
        Err(VerifyError::Mismatch(mismatch)) => (Outcome::Finding, Verification::of_mismatch(&key, mismatch)),
        Err(error @ VerifyError::Unreadable { .. }) => {
            return Err(error).with_context(|| format!("the log in {} was not verified", args.dir.display()));
        }
    };
    match args.output {
        Format::Human => output::text(&verification.human()?)?,
        format @ (Format::Json | Format::Yaml) => output::document(format, &verification)?,
    }
    Ok(outcome)
}

/// Reads the log's public key.
pub(crate) fn read_key(file: &std::path::Path) -> anyhow::Result<LogPublicKey> {
    let text = input::text(file, MAX_NOTE_BYTES)?;
    LogPublicKey::parse(text.trim_end()).with_context(|| format!("cannot use the public key {}", file.display()))
}

impl Verification {
    fn of_report(key: &LogPublicKey, report: Report) -> Self {
        let root = hex::encode(report.checkpoint.root().0);
        let Report { checkpoint: _, entries, tiles, bodies, extended, notes } = report;
        Self {
            schema: SCHEMA,
            verdict: "verified",
            origin: key.name().to_owned(),
            report: Some(Verified { entries, root, tiles, bodies, extended, notes }),
            mismatch: None,
        }
    }

    fn of_mismatch(key: &LogPublicKey, mismatch: Mismatch) -> Self {
        let Mismatch { file, offset, entry, what } = mismatch;
        Self {
            schema: SCHEMA,
            verdict: "mismatch",
            origin: key.name().to_owned(),
            report: None,
            mismatch: Some(Wrong { file, offset, entry, what }),
        }
    }

    fn human(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        if let Some(report) = &self.report {
            let verified = output::paint("verified", Paint::Good);
            writeln!(text, "{verified}: {} of {}", counted(report.entries, "entry"), self.origin)?;
            writeln!(text, "  root    {}", report.root)?;
            writeln!(text, "  checked {}, {}", counted(report.tiles, "tile"), counted(report.bodies, "body"))?;
            writeln!(text, "  extends {}", counted(report.extended, "earlier checkpoint"))?;
            for note in &report.notes {
                writeln!(text, "  note    {}", printable(note))?;
            }
        }
        if let Some(wrong) = &self.mismatch {
            writeln!(text, "{}: the log is not what {} signed", output::paint("mismatch", Paint::Bad), self.origin)?;
            writeln!(text, "  file    {}", printable(&wrong.file))?;
            writeln!(text, "  byte    {}", wrong.offset)?;
            match wrong.entry {
                Some(entry) => writeln!(text, "  entry   {entry} is the first affected")?,
                None => writeln!(text, "  entry   none can be named")?,
            }
            writeln!(text, "  what    {}", printable(&wrong.what))?;
        }
        Ok(text)
    }
}
