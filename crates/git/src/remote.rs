//! What to fetch from where: address, branch, trust anchors, credentials and limits.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Sensitive;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use crate::http::Client;

/// The longest url accepted, in bytes: what every server and proxy in use accepts (2 KiB).
pub const MAX_URL_BYTES: usize = 2_048;
/// The largest bundle of certificates, in bytes: 500 authorities (there are about 150 public ones) of 2 KiB each.
pub const MAX_CA_BYTES: usize = 1 << 20;
/// The largest user name, password or token, in bytes: half of the 16 KiB that servers allow for all headers.
pub const MAX_CREDENTIAL_BYTES: usize = 8 << 10;
/// Redirects that are followed: none, they would carry credentials to a place that nobody named.
pub const MAX_REDIRECTS: u32 = 0;

/// Why a remote cannot be used as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The url is malformed or of a kind that is not supported.
    #[error("the url is not supported: {reason}")]
    Url {
        /// What is wrong, without the url: it may hold a password.
        reason: String,
    },
    /// The ref is malformed or of a kind that is not supported.
    #[error("the ref {name:?} is not supported: {reason}")]
    Ref {
        /// The ref.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The trust anchors cannot be read.
    #[error("the certificate authority cannot be used: {reason}")]
    Anchors {
        /// What is wrong with them.
        reason: String,
    },
    /// The credentials cannot be sent.
    #[error("the credentials cannot be used: {reason}")]
    Credentials {
        /// What is wrong with them, without them.
        reason: &'static str,
    },
    /// A limit is zero or over its ceiling.
    #[error("limits.{name} is {value}, which is not within 1 and {ceiling}")]
    Limit {
        /// The field.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The most it may be.
        ceiling: u64,
    },
}

/// A branch by its full name (`refs/heads/main`). Tags are not supported yet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchRef(String);

impl BranchRef {
    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BranchRef {
    type Err = RemoteError;

    /// The rules of `git check-ref-format`, for branches only.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let refuse = |reason| RemoteError::Ref { name: text.chars().take(trust::MAX_BRANCH_BYTES).collect(), reason };
        trust::check_branch(text).map_err(refuse)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BranchRef {
    type Error = RemoteError;

    fn try_from(text: String) -> Result<Self, RemoteError> {
        text.parse()
    }
}

impl From<BranchRef> for String {
    fn from(name: BranchRef) -> Self {
        name.0
    }
}

impl fmt::Display for BranchRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BranchRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BranchRef({})", self.0)
    }
}

/// What is sent to the server as proof of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// RFC 7617.
    Basic {
        /// Without a colon.
        username: String,
        /// Password or access token.
        password: Sensitive<String>,
    },
    /// RFC 6750.
    Bearer(Sensitive<String>),
}

impl Credentials {
    /// The value of the `authorization` header.
    fn header(&self) -> Result<Sensitive<String>, RemoteError> {
        let refuse = |reason| Err(RemoteError::Credentials { reason });
        let (value, parts) = match self {
            Self::Basic { username, password } => {
                if username.contains(':') {
                    return refuse("a user name with a colon cannot be sent as basic authentication");
                }
                let pair = format!("{username}:{}", password.expose());
                (format!("Basic {}", STANDARD.encode(&pair)), pair)
            }
            Self::Bearer(token) => (format!("Bearer {}", token.expose()), token.expose().clone()),
        };
        if parts.is_empty() || parts == ":" {
            return refuse("they are empty");
        }
        if parts.len() > MAX_CREDENTIAL_BYTES {
            return refuse("they are longer than 8 KiB");
        }
        if parts.chars().any(char::is_control) {
            return refuse("they hold a control character (a line break at the end of a file, perhaps)");
        }
        if !value.is_ascii() {
            return refuse("a token with characters outside ASCII cannot be sent");
        }
        Ok(Sensitive::new(value))
    }
}

/// Bounds of one exchange. [`Limits::default`] fits a configuration repository of 10,000 manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Bytes one fetch may receive, headers excluded.
    pub bytes: u64,
    /// Objects one fetch may receive.
    pub objects: u64,
    /// Bytes of a mirror's packs: those of what was accepted, and those of what was fetched last.
    pub mirror_bytes: u64,
    /// Bytes of one object; a commit may have [`crate::MAX_COMMIT_BYTES`].
    pub object_bytes: u64,
    /// Seconds one poll may take.
    pub poll_seconds: u64,
    /// Seconds one fetch may take.
    pub fetch_seconds: u64,
}

