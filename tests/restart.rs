//! What happened while writ was down, or outside of what it sees: kinds that come and go, custom resources and logs that are gone.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Fault, TrustFile};

use crate::stage::{
    Owner, People, SOURCE, SYNC, Setup, Stage, Story, Test, View, WITHIN, config_map, people_and_roles,
};

/// As the usual team, but the SRE may declare any kind below `apps/`, also one whose definition is not in the repository.
fn unknown_kinds(people: &People, repo_id: &str) -> TrustFile {
    people_and_roles(people, repo_id).rule("apps", &["apps/**"], &[("sre", 1)], &[])
}

/// A kind Order of a group of the test's own, which somebody else installs.
struct Orders {
    group: String,
}

impl Orders {
    fn of(stage: &mut Stage<'_>) -> Self {
        let group = format!("{}.example", stage.view.namespace);
        stage.names.call(&group, "group");
        Self { group }
    }

    fn order(&self, name: &str) -> String {
        format!("apiVersion: {}/v1\nkind: Order\nmetadata:\n  name: {name}\nspec:\n  item: tea\n", self.group)
    }

    fn install(&self, stage: &Stage<'_>) -> Test {
        let definition = format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: orders.{0}\nspec:\n  group: {0}\n  \
             scope: Namespaced\n  names: {{kind: Order, plural: orders, singular: order}}\n  versions:\n    - name: v1\n      \
             served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          type: object\n          \
             x-kubernetes-preserve-unknown-fields: true\n",
            self.group
        );
        stage.tenant.apply(&definition)?;
        stage.view.plane.wait_for_condition("Established", &definition)
    }

    fn remove(&self, stage: &Stage<'_>) -> Test {
        stage.tenant.kubectl(&["delete", "crd", &format!("orders.{}", self.group), "--wait=true"]).map(drop)
    }

    fn is_there(&self, view: &View<'_>, name: &str) -> Test {
        let item = view.object(&format!("apis/{}/v1/orders", self.group), name)?["spec"]["item"].clone();
        ensure!(item == "tea", "item: {item}");
        Ok(())
    }
}

fn replicas(stage: &mut Stage<'_>, what: &str) -> Test {
    stage.wait(what, |view| {
        let replicas = view.deployment("web")?["spec"]["replicas"].clone();
        ensure!(replicas == 1, "replicas: {replicas}");
        Ok(())
    })
}

/// The status says so, too.
fn nothing_drifts(stage: &mut Stage<'_>) -> Test {
    stage.wait("the status counts no drift", |view| {
        let status = &view.sync(SYNC)?["status"];
        ensure!(status["drifted"] == 0, "{status}");
        Ok(())
    })
}

/// A commit may be ahead of the cluster: its kind is installed by somebody else, later, and may go again.
#[test]
fn kind_that_others_install_and_remove() -> Test {
    let mut stage = Setup::shared()?.trust(unknown_kinds).cluster_admin().start()?;
    let orders = Orders::of(&mut stage);
    let mut story = Story::begin(&stage, "kind-of-others", "A kind that others install, and remove")?;
    story.done(
        "apps/order.yaml declares an Order, whose CustomResourceDefinition nobody has installed; sam signs; git push",
    );
    let commit = stage.change("apps/order.yaml", &orders.order("first"))?;
    stage.names.call_commit(&commit, "commit");
    stage.held(Owner::Sync, &commit, "M117")?;
    story.status(&stage, Owner::Sync)?;
    story.done("somebody else installs the CustomResourceDefinition");
    orders.install(&stage)?;
    stage.applied(&commit)?;
    orders.is_there(&stage.view, "first")?;
    story.then("the Order is there, without a push or a restart.");

    story.done("writ is stopped; the CustomResourceDefinition is deleted, a Deployment is edited; writ is started");
    stage.stop()?;
    orders.remove(&stage)?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.start()?;
    replicas(&mut stage, "the edit is reverted although one kind is gone")?;
    stage.held(Owner::Sync, &commit, "M117")?;
    nothing_drifts(&mut stage)?;
    story.then("the edit is reverted, and the Sync says what is missing.");
    story.status(&stage, Owner::Sync)?;
    story.log(&stage, "accepted, and not healed")?;
    story.done("the CustomResourceDefinition is installed again");
    orders.install(&stage)?;
    stage.applied(&commit)?;
    stage.wait("the Order is there again", |view| orders.is_there(view, "first"))?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good");
    story.then("the Order is there again.");
    story.end(&stage)
}

