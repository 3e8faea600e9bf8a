//! `cargo xtask demo`: the main job as a story, on a real control plane and a real Git server.

mod stage;
mod story;
mod visit;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use testkit::{ControlPlane, Profile};

use crate::{controlplane, process, tools, workspace::Workspace};
use stage::Stage;
use visit::Visit;

/// The demo's namespace on a control plane of its own.
const NAMESPACE: &str = "demo";

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leaves everything running at the end and says how to reach it, until Enter is pressed or standard input ends.
    #[arg(long)]
    keep: bool,
    /// Plays it on the cluster of this kubeconfig (its current context) instead of one of its own. It takes the rights of a cluster
    /// admin; everything it makes there is removed at the end.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Takes the binary that is in target/debug as it is: for tests, which have built it.
    #[arg(long, hide = true)]
    built: bool,
}

/// Plays the demo. Exit status 0 only if everything went as promised.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    tools::ensure(&tools::DEMO_TOOLS)?;
    controlplane::ensure(workspace)?;
    if !arguments.built {
        if !workspace.path(stage::PROGRAM).exists() {
            eprintln!("building writ (about 3 minutes cold on two idle cores)");
        }
        process::run(workspace.cargo().args(["build", "--locked", "--package", "writ"]))?;
    }
    let failures = match &arguments.kubeconfig {
        None => {
            let plane = ControlPlane::shared(Profile::Full).context("cannot start the control plane")?;
            play(workspace, arguments, &Stage::set(workspace, plane, NAMESPACE)?, started)
        }
        Some(kubeconfig) => {
            let visit = Visit::begin(workspace, kubeconfig)?;
            let played = Stage::set(workspace, visit.plane(), visit.namespace())
                .and_then(|stage| play(workspace, arguments, &stage, started));
            // Also after a failure, and after writ has ended with its stage.
            let left = visit.end();
            let failures = played?;
            left?;
            Ok(failures)
        }
    }?;
    if failures > 0 {
        bail!("{failures} of the story's steps did not go as promised");
    }
    Ok(())
}

/// The story, and what is left running after it; how many steps did not go as promised.
fn play(workspace: &Workspace, arguments: &Arguments, stage: &Stage, started: Instant) -> Result<u32> {
    println!("\nwrit demo — ready after {:.1} s\n", started.elapsed().as_secs_f64());
    let failures = story::play(stage)?;
    println!(
        "\n{} in {:.1} s",
        if failures == 0 { "Everything went as promised" } else { "NOT as promised" },
        started.elapsed().as_secs_f64()
    );
    if arguments.keep {
        stage.keep(workspace, arguments.kubeconfig.as_deref())?;
    }
    Ok(failures)
}
