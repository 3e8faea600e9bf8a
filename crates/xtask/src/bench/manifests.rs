//! The objects that are measured with.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Bytes of text in a ConfigMap: together with the rest about 2 kB.
const CONFIG_BYTES: usize = 1_800;
/// The label by which writ watches what it manages.
pub(super) const INSTANCE_LABEL: &str = "writ.dev/instance";

/// What is measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Deployment,
}

impl Kind {
    /// Path of the collection.
    pub(super) fn collection(self, namespace: &str) -> String {
        match self {
            Self::ConfigMap => format!("/api/v1/namespaces/{namespace}/configmaps"),
            Self::Deployment => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        }
    }

    /// Name of the object with a number.
    pub(super) fn name(self, number: usize) -> String {
        match self {
            Self::ConfigMap => format!("config-{number:05}"),
            Self::Deployment => format!("web-{number:05}"),
        }
    }

    /// File of the object in the repository.
    pub(super) fn file(self, number: usize) -> String {
        format!("apps/{}.yaml", self.name(number))
    }

    /// The object; a Deployment of about 1.4 kB or a ConfigMap of about 2 kB. No Pod is ever asked for by 0 replicas.
    pub(super) fn object(self, number: usize, replicas: u32) -> Value {
        let name = self.name(number);
        match self {
            Self::ConfigMap => json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "labels": {"app": name}},
                "data": {"settings": "x".repeat(CONFIG_BYTES)},
            }),
            Self::Deployment => deployment(&name, replicas),
        }
    }

    /// The object as a file: one line per field, so that another number of replicas is one changed line.
    pub(super) fn text(self, number: usize, replicas: u32) -> Result<String> {
        serde_json::to_string_pretty(&self.object(number, replicas)).context("cannot write a manifest")
    }
}

fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name, "app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "bench"});
    let environment: Vec<Value> = (0..12)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("value-{number}-of-{name}")}))
        .collect();
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 2});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "web",
                    "image": "registry.example/team/web:1.4.2",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": environment,
                    "readinessProbe": probe("/ready"),
                    "livenessProbe": probe("/live"),
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                }]},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_of_replicas_is_one_changed_line() {
        let [before, after] = [0, 1].map(|replicas| Kind::Deployment.text(7, replicas).unwrap());
        assert_eq!(before.lines().zip(after.lines()).filter(|(before, after)| before != after).count(), 1);
        assert_eq!(before.lines().count(), after.lines().count());
    }

    #[test]
    fn objects_are_as_large_as_they_say() {
        for (kind, expected) in [(Kind::Deployment, 1_200..1_500), (Kind::ConfigMap, 1_850..2_100)] {
            let size = serde_json::to_vec(&kind.object(1, 0)).unwrap().len();
            assert!(expected.contains(&size), "{kind:?}: {size}");
        }
    }
}
