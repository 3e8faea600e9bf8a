use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

const UID: &str = "0b3c6a57-4c4f-4b5e-9d55-0a1b2c3d4e5f";

fn token_volume() -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": "kube-api-access-x2k9z", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}

fn token_mount() -> Value {
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    json!({"name": "kube-api-access-x2k9z", "mountPath": path, "readOnly": true})
}

fn changed(mut value: Value, pointer: &str, to: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = to;
    value
}

fn toleration(key: &str, seconds: u64) -> Value {
    let key = format!("node.kubernetes.io/{key}");
    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
}

fn bare(spec: &Value) -> Fixture {
    let metadata = json!({"name": "web", "namespace": "shop"});
    of("pod-admission", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

fn pods() -> Vec<Fixture> {
    let (volumes, mounts) = (&["spec", "volumes"], &["spec", "containers", "volumeMounts"]);
    let (account, old) = (&["spec", "serviceAccountName"], &["spec", "serviceAccount"]);
    let tolerations = &["spec", "tolerations"];
    let both = json!([toleration("not-ready", 300), toleration("unreachable", 300)]);
    let secret = json!({"secret": {"name": "credentials"}});
    let template = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    vec![
        bare(&json!({}))
            .explains(tolerations, both)
            .explains(tolerations, toleration("unreachable", 300))
            .misses(tolerations, toleration("unreachable", 301))
            .misses(tolerations, json!([toleration("not-ready", 300), {"operator": "Exists"}]))
            .misses(tolerations, json!([])),
        bare(&json!({}))
            .explains(&["spec", "nodeName"], "node-1.example.org")
            .explains(&["spec", "priority"], 0)
            .explains(&["spec", "priority"], 1_000_000_000)
            .explains(&["spec", "preemptionPolicy"], "PreemptLowerPriority")
            .explains(&["spec", "preemptionPolicy"], "Never")
            .misses_edit(&["spec", "nodeName"], "node-1", "node-2")
            .misses(&["spec", "priority"], 2_000_000_000)
            .misses(&["spec", "preemptionPolicy"], "Always")
            .misses(&["spec", "hostNetwork"], true),
        bare(&json!({}))
            .explains(account, "default")
            .explains(old, "default")
            .misses(account, "admin")
            .misses_edit(account, "web", "default")
            .explains_edit(account, "", "default"),
        bare(&json!({"serviceAccountName": "web"})).explains(old, "web").misses(old, "default"),
        bare(&json!({}))
            .explains(volumes, token_volume())
            .misses(volumes, changed(token_volume(), "/name", json!("data")))
            .misses(volumes, changed(token_volume(), "/projected/sources/1", secret.clone()))
            .misses(volumes, json!({"name": "kube-api-access-x2k9z", "hostPath": {"path": "/"}}))
            .misses(volumes, json!({"name": "kube-api-access-x2k9z", "projected": {"sources": [secret]}}))
            .misses(&["spec", "ephemeralContainers"], token_volume()),
        bare(&json!({}))
            .explains(mounts, token_mount())
            .explains(&["spec", "initContainers", "volumeMounts"], token_mount())
            .misses(mounts, changed(token_mount(), "/mountPath", json!("/etc")))
            .misses(mounts, changed(token_mount(), "/name", json!("data")))
            .misses(mounts, changed(token_mount(), "/readOnly", json!(false))),
        bare(&json!({"automountServiceAccountToken": false}))
            .misses(volumes, token_volume())
            .misses(mounts, token_mount()),
        of("pod-admission", template).misses(&["spec", "template", "spec", "volumes"], token_volume()),
    ]
}

fn jobs() -> Vec<Fixture> {
    let line = |kind: &str, spec: Value| {
        let metadata = json!({"name": "backup", "namespace": "shop"});
        let object = json!({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec});
        of("job-controller", object)
    };
    let selector = &["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"];
    let uid = &["spec", "template", "metadata", "labels", "controller-uid"];
    let name = &["spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name"];
    vec![
        line("Job", json!({}))
            .explains(selector, UID)
            .explains(&["spec", "selector", "matchLabels", "controller-uid"], UID)
            .explains(uid, UID)
            .explains(&["spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid"], UID)
            .explains(name, "backup")
            .explains(&["spec", "template", "metadata", "labels", "job-name"], "backup")
            .misses(selector, "mine")
            .misses(&["spec", "selector", "matchLabels", "app"], UID)
            .misses(uid, "mine")
            .misses(name, "restore")
            .misses_edit(name, "restore", "backup")
            .misses(&["metadata", "labels", "job-name"], "backup"),
        line("Job", json!({"manualSelector": true})).misses(selector, UID).misses(uid, UID),
        line("Job", json!({"selector": {"matchLabels": {"app": "x"}}})).misses(selector, UID),
        line("CronJob", json!({})).misses(selector, UID),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    pods().into_iter().chain(jobs()).collect()
}

#[test]
fn bare_pods_and_jobs_are_completed_and_given_nothing_else() {
    check(&fixtures());
}
