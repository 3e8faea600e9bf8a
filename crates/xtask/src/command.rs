//! The commands: one variant and one module each.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{bench, controlplane, demo, fuzz, generate, layers, lint, test};

/// The repository's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures writ against a bare loop on the same control plane, or against Git, and prints the ratios
    Bench(bench::Arguments),
    /// The bare loop that a bench compares writ with
    #[command(hide = true)]
    BenchReference,
    /// The process whose memory a bench looks at
    #[command(hide = true)]
    BenchJudge {
        /// What is judged
        job: PathBuf,
    },
    /// Builds the real Kubernetes control plane of the tests and the demo into target/controlplane, if its inputs changed
    Controlplane,
    /// Plays the main job as a story on a real control plane and a real Git server
    Demo(demo::Arguments),
    /// Attacks every parser of bytes from outside with libFuzzer
    Fuzz(fuzz::Arguments),
    /// Writes what is generated: docs/codes.md, docs/cli.md, docs/metrics.md, docs/differences.md, deploy/crds/writ.dev.yaml
    Generate(generate::Arguments),
    /// Fails on each forbidden dependency between crates, naming it
    Layers,
    /// Formatting, layers, file sizes, clippy, documentation, licences and sources, generated files
    Lint,
    /// Everything that must pass
    Test(test::Arguments),
}

/// Runs the command that the process was called with.
pub(crate) fn parse_and_run() -> Result<()> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    match arguments.command {
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
        Command::BenchReference => bench::reference(),
        Command::BenchJudge { job } => bench::judge(&job),
        Command::Controlplane => controlplane::run(&workspace),
        Command::Demo(arguments) => demo::run(&workspace, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Command::Generate(arguments) => generate::run(&workspace, &arguments),
        Command::Layers => layers::run(&workspace),
        Command::Lint => lint::run(&workspace),
        Command::Test(arguments) => test::run(&workspace, &arguments),
    }
}
