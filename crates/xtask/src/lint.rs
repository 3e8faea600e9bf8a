//! `cargo xtask lint`: everything that is judged without running the product.

mod deny;
mod file_size;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::run as run_process;
use crate::workspace::Workspace;
use crate::{generate, layers};

/// One thing that is judged.
type Step = (&'static str, fn(&Workspace) -> Result<()>);

/// Quick ones first.
const STEPS: [Step; 7] = [
    ("formatting", formatting),
    ("layers", layers::run),
    ("file sizes", file_size::run),
    ("clippy", clippy),
    ("documentation", documentation),
    ("bans, licences, sources", deny::run),
    ("generated files", generated),
];

/// The command: runs every step, whatever the others found, and fails if one did.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        eprintln!("-- {name}");
        if let Err(error) = step(workspace) {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    }
    println!("lint: {} of {} steps clean, {} s", STEPS.len() - failed.len(), STEPS.len(), started.elapsed().as_secs());
    if !failed.is_empty() {
        bail!("not clean: {}", failed.join(", "));
    }
    Ok(())
}

fn formatting(workspace: &Workspace) -> Result<()> {
    run_process(workspace.cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let arguments =
        ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--keep-going", "--", "-D", "warnings"];
    run_process(workspace.cargo().args(arguments))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let arguments = ["doc", "--workspace", "--no-deps", "--locked", "--quiet", "--keep-going"];
    run_process(workspace.cargo().args(arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

fn generated(workspace: &Workspace) -> Result<()> {
    generate::run(workspace, &generate::Arguments::check())
}
