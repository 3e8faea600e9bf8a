//! One request to the API server: by hand, with a deadline and a bounded answer.
//!
//! Nothing here logs a body: a failed request is described by the server's `metav1.Status`, whose
//! words stay [`Sensitive`] until a caller says that the object is not.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use manifest::Sensitive;
use serde::Deserialize;

/// How long one request may take. The API server gives up on a write after 34 s by itself; its own
/// answer should arrive before we hang up.
pub(crate) const REQUEST_DEADLINE: Duration = Duration::from_secs(40);
/// The largest object taken. etcd stores at most 1.5 MiB per object by default; as JSON, with
/// managedFields spelled out, that stays below four times as much.
pub(crate) const MAX_OBJECT_BYTES: usize = 6 << 20;
/// The largest page of a list, and the largest discovery document: a page holds 500 objects, which
/// are below 100 KiB on average wherever lists work at all.
pub(crate) const MAX_PAGE_BYTES: usize = 48 << 20;
/// The largest failure that is read: a `metav1.Status` with a cause for each field of a broken
/// object.
const MAX_STATUS_BYTES: usize = 1 << 20;
/// The most causes kept of one failure: what a person reads.
const MAX_CAUSES: usize = 20;

/// What the API server says when it does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure {
    /// HTTP status.
    pub status: u16,
    /// Machine-readable reason, such as `Conflict`; empty if there was none.
    pub reason: String,
    /// The server's sentence. It may quote values of the object.
    pub message: Sensitive<String>,
    /// What `details.kind` names: a resource or kind.
    pub details_kind: String,
    /// One per field, at most 20.
    pub causes: Vec<ApiCause>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

/// One cause of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiCause {
    /// Machine-readable reason, such as `FieldValueInvalid`.
    pub reason: String,
    /// Field in dotted form; may be empty.
    pub field: String,
    /// The server's words. They may quote values of the object.
    pub message: Sensitive<String>,
}

impl ApiFailure {
    /// Status, reason and fields: what may be shown of any object.
    #[must_use]
    pub fn reduced(&self) -> String {
        let mut text = format!("{} {}", self.status, if self.reason.is_empty() { "(no reason)" } else { &self.reason });
        for cause in self.causes.iter().filter(|cause| !cause.field.is_empty()) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "; {}: {}", cause.field, cause.reason);
        }
        text
    }

    /// The server's own words. Only for objects that are not sensitive.
    #[must_use]
    pub fn words(&self) -> String {
        let message = self.message.expose();
        if message.is_empty() { self.reduced() } else { message.clone() }
    }
}

/// Why a request gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request could not be built: a name that no URL or header can carry.
    #[error("cannot form the request: {operation}")]
    Build {
        /// Method and path.
        operation: String,
        /// Why.
        source: http::Error,
    },
    /// The server answered with a failure.
    #[error("{operation}: {}", failure.reduced())]
    Refused {
        /// Method and path.
        operation: String,
        /// The failure.
        failure: Box<ApiFailure>,
    },
    /// No answer arrived.
    #[error("{operation}: no answer")]
    Transport {
        /// Method and path.
        operation: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{operation}: no answer within {} s", limit.as_secs())]
    Deadline {
        /// Method and path.
        operation: String,
        /// The limit.
        limit: Duration,
    },
    /// The answer is larger than allowed.
    #[error("{operation}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// Method and path.
        operation: String,
        /// The limit.
        limit: usize,
    },
    /// The answer is not what was asked for. serde's sentence may quote a value, so only the place
    /// is kept.
    #[error("{operation}: the answer cannot be read (line {line}, column {column})")]
    Decode {
        /// Method and path.
        operation: String,
        /// Line in the answer.
        line: usize,
        /// Column in the answer.
        column: usize,
    },
    /// The server answers in a way that writ cannot work with.
    #[error("{operation}: {found}; needed: {needed}")]
    Unsupported {
        /// Method and path.
        operation: String,
        /// What it answered.
        found: &'static str,
        /// What writ needs.
        needed: &'static str,
    },
}

impl RequestError {
    /// The server's failure, if it gave one.
    #[must_use]
    pub fn failure(&self) -> Option<&ApiFailure> {
        match self {
            Self::Refused { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// HTTP status of the server's failure.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.failure().map(|failure| failure.status)
    }

    /// True if the same request may succeed later without anybody mending anything: no answer, too
    /// many requests, or a failure of the server itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } => true,
            // 500 is also what a schema violation gets: "failed to create typed patch object".
            Self::Refused { failure, .. } => {
                matches!(failure.status, 408 | 429 | 502..=504)
                    || failure.status == 500 && !failure.message.expose().contains("typed patch object")
            }
            Self::Build { .. } | Self::TooLarge { .. } | Self::Decode { .. } | Self::Unsupported { .. } => false,
        }
    }
}

/// Who the API server takes a request to be made by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// writ's own ServiceAccount.
    Own,
    /// The ServiceAccount a Sync names: `system:serviceaccount:<namespace>:<name>`.
    Impersonated(Arc<str>),
}

impl Identity {
    /// A ServiceAccount by namespace and name.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::Impersonated(format!("system:serviceaccount:{namespace}:{name}").into())
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) body: Arc<[u8]>,
    pub(crate) identity: Identity,
    pub(crate) limit: usize,
}

