//! `cargo deny`: bans, licences, sources. Advisories need a database from the network and are not a property of the sources.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::run as run_process;
use crate::workspace::Workspace;

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let program = ensure(workspace)?;
    let mut deny = Command::new(program);
    deny.current_dir(workspace.root());
    run_process(deny.args([
        "--locked",
        "--log-level",
        "warn",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// Builds cargo-deny into the target folder if it is not there in this version; the user's own tools are left alone.
fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.path("target/tools");
    let program = root.join("bin/cargo-deny");
    let version = Command::new(&program).arg("--version").output();
    let present = version.is_ok_and(|found| String::from_utf8_lossy(&found.stdout).trim_end().ends_with(VERSION));
    if !present {
        eprintln!("building cargo-deny {VERSION} (about 2 minutes on two idle cores)");
        let package = format!("cargo-deny@{VERSION}");
        let mut install = workspace.cargo();
        install.args(["install", "--quiet", "--locked", "--force", &package, "--root"]).arg(&root);
        run_process(&mut install)?;
    }
    Ok(program)
}
