//! Live changes that no accepted commit ordered.

use anyhow::ensure;
use serde_json::Value;

use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, View, any_kind, tells};

const LABEL_INSTANCE: &str = "writ.dev/instance";

/// The edited object is reverted once, and not once more a moment later: after another edit of it, which comes by the same watch as
/// everything that the first revert caused, the log has these two reverts and no third.
fn one_revert(stage: &mut Stage<'_>, code: &str, object: Edited) -> Test {
    stage.entries_once(&["--kind", "revert", "--code", code], 1)?;
    match object {
        Edited::Settings => stage.heals()?,
        Edited::Web => stage.scales_back()?,
    }
    let reverts = stage.entries_once(&["--kind", "revert"], 2)?;
    ensure!(reverts[0]["codes"][0] == code && reverts[1]["codes"][0] == "D101", "{reverts:?}");
    Ok(())
}

/// Which of the two declared objects a test edits.
#[derive(Clone, Copy)]
enum Edited {
    Settings,
    Web,
}

/// Waits for the log line of a revert with `code` and tells status, event, line and entry.
fn told(stage: &mut Stage<'_>, story: &mut Story, code: &str, reason: &str) -> Test {
    stage.wait("the drift is told by an event", |view| {
        let events = view.events("Sync", SYNC)?;
        ensure!(events.iter().any(|event| tells(event, reason)), "events: {events:?}");
        Ok(())
    })?;
    story.events(stage, Owner::Sync, reason)?;
    story.log(stage, code)?;
    story.audit(stage, code)
}

#[test]
fn hand_edit_is_reverted() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "drift-edited", "A declared value is edited by hand")?;
    story.done("kubectl set image deployment/web web=evil.example/web:6");
    stage.tenant.kubectl(&["set", "image", "deployment/web", "web=evil.example/web:6"])?;
    stage.wait("the image is back", |view| {
        let image = image(&view.deployment("web")?);
        ensure!(image == "shop.example/web:1.0.0", "the image is {image}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D101", "Edited")?;
    story.then("the image is the declared one again.");
    one_revert(&mut stage, "D101", Edited::Web)?;
    story.end(&stage)
}

fn image(deployment: &Value) -> String {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn removed_field_is_restored() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let patch = r#"[{"op":"remove","path":"/data/value"}]"#;
    stage.tenant.kubectl(&["patch", "configmap", "settings", "--type=json", "-p", patch])?;
    stage.wait("the value is back", |view| {
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "good", "the value is {value}");
        Ok(())
    })?;
    one_revert(&mut stage, "D101", Edited::Settings)
}

#[test]
fn deleted_object_is_created_again() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let before = stage.view.config_map("settings")?["metadata"]["uid"].clone();
    let mut story = Story::begin(&stage, "drift-deleted", "A declared object is deleted by hand")?;
    story.done("kubectl delete configmap settings");
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
    stage.wait("it is there again", |view| {
        let object = view.config_map("settings")?;
        ensure!(object["metadata"]["uid"] != before, "it is still the old one");
        ensure!(object["data"]["value"] == "good" && object["metadata"]["labels"][LABEL_INSTANCE].is_string());
        Ok(())
    })?;
    told(&mut stage, &mut story, "D102", "Deleted")?;
    story.then("ConfigMap settings is there again, with another uid.");
    one_revert(&mut stage, "D102", Edited::Settings)?;
    story.end(&stage)
}