impl Call {
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            content_type: None,
            accept: None,
            body: Arc::from([]),
            identity: Identity::Own,
            limit: MAX_OBJECT_BYTES,
        }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: Arc<[u8]>) -> Self {
        self.content_type = Some(content_type);
        self.body = body;
        self
    }

    pub(crate) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = Some(accept);
        self
    }

    pub(crate) fn by(mut self, identity: &Identity) -> Self {
        self.identity = identity.clone();
        self
    }

    pub(crate) fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Method and path, without the query: what errors and logs name.
    pub(crate) fn operation(&self) -> String {
        format!("{} {}", self.method, self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path))
    }

    fn build(&self) -> Result<Request<Body>, http::Error> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(accept) = self.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Identity::Impersonated(user) = &self.identity {
            request = request.header("impersonate-user", user.as_ref());
        }
        request.body(Body::from(self.body.to_vec()))
    }
}

/// An answer that was not a failure.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a request once and collects its answer.
pub(crate) async fn send(client: &kube::Client, call: &Call) -> Result<Answer, RequestError> {
    let exchange = async {
        let (status, body) = open(client, call).await?;
        let limit = call.limit;
        let body = Limited::new(body, limit).collect().await.map_err(|source| {
            if source.downcast_ref::<LengthLimitError>().is_some() {
                RequestError::TooLarge { operation: call.operation(), limit }
            } else {
                RequestError::Transport { operation: call.operation(), source }
            }
        })?;
        Ok(Answer { status, body: body.to_bytes().to_vec() })
    };
    match tokio::time::timeout(REQUEST_DEADLINE, exchange).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(RequestError::Deadline { operation: call.operation(), limit: REQUEST_DEADLINE }),
    }
}

/// Sends a request and returns the body of a successful answer as a stream. The caller sets the
/// deadline.
pub(crate) async fn open(client: &kube::Client, call: &Call) -> Result<(u16, Body), RequestError> {
    let request = call.build().map_err(|source| RequestError::Build { operation: call.operation(), source })?;
    let response = client
        .send(request)
        .await
        .map_err(|source| RequestError::Transport { operation: call.operation(), source: Box::new(source) })?;
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok((head.status.as_u16(), body));
    }
    // A failure whose words cannot be read is still a failure with a status.
    let words = match Limited::new(body, MAX_STATUS_BYTES).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(_unreadable) => Vec::new(),
    };
    let failure = parse_failure(head.status.as_u16(), &head.headers, &words);
    Err(RequestError::Refused { operation: call.operation(), failure: Box::new(failure) })
}

/// Reads an answer as JSON.
pub(crate) fn decode<'a, T: Deserialize<'a>>(call: &Call, body: &'a [u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| RequestError::Decode {
        operation: call.operation(),
        line: error.line(),
        column: error.column(),
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    reason: String,
    message: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    field: String,
    message: String,
}

/// The failure in a `metav1.Status`, or in whatever stood in its place.
pub(crate) fn parse_failure(status: u16, headers: &HeaderMap, body: &[u8]) -> ApiFailure {
    let parsed: Status = serde_json::from_slice(body).unwrap_or_default();
    let details = parsed.details.unwrap_or_default();
    let header =
        headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    ApiFailure {
        status,
        reason: parsed.reason,
        message: Sensitive::new(parsed.message),
        details_kind: details.kind,
        causes: details
            .causes
            .into_iter()
            .take(MAX_CAUSES)
            .map(|cause| ApiCause { reason: cause.reason, field: cause.field, message: Sensitive::new(cause.message) })
            .collect(),
        retry_after: header.or(details.retry_after_seconds).map(Duration::from_secs),
    }
}

/// One segment of a path, or one value of a query, as it goes into a URL: all but unreserved
/// characters (RFC 3986) are percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(encode("a/../b?x=1%"), "a%2F..%2Fb%3Fx%3D1%25");
        assert_eq!(encode("system:node-1.x_y~"), "system%3Anode-1.x_y~");
    }

    #[test]
    fn a_failure_shows_no_value_unless_asked() {
        let body = br#"{"kind":"Status","reason":"Invalid","message":"data: Invalid value: hunter2",
            "details":{"kind":"Secret","causes":[{"reason":"FieldValueInvalid","field":"data.k","message":"Invalid value: hunter2"}]}}"#;
        let failure = parse_failure(422, &HeaderMap::new(), body);
        assert_eq!(failure.reduced(), "422 Invalid; data.k: FieldValueInvalid");
        assert!(!format!("{failure:?}").contains("hunter2"));
        assert!(failure.words().contains("hunter2"));
    }

    #[test]
    fn retry_after_is_read_from_header_or_body() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(parse_failure(429, &headers, b"not json").retry_after, Some(Duration::from_secs(7)));
        let body = br#"{"details":{"retryAfterSeconds":3}}"#;
        assert_eq!(parse_failure(503, &HeaderMap::new(), body).retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_may_be_tried_again() {
        let refused = |status, message: &str| {
            let body = format!(r#"{{"message":"{message}"}}"#);
            let failure = Box::new(parse_failure(status, &HeaderMap::new(), body.as_bytes()));
            RequestError::Refused { operation: String::new(), failure }.is_transient()
        };
        assert!(refused(429, "") && refused(503, "") && refused(500, "etcd is gone") && refused(504, ""));
        assert!(!refused(
            500,
            "failed to create typed patch object (shop/x; /v1, Kind=ConfigMap): .datas: field not declared"
        ));
        assert!(!refused(409, "") && !refused(422, "") && !refused(403, "") && !refused(404, ""));
    }
}
