//! What admission, the scheduler and the Job controller write into Pods that are declared themselves, and into Jobs.

use serde_json::{Value, json};

use super::{
    Mutator, Site,
    shape::{at, every, is_generated, is_name, is_uid},
};

/// The highest priority that is not the system's own (`scheduling.HighestUserDefinablePriority`).
const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
const TOKEN_VOLUME: &str = "kube-api-access-";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "pod-admission",
        since: 1,
        reason: "admission completes each Pod with account, token volume, priority and tolerations, and the scheduler \
                 gives it a node",
        explains: pod_admission,
    },
    Mutator {
        name: "job-controller",
        since: 1,
        reason: "a Job gets the selector and the labels by which it knows its Pods",
        explains: job_controller,
    },
];

fn pod_admission(site: &Site<'_>) -> bool {
    let text = |value: Option<&Value>, asked: &dyn Fn(&str) -> bool| value.and_then(Value::as_str).is_some_and(asked);
    site.is_of("", "Pod")
        && match site.names {
            ["spec", "tolerations"] => every(site.added(), is_default_toleration),
            ["spec", "nodeName"] => text(site.filled(), &is_name),
            ["spec", "priority"] => site.added().and_then(Value::as_i64).is_some_and(|it| it <= HIGHEST_USER_PRIORITY),
            ["spec", "preemptionPolicy"] => {
                text(site.filled(), &|word| matches!(word, "PreemptLowerPriority" | "Never"))
            }
            ["spec", "serviceAccountName" | "serviceAccount"] => text(site.filled(), &|name| name == account(site)),
            ["spec", "volumes"] => mounts_token(site) && every(site.added(), is_token_volume),
            ["spec", "containers" | "initContainers", "volumeMounts"] => {
                mounts_token(site) && every(site.added(), is_token_mount)
            }
            _ => false,
        }
}

/// The account that the Pod has by its declaration, under the one name or the other.
fn account<'a>(site: &Site<'a>) -> &'a str {
    let name = |field| site.declares(&["spec", field]).and_then(Value::as_str).filter(|name| !name.is_empty());
    name("serviceAccountName").or_else(|| name("serviceAccount")).unwrap_or("default")
}

fn mounts_token(site: &Site<'_>) -> bool {
    site.declares(&["spec", "automountServiceAccountToken"]) != Some(&Value::Bool(false))
}

fn is_default_toleration(item: &Value) -> bool {
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .iter()
        .any(|key| *item == json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}))
}

/// The volume as admission writes it, to the last field: another source in it would be another Secret in the container.
fn is_token_volume(item: &Value) -> bool {
    let named = at(item, &["name"]).and_then(Value::as_str).is_some_and(|name| is_generated(name, TOKEN_VOLUME));
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    let projected = json!({
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
    });
    named && item.as_object().is_some_and(|item| item.len() == 2) && item.get("projected") == Some(&projected)
}

fn is_token_mount(item: &Value) -> bool {
    let named = at(item, &["name"]).and_then(Value::as_str).is_some_and(|name| is_generated(name, TOKEN_VOLUME));
    named
        && item.as_object().is_some_and(|item| item.len() == 3)
        && item.get("mountPath").and_then(Value::as_str) == Some(TOKEN_PATH)
        && item.get("readOnly") == Some(&Value::Bool(true))
}

fn job_controller(site: &Site<'_>) -> bool {
    if !site.is_of("batch", "Job") || site.declares(&["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
        return false;
    }
    let Some(live) = site.added().and_then(Value::as_str) else { return false };
    match site.names {
        ["spec", "selector", "matchLabels", "controller-uid" | "batch.kubernetes.io/controller-uid"] => {
            site.declares(&["spec", "selector"]).is_none() && is_uid(live)
        }
        ["spec", "template", "metadata", "labels", "controller-uid" | "batch.kubernetes.io/controller-uid"] => {
            is_uid(live)
        }
        ["spec", "template", "metadata", "labels", "job-name" | "batch.kubernetes.io/job-name"] => {
            site.name() == Some(live)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
pub(super) mod tests;
