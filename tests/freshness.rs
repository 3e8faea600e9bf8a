//! A server that stands still: it is told, and nothing stops.

use anyhow::{Result, ensure};
use testkit::SigningKey;

use crate::stage::{Owner, Setup, Stage, Story, Test, View, config_map, writ};

/// What a timer does: `writ trust heartbeat` about a commit, then the printed push.
fn heartbeat(stage: &mut Stage<'_>, commit: &str, key: &SigningKey) -> Test {
    let (repo, key) = (stage.repo.path().display().to_string(), key.private_file().display().to_string());
    let finished = writ(&["trust", "heartbeat", commit, "--repo", &repo, "--key", &key])?;
    ensure!(finished.code == Some(0), "{}", finished.stderr);
    ensure!(finished.stdout == "git push --force origin refs/writ/heartbeat\n", "{}", finished.stdout);
    stage.push_heartbeat()
}

/// How old the newest heartbeat may be.
fn heartbeat_age(stage: &Stage<'_>, age: &str) -> Test {
    let patch = format!(r#"{{"spec": {{"freshness": {{"maxHeartbeatAge": "{age}"}}}}}}"#);
    let root = &stage.view.namespace;
    stage.view.plane.kubectl(&["patch", "trustroot", root, "--type=merge", "-p", &patch]).map(drop)
}

/// Waits until the source is fresh, or stale with these words.
fn fresh(stage: &mut Stage<'_>, status: &str, words: &str) -> Test {
    stage.wait(&format!("SourceFresh is {status}: {words}"), |view| {
        let source = view.source()?;
        let (found, reason, message) = View::condition(&source, "SourceFresh");
        ensure!(found == status && message.contains(words), "SourceFresh={found} {reason}: {message}");
        Ok(())
    })
}

fn stale(stage: &Stage<'_>) -> Result<Option<f64>> {
    let source = format!("{}/{}", stage.view.namespace, crate::stage::SOURCE);
    Ok(stage.metrics()?.sum("writ_source_stale", &[("source", &source)]))
}

#[test]
fn attack_03_freeze() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let sam = stage.people.sre.clone();
    // Longer than any roll-out takes; it is short only while nothing has to be fresh.
    heartbeat_age(&stage, "1h")?;
    fresh(&mut stage, "False", "there is no heartbeat")?;
    let accepted = stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&accepted, "accepted commit");
    heartbeat(&mut stage, &accepted, &sam)?;
    fresh(&mut stage, "True", "heartbeat of")?;
    ensure!(stale(&stage)? == Some(0.0));

    let mut story = Story::begin(&stage, "source-stale", "A Git server that shows no new commits")?;
    story.done(
        "the TrustRoot says freshness.maxHeartbeatAge: 30s; a timer signs a heartbeat for the head, which is accepted; then \
         somebody before the Git server shows what was there, for ever",
    );
    // Nothing is pushed: time passes.
    heartbeat_age(&stage, "30s")?;
    fresh(&mut stage, "False", "the newest heartbeat is of")?;
    story.status(&stage, Owner::Source)?;
    story.events(&stage, Owner::Source, "SourceStale")?;
    story.log(&stage, "W405")?;
    ensure!(stale(&stage)? == Some(1.0));
    stage.heals()?;
    story.then("the source is as verified as before, and a hand edit of ConfigMap settings is reverted.");

    story.done("a heartbeat for a commit comes through that the branch does not show");
    stage.repo.write("apps/settings.yaml", config_map("settings", "hidden"))?;
    let hidden = stage.repo.commit_signed(&sam, "hidden")?;
    stage.names.call_commit(&hidden, "hidden commit");
    heartbeat(&mut stage, &hidden, &sam)?;
    fresh(&mut stage, "False", "which the server does not show")?;
    story.status(&stage, Owner::Source)?;

    story.done("the server shows everything again");
    heartbeat_age(&stage, "1h")?;
    stage.push_aside("main", "main")?;
    heartbeat(&mut stage, &hidden, &sam)?;
    stage.applied(&hidden)?;
    fresh(&mut stage, "True", "heartbeat of")?;
    story.then("the commit is rolled out, and the source is fresh.");
    story.end(&stage)
}
