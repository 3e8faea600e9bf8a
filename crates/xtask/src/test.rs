//! `cargo xtask test`: everything that must pass.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testkit::{ControlPlane, Profile};

use crate::process::run as run_process;
use crate::summary::Summary;
use crate::workspace::Workspace;
use crate::{controlplane, fuzz, tools};

/// Set to `1` for the tests' long runs: more seeds, minutes instead of seconds.
const SOAK_VARIABLE: &str = "WRIT_TEST_SOAK";

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also the long runs
    #[arg(long)]
    soak: bool,
    /// Only the tests of these crates
    #[arg(long = "package", short, value_name = "CRATE")]
    packages: Vec<String>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// The command.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    tools::ensure(&tools::TEST_TOOLS)?;
    controlplane::ensure(workspace)?;
    eprintln!("building the tests (about 5 minutes cold on two idle cores)");
    run_process(cargo_test(workspace, arguments).args(["--no-run", "--quiet"]))?;

    // Both live until this function returns; the kernel ends them should this process be killed before.
    let planes = [Profile::Api, Profile::Full]
        .map(|profile| ControlPlane::start(profile).with_context(|| format!("cannot start control plane {profile:?}")));
    let mut cargo = cargo_test(workspace, arguments);
    cargo.arg("--no-fail-fast");
    cargo.env_remove(SOAK_VARIABLE);
    // The end-to-end tests wait more than they compute: more of them at once than there are cores.
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        cargo.env("RUST_TEST_THREADS", "4");
    }
    if arguments.soak {
        cargo.env(SOAK_VARIABLE, "1");
    }
    let mut running = Vec::new();
    for plane in planes {
        let plane = plane?;
        eprintln!("control plane {:?} at {}", plane.profile(), plane.server());
        cargo.env(plane.profile().shared_variable(), plane.state_file());
        running.push(plane);
    }
    if let Some(filter) = &arguments.filter {
        cargo.args(["--", filter]);
    }
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let output = BufReader::new(child.stdout.take().context("cargo test has no standard output")?);
    let summary = echo(output)?;
    let status = child.wait().context("cannot wait for cargo test")?;
    drop(running);

    // Parsers are attacked when everything is tested, not when one crate is looked at.
    let fuzzed = if arguments.packages.is_empty() && arguments.filter.is_none() {
        fuzz::every_target(workspace, if arguments.soak { fuzz::SOAK_SECONDS } else { fuzz::SMOKE_SECONDS })
    } else {
        Ok(())
    };
    println!("{summary}, {} s", started.elapsed().as_secs());
    summary.verdict()?;
    if !status.success() {
        bail!("cargo test failed: {status}");
    }
    fuzzed
}

/// `cargo test` of the crates that were asked for; of all if none was.
fn cargo_test(workspace: &Workspace, arguments: &Arguments) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked"]);
    if arguments.packages.is_empty() {
        cargo.arg("--workspace");
    }
    for package in &arguments.packages {
        cargo.args(["--package", package]);
    }
    cargo
}

/// Prints what comes as it comes and adds it up.
fn echo(mut output: impl BufRead) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut stdout = std::io::stdout();
    // Bytes, not text: what a failing test prints need not be UTF-8.
    while output.read_until(b'\n', &mut line).context("cannot read what cargo test prints")? > 0 {
        stdout.write_all(&line).context("cannot print")?;
        summary.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(summary)
}
