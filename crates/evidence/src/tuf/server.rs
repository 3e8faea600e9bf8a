//! The server of a TUF repository: https, no redirects, no proxy, bounded in bytes and time.

use std::{
    io::Read as _,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::pki_types::CertificateDer;
use sigstore_tuf::{Error, Repository, transport::FetchFuture};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::tuf::TufError;

/// How long everything that is fetched at once may take: 3.2 MiB at 64 KiB a second.
pub const FETCH_SECONDS: u64 = 60;
/// How long it takes to connect at most, as with a Git server.
const CONNECT_SECONDS: u64 = 10;
/// How long the server may be silent.
const SILENCE_SECONDS: u64 = 10;
/// Headers of one answer: twice what servers send at most by default (8 KiB).
const MAX_HEADER_BYTES: usize = 16 << 10;

pub(super) struct Server {
    agent: Agent,
    base: String,
    until: Instant,
}

impl Server {
    /// The time runs from here on.
    pub(super) fn new(base: &str, anchors: Option<&[CertificateDer<'static>]>) -> Result<Self, TufError> {
        let agent = match anchors {
            Some(anchors) => agent(anchors),
            None => agent(&system_anchors()?),
        };
        Ok(Self { agent, base: base.to_owned(), until: Instant::now() + Duration::from_secs(FETCH_SECONDS) })
    }

    /// A file below the address; `None` if there is none.
    fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let url = format!("{}/{path}", self.base);
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::transport(format!("{url}: the {FETCH_SECONDS} s for everything are over")));
        }
        let request = self.agent.get(&url).config().timeout_global(Some(left)).build();
        let answer = request.call().map_err(|error| Error::transport(format!("{url}: {error}")))?;
        match answer.status().as_u16() {
            200 => {}
            // Stores of objects say 403 of what they do not have.
            403 | 404 => return Ok(None),
            status @ 300..=399 => {
                return Err(Error::transport(format!("{url}: it redirects (status {status}), which is not followed")));
            }
            status => return Err(Error::transport(format!("{url}: status {status}"))),
        }
        let mut bytes = Vec::new();
        let mut body = answer.into_body().into_reader().take(most.saturating_add(1));
        body.read_to_end(&mut bytes).map_err(|error| Error::transport(format!("{url}: {error}")))?;
        if bytes.len() as u64 > most {
            return Err(Error::transport(format!("{url}: more than {most} bytes")));
        }
        Ok(Some(bytes))
    }
}

impl Repository for Server {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        let found = self.get(name, max_length);
        Box::pin(async move { found })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        let found = self.get(&format!("targets/{path}"), max_length);
        Box::pin(async move { found })
    }
}

fn agent(anchors: &[CertificateDer<'static>]) -> Agent {
    let roots = anchors.iter().map(|anchor| Certificate::from_der(anchor).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .https_only(true)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("writ/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .max_response_header_size(MAX_HEADER_BYTES)
        .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS)))
        .timeout_per_read(Some(Duration::from_secs(SILENCE_SECONDS)))
        .timeout_per_write(Some(Duration::from_secs(SILENCE_SECONDS)))
        .tls_config(tls)
        .build()
        .new_agent()
}

/// The system's bundle; one unreadable file among many does not take the others along.
fn system_anchors() -> Result<Vec<CertificateDer<'static>>, TufError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a part of the system's trust anchors could not be read");
    }
    if found.certs.is_empty() {
        let reason = "none is given (spec.keyless.refresh.caCertificates), and the system has none either";
        return Err(TufError::Certificates(reason.to_owned()));
    }
    Ok(found.certs)
}