/// What a TrustRoot does not accept any more does not advance, though it was verified before.
#[test]
fn nothing_advances_against_the_present_trust_root() -> Test {
    let mut stage = Setup::shared()?.trust(unknown_kinds).cluster_admin().start()?;
    let orders = Orders::of(&mut stage);
    let commit = stage.change("apps/order.yaml", &orders.order("first"))?;
    stage.held(Owner::Sync, &commit, "M117")?;
    let root = format!("trustroot/{}", stage.view.namespace);
    let minimum = |stage: &Stage<'_>, version: u64| {
        let patch = format!(r#"{{"spec":{{"minPolicyVersion":{version}}}}}"#);
        stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", &patch]).map(drop)
    };
    minimum(&stage, 9)?;
    stage.held(Owner::Source, &commit, "W503")?;
    orders.install(&stage)?;
    // The kind is known now: what was held for it is judged again, but not by what trust was before.
    stage.wait("writ knows the kind", |view| {
        let sync = view.sync(SYNC)?;
        ensure!(sync["status"]["acceptedRevision"] != commit.as_str(), "accepted");
        Ok(())
    })?;
    stage.heals()?;
    let accepted = || -> Result<usize> {
        let entries = stage.entries(&["--kind", "advance"])?;
        Ok(entries
            .iter()
            .filter(|entry| entry["subject"]["sync"].is_string() && entry["subject"]["commit"] == commit.as_str())
            .count())
    };
    ensure!(accepted()? == 0, "it advanced");
    minimum(&stage, 1)?;
    stage.applied(&commit)?;
    orders.is_there(&stage.view, "first")
}

/// What a custom resource said, without what the server and writ wrote.
fn again(kind: &str, name: &str, before: &Value) -> String {
    let metadata = serde_json::json!({"name": name, "labels": before["metadata"]["labels"]});
    serde_json::json!({
        "apiVersion": "writ.dev/v1alpha1", "kind": kind, "spec": before["spec"], "metadata": metadata
    })
    .to_string()
}

/// GitSource gone: nothing advances, healing goes on; also when writ was not there to see it.
#[test]
fn source_deleted_while_writ_is_down() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let source: Value = stage.view.source()?;
    let mut story = Story::begin(&stage, "source-deleted", "A GitSource is deleted while writ is down")?;
    story.done("writ is stopped; kubectl delete gitsource config; a Deployment is edited; writ is started");
    stage.stop()?;
    stage.tenant.kubectl(&["delete", "gitsource", SOURCE])?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
    stage.start()?;
    replicas(&mut stage, "the edit is reverted without the GitSource")?;
    stage.wait("the deleted object is back", |view| view.config_map("settings").map(drop))?;
    story.then("the edit is reverted, and what was deleted is back.");
    stage.wait("the Sync says what is missing", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains("A141"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    nothing_drifts(&mut stage)?;
    story.status(&stage, Owner::Sync)?;

    story.done("the GitSource is applied again; sam pushes a signed commit");
    stage.tenant.apply(&again("GitSource", SOURCE, &source))?;
    let commit = stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    ensure!(stage.view.sync(SYNC)?["status"]["appliedRevision"] == commit.as_str());
    story.then("the commit is applied.");
    story.end(&stage)
}

/// The mirror of a GitSource that is gone stays for the Sync that is healed from it, also over a restart, and goes with that.
#[test]
fn mirror_of_a_deleted_source_stays_for_its_sync_and_goes_with_it() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let (source, sync) = (stage.view.source()?, stage.view.sync(SYNC)?);
    let folder = stage.state().join("mirror");
    let mirror = folder.join(format!("{}.{SOURCE}", stage.view.namespace));
    let archive = stage.state().join("accepted").join(format!("{}.{SOURCE}", stage.view.namespace));
    stage.wait("what is in force is kept apart from the mirror", |_| {
        ensure!(archive.join("objects").exists(), "it is not there yet");
        Ok(())
    })?;
    stage.stop()?;
    stage.tenant.kubectl(&["delete", "gitsource", SOURCE])?;
    // Of one that was deleted while nobody watched.
    let other = folder.join(format!("{}.other", stage.view.namespace));
    std::fs::create_dir(&other)?;
    stage.start()?;
    stage.wait("the mirror that nobody needs is gone", |_| {
        ensure!(!other.exists(), "it is there");
        Ok(())
    })?;
    ensure!(mirror.join("refs/writ/pins").exists(), "the mirror of the Sync's source was removed");
    ensure!(archive.join("objects").exists(), "what is in force was removed");
    stage.stop()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.start()?;
    replicas(&mut stage, "the edit is reverted without the GitSource")?;

    stage.tenant.kubectl(&["delete", "sync", SYNC])?;
    stage.wait("the mirror is gone, and what was kept of it", |_| {
        ensure!(!mirror.exists() && !archive.exists(), "one is there");
        Ok(())
    })?;
    stage.tenant.apply(&again("GitSource", SOURCE, &source))?;
    stage.tenant.apply(&again("Sync", SYNC, &sync))?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.heals()
}

