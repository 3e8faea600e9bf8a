//! What a fetch child is asked and what it answers: JSON on its stdin and stdout, never arguments
//! or environment, which other processes can read.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Sensitive;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use trust::CommitId;

use crate::{
    exchange::ExchangeError,
    remote::{BranchRef, Limits, Remote, RemoteError, checked_url},
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
    reference: BranchRef,
    anchors: Vec<String>,
    authorization: Option<String>,
    limits: Limits,
}

impl Request {
    pub(crate) fn of(remote: &Remote) -> Self {
        Self {
            task: Task::Fetch,
            parent: std::process::id(),
            url: remote.url.clone(),
            reference: remote.reference.clone(),
            anchors: remote.anchors.iter().map(|anchor| STANDARD.encode(anchor)).collect(),
            authorization: remote.authorization.as_ref().map(|value| value.expose().clone()),
            limits: remote.limits,
        }
    }

    /// For the limits alone.
    pub(crate) fn compact(remote: &Remote) -> Self {
        Self { task: Task::Compact, authorization: None, ..Self::of(remote) }
    }

    pub(crate) fn into_remote(self) -> Result<Remote, RemoteError> {
        let anchors = self
            .anchors
            .iter()
            .map(|text| STANDARD.decode(text).map(CertificateDer::from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| RemoteError::Anchors { reason: "the request holds one that is not base64".to_owned() })?;
        let url = checked_url(&self.url)?;
        let authorization = self.authorization.map(Sensitive::new);
        Remote::assemble(url, self.reference, Arc::new(anchors), authorization, self.limits)
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
    /// Bytes received, headers excluded.
    pub bytes: u64,
    /// Objects received.
    pub objects: u64,
    /// Requests sent.
    pub requests: u64,
}