impl Limits {
    /// 256 MiB: 5,000 manifests with 1,000 commits are 1.7 MB packed; 150 times that.
    pub const BYTES: u64 = 256 << 20;
    /// 4 GiB: what an index of version 2 addresses without its table of large offsets, twice over.
    pub const BYTES_CEILING: u64 = 4 << 30;
    /// 512 MiB: what was accepted, and the largest fetch beside it (256 MiB). Each GitSource has a mirror, and the
    /// volume of deploy/ has room for one of them, `expected/` and a log.
    pub const MIRROR_BYTES: u64 = 2 * Self::BYTES;
    /// 8 GiB: the largest fetch, twice.
    pub const MIRROR_BYTES_CEILING: u64 = 2 * Self::BYTES_CEILING;
    /// One million: 10,000 files, and 100,000 commits with nine objects each.
    pub const OBJECTS: u64 = 1_000_000;
    /// Sixteen million: their index (36 bytes each) is 576 MB.
    pub const OBJECTS_CEILING: u64 = 16_000_000;
    /// 32 MiB: twice the largest file that is read ([`crate::MAX_BLOB_BYTES`]).
    pub const OBJECT_BYTES: u64 = 32 << 20;
    /// 256 MiB: a difference, its base and its result fit thrice into the child's memory limit.
    pub const OBJECT_BYTES_CEILING: u64 = 256 << 20;
    /// A poll takes 65 bytes and milliseconds; 20 s outlast a lost packet's retries (1+2+4+8 s).
    pub const POLL_SECONDS: u64 = 20;
    /// Five minutes: above that a poll hides that the server is gone.
    pub const POLL_SECONDS_CEILING: u64 = 300;
    /// 256 MiB over 20 Mbit/s are 107 s.
    pub const FETCH_SECONDS: u64 = 120;
    /// One hour.
    pub const FETCH_SECONDS_CEILING: u64 = 3_600;

    fn check(&self) -> Result<(), RemoteError> {
        let table = [
            ("bytes", self.bytes, Self::BYTES_CEILING),
            ("mirrorBytes", self.mirror_bytes, Self::MIRROR_BYTES_CEILING),
            ("objects", self.objects, Self::OBJECTS_CEILING),
            ("objectBytes", self.object_bytes, Self::OBJECT_BYTES_CEILING),
            ("pollSeconds", self.poll_seconds, Self::POLL_SECONDS_CEILING),
            ("fetchSeconds", self.fetch_seconds, Self::FETCH_SECONDS_CEILING),
        ];
        match table.into_iter().find(|(_, value, ceiling)| *value == 0 || value > ceiling) {
            Some((name, value, ceiling)) => Err(RemoteError::Limit { name, value, ceiling }),
            None => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: Self::BYTES,
            mirror_bytes: Self::MIRROR_BYTES,
            objects: Self::OBJECTS,
            object_bytes: Self::OBJECT_BYTES,
            poll_seconds: Self::POLL_SECONDS,
            fetch_seconds: Self::FETCH_SECONDS,
        }
    }
}

/// What a remote may need beyond url and ref.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// PEM certificates that alone are trusted for this remote; `None`: the system's.
    pub ca: Option<Vec<u8>>,
    /// What to authenticate with.
    pub credentials: Option<Credentials>,
    /// Bounds.
    pub limits: Limits,
}

/// A checked remote with its connection. Keep it between polls: the connection is kept alive in
/// it, also across clones.
#[derive(Clone)]
pub struct Remote {
    pub(crate) url: String,
    pub(crate) reference: BranchRef,
    pub(crate) anchors: Arc<Vec<CertificateDer<'static>>>,
    pub(crate) authorization: Option<Sensitive<String>>,
    pub(crate) limits: Limits,
    pub(crate) client: Client,
}

impl Remote {
    /// Checks everything and prepares the connection; nothing is sent yet. Without a CA of its own
    /// the system's trust anchors are read from the file system.
    ///
    /// # Errors
    /// Whatever is malformed or not supported, by name.
    pub fn new(url: &str, reference: &str, options: &RemoteOptions) -> Result<Self, RemoteError> {
        let url = checked_url(url)?;
        let reference = reference.parse()?;
        options.limits.check()?;
        let authorization = options.credentials.as_ref().map(Credentials::header).transpose()?;
        let anchors = Arc::new(match &options.ca {
            Some(pem) => anchors_from_pem(pem)?,
            None => system_anchors()?,
        });
        Self::assemble(url, reference, anchors, authorization, options.limits)
    }

    pub(crate) fn assemble(
        url: String,
        reference: BranchRef,
        anchors: Arc<Vec<CertificateDer<'static>>>,
        authorization: Option<Sensitive<String>>,
        limits: Limits,
    ) -> Result<Self, RemoteError> {
        let client = Client::new(&url, &anchors, authorization.as_ref())?;
        Ok(Self { url, reference, anchors, authorization, limits, client })
    }