/// The mirror may be removed at any time, as the fix of a mirror that is too large says: it is fetched anew, and has what is
/// in force, although the head is refused.
#[test]
fn mirror_removed_while_the_head_is_refused() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let bad = stage.repo.commit_unsigned("unsigned")?;
    stage.push(testkit::Push::FastForward)?;
    stage.held(Owner::Source, &bad, "W301")?;
    let mirror = stage.state().join("mirror").join(format!("{}.{SOURCE}", stage.view.namespace));
    // Whoever reads before the next poll makes an empty one.
    let empty = stage.state().join("empty");
    git::Mirror::open(&empty)?;
    std::fs::remove_dir_all(&mirror)?;
    std::fs::rename(&empty, &mirror)?;
    let pin = mirror.join("refs/writ/pins/verified").join(stage.good());
    stage.wait("what is in force is in the mirror again", |_| {
        ensure!(pin.exists(), "it is not pinned");
        Ok(())
    })?;
    stage.stop()?;
    stage.git.set_fault(Some(Fault::Down))?;
    stage.start()?;
    stage.heals()
}

/// The same with the TrustRoot, and with both.
#[test]
fn trust_root_deleted_while_writ_is_down() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let root = format!("trustroot/{}", stage.view.namespace);
    for gone in [root, format!("gitsource/{SOURCE}")] {
        stage.stop()?;
        stage.tenant.kubectl(&["delete", &gone])?;
        stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
        stage.start()?;
        replicas(&mut stage, &format!("the edit is reverted without {gone}"))?;
    }
    // A commit changes nothing: nobody says who may order it.
    stage.repo.write("apps/settings.yaml", config_map("settings", "newer"))?;
    stage.repo.commit_signed(&stage.people.sre, "newer")?;
    stage.repo.push(&stage.git.remote("config"), "main:refs/heads/main", testkit::Push::FastForward)?;
    stage.heals()?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it advanced");
    Ok(())
}

/// A Sync that was deleted has ended: one of its name begins anew, with what is ordered now, and puts nothing old back.
#[test]
fn sync_deleted_and_made_again() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let sync = stage.view.sync(SYNC)?;
    stage.tenant.kubectl(&["delete", "sync", SYNC])?;
    testkit::wait_until("its end is in the log", WITHIN, || {
        let outcomes = stage.entries(&["--kind", "outcome"])?;
        ensure!(outcomes.iter().any(|entry| entry["subject"]["result"] == "ended"), "{outcomes:?}");
        Ok(())
    })?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    let newer = r#"{"data":{"value":"newer"}}"#;
    stage.tenant.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", newer])?;
    // Also over a restart.
    stage.stop()?;
    stage.start()?;
    stage.wait("the commit is verified", |view| {
        let source = view.source()?;
        ensure!(source["status"]["verifiedRevision"] == commit.as_str(), "{}", source["status"]);
        Ok(())
    })?;
    stage.tenant.apply(&again("Sync", SYNC, &sync))?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    let reverts = stage.entries(&["--kind", "revert"])?;
    ensure!(reverts.is_empty(), "something old was put back: {reverts:?}");
    stage.heals()
}

/// An empty log while objects carry our label: the log was lost, though nobody else knows of it.
#[test]
fn marked_objects_without_a_log() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let good = stage.good().to_owned();
    let mut story =
        Story::begin(&stage, "marked-objects-without-log", "The log is empty, and objects carry our label")?;
    story.done(
        "writ is stopped, its state volume is emptied, the TrustRoot is deleted and applied anew; writ is started",
    );
    stage.stop()?;
    stage.lose_state()?;
    let root = format!("trustroot/{}", stage.view.namespace);
    stage.tenant.kubectl(&["delete", &root])?;
    let manifest = std::fs::read_to_string(stage.trust_root_file()).context("cannot read the TrustRoot")?;
    stage.tenant.apply(&manifest)?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "newer commit");
    stage.start()?;
    stage.tells_the_loss()?;
    let source = stage.view.source()?;
    let held = &source["status"]["heldRevision"];
    let object = ["ConfigMap", "Deployment"].into_iter().find(|kind| held["message"].to_string().contains(kind));
    ensure!(object.is_some(), "no object is named: {held}");
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it advanced");
    ensure!(stage.entries(&["--kind", "advance"])?.is_empty(), "something was accepted");
    let text = |field: &str| {
        held[field]
            .as_str()
            .unwrap_or_default()
            .replace("Deployment.apps", "ConfigMap")
            .replace("deployment.apps", "configmap")
            .replace("/web", "/settings")
    };
    story.seen("kubectl get gitsource config", &format!("{} {}\nfix: {}", text("code"), text("message"), text("fix")));
    story.audit(&stage, "W407")?;

    story.done("an admin runs the command of the fix, with the revision that was accepted");
    let patch = format!(r#"{{"spec":{{"resumeFrom":"{good}"}}}}"#);
    stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", &patch])?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    story.then("the newer commit is judged from there, and applied.");
    story.end(&stage)
}

