//! Exit statuses: 0 fine · 1 a finding · 2 no verdict was possible · 64 usage.

use std::process::ExitCode;

/// How a command ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is as it should be.
    Fine,
    /// Something was refused, denied or found.
    Finding,
}

/// The arguments make no sense together in a way that clap cannot know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A finding.
const FINDING: u8 = 1;
/// No verdict was possible; always treated as a refusal.
const NO_VERDICT: u8 = 2;
/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

/// Prints what went wrong, if anything, and gives the exit status.
pub(crate) fn report(result: &anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Finding) => ExitCode::from(FINDING),
        Err(error) => {
            eprintln!("error: {}", crate::output::printable_lines(&format!("{error:#}")));
            ExitCode::from(if error.is::<UsageError>() { USAGE } else { NO_VERDICT })
        }
    }
}

/// Prints clap's message; help and version are no errors.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Whoever closed the terminal needs no message.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
