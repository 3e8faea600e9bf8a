//! Where a head comes from.

use testkit::Push;

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Setup, Story, Test, config_map};

#[test]
fn force_push_to_an_older_signed_commit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let older = stage.roll_out("apps/settings.yaml", &config_map("settings", "older"))?;
    stage.names.call_commit(&older, "older commit");
    let newer = stage.roll_out("apps/settings.yaml", &config_map("settings", "good"))?;
    stage.names.call_commit(&newer, "accepted commit");
    let mut story = Story::begin(&stage, "force-push-to-older", "A force-push to an older commit that was good once")?;
    story.done("git push --force <older commit>:main, a commit that was accepted before the present one");
    stage.repo.reset(&older)?;
    stage.push(Push::Force)?;
    refused(&mut stage, story, Owner::Source, &older, "W401", Offline::Told)
}

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
