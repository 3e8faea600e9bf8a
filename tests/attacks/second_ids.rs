//! Commits that somebody signed, under an id that whoever may push gives them: they have no number in the usual list.

use anyhow::{Context, Result};

use crate::bad_input::{Lent, Offline, refused};
use crate::stage::{Owner, Stage, Story, Test, config_map};

/// The same signed commit with a second signature, as of the other object format, which sam made over something else.
fn with_second_signature(stage: &Stage<'_>, commit: &str) -> Result<String> {
    let good = String::from_utf8(stage.repo.read_object("commit", commit)?).context("a commit is not UTF-8")?;
    let armour = stage.people.sre.sign("git", b"another commit")?;
    let second = format!("\ngpgsig-sha256 {}\n\n", armour.trim_end().replace('\n', "\n "));
    stage.repo.write_object("commit", good.replacen("\n\n", &second, 1).as_bytes())
}

/// A signature of the other object format is verified by nobody, so it is nothing to rely on: refused unless the trust file says
/// that commits are signed twice.
#[test]
fn attack_second_signature() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "second-signature", "A second signature beside a good one")?;
    story.done("sam signs a commit; somebody without a key puts another signature of his beside it, as gpgsig-sha256; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let signed = stage.repo.commit_signed(&stage.people.sre, "change settings")?;
    stage.push_aside("main", "aside")?;
    let commit = with_second_signature(&stage, &signed)?;
    stage.force_head(&commit)?;
    refused(&mut stage, story, Owner::Source, &commit, "W209", Offline::Told)
}
