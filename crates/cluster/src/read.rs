//! Reads that are not watches: a Secret with credentials, the metadata of a few objects.

use std::collections::BTreeMap;

use manifest::{ObjectRef, Sensitive};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Cluster, Resource, Sighting,
    request::{Call, MAX_PAGE_BYTES, RequestError, decode, encode},
};

/// Lists metadata only: the API server leaves the rest out.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Pages of such a list that are read, 500 objects each: as many objects as one Sync may have.
const MAX_PAGES: usize = 100;

/// The decoded entries of a Secret.
pub type SecretData = BTreeMap<String, Sensitive<Vec<u8>>>;

impl Cluster {
    /// Reads a Secret by name; `None` if there is none.
    ///
    /// # Errors
    /// When the request fails, or the data is not base64.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, RequestError> {
        #[derive(Deserialize)]
        struct Secret {
            #[serde(default)]
            data: BTreeMap<String, k8s_openapi::ByteString>,
        }
        let call = Call::get(format!("/api/v1/namespaces/{}/secrets/{}", encode(namespace), encode(name)));
        let answer = match self.send(&call).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let secret: Secret = decode(&call, &answer.body)?;
        Ok(Some(secret.data.into_iter().map(|(key, value)| (key, Sensitive::new(value.0))).collect()))
    }

    /// Reads one object of ours or of the cluster by GET; `None` if it is not there. Not for managed
    /// kinds: writ's own ServiceAccount may only list and watch those.
    ///
    /// # Errors
    /// When the request fails or the answer is no object.
    pub async fn object(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Sighting>, RequestError> {
        let call = Call::get(resource.path(namespace, Some(name)));
        match self.send(&call).await {
            Ok(answer) => sighting(self, resource, &call, &answer.body).map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Metadata of the object at `reference`; `None` if it is not there.
pub(crate) async fn find_one(
    cluster: &Cluster,
    resource: &Resource,
    reference: &ObjectRef,
) -> Result<Option<Sighting>, RequestError> {
    let query = format!("fieldSelector={}", encode(&format!("metadata.name={}", reference.name)));
    Ok(metadata(cluster, resource, reference.namespace.as_deref(), &query).await?.pop())
}

/// The first object that a label selector finds, wherever it is.
pub(crate) async fn first(
    cluster: &Cluster,
    resource: &Resource,
    selector: &str,
) -> Result<Option<ObjectRef>, RequestError> {
    #[derive(Deserialize)]
    struct List {
        /// `null` when there is none.
        items: Option<Vec<Box<RawValue>>>,
    }
    let path = resource.path(None, None);
    let call = Call::get(format!("{path}?limit=1&labelSelector={}", encode(selector)))
        .accept(METADATA_LIST)
        .limit(MAX_PAGE_BYTES);
    let list: List = decode(&call, &cluster.send(&call).await?.body)?;
    let item = list.items.unwrap_or_default().into_iter().next();
    item.map(|item| sighting(cluster, resource, &call, item.get().as_bytes()).map(|seen| seen.reference)).transpose()
}

/// Metadata of all objects that a selector finds.
pub(crate) async fn metadata(
    cluster: &Cluster,
    resource: &Resource,
    namespace: Option<&str>,
    selector: &str,
) -> Result<Vec<Sighting>, RequestError> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        metadata: ListMeta,
        /// `null` when there is none.
        items: Option<Vec<Box<RawValue>>>,
    }
    #[derive(Default, Deserialize)]
    struct ListMeta {
        #[serde(default, rename = "continue")]
        next: String,
    }
    let mut found = Vec::new();
    let mut next = String::new();
    for _page in 0..MAX_PAGES {
        let path = resource.path(namespace, None);
        let call = Call::get(format!("{path}?limit=500&{selector}&continue={}", encode(&next)))
            .accept(METADATA_LIST)
            .limit(MAX_PAGE_BYTES);
        let answer = cluster.send(&call).await?;
        let list: List = decode(&call, &answer.body)?;
        for item in list.items.unwrap_or_default() {
            found.push(sighting(cluster, resource, &call, item.get().as_bytes())?);
        }
        next = list.metadata.next;
        if next.is_empty() {
            return Ok(found);
        }
    }
    Err(RequestError::Unsupported {
        operation: format!("GET {}", resource.path(namespace, None)),
        found: "more than 50,000 objects",
        needed: "fewer",
    })
}

fn sighting(cluster: &Cluster, resource: &Resource, call: &Call, json: &[u8]) -> Result<Sighting, RequestError> {
    Sighting::read(cluster.id(), &resource.group_kind(), json).map_err(|error| RequestError::Decode {
        operation: call.operation(),
        line: error.line(),
        column: error.column(),
    })
}
