//! A blocking client of the API server: kept connections, bytes as they are, watches as lines.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use testkit::{Tenant, WRIT_NAMESPACE, WRIT_SERVICE_ACCOUNT, wait_until};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A connection is made on loopback; what takes longer is broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer read: one object.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// A token lives longer than any bench.
const TOKEN_DURATION: &str = "12h";
/// How long RBAC may take to see a new binding.
const BINDING_PATIENCE: Duration = Duration::from_secs(30);
/// ServiceAccount of edits, pokes and the probe.
const HAND: &str = "hand";

/// Who speaks to which server.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Access {
    server: String,
    authority: String,
    token: String,
    /// As whom, if not as who the token is of.
    #[serde(default)]
    impersonated: Option<String>,
}

impl Access {
    /// As the ServiceAccount that writ impersonates for this tenant.
    pub(super) fn deployer(tenant: &Tenant<'_>) -> Result<Self> {
        Self::of(tenant, tenant.namespace(), tenant.service_account())
    }

    /// As writ's own ServiceAccount, which acts as the one that it impersonates for this tenant.
    pub(super) fn impersonating(tenant: &Tenant<'_>) -> Result<Self> {
        let (namespace, account) = (tenant.namespace(), tenant.service_account());
        let access = Self {
            impersonated: Some(format!("system:serviceaccount:{namespace}:{account}")),
            ..Self::of(tenant, WRIT_NAMESPACE, WRIT_SERVICE_ACCOUNT)?
        };
        access.in_force(namespace)?;
        Ok(access)
    }

    /// As a ServiceAccount of its own that may do everything in the cluster: edits, pokes, and the probe.
    pub(super) fn hand(tenant: &Tenant<'_>) -> Result<Self> {
        tenant.kubectl(&["create", "serviceaccount", HAND])?;
        tenant.kubectl(&[
            "create",
            "clusterrolebinding",
            &format!("{}-{HAND}", tenant.namespace()),
            "--clusterrole=cluster-admin",
            &format!("--serviceaccount={}:{HAND}", tenant.namespace()),
        ])?;
        let access = Self::of(tenant, tenant.namespace(), HAND)?;
        access.in_force(tenant.namespace())?;
        Ok(access)
    }

    /// Waits until the bindings behind it are in force.
    fn in_force(&self, namespace: &str) -> Result<()> {
        let api = Api::new(self)?;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?limit=1");
        wait_until("the binding to be in force", BINDING_PATIENCE, || api.get(&path).map(drop))
    }

    fn of(tenant: &Tenant<'_>, namespace: &str, name: &str) -> Result<Self> {
        let plane = tenant.control_plane();
        let token = plane.kubectl(&["create", "token", name, "-n", namespace, "--duration", TOKEN_DURATION])?;
        Ok(Self {
            server: plane.server().to_owned(),
            authority: plane.authority().to_owned(),
            token: token.trim().to_owned(),
            impersonated: None,
        })
    }
}

/// How a PATCH is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patch {
    /// Server-side apply.
    Apply,
    /// JSON merge patch.
    Merge,
}

/// One client; a thread each keeps a connection each.
pub(super) struct Api {
    agent: ureq::Agent,
    server: String,
    authorization: String,
    impersonated: Option<String>,
}

impl Api {
    pub(super) fn new(access: &Access) -> Result<Self> {
        let root = Certificate::from_pem(access.authority.as_bytes()).context("cannot read the authority")?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            server: access.server.clone(),
            authorization: format!("Bearer {}", access.token),
            impersonated: access.impersonated.clone(),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.server);
        let response = self.known(self.agent.get(url)).call();
        body(response.with_context(|| format!("GET {path}"))?, path)
    }

    pub(super) fn patch(&self, path: &str, patch: Patch, bytes: &str) -> Result<String> {
        let content = match patch {
            Patch::Apply => "application/apply-patch+yaml",
            Patch::Merge => "application/merge-patch+json",
        };
        let request = self.agent.patch(format!("{}{path}", self.server));
        let request = self.known(request).header("content-type", content);
        body(request.send(bytes).with_context(|| format!("PATCH {path}"))?, path)
    }

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.server);
        let response = self.known(self.agent.delete(url)).call();
        body(response.with_context(|| format!("DELETE {path}"))?, path).map(drop)
    }

    /// A request that says who asks.
    fn known<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.header("authorization", &self.authorization);
        match &self.impersonated {
            Some(user) => request.header("impersonate-user", user),
            None => request,
        }
    }

    /// A watch: one event per line.
    pub(super) fn watch(&self, path: &str) -> Result<impl BufRead + Send + use<>> {
        let url = format!("{}{path}", self.server);
        let response = self.known(self.agent.get(url)).call();
        let response = response.with_context(|| format!("watch {path}"))?;
        if response.status().as_u16() != 200 {
            bail!("watch {path}: status {}", response.status());
        }
        Ok(BufReader::with_capacity(1 << 16, response.into_body().into_reader()))
    }
}

fn body(mut response: ureq::http::Response<ureq::Body>, path: &str) -> Result<String> {
    let status = response.status();
    let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
    let text = text.with_context(|| format!("cannot read the answer of {path}"))?;
    if !status.is_success() {
        bail!("{path}: status {status}: {text}");
    }
    Ok(text)
}
