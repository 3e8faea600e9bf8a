//! Who owns an object, and whose orders are obeyed.

use anyhow::{Context, Result, ensure};
use testkit::TrustFile;

use super::{Offline, refused, told, unharmed};
use crate::stage::{
    Owner, People, SOURCE, SYNC, Setup, Stage, Story, Test, View, any_kind, config_map, deployment, people_and_roles,
};

#[test]
fn object_that_another_sync_owns() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    let mut story = Story::begin(&stage, "owned-by-another-sync", "An object that another Sync owns")?;
    story.done("a signed commit declares a second Sync for the folder other/, which declares ConfigMap settings as well; git push");
    stage.repo.write("other/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.change("apps/second.yaml", &second_sync(&stage))?;
    second_is_held(&mut stage, &mut story, &commit, "A121")?;
    story.end(&stage)
}

/// The second Sync, which `commit` declares, is held with `code`; the first goes on.
fn second_is_held(stage: &mut Stage<'_>, story: &mut Story, commit: &str, code: &str) -> Test {
    stage.applied(commit)?;
    stage.names.call_commit(commit, "commit");
    let sync = stage.wait(&format!("the second Sync is held with {code}"), |view| {
        let sync = view.sync("second")?;
        ensure!(sync["status"]["heldRevision"]["code"] == code, "status: {}", sync["status"]);
        Ok(sync)
    })?;
    let held = &sync["status"]["heldRevision"];
    story.seen(
        "kubectl get sync second",
        &format!("{} {}\nfix: {}", held["code"], held["message"], held["fix"]).replace('"', ""),
    );
    let note = stage.wait("an event tells it", |view| {
        let told = |note: &&str| note.contains(code) && note.contains("Fix: ");
        let events = view.events("Sync", "second")?;
        let note = events.iter().filter_map(|event| event["note"].as_str()).find(told);
        note.map(str::to_owned).with_context(|| format!("{events:?}"))
    })?;
    story.seen("kubectl events --for sync/second", &note);
    story.log(stage, code)?;
    story.audit(stage, code)?;
    unharmed(stage, story)
}

/// What a Sync may do is what a ServiceAccount of its namespace may do: one without is refused.
#[test]
fn sync_without_a_service_account() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    let mut story = Story::begin(&stage, "no-service-account", "A Sync that names no ServiceAccount")?;
    story.done("a signed commit declares a second Sync for the folder other/, without serviceAccountName; git push");
    stage.repo.write("other/theirs.yaml", config_map("theirs", "bad"))?;
    let manifest = second_sync(&stage);
    let lines = manifest.lines().filter(|line| !line.contains("serviceAccountName"));
    let manifest: String = lines.map(|line| format!("{line}\n")).collect();
    let commit = stage.change("apps/second.yaml", &manifest)?;
    second_is_held(&mut stage, &mut story, &commit, "A123")?;
    ensure!(stage.view.is_absent("api/v1/configmaps", "theirs")?);
    story.end(&stage)
}

/// As the usual team, but the SRE may declare anything of writ as well.
pub(crate) fn any_order(people: &People, repo_id: &str) -> TrustFile {
    people_and_roles(people, repo_id).rule(
        "apps",
        &["apps/**"],
        &[("sre", 1)],
        &["namespaced", "cluster", "writ.dev/*"],
    )
}

/// Whatever the trust file allows, what decides about Git does not come from Git.
#[test]
fn trust_root_in_the_repository() -> Test {
    let mut stage = Setup::shared()?.trust(any_order).cluster_admin().start()?;
    let mut story = Story::begin(&stage, "trust-root-in-git", "A TrustRoot in the repository")?;
    story.done("the trust file lets sam declare every kind of writ.dev; a signed commit adds the TrustRoot with orders: Cluster as apps/root.yaml; git push");
    let root = std::fs::read_to_string(stage.trust_root_file()).context("cannot read the TrustRoot")?;
    // What says who owns it is not for a manifest.
    let lines = root.lines().filter(|line| !line.contains("labels:") && !line.contains("writ.dev/instance:"));
    let root: String = lines.map(|line| format!("{}\n", line.replace("orders: Signed", "orders: Cluster"))).collect();
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.change("apps/root.yaml", &root)?;
    refused(&mut stage, story, Owner::Sync, &commit, "A122", Offline::NotTold)
}