/// A label that is stripped hides the object from the watch: the edit in the same request must not stay.
#[test]
fn stripped_label_is_restored() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let before = stage.view.config_map("settings")?["metadata"]["uid"].clone();
    let mut story = Story::begin(&stage, "drift-stripped", "The label is stripped and a value edited in one request")?;
    story.done("kubectl patch configmap settings: label writ.dev/instance removed, data.value edited, at once");
    let patch = r#"{"metadata":{"labels":{"writ.dev/instance":null}},"data":{"value":"hidden"}}"#;
    stage.tenant.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", patch])?;
    stage.wait("label and value are back", |view| {
        let object = view.config_map("settings")?;
        ensure!(object["metadata"]["labels"][LABEL_INSTANCE].is_string(), "labels: {}", object["metadata"]["labels"]);
        ensure!(object["data"]["value"] == "good", "the value is {}", object["data"]["value"]);
        ensure!(object["metadata"]["uid"] == before, "it was replaced");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D103", "Stripped")?;
    story.then("label and value are back; the object is the same one (uid).");
    // The entry that comes before the request cannot know it; the answer tells.
    one_revert(&mut stage, "D102", Edited::Settings)?;
    story.end(&stage)
}

#[test]
fn stripped_membership_is_restored() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let label = "applyset.kubernetes.io/part-of";
    let before = stage.view.config_map("settings")?["metadata"]["labels"][label].clone();
    let mut story = Story::begin(&stage, "drift-membership-stripped", "The label of the ApplySet is stripped")?;
    story.done("kubectl label configmap settings applyset.kubernetes.io/part-of-");
    stage.tenant.kubectl(&["label", "configmap", "settings", &format!("{label}-")])?;
    stage.wait("the label is back", |view| {
        let now = view.config_map("settings")?["metadata"]["labels"][label].clone();
        ensure!(now == before, "it is {now}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D103", "Stripped")?;
    story.end(&stage)
}

/// Deleted and made again by somebody else while writ was down: the name is ours, so the content is as well.
#[test]
fn replaced_object_is_taken_back() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story =
        Story::begin(&stage, "drift-replaced", "A declared object is deleted and made anew by somebody else")?;
    story.done("kubectl delete configmap settings; kubectl apply of another one of that name; while writ is down");
    stage.kill()?;
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=true"])?;
    stage.tenant.apply(&crate::stage::config_map("settings", "somebody else's"))?;
    let theirs = stage.view.config_map("settings")?["metadata"]["uid"].clone();
    stage.start()?;
    stage.wait("value and labels are ours", |view| {
        let object = view.config_map("settings")?;
        ensure!(object["data"]["value"] == "good", "the value is {}", object["data"]["value"]);
        ensure!(object["metadata"]["labels"][LABEL_INSTANCE].is_string(), "labels: {}", object["metadata"]["labels"]);
        ensure!(object["metadata"]["uid"] == theirs, "it was deleted once more");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D104", "Replaced")?;
    story.then("value and labels are those that are declared; the object is still the other one (uid).");
    // It is watched again.
    one_revert(&mut stage, "D102", Edited::Settings)?;
    story.end(&stage)?;
    ensure!(stage.entries(&["--kind", "advance"])?.len() == 2, "a restart is no advance");
    stage.audit_verifies()
}

#[test]
fn taken_ownership_is_restored() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let label = "applyset.kubernetes.io/part-of";
    let before = stage.view.config_map("settings")?["metadata"]["labels"][label].clone();
    let mut story = Story::begin(&stage, "drift-ownership", "Another tool takes an object into its ApplySet")?;
    story.done("kubectl label --overwrite configmap settings applyset.kubernetes.io/part-of=applyset-other-v1");
    stage.tenant.kubectl(&["label", "--overwrite", "configmap", "settings", &format!("{label}=applyset-other-v1")])?;
    stage.wait("the label is ours again", |view| {
        let now = view.config_map("settings")?["metadata"]["labels"][label].clone();
        ensure!(now == before, "it is {now}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D105", "OwnershipTaken")?;
    story.end(&stage)
}

/// Rewrites `data.value` of the ConfigMap `settings` on every write, as a mutating webhook would.
fn rewriting_policy(namespace: &str) -> String {
    format!(
        r#"apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: rewrite-{namespace}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: {namespace}
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [configmaps]
  matchConditions:
    - name: settings
      expression: object.metadata.name == "settings"
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: '[JSONPatch{{op: "replace", path: "/data/value", value: "evil"}}]'
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: rewrite-{namespace}
spec:
  policyName: rewrite-{namespace}
"#
    )
}

/// What admission makes of our own write is not taken for the declared value, and is not fought in a loop.
#[test]
fn rewritten_value_is_contested() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let name = format!("rewrite-{}", stage.view.namespace);
    let mut story = Story::begin(&stage, "drift-contested", "Admission rewrites a declared value on every write")?;
    story.done("kubectl apply of a MutatingAdmissionPolicy that sets data.value of ConfigMap settings to \"evil\"");
    stage.view.plane.apply(&rewriting_policy(&stage.view.namespace))?;
    // Every write brings it in, also one of something else.
    let mut tick = 0;
    stage.wait("the policy is in force", |view| {
        tick += 1;
        let tick = format!("tick={tick}");
        view.plane.kubectl(&["-n", &view.namespace, "annotate", "--overwrite", "configmap/settings", &tick])?;
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "evil", "the value is {value}");
        Ok(())
    })?;
    stage.wait("it is told", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && reason == "Contested", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D106", "Contested")?;
    story.status(&stage, Owner::Sync)?;
    let found = stage.paste_fix(Owner::Sync, "Drifted")?;
    ensure!(found.contains(&name), "the fix does not find the policy: {found}");
    stage.entries_once(&["--kind", "flag"], 1)?;
    // One for the edit; the attempts after it have one entry between them.
    let reverts = stage.entries(&["--kind", "revert"])?.len();
    ensure!((1..=2).contains(&reverts), "{reverts} entries");

    story.done("kubectl delete of the policy");
    let kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy";
    stage.view.plane.kubectl(&["delete", kinds, &name])?;
    stage.wait("the value is back, without a push or an edit", |view| {
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "good", "the value is {value}");
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    let reverts = stage.entries(&["--kind", "revert"])?.len();
    ensure!((1..=2).contains(&reverts), "{reverts} entries");
    stage.entries_once(&["--kind", "flag"], 1)?;
    story.then("the declared value is back, without a push or an edit, and Drifted is False.");
    story.end(&stage)
}

/// How many reverts succeeded since the start.
fn reverts(address: &str) -> anyhow::Result<f64> {
    let metrics = testkit::Metrics::scrape(address)?;
    Ok(metrics.sum("writ_changes_total", &[("action", "reverted"), ("result", "ok")]).unwrap_or_default())
}

/// Another tool writes a declared value again after each revert: that is not fought at full speed, and it is said.
#[test]
fn another_writer_is_fought_ever_more_seldom() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let address = stage.address()?;
    let title = "Another tool writes a declared value again after each revert";
    let mut story = Story::begin(&stage, "drift-fought", title)?;
    story.done("kubectl patch configmap settings: data.value to \"theirs\", again after each revert");
    let write = |view: &View<'_>, value: &str| {
        let patch = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
        view.plane.kubectl(&["-n", &view.namespace, "patch", "configmap", "settings", "--type=merge", "-p", &patch])
    };
    let is_shown = |view: &View<'_>| {
        if view.config_map("settings")?["data"]["value"] == "good" {
            write(view, "theirs")?;
        }
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && reason == "Fought", "Drifted={drifted} {reason}: {message}");
        ensure!(sync["status"]["drifted"] == 1, "drifted: {}", sync["status"]["drifted"]);
        Ok(())
    };
    stage.wait("it is told", is_shown)?;
    told(&mut stage, &mut story, "D107", "Fought")?;
    // Its first pause may be over.
    stage.wait("it is written again", is_shown)?;
    story.status(&stage, Owner::Sync)?;
    let found = stage.paste_fix(Owner::Sync, "Drifted")?;
    ensure!(found.contains("manager: kubectl-patch"), "the fix does not find the writer: {found}");
    let sync = stage.view.sync(SYNC)?;
    let (ready, reason, message) = View::condition(&sync, "Ready");
    ensure!(ready == "False" && reason == "Fought", "Ready={ready} {reason}: {message}");
    // Ten at once, and what its first pauses let through.
    let before = reverts(&address)?;
    ensure!(before >= 10.0, "{before} reverts");
    for round in 0..40 {
        write(&stage.view, &format!("theirs {round}"))?;
    }
    let meanwhile = reverts(&address)? - before;
    ensure!(meanwhile <= 5.0, "{meanwhile} reverts while it was written 40 times");
    let sync = stage.view.sync(SYNC)?;
    let (drifted, reason, message) = View::condition(&sync, "Drifted");
    ensure!(drifted == "True" && reason == "Fought", "Drifted={drifted} {reason}: {message}");
    stage.entries_once(&["--kind", "flag", "--code", "D107"], 1)?;

    story.done("the other tool is stopped");
    stage.wait("the value is back", |view| {
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "good", "the value is {value}");
        Ok(())
    })?;
    stage.wait("the fight is over", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        ensure!(View::condition(&sync, "Ready").0 == "True");
        Ok(())
    })?;
    stage.heals()?;
    story.then("the declared value is back, Drifted is False, and an edit is reverted at once again.");
    story.end(&stage)
}

