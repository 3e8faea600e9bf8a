//! What a well-signed commit declares.

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::Push;

use super::{Lent, Offline, refused, told, unharmed};
use crate::stage::{Owner, SYNC, Setup, Stage, Story, Test, View, any_kind, config_map};

#[test]
fn yaml_that_does_not_parse() -> Test {
    broken_settings(
        "yaml-broken",
        "YAML that does not parse",
        "apps/settings.yaml has a key without a value and a wrong indent",
        "M101",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n data: {value: [bad}\n",
    )
}

#[test]
fn yaml_that_kubectl_reads_differently() -> Test {
    broken_settings(
        "yaml-ambiguous",
        "YAML that tools read differently",
        "apps/settings.yaml gives an unquoted number with underscores, 1_000",
        "M103",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  value: bad\n  at: 1_000\n",
    )
}

#[test]
fn yaml_with_a_duplicate_key() -> Test {
    broken_settings(
        "yaml-duplicate-key",
        "YAML with a key twice",
        "apps/settings.yaml gives data.value twice",
        "M106",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  value: good\n  value: bad\n",
    )
}

fn broken_settings(name: &'static str, title: &str, done: &str, code: &str, text: &str) -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, name, title)?;
    story.done(&format!("{done}; sam signs; git push"));
    let commit = stage.change("apps/settings.yaml", text)?;
    refused(&mut stage, story, Owner::Source, &commit, code, Offline::Told)
}

#[test]
fn duplicate_object() -> Test {
    // A stage of its own: what the Sync holds is verified, and the branch of a pooled one goes back to before that.
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "duplicate-object", "One object declared by two files")?;
    story.done("apps/again.yaml declares ConfigMap settings a second time; sam signs; git push");
    let commit = stage.change("apps/again.yaml", &config_map("settings", "bad"))?;
    refused(&mut stage, story, Owner::Sync, &commit, "M115", Offline::NotTold)
}

#[test]
fn kind_that_the_cluster_does_not_know() -> Test {
    // The usual rule wants a scope that can be known from the tree; this one takes any namespaced or cluster kind that the cluster knows.
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "unknown-kind", "A kind that the cluster does not know")?;
    story.done("apps/order.yaml declares a nowhere.example/v1 Order, and no CustomResourceDefinition is there; sam signs; git push");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.change(
        "apps/order.yaml",
        "apiVersion: nowhere.example/v1\nkind: Order\nmetadata:\n  name: first\nspec: {}\n",
    )?;
    refused(&mut stage, story, Owner::Source, &commit, "W305", Offline::Told)
}

/// A ValidatingAdmissionPolicy over ConfigMaps with its binding.
pub(crate) fn policy(name: &str, expression: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata:\n  name: {name}\nspec:\n  \
         failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n      - apiGroups: [\"\"]\n        apiVersions: [v1]\n        \
         operations: [CREATE, UPDATE]\n        resources: [configmaps]\n  validations:\n    - expression: \"{expression}\"\n      \
         message: the value must not be this one\n---\napiVersion: admissionregistration.k8s.io/v1\n\
         kind: ValidatingAdmissionPolicyBinding\nmetadata:\n  name: {name}\nspec:\n  policyName: {name}\n  \
         validationActions: [Deny]\n"
    )
}

fn push_policy(stage: &mut Stage<'_>, text: &str) -> Result<String> {
    stage.repo.write("policies/values.yaml", text)?;
    let commit = stage.repo.commit_signed(&stage.people.security, "a policy")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}

#[test]
fn policy_that_does_not_compile() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "policy-invalid", "A policy that does not compile")?;
    story.done("sena adds policies/values.yaml with the expression `object.data.value !=`; git push");
    let commit = push_policy(&mut stage, &policy("values", "object.data.value !="))?;
    refused(&mut stage, story, Owner::Source, &commit, "W802", Offline::NotTold)
}

#[test]
fn policy_of_a_form_that_is_not_supported() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "policy-unsupported", "A policy with a field that is not supported yet")?;
    story.done("sena adds policies/values.yaml with auditAnnotations; git push");
    let text = policy("values", "true")
        .replace("  validations:", "  auditAnnotations:\n    - {key: k, valueExpression: \"'v'\"}\n  validations:");
    let commit = push_policy(&mut stage, &text)?;
    refused(&mut stage, story, Owner::Source, &commit, "W803", Offline::NotTold)
}

#[test]
fn waiver_which_is_not_supported() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "waiver-unsupported", "A waiver, which is not supported yet")?;
    story.done(
        "sena adds waivers/values.yaml, which would lift the policy of values until the end of the year; git push",
    );
    let text = "policy: values\nowner: sena\nreason: the end of the year\nexpires: \"2026-12-31T00:00:00Z\"\n";
    stage.repo.write("waivers/values.yaml", text)?;
    let commit = stage.repo.commit_signed(&stage.people.security, "a waiver")?;
    stage.push(Push::FastForward)?;
    refused(&mut stage, story, Owner::Source, &commit, "W803", Offline::NotTold)
}

