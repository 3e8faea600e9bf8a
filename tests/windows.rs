//! When revisions may advance: what windows hold, what they do not, and when it goes on.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bad_input::{in_ready, unharmed};
use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, View, config_map, writ_ok};

/// From now on whoever may edit the Sync is obeyed: what is signed is not the point here.
fn obeys_the_cluster(stage: &Stage<'_>) -> Test {
    let root = &stage.view.namespace;
    let patch = r#"{"spec": {"orders": "Cluster"}}"#;
    stage.view.plane.kubectl(&["patch", "trustroot", root, "--type=merge", "-p", patch]).map(drop)
}

fn set_windows(stage: &Stage<'_>, windows: &Value) -> Test {
    let patch = json!({"spec": {"advance": {"windows": windows}}}).to_string();
    stage.tenant.kubectl(&["patch", "sync", SYNC, "--type=merge", "-p", &patch]).map(drop)
}

/// Sets windows and waits until they are in force; nothing is rolled out by that.
fn frozen_by(stage: &mut Stage<'_>, windows: &Value) -> Test {
    obeys_the_cluster(stage)?;
    set_windows(stage, windows)?;
    let good = stage.good().to_owned();
    stage.wait("the windows are in force", |view| {
        let sync = view.sync(SYNC)?;
        ensure!(sync["status"]["observedGeneration"] == sync["metadata"]["generation"], "{}", sync["status"]);
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "True" && reason == "Applied", "Ready={ready} {reason}: {message}");
        ensure!(sync["status"]["appliedRevision"] == good.as_str(), "{}", sync["status"]);
        Ok(())
    })
}

/// Once in four years.
fn leap_day() -> Value {
    json!([{"kind": "Allow", "schedule": "0 3 29 feb *", "duration": "2h", "timeZone": "Europe/Berlin"}])
}

/// A window that began in the minute before this one, and ends in so many seconds.
fn deny_for(seconds: i64) -> Result<(Value, Timestamp)> {
    let now = Timestamp::now().as_second();
    let begin = (now / 60 - 1) * 60;
    let schedule = Timestamp::from_second(begin)?.strftime("%-M %-H * * *").to_string();
    let (end, duration) = (now + seconds, now + seconds - begin);
    let window = json!({"kind": "Deny", "schedule": schedule, "duration": format!("{duration}s")});
    Ok((json!([window]), Timestamp::from_second(end)?))
}

/// Waits until the windows hold a commit: a matter of time, which nobody has to look after.
fn held(stage: &mut Stage<'_>, commit: &str) -> Test {
    let sync = stage.held(Owner::Sync, commit, "A149")?;
    for (kind, wanted) in [("Ready", "False"), ("Reconciling", "True"), ("Stalled", "False")] {
        let (status, reason, message) = View::condition(&sync, kind);
        ensure!(status == wanted, "{kind}={status} {reason}: {message}");
    }
    Ok(())
}

/// What the log says of holds and releases of the Sync by windows.
fn logged(stage: &Stage<'_>, kind: &str) -> Result<usize> {
    let owner = format!("Sync {}/{SYNC}", stage.view.namespace);
    let entries = stage.entries(&["--kind", kind])?;
    let of_sync = entries.iter().filter(|entry| entry["subject"]["owner"] == owner.as_str());
    Ok(of_sync.filter(|entry| kind != "hold" || entry["codes"][0] == "A149").count())
}