/// Values that the API server stores in another form, or not at all.
const ODD: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: odd, annotations: {}, creationTimestamp: null}
spec:
  replicas: 1
  paused: false
  minReadySeconds: 0
  strategy: {}
  selector: {matchLabels: {app: odd}}
  template:
    metadata: {labels: {app: odd}, annotations: null}
    spec:
      hostNetwork: false
      tolerations: []
      nodeSelector: {}
      volumes: [{name: scratch, emptyDir: {sizeLimit: 1024Mi, medium: ""}}]
      containers:
        - name: web
          image: shop.example/web:1.0.0
          imagePullPolicy: ""
          args: []
          env: [{name: B, value: ""}, {name: A, value: "1.0"}]
          ports: [{containerPort: 8080, hostPort: 0}]
          resources: {requests: {cpu: 0.1, memory: 0.5Gi}, limits: {cpu: 1000m, memory: 1024Mi}}
          volumeMounts: [{name: scratch, mountPath: /tmp, readOnly: false}]
---
apiVersion: v1
kind: Service
metadata: {name: odd}
spec: {clusterIP: "", externalName: "", selector: {app: odd}, ports: [{port: 80, nodePort: 0}]}
"#;

/// A declaration whose stored form is another one is no drift: not after its roll-out, not after a revert, not after a restart.
#[test]
fn odd_spellings_settle() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.roll_out("apps/odd.yaml", ODD)?;
    stage.tenant.kubectl(&["set", "image", "deployment/odd", "web=evil.example/web:6"])?;
    stage.wait("the image is back", |view| {
        let image = image(&view.deployment("odd")?);
        ensure!(image == "shop.example/web:1.0.0", "the image is {image}");
        Ok(())
    })?;
    one_revert(&mut stage, "D101", Edited::Settings)?;
    stage.stop()?;
    stage.start()?;
    // A later roll-out shows that the controller is past its first look.
    stage.roll_out("apps/settings.yaml", &crate::stage::config_map("settings", "newer"))?;
    stage.entries_once(&["--kind", "revert"], 2)?;
    ensure!(stage.entries(&["--kind", "flag"])?.is_empty());
    let sync = stage.view.sync(SYNC)?;
    let (drifted, reason, message) = View::condition(&sync, "Drifted");
    ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
    Ok(())
}