/// What was refused before a restart is held after it, and told and logged once.
#[test]
fn refusal_that_outlives_a_restart() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let bad = stage.repo.commit_unsigned("unsigned")?;
    stage.push(testkit::Push::FastForward)?;
    let since = |source: &Value| source["status"]["heldRevision"]["since"].clone();
    let before = since(&stage.held(Owner::Source, &bad, "W301")?);
    let told = stage.view.events("GitSource", SOURCE)?.len();
    stage.stop()?;
    stage.git.set_fault(Some(Fault::Down))?;
    stage.start()?;
    stage.wait("the server's absence is told", |view| {
        let source = view.source()?;
        let (ready, reason, message) = View::condition(&source, "Ready");
        ensure!(ready == "False" && message.contains("W6"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    let source = stage.view.source()?;
    ensure!(View::condition(&source, "SourceVerified").0 == "False", "{}", source["status"]);
    ensure!(source["status"]["heldRevision"]["code"] == "W301" && since(&source) == before, "{}", source["status"]);
    ensure!(
        stage.metrics()?.sum("writ_held", &[("namespace", &stage.view.namespace)]) == Some(1.0),
        "no gauge says so"
    );
    stage.git.set_fault(None)?;
    stage.poke()?;
    stage.wait("the head is judged again", |view| {
        let source = view.source()?;
        ensure!(source["status"]["lastHandledReconcileAt"] == "poke-2", "{}", source["status"]);
        ensure!(View::condition(&source, "Reconciling").0 == "False", "{}", source["status"]);
        Ok(())
    })?;
    let source = stage.held(Owner::Source, &bad, "W301")?;
    ensure!(since(&source) == before, "{}", source["status"]);
    let refused = stage.entries(&["--kind", "refuse"])?;
    ensure!(refused.len() == 1, "logged again: {refused:?}");
    let events = stage.view.events("GitSource", SOURCE)?;
    let unsigned = events.iter().filter(|event| event["reason"] == "CommitRefused").count();
    ensure!(unsigned == 1, "told again: {told} before, now {events:?}");
    Ok(())
}

/// A spec that is obeyed is in the log, also when commit and objects stay the same: it is in force after a restart.
#[test]
fn changed_spec_outlives_a_restart() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let good = stage.good().to_owned();
    let orders = |stage: &Stage<'_>, mode: &str| {
        let (root, patch) =
            (format!("trustroot/{}", stage.view.namespace), format!(r#"{{"spec":{{"orders":"{mode}"}}}}"#));
        stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", &patch]).map(drop)
    };
    let drift = |stage: &Stage<'_>, mode: &str| {
        let patch = format!(r#"{{"spec":{{"drift":{{"mode":"{mode}"}}}}}}"#);
        stage.tenant.kubectl(&["patch", "sync", SYNC, "--type=merge", "-p", &patch]).map(drop)
    };
    orders(&stage, "Cluster")?;
    drift(&stage, "Flag")?;
    let advances = |stage: &Stage<'_>| -> Result<usize> {
        let entries = stage.entries(&["--kind", "advance"])?;
        let of_sync =
            |entry: &&Value| entry["subject"]["gate"] == "sync" && entry["subject"]["commit"] == good.as_str();
        Ok(entries.iter().filter(of_sync).count())
    };
    testkit::wait_until("the changed spec is in the log", WITHIN, || {
        ensure!(advances(&stage)? == 2, "it is not");
        Ok(())
    })?;
    stage.applied(&good)?;
    stage.stop()?;
    // What is in the cluster is nobody's order any more: the last one that was obeyed stays in force.
    orders(&stage, "Signed")?;
    drift(&stage, "Off")?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.start()?;
    stage.wait("the drift is flagged, as the obeyed spec says", |view| {
        let sync = view.sync(SYNC)?;
        ensure!(View::condition(&sync, "Ready").2.contains("A125"), "{}", sync["status"]);
        ensure!(View::condition(&sync, "Drifted").0 == "True", "{}", sync["status"]);
        Ok(())
    })?;
    ensure!(stage.view.deployment("web")?["spec"]["replicas"] == 7, "it was reverted");
    Ok(())
}
