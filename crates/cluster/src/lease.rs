//! The Lease: one replica has one log; a second instance must notice before it does anything.
//!
//! It is a guard, not an election: whoever finds it held by another identity stops. The identity is
//! stable over restarts (the pod's name), so a crash does not lock the same replica out.

use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use manifest::{Finding, Subject};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Cluster, ClusterCode,
    request::{Call, RequestError, decode, encode},
    text::{chain, micros, shorten},
};

/// A Lease of `coordination.k8s.io/v1`.
#[derive(Debug, Clone)]
pub struct Lease {
    cluster: Cluster,
    namespace: String,
    name: String,
    identity: String,
    /// How long it is valid after each renewal.
    validity: Duration,
}

/// Why the Lease is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another instance holds it.
    #[error("the Lease {namespace}/{name} is held by {holder} until {until}")]
    Held {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Who holds it.
        holder: String,
        /// Until when, unless it is renewed.
        until: Timestamp,
    },
    /// A request failed.
    #[error("the Lease {namespace}/{name} cannot be used")]
    Request {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Why.
        source: Box<RequestError>,
    },
}

impl LeaseError {
    /// What a person is told: A112 if another instance holds it, else A106.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (code, namespace, name, found, fix) = match self {
            Self::Held { namespace, name, holder, until } => (
                ClusterCode::A112,
                namespace,
                name,
                format!("held by {holder} until {until}"),
                format!("stop {holder}, or this instance; after a crash the Lease runs out by itself"),
            ),
            Self::Request { namespace, name, source } => (
                ClusterCode::A106,
                namespace,
                name,
                chain(source.as_ref()),
                "none, it is tried again; if it lasts, look at the API server's health".to_owned(),
            ),
        };
        Finding {
            code: code.entry(),
            subject: Subject::Named(format!("Lease {namespace}/{name}")),
            rule: None,
            found: found.into(),
            needed: "one instance of writ".into(),
            fix: fix.into(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    holder_identity: Option<String>,
    renew_time: Option<Timestamp>,
    acquire_time: Option<Timestamp>,
    lease_duration_seconds: Option<u32>,
    lease_transitions: Option<u32>,
}

impl Lease {
    /// A Lease that is not taken yet; see [`acquire`](Self::acquire).
    #[must_use]
    pub fn new(cluster: Cluster, namespace: &str, name: &str, identity: &str, validity: Duration) -> Self {
        let identity = shorten(identity, 128);
        Self { cluster, namespace: namespace.to_owned(), name: name.to_owned(), identity, validity }
    }

    /// How often [`acquire`](Self::acquire) should be called to keep it: three times within its
    /// validity.
    #[must_use]
    pub fn renew_every(&self) -> Duration {
        self.validity / 3
    }

    /// Takes or renews it.
    ///
    /// # Errors
    /// [`LeaseError::Held`] when another identity holds it and it is still valid; a failed request
    /// otherwise, also when two instances tried at once and the other one won.
    pub async fn acquire(&self, now: Timestamp) -> Result<(), LeaseError> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", encode(&self.namespace));
        let get = Call::get(format!("{path}/{}", encode(&self.name)));
        let (call, spec, version) = match self.cluster.send(&get).await {
            Ok(answer) => {
                let lease: Value = decode(&get, &answer.body).map_err(|source| self.error(source))?;
                let spec = Spec::deserialize(lease.get("spec").unwrap_or(&Value::Null)).unwrap_or_default();
                let version = lease.pointer("/metadata/resourceVersion").cloned();
                (Call::new(Method::PUT, get.path.clone()), spec, version)
            }
            Err(error) if error.status() == Some(404) => (Call::new(Method::POST, path), Spec::default(), None),
            Err(error) => return Err(self.error(error)),
        };
        let ours = spec.holder_identity.as_deref().is_none_or(|holder| holder.is_empty() || holder == self.identity);
        if !ours {
            let valid = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or_default()));
            let until = spec.renew_time.unwrap_or(Timestamp::MIN).saturating_add(valid).unwrap_or(Timestamp::MAX);
            if until > now {
                return Err(LeaseError::Held {
                    namespace: self.namespace.clone(),
                    name: self.name.clone(),
                    holder: spec.holder_identity.unwrap_or_default(),
                    until,
                });
            }
        }
        let kept = ours && spec.holder_identity.is_some();
        let acquired = if kept { spec.acquire_time.unwrap_or(now) } else { now };
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace, "resourceVersion": version},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": self.validity.as_secs().max(1),
                "acquireTime": micros(acquired),
                "renewTime": micros(now),
                "leaseTransitions": spec.lease_transitions.unwrap_or_default() + u32::from(!kept),
            },
        });
        let call = call.body("application/json", body.to_string().into_bytes().into());
        self.cluster.send(&call).await.map(drop).map_err(|source| self.error(source))
    }

    fn error(&self, source: RequestError) -> LeaseError {
        LeaseError::Request { namespace: self.namespace.clone(), name: self.name.clone(), source: Box::new(source) }
    }
}