/// What others add is recorded, and neither reverted nor flagged. What the server added to our create is not theirs.
#[test]
fn additions_by_others_stay() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.tenant.kubectl(&["annotate", "configmap", "settings", "owner=someone"])?;
    stage.tenant.kubectl(&["set", "image", "deployment/web", "web=evil.example/web:6"])?;
    // The revert of the second edit shows that the first was seen as well.
    stage.wait("the image is back", |view| {
        let image = image(&view.deployment("web")?);
        ensure!(image == "shop.example/web:1.0.0", "the image is {image}");
        Ok(())
    })?;
    ensure!(stage.view.config_map("settings")?["metadata"]["annotations"]["owner"] == "someone");
    stage.entries_once(&["--kind", "revert"], 1)?;
    let records = stage.state().join("expected/records");
    stage.wait("the addition is recorded", |_| {
        let records = std::fs::read_to_string(&records)?;
        let added: Vec<String> = records.lines().filter_map(additions).collect();
        ensure!(added.iter().any(|line| line.contains("ConfigMap") && line.contains("owner")), "{added:?}");
        ensure!(!added.iter().any(|line| line.contains("imagePullPolicy")), "a default: {added:?}");
        Ok(())
    })
}

/// Of a record of `expected/`: the object's kind, and what others added.
fn additions(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line.split_once(' ')?.1).ok()?;
    let paths = record["added"]["paths"].as_array()?;
    Some(format!("{} {paths:?}", record["object"]["kind"]))
}

