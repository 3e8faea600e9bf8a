//! What is deleted, and what is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{ControlPlane, Profile};

use crate::bad_input::told;
use crate::stage::{Owner, Proxy, SOURCE, SYNC, Setup, Stage, Story, Test, View, any_kind, config_map};

const CONFIG_MAPS: &str = "api/v1/configmaps";

fn gone(stage: &mut Stage<'_>, name: &str) -> Test {
    stage.wait(&format!("ConfigMap {name} is gone"), |view| {
        ensure!(view.is_absent(CONFIG_MAPS, name)?, "it is there");
        Ok(())
    })
}

#[test]
fn what_left_the_commit_is_deleted_and_nothing_else() -> Test {
    let mut stage = Setup::shared()?.file("apps/extra.yaml", config_map("extra", "v")).start()?;
    // Looks like ours, but no accepted revision declared it.
    let labels = stage.view.config_map("extra")?["metadata"]["labels"].clone();
    let stray =
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "labels": labels}});
    stage.tenant.apply(&stray.to_string())?;
    stage.tenant.apply(&config_map("bystander", "v"))?;
    stage.repo.remove("apps/extra.yaml")?;
    let commit = stage.commit("without extra")?;
    stage.applied(&commit)?;
    gone(&mut stage, "extra")?;
    stage.view.config_map("stray")?;
    stage.view.config_map("bystander")?;
    stage.audit_verifies()
}

/// A revert that is under way would create again what a commit has removed meanwhile, with nobody left to take it away.
#[test]
fn a_revert_under_way_brings_nothing_back_that_a_commit_removed() -> Test {
    let plane = ControlPlane::shared(Profile::Api)?;
    let proxy = Proxy::start(plane.server())?;
    let extra = config_map("extra", "v");
    let mut stage = Setup::shared()?.api_server(&proxy.url()).file("apps/extra.yaml", extra).start()?;
    stage.repo.remove("apps/extra.yaml")?;
    proxy.delay(Duration::from_secs(1));
    stage.tenant.kubectl(&["delete", "configmap", "extra"])?;
    let commit = stage.commit("without extra")?;
    stage.applied(&commit)?;
    proxy.delay(Duration::ZERO);
    gone(&mut stage, "extra")?;
    let address = stage.address()?;
    stage.wait("nothing is left that nobody declares", |_| {
        let unclaimed = testkit::Metrics::scrape(&address)?.sum("writ_unclaimed_objects", &[]);
        ensure!(unclaimed == Some(0.0), "{unclaimed:?}");
        Ok(())
    })
}

#[test]
fn what_says_never_is_kept() -> Test {
    let kept =
        config_map("kept", "v").replace("  name: kept\n", "  name: kept\n  annotations:\n    writ.dev/prune: never\n");
    let mut stage =
        Setup::shared()?.file("apps/kept.yaml", kept).file("apps/extra.yaml", config_map("extra", "v")).start()?;
    stage.repo.remove("apps/kept.yaml")?;
    stage.repo.remove("apps/extra.yaml")?;
    let commit = stage.commit("without both")?;
    stage.applied(&commit)?;
    gone(&mut stage, "extra")?;
    stage.view.config_map("kept").map(drop)
}

