//! Status of custom resources: one request when something changed, none when not.

use std::collections::HashMap;

use http::Method;
use manifest::{Digest, canonical_json};
use serde_json::json;

use crate::{
    Cluster, FIELD_MANAGER,
    crd::{Custom, CustomSpec},
    request::{Call, RequestError},
};

/// The most objects whose last status is remembered; beyond it statuses are written more often than
/// needed, never less. 100 bytes each.
const MAX_REMEMBERED: usize = 10_000;

/// Whether a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was.
    Changed,
    /// The status was already that.
    Unchanged,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The status cannot be encoded.
    #[error("the status of {kind} {name} cannot be encoded")]
    Encode {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The request failed.
    #[error("the status of {kind} {name} cannot be written")]
    Write {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// Why.
        source: Box<RequestError>,
    },
}

/// Writes statuses, and remembers what it wrote.
#[derive(Debug, Default)]
pub struct StatusWriter {
    written: HashMap<String, Digest>,
}

impl StatusWriter {
    /// Makes `status` the status of `object`, by server-side apply on the status subresource.
    ///
    /// # Errors
    /// When encoding or the request fails; 404 means the object is gone.
    pub async fn write<S>(
        &mut self,
        cluster: &Cluster,
        object: &Custom<S>,
        status: &S::Status,
    ) -> Result<Written, StatusError>
    where
        S: CustomSpec + std::fmt::Debug + Clone + PartialEq,
        S::Status: std::fmt::Debug,
    {
        let name = object.name().to_owned();
        let status = serde_json::to_value(status).map_err(|source| StatusError::Encode {
            kind: S::KIND,
            name: name.clone(),
            source,
        })?;
        // By UID: an object that was deleted and created again has no status.
        let key = format!("{} {}", S::KIND, object.metadata.uid.as_deref().unwrap_or_default());
        let digest = Digest::of(&canonical_json(&status));
        if self.written.get(&key) == Some(&digest) {
            return Ok(Written::Unchanged);
        }
        let resource = S::resource();
        let body = canonical_json(&json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": object.namespace(), "uid": object.metadata.uid},
            "status": status,
        }));
        let path = resource.path(object.namespace(), Some(&name));
        let call = Call::new(Method::PATCH, format!("{path}/status?fieldManager={FIELD_MANAGER}&force=true"))
            .body("application/apply-patch+yaml", body.into());
        match cluster.send(&call).await {
            Ok(_) => {}
            Err(source) => return Err(StatusError::Write { kind: S::KIND, name, source: Box::new(source) }),
        }
        if self.written.len() >= MAX_REMEMBERED {
            self.written.clear();
        }
        self.written.insert(key, digest);
        Ok(Written::Changed)
    }

    /// Forgets what was written: somebody else changed a status, so the next one is written again.
    pub fn forget(&mut self) {
        self.written.clear();
    }
}
