//! What the Git server may do to us. The accepted state is healed all the while.

use anyhow::ensure;
use testkit::{Fault, Push};

use super::{Lent, unharmed};
use crate::stage::{Owner, Setup, Story, Test, View, config_map};

#[test]
fn git_server_down() -> Test {
    faulty("git-server-down", "The Git server is down", "W601", Fault::Down)
}

#[test]
fn git_server_stalled() -> Test {
    faulty("git-server-stalled", "The Git server takes the request and never answers", "W607", Fault::Stall)
}

#[test]
fn git_server_redirecting() -> Test {
    faulty(
        "git-server-redirecting",
        "The Git server redirects to another address",
        "W605",
        Fault::Redirect("https://127.0.0.1:1/elsewhere.git".to_owned()),
    )
}

#[test]
fn git_server_with_the_wrong_certificate() -> Test {
    faulty(
        "git-server-wrong-certificate",
        "The Git server shows a certificate that nobody signed",
        "W602",
        Fault::WrongCertificate,
    )
}

#[test]
fn git_server_refuses_the_password() -> Test {
    faulty("git-server-wrong-password", "The Git server refuses the password", "W606", Fault::Unauthorized)
}

/// No verdict is no refusal: the revision stays, its age is told, and the next answer ends it.
fn faulty(name: &'static str, title: &str, code: &str, fault: Fault) -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, name, title)?;
    story.done(&format!("{title}; writ polls"));
    stage.git.set_fault(Some(fault))?;
    stage.poke()?;
    let outcome = stage
        .wait(&format!("the GitSource tells {code}"), |view| {
            let source = view.source()?;
            let (ready, reason, message) = View::condition(&source, "Ready");
            ensure!(ready == "False" && message.contains(code), "Ready={ready} {reason}: {message}");
            ensure!(source["status"]["heldRevision"].is_null(), "a revision is held: {}", source["status"]);
            Ok(reason.to_owned())
        })
        .and_then(|reason| {
            story.status(&stage, Owner::Source)?;
            story.events(&stage, Owner::Source, &reason)?;
            story.log(&stage, code)?;
            unharmed(&mut stage, &mut story)
        });
    stage.git.set_fault(None)?;
    outcome?;
    stage.restore()?;
    story.then("the server answers again: nothing is held, and the GitSource is ready.");
    story.end(&stage)
}

#[test]
fn repository_larger_than_the_limit() -> Test {
    // A stage of its own: what was fetched would stay in the mirror of those that come after.
    let mut stage = Setup::shared()?.start()?;
    let disk = |last: u8| [vec![0_u8; DISK_BYTES], vec![last]].concat();
    stage.repo.write("images/disk.img", disk(0))?;
    let mut story = Story::begin(&stage, "repository-too-large", "More than one fetch may bring")?;
    story.done("a signed commit changes apps/settings.yaml and one byte of a file of 40 MiB, which is sent as the difference to the old one; git push");
    stage.repo.commit_signed(&stage.people.sre, "a disk image")?;
    stage.repo.write("images/disk.img", disk(1))?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    stage.repo.commit_signed(&stage.people.sre, "another disk image")?;
    // One pack, in which the second image is a difference to the first.
    stage.repo.git(&["repack", "-a", "-d", "-f", "-q", "--depth=10", "--window=10"])?;
    stage.push(Push::FastForward)?;
    let code = "W603";
    let reason = stage.wait("the GitSource tells W603", |view| {
        let source = view.source()?;
        let (ready, reason, message) = View::condition(&source, "Ready");
        ensure!(ready == "False" && message.contains(code), "Ready={ready} {reason}: {message}");
        Ok(reason.to_owned())
    })?;
    story.status(&stage, Owner::Source)?;
    story.events(&stage, Owner::Source, &reason)?;
    story.log(&stage, code)?;
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

/// More than the 32 MiB that one object may have which arrives as a difference to another.
const DISK_BYTES: usize = 40 << 20;
