//! Where a head comes from.

use anyhow::ensure;
use testkit::Push;

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Setup, Story, Test, config_map, team};

#[test]
fn unrelated_history() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "unrelated-history", "A branch that shares no commit with the accepted one")?;
    story.done("git push --force of a new history with the same trust file; sam signs its only commit");
    let trust = stage.repo.read(".writ/trust.yaml")?;
    stage.repo.orphan("elsewhere")?;
    stage.repo.write(".writ/trust.yaml", trust)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, "a new beginning")?;
    stage.repo.git(&["switch", "--quiet", "-C", "main"])?;
    stage.push(Push::Force)?;
    refused(&mut stage, story, Owner::Source, &commit, "W401", Offline::Told)
}

/// With `history.partialAdvance` the good commits of a push go through, and the rest is held and told.
#[test]
fn good_commits_below_a_refused_one_are_taken() -> Test {
    let mut stage = Setup::shared()?.trust(|people, repo_id| team(people, repo_id).partial_advance()).start()?;
    let mut story = Story::begin(&stage, "partial-advance", "A good commit below a refused one")?;
    story.done(
        "the trust file says history.partialAdvance; sam adds apps/flags.yaml in a signed commit, changes \
         apps/settings.yaml in an unsigned one on top of it, and pushes both at once",
    );
    stage.repo.write("apps/flags.yaml", config_map("flags", "new"))?;
    let good = stage.repo.commit_signed(&stage.people.sre, "add flags")?;
    stage.names.call_commit(&good, "good commit");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let bad = stage.repo.commit_unsigned("change settings")?;
    stage.push(Push::FastForward)?;
    stage.applied(&good)?;
    ensure!(stage.view.config_map("flags")?["data"]["value"] == "new", "the good commit is not in the cluster");
    story.then("the good commit is verified, recorded and rolled out; the one on top of it is held.");
    refused(&mut stage, story, Owner::Source, &bad, "W301", Offline::Told)
}