#[test]
fn annotation_that_writ_does_not_know() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story =
        Story::begin(&stage, "unknown-annotation", "An annotation of writ with a value that means nothing")?;
    story.done("apps/settings.yaml says writ.dev/prune: \"no\"; sam signs; git push");
    let text = config_map("settings", "bad")
        .replace("  name: settings\n", "  name: settings\n  annotations:\n    writ.dev/prune: \"no\"\n");
    let commit = stage.change("apps/settings.yaml", &text)?;
    refused(&mut stage, story, Owner::Sync, &commit, "A124", Offline::NotTold)
}

/// What is not supported yet is refused by the API server where its schema can say so, else by writ.
#[test]
fn field_that_is_not_supported_yet() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "unsupported-field", "A field that is not supported yet")?;
    story.done("kubectl patch sync shop: spec.wait becomes true");
    let patch = |stage: &Stage<'_>, patch: &str| {
        stage
            .tenant
            .kubectl(&["patch", "sync", SYNC, "--type=merge", "-p", patch])
            .map_err(|error| format!("{error:#}"))
    };
    let refused = patch(&stage, r#"{"spec":{"wait":true}}"#).err().context("the API server took it")?;
    let said = refused.lines().find(|line| line.contains("not supported yet")).context("it does not say why")?;
    story.seen("kubectl patch sync shop --type=merge -p '{\"spec\":{\"wait\":true}}'", said);
    story.done("kubectl patch sync shop: spec.sourceRef.namespace becomes elsewhere, which the schema cannot judge");
    patch(&stage, r#"{"spec":{"sourceRef":{"namespace":"elsewhere"}}}"#).map_err(anyhow::Error::msg)?;
    super::in_ready(&mut stage, &mut story, "A142", "UnsupportedField")?;
    unharmed(&mut stage, &mut story)?;
    story.done("kubectl patch sync shop: spec.sourceRef.namespace is removed again");
    patch(&stage, r#"{"spec":{"sourceRef":{"namespace":null}}}"#).map_err(anyhow::Error::msg)?;
    stage.restore()?;
    story.then("the Sync is ready.");
    story.end(&stage)
}

fn second_sync(stage: &Stage<'_>) -> String {
    format!(
        "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata:\n  name: second\nspec:\n  \
         sourceRef:\n    name: {SOURCE}\n  path: other\n  serviceAccountName: {}\n  drift:\n    mode: Revert\n",
        stage.tenant.service_account()
    )
}

#[test]
fn object_that_another_tool_owns() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "owned-by-another-tool", "An object that another tool owns")?;
    story.done("ConfigMap taken is applied by another tool; a signed commit declares it with another value; git push");
    stage.tenant.apply(&config_map("taken", "theirs"))?;
    let commit = stage.change("apps/taken.yaml", &config_map("taken", "ours"))?;
    stage.names.call_commit(&commit, "commit");
    stage.wait("the conflict is told", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains("A102"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Sync)?;
    story.events(&stage, Owner::Sync, "AdoptionConflict")?;
    story.log(&stage, "A102")?;
    story.audit(&stage, "A102")?;
    ensure!(stage.view.config_map("taken")?["data"]["value"] == "theirs");
    unharmed(&mut stage, &mut story)?;

    story.done("the manifest says writ.dev/adopt: force; sam signs; git push");
    let text = config_map("taken", "ours")
        .replace("  name: taken\n", "  name: taken\n  annotations:\n    writ.dev/adopt: force\n");
    let commit = stage.change("apps/taken.yaml", &text)?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("taken")?["data"]["value"] == "ours");
    story.then("ConfigMap taken has our value.");
    story.end(&stage)
}

/// One object is not applied: the others are, and status, event and log say why.
fn not_applied(
    stage: &mut Stage<'_>,
    story: &mut Story,
    text: &str,
    (code, reason): (&'static str, &'static str),
) -> Test {
    stage.repo.write("apps/good.yaml", config_map("good", "new"))?;
    let commit = stage.change("apps/taken.yaml", text)?;
    stage.names.call_commit(&commit, "commit");
    stage.wait(&format!("{code} is told"), |view| {
        let sync = view.sync(SYNC)?;
        let (ready, _, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains(code) && message.contains("Fix: "), "Ready={ready}: {message}");
        Ok(())
    })?;
    story.status(stage, Owner::Sync)?;
    story.events(stage, Owner::Sync, reason)?;
    story.log(stage, code)?;
    story.audit(stage, code)?;
    // What is not applied holds nothing up.
    stage.heals()?;
    stage.view.config_map("good").map(drop)
}

