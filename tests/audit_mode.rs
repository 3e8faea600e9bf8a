//! A TrustRoot in mode Audit: all is judged and told, and nothing is done.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, View, config_map};

fn set_mode(stage: &Stage<'_>, mode: &str) -> Test {
    let patch = format!(r#"{{"spec": {{"mode": "{mode}"}}}}"#);
    let root = &stage.view.namespace;
    stage.view.plane.kubectl(&["patch", "trustroot", root, "--type=merge", "-p", &patch]).map(drop)
}

/// Waits until the Sync tells that it does nothing, with these words.
fn audited(stage: &mut Stage<'_>, words: &str) -> Test {
    stage.wait(&format!("nothing is done: {words}"), |view| {
        for owner in [Owner::Source, Owner::Sync] {
            let resource = owner.read(view)?;
            let (status, reason, message) = View::condition(&resource, "Enforced");
            ensure!(status == "False" && reason == "AuditMode", "{owner:?}: Enforced={status} {reason}: {message}");
        }
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains(words), "Ready={ready} {reason}: {message}");
        Ok(())
    })
}

fn in_audit_mode(stage: &Stage<'_>) -> Result<Option<f64>> {
    let source = format!("{}/{}", stage.view.namespace, crate::stage::SOURCE);
    Ok(stage.metrics()?.sum("writ_source_audit_mode", &[("source", &source)]))
}

/// What a write of ours would change.
fn versions(stage: &Stage<'_>) -> Result<[Value; 2]> {
    let version = |object: Value| object["metadata"]["resourceVersion"].clone();
    Ok([version(stage.view.config_map("settings")?), version(stage.view.deployment("web")?)])
}

#[test]
fn audit_mode_tells_all_and_does_nothing() -> Test {
    let mut stage = Setup::shared()?.start()?;
    ensure!(in_audit_mode(&stage)? == Some(0.0));
    let mut story = Story::begin(&stage, "audit-mode", "A TrustRoot in mode Audit")?;
    story.done("a platform admin sets mode: Audit");
    set_mode(&stage, "Audit")?;
    audited(&mut stage, "nothing is written")?;
    story.events(&stage, Owner::Source, "AuditMode")?;
    story.events(&stage, Owner::Sync, "AuditMode")?;
    ensure!(in_audit_mode(&stage)? == Some(1.0));

    story.done("a good commit changes ConfigMap settings and brings ConfigMap extra");
    stage.repo.write("apps/extra.yaml", config_map("extra", "new"))?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "good commit");
    audited(&mut stage, &format!("commit {commit} would apply 1 for the first time, change 1"))?;

    story.done("kubectl scale deployment web --replicas=7");
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    let before = versions(&stage)?;
    stage.wait("the drift is told", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && reason == "Edited", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    story.events(&stage, Owner::Sync, "Edited")?;
    story.audit(&stage, "A145")?;
    story.status(&stage, Owner::Source)?;
    story.status(&stage, Owner::Sync)?;

    // A start looks at everything anew.
    stage.kill()?;
    stage.start()?;
    stage.poke()?;
    audited(&mut stage, &format!("commit {commit} would apply 1 for the first time, change 1"))?;
    ensure!(versions(&stage)? == before, "something was written");
    ensure!(stage.view.deployment("web")?["spec"]["replicas"] == 7, "it was reverted");
    ensure!(stage.view.is_absent("api/v1/configmaps", "extra")?, "it was rolled out");
    ensure!(stage.entries(&["--kind", "revert"])?.is_empty());
    story.then("the seven replicas stay, and nothing of the commit is there; also after a restart.");

    story.done("a platform admin sets mode: Enforce");
    set_mode(&stage, "Enforce")?;
    stage.applied(&commit)?;
    stage.wait("the replicas are back", |view| {
        let replicas = view.deployment("web")?["spec"]["replicas"].clone();
        ensure!(replicas == 1, "replicas: {replicas}");
        Ok(())
    })?;
    ensure!(stage.view.config_map("extra")?["data"]["value"] == "new");
    ensure!(in_audit_mode(&stage)? == Some(0.0));
    story.events(&stage, Owner::Sync, "Enforced")?;
    story.then("the commit is rolled out, and the Deployment has one replica again.");
    story.end(&stage)
}

/// Nobody who can delete a TrustRoot has done by it what it said is not done.
#[test]
fn a_trust_root_that_is_deleted_keeps_its_mode_over_a_restart() -> Test {
    let mut stage = Setup::shared()?.start()?;
    set_mode(&stage, "Audit")?;
    audited(&mut stage, "nothing is written")?;
    let root = stage.view.namespace.clone();
    stage.view.plane.kubectl(&["delete", "trustroot", &root])?;
    stage.kill()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.start()?;
    stage.wait("the drift is told", |view| {
        let sync = view.sync(SYNC)?;
        for (kind, wanted) in [("Drifted", ("True", "Edited")), ("Enforced", ("False", "AuditMode"))] {
            let (status, reason, message) = View::condition(&sync, kind);
            ensure!((status, reason) == wanted, "{kind}={status} {reason}: {message}");
        }
        Ok(())
    })?;
    ensure!(stage.view.deployment("web")?["spec"]["replicas"] == 7, "it was reverted");
    ensure!(stage.entries(&["--kind", "revert"])?.is_empty());
    let alerts = stage.entries(&["--kind", "alert"])?;
    ensure!(alerts.len() == 1, "{alerts:?}");
    Ok(())
}
