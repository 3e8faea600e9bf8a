//! What a fetch child is asked and what it answers: JSON on its stdin and stdout, never arguments
//! or environment, which other processes can read.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Sensitive;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use trust::{CommitId, ObjectFormat, TagId};

use crate::{
    address::Address,
    budget::Budget,
    client::Client,
    confinement::Confinement,
    credentials::ClientCertificate,
    error::GitError,
    exchange::ExchangeError,
    http,
    remote::{Limits, Remote, RemoteError, Tracked, TrackedRef},
    ssh,
};

/// The largest request: 1 MiB of certificates ([`crate::remote::MAX_CA_BYTES`]) are 1.4 MiB in base64,
/// and system bundles are a third of that.
pub(crate) const MAX_REQUEST_BYTES: u64 = 4 << 20;
/// The largest reply: an error has at most a few quoted texts of 160 characters, or the path of the mirror (4 KiB).
pub(crate) const MAX_REPLY_BYTES: u64 = 16 << 10;

/// What the child does.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Task {
    /// It fetches.
    Fetch,
    /// It makes one pack of many, within the limits of a fetch.
    Compact,
}

/// What to fetch. The child finds the mirror in its working directory. No `Debug`: it holds credentials.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) task: Task,
    pub(crate) parent: u32,
    url: String,
    reference: TrackedRef,
    limits: Limits,
    /// Absent when nothing is fetched.
    way: Option<Way>,
}

/// How to get there.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Way {
    Https { anchors: Vec<String>, authorization: Option<String>, certificate: Option<(String, String)> },
    Ssh { known_hosts: String, identity: String },
}

impl Way {
    /// A token is asked for here: the child gets no more than it needs.
    fn of(remote: &Remote) -> Result<Self, GitError> {
        let time = Budget::new(remote.limits.poll_seconds, 0);
        let failed = |source| GitError::Exchange { url: remote.url.clone(), source };
        let pem = |ClientCertificate { chain, key }: &ClientCertificate| {
            (STANDARD.encode(chain), STANDARD.encode(key.expose()))
        };
        Ok(match &remote.client {
            Client::Https(client) => Self::Https {
                anchors: client.anchors().iter().map(|anchor| STANDARD.encode(anchor)).collect(),
                authorization: client.authorization(&time).map_err(failed)?.map(Sensitive::into_exposed),
                certificate: client.certificate().map(pem),
            },
            // Opened already: the child has less time.
            Client::Ssh(client) => {
                Self::Ssh { known_hosts: client.known_hosts().to_owned(), identity: client.open()?.into_exposed() }
            }
        })
    }

    fn into_client(self, address: Address) -> Result<Client, RemoteError> {
        match (self, address) {
            (Self::Https { anchors, authorization, certificate }, Address::Https { base, .. }) => {
                let anchors = anchors
                    .iter()
                    .map(|text| STANDARD.decode(text).map(CertificateDer::from))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| RemoteError::Anchors {
                        reason: "the request holds one that is not base64".to_owned(),
                    })?;
                let decode = |text: String| {
                    let reason = "the request holds one that is not base64";
                    STANDARD.decode(text).map_err(|_| RemoteError::Certificate { reason })
                };
                let pair =
                    |(chain, key)| Ok(ClientCertificate { chain: decode(chain)?, key: Sensitive::new(decode(key)?) });
                let certificate = certificate.map(pair).transpose()?;
                let authorization = authorization.map(Sensitive::new).map(http::Authorization::Fixed);
                http::Client::new(&base, Arc::new(anchors), certificate, authorization).map(Client::Https)
            }
            (Self::Ssh { known_hosts, identity }, Address::Ssh(address)) => {
                ssh::Client::new(address, &known_hosts, &Sensitive::new(identity), None).map(Client::Ssh)
            }
            _ => Err(RemoteError::Url { reason: "it does not fit to what it is asked with".to_owned() }),
        }
    }
}

impl Request {
    pub(crate) fn fetch(remote: &Remote) -> Result<Self, GitError> {
        Ok(Self { task: Task::Fetch, way: Some(Way::of(remote)?), ..Self::compact(remote) })
    }

    /// For the limits alone.
    pub(crate) fn compact(remote: &Remote) -> Self {
        Self {
            task: Task::Compact,
            parent: std::process::id(),
            url: remote.url.clone(),
            reference: remote.tracked.reference.clone(),
            limits: remote.limits,
            way: None,
        }
    }

    /// The one port that it takes; none if nothing is fetched.
    pub(crate) fn port(&self) -> Result<Option<u16>, RemoteError> {
        self.way.as_ref().map(|_| Address::parse(&self.url).map(|address| address.port())).transpose()
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The remote, for the one who fetches into a mirror of this format.
    pub(crate) fn into_remote(self, format: ObjectFormat) -> Result<Remote, RemoteError> {
        let Self { url, reference, limits, way, .. } = self;
        let address = Address::parse(&url)?;
        let way = way.ok_or_else(|| RemoteError::Url { reason: "nothing says how to get there".to_owned() })?;
        Ok(Remote {
            url: address.to_string(),
            client: way.into_client(address)?,
            tracked: Tracked { reference, format },
            limits,
        })
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reply {
    /// The head is in the mirror.
    Fetched(Fetched),
    /// The mirror has one pack.
    Compacted,
    /// The server, or the way to it.
    Failed(ExchangeError),
    /// Its memory did not suffice.
    OutOfMemory,
    /// The child itself: limits, mirror, request.
    Broken(String),
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fetched {
    /// The commit that the branch named when it was fetched: what the poll saw, or newer. It is not
    /// judged yet; a forced push may have put anything there.
    pub head: CommitId,
    /// The tag object that leads there, if the ref is a tag that is one.
    #[serde(default)]
    pub tag: Option<TagId>,
    /// Bytes received, headers excluded.
    pub bytes: u64,
    /// Objects received.
    pub objects: u64,
    /// Requests sent.
    pub requests: u64,
    /// How the process that fetched was confined.
    #[serde(default)]
    pub confinement: Confinement,
}