#[test]
fn flag_mode_tells_and_leaves_alone() -> Test {
    let mut stage = Setup::shared()?.drift("Flag").start()?;
    let mut story = Story::begin(&stage, "drift-flagged", "Drift with drift.mode Flag")?;
    story.done("kubectl scale deployment web --replicas=7");
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.wait("the drift is told", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && reason == "Edited", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D101", "Edited")?;
    story.status(&stage, Owner::Sync)?;
    ensure!(stage.view.deployment("web")?["spec"]["replicas"] == 7, "it was reverted");
    ensure!(stage.entries(&["--kind", "revert"])?.is_empty());
    stage.entries_once(&["--kind", "flag"], 1)?;
    story.then("the seven replicas stay.");
    // A commit about something else does not make it forgotten, and is no news about it.
    stage.roll_out("apps/settings.yaml", &crate::stage::config_map("settings", "newer"))?;
    let sync = stage.view.sync(SYNC)?;
    let (drifted, reason, message) = View::condition(&sync, "Drifted");
    ensure!(drifted == "True" && reason == "Edited", "Drifted={drifted} {reason}: {message}");
    stage.entries_once(&["--kind", "flag"], 1)?;

    story.done("kubectl scale deployment web --replicas=1");
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=1"])?;
    stage.wait("nothing drifts any more", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    story.then("Drifted is False.");
    story.end(&stage)
}

/// Nothing is told in mode Off. The next commit to the object puts it right all the same.
#[test]
fn off_mode_is_silent() -> Test {
    let mut stage = Setup::shared()?.drift("Off").start()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    let commit = stage.roll_out("apps/settings.yaml", &crate::stage::config_map("settings", "newer"))?;
    ensure!(stage.view.deployment("web")?["spec"]["replicas"] == 7, "it was reverted");
    ensure!(stage.entries(&["--kind", "revert"])?.is_empty() && stage.entries(&["--kind", "flag"])?.is_empty());
    let sync = stage.view.sync(SYNC)?;
    ensure!(View::condition(&sync, "Drifted").0 != "True", "{}", sync["status"]);
    ensure!(sync["status"]["appliedRevision"] == commit.as_str());
    Ok(())
}

/// Drift that happens while writ is down is found when it starts.
#[test]
fn drift_while_writ_is_down_is_reverted() -> Test {
    let mut stage = Setup::shared()?.start()?;
    stage.stop()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
    stage.start()?;
    stage.wait("both are as declared", |view| {
        ensure!(view.deployment("web")?["spec"]["replicas"] == 1, "replicas are still edited");
        ensure!(view.config_map("settings")?["data"]["value"] == "good");
        Ok(())
    })?;
    ensure!(stage.entries(&["--kind", "advance"])?.len() == 2, "a restart is no advance");
    stage.audit_verifies()
}

/// Another Sync, or a later commit, may declare another version of a kind: each object is compared in its own.
#[test]
fn a_kind_in_two_versions_is_compared_in_each() -> Test {
    let scaler = |name: &str, version: &str, metric: &str| {
        format!(
            "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: {name}\nspec:\n  maxReplicas: 3\n  \
             scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {name}\n{metric}"
        )
    };
    let metric = "  metrics:\n    - type: Resource\n      resource:\n        name: cpu\n        target:\n          type: Utilization\n          \
                  averageUtilization: 70\n";
    let mut stage = Setup::shared()?
        .file("apps/old.yaml", scaler("old", "v1", "  targetCPUUtilizationPercentage: 80\n"))
        .file("apps/new.yaml", scaler("new", "v2", metric))
        .start()?;
    let edited_comes_back = |stage: &mut Stage<'_>| -> Test {
        for name in ["old", "new"] {
            let patch = r#"{"spec":{"maxReplicas":9}}"#;
            stage.tenant.kubectl(&["patch", "hpa", name, "--type=merge", "-p", patch])?;
            stage.wait("the edit is reverted", |view| {
                let most =
                    view.object("apis/autoscaling/v2/horizontalpodautoscalers", name)?["spec"]["maxReplicas"].clone();
                ensure!(most == 3, "maxReplicas: {most}");
                Ok(())
            })?;
        }
        Ok(())
    };
    edited_comes_back(&mut stage)?;
    stage.entries_once(&["--kind", "revert"], 2)?;
    // What a restart finds is compared in the right version, too.
    stage.stop()?;
    stage.start()?;
    edited_comes_back(&mut stage)?;
    stage.heals()?;
    stage.entries_once(&["--kind", "revert"], 5)?;
    Ok(())
}

/// An object whose namespace is on its way out cannot be created again: that is tried again ever more seldom, under one entry.
#[test]
fn deleted_with_its_namespace_it_waits_for_the_namespace() -> Test {
    let mut stage = Setup::shared()?.cluster_admin().start()?;
    let place = format!("{}-place", stage.view.namespace);
    stage.view.plane.kubectl(&["create", "namespace", &place])?;
    let object =
        crate::stage::config_map("far", "good").replace("  name: far", &format!("  name: far\n  namespace: {place}"));
    stage.roll_out("apps/far.yaml", &object)?;
    // There is no controller here that empties a namespace: it stays on its way out.
    goes_with_its_namespace(&mut stage, &place, "A109")?;
    let address = stage.address()?;
    stage.wait("it is tried again", |_| {
        let metrics = testkit::Metrics::scrape(&address)?;
        let failed = metrics.sum("writ_changes_total", &[("action", "reverted"), ("result", "failed")]);
        ensure!(failed >= Some(3.0), "attempts that failed: {failed:?}");
        Ok(())
    })?;
    stage.entries_once(&["--kind", "revert"], 1)?;

    finalize(&stage, &place)?;
    stage.view.plane.kubectl(&["create", "namespace", &place])?;
    is_back(&mut stage, &place)?;
    stage.entries_once(&["--kind", "revert"], 1)?;
    stage.view.plane.kubectl(&["delete", "namespace", &place, "--wait=false"]).map(drop)
}

/// Namespace and ConfigMap are deleted; that the latter cannot come back yet is told with `code`.
fn goes_with_its_namespace(stage: &mut Stage<'_>, namespace: &str, code: &str) -> Test {
    stage.view.plane.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    stage.view.plane.kubectl(&["delete", "configmap", "far", "-n", namespace])?;
    stage.wait("it is told", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "True" && message.contains(code), "Drifted={drifted} {reason}: {message}");
        Ok(())
    })
}