#[test]
fn expression_that_is_too_costly() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "policy-too-costly", "An expression that nests too many loops")?;
    story.done("sena adds a policy with four loops in each other over all keys; git push");
    let loops =
        "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, a != b || c != d || true))))";
    let commit = push_policy(&mut stage, &policy("values", loops))?;
    refused(&mut stage, story, Owner::Source, &commit, "W804", Offline::NotTold)
}

#[test]
fn expression_that_is_too_costly_for_an_object() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "policy-too-costly-object", "An expression that is too costly for an object")?;
    story.done(
        "sena's policy compares every three keys and is accepted; then sam gives ConfigMap settings 300 keys; git push",
    );
    let loops = "object.data.all(a, object.data.all(b, object.data.all(c, a != b || b != c || true)))";
    let commit = push_policy(&mut stage, &policy("values", loops))?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "policy commit");
    let many: String = (0..300).map(|number| format!("  key{number}: x\n")).collect();
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  value: bad\n{many}");
    let commit = stage.change("apps/settings.yaml", &text)?;
    refused(&mut stage, story, Owner::Sync, &commit, "W804", Offline::NotTold)
}

#[test]
fn policy_violation() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "policy-violation", "A workload that a policy forbids")?;
    story.done(
        "sena's policy forbids the value \"bad\" and is accepted; then sam sets it in apps/settings.yaml; git push",
    );
    let commit = push_policy(&mut stage, &policy("values", "object.data.value != 'bad'"))?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "policy commit");
    let commit = stage.change("apps/settings.yaml", &config_map("settings", "bad"))?;
    refused(&mut stage, story, Owner::Sync, &commit, "W801", Offline::NotTold)
}

/// What an expression cannot judge is refused, as by the API server with `failurePolicy: Fail`.
#[test]
fn policy_that_fails_on_an_object() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "policy-error", "A policy that reads what an object does not have")?;
    story.done("sena's policy compares object.data.limit, which no ConfigMap has; git push");
    let commit = push_policy(&mut stage, &policy("values", "object.data.limit != 'none'"))?;
    refused(&mut stage, story, Owner::Sync, &commit, "W805", Offline::NotTold)
}

/// A new policy that the running revision violates is accepted: the violation is told, advancing is held, healing goes on.
#[test]
fn policy_that_the_running_revision_violates() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "policy-against-running", "A policy that the running revision violates")?;
    story.done("sena adds a policy that forbids the value \"good\", which is running; git push");
    let commit = push_policy(&mut stage, &policy("values", "object.data.value != 'good'"))?;
    told(&mut stage, &mut story, Owner::Sync, &commit, "W801")?;
    let source = stage.view.source()?;
    ensure!(
        source["status"]["verifiedRevision"] == commit.as_str(),
        "the policy was not accepted: {}",
        source["status"]
    );
    let sync = stage.view.sync(SYNC)?;
    ensure!(View::condition(&sync, "PolicyCompliant").0 == "False", "PolicyCompliant: {}", sync["status"]);
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

#[test]
fn object_that_the_api_server_rejects_among_20_good_ones() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).start()?;
    let mut story =
        Story::begin(&stage, "rejected-among-good", "One object that the API server rejects among twenty good ones")?;
    story.done("one commit adds ConfigMaps good-1 to good-20 and a Service whose port is 0; sam signs; git push");
    for number in 1..=20 {
        stage.repo.write(&format!("apps/good-{number}.yaml"), config_map(&format!("good-{number}"), "new"))?;
    }
    stage.repo.remove("apps/web.yaml")?;
    let service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: broken\nspec:\n  ports:\n    - port: 0\n";
    let commit = stage.change("apps/broken.yaml", service)?;
    stage.names.call_commit(&commit, "commit with a mistake");
    let before = stage.good().to_owned();
    stage.wait("20 objects are there and the mistake is told", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && reason == "ApplyFailed", "Ready={ready} {reason}: {message}");
        ensure!(message.contains("A101") && message.contains("broken"), "{message}");
        let field = |name: &str| sync["status"][name].as_str().unwrap_or_default().to_owned();
        ensure!(field("acceptedRevision") == commit, "accepted {}", field("acceptedRevision"));
        ensure!(field("appliedRevision") == before, "applied {}", field("appliedRevision"));
        (1..=20).try_for_each(|number| view.config_map(&format!("good-{number}")).map(drop))
    })?;
    // What left the declaration stays until everything was applied.
    stage.view.deployment("web")?;
    story.status(&stage, Owner::Sync)?;
    story.events(&stage, Owner::Sync, "RejectedByServer")?;
    story.log(&stage, "A101")?;
    story.audit(&stage, "A101")?;
    story.then("the twenty are there, Deployment web, which the commit removes, is still there: nothing is pruned before all applies succeeded.");

    story.done("the port is mended; sam signs; git push");
    let mended = stage.change("apps/broken.yaml", &service.replace("port: 0", "port: 80"))?;
    stage.applied(&mended)?;
    stage.wait("Deployment web is pruned", |view| {
        ensure!(view.is_absent("apis/apps/v1/deployments", "web")?, "it is there");
        Ok(())
    })?;
    let service: Value = stage.view.object("api/v1/services", "broken")?;
    ensure!(service["spec"]["ports"][0]["port"] == 80);
    story.then("everything is applied, and Deployment web is gone.");
    story.end(&stage)
}
