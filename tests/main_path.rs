//! A signed commit reaches the cluster, and costs no more requests than it must.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use testkit::{ControlPlane, Fault, Profile, Push, RequestFilter, RequestTotals};

use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, View, any_kind, config_map, deployment};

/// The control plane of the tests that count requests, one at a time: the server counts those of all its clients.
fn counting() -> Result<(&'static ControlPlane, MutexGuard<'static, ()>)> {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let plane = PLANE.get_or_init(|| ControlPlane::start(Profile::Api).map_err(|error| format!("{error:#}")));
    Ok((plane.as_ref().map_err(|error| anyhow!("{error}"))?, turn))
}

/// Requests of the managed kinds since `before`, by verb: apply, and everything else that is no watch.
fn requests(plane: &ControlPlane, before: &RequestTotals) -> Result<Vec<(String, u64)>> {
    let now = RequestTotals::of(plane)?;
    let mut counted = Vec::new();
    for resource in ["configmaps", "deployments"] {
        for verb in ["APPLY", "PATCH", "PUT", "POST", "DELETE", "DELETECOLLECTION", "GET", "LIST"] {
            let filter = RequestFilter { verb: Some(verb), resource: Some(resource), ..RequestFilter::default() };
            let count = now.count_since(before, &filter);
            if count > 0 {
                counted.push((format!("{verb} {resource}"), count));
            }
        }
    }
    Ok(counted)
}

#[test]
fn signed_commit_is_applied() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let settings = stage.view.config_map("settings")?;
    ensure!(settings["data"]["value"] == "good");
    let labels = &settings["metadata"]["labels"];
    ensure!(labels["writ.dev/instance"] == stage.tenant.instance(), "labels: {labels}");
    let part_of = labels["applyset.kubernetes.io/part-of"].as_str().unwrap_or_default();
    ensure!(part_of.starts_with("applyset-") && part_of.ends_with("-v1"), "labels: {labels}");
    let sync = stage.view.sync(SYNC)?;
    ensure!(sync["metadata"]["labels"]["applyset.kubernetes.io/id"] == part_of, "{}", sync["metadata"]);
    let kinds = &sync["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"];
    ensure!(kinds == "ConfigMap,Deployment.apps", "contains-group-kinds: {kinds}");
    ensure!(View::condition(&sync, "Drifted").0 == "False" && sync["status"]["objects"] == 2, "{}", sync["status"]);
    let managers = settings["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    ensure!(managers.iter().all(|entry| entry["manager"] == "writ" && entry["operation"] == "Apply"), "{managers:?}");

    let root = stage.wait("the TrustRoot shows the log's checkpoint", |view| {
        let root = view.trust_root()?;
        let checkpoint = root["status"]["log"]["checkpoint"].as_str().unwrap_or_default();
        ensure!(checkpoint.starts_with("writ.dev/"), "status: {}", root["status"]);
        ensure!(root["status"]["acceptedRevision"].is_string(), "status: {}", root["status"]);
        Ok(root)
    })?;
    ensure!(root["status"]["acceptedRevision"] == stage.good());
    stage.audit_verifies()?;
    let kinds: Vec<Value> = stage.entries_once(&[], 4)?.into_iter().map(|entry| entry["kind"].clone()).collect();
    ensure!(kinds == ["boot", "advance", "advance", "outcome"], "{kinds:?}");
    ensure!(
        stage.metrics()?.sum("writ_managed_objects", &[("name", SYNC), ("namespace", &stage.view.namespace)])
            == Some(2.0)
    );
    Ok(())
}

/// Ids of SHA-256 from the server to the status, over a restart.
#[test]
fn sha256_repository_is_applied() -> Test {
    let mut stage = Setup::shared()?.ids("sha256").start()?;
    ensure!(stage.good().len() == 64 && stage.view.config_map("settings")?["data"]["value"] == "good");
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    stage.scales_back()?;
    let good = stage.good().to_owned();
    stage.repo.write("apps/settings.yaml", config_map("settings", "unsigned"))?;
    let unsigned = stage.repo.commit_unsigned("unsigned")?;
    stage.push(Push::FastForward)?;
    stage.held(Owner::Source, &unsigned, "W301")?;
    stage.stop()?;
    stage.start()?;
    stage.applied(&good)?;
    stage.audit_verifies()
}

#[test]
fn next_commit_changes_one_object_with_one_request() -> Test {
    let (plane, _turn) = counting()?;
    let mut stage = Setup::on(plane).start()?;
    let before = RequestTotals::of(plane)?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    let counted = requests(plane, &before)?;
    ensure!(counted == [("APPLY configmaps".to_owned(), 1)], "{counted:?}");
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    Ok(())
}