/// The ConfigMap is there again, and nothing drifts.
fn is_back(stage: &mut Stage<'_>, namespace: &str) -> Test {
    stage.wait("it is there again", |view| {
        let value = view.get(&format!("/api/v1/namespaces/{namespace}/configmaps/far"))?["data"]["value"].clone();
        ensure!(value == "good", "the value is {value}");
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })
}

/// Lets a namespace go, as the controller does that empties it.
fn finalize(stage: &Stage<'_>, namespace: &str) -> Test {
    let mut object = stage.view.get(&format!("/api/v1/namespaces/{namespace}"))?;
    object["spec"]["finalizers"] = Value::Array(Vec::new());
    let file = stage.state().join("../namespace.json");
    std::fs::write(&file, object.to_string())?;
    let path = format!("/api/v1/namespaces/{namespace}/finalize");
    stage.view.plane.kubectl(&["replace", "--raw", &path, "-f", &file.to_string_lossy()]).map(drop)
}

/// What is on its way out is not put back, since that would be lost: an edit of it is told, and over with the object.
#[test]
fn an_edit_of_what_is_being_deleted_is_told() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let title = "A declared object is edited while its deletion is held up";
    let mut story = Story::begin(&stage, "drift-terminating", title)?;
    story.done("a finalizer holds up kubectl delete configmap settings; kubectl patch: data.value to \"by hand\"");
    let patch = |stage: &Stage<'_>, patch: &str| {
        stage.tenant.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", patch]).map(drop)
    };
    patch(&stage, r#"{"metadata":{"finalizers":["example.com/keep"]}}"#)?;
    stage.tenant.kubectl(&["delete", "configmap", "settings", "--wait=false"])?;
    patch(&stage, r#"{"data":{"value":"by hand"}}"#)?;
    stage.wait("edit and deletion are told", |view| {
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        let told = message.contains("A126") && message.contains("D101");
        ensure!(drifted == "True" && told, "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    told(&mut stage, &mut story, "D101", "Edited")?;
    story.status(&stage, Owner::Sync)?;
    stage.entries_once(&["--kind", "flag", "--code", "D101"], 1)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "by hand", "it was put back");
    story.done("the finalizer is removed");
    patch(&stage, r#"{"metadata":{"finalizers":null}}"#)?;
    stage.wait("it is there anew, as declared", |view| {
        let object = view.config_map("settings")?;
        ensure!(object["data"]["value"] == "good" && object["metadata"]["deletionTimestamp"].is_null(), "{object}");
        let sync = view.sync(SYNC)?;
        let (drifted, reason, message) = View::condition(&sync, "Drifted");
        ensure!(drifted == "False", "Drifted={drifted} {reason}: {message}");
        Ok(())
    })?;
    story.then("ConfigMap settings is there anew, as declared, and Drifted is False.");
    story.end(&stage)
}

/// A Namespace that Git declares is deleted with all that is in it: nothing can be written into it until it is gone, then all
/// of it comes back.
#[test]
fn deleted_with_its_declared_namespace_it_comes_back_with_it() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).cluster_admin().start()?;
    let place = format!("{}-place", stage.view.namespace);
    let object =
        crate::stage::config_map("far", "good").replace("  name: far", &format!("  name: far\n  namespace: {place}"));
    let commit = stage.roll_out(
        "apps/far.yaml",
        &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {place}}}\n---\n{object}"),
    )?;
    let mut story =
        Story::begin(&stage, "namespace-deleted", "A declared Namespace is deleted with all that is in it")?;
    stage.names.call(&place, "place");
    stage.names.call_commit(&commit, "commit");
    story.done("kubectl delete namespace <place>; something holds the deletion up");
    goes_with_its_namespace(&mut stage, &place, "A126")?;
    story.status(&stage, Owner::Sync)?;
    story.done("what held it up is gone, and so is the Namespace");
    finalize(&stage, &place)?;
    is_back(&mut stage, &place)?;
    story.then("the Namespace and what was in it are there again.");
    story.end(&stage)?;
    stage.view.plane.kubectl(&["delete", "namespace", &place, "--wait=false"]).map(drop)
}