    /// The address, without a slash at its end; never holds credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The tracked branch.
    #[must_use]
    pub fn reference(&self) -> &BranchRef {
        &self.reference
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .field("reference", &self.reference)
            .field("authorization", &self.authorization)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The url, checked and without slashes at its end.
pub(crate) fn checked_url(text: &str) -> Result<String, RemoteError> {
    let refuse = |reason: &str| RemoteError::Url { reason: reason.to_owned() };
    if text.len() > MAX_URL_BYTES {
        return Err(refuse("it is longer than 2048 bytes"));
    }
    if let Some((scheme, _)) = text.split_once("://")
        && !scheme.eq_ignore_ascii_case("https")
    {
        let scheme: String = scheme.chars().take(16).collect();
        return Err(RemoteError::Url { reason: format!("the scheme {scheme:?} is none of: https") });
    }
    let uri: Uri = text.parse().map_err(|_| refuse("it is not a url of the form https://host/path"))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("https")) else {
        return Err(refuse("it is not of the form https://host/path (ssh and local paths are not supported)"));
    };
    if authority.as_str().contains('@') {
        return Err(refuse("it holds user info; credentials belong into the secret"));
    }
    if authority.host().is_empty() {
        return Err(refuse("it names no host"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(refuse("it has a query or a fragment"));
    }
    let path = uri.path().trim_end_matches('/');
    if path.is_empty() {
        return Err(refuse("it names no repository (the path is empty)"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(refuse("its path has the segment . or .."));
    }
    Ok(format!("https://{authority}{path}"))
}

fn anchors_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let refuse = |reason: String| RemoteError::Anchors { reason };
    if pem.len() > MAX_CA_BYTES {
        return Err(refuse("the bundle is larger than 1 MiB".to_owned()));
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("it is not PEM ({error})")))?;
    if certificates.is_empty() {
        return Err(refuse("it holds no certificate".to_owned()));
    }
    let mut store = rustls::RootCertStore::empty();
    for (position, certificate) in certificates.iter().enumerate() {
        store
            .add(certificate.clone())
            .map_err(|error| refuse(format!("certificate {} of it is malformed ({error})", position + 1)))?;
    }
    Ok(certificates)
}

/// The system's bundle; one unreadable file among many does not take the others along.
fn system_anchors() -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a part of the system's trust anchors could not be read");
    }
    if found.certs.is_empty() {
        return Err(RemoteError::Anchors { reason: "none is configured and the system has none either".to_owned() });
    }
    Ok(found.certs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_url(url: &str, expected: Result<&str, &str>) {
        match (checked_url(url), expected) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
            (found, _) => panic!("{url}: {found:?}"),
        }
    }

    #[test]
    fn urls() {
        check_url("https://git.example.com/shop.git/", Ok("https://git.example.com/shop.git"));
        check_url("https://[::1]:8443/a/b", Ok("https://[::1]:8443/a/b"));
        check_url("HTTPS://git.example.com/shop", Ok("https://git.example.com/shop"));
        check_url("http://git.example.com/shop", Err("\"http\" is none of: https"));
        check_url("ssh://git@example.com/shop", Err("\"ssh\" is none of: https"));
        check_url("file:///srv/shop", Err("\"file\" is none of: https"));
        check_url("ext::sh -c id", Err("not a url"));
        check_url("git@example.com:shop", Err("https"));
        check_url("/srv/shop", Err("local paths"));
        check_url("https://user:canary@example.com/shop", Err("user info"));
        check_url("https://example.com/", Err("names no repository"));
        check_url("https://example.com/a/../b", Err("segment"));
        check_url("https://example.com/a?b=c", Err("query"));
        check_url("https://example.com/a#b", Err("fragment"));
        check_url("https://example.com/a b", Err("not a url"));
        check_url(&format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES)), Err("longer"));
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        let error = checked_url("https://user:canary-7f3a@example.com/shop").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary-7f3a"));
    }

    #[test]
    fn refs() {
        for name in ["refs/heads/main", "refs/heads/release/1.2", "refs/heads/ümlaut"] {
            assert_eq!(name.parse::<BranchRef>().unwrap().as_str(), name);
        }
        for name in [
            "main",
            "HEAD",
            "",
            "refs/heads/",
            "refs/heads",
            "refs/heads/a..b",
            "refs/heads/.a",
            "refs/heads/a/",
            "refs/heads//a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/a:b",
            "refs/heads/*",
            "refs/heads/a@{1}",
            "refs/heads/a\n",
            "refs/replace/x",
            "refs/tags/v1",
            "+refs/heads/main",
        ] {
            assert!(name.parse::<BranchRef>().is_err(), "{name:?} was accepted");
        }
        assert!("refs/tags/v1".parse::<BranchRef>().unwrap_err().to_string().contains("tags are not supported yet"));
    }

    #[test]
    fn credentials() {
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.to_owned(),
            password: Sensitive::new(password.to_owned()),
        };
        assert_eq!(basic("Aladdin", "open sesame").header().unwrap().expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(Credentials::Bearer(Sensitive::new("t0ken".into())).header().unwrap().expose(), "Bearer t0ken");
        for refused in [basic("a:b", "c"), basic("a", "b\n"), basic("", ""), basic("a", &"b".repeat(9_000))] {
            assert!(refused.header().is_err());
        }
        assert!(Credentials::Bearer(Sensitive::new("a\r\nx: y".into())).header().is_err());
        assert!(Credentials::Bearer(Sensitive::new("ü".into())).header().is_err());
    }

    #[test]
    fn limits_have_ceilings() {
        assert!(Limits::default().check().is_ok());
        let error = Limits { objects: 0, ..Limits::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "limits.objects is 0, which is not within 1 and 16000000");
        assert!(Limits { bytes: u64::MAX, ..Limits::default() }.check().is_err());
    }

    #[test]
    fn a_ca_that_is_none_is_refused() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(anchors_from_pem(pem).is_err());
        }
    }
}
