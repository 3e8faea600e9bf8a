//! Revisions that were accepted and whose roll-out is not complete.

use anyhow::{Result, ensure};

use crate::stage::{Owner, SOURCE, SYNC, Setup, Stage, Story, Test, View, WITHIN, config_map};

/// Lets the API server refuse what `expression` is false for, among the ConfigMaps of the stage's namespace, and waits until it does
/// so for `refused`, applied in a dry run.
struct Refusal {
    name: String,
}

impl Refusal {
    fn begin(stage: &mut Stage<'_>, expression: &str, refused: &str) -> Result<Self> {
        let name = format!("refuse-{}", stage.view.namespace);
        let policy = serde_json::json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.view.namespace}},
                    "resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
                    }],
                },
                "validations": [{"expression": expression, "message": "not now"}],
            },
        });
        let binding = serde_json::json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        stage.tenant.apply(&policy.to_string())?;
        stage.tenant.apply(&binding.to_string())?;
        let file = stage.state().join("../refused.yaml");
        std::fs::write(&file, refused)?;
        stage.wait("it is refused", |view| {
            let probe = [
                "-n",
                &view.namespace,
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "-f",
                &file.to_string_lossy(),
            ];
            ensure!(view.plane.kubectl(&probe).is_err(), "it is not");
            Ok(())
        })?;
        Ok(Self { name })
    }

    fn end(self, stage: &Stage<'_>) -> Test {
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        stage.tenant.kubectl(&["delete", kinds, &self.name]).map(drop)
    }
}

fn is_ready(view: &View<'_>, is_told: impl Fn(&str) -> bool) -> Test {
    let sync = view.sync(SYNC)?;
    let (ready, reason, message) = View::condition(&sync, "Ready");
    ensure!(is_told(message), "Ready={ready} {reason}: {message}");
    Ok(())
}

/// ConfigMap extra is accepted and cannot be created; the next commit is held; the commit that is accepted, and what refuses it.
fn incomplete_and_held(stage: &mut Stage<'_>) -> Result<Refusal> {
    let extra = config_map("extra", "v");
    let refusal = Refusal::begin(stage, r#"object.metadata.name != "extra""#, &extra)?;
    let accepted = stage.change("apps/extra.yaml", &extra)?;
    stage.names.call_commit(&accepted, "accepted commit");
    stage.wait("it is told that it cannot be created", |view| {
        is_ready(view, |message| message.contains("1 object was not applied") && message.contains("not now"))
    })?;
    let held = stage.change("apps/again.yaml", &config_map("settings", "bad"))?;
    stage.names.call_commit(&held, "held commit");
    let sync = stage.held(Owner::Sync, &held, "M115")?;
    ensure!(sync["status"]["acceptedRevision"] == accepted.as_str(), "{}", sync["status"]);
    ensure!(sync["status"]["appliedRevision"] == stage.good(), "{}", sync["status"]);
    Ok(refusal)
}

/// The accepted object is there and the accepted state is healed, while the other commit is held.
fn extra_is_brought(stage: &mut Stage<'_>) -> Test {
    stage.wait("the object is there", |view| {
        let object = view.config_map("extra")?;
        ensure!(object["data"]["value"] == "v" && object["metadata"]["labels"]["writ.dev/instance"].is_string());
        Ok(())
    })?;
    stage.wait("the status says so", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False" && sync["status"]["drifted"] == 0, "{}: {reason}: {message}", sync["status"]);
        is_ready(view, |message| message.contains("M115") && !message.contains("not applied"))
    })?;
    stage.heals()
}

/// In mode Off nothing is healed, and nothing is forgotten either.
#[test]
fn what_a_roll_out_did_not_bring_stays_told_in_mode_off() -> Test {
    let mut stage = Setup::shared()?.drift("Off").start()?;
    let refusal = incomplete_and_held(&mut stage)?;
    stage.wait("both are told", |view| {
        is_ready(view, |message| {
            message.contains("M115") && message.contains("of the accepted revision 1 object was not applied")
        })
    })?;
    refusal.end(&stage)
}

