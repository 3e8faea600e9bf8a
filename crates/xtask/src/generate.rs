//! `cargo xtask generate`: what is written by the binary itself and kept in the repository for its readers.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::process::output;
use crate::workspace::Workspace;

/// What `writ generate WHAT` prints, and the file that keeps it.
const GENERATED: [(&str, &str); 4] = [
    ("codes", "docs/codes.md"),
    ("crds", "deploy/crds/writ.dev.yaml"),
    ("cli", "docs/cli.md"),
    ("metrics", "docs/metrics.md"),
];

/// How to generate.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Writes nothing; fails when a file is not what would be written
    #[arg(long)]
    check: bool,
}

impl Arguments {
    /// Only to look.
    pub(crate) fn check() -> Self {
        Self { check: true }
    }
}

/// The command.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut files = Vec::new();
    for (what, file) in GENERATED {
        let mut writ = workspace.cargo();
        writ.args(["run", "--quiet", "--locked", "--package", "writ", "--", "generate", what]);
        let content = output(&mut writ)?;
        if content.is_empty() {
            bail!("`writ generate {what}` printed nothing");
        }
        files.push((file, content));
    }
    if arguments.check { check(workspace, &files) } else { write(workspace, &files) }
}

fn write(workspace: &Workspace, files: &[(&str, Vec<u8>)]) -> Result<()> {
    for (file, content) in files {
        let path = workspace.path(file);
        if fs::read(&path).is_ok_and(|present| present == *content) {
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {file}"))?;
        println!("{file} written");
    }
    Ok(())
}

fn check(workspace: &Workspace, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let mut stale = Vec::new();
    for (file, content) in files {
        match fs::read(workspace.path(file)) {
            Ok(present) if present == *content => {}
            Ok(_) => stale.push(format!("{file} is stale")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => stale.push(format!("{file} is missing")),
            Err(error) => return Err(error).with_context(|| format!("cannot read {file}")),
        }
    }
    if !stale.is_empty() {
        bail!("{}: run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    println!("generated files are fresh");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_or_missing_file_is_named_and_writing_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let files = [("docs/a.md", b"new\n".to_vec()), ("b.yaml", b"b\n".to_vec())];
        fs::write(workspace.path("b.yaml"), "old\n").unwrap();
        let error = check(&workspace, &files).unwrap_err().to_string();
        assert_eq!(error, "docs/a.md is missing, b.yaml is stale: run `cargo xtask generate` and commit the result");
        write(&workspace, &files).unwrap();
        check(&workspace, &files).unwrap();
    }
}
