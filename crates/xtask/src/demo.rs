//! `cargo xtask demo`: the main job as a story, on a real control plane and a real Git server.

mod stage;
mod story;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::{controlplane, process, workspace::Workspace};
use stage::Stage;

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leaves everything running at the end and says how to reach it.
    #[arg(long)]
    keep: bool,
}

/// Plays the demo. Exit status 0 only if everything went as promised.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    eprintln!("Preparing: the control plane takes about 4 minutes to build the first time, the binary about 3.");
    controlplane::ensure(workspace)?;
    process::run(workspace.cargo().args(["build", "--locked", "--package", "writ"]))?;
    let stage = Stage::set(workspace)?;
    println!("\nwrit demo — ready after {:.1} s\n", started.elapsed().as_secs_f64());
    let failures = story::play(&stage)?;
    println!(
        "\n{} in {:.1} s",
        if failures == 0 { "Everything went as promised" } else { "NOT as promised" },
        started.elapsed().as_secs_f64()
    );
    if arguments.keep {
        stage.keep()?;
    }
    if failures > 0 {
        bail!("{failures} of the story's steps did not go as promised");
    }
    Ok(())
}
