//! A signed tag as the tracked ref: what is tagged is applied, what is on the branch is not.

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::{Push, SigningKey, TrustFile};

use crate::stage::{Owner, People, Setup, Stage, Story, Test, View, config_map, team};

const REF: &str = "refs/tags/live";

/// The usual team, of whom security releases.
fn released(people: &People, repo_id: &str) -> TrustFile {
    let by = people.security.principal().to_owned();
    team(people, repo_id).git_ref(REF).role("release", &[&by]).rule(
        "tags",
        &["git:refs/tags/**"],
        &[("release", 1)],
        &[],
    )
}

/// Moves the tag on the server, signed by `key`.
fn tag(stage: &mut Stage<'_>, key: &SigningKey, revision: &str) -> Result<()> {
    stage.repo.tag_signed(key, "live", revision)?;
    stage.push_tag("live")
}

fn told(source: &Value) -> &str {
    View::condition(source, "SourceVerified").2
}

#[test]
fn signed_tag_is_applied_and_nothing_else() -> Test {
    let mut stage = Setup::shared()?.trust(released).tag("live").start()?;
    let first = stage.good().to_owned();
    let (security, sre) = (stage.people.security.clone(), stage.people.sre.clone());
    let source = stage.view.source()?;
    ensure!(told(&source).contains("released by tag live by sena"), "{}", told(&source));
    ensure!(source["status"]["verifiedRevision"] == first.as_str(), "{}", source["status"]);

    let mut story = Story::begin(&stage, "signed-tag", "What is tagged is applied, and nothing else")?;
    // On the branch alone it is nothing yet; whoever changes files may not release them.
    stage.repo.write("apps/settings.yaml", config_map("settings", "newer"))?;
    let second = stage.repo.commit_signed(&sre, "newer")?;
    stage.names.call_commit(&second, "second commit");
    stage.push(Push::FastForward)?;
    tag(&mut stage, &sre, &second)?;
    story.done("sam changes the settings, git push; then sam tags that as live, and pushes the tag");
    let source = stage.held(Owner::Source, &second, "W302")?;
    let held = &source["status"]["heldRevision"];
    ensure!(held["signer"].as_str().is_some_and(|signer| signer.starts_with("sam ")), "{held}");
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good");
    story.status(&stage, Owner::Source)?;
    story.then("nothing of it is applied.");
    tag(&mut stage, &security, &second)?;
    stage.applied(&second)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    story.done("sena, who may release, tags it as live");
    story.status(&stage, Owner::Source)?;
    let is_of = |entry: &Value, commit: &str| entry["subject"]["commit"] == commit;
    story.audit_of(&stage, "advance", |entry| entry["subject"]["gate"] == "source" && is_of(entry, &second))?;
    story.then("it is applied.");

    // A name that nobody signed, and a tag that goes back.
    stage.repo.git(&["tag", "--force", "live", &second])?;
    stage.push_tag("live")?;
    stage.held(Owner::Source, &second, "W301")?;
    story.done("somebody moves live without a signature");
    story.status(&stage, Owner::Source)?;
    tag(&mut stage, &security, &first)?;
    stage.held(Owner::Source, &first, "W401")?;
    story.done("sena tags the first commit again");
    story.status(&stage, Owner::Source)?;
    story.then("what runs stays, and is healed.");
    story.end(&stage)?;
    stage.scales_back()?;
    tag(&mut stage, &security, &second)?;
    stage.wait("nothing is held", |view| {
        let source = view.source()?;
        ensure!(source["status"]["heldRevision"].is_null(), "{}", source["status"]);
        Ok(())
    })?;
    // It is judged again after a restart.
    stage.stop()?;
    stage.start()?;
    stage.applied(&second)?;
    stage.wait("the tag is told", |view| {
        let source = view.source()?;
        let told = told(&source);
        ensure!(told.contains("released by tag live by sena"), "{told}");
        Ok(())
    })?;
    stage.audit_verifies()
}