#[test]
fn a_freeze_holds_roll_outs_and_never_healing() -> Test {
    let mut stage = Setup::shared()?.start()?;
    frozen_by(&mut stage, &leap_day())?;
    let mut story = Story::begin(&stage, "held-by-window", "A freeze: roll-outs wait, and healing does not")?;
    story.done(
        "spec.advance.windows of the Sync allows two hours on 29 February; a good commit changes ConfigMap settings and brings ConfigMap extra",
    );
    stage.repo.write("apps/extra.yaml", config_map("extra", "new"))?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "good commit");
    held(&mut stage, &commit)?;
    story.status(&stage, Owner::Sync)?;
    story.events(&stage, Owner::Sync, "OutsideWindow")?;
    story.log(&stage, "A149")?;
    story.audit(&stage, "A149")?;
    let sync = [("kind", "Sync"), ("namespace", stage.view.namespace.as_str())];
    ensure!(stage.metrics()?.sum("writ_held", &sync) == Some(1.0));

    story.done("kubectl patch configmap settings, kubectl scale deployment web --replicas=7, kubectl delete configmap settings");
    stage.heals()?;
    stage.scales_back()?;
    stage.tenant.kubectl(&["delete", "configmap", "settings"])?;
    stage.wait("the ConfigMap is back", |view| view.config_map("settings").map(drop))?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "the commit was rolled out");
    ensure!(stage.view.is_absent("api/v1/configmaps", "extra")?, "the commit was rolled out");
    story.then("all of it is reverted, to what was accepted before; nothing of the commit is in the cluster.");

    // A start knows what is held, and says nothing twice.
    stage.kill()?;
    stage.start()?;
    stage.poke()?;
    held(&mut stage, &commit)?;
    stage.scales_back()?;
    ensure!((logged(&stage, "hold")?, logged(&stage, "release")?) == (1, 0), "{:?}", stage.entries(&[])?);

    story.done("spec.advance.windows is removed");
    set_windows(&stage, &Value::Null)?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("extra")?["data"]["value"] == "new");
    stage.entries_once(&["--kind", "release"], 1)?;
    story.then("the commit is rolled out.");
    story.end(&stage)?;
    stage.audit_verifies()
}

#[test]
fn what_a_window_held_goes_through_without_a_push() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let (windows, end) = deny_for(45)?;
    frozen_by(&mut stage, &windows)?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    held(&mut stage, &commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good");
    stage.applied(&commit)?;
    let advances = stage.entries(&["--kind", "advance"])?;
    let mut of_sync = advances.iter().filter(|entry| entry["subject"]["gate"] == "sync");
    let advance = of_sync.rfind(|entry| entry["subject"]["commit"] == commit.as_str()).context("no advance")?;
    let at: Timestamp = advance["time"].as_str().context("no time")?.parse()?;
    let waited = at.duration_since(end);
    let minute = jiff::SignedDuration::from_secs(60);
    ensure!(!waited.is_negative() && waited < minute, "the window ended at {end}, the roll-out began at {at}");
    Ok(())
}

/// Whoever signs an order to go back needs no window for it; and what went back stays there until what is held may advance.
#[test]
fn a_signed_order_to_go_back_is_not_held() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let first = stage.good().to_owned();
    stage.roll_out("apps/settings.yaml", &config_map("settings", "broken"))?;
    frozen_by(&mut stage, &leap_day())?;
    let sync = format!("{}/{SYNC}", stage.view.namespace);
    let (repo, key) = (stage.repo.path(), stage.people.sre.private_file().to_owned());
    let (repo, key) = (repo.to_string_lossy(), key.to_string_lossy());
    let order = writ_ok(&["rollback", &sync, "--to", &first, "--reason", "errors", "--repo", &repo, "--key", &key])?;
    stage.tenant.apply(&order)?;
    stage.wait("the Sync is rolled back", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!((ready, reason) == ("True", "RolledBack"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "mended"))?;
    held(&mut stage, &commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good");
    stage.heals()
}

#[test]
fn an_impossible_window_is_refused_by_name() -> Test {
    let mut stage = Setup::shared()?.start()?;
    obeys_the_cluster(&stage)?;
    let mut story = Story::begin(&stage, "invalid-window", "Windows that nobody can read")?;
    story.done("spec.advance.windows of the Sync begins on 30 February, for ten seconds, on the moon; a good commit changes ConfigMap settings");
    let window = json!({"kind": "Deny", "schedule": "0 0 30 feb *", "duration": "10s", "timeZone": "Moon/Tycho"});
    set_windows(&stage, &json!([window]))?;
    in_ready(&mut stage, &mut story, "A146", "InvalidWindow")?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.held(Owner::Sync, &commit, "A146")?;
    unharmed(&mut stage, &mut story)?;
    story.done("spec.advance.windows allows 80 seconds in every minute, in Berlin");
    let window = json!({"kind": "Allow", "schedule": "* * * * *", "duration": "80s", "timeZone": "Europe/Berlin"});
    set_windows(&stage, &json!([window]))?;
    stage.applied(&commit)?;
    story.then("the commit is rolled out.");
    story.end(&stage)
}
