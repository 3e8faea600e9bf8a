//! `cargo xtask layers`: which crate may depend on what, checked on the resolved graph.

mod graph;
mod rules;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use graph::Graph;

/// The command.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let graph = Graph::read(workspace)?;
    let violations = rules::check(&graph);
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} of the layers' rules broken (ARCHITECTURE.md says what each crate may know)", violations.len());
    }
    println!("layers: {} crates, {} packages, no forbidden edge", graph.members.len(), graph.packages.len());
    Ok(())
}
