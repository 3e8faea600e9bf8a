//! Who signed, and whether they may.

use anyhow::{Context, Result, ensure};
use testkit::{Push, Signing};

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Stage, Story, Test, config_map};

/// The commit that every mutant is made of: good in itself, on no branch of the server that writ reads.
fn good_child(stage: &Stage<'_>) -> Result<Vec<u8>> {
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, "pay 10")?;
    stage.push_aside("main", "aside")?;
    stage.repo.read_object("commit", &commit)
}

#[test]
fn unsigned_commit() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "unsigned-commit", "An unsigned commit")?;
    story.done("git commit (without -S): apps/settings.yaml is changed; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_unsigned("change settings")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W301", Offline::Told)?;

    // The fix that is printed works when pasted.
    let source = stage.view.source()?;
    let fix = source.pointer("/status/heldRevision/fix").and_then(serde_json::Value::as_str).context("no fix")?;
    let key = stage.people.sre.private_file().to_string_lossy().into_owned();
    stage.repo.git(&["config", "user.signingkey", &key])?;
    stage.repo.git(&["config", "user.name", "sam"])?;
    stage.repo.git(&["config", "user.email", "sam@example.com"])?;
    let shell = stage.repo.path();
    testkit::run(testkit::hermetic_command("/bin/sh", &shell).current_dir(&shell).args(["-c", fix]))?;
    let fixed = stage.repo.head()?;
    ensure!(fixed != commit, "the fix changed nothing");
    let verified = stage.verify(&fixed, &[])?;
    ensure!(verified.code == Some(0), "{}{}", verified.stdout, verified.stderr);
    Ok(())
}

#[test]
fn unknown_key() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "unknown-key", "A commit signed by a key that nobody knows")?;
    story.done("mallory, whom the trust file does not name, signs a change of apps/settings.yaml; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.stranger, "change settings")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W202", Offline::Told)
}

#[test]
fn signature_over_other_bytes() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "signature-over-other-bytes", "A signature taken from another commit")?;
    story
        .done("the message of a signed commit is changed from \"pay 10\" to \"pay 99\"; its signature stays; git push");
    let raw = String::from_utf8(good_child(&stage)?).context("a commit is not UTF-8")?;
    let commit = stage.repo.write_object("commit", raw.replace("pay 10", "pay 99").as_bytes())?;
    stage.force_head(&commit)?;
    refused(&mut stage, story, Owner::Source, &commit, "W201", Offline::Told)
}

#[test]
fn signer_outside_the_paths_rule() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "signer-outside-the-rule", "A signer who may not change this path")?;
    story.done("sena, who signs policies, signs a change of apps/settings.yaml; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.security, "change settings")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W302", Offline::Told)
}

#[test]
fn policy_and_workload_changed_in_one_commit() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "policy-and-workload", "A policy and a workload in one commit")?;
    story.done("one commit changes policies/limits.yaml and apps/settings.yaml; sena signs it; git push");
    stage.repo.write("policies/limits.yaml", super::content::policy("limits", "object.data.value != 'never'"))?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.security, "policy and workload")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W308", Offline::Told)
}

/// `history.ancestry` decides about unsigned commits that are merged: with `firstParent` the merge answers for them.
#[test]
fn unsigned_side_branch_with_first_parent() -> Test {
    let mut stage = crate::stage::Setup::shared()?
        .trust(|people, id| crate::stage::team(people, id).ancestry("firstParent"))
        .start()?;
    let commit = merge_unsigned(&mut stage)?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("side")?["data"]["value"] == "from aside");
    Ok(())
}

/// With `allSigned` every commit that a merge brings must be signed.
#[test]
fn unsigned_side_branch_with_all_signed() -> Test {
    let mut stage = crate::stage::Setup::shared()?
        .trust(|people, id| crate::stage::team(people, id).ancestry("allSigned"))
        .start()?;
    let mut story = Story::begin(&stage, "unsigned-side-branch", "An unsigned commit on a side branch that is merged")?;
    story.done("history.ancestry is allSigned; an unsigned commit on a branch is merged by a merge commit that sam signs; git push");
    let commit = merge_unsigned(&mut stage)?;
    let side = stage.repo.rev_parse("aside")?;
    stage.names.call_commit(&side, "commit on the side branch");
    let code = "W301";
    refused(&mut stage, story, Owner::Source, &commit, code, Offline::Told)?;
    ensure!(stage.view.is_absent("api/v1/configmaps", "side")?);
    Ok(())
}

fn merge_unsigned(stage: &mut Stage<'_>) -> Result<String> {
    stage.repo.branch("aside")?;
    stage.repo.write("apps/side.yaml", config_map("side", "from aside"))?;
    stage.repo.commit_unsigned("on the side")?;
    stage.repo.switch("main")?;
    let commit = stage.repo.merge("aside", testkit::Merge::NoFastForward, Signing::By(&stage.people.sre))?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}
