//! What only the command line meets: repositories and files that cannot be judged.

use anyhow::{Context, ensure};

use crate::stage::{Setup, Stage, Story, Test, writ};

/// `writ verify` of `main` in a folder from the introduction, with its exit status.
fn verify(stage: &Stage<'_>, story: &mut Story, repo: &std::path::Path, status: i32, code: &str) -> Test {
    let root = stage.trust_root_file();
    let finished =
        writ(&["verify", "--repo", &repo.to_string_lossy(), "--trust-root", &root.to_string_lossy(), "main"])?;
    let said = format!("{}{}", finished.stdout, finished.stderr);
    ensure!(finished.code == Some(status) && said.contains(code), "status {:?}\n{said}", finished.code);
    story.seen("writ verify --trust-root trust-root.yaml main", &format!("{said}[exit status {status}]"));
    Ok(())
}

#[test]
fn history_that_is_not_there() -> Test {
    let mut stage = Setup::shared()?.prepare()?;
    let mut story = Story::begin(&stage, "history-missing", "A clone without its history")?;
    story.done("git clone --depth 1, as CI does it");
    let clone = stage.repo.path().with_file_name("shallow");
    stage.names.call(&clone.to_string_lossy(), "clone");
    let url = format!("file://{}", stage.repo.path().display());
    stage.repo.git(&["clone", "--quiet", "--depth", "1", "--branch", "main", &url, &clone.to_string_lossy()])?;
    verify(&stage, &mut story, &clone, 1, "W403")?;
    story.done("git fetch --unshallow origin, as the fix says");
    stage.repo.git(&["-C", &clone.to_string_lossy(), "fetch", "--quiet", "--unshallow", "origin"])?;
    verify(&stage, &mut story, &clone, 0, "accepted")?;
    story.end(&stage)
}

#[test]
fn trust_root_file_with_an_unknown_field() -> Test {
    let stage = Setup::shared()?.prepare()?;
    let mut story =
        Story::begin(&stage, "trust-root-unknown-field", "A TrustRoot with a field that writ does not know")?;
    story.done("trust-root.yaml says spec.colour: red");
    let file = stage.trust_root_file();
    let text = std::fs::read_to_string(&file).context("cannot read the TrustRoot")?;
    std::fs::write(&file, text.replace("spec:\n", "spec:\n  colour: red\n")).context("cannot write the TrustRoot")?;
    let path = stage.repo.path();
    verify(&stage, &mut story, &path, 2, "M112")?;
    story.end(&stage)
}
