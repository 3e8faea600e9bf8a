//! Where a head comes from.

use testkit::Push;

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Story, Test, config_map};

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
