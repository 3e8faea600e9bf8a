//! What to fetch from where: address, branch, trust anchors, credentials and limits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use trust::ObjectFormat;

use crate::{
    address::Address,
    attestations::{APPROVAL_NOTES, APPROVAL_TREE},
    client::Client,
    credentials::{ClientCertificate, Credentials},
    heartbeats::HEARTBEAT_REF,
};

/// The longest url accepted, in bytes: what every server and proxy in use accepts (2 KiB).
pub const MAX_URL_BYTES: usize = 2_048;
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
    /// The host keys cannot be read.
    #[error("known_hosts cannot be used: {}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    KnownHosts {
        /// Where, if it is about one line.
        line: Option<usize>,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The client certificate cannot be used.
    #[error("the client certificate cannot be used: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: &'static str,
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

/// A branch (`refs/heads/main`) or tag (`refs/tags/live`) by its full name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackedRef(String);

impl TrackedRef {
    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a tag.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        trust::tag_name(&self.0).is_some()
    }
}

impl TrackedRef {
    /// The refs under which approvals lie; see [`crate::Polled`].
    pub(crate) fn of_approvals() -> [Self; 2] {
        [APPROVAL_NOTES, APPROVAL_TREE].map(|name| Self(name.to_owned()))
    }

    /// The ref under which heartbeats lie.
    pub(crate) fn of_heartbeats() -> Self {
        Self(HEARTBEAT_REF.to_owned())
    }
}

impl FromStr for TrackedRef {
    type Err = RemoteError;

    /// The rules of `git check-ref-format`, for branches and tags.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let refuse = |reason| RemoteError::Ref { name: text.chars().take(trust::MAX_REF_BYTES).collect(), reason };
        trust::check_ref(text).map_err(refuse)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TrackedRef {
    type Error = RemoteError;

    /// As read back by a fetch process: a branch or tag, or a ref of what lies beside it.
    fn try_from(text: String) -> Result<Self, RemoteError> {
        let mut beside = Self::of_approvals().into_iter().chain([Self::of_heartbeats()]);
        match beside.find(|known| known.0 == text) {
            Some(known) => Ok(known),
            None => text.parse(),
        }
    }
}

impl From<TrackedRef> for String {
    fn from(name: TrackedRef) -> Self {
        name.0
    }
}

impl fmt::Display for TrackedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrackedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackedRef({})", self.0)
    }
}

/// A ref that is fetched, and how its repository names objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) reference: TrackedRef,
    pub(crate) format: ObjectFormat,
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
    /// PEM certificates that alone are trusted for this remote; `None`: the system's. For https.
    pub ca: Option<Vec<u8>>,
    /// The host keys that are trusted, as the text of a `known_hosts` file; `None`: none. For ssh.
    pub known_hosts: Option<String>,
    /// What the server knows us by before it is asked anything. For https.
    pub client_certificate: Option<ClientCertificate>,
    /// What to authenticate with. ssh needs a private key.
    pub credentials: Option<Credentials>,
    /// The hash that the repository names its objects by; a server of another one is refused.
    pub format: ObjectFormat,
    /// Bounds.
    pub limits: Limits,
}

/// A checked remote with its connection. Keep it between polls: the connection of https is kept alive in
/// it, also across clones.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) url: String,
    pub(crate) tracked: Tracked,
    pub(crate) limits: Limits,
    pub(crate) client: Client,
}

/// Limits of a fetch of approvals: ten thousand of them, each 2 KiB with its note's folders and commit, are 20 MB; four
/// objects each.
const APPROVALS: Limits = Limits {
    bytes: 32 << 20,
    objects: 50_000,
    object_bytes: 1 << 20,
    mirror_bytes: 64 << 20,
    poll_seconds: Limits::POLL_SECONDS,
    fetch_seconds: Limits::FETCH_SECONDS,
};

impl Remote {
    /// The same repository, for one of the refs of approvals, or that of heartbeats. Who may push there need not be who may push the branch: less
    /// is taken from them.
    pub(crate) fn for_approvals(&self, reference: TrackedRef) -> Self {
        let least = |one: u64, other: u64| one.min(other);
        let limits = Limits {
            bytes: least(APPROVALS.bytes, self.limits.bytes),
            objects: least(APPROVALS.objects, self.limits.objects),
            object_bytes: least(APPROVALS.object_bytes, self.limits.object_bytes),
            mirror_bytes: least(APPROVALS.mirror_bytes, self.limits.mirror_bytes),
            ..self.limits
        };
        Self { tracked: Tracked { reference, ..self.tracked }, limits, ..self.clone() }
    }
}

impl Remote {
    /// Checks everything and prepares the connection; nothing is sent yet. Without a CA of its own
    /// the system's trust anchors are read from the file system, for https.
    ///
    /// # Errors
    /// Whatever is malformed or not supported, by name.
    pub fn new(url: &str, reference: &str, options: &RemoteOptions) -> Result<Self, RemoteError> {
        let address = Address::parse(url)?;
        let tracked = Tracked { reference: reference.parse()?, format: options.format };
        options.limits.check()?;
        let url = address.to_string();
        let client = Client::of(address, options)?;
        Ok(Self { url, tracked, limits: options.limits, client })
    }

    /// The address, without a slash at its end; never holds credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The tracked ref.
    #[must_use]
    pub fn reference(&self) -> &TrackedRef {
        &self.tracked.reference
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs() {
        for name in ["refs/heads/main", "refs/heads/release/1.2", "refs/heads/ümlaut", "refs/tags/v1", "refs/tags/a/b"]
        {
            assert_eq!(name.parse::<TrackedRef>().unwrap().as_str(), name);
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
            "refs/tags/",
            "refs/tags/v1^{}",
            "refs/notes/v1",
            "+refs/heads/main",
        ] {
            assert!(name.parse::<TrackedRef>().is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn limits_have_ceilings() {
        assert!(Limits::default().check().is_ok());
        let error = Limits { objects: 0, ..Limits::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "limits.objects is 0, which is not within 1 and 16000000");
        assert!(Limits { bytes: u64::MAX, ..Limits::default() }.check().is_err());
    }
}
