//! Trust files that are not obeyed, and one that is.

use anyhow::{Result, ensure};
use testkit::{PrincipalKind, Push, TrustFile};

use super::{Lent, Offline, refused};
use crate::stage::{Owner, Setup, Stage, Story, Test, config_map, team};

/// Pushes a commit by ruth that brings `text` as the trust file, signed by her unless `signed` says otherwise.
fn push_trust_file(stage: &mut Stage<'_>, text: &str, signed: Signed) -> Result<String> {
    stage.repo.write(".writ/trust.yaml", text)?;
    if signed == Signed::ByRoot {
        stage.repo.sign_trust_file(&stage.people.root)?;
    }
    let commit = stage.repo.commit_signed(&stage.people.root, "change trust")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

/// Whether the file beside the commit is signed as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    ByRoot,
    NotAtAll,
}

fn next_version(stage: &Stage<'_>) -> TrustFile {
    team(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).version(2)
}

fn bad_file(
    name: &'static str,
    title: &str,
    done: &str,
    code: &str,
    signed: Signed,
    text: fn(TrustFile) -> String,
) -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, name, title)?;
    story.done(done);
    let text = text(next_version(&stage));
    let commit = push_trust_file(&mut stage, &text, signed)?;
    refused(&mut stage, story, Owner::Source, &commit, code, Offline::Told)
}

#[test]
fn trust_file_with_an_unknown_field() -> Test {
    let done = "the new trust file has a field `delegations`, which is not supported yet; ruth signs file and commit";
    bad_file(
        "trust-file-unknown-field",
        "A trust file with a field that writ does not know",
        done,
        "W502",
        Signed::ByRoot,
        |file| format!("{}delegations: []\n", file.text()),
    )
}

#[test]
fn trust_file_that_skips_a_version() -> Test {
    let done = "the version goes from 1 to 5; ruth signs file and commit";
    bad_file("trust-file-version-jump", "A trust file that skips versions", done, "W503", Signed::ByRoot, |file| {
        file.version(5).text()
    })
}

#[test]
fn trust_file_without_a_root_signature() -> Test {
    let done = "the version is raised and a rule added; ruth signs the commit, but not the file";
    bad_file(
        "trust-file-unsigned",
        "A trust file that no root principal signed",
        done,
        "W504",
        Signed::NotAtAll,
        |file| file.rule("more", &["more/**"], &[("sre", 1)], &[]).text(),
    )
}

#[test]
fn trust_file_of_another_branch() -> Test {
    let done = "the new trust file is for refs/heads/other; ruth signs file and commit";
    bad_file("trust-file-other-ref", "A trust file of another branch", done, "W507", Signed::ByRoot, |file| {
        file.git_ref("refs/heads/other").text()
    })
}

/// A new principal counts from the commit after the one that names them.
#[test]
fn trust_file_change_counts_from_the_next_commit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let text = next_version(&stage)
        .principal("mallory", PrincipalKind::Human, &[&stage.people.stranger])
        .role("guests", &["mallory"])
        .rule("guests", &["guests/**"], &[("guests", 1)], &["namespaced"])
        .text();
    let commit = push_trust_file(&mut stage, &text, Signed::ByRoot)?;
    stage.applied(&commit)?;
    stage.repo.write("guests/note.yaml", config_map("note", "v"))?;
    let commit = stage.repo.commit_signed(&stage.people.stranger, "a guest's note")?;
    stage.push(Push::FastForward)?;
    stage.applied(&commit)?;
    // What the trust file does not give her she still may not do.
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.stranger, "beyond")?;
    stage.push(Push::FastForward)?;
    stage.held(Owner::Source, &commit, "W302")?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good");
    Ok(())
}
