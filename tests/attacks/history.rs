//! Attacks 1 to 8: histories that go back, come from elsewhere, or bring their own permission.

use anyhow::{Context, Result, bail, ensure};
use testkit::{PrincipalKind, Push, Signing};

use super::{Arena, Told, head, push_trust_file, refusal};
use crate::bad_input::git_server::no_verdict;
use crate::bad_input::{Lent, Offline, refused, unharmed};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map, team};

/// An older head that was good once, also to a writ that has just started with an empty mirror.
#[test]
fn attack_01_rollback() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let older = stage.roll_out("apps/settings.yaml", &config_map("settings", "older"))?;
    stage.names.call_commit(&older, "older commit");
    let newer = stage.roll_out("apps/settings.yaml", &config_map("settings", "good"))?;
    stage.names.call_commit(&newer, "accepted commit");
    let mut story = Story::begin(&stage, "force-push-to-older", "A force-push to an older commit that was good once")?;
    story.done("git push --force <older commit>:main, a commit that was accepted before the present one");
    stage.repo.reset(&older)?;
    stage.push(Push::Force)?;
    refused(&mut stage, story, Owner::Source, &older, "W401", Offline::Told)?;
    stage.stop()?;
    stage.start()?;
    stage.heals()?;
    stage.held(Owner::Source, &older, "W401")?;
    // What was accepted is in no repository any more: the log knows of it all the same, and nothing goes back. It is healed
    // by what is kept of it.
    kept(&mut stage, &newer)?;
    stage.stop()?;
    std::fs::remove_dir_all(stage.state().join("mirror")).context("cannot remove the mirrors")?;
    for _ in 0..2 {
        stage.start()?;
        stage.held(Owner::Source, &newer, "W403")?;
        ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it went back");
        stage.heals()?;
        stage.stop()?;
    }
    stage.start()?;
    stage.restore()?;
    stage.heals()
}

/// What was accepted is kept apart from the mirror.
fn kept(stage: &mut Stage<'_>, commit: &str) -> Test {
    let archives = stage.state().join("accepted");
    stage.wait("what was accepted is kept apart from the mirror", |_| {
        for archive in std::fs::read_dir(&archives)? {
            let objects = std::fs::read(archive?.path().join("objects"))?;
            if String::from_utf8_lossy(&objects).contains(&format!("commit {commit} ")) {
                return Ok(());
            }
        }
        bail!("it is not there yet")
    })
}

/// What was signed for another branch, or for another repository, is not an order for this one.
#[test]
fn attack_02_teleport() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let id = format!("urn:writ:{}", stage.view.namespace);
    let file = team(&stage.people, &id).history("{refBinding: trailer}").version(2);
    let commit = push_trust_file(&mut stage, &file)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    let mut story = Story::begin(&stage, "teleport", "A signed commit of another branch")?;
    story.done("history.refBinding is trailer; sam's signed heads of other places are pushed to main");
    for (name, message) in [
        ("of no branch", "change settings\n".to_owned()),
        ("of the branch feature", format!("change settings\n\nWrit-Ref: {id} refs/heads/feature\n")),
        ("of a fork", "change settings\n\nWrit-Ref: urn:writ:fork refs/heads/main\n".to_owned()),
    ] {
        let commit = teleported(&mut stage, &message)?;
        head(&mut stage, &mut story, name, &commit, "W404")?;
    }
    unharmed(&mut stage, &mut story)?;
    story.done("sam signs the same for this branch; git push");
    let good = stage.good().to_owned();
    stage.repo.reset(&good)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "newer"))?;
    let message = format!("change settings\n\nWrit-Ref: {id} refs/heads/main\n");
    let commit = stage.repo.commit_signed(&stage.people.sre, &message)?;
    stage.push(Push::Force)?;
    stage.applied(&commit)?;
    story.then("it is applied.");
    story.end(&stage)
}