#[test]
fn hand_edit_is_reverted_with_one_request() -> Test {
    let (plane, _turn) = counting()?;
    let mut stage = Setup::on(plane).start()?;
    let before = RequestTotals::of(plane)?;
    stage.scales_back()?;
    // kubectl reads the Deployment and patches its scale, the wait reads it again; no other client applies.
    let counted = requests(plane, &before)?;
    let of_writ: Vec<_> = counted.into_iter().filter(|(verb, _)| !verb.starts_with("GET ")).collect();
    let applies = of_writ.iter().filter(|(verb, _)| verb.starts_with("APPLY")).map(|(_, count)| count).sum::<u64>();
    ensure!(
        applies == 1 && of_writ.iter().all(|(verb, _)| verb == "APPLY deployments" || verb == "PATCH deployments"),
        "{of_writ:?}"
    );
    Ok(())
}

#[test]
fn restart_without_news_writes_nothing() -> Test {
    let (plane, _turn) = counting()?;
    let mut stage = Setup::on(plane).start()?;
    let versions = |view: &View<'_>| -> Result<Vec<Value>> {
        Ok(vec![
            view.config_map("settings")?["metadata"]["resourceVersion"].clone(),
            view.deployment("web")?["metadata"]["resourceVersion"].clone(),
        ])
    };
    let before = versions(&stage.view)?;
    stage.stop()?;
    let totals = RequestTotals::of(plane)?;
    stage.start()?;
    let first = stage.good().to_owned();
    stage.applied(&first)?;
    stage.poke()?;
    stage.wait("the poke is answered", |view| {
        let source = view.source()?;
        ensure!(source["status"]["lastHandledReconcileAt"] == "poke-1", "{}", source["status"]);
        Ok(())
    })?;
    let counted = requests(plane, &totals)?;
    let writes: Vec<_> =
        counted.iter().filter(|(verb, _)| !verb.starts_with("GET ") && !verb.starts_with("LIST ")).collect();
    ensure!(writes.is_empty(), "{writes:?}");
    ensure!(versions(&stage.view)? == before, "an object was written");
    // It watches all the same, and one revert is all that it ever writes.
    stage.scales_back()?;
    let counted = requests(plane, &totals)?;
    let applies: Vec<_> = counted.iter().filter(|(verb, _)| verb.starts_with("APPLY")).collect();
    ensure!(applies == [&("APPLY deployments".to_owned(), 1)], "{applies:?}");
    ensure!(stage.entries(&["--kind", "advance"])?.len() == 2, "a restart is no advance");
    Ok(())
}

#[test]
fn crd_and_its_object_in_one_commit() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    let group = format!("{}.example", stage.view.namespace);
    stage.repo.write("apps/crd.yaml", definition(&group))?;
    let order = format!("apiVersion: {group}/v1\nkind: Order\nmetadata:\n  name: first\nspec:\n  item: umbrella\n");
    stage.roll_out("apps/order.yaml", &order)?;
    let resource = format!("apis/{group}/v1/orders");
    ensure!(stage.view.object(&resource, "first")?["spec"]["item"] == "umbrella");

    // The new kind is watched as well.
    stage.tenant.kubectl(&[
        "patch",
        &format!("orders.{group}"),
        "first",
        "--type=merge",
        "-p",
        r#"{"spec":{"item":"sword"}}"#,
    ])?;
    stage.wait("the order is back", |view| {
        let item = view.object(&resource, "first")?["spec"]["item"].clone();
        ensure!(item == "umbrella", "item: {item}");
        Ok(())
    })
}

/// A CustomResourceDefinition of a namespaced kind Order.
fn definition(group: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: orders.{group}\nspec:\n  \
         group: {group}\n  scope: Namespaced\n  names: {{kind: Order, plural: orders, singular: order}}\n  versions:\n    \
         - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          type: object\n\
         \x20         properties:\n            spec:\n              type: object\n              properties:\n\
         \x20               item: {{type: string}}\n"
    )
}

