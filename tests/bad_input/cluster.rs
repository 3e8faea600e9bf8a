//! What the API server, or somebody who changes objects in it, may keep writ from doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{ControlPlane, Profile};

use super::{in_ready, unharmed};
use crate::stage::{Owner, Proxy, SYNC, Setup, Stage, Story, Test, any_kind, config_map};

/// A stage with one ConfigMap more, which a signed commit removes.
fn without_extra(stage: &mut Stage<'_>) -> Result<String> {
    stage.repo.remove("apps/extra.yaml")?;
    let commit = stage.commit("without extra")?;
    stage.names.call_commit(&commit, "commit without extra");
    Ok(commit)
}

/// The object that is to go changes all the time: what was judged is never what is there.
#[test]
fn object_that_changes_while_it_is_pruned() -> Test {
    let proxy = Proxy::start(ControlPlane::shared(Profile::Api)?.server())?;
    let setup = Setup::shared()?.api_server(&proxy.url()).file("apps/extra.yaml", config_map("extra", "v"));
    let mut stage = setup.start()?;
    let mut story = Story::begin(&stage, "changed-since-observed", "An object that changes while it is to be deleted")?;
    story.done("somebody annotates ConfigMap extra over and over; a signed commit removes apps/extra.yaml; git push");
    // The answers come later than the next change.
    proxy.delay(Duration::from_millis(300));
    let (tenant, over) = (stage.tenant.clone(), AtomicBool::new(false));
    let commit = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let value = format!("number={number}");
                // It may be gone already; then the story has another end, and says so.
                tenant.kubectl(&["annotate", "--overwrite", "configmap", "extra", &value]).ok();
            }
        });
        let told = without_extra(&mut stage)
            .and_then(|commit| in_ready(&mut stage, &mut story, "A104", "ChangedSinceObserved").map(|()| commit));
        over.store(true, Ordering::Relaxed);
        told
    })?;
    proxy.delay(Duration::ZERO);
    stage.view.config_map("extra")?;
    story.then("ConfigMap extra is still there.");
    story.done("nobody changes it any more");
    stage.applied(&commit)?;
    ensure!(stage.view.is_absent("api/v1/configmaps", "extra")?);
    story.then("it is judged again, and deleted.");
    story.end(&stage)
}

/// What does not carry our label any more is not deleted, whatever Git says.
#[test]
fn object_that_is_not_ours_any_more() -> Test {
    let mut stage = Setup::shared()?.drift("Flag").file("apps/extra.yaml", config_map("extra", "v")).start()?;
    let mut story = Story::begin(&stage, "not-ours", "An object to be deleted that is not ours any more")?;
    story.done("drift.mode is Flag; somebody takes the label of the Sync from ConfigMap extra; a signed commit removes apps/extra.yaml; git push");
    stage.tenant.kubectl(&["label", "configmap", "extra", "applyset.kubernetes.io/part-of-"])?;
    stage.wait("the label is missed", |view| {
        let status = &view.sync(SYNC)?["status"];
        ensure!(status["drifted"] == 1, "{status}");
        Ok(())
    })?;
    let commit = without_extra(&mut stage)?;
    in_ready(&mut stage, &mut story, "A108", "NotOurs")?;
    stage.view.config_map("extra")?;
    story.then("ConfigMap extra is still there.");
    story.done("kubectl delete configmap extra, as the fix says");
    stage.tenant.kubectl(&["delete", "configmap", "extra"])?;
    stage.applied(&commit)?;
    story.then("the commit is applied.");
    story.end(&stage)
}

/// Registers an admission webhook at an address where nobody listens, and waits until the API server refuses every change of a
/// ConfigMap for it.
fn register_webhook(stage: &mut Stage<'_>) -> Test {
    let namespace = stage.view.namespace.clone();
    let webhook = serde_json::json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "gone.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}],
        }],
    });
    stage.tenant.apply(&webhook.to_string())?;
    stage.wait("the webhook is in force", |view| {
        let annotate = ["-n", &view.namespace, "annotate", "configmap", "settings", "probe=x", "--dry-run=server"];
        ensure!(view.plane.kubectl(&annotate).is_err(), "it is not");
        Ok(())
    })
}

/// Without it again.
fn remove_webhook(stage: &Stage<'_>) -> Test {
    stage.tenant.kubectl(&["delete", "validatingwebhookconfiguration", &stage.view.namespace]).map(drop)
}

