//! The Sync as parent of an ApplySet (KEP-3659): its id label, and the annotations that say where
//! its objects are, so that any tool can find them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::Method;
use manifest::{GroupKind, canonical_json};
use plan::{ApplySetId, SyncRef};
use serde_json::json;

use crate::{
    Cluster,
    apply::Failure,
    crd::{APPLYSET_ID_LABEL, CustomSpec as _, Sync},
    explain,
    request::{Call, RequestError},
};

/// Field manager of the inventory. Another one than that of objects: a Sync that is itself applied
/// from Git would otherwise lose its spec with each write of its inventory.
pub const PARENT_MANAGER: &str = "writ-inventory";
/// Name and version of the tool, as the convention wants them.
const TOOLING: &str = "writ/v1alpha1";
const TOOLING_ANNOTATION: &str = "applyset.kubernetes.io/tooling";
const KINDS_ANNOTATION: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES_ANNOTATION: &str = "applyset.kubernetes.io/additional-namespaces";

/// What a Sync's label and annotations say about its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParentInventory {
    uid: String,
    id: String,
    tooling: String,
    kinds: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl ParentInventory {
    /// What `sync` says as it is in the cluster.
    #[must_use]
    pub fn of(sync: &Sync) -> Self {
        let list = |name: &str| {
            let text = sync.annotation(name).unwrap_or_default();
            text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        let label = sync.metadata.labels.as_ref().and_then(|labels| labels.get(APPLYSET_ID_LABEL));
        Self {
            uid: sync.metadata.uid.clone().unwrap_or_default(),
            id: label.cloned().unwrap_or_default(),
            tooling: sync.annotation(TOOLING_ANNOTATION).unwrap_or_default().to_owned(),
            kinds: list(KINDS_ANNOTATION),
            namespaces: list(NAMESPACES_ANNOTATION),
        }
    }

    /// Adds kinds and namespaces before their first object is written; one request if something is
    /// new, none if not.
    ///
    /// # Errors
    /// When the Sync cannot be written.
    pub(crate) async fn extend(
        &mut self,
        cluster: &Cluster,
        sync: &SyncRef,
        kinds: &BTreeSet<GroupKind>,
        namespaces: &BTreeSet<String>,
    ) -> Result<(), Box<Failure>> {
        let mut wanted = self.clone();
        wanted.kinds.extend(kinds.iter().map(ToString::to_string));
        wanted.namespaces.extend(namespaces.iter().filter(|name| **name != sync.namespace).cloned());
        self.write(wanted, cluster, sync).await.map_err(|error| Box::new(explain::inventory(sync, &error)))
    }

    /// Makes the annotations say exactly `kinds` and `namespaces`: after a roll-out that is complete,
    /// or when somebody edited them. One request if something differs, none if not.
    ///
    /// # Errors
    /// When the Sync cannot be written.
    pub async fn settle(
        &mut self,
        cluster: &Cluster,
        sync: &SyncRef,
        kinds: &BTreeSet<GroupKind>,
        namespaces: &BTreeSet<String>,
    ) -> Result<(), RequestError> {
        let wanted = self.saying(sync, kinds, namespaces);
        self.write(wanted, cluster, sync).await
    }

    /// Whether it is said by the same Sync as `other`, rather than by a later one of its name.
    #[must_use]
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.uid == other.uid
    }

    /// Whether [`settle`](Self::settle) would write anything.
    #[must_use]
    pub fn differs(&self, sync: &SyncRef, kinds: &BTreeSet<GroupKind>, namespaces: &BTreeSet<String>) -> bool {
        *self != self.saying(sync, kinds, namespaces)
    }

    fn saying(&self, sync: &SyncRef, kinds: &BTreeSet<GroupKind>, namespaces: &BTreeSet<String>) -> Self {
        Self {
            uid: self.uid.clone(),
            id: ApplySetId::of(sync).as_str().to_owned(),
            tooling: TOOLING.to_owned(),
            kinds: kinds.iter().map(ToString::to_string).collect(),
            namespaces: namespaces.iter().filter(|name| **name != sync.namespace).cloned().collect(),
        }
    }

    async fn write(&mut self, mut wanted: Self, cluster: &Cluster, sync: &SyncRef) -> Result<(), RequestError> {
        ApplySetId::of(sync).as_str().clone_into(&mut wanted.id);
        TOOLING.clone_into(&mut wanted.tooling);
        if *self == wanted {
            return Ok(());
        }
        let path = plan::SyncSpec::resource().path(Some(&sync.namespace), Some(&sync.name));
        let call = Call::new(Method::PATCH, format!("{path}?fieldManager={PARENT_MANAGER}&force=true"))
            .body("application/apply-patch+yaml", wanted.body(sync));
        cluster.send(&call).await?;
        *self = wanted;
        Ok(())
    }

    fn body(&self, sync: &SyncRef) -> Arc<[u8]> {
        let join = |items: &BTreeSet<String>| items.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let annotations = BTreeMap::from([
            (TOOLING_ANNOTATION, self.tooling.clone()),
            (KINDS_ANNOTATION, join(&self.kinds)),
            (NAMESPACES_ANNOTATION, join(&self.namespaces)),
        ]);
        let mut metadata = json!({
            "name": sync.name,
            "namespace": sync.namespace,
            "labels": {APPLYSET_ID_LABEL: self.id},
            "annotations": annotations,
        });
        // The uid keeps the request from creating a Sync that was deleted meanwhile.
        if let Some(metadata) = metadata.as_object_mut().filter(|_| !self.uid.is_empty()) {
            metadata.insert("uid".to_owned(), self.uid.clone().into());
        }
        let resource = plan::SyncSpec::resource();
        canonical_json(&json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata}))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_read_and_written_alike() {
        let text = r#"{"apiVersion":"writ.dev/v1alpha1","kind":"Sync","metadata":{"name":"web","namespace":"shop","uid":"u",
            "annotations":{"applyset.kubernetes.io/contains-group-kinds":"ConfigMap,Deployment.apps",
                           "applyset.kubernetes.io/additional-namespaces":""}},
            "spec":{"sourceRef":{"name":"a"},"drift":{"mode":"Revert"}}}"#;
        let inventory = ParentInventory::of(&Sync::read(text.as_bytes()).unwrap());
        assert_eq!(inventory.kinds, ["ConfigMap".to_owned(), "Deployment.apps".to_owned()].into());
        assert!(inventory.namespaces.is_empty());
        let sync = SyncRef { namespace: "shop".into(), name: "web".into() };
        let body: serde_json::Value = serde_json::from_slice(&inventory.body(&sync)).unwrap();
        assert_eq!(body["metadata"]["annotations"][KINDS_ANNOTATION], "ConfigMap,Deployment.apps");
        assert_eq!(body["metadata"]["uid"], "u");
        assert!(body.get("spec").is_none());
    }
}