/// Eleven of twenty-two are more than 30 % and more than ten: held until the commit says how many.
#[test]
fn too_many_are_held_until_the_trailer_says_so() -> Test {
    let names: Vec<String> = (0..20).map(|number| format!("item-{number}")).collect();
    let setup = names
        .iter()
        .fold(Setup::shared()?, |setup, name| setup.file(&format!("apps/{name}.yaml"), config_map(name, "v")));
    let mut stage = setup.start()?;
    let mut story = Story::begin(&stage, "prune-guard", "A commit that prunes more than the guard allows")?;
    story.done("git rm of 11 of 20 manifests, 22 with the two others; sam signs; git push");
    for name in names.iter().take(11) {
        stage.repo.remove(&format!("apps/{name}.yaml"))?;
    }
    let commit = stage.commit("fewer items")?;
    told(&mut stage, &mut story, Owner::Sync, &commit, "A120")?;
    for name in &names {
        stage.view.config_map(name)?;
    }
    story.then("all are still there.");

    story.done("another commit on top of it says `Writ-Prune: 12`, which is not the number");
    let wrong = stage.commit("say how many\n\nWrit-Prune: 12")?;
    stage.names.call_commit(&wrong, "commit with the wrong number");
    stage.held(Owner::Sync, &wrong, "A120")?;
    story.then("held as before.");

    story.done("another commit on top says `Writ-Prune: 11`");
    let right = stage.commit("say how many\n\nWrit-Prune: 11")?;
    stage.applied(&right)?;
    for name in names.iter().take(11) {
        gone(&mut stage, name)?;
    }
    stage.view.config_map("item-11")?;
    story.then("the eleven are gone, the others are there.");
    story.end(&stage)
}

/// A second Sync, declared by the first, over the folder `other/`.
fn second_sync(stage: &Stage<'_>, more: &str) -> String {
    format!(
        "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata:\n  name: second\nspec:\n  \
         sourceRef:\n    name: {SOURCE}\n  path: other\n  serviceAccountName: {}\n  drift:\n    mode: Revert\n{more}",
        stage.tenant.service_account()
    )
}

/// A stage with the second Sync, which has applied ConfigMap theirs.
fn with_second_sync(more: &str) -> Result<Stage<'static>> {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    stage.repo.write("other/theirs.yaml", config_map("theirs", "v"))?;
    let manifest = second_sync(&stage, more);
    let commit = stage.change("apps/second.yaml", &manifest)?;
    stage.applied(&commit)?;
    stage.wait("the second Sync has applied", |view| {
        let sync = view.sync("second")?;
        ensure!(sync["status"]["appliedRevision"] == commit.as_str(), "status: {}", sync["status"]);
        view.config_map("theirs").map(drop)
    })?;
    Ok(stage)
}

fn sync_gone(stage: &mut Stage<'_>) -> Test {
    stage.wait("the second Sync is gone", |view| {
        ensure!(view.is_absent("apis/writ.dev/v1alpha1/syncs", "second")?, "it is there");
        Ok(())
    })
}

#[test]
fn objects_of_a_removed_sync_stay_by_default() -> Test {
    let mut stage = with_second_sync("")?;
    stage.repo.remove("apps/second.yaml")?;
    let commit = stage.commit("without the second Sync")?;
    stage.applied(&commit)?;
    sync_gone(&mut stage)?;
    // A later roll-out shows that the controller is past it.
    stage.roll_out("apps/settings.yaml", &config_map("settings", "later"))?;
    stage.view.config_map("theirs").map(drop)
}

#[test]
fn objects_of_a_removed_sync_go_with_deletion_policy_delete() -> Test {
    let mut stage = with_second_sync("  deletionPolicy: Delete\n")?;
    stage.repo.remove("apps/second.yaml")?;
    let commit = stage.commit("without the second Sync\n\nWrit-Prune: 1")?;
    stage.applied(&commit)?;
    sync_gone(&mut stage)?;
    gone(&mut stage, "theirs")?;
    stage.audit_verifies()
}

/// A removal takes everything along: it is held, over restarts too, until a commit says how many.
#[test]
fn objects_of_a_removed_sync_are_held_until_a_commit_says_how_many() -> Test {
    let mut stage = with_second_sync("  deletionPolicy: Delete\n")?;
    stage.repo.remove("apps/second.yaml")?;
    stage.commit("without the second Sync")?;
    sync_gone(&mut stage)?;
    stage.wait("who removed it is told", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        let told = ["A120", "/second", "the commit prunes the only object", "Writ-Prune: 1"];
        ensure!(
            ready == "False" && told.iter().all(|part| message.contains(part)),
            "Ready={ready} {reason}: {message}"
        );
        Ok(())
    })?;
    stage.view.config_map("theirs")?;
    stage.kill()?;
    stage.start()?;
    let commit = stage.commit("say how many\n\nWrit-Prune: 1")?;
    stage.applied(&commit)?;
    gone(&mut stage, "theirs")?;
    stage.audit_verifies()
}