#[test]
fn webhook_that_is_down() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "webhook-down", "An admission webhook that does not answer")?;
    story.done("somebody registers a webhook for ConfigMaps, at an address where nobody listens; sam pushes a signed change of apps/settings.yaml");
    register_webhook(&mut stage)?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "commit");
    in_ready(&mut stage, &mut story, "A106", "Unavailable")?;
    stage.scales_back()?;
    story.then("a hand edit of Deployment web, which the webhook is not about, is reverted all the while.");
    story.done("the webhook is removed");
    remove_webhook(&stage)?;
    stage.applied(&commit)?;
    story.then("the commit is applied by itself.");
    story.end(&stage)
}

/// A roll-out that may take a second on a server that refuses longer than that.
#[test]
fn roll_out_whose_time_runs_out() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "time-ran-out", "A roll-out whose time runs out")?;
    story.done("spec.timeout of the Sync is 1s (the TrustRoot says orders: Cluster); an admission webhook does not answer for longer than that; sam pushes a signed change of apps/settings.yaml");
    let root = format!("trustroot/{}", stage.view.namespace);
    let timeout = |stage: &Stage<'_>, timeout: &str| {
        let patch = format!(r#"{{"spec":{{"timeout":"{timeout}"}}}}"#);
        stage.tenant.kubectl(&["patch", "sync", SYNC, "--type=merge", "-p", &patch]).map(drop)
    };
    stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", r#"{"spec":{"orders":"Cluster"}}"#])?;
    timeout(&stage, "1s")?;
    register_webhook(&mut stage)?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "commit");
    in_ready(&mut stage, &mut story, "A110", "RolloutTimeout")?;
    story.done("spec.timeout becomes 1m, as the fix says, and the webhook is removed");
    timeout(&stage, "1m")?;
    remove_webhook(&stage)?;
    stage.applied(&commit)?;
    story.then("the commit is applied.");
    story.end(&stage)
}

#[test]
fn namespace_that_is_being_deleted() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    let mut story = Story::begin(&stage, "namespace-terminating", "A Namespace that is being deleted")?;
    let other = format!("{}-other", stage.view.namespace);
    stage.names.call(&other, "other namespace");
    story.done("a Namespace is being deleted, and something in it has a finalizer; a signed commit declares a ConfigMap there; git push");
    let plane = stage.tenant.control_plane();
    let keeps = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: keeps\n  finalizers: [example.com/keep]\n";
    plane.kubectl(&["create", "namespace", &other])?;
    plane.apply(&keeps.replace("  name: keeps\n", &format!("  name: keeps\n  namespace: {other}\n")))?;
    plane.kubectl(&["delete", "namespace", &other, "--wait=false"])?;
    let text = config_map("there", "v").replace("  name: there\n", &format!("  name: there\n  namespace: {other}\n"));
    let commit = stage.change("apps/there.yaml", &text)?;
    stage.names.call_commit(&commit, "commit");
    let outcome = in_ready(&mut stage, &mut story, "A109", "DefinitionNotReady");
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["-n", &other, "patch", "configmap", "keeps", "--type=merge", "-p", patch])?;
    outcome?;
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

/// writ's own ServiceAccount loses a right that it needs to see drift.
#[test]
fn watch_that_is_forbidden() -> Test {
    let plane = ControlPlane::start(Profile::Api)?;
    let mut stage = Setup::on(&plane).start()?;
    let mut story = Story::begin(&stage, "watch-forbidden", "A kind that writ may not watch")?;
    story.done("writ is stopped; ClusterRole writ-observe no longer allows to list and watch apps/*; writ is started");
    stage.stop()?;
    let rules = |groups: &[&str]| {
        let rules =
            serde_json::json!({"rules": [{"apiGroups": groups, "resources": ["*"], "verbs": ["list", "watch"]}]});
        plane.kubectl(&["patch", "clusterrole", "writ-observe", "--type=merge", "-p", &rules.to_string()]).map(drop)
    };
    rules(&["", "writ.dev", "coordination.k8s.io"])?;
    stage.start()?;
    stage.running()?.wait_for_log("A113", crate::stage::WITHIN)?;
    story.log(&stage, "A113")?;
    story.events(&stage, Owner::Sync, "WatchFailing")?;
    stage.heals()?;
    story.then("a hand edit of ConfigMap settings, which it may watch, is reverted.");
    story.done("the ClusterRole is as in deploy/ again; kubectl scale deployment web --replicas=7");
    rules(&["*"])?;
    stage.scales_back()?;
    story.then("the edit is reverted.");
    story.end(&stage)
}