/// What a roll-out could not create is created as soon as it can be, whatever commit is held since.
#[test]
fn what_a_roll_out_did_not_bring_comes_while_its_successor_is_held() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let title = "An object cannot be created, and the next commit is refused";
    let mut story = Story::begin(&stage, "incomplete-then-held", title)?;
    story.done(
        "admission refuses ConfigMap extra; sam pushes a signed commit that declares it, and another that is refused",
    );
    let refusal = incomplete_and_held(&mut stage)?;
    stage.wait("it is told that it cannot be healed", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && message.contains("not now"), "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Sync)?;
    story.done("admission does not refuse it any more");
    refusal.end(&stage)?;
    extra_is_brought(&mut stage)?;
    story.then("ConfigMap extra is there, without a push or a restart; the refused commit is still held.");
    story.status(&stage, Owner::Sync)?;
    story.log(&stage, "its roll-out did not bring")?;
    stage.audit_verifies()?;
    story.end(&stage)
}

/// Also if that is possible only after a restart.
#[test]
fn what_a_roll_out_did_not_bring_comes_after_a_restart() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let refusal = incomplete_and_held(&mut stage)?;
    stage.stop()?;
    refusal.end(&stage)?;
    stage.start()?;
    extra_is_brought(&mut stage)
}

/// A roll-out that nobody may go on with any more is not waited for.
#[test]
fn what_a_roll_out_left_to_do_is_healed_without_the_git_source() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let newer = config_map("settings", "newer");
    let refusal =
        Refusal::begin(&mut stage, r#"object.metadata.name != "settings" || object.data.value != "newer""#, &newer)?;
    stage.change("apps/settings.yaml", &newer)?;
    stage.wait("it is told that it cannot be changed", |view| {
        is_ready(view, |message| message.contains("1 object was not applied") && message.contains("not now"))
    })?;
    stage.tenant.kubectl(&["delete", "gitsource", SOURCE])?;
    stage.wait("it is told that the source is gone", |view| is_ready(view, |message| message.contains("A141")))?;
    stage.tenant.kubectl(&["delete", "configmap", "settings"])?;
    refusal.end(&stage)?;
    stage.wait("it is there again, as accepted", |view| {
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "newer", "the value is {value}");
        let sync = view.sync(SYNC)?;
        let (reconciling, reason, _) = View::condition(&sync, "Reconciling");
        ensure!(reconciling == "False", "Reconciling={reconciling} {reason}");
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    stage.heals()
}

/// writ is killed before it has noted that it wrote an object for the first time. Somebody edits that while writ is down.
#[test]
fn what_a_killed_roll_out_wrote_is_ours() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.kill()?;
    let commit = stage.change("apps/extra.yaml", &config_map("extra", "v"))?;
    stage.start_and_die_at("object-applied")?;
    let edit = r#"{"data":{"value":"by hand"}}"#;
    stage.tenant.kubectl(&["patch", "configmap", "extra", "--type=merge", "-p", edit])?;
    stage.start()?;
    stage.applied(&commit)?;
    let value = stage.view.config_map("extra")?["data"]["value"].clone();
    ensure!(value == "v", "the value is {value}");
    stage.audit_verifies()
}

/// The same with an object that somebody else made, although it looks like ours: it was never written by this Sync.
#[test]
fn what_only_looks_like_ours_is_not_taken() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let labels = stage.view.config_map("settings")?["metadata"]["labels"].clone();
    let forged = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra", "labels": labels}, "data": {"value": "theirs"},
    });
    let file = stage.state().join("../forged.json");
    std::fs::write(&file, forged.to_string())?;
    let file = file.to_string_lossy().into_owned();
    stage.tenant.kubectl(&["apply", "--server-side", "--field-manager=writ", "-f", &file])?;
    let edit = r#"{"data":{"value":"by hand"}}"#;
    stage.tenant.kubectl(&["patch", "configmap", "extra", "--type=merge", "-p", edit])?;
    stage.stop()?;
    let commit = stage.change("apps/extra.yaml", &config_map("extra", "v"))?;
    // After a restart as well.
    for _ in 0..2 {
        let before = stage.log()?.len();
        stage.start()?;
        testkit::wait_until("the conflict is told", WITHIN, || {
            let log = stage.log()?;
            ensure!(log.get(before..).unwrap_or_default().contains("not applied: A102"), "{log}");
            Ok(())
        })?;
        stage.wait("it is shown", |view| {
            let sync = view.sync(SYNC)?;
            ensure!(sync["status"]["acceptedRevision"] == commit.as_str(), "{}", sync["status"]);
            is_ready(view, |message| message.contains("A102"))
        })?;
        stage.stop()?;
        let value = stage.view.config_map("extra")?["data"]["value"].clone();
        ensure!(value == "by hand", "the value is {value}");
    }
    Ok(())
}