/// Not even `writ.dev/adopt: force` takes what belongs to another ApplySet.
#[test]
fn object_that_a_foreign_applyset_owns() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story =
        Story::begin(&stage, "owned-by-a-foreign-applyset", "An object that belongs to a foreign ApplySet")?;
    story.done("ConfigMap taken carries the label of another tool's ApplySet; a signed commit declares it with writ.dev/adopt: force, and another ConfigMap; git push");
    let with = |text: String, field: &str| text.replace("  name: taken\n", &format!("  name: taken\n  {field}\n"));
    let theirs = with(config_map("taken", "theirs"), "labels: {applyset.kubernetes.io/part-of: applyset-other-v1}");
    stage.tenant.apply(&theirs)?;
    let ours = with(config_map("taken", "ours"), "annotations: {writ.dev/adopt: force}");
    not_applied(&mut stage, &mut story, &ours, ("A107", "ForeignApplySet"))?;
    let taken = stage.view.config_map("taken")?;
    ensure!(taken["data"]["value"] == "theirs", "it was taken: {taken}");
    story.then(
        "ConfigMap taken is theirs as before; ConfigMap good is there; a hand edit of ConfigMap settings is reverted.",
    );
    story.end(&stage)
}

#[test]
fn version_that_the_cluster_does_not_serve() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story =
        Story::begin(&stage, "version-not-served", "A version of a kind that the cluster does not serve any more")?;
    story.done("a signed commit declares a Deployment of apps/v1beta1, and a ConfigMap; git push");
    let text = deployment("taken", 1).replace("apps/v1", "apps/v1beta1");
    not_applied(&mut stage, &mut story, &text, ("A103", "UnknownKind"))?;
    story.then("ConfigMap good is there; a hand edit of ConfigMap settings is reverted.");
    story.end(&stage)
}

#[test]
fn sync_edited_by_hand_in_the_cluster() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "sync-edited-by-hand", "A Sync that somebody edits in the cluster")?;
    story.done("kubectl patch sync shop: drift.mode becomes Off");
    patch_mode(&stage, "Off")?;
    stage.wait("the order is refused", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && message.contains("A125"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Sync)?;
    story.events(&stage, Owner::Sync, "UnsignedOrder")?;
    story.log(&stage, "A125")?;
    story.audit(&stage, "A125")?;
    unharmed(&mut stage, &mut story)?;

    story.done("kubectl patch sync shop: drift.mode is Revert again");
    patch_mode(&stage, "Revert")?;
    stage.wait("the Sync is ready", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "True", "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.then("the Sync is ready.");
    story.audit_kind(&stage, "release", |_| true)?;
    story.end(&stage)
}

fn patch_mode(stage: &Stage<'_>, mode: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"drift":{{"mode":"{mode}"}}}}}}"#);
    stage.tenant.kubectl(&["patch", "sync", SYNC, "--type=merge", "-p", &patch]).map(drop)
}

#[test]
fn commit_that_would_prune_everything() -> Test {
    // A stage of its own: what the Sync holds is verified, and the branch of a pooled one goes back to before that.
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "prunes-everything", "A commit that would prune everything")?;
    story.done("git rm -r apps; sam signs; git push");
    stage.repo.remove("apps")?;
    let commit = stage.commit("remove everything")?;
    refused(&mut stage, story, Owner::Sync, &commit, "A120", Offline::NotTold)
}

#[test]
fn refusal_ends_with_the_next_good_commit() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "held-then-released", "What was held is released by a good head")?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let bad = stage.repo.commit_unsigned("unsigned")?;
    stage.push(testkit::Push::FastForward)?;
    told(&mut stage, &mut story, Owner::Source, &bad, "W301")?;
    let good = stage.good().to_owned();
    stage.repo.reset(&good)?;
    stage.repo.write("apps/settings.yaml", config_map("settings", "better"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, "signed instead")?;
    stage.push(testkit::Push::Force)?;
    stage.names.call_commit(&commit, "signed commit");
    stage.applied(&commit)?;
    // The two statuses are written one after the other.
    stage.wait("the source holds nothing", |view| {
        let status = &view.source()?["status"];
        ensure!(status["heldRevision"].is_null(), "{status}");
        Ok(())
    })?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "better");
    ensure!(stage.metrics()?.sum("writ_held", &[("namespace", &stage.view.namespace)]) == Some(0.0));
    story.done("the commit is made again, signed; git push --force");
    story.status(&stage, Owner::Source)?;
    story.end(&stage)
}
