//! CustomResourceDefinitions and Namespaces: what they define, and waiting until it is there.

use std::{collections::BTreeMap, time::Duration};

use manifest::{GroupKind, ObjectRef, Scope};
use plan::Change;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use super::{Failure, change::Novelty};
use crate::{Cluster, Resource, Sighting, WatchEvent, WatchTarget, Watched, explain};

/// How long a definition may take to be served; it takes a second or two.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The resource of each change: from what the cluster serves, or from a CustomResourceDefinition in
/// the same plan.
pub(super) struct Resources {
    pub(super) known: BTreeMap<ObjectRef, Resource>,
    pub(super) unknown: BTreeMap<ObjectRef, Failure>,
    new_kinds: Vec<GroupKind>,
}

impl Resources {
    pub(super) fn of(cluster: &Cluster, changes: &[Change]) -> Self {
        let discovery = cluster.discovery();
        let defined: Vec<Resource> = changes.iter().flat_map(defined_by).collect();
        let mut resources = Self { known: BTreeMap::new(), unknown: BTreeMap::new(), new_kinds: Vec::new() };
        for change in changes {
            let reference = &change.reference;
            let served = discovery.resource(&change.api_version, &reference.group_kind.kind);
            let new = || {
                defined.iter().find(|resource| {
                    resource.api_version() == change.api_version && resource.kind == reference.group_kind.kind
                })
            };
            match served.or_else(new) {
                Some(resource) => {
                    resources.known.insert(reference.clone(), resource.clone());
                }
                None => {
                    let finding = discovery.unknown(reference, &change.api_version);
                    resources.unknown.insert(reference.clone(), explain::unknown_kind(finding));
                }
            }
        }
        resources.new_kinds = defined.iter().map(Resource::group_kind).collect();
        resources
    }

    pub(super) fn novelty(&self, kind: &GroupKind) -> Novelty {
        if self.new_kinds.contains(kind) { Novelty::New } else { Novelty::Known }
    }
}

fn is_definition(kind: &GroupKind) -> bool {
    kind.group == "apiextensions.k8s.io" && kind.kind == "CustomResourceDefinition"
}

/// The kinds that a change defines, if it is a CustomResourceDefinition.
fn defined_by(change: &Change) -> Vec<Resource> {
    let body = change.body.as_deref().filter(|_| is_definition(&change.reference.group_kind));
    let Some(crd) = body.and_then(|body| serde_json::from_slice::<Value>(body).ok()) else {
        return Vec::new();
    };
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    versions
        .iter()
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|version| {
            Some(Resource {
                group: text("/spec/group"),
                version: version.get("name")?.as_str()?.to_owned(),
                kind: text("/spec/names/kind"),
                plural: text("/spec/names/plural"),
                scope: if text("/spec/scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
            })
        })
        .collect()
}

/// Waits until a definition that was just applied is served.
pub(super) async fn ready(cluster: &Cluster, resource: &Resource, seen: &Sighting) -> Result<(), Failure> {
    if !matters(&resource.group_kind()) || readiness(seen).is_ok() {
        return Ok(());
    }
    let (sender, mut events) = mpsc::channel::<Watched>(4);
    let target = WatchTarget {
        resource: resource.clone(),
        namespace: None,
        labels: None,
        fields: Some(format!("metadata.name={}", seen.reference.name)),
    };
    let _watch = cluster.watch(target, sender);
    let mut last = "its status says nothing yet".to_owned();
    let wait = async {
        while let Some(watched) = events.recv().await {
            match watched.event {
                WatchEvent::Applied(sighting) => match readiness(&sighting) {
                    Ok(()) => return Ok(()),
                    Err(words) => last = words,
                },
                WatchEvent::Deleted { .. } => return Err("it was deleted".to_owned()),
                WatchEvent::Failing(finding) => last = finding.found.into(),
                // Nobody asks for a proof of this watch.
                WatchEvent::Listed(_) | WatchEvent::Proved { .. } | WatchEvent::Unproved(_) => {}
                WatchEvent::Synced | WatchEvent::Gap | WatchEvent::Restored => {}
            }
        }
        Err("its watch ended".to_owned())
    };
    let outcome = timeout(READY_WITHIN, wait).await;
    let words = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(words)) => words,
        Err(_elapsed) => last,
    };
    Err(explain::not_ready(&seen.reference, resource, &words))
}

/// Whether anything waits for objects of this kind.
fn matters(kind: &GroupKind) -> bool {
    is_definition(kind) || kind.group.is_empty() && kind.kind == "Namespace"
}

/// Whether a CustomResourceDefinition is Established, or a Namespace Active; if not, why.
fn readiness(seen: &Sighting) -> Result<(), String> {
    let object: Value = serde_json::from_slice(seen.raw.json()).map_err(|_invalid| "it cannot be read".to_owned())?;
    if !is_definition(&seen.reference.group_kind) {
        return match object.pointer("/status/phase").and_then(Value::as_str) {
            Some("Active") => Ok(()),
            phase => Err(format!("its phase is {}", phase.unwrap_or("not known yet"))),
        };
    }
    let conditions =
        object.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text =
        |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    if conditions
        .iter()
        .any(|condition| text(condition, "type") == "Established" && text(condition, "status") == "True")
    {
        return Ok(());
    }
    let refused = conditions.iter().find(|condition| {
        matches!(text(condition, "type").as_str(), "NamesAccepted") && text(condition, "status") == "False"
    });
    Err(refused.map_or_else(
        || "it is not Established yet".to_owned(),
        |condition| format!("NamesAccepted is False: {}", text(condition, "message")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::ClusterId;
    use serde_json::json;

    fn seen(group: &str, kind: &str, status: &Value) -> Sighting {
        let object = json!({"metadata": {"name": "x", "uid": "u"}, "status": status}).to_string();
        Sighting::read(&ClusterId::new("c"), &GroupKind::new(group, kind), object.as_bytes()).unwrap()
    }

    #[test]
    fn a_definition_is_ready_when_it_is_established() {
        let crd = |conditions: &Value| {
            readiness(&seen("apiextensions.k8s.io", "CustomResourceDefinition", &json!({"conditions": conditions})))
        };
        assert_eq!(
            crd(&json!([{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}])),
            Ok(())
        );
        assert_eq!(crd(&json!([])), Err("it is not Established yet".to_owned()));
        assert_eq!(
            crd(&json!([{"type": "NamesAccepted", "status": "False", "message": "taken"}])),
            Err("NamesAccepted is False: taken".to_owned())
        );
    }

    #[test]
    fn a_namespace_is_ready_when_it_is_active() {
        assert_eq!(readiness(&seen("", "Namespace", &json!({"phase": "Active"}))), Ok(()));
        assert_eq!(
            readiness(&seen("", "Namespace", &json!({"phase": "Terminating"}))),
            Err("its phase is Terminating".to_owned())
        );
    }
}
