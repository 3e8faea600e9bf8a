//! Data goes to stdout, in the format asked for; messages go to stderr.

use std::{
    fmt::Write as _,
    io::{ErrorKind, IsTerminal as _, Write as _},
};

use anyhow::Context as _;
use clap::ValueEnum;
use manifest::Finding;
use serde::Serialize;

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON document with a versioned schema.
    Json,
    /// The same as YAML.
    Yaml,
}

/// How a word is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Green.
    Good,
    /// Red.
    Bad,
}

/// Writes text to stdout. A reader that went away (`writ … | head`) is no error: the exit status
/// stays the verdict.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    bytes(text.as_bytes())
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Writes a document as JSON or YAML.
///
/// # Errors
/// When it cannot be encoded or written.
pub(crate) fn document<T: Serialize>(format: Format, value: &T) -> anyhow::Result<()> {
    match format {
        Format::Yaml => text(&manifest::to_yaml(value)?),
        Format::Json | Format::Human => text(&format!("{}\n", serde_json::to_string(value)?)),
    }
}

/// Paints `text` if stdout is a terminal and `NO_COLOR` is not set.
pub(crate) fn paint(text: &str, paint: Paint) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !wanted || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let colour = match paint {
        Paint::Good => 32,
        Paint::Bad => 31,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Text from outside, for a terminal, on one line: so that no commit and no log entry can move the cursor, change colours or add
/// a line to what writ says.
pub(crate) fn printable(text: &str) -> String {
    manifest::printable(text).into_owned()
}

/// The same of text whose lines are ours.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(manifest::printable).collect();
    lines.join("\n")
}

/// A refusal for people: code and reason, what was found and needed, the fix.
pub(crate) fn refusal(finding: &Finding) -> String {
    let mut text = format!(
        "{}  {} {}\n  {}\n",
        paint("refused ", Paint::Bad),
        finding.code.code,
        finding.code.reason,
        finding.message()
    );
    if !finding.fix.is_empty() {
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "  fix: {}", finding.fix);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_control_characters() {
        assert_eq!(printable("a\u{1b}[31mb\tc\nd"), "a\\u{1b}[31mb\\u{9}c\\u{a}d");
        assert_eq!(printable_lines("a\u{1b}[31mb\tc\nd\u{2028}"), "a\\u{1b}[31mb\\u{9}c\nd\\u{2028}");
    }
}