fn teleported(stage: &mut Stage<'_>, message: &str) -> Result<String> {
    let good = stage.good().to_owned();
    stage.repo.reset(&good)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, message)?;
    stage.push(Push::Force)?;
    Ok(commit)
}

/// Somebody deletes the branch on the server: what was accepted from it stays.
#[test]
fn attack_03_deletion() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "git-server-without-the-branch", "The branch is gone from the Git server")?;
    story.done("git push --delete origin main");
    let server = stage.server_repository();
    stage.repo.git(&["-C", &server.to_string_lossy(), "update-ref", "-d", "refs/heads/main"])?;
    stage.poke()?;
    no_verdict(&mut stage, &mut story, "W608")?;
    stage.restore()?;
    story.then("the branch is pushed again: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

#[test]
fn attack_04_foxtrot() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "not-first-parent",
        title: "A merge that puts another branch in the place of main",
        done: "sam merges main into a branch of his own instead of the other way round, and pushes that as main",
        code: "W402",
    };
    refusal(&mut stage, &told, |stage| {
        let good = stage.good().to_owned();
        let introduction = stage.repo.rev_parse(&format!("{good}~1"))?;
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        let tree = stage.repo.commit_signed(&stage.people.sre, "change settings")?;
        let tree = stage.repo.rev_parse(&format!("{tree}^{{tree}}"))?;
        let parents = [introduction.as_str(), good.as_str()];
        let commit = stage.repo.commit_tree(&tree, &parents, Signing::By(&stage.people.sre), "merge main")?;
        stage.repo.set_main(&commit)?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

/// Main stays where it belongs, and the merge keeps the side's older tree over it: what others made is gone.
#[test]
fn attack_04_merge_that_discards_the_mainline() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let before = stage.good().to_owned();
    stage.repo.write("policies/values.yaml", crate::bad_input::content::policy("values", "true"))?;
    let policy = stage.repo.commit_signed(&stage.people.security, "a policy")?;
    stage.push(Push::FastForward)?;
    stage.applied(&policy)?;
    stage.names.call_commit(&policy, "policy commit");
    let told = Told {
        name: "merge-discards-the-mainline",
        title: "A merge that keeps nothing of what was in main",
        done: "sena's policy is accepted; sam merges a branch from before it into main with the tree of that branch, where the policy is not; git push",
        code: "W302",
    };
    refusal(&mut stage, &told, |stage| {
        stage.repo.git(&["checkout", "--quiet", "-B", "side", &before])?;
        let side = stage.repo.commit_signed(&stage.people.sre, "on the side")?;
        stage.names.call_commit(&side, "commit on the side");
        let tree = stage.repo.rev_parse(&format!("{side}^{{tree}}"))?;
        let parents = [policy.as_str(), side.as_str()];
        let commit = stage.repo.commit_tree(&tree, &parents, Signing::By(&stage.people.sre), "merge side")?;
        stage.repo.set_main(&commit)?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

/// A merge that looks harmless, and brings a file that neither side had.
#[test]
fn attack_05_evil_merge() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "evil-merge",
        title: "A merge that brings what neither side had",
        done: "sam merges a branch of his own into main; only the merge commit itself adds policies/values.yaml, which he may not write; git push",
        code: "W302",
    };
    refusal(&mut stage, &told, |stage| {
        let good = stage.good().to_owned();
        stage.repo.git(&["checkout", "--quiet", "-B", "side", &good])?;
        let side = stage.repo.commit_signed(&stage.people.sre, "on the side")?;
        stage.repo.write("policies/values.yaml", crate::bad_input::content::policy("values", "true"))?;
        let tree = stage.repo.commit_signed(&stage.people.sre, "only for its tree")?;
        let tree = stage.repo.rev_parse(&format!("{tree}^{{tree}}"))?;
        let parents = [good.as_str(), side.as_str()];
        let commit = stage.repo.commit_tree(&tree, &parents, Signing::By(&stage.people.sre), "merge side")?;
        stage.repo.set_main(&commit)?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

#[test]
fn attack_06_self_grant() -> Test {
    let mut stage = Lent::stage()?;
    let mut story =
        Story::begin(&stage, "trust-file-used-at-once", "A trust file that is changed and used in one commit")?;
    story.done("one commit names mallory in the trust file, signed by ruth as it must be, and changes apps/settings.yaml; mallory signs the commit");
    let people = &stage.people;
    let file = team(people, &format!("urn:writ:{}", stage.view.namespace))
        .version(2)
        .principal("mallory", PrincipalKind::Human, &[&people.stranger])
        .role("guests", &["mallory"])
        .rule("guests", &["apps/**"], &[("guests", 1)], &[]);
    stage.repo.write(".writ/trust.yaml", file.text())?;
    stage.repo.sign_trust_file(&stage.people.root)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.stranger, "welcome mallory")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W202", Offline::Told)
}

/// Theo leaves; from a commit at which he still counted he goes on, and a colleague merges that.
#[test]
fn attack_07_removed_signer_on_an_old_base() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let keys = testkit::Keys::new()?;
    let theo = keys.generate("theo", testkit::KeyType::Ed25519)?;
    stage.names.call(&theo.fingerprint()?, "key of theo");
    stage.names.call(theo.public(), "public key of theo");
    let team = team(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).ancestry("allSigned");
    let with_theo = team
        .clone()
        .principal("theo", PrincipalKind::Human, &[&theo])
        .role("guests", &["theo"])
        .rule("guests", &["guests/**"], &[("guests", 1), ("sre", 1)], &["namespaced"])
        .version(2);
    let without = team.rule("guests", &["guests/**"], &[("sre", 1)], &["namespaced"]).version(3);
    let base = push_trust_file(&mut stage, &with_theo)?;
    stage.applied(&base)?;
    let removed = push_trust_file(&mut stage, &without)?;
    stage.applied(&removed)?;
    stage.names.call_commit(&removed, "commit that removes theo");
    let told = Told {
        name: "removed-signer-on-an-old-base",
        title: "A signer who was removed goes on from an old commit",
        done: "theo is no longer in the trust file; he signs a commit on top of one where he still was, and sam merges it; git push",
        code: "W202",
    };
    refusal(&mut stage, &told, |stage| {
        stage.repo.git(&["checkout", "--quiet", "-B", "side", &base])?;
        stage.repo.write("guests/note.yaml", config_map("note", "theo's"))?;
        let side = stage.repo.commit_signed(&theo, "a note")?;
        stage.names.call_commit(&side, "commit of theo");
        stage.repo.switch("main")?;
        let commit = stage.repo.merge("side", testkit::Merge::NoFastForward, Signing::By(&stage.people.sre.clone()))?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })?;
    ensure!(stage.view.is_absent("api/v1/configmaps", "note")?);
    Ok(())
}

#[test]
fn attack_08_revocation_stripped() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let told = Told {
        name: "revocation-removed",
        title: "A trust file that forgets a revocation",
        done: "the new trust file no longer lists theo's revoked key as revoked; ruth signs file and commit; git push",
        code: "W505",
    };
    let forgetful = cast.file(stage).rule("trust", &[".writ/**"], &[("root", 1)], &[]).version(3);
    refusal(stage, &told, |stage| push_trust_file(stage, &forgetful))?;
    let removed = Told {
        name: "trust-file-removed",
        title: "The trust file is removed",
        done: "git rm .writ/trust.yaml; ruth signs the commit; git push",
        code: "W501",
    };
    refusal(stage, &removed, |stage| {
        stage.repo.remove(".writ/trust.yaml")?;
        let commit = stage.repo.commit_signed(&stage.people.root, "trust everybody")?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })?;
    // The file from before the revocation, which the same people signed.
    stage.restore()?;
    let before = team(&stage.people, &format!("urn:writ:{}", stage.view.namespace));
    let commit = push_trust_file(stage, &before)?;
    stage.held(Owner::Source, &commit, "W503").map(drop)
}