/// What the Sync says about its objects is put back when it is edited, and shrinks with them.
#[test]
fn inventory_says_what_is_there() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let says = |stage: &mut Stage<'_>, kinds: &str| {
        stage.wait(&format!("the Sync says {kinds}"), |view| {
            let annotations = view.sync(SYNC)?["metadata"]["annotations"].clone();
            let said = annotations["applyset.kubernetes.io/contains-group-kinds"].clone();
            ensure!(said == kinds, "it says {said}");
            Ok(())
        })
    };
    says(&mut stage, "ConfigMap,Deployment.apps")?;
    let edit = "applyset.kubernetes.io/contains-group-kinds=Secret";
    stage.tenant.kubectl(&["annotate", "--overwrite", "sync", SYNC, edit])?;
    says(&mut stage, "ConfigMap,Deployment.apps")?;
    stage.entries_once(&["--kind", "revert"], 1)?;
    stage.repo.remove("apps/web.yaml")?;
    let commit = stage.commit("without the Deployment")?;
    stage.applied(&commit)?;
    says(&mut stage, "ConfigMap")
}

/// Nobody's order: the Sync comes back, its objects never leave.
#[test]
fn sync_deleted_by_hand_comes_back_and_its_objects_stay() -> Test {
    let mut stage = with_second_sync("  deletionPolicy: Delete\n")?;
    let uid = stage.view.config_map("theirs")?["metadata"]["uid"].clone();
    let before = stage.view.sync("second")?["metadata"]["uid"].clone();
    stage.tenant.kubectl(&["delete", "sync", "second", "--wait=false"])?;
    stage.wait("the Sync is there again", |view| {
        let sync = view.sync("second")?;
        ensure!(sync["metadata"]["uid"] != before, "it is still the old one");
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "True", "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    ensure!(stage.view.config_map("theirs")?["metadata"]["uid"] == uid, "the object was deleted meanwhile");
    stage.tenant.kubectl(&["delete", "configmap", "theirs", "--wait=false"])?;
    stage.wait("it still heals", |view| view.config_map("theirs").map(drop))
}

/// The log is the only source of acceptance: without it nothing advances until an admin says from where.
#[test]
fn lost_state_is_held_until_an_admin_vouches() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let good = stage.good().to_owned();
    let mut story = Story::begin(&stage, "accepted-state-lost", "The state volume is lost")?;
    story.done("writ is stopped, its state volume is emptied, writ starts again; meanwhile sam pushes a signed commit");
    stage.stop()?;
    stage.lose_state()?;
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "newer"))?;
    stage.names.call_commit(&commit, "newer commit");
    stage.start()?;
    stage.tells_the_loss()?;
    story.status(&stage, Owner::Source)?;
    story.events(&stage, Owner::Source, "AcceptedStateLost")?;
    story.log(&stage, "W407")?;
    story.audit(&stage, "W407")?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "good", "it advanced");
    ensure!(stage.entries(&["--kind", "advance"])?.is_empty(), "something was accepted");

    story.done("an admin runs the command that the fix names");
    let fix = stage.view.source()?["status"]["heldRevision"]["fix"].as_str().context("no fix")?.to_owned();
    ensure!(fix.contains(&good), "the revision is not in {fix}");
    let command = fix.split_once("kubectl ").context("no command")?.1.replace('\'', "");
    stage.tenant.kubectl(&command.split(' ').collect::<Vec<_>>())?;
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "newer");
    let sync = stage.view.sync(SYNC)?;
    ensure!(View::condition(&sync, "Ready").0 == "True");
    story.then("the newer commit is judged from there, and applied.");
    story.end(&stage)
}
