//! Who changed an object: what the API server tells, what the object claims, and what is said when nobody knows.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use testkit::{ControlPlane, Profile, Scratch};

use crate::stage::{Owner, Setup, Stage, Story, Test, View, any_kind};

/// A port that was free just now.
fn port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// writ runs, and the API server tells it who changes objects.
fn told(setup: Setup<'static>) -> Result<Stage<'static>> {
    let mut stage = setup.admission(port()?).start()?;
    is_told(&mut stage)?;
    Ok(stage)
}

fn is_told(stage: &mut Stage<'_>) -> Test {
    stage.running()?.wait_for_log("the API server tells who changes objects", crate::stage::WITHIN).map(drop)?;
    // The API server reads its configurations by a watch: it may not know yet that they have changed.
    stage.wait("the API server asks", |view| {
        let configuration = view.get(&configuration(view, "validating", "observe"))?;
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        ensure!(bundle.is_string(), "{configuration}");
        Ok(())
    })?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    Ok(())
}

fn configuration(view: &View<'_>, kind: &str, suffix: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{}-{suffix}", view.namespace)
}

/// As this user, who may do anything.
fn kubectl(stage: &Stage<'_>, user: &str, arguments: &[&str]) -> Test {
    let kubeconfig = stage.view.plane.kubeconfig_for(user, &["system:masters"])?;
    let mut all = vec!["--namespace", stage.view.namespace.as_str()];
    all.extend_from_slice(arguments);
    stage.view.plane.kubectl_as(&kubeconfig, &all).map(drop)
}

/// The line that tells of drift with this code, as soon as it is there.
fn line(stage: &mut Stage<'_>, code: &str) -> Result<String> {
    let needle = format!(" code=\"{code}\"");
    stage.wait(&format!("a line tells of {code}"), |_| Ok(()))?;
    stage.running()?.wait_until(&format!("a line with {code}"), crate::stage::WITHIN, |writ| {
        let log = writ.log()?;
        log.lines().find(|line| line.contains(&needle)).map(str::to_owned).context("there is none")
    })
}

/// Who the body of the only entry of this kind says it was.
fn author(stage: &Stage<'_>, kind: &str) -> Result<Value> {
    let entries = stage.entries_once(&["--kind", kind, "--body"], 1)?;
    let body = &entries[0]["body"];
    let first = body.get("changes").or_else(|| body.get("drift")).and_then(|list| list.get(0));
    Ok(first.with_context(|| format!("{entries:?}"))?["by"].clone())
}

fn patch(stage: &Stage<'_>, user: &str, name: &str, patch: &str) -> Test {
    kubectl(stage, user, &["patch", "configmap", name, "--type=merge", "-p", patch])
}

fn healed(stage: &mut Stage<'_>) -> Test {
    stage.wait("the value is back", |view| {
        let object = view.config_map("settings")?;
        ensure!(object["data"]["value"] == "good", "{object}");
        Ok(())
    })
}

#[test]
fn observed_user_of_an_edit() -> Test {
    let mut stage = told(Setup::shared()?)?;
    let mut story = Story::begin(&stage, "drift-observed", "Somebody edits a value, and the API server tells who")?;
    story.done("kubectl patch configmap settings: data.value edited, by ana");
    patch(&stage, "ana", "settings", r#"{"data":{"value":"by hand"}}"#)?;
    healed(&mut stage)?;
    let line = line(&mut stage, "D101")?;
    ensure!(line.contains("by ana (observed)"), "{line}");
    stage.wait("the event names her", |view| {
        let events = view.events("Sync", crate::stage::SYNC)?;
        ensure!(
            events.iter().any(|event| event["note"].as_str().is_some_and(|note| note.contains("by ana (observed)"))),
            "{events:?}"
        );
        Ok(())
    })?;
    story.events(&stage, Owner::Sync, "Edited")?;
    story.log(&stage, "D101")?;
    let by = author(&stage, "revert")?;
    ensure!(by["actors"][0]["name"] == "ana" && by["actors"][0]["level"] == "observed", "{by}");
    ensure!(by["actors"][0]["groups"][0] == "system:masters" && by["actors"][0]["operation"] == "UPDATE", "{by}");
    story.then("the value is the declared one again.");
    story.end(&stage)
}

#[test]
fn observed_user_of_a_scale() -> Test {
    let mut stage = told(Setup::shared()?)?;
    kubectl(&stage, "ben", &["scale", "deployment", "web", "--replicas=7"])?;
    let line = line(&mut stage, "D101")?;
    ensure!(line.contains("by ben (observed)"), "{line}");
    let by = author(&stage, "revert")?;
    ensure!(by["actors"][0]["subresource"] == "scale", "{by}");
    Ok(())
}

#[test]
fn observed_user_of_a_deletion() -> Test {
    let mut stage = told(Setup::shared()?)?;
    kubectl(&stage, "eva", &["delete", "configmap", "settings", "--wait=false"])?;
    let line = line(&mut stage, "D102")?;
    ensure!(line.contains("by eva (observed)"), "{line}");
    let by = author(&stage, "revert")?;
    ensure!(by["actors"][0]["operation"] == "DELETE", "{by}");
    Ok(())
}

#[test]
fn a_stripped_object_is_unobserved() -> Test {
    let mut stage = told(Setup::shared()?)?;
    patch(
        &stage,
        "ana",
        "settings",
        r#"{"metadata":{"labels":{"writ.dev/instance":null}},"data":{"value":"hidden"}}"#,
    )?;
    let line = line(&mut stage, "D103")?;
    ensure!(line.contains("by ana (observed); what was done to it without the label is not observed"), "{line}");
    healed(&mut stage)
}

/// Nothing is blocked by a writ that does not run, and what happened then is told as unobserved.
#[test]
fn webhook_down_blocks_nothing_and_is_said() -> Test {
    let mut stage = told(Setup::shared()?)?;
    stage.kill()?;
    patch(&stage, "ana", "settings", r#"{"data":{"value":"by hand"}}"#)?;
    stage.start()?;
    let line = line(&mut stage, "D101")?;
    ensure!(line.contains("claimed by manager kubectl-patch; not observed"), "{line}");
    healed(&mut stage)?;
    // It comes to the new process, which has another certificate.
    is_told(&mut stage)?;
    kubectl(&stage, "ben", &["delete", "configmap", "settings", "--wait=false"])?;
    let line = self::line(&mut stage, "D102")?;
    ensure!(line.contains("by ben (observed)"), "{line}");
    Ok(())
}

/// Without its configuration the API server asks nobody: that is told once, and with each drift.
#[test]
fn a_configuration_that_is_gone_is_said_and_one_that_is_back_is_used() -> Test {
    let mut stage = told(Setup::shared()?.drift("Flag"))?;
    let observe = format!("{}-observe", stage.view.namespace);
    stage.view.plane.kubectl(&["delete", "validatingwebhookconfiguration", &observe])?;
    let told = line(&mut stage, "A114")?;
    ensure!(told.contains("404 NotFound"), "{told}");
    patch(&stage, "ana", "settings", r#"{"data":{"value":"by hand"}}"#)?;
    let line = line(&mut stage, "D101")?;
    ensure!(line.contains("claimed by manager kubectl-patch; not observed: ValidatingWebhookConfiguration"), "{line}");
    let by = author(&stage, "flag")?;
    ensure!(by["actors"][0]["level"] == "claimed" && by["gap"].is_string(), "{by}");
    Ok(())
}

const FOREIGN: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: NAME
webhooks:
  - name: nobody.example.com
    clientConfig:
      url: https://127.0.0.1:1/never
    rules:
      - {apiGroups: [example.com], apiVersions: [v1], resources: [nothings], operations: [CREATE]}
    failurePolicy: Ignore
    sideEffects: None
    timeoutSeconds: 7
    admissionReviewVersions: [v1]
";

/// The kinds that configure admission are told to no webhook.
#[test]
fn a_webhook_configuration_is_only_claimed() -> Test {
    let mut stage = Setup::shared()?.cluster_admin().trust(any_kind).admission(port()?).start()?;
    is_told(&mut stage)?;
    let name = format!("{}-declared", stage.view.namespace);
    stage.roll_out("apps/webhook.yaml", &FOREIGN.replace("NAME", &name))?;
    let patch = r#"[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":9}]"#;
    kubectl(&stage, "ana", &["patch", "validatingwebhookconfiguration", &name, "--type=json", "-p", patch])?;
    let line = line(&mut stage, "D101")?;
    ensure!(
        line.contains("claimed by manager kubectl-patch; not observed: no webhook is asked about this kind"),
        "{line}"
    );
    Ok(())
}

/// As they are, in the shape that they have in a cluster: the API server takes them.
#[test]
fn the_webhooks_of_deploy_are_taken_as_they_are() -> Test {
    let stage = Setup::shared()?.prepare()?;
    for file in ["webhooks.yaml", "statefulset.yaml", "service.yaml", "rbac.yaml"] {
        let path = testkit::deploy_folder().join(file);
        let path = path.to_string_lossy();
        // Not for good: while nothing answers, nobody could make a request in this cluster.
        stage.view.plane.kubectl(&["apply", "--dry-run=server", "--filename", &path])?;
    }
    Ok(())
}

/// An API server that logs objects of answers for ConfigMaps, and who did what for everything else.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    verbs: [create, update, patch, delete]
    resources: [{group: \"\", resources: [configmaps]}]
  - level: Metadata
    verbs: [create, update, patch, delete]
";

/// From the audit log: by the version where answers are logged, else by object, verb and time. It comes when it comes.
#[test]
fn audited_by_file() -> Test {
    let folder = Scratch::new("audit")?;
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, AUDIT_POLICY)?;
    let flags = [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", log.display())];
    let plane = ControlPlane::start_with(Profile::Api, &flags.each_ref().map(String::as_str))?;
    let mut stage = Setup::on(&plane).audit_log(&log.to_string_lossy()).start()?;
    patch(&stage, "ana", "settings", r#"{"data":{"value":"by hand"}}"#)?;
    known(&mut stage, "ConfigMap", "by ana from 127.0.0.1 (audited)")?;
    healed(&mut stage)?;
    kubectl(&stage, "ben", &["set", "image", "deployment/web", "web=evil.example/web:6"])?;
    known(&mut stage, "Deployment.apps", "by ben from 127.0.0.1 (audited, likely)")?;
    kubectl(
        &stage,
        "eva",
        &["--as=ana", "--as-group=system:masters", "delete", "configmap", "settings", "--wait=false"],
    )?;
    known(&mut stage, "ConfigMap", "by ana, as whom eva acted from 127.0.0.1 (audited")
}

/// At once or later: the log says who it was.
fn known(stage: &mut Stage<'_>, kind: &str, who: &str) -> Test {
    let object = format!("object={kind} {}/", stage.view.namespace);
    stage.running()?.wait_until(&format!("{who} is told"), crate::stage::WITHIN, |writ| {
        let log = writ.log()?;
        let told = log.lines().find(|line| line.contains(&object) && line.contains(who));
        told.map(drop).context("nobody says so")
    })
}
