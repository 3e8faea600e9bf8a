//! Requests to a Git server: https only, no redirects, no proxy, exact answers, bounded bytes.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use manifest::Sensitive;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use ureq::{
    Agent, Body, BodyReader, Timeout,
    http::{HeaderValue, Response, header},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use crate::{
    anchors::anchors_from_pem,
    app::Tokens,
    budget::{Budget, CONNECT_SECONDS, SILENCE_SECONDS},
    credentials::ClientCertificate,
    exchange::{ExchangeError, Waiting, quoted},
    remote::{MAX_REDIRECTS, RemoteError},
};

/// Headers of one answer: twice what servers send at most by default (8 KiB).
const MAX_HEADER_BYTES: usize = 16 << 10;
/// A connection is kept this long between polls: below the 75 s after which nginx closes it.
const IDLE_SECONDS: u64 = 70;

/// The content type of every answer.
const ANSWER_TYPE: &str = "application/x-git-upload-pack-result";

/// The program and its version, as servers log it.
pub(crate) const USER_AGENT: &str = concat!("writ/", env!("CARGO_PKG_VERSION"));

/// A request body with its headers.
pub(crate) struct Post<'a> {
    pub(crate) body: &'a [u8],
    /// The value of `git-protocol`, for a protocol other than version 0.
    pub(crate) protocol: Option<&'static str>,
}

/// A connection to one repository. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    anchors: Arc<Vec<CertificateDer<'static>>>,
    certificate: Option<ClientCertificate>,
    authorization: Option<Authorization>,
}

/// What the `authorization` header is made of.
#[derive(Debug, Clone)]
pub(crate) enum Authorization {
    /// Its value.
    Fixed(Sensitive<String>),
    /// Tokens that are asked for elsewhere.
    App(Arc<Tokens>),
}

impl Authorization {
    fn value(&self, time: &Budget) -> Result<Sensitive<String>, ExchangeError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::App(tokens) => tokens.header(time),
        }
    }
}

impl Client {
    pub(crate) fn new(
        base: &str,
        anchors: Arc<Vec<CertificateDer<'static>>>,
        certificate: Option<ClientCertificate>,
        authorization: Option<Authorization>,
    ) -> Result<Self, RemoteError> {
        if let Some(Authorization::Fixed(value)) = &authorization {
            header_value(value).ok_or(RemoteError::Credentials { reason: "they cannot be sent in a header" })?;
        }
        let shown = certificate.as_ref().map(shown).transpose()?;
        Ok(Self { agent: agent(&anchors, shown, 1), base: base.to_owned(), anchors, certificate, authorization })
    }

    /// What the server knows us by.
    pub(crate) const fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// The certificates that the server is trusted by.
    pub(crate) fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// The value of the `authorization` header; asks for a token if that is what it takes.
    pub(crate) fn authorization(&self, time: &Budget) -> Result<Option<Sensitive<String>>, ExchangeError> {
        self.authorization.as_ref().map(|authorization| authorization.value(time)).transpose()
    }

    /// A command to `git-upload-pack`.
    pub(crate) fn upload_pack(&self, post: &Post<'_>, budget: &Budget) -> Result<Received, ExchangeError> {
        let url = format!("{}/git-upload-pack", self.base);
        let mut request = self
            .agent
            .post(url)
            .config()
            .timeout_global(Some(budget.remaining()?))
            .build()
            .header(header::CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(header::ACCEPT, ANSWER_TYPE);
        if let Some(protocol) = post.protocol {
            request = request.header("git-protocol", protocol);
        }
        if let Some(value) = self.authorization(budget)?.as_ref().and_then(header_value) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = request.send(post.body).map_err(|error| failure(error, budget))?;
        let checked = check(answer, budget);
        if let (Err(ExchangeError::Credentials { .. }), Some(Authorization::App(tokens))) =
            (&checked, &self.authorization)
        {
            tokens.forget();
        }
        checked
    }
}

/// One for requests that trust these certificates, show that one, and keep so many connections.
pub(crate) fn agent(anchors: &[CertificateDer<'static>], shown: Option<ClientCert>, kept: usize) -> Agent {
    let roots = anchors.iter().map(|anchor| Certificate::from_der(anchor).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(shown)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .https_only(true)
        .proxy(None)
        .max_redirects(MAX_REDIRECTS)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(USER_AGENT)
        .accept_encoding("identity")
        .max_response_header_size(MAX_HEADER_BYTES)
        .max_idle_connections(kept)
        .max_idle_connections_per_host(kept)
        .max_idle_age(Duration::from_secs(IDLE_SECONDS))
        .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS)))
        .timeout_per_read(Some(Duration::from_secs(SILENCE_SECONDS)))
        .timeout_per_write(Some(Duration::from_secs(SILENCE_SECONDS)))
        .tls_config(tls)
        .build()
        .new_agent()
}

