//! `cargo xtask bench`: writ against a bare loop that does the same requests, on the same control plane, in one run; and its
//! verification of commits against Git's.
//!
//! Ratios are what counts: the machine is in both sides of them. Each engine is a process of its own and writes as a
//! ServiceAccount; what is true is said by an independent watch, never by an engine. The order is A-B-B-A, so that what
//! changes with time (caches, the load of the machine) falls on both.

mod api;
mod apply;
mod commit;
mod drift;
mod ground;
mod manifests;
mod memory;
mod probe;
mod reference;
mod report;
mod verify;

use std::os::unix::process::CommandExt as _;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use testkit::{ControlPlane, Profile};

use crate::{controlplane, process, workspace::Workspace};
pub(crate) use reference::run as reference;
pub(crate) use verify::run_job as judge;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What is measured
    bench: Bench,
    /// Also prints the result as JSON, in the last line
    #[arg(short, long)]
    output: Option<Output>,
    /// How often the order A-B-B-A is gone through
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// How many signed commits `verify` is measured with
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    commits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// From a hand edit to the probe's sight of the declared state, by kind of drift
    Drift,
    /// 2,000 new objects, the pass without changes, memory
    Apply,
    /// One changed line among 1,000 and 5,000 manifests, from push to the probe's sight
    Commit,
    /// Resident memory at 1,000 and 10,000 objects
    Memory,
    /// Signatures of commits, against `git verify-commit` and against the maths library; needs no control plane
    Verify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One object
    Json,
}

/// Who works in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Writ,
    Reference,
}

/// A-B-B-A, so often.
fn order(rounds: u32) -> impl Iterator<Item = Side> {
    (0..rounds).flat_map(|_| [Side::Writ, Side::Reference, Side::Reference, Side::Writ])
}

/// Builds what is measured, and measures.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    // The probe and the bare loop are part of the measurement: they are built like writ.
    if cfg!(debug_assertions) {
        let mut build = workspace.cargo();
        build.args(["build", "--locked", "--release", "--package=xtask"]);
        if arguments.bench != Bench::Verify {
            controlplane::ensure(workspace)?;
            build.arg("--package=writ");
        }
        eprintln!("Building with optimisation: about 7 minutes the first time.");
        process::run(&mut build)?;
        let mut again = std::process::Command::new(workspace.path("target/release/xtask"));
        let error = again.args(std::env::args_os().skip(1)).exec();
        return Err(error).context("cannot start the optimised build of this command");
    }
    let plane = || ControlPlane::start(Profile::Api).context("cannot start the control plane");
    let report = match arguments.bench {
        Bench::Drift => drift::run(workspace, &plane()?, arguments.rounds)?,
        Bench::Apply => apply::run(workspace, &plane()?, arguments.rounds)?,
        Bench::Commit => commit::run(workspace, &plane()?, arguments.rounds)?,
        Bench::Memory => memory::run(workspace, &plane()?)?,
        Bench::Verify => verify::run(usize::try_from(arguments.commits)?, arguments.rounds)?,
    };
    println!("{}", report.table());
    if arguments.output == Some(Output::Json) {
        println!("{}", serde_json::to_string(&report).context("cannot write the result")?);
    }
    Ok(())
}
