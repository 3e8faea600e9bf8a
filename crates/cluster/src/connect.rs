//! The cluster as a value: a client, an id, and what is known of its API.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use manifest::{ClusterId, Finding, Subject};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{
    ClusterCode,
    apply::Lanes,
    discovery::Discovery,
    request::{Answer, Call, RequestError, decode, send},
    text::chain,
};

/// How long a TCP and TLS handshake may take: several round trips to the other end of the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the API server is and who we are there.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// The current context of a kubeconfig file.
    Kubeconfig(&'a Path),
    /// The ServiceAccount of the pod this process runs in.
    InCluster,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be read.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// This is no pod, or its ServiceAccount is not mounted.
    #[error("cannot use the pod's ServiceAccount")]
    InCluster {
        /// Why.
        source: Box<kube::config::InClusterError>,
    },
    /// The kubeconfig says not to check who answers.
    #[error("insecure-skip-tls-verify is set for {server}: whoever answers could give orders in its name")]
    Unverified {
        /// Address of the API server.
        server: String,
    },
    /// The client cannot be made.
    #[error("cannot make a client for {server}")]
    Client {
        /// Address of the API server.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The cluster cannot be identified.
    #[error("cannot read the namespace kube-system, whose UID identifies the cluster")]
    Identify {
        /// Why.
        source: Box<RequestError>,
    },
    /// What the cluster serves cannot be learnt.
    #[error("cannot learn which kinds the cluster serves")]
    Discover {
        /// Why.
        source: Box<RequestError>,
    },
}

impl ConnectError {
    /// What a person is told: A111 if the server lacks something, else A106.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let unsupported =
            matches!(self, Self::Discover { source } if matches!(**source, RequestError::Unsupported { .. }));
        let (code, needed, fix) = if unsupported {
            (ClusterCode::A111, "a Kubernetes that writ knows", "update Kubernetes to 1.30 or newer")
        } else {
            (
                ClusterCode::A106,
                "an API server that answers",
                "check the address, the credentials and the API server's health",
            )
        };
        Finding {
            code: code.entry(),
            subject: Subject::Named("API server".to_owned()),
            rule: None,
            found: chain(self).into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }
}

/// One cluster. Cheap to clone; all clones share connections and limits.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    id: ClusterId,
    discovery: RwLock<Arc<Discovery>>,
    lanes: Lanes,
    /// How the API server calls us, once it was asked.
    user: OnceCell<String>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cluster").field(&self.inner.id).finish()
    }
}

impl Cluster {
    /// Connects, identifies the cluster by the UID of its namespace `kube-system`, and learns which
    /// kinds it serves.
    ///
    /// # Errors
    /// When one of the steps fails; each names itself.
    pub async fn connect(access: Access<'_>) -> Result<Self, ConnectError> {
        let config = match access {
            Access::Kubeconfig(path) => {
                let error = |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
                let kubeconfig = Kubeconfig::read_from(path).map_err(error)?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(error)?
            }
            Access::InCluster => {
                kube::Config::incluster().map_err(|source| ConnectError::InCluster { source: Box::new(source) })?
            }
        };
        Self::with_config(config).await
    }

    async fn with_config(mut config: kube::Config) -> Result<Self, ConnectError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Retries are ours: each is counted, bounded and honours Retry-After.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        if config.accept_invalid_certs {
            return Err(ConnectError::Unverified { server });
        }
        let client = kube::Client::try_from(config)
            .map_err(|source| ConnectError::Client { server, source: Box::new(source) })?;
        Self::with_client(client).await
    }

    /// Identifies the cluster behind a client and learns what it serves.
    pub(crate) async fn with_client(client: kube::Client) -> Result<Self, ConnectError> {
        let id = identify(&client).await.map_err(|source| ConnectError::Identify { source: Box::new(source) })?;
        let discovery =
            Discovery::of(&client).await.map_err(|source| ConnectError::Discover { source: Box::new(source) })?;
        let discovery = RwLock::new(Arc::new(discovery));
        let inner = Inner { client, id, discovery, lanes: Lanes::new(), user: OnceCell::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which cluster this is.
    #[must_use]
    pub fn id(&self) -> &ClusterId {
        &self.inner.id
    }

    /// What the cluster served when it was last asked.
    #[must_use]
    pub fn discovery(&self) -> Arc<Discovery> {
        // The lock guards one pointer: a panic elsewhere leaves it whole.
        self.inner.discovery.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the cluster again which kinds it serves. To be called when a CustomResourceDefinition
    /// or APIService changed.
    ///
    /// # Errors
    /// When the request fails; what was known before stays.
    pub async fn refresh_discovery(&self) -> Result<Arc<Discovery>, RequestError> {
        let discovery = Arc::new(Discovery::of(&self.inner.client).await?);
        *self.inner.discovery.write().unwrap_or_else(PoisonError::into_inner) = discovery.clone();
        Ok(discovery)
    }

    /// Asks whether the API server is ready to serve (`/readyz`).
    ///
    /// # Errors
    /// When it is not.
    pub async fn ready(&self) -> Result<(), RequestError> {
        self.send(&Call::get("/readyz".to_owned())).await.map(drop)
    }

    /// How the API server calls this process: `system:serviceaccount:<namespace>:<name>` in a pod. `None` if it does not say.
    pub(crate) async fn user(&self) -> Option<&str> {
        match self.inner.user.get_or_try_init(|| who_am_i(&self.inner.client)).await {
            Ok(user) => Some(user),
            Err(error) => {
                tracing::debug!(error = %error, "the API server does not say who we are");
                None
            }
        }
    }

    pub(crate) fn client(&self) -> &kube::Client {
        &self.inner.client
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, RequestError> {
        send(&self.inner.client, call).await
    }
}

async fn identify(client: &kube::Client) -> Result<ClusterId, RequestError> {
    #[derive(Deserialize)]
    struct Namespace {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
    }
    let call = Call::get("/api/v1/namespaces/kube-system".to_owned());
    let answer = send(client, &call).await?;
    let namespace: Namespace = decode(&call, &answer.body)?;
    Ok(ClusterId::new(&namespace.metadata.uid))
}

async fn who_am_i(client: &kube::Client) -> Result<String, RequestError> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        user_info: UserInfo,
    }
    #[derive(Deserialize)]
    struct UserInfo {
        username: String,
    }
    let body = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let call = Call::new(Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned())
        .body("application/json", body.to_string().into_bytes().into());
    let answer = send(client, &call).await?;
    let review: Review = decode(&call, &answer.body)?;
    Ok(review.status.user_info.username)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_verified_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
        let refused = Cluster::connect(Access::Kubeconfig(file.path())).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Unverified { .. }), "{refused}");
    }
}