/// What the tenant may not do, a commit for it cannot do either.
#[test]
fn writes_are_made_with_the_tenants_rights_only() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).start()?;
    let name = format!("{}-all", stage.view.namespace);
    stage.names.call(&name, "role name");
    let mut story = Story::begin(&stage, "forbidden", "A commit asks for more than its ServiceAccount may do")?;
    story.done("a signed commit, allowed by the trust file, declares a ClusterRole; the ServiceAccount deployer is admin of its namespace only");
    let role =
        format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules: []\n");
    let commit = stage.change("apps/role.yaml", &role)?;
    stage.names.call_commit(&commit, "commit");
    stage.wait("it is told", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains("A105"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Sync)?;
    story.events(&stage, Owner::Sync, "Forbidden")?;
    story.log(&stage, "A105")?;

    story.done("the fix is pasted");
    stage.paste_fix(Owner::Sync, "Ready")?;
    stage.applied(&commit)?;
    story.then("the ClusterRole is there.");
    stage.view.get(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"))?;
    story.end(&stage)
}

/// Sources of one TrustRoot have one floor, whichever of them reached it: that is what the TrustRoot shows.
#[test]
fn two_sources_of_one_trust_root() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let (first, root) = (stage.good().to_owned(), format!("trustroot/{}", stage.view.namespace));
    stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", r#"{"spec":{"orders":"Cluster"}}"#])?;
    let source = stage.view.source()?;
    let other = serde_json::json!({
        "apiVersion": "writ.dev/v1alpha1", "kind": "GitSource", "spec": source["spec"],
        "metadata": {"name": "another", "labels": source["metadata"]["labels"]},
    });
    stage.tenant.apply(&other.to_string())?;
    let verified = |view: &View<'_>| view.object("apis/writ.dev/v1alpha1/gitsources", "another");
    stage.wait("the other source has verified the same", |view| {
        let other = verified(view)?;
        ensure!(other["status"]["verifiedRevision"] == first.as_str(), "{}", other["status"]);
        Ok(())
    })?;
    // The first by name stays behind.
    stage.tenant.kubectl(&["patch", "gitsource", "another", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#])?;
    stage.wait("it is suspended", |view| {
        let other = verified(view)?;
        ensure!(View::condition(&other, "Reconciling").1 == "Suspended", "{}", other["status"]);
        Ok(())
    })?;
    let commit = stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.wait("the TrustRoot shows it", |view| {
        let root = view.trust_root()?;
        ensure!(root["status"]["acceptedRevision"] == commit.as_str(), "{}", root["status"]);
        Ok(())
    })?;
    ensure!(verified(&stage.view)?["status"]["verifiedRevision"] == first.as_str());
    Ok(())
}

/// Many files, each of several documents, and Lists: all in one commit.
/// `status.lastHandledReconcileAt` says that what was asked for is over, not that it was seen.
#[test]
fn a_request_is_answered_when_its_judgement_is_over() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let answered = |owner: Owner, view: &View<'_>| -> Result<String> {
        let resource = owner.read(view)?;
        Ok(resource["status"]["lastHandledReconcileAt"].as_str().unwrap_or_default().to_owned())
    };
    let ask = |stage: &Stage<'_>, owner: Owner, word: &str| {
        let value = format!("reconcile.fluxcd.io/requestedAt={word}");
        stage.tenant.kubectl(&["annotate", "--overwrite", &owner.resource(), &value])
    };
    let wait = |stage: &mut Stage<'_>, owner: Owner, word: &str| {
        stage.wait(&format!("{word} is answered"), |view| {
            let now = answered(owner, view)?;
            ensure!(now == word, "answered is {now:?}");
            Ok(())
        })
    };
    stage.git.set_fault(Some(Fault::Stall))?;
    ask(&stage, Owner::Source, "during-a-stall")?;
    // Status is written meanwhile, and nothing else waits for the server.
    ask(&stage, Owner::Sync, "meanwhile")?;
    wait(&mut stage, Owner::Sync, "meanwhile")?;
    stage.heals()?;
    ensure!(answered(Owner::Source, &stage.view)? != "during-a-stall", "it was answered before the server was");
    stage.git.set_fault(None)?;
    wait(&mut stage, Owner::Source, "during-a-stall")?;

    // What is asked while writ is down is answered by its first look.
    stage.stop()?;
    for owner in [Owner::Source, Owner::Sync] {
        ask(&stage, owner, "while-down")?;
    }
    stage.start()?;
    for owner in [Owner::Source, Owner::Sync] {
        wait(&mut stage, owner, "while-down")?;
    }
    Ok(())
}

#[test]
fn forty_objects_in_one_commit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    for file in 0..10 {
        let documents: Vec<String> = (0..3).map(|number| config_map(&format!("many-{file}-{number}"), "v")).collect();
        stage.repo.write(&format!("apps/many/{file}.yaml"), documents.join("---\n"))?;
    }
    let web: Vec<String> = (0..10).map(|number| deployment(&format!("web-{number}"), 1)).collect();
    stage.roll_out("apps/webs.yaml", &web.join("---\n"))?;
    count(&stage, 42)
}

fn count(stage: &Stage<'_>, objects: u64) -> Test {
    let sync = stage.view.sync(SYNC)?;
    ensure!(sync["status"]["objects"] == objects, "{}", sync["status"]);
    Ok(())
}
