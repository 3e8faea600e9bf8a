use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

const HASH: &str = "rollouts-pod-template-hash";

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
}

fn rollout(strategy: &Value) -> Value {
    let mut rollout = object("argoproj.io/v1alpha1", "Rollout", "web");
    rollout["spec"] = json!({"strategy": strategy});
    rollout
}

fn istio(routes: &Value) -> Value {
    rollout(&json!({"canary": {"trafficRouting": {"istio": routes}}}))
}

fn services() -> Vec<Fixture> {
    let line = |name| of("argo-rollouts", object("v1", "Service", name));
    let selector = &["spec", "selector", HASH];
    let canary = || rollout(&json!({"canary": {"canaryService": "new", "stableService": "old"}}));
    let colours = || rollout(&json!({"blueGreen": {"activeService": "new", "previewService": "old"}}));
    let mut elsewhere = canary();
    elsewhere["metadata"]["namespace"] = json!("bank");
    vec![
        line("new")
            .beside(canary())
            .explains(selector, "687d76d795")
            .misses(selector, "")
            .misses(selector, "687d76d795f1")
            .misses_edit(selector, "687d76d795", "687d76d796")
            .misses(&["spec", "selector", "app"], "intruder")
            .misses(&["metadata", "labels", HASH], "687d76d795"),
        line("old").beside(canary()).explains(selector, "687d76d795"),
        line("new").beside(colours()).explains(selector, "687d76d795"),
        line("old").beside(colours()).explains(selector, "687d76d795"),
        line("other").beside(canary()).misses(selector, "687d76d795"),
        line("new").beside(elsewhere).misses(selector, "687d76d795"),
        line("new").misses(selector, "687d76d795"),
    ]
}

fn routes() -> Vec<Fixture> {
    let group = "networking.istio.io/v1";
    let service = || of("argo-rollouts", object(group, "VirtualService", "web"));
    let rule = || of("argo-rollouts", object(group, "DestinationRule", "web"));
    let weight = &["spec", "http", "route", "weight"];
    let subset = &["spec", "subsets", "labels", HASH];
    let rules = || istio(&json!({"destinationRule": {"name": "web"}}));
    vec![
        service()
            .beside(istio(&json!({"virtualService": {"name": "web"}})))
            .explains_edit(weight, 100, 80)
            .explains(&["spec", "tls", "route", "weight"], 100)
            .explains(&["spec", "tcp", "route", "weight"], 0)
            .misses_edit(weight, 100, 101)
            .misses_edit(&["spec", "http", "route", "destination", "host"], "web", "intruder")
            .misses(&["spec", "http", "mirror", "host"], "intruder"),
        service()
            .beside(istio(&json!({"virtualServices": [{"name": "api"}, {"name": "web"}]})))
            .explains_edit(weight, 100, 80),
        service().beside(istio(&json!({"virtualService": {"name": "api"}}))).misses_edit(weight, 100, 80),
        service().beside(istio(&json!({"virtualServices": [{"name": "api"}]}))).misses_edit(weight, 100, 80),
        service().beside(rollout(&json!({"canary": {}}))).misses_edit(weight, 100, 80),
        service().misses_edit(weight, 100, 80),
        rule()
            .beside(rules())
            .explains(subset, "687d76d795")
            .misses(&["spec", "subsets", "labels", "app"], "intruder")
            .misses(&["spec", "subsets"], json!({"name": "x", "labels": {HASH: "687d76d795"}})),
        rule().misses(subset, "687d76d795"),
        service().beside(rules()).misses_edit(weight, 100, 80),
    ]
}

fn revisions() -> Vec<Fixture> {
    let line = |kind| of("deployment-revision", object("apps/v1", kind, "web"));
    let revision = &["metadata", "annotations", "deployment.kubernetes.io/revision"];
    let generation = &["metadata", "annotations", "deprecated.daemonset.template.generation"];
    vec![
        line("Deployment")
            .explains(revision, "12")
            .misses(revision, "twelve")
            .misses(revision, "+1")
            .misses(revision, "")
            .misses_edit(revision, "1", "2")
            .misses(generation, "1")
            .misses(&["spec", "template", "metadata", "annotations", "deployment.kubernetes.io/revision"], "1"),
        line("ReplicaSet").explains(revision, "1"),
        line("DaemonSet").explains(generation, "1").misses(revision, "1"),
    ]
}

fn restarts() -> Vec<Fixture> {
    let line = |api_version, kind| of("rollout-restart", object(api_version, kind, "web"));
    let restarted = &["spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"];
    vec![
        line("apps/v1", "Deployment")
            .explains(restarted, "2026-01-31T12:00:00Z")
            .explains_edit(restarted, "2026-01-31T12:00:00Z", "2026-01-31T14:00:00+01:00")
            .misses_edit(restarted, "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+01:00")
            .misses_edit(restarted, "never", "2026-01-31T12:00:00Z")
            .misses(restarted, "now")
            .misses(&["metadata", "annotations", "kubectl.kubernetes.io/restartedAt"], "2026-01-31T12:00:00Z")
            .misses(
                &["spec", "template", "metadata", "labels", "kubectl.kubernetes.io/restartedAt"],
                "2026-01-31T12:00:00Z",
            ),
        line("apps/v1", "StatefulSet").explains(restarted, "2026-01-31T12:00:00Z"),
        line("apps/v1", "DaemonSet").explains(restarted, "2026-01-31T12:00:00+09:00"),
        line("batch/v1", "Job").misses(restarted, "2026-01-31T12:00:00Z"),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    [services(), routes(), revisions(), restarts()].into_iter().flatten().collect()
}

#[test]
fn rolling_out_moves_traffic_counts_and_restarts() {
    check(&fixtures());
}
