//! What the Git server may do to us. The accepted state is healed all the while.

use std::io::Read;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testkit::{Fault, Push};

use super::{Lent, unharmed};
use crate::stage::{Owner, Setup, Stage, Story, Test, View, config_map};

#[test]
fn git_server_down() -> Test {
    faulty("git-server-down", "The Git server is down", "W601", Fault::Down)
}

#[test]
fn git_server_stalled() -> Test {
    faulty("git-server-stalled", "The Git server takes the request and never answers", "W607", Fault::Stall)
}

#[test]
fn git_server_with_the_wrong_password() -> Test {
    faulty("git-server-wrong-password", "The Git server refuses the password", "W606", Fault::Unauthorized)
}

/// A Secret whose CA is no certificate: nothing is asked of a server that nobody could tell from another.
#[test]
fn secret_without_a_certificate() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "git-server-no-certificate", "A CA that is no certificate")?;
    story.done("somebody writes \"junk\" into ca.crt of Secret git; writ polls");
    let authority = stage.git.authority().to_owned();
    certificate(&stage, "junk")?;
    stage.poke()?;
    let outcome = no_verdict(&mut stage, &mut story, "W609");
    certificate(&stage, &authority)?;
    outcome?;
    stage.restore()?;
    story.then("the certificate is there again: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

/// A key that writ does not know: read without it, the Secret would mean something else than who wrote it thinks.
#[test]
fn secret_with_an_unknown_key() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "secret-unknown-key", "A key of the Secret that is not known")?;
    story.done("somebody adds token to Secret git; writ polls");
    patch_secret(&stage, &json!({ "data": { "token": "anVuaw==" } }))?;
    stage.poke()?;
    let outcome = no_verdict(&mut stage, &mut story, "A141");
    patch_secret(&stage, &json!({ "data": { "token": null } }))?;
    outcome?;
    stage.restore()?;
    story.then("the key is removed: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

fn certificate(stage: &Stage<'_>, text: &str) -> Test {
    patch_secret(stage, &json!({ "stringData": { "ca.crt": text } }))
}

fn patch_secret(stage: &Stage<'_>, patch: &Value) -> Test {
    stage.tenant.kubectl(&["patch", "secret", "git", "--type=merge", "-p", &patch.to_string()]).map(drop)
}

/// No verdict is no refusal: the revision stays, its age is told, and the next answer ends it.
pub(crate) fn faulty(name: &'static str, title: &str, code: &str, fault: Fault) -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, name, title)?;
    story.done(&format!("{title}; writ polls"));
    stage.git.set_fault(Some(fault))?;
    stage.poke()?;
    let outcome = no_verdict(&mut stage, &mut story, code);
    stage.git.set_fault(None)?;
    outcome?;
    stage.restore()?;
    story.then("the server answers again: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

/// Status, event and log tell `code` and its fix; nothing is held, and what was accepted is healed.
pub(crate) fn no_verdict(stage: &mut Stage<'_>, story: &mut Story, code: &str) -> Test {
    let reason = stage.wait(&format!("the GitSource tells {code}"), |view| {
        let source = view.source()?;
        let (ready, reason, message) = View::condition(&source, "Ready");
        let told = message.contains(code) && message.contains("Fix: ");
        ensure!(ready == "False" && told, "Ready={ready} {reason}: {message}");
        ensure!(source["status"]["heldRevision"].is_null(), "a revision is held: {}", source["status"]);
        Ok(reason.to_owned())
    })?;
    story.status(stage, Owner::Source)?;
    story.events(stage, Owner::Source, &reason)?;
    story.log(stage, code)?;
    unharmed(stage, story)
}

/// Nobody has to sign for this: whoever may push can do it, and 65 kB are sent.
#[test]
fn commit_larger_than_the_limit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "commit-too-large", "A commit that is larger than one may be")?;
    story.done("an unsigned commit with a message of 64 MiB of the same letter; git push");
    let (tree, parent) = (stage.repo.rev_parse("HEAD^{tree}")?, stage.repo.rev_parse("HEAD")?);
    let who = "a <a@example.com> 1767225600 +0000";
    let headers = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n");
    let commit = [headers.into_bytes(), vec![b'a'; MESSAGE_BYTES]].concat();
    let commit = stage.repo.write_object("commit", &commit)?;
    stage.repo.reset(&commit)?;
    stage.names.call_commit(&commit, "large commit");
    too_large(&mut stage, &mut story)?;
    stage.restore()?;
    story.then("the branch goes back to the first commit: nothing is held.");
    story.end(&stage)
}

#[test]
fn repository_larger_than_the_limit_of_bytes() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "repository-too-large", "More than one fetch may bring")?;
    story.done("a signed commit changes apps/settings.yaml and adds 270 MiB of images; git push");
    // Kept and sent as they are: no time goes into packing what cannot be packed.
    for repository in [stage.repo.path(), stage.server_repository()] {
        for setting in [["core.compression", "0"], ["pack.compression", "0"], ["core.bigFileThreshold", "1m"]] {
            let repository = repository.to_string_lossy();
            stage.repo.git(&["-C", &repository, "config", setting[0], setting[1]])?;
        }
    }
    let mut image = vec![0_u8; IMAGE_BYTES];
    std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut image)).context("no bytes")?;
    for number in 0..IMAGES {
        image[0] = number;
        stage.repo.write(&format!("images/{number}.img"), &image)?;
    }
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    stage.repo.commit_signed(&stage.people.sre, "images")?;
    too_large(&mut stage, &mut story)?;
    // The way out that a person has: the branch without the images.
    stage.restore()?;
    story.then("the branch goes back to the first commit: nothing is held.");
    story.end(&stage)
}

/// Pushes, and waits until the GitSource tells that the fetch was given up.
pub(crate) fn too_large(stage: &mut Stage<'_>, story: &mut Story) -> Test {
    stage.push(Push::FastForward)?;
    no_verdict(stage, story, "W603")
}

/// More than the 32 MiB that one object may have which arrives as a difference to another.
pub(crate) const DISK_BYTES: usize = 40 << 20;
/// More than the 1 MiB that a commit may have.
const MESSAGE_BYTES: usize = 64 << 20;
/// Less than that, and together more than the 256 MiB that one fetch may bring.
const IMAGE_BYTES: usize = 30 << 20;
const IMAGES: u8 = 9;
