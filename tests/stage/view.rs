//! What can be seen of one tenant.

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::ControlPlane;

use super::SOURCE;

/// Reads objects of one tenant, as a cluster admin.
#[derive(Clone)]
pub(crate) struct View<'a> {
    /// The cluster.
    pub(crate) plane: &'a ControlPlane,
    /// The tenant's namespace; also its instance and the name of its TrustRoot.
    pub(crate) namespace: String,
}

impl View<'_> {
    /// GET of an API path.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.plane.get(path)?).with_context(|| format!("{path} is not JSON"))
    }

    /// An object of the namespace; `resource` is `GROUP_VERSION_PATH/PLURAL`, e.g. `apis/apps/v1/deployments`.
    pub(crate) fn object(&self, resource: &str, name: &str) -> Result<Value> {
        let (group, plural) = resource.rsplit_once('/').with_context(|| format!("{resource} has no slash"))?;
        self.get(&format!("/{group}/namespaces/{}/{plural}/{name}", self.namespace))
    }

    /// Whether the API server says that there is no such object.
    pub(crate) fn is_absent(&self, resource: &str, name: &str) -> Result<bool> {
        match self.object(resource, name) {
            Ok(_) => Ok(false),
            Err(error) if format!("{error:#}").contains("status 404") => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A ConfigMap.
    pub(crate) fn config_map(&self, name: &str) -> Result<Value> {
        self.object("api/v1/configmaps", name)
    }

    /// A Deployment.
    pub(crate) fn deployment(&self, name: &str) -> Result<Value> {
        self.object("apis/apps/v1/deployments", name)
    }

    /// The GitSource.
    pub(crate) fn source(&self) -> Result<Value> {
        self.object("apis/writ.dev/v1alpha1/gitsources", SOURCE)
    }

    /// A Sync.
    pub(crate) fn sync(&self, name: &str) -> Result<Value> {
        self.object("apis/writ.dev/v1alpha1/syncs", name)
    }

    /// The TrustRoot.
    pub(crate) fn trust_root(&self) -> Result<Value> {
        self.get(&format!("/apis/writ.dev/v1alpha1/trustroots/{}", self.namespace))
    }

    /// The Events of the namespace about one object, oldest first.
    pub(crate) fn events(&self, kind: &str, name: &str) -> Result<Vec<Value>> {
        let list = self.get(&format!("/apis/events.k8s.io/v1/namespaces/{}/events?limit=5000", self.namespace))?;
        let mut events = list["items"].as_array().cloned().unwrap_or_default();
        events.retain(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name);
        events.sort_by(|a, b| a["eventTime"].as_str().cmp(&b["eventTime"].as_str()));
        Ok(events)
    }

    /// Status, reason and message of a condition; empty when there is none.
    pub(crate) fn condition<'v>(resource: &'v Value, kind: &str) -> (&'v str, &'v str, &'v str) {
        let conditions = resource.pointer("/status/conditions").and_then(Value::as_array);
        let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
        let field = |name: &str| found.and_then(|condition| condition[name].as_str()).unwrap_or_default();
        (field("status"), field("reason"), field("message"))
    }
}
