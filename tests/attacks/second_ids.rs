//! Commits that somebody signed, under an id that whoever may push gives them: they have no number in the usual list.

use anyhow::{Context, Result, ensure};
use testkit::Push;

use crate::bad_input::{Lent, Offline, refused};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map, team};

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

/// Where commits are signed twice, whoever may push can still give one another id: then the one that was verified first counts.
#[test]
fn attack_same_payload() -> Test {
    let mut stage = Setup::shared()?.trust(|people, repo_id| team(people, repo_id).dual_signed()).start()?;
    let mut story = Story::begin(&stage, "same-payload", "An accepted commit under another id")?;
    story.done("the trust file says history.dualSigned; sam's commit is accepted and applied");
    let accepted = stage.roll_out("apps/flags.yaml", &config_map("flags", "new"))?;
    stage.names.call_commit(&accepted, "accepted commit");
    story.done("somebody without a key puts another signature of his beside it, as gpgsig-sha256; that object becomes the head of main");
    let other = with_second_signature(&stage, &accepted)?;
    stage.force_head(&other)?;
    refused(&mut stage, story, Owner::Source, &other, "W408", Offline::Told)?;
    ensure!(stage.view.config_map("flags")?["data"]["value"] == "new", "what runs was changed");
    // It is the first one that history goes on from.
    stage.repo.reset(&accepted)?;
    stage.push(Push::Force)?;
    stage.roll_out("apps/flags.yaml", &config_map("flags", "newer"))?;
    Ok(())
}