/// A certificate with its key, once it is clear that they are a pair: nothing is sent with another.
fn shown(certificate: &ClientCertificate) -> Result<ClientCert, RemoteError> {
    let refuse = |reason| RemoteError::Certificate { reason };
    let chain = anchors_from_pem(&certificate.chain).map_err(|_| refuse("it cannot be read"))?;
    let unreadable = "its private key is not in PEM form, or has a passphrase";
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose()).map_err(|_| refuse(unreadable))?;
    rustls::sign::CertifiedKey::from_der(chain.clone(), key, &rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|_| refuse("the private key is not that of the certificate"))?;
    let chain: Vec<_> = chain.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    let key = PrivateKey::from_pem(certificate.key.expose()).map_err(|_| refuse(unreadable))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn header_value(value: &Sensitive<String>) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(value.expose()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("authorization", &self.authorization)
            .finish_non_exhaustive()
    }
}

/// Only status 200 with the exact content type is an answer.
fn check(answer: Response<Body>, budget: &Budget) -> Result<Received, ExchangeError> {
    let text =
        |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let status = answer.status().as_u16();
    match status {
        200 => {}
        300..=399 => return Err(ExchangeError::Redirect { status, location: place(text(header::LOCATION)) }),
        401 | 403 => return Err(ExchangeError::Credentials { status }),
        _ => return Err(ExchangeError::Status { status }),
    }
    let found = text(header::CONTENT_TYPE);
    if found != ANSWER_TYPE {
        return Err(ExchangeError::ContentType { found: quoted(found), needed: ANSWER_TYPE.to_owned() });
    }
    Ok(Received::of(answer, budget))
}

/// A redirect's target without query and user info, either may hold a token.
pub(crate) fn place(location: &str) -> String {
    let bare = location.split(['?', '#']).next().unwrap_or_default();
    let bare = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => bare.to_owned(),
    };
    quoted(&bare)
}

/// A response body that counts against the budget. Its errors carry an [`ExchangeError`].
pub(crate) struct Received {
    reader: BodyReader<'static>,
    budget: Budget,
}

impl Received {
    pub(crate) fn of(answer: Response<Body>, budget: &Budget) -> Self {
        Self { reader: answer.into_body().into_reader(), budget: budget.clone() }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer).map_err(|error| io::Error::other(failure(error.into(), &self.budget)))?;
        self.budget.take(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

pub(crate) fn failure(error: ureq::Error, budget: &Budget) -> ExchangeError {
    match error {
        ureq::Error::HostNotFound => ExchangeError::HostUnknown,
        ureq::Error::Timeout(timeout) => timed_out(timeout, budget),
        ureq::Error::Rustls(error) => tls(&error),
        ureq::Error::Tls(detail) => ExchangeError::Tls { detail: detail.to_owned() },
        ureq::Error::Io(error) => input_output(&error),
        ureq::Error::LargeResponseHeader(..) => {
            ExchangeError::Protocol { detail: "its headers are too large".to_owned() }
        }
        ureq::Error::Protocol(error) => ExchangeError::Protocol { detail: quoted(&error.to_string()) },
        other => ExchangeError::Connection { detail: quoted(&other.to_string()) },
    }
}

fn timed_out(timeout: Timeout, budget: &Budget) -> ExchangeError {
    let (waiting, seconds) = match timeout {
        Timeout::Resolve | Timeout::Connect => (Waiting::Connecting, CONNECT_SECONDS),
        Timeout::PerRead | Timeout::PerWrite => (Waiting::Reading, SILENCE_SECONDS),
        _ => (Waiting::Whole, budget.seconds()),
    };
    ExchangeError::TimedOut { waiting, seconds }
}

fn input_output(error: &io::Error) -> ExchangeError {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls(error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ExchangeError::Truncated,
        _ => ExchangeError::Connection { detail: quoted(&error.to_string()) },
    }
}

fn tls(error: &rustls::Error) -> ExchangeError {
    use rustls::{AlertDescription, CertificateError, Error};
    match error {
        // What a server says of ours.
        Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => ExchangeError::ClientCertificate { detail: format!("{alert:?}") },
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => ExchangeError::UnknownIssuer,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => ExchangeError::WrongName,
        other => ExchangeError::Tls { detail: quoted(&other.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_target_is_shown_without_secrets() {
        assert_eq!(place("https://user:canary@b.example/c?token=canary#x"), "https://b.example/c");
        assert_eq!(place("/elsewhere?x"), "/elsewhere");
        assert_eq!(place(""), "");
    }

    #[test]
    fn the_authorization_is_never_printed() {
        let secret = Sensitive::new("Bearer canary-55d1".to_owned());
        let header = header_value(&secret).unwrap();
        let fixed = Some(Authorization::Fixed(secret));
        let client = Client::new("https://a.example/b", Arc::default(), None, fixed).unwrap();
        assert!(!format!("{client:?} {header:?}").contains("canary-55d1"));
    }
}
