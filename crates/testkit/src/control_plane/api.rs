//! Plain requests to the API server, for what `kubectl` would be too slow or too clever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::authority::Issued;

/// A request against a healthy server on loopback takes milliseconds; one that hangs is a failure worth seeing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer read: /metrics of a busy API server is a few MiB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// A client of one API server with one client certificate.
#[derive(Debug)]
pub(crate) struct Api {
    agent: ureq::Agent,
    server: String,
}

impl Api {
    pub(crate) fn new(server: &str, authority: &str, client: &Issued) -> Result<Self> {
        let root = Certificate::from_pem(authority.as_bytes()).context("cannot read the authority's certificate")?;
        let chain =
            Certificate::from_pem(client.certificate.as_bytes()).context("cannot read the client certificate")?;
        let key = PrivateKey::from_pem(client.key.as_bytes()).context("cannot read the client key")?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[root]))
            .client_cert(Some(ClientCert::new_with_certs(&[chain], key)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(REQUEST_TIMEOUT))
            // A connection kept from before a restart would fail the first request after it.
            .max_idle_connections(0)
            .build()
            .new_agent();
        Ok(Self { agent, server: server.to_owned() })
    }

    /// GET; any status but 200 is an error that carries the answer.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let mut response =
            self.agent.get(format!("{}{path}", self.server)).call().with_context(|| format!("GET {path}"))?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string()
            .with_context(|| format!("GET {path}"))?;
        if status != 200 {
            bail!("GET {path}: status {status}: {body}");
        }
        Ok(body)
    }
}

/// GET of a plain http address on loopback; any status but 200 is an error that carries the answer.
pub(crate) fn get_plain(url: &str) -> Result<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .max_idle_connections(0)
        .build()
        .new_agent();
    let mut response = agent.get(url).call().with_context(|| format!("GET {url}"))?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_string()
        .with_context(|| format!("GET {url}"))?;
    if status != 200 {
        bail!("GET {url}: status {status}: {body}");
    }
    Ok(body)
}
