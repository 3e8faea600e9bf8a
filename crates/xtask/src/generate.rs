//! `cargo xtask generate`: what is written by the binary itself and kept in the repository for its readers; and what a
//! dependency publishes as a file and does not give to those who link it.

use std::fs;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::process::output;
use crate::workspace::Workspace;

/// What `writ generate WHAT` prints, and the file that keeps it.
const GENERATED: [(&str, &str); 5] = [
    ("codes", "docs/codes.md"),
    ("crds", "deploy/crds/writ.dev.yaml"),
    ("cli", "docs/cli.md"),
    ("metrics", "docs/metrics.md"),
    ("differences", "docs/differences.md"),
];

/// A package, a file of it, and the file that keeps it: with the first root of the public Sigstore's repository trust in all
/// later ones begins, and the package gives it only together with an HTTP client.
const PUBLISHED: (&str, &str, &str) =
    ("sigstore-trust-root", "repository/tuf_root.json", "crates/evidence/src/public_tuf_root.json");

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
    // First: what prints the others is built with it.
    let mut files = vec![published(workspace)?];
    if !arguments.check {
        write(workspace, &files)?;
    }
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

fn published(workspace: &Workspace) -> Result<(&'static str, Vec<u8>)> {
    let (package, inside, file) = PUBLISHED;
    let metadata = MetadataCommand::new()
        .current_dir(workspace.root())
        .other_options(["--locked".to_owned()])
        .exec()
        .context("cannot read the dependency graph")?;
    let found = metadata.packages.iter().find(|found| *found.name == package);
    let folder =
        found.and_then(|found| found.manifest_path.parent()).with_context(|| format!("no package {package}"))?;
    let content = fs::read(folder.join(inside)).with_context(|| format!("cannot read {inside} of {package}"))?;
    Ok((file, content))
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
