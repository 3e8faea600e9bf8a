//! The errors of this crate, and what a person is told about them.

use manifest::{Finding, Subject};

use crate::{code::GitCode, exchange::ExchangeError, fetch::ChildError, mirror::MirrorError, remote::RemoteError};

/// Why a remote's head did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The remote cannot be used as it is written.
    #[error("the source cannot be used")]
    Remote(#[from] RemoteError),
    /// The exchange with the server failed.
    #[error("the exchange with {url} failed")]
    Exchange {
        /// The remote's address.
        url: String,
        /// Why.
        source: ExchangeError,
    },
    /// The fetch child failed without an answer.
    #[error("the fetch of {url} failed")]
    Child {
        /// The remote's address.
        url: String,
        /// Why.
        source: ChildError,
    },
    /// The mirror cannot be used.
    #[error("the mirror cannot be used")]
    Mirror(#[from] MirrorError),
}

impl GitError {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> GitCode {
        match self {
            Self::Remote(_) => GitCode::W609,
            Self::Exchange { source, .. } => source.code(),
            Self::Child { source, .. } => source.code(),
            Self::Mirror(error) => error.code(),
        }
    }

    /// What a person is told.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (subject, found, (needed, fix)) = match self {
            Self::Remote(error) => ("the source's remote".to_owned(), error.to_string(), remote_advice(error)),
            Self::Exchange { url, source } => (url.clone(), source.to_string(), source.advice(url)),
            Self::Child { url, source } => (url.clone(), source.to_string(), source.advice()),
            Self::Mirror(error) => (error.place(), error.found(), error.advice()),
        };
        Finding {
            code: self.code().entry(),
            subject: Subject::Named(subject),
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }
}

fn remote_advice(error: &RemoteError) -> (String, String) {
    let pair = |needed: &str, fix: &str| (needed.to_owned(), fix.to_owned());
    match error {
        RemoteError::Url { .. } => {
            pair("https://host/path or ssh://user@host/path, without a password", "correct spec.url")
        }
        RemoteError::Ref { .. } => {
            pair("a branch or tag by its full name", "set ref to refs/heads/<branch> or refs/tags/<tag>")
        }
        RemoteError::Anchors { .. } => {
            pair("certificates in PEM form", "correct ca.crt in the secret named by spec.secretRef")
        }
        RemoteError::Certificate { .. } => pair(
            "a certificate and its private key in PEM form",
            "correct tls.crt and tls.key in the secret named by spec.secretRef",
        ),
        RemoteError::KnownHosts { .. } => {
            pair("lines of the form: host type key", "correct known_hosts in the secret named by spec.secretRef")
        }
        RemoteError::Credentials { .. } => pair(
            "username and password, a bearer token or a GitHub App for https; identity for ssh",
            "correct the secret named by spec.secretRef",
        ),
        RemoteError::Limit { name, ceiling, .. } => {
            (format!("a number from 1 to {ceiling}"), format!("report this: no resource sets {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        exchange::Waiting,
        remote::{Remote, RemoteOptions},
    };

    /// An error for each code, as it comes about.
    fn examples() -> Vec<GitError> {
        let exchange = |source| GitError::Exchange { url: "https://git.example.com/shop".to_owned(), source };
        let mirror = || "/var/lib/writ/mirror/shop".into();
        let refused = io::Error::from_raw_os_error(111).to_string();
        let full = io::Error::from_raw_os_error(28);
        let scp = Remote::new("git@example.com:shop", "refs/heads/main", &RemoteOptions::default());
        vec![
            exchange(ExchangeError::Connection { detail: refused }),
            exchange(ExchangeError::UnknownIssuer),
            exchange(ExchangeError::Bytes { limit: crate::Limits::BYTES }),
            MirrorError::Foreign { path: mirror(), what: "refs/replace is present".to_owned() }.into(),
            exchange(ExchangeError::Redirect { status: 301, location: "https://new.example.com/shop".to_owned() }),
            exchange(ExchangeError::Credentials { status: 401 }),
            exchange(ExchangeError::TimedOut { waiting: Waiting::Reading, seconds: 20 }),
            exchange(ExchangeError::RefMissing { reference: "refs/heads/main".to_owned() }),
            scp.unwrap_err().into(),
            MirrorError::File { path: mirror(), operation: "create the mirror", source: full }.into(),
        ]
    }

    #[test]
    fn the_examples_of_the_register_are_what_is_printed() {
        let examples = examples();
        assert_eq!(examples.iter().map(GitError::code).collect::<Vec<_>>(), GitCode::ALL);
        for error in examples {
            assert_eq!(error.finding().to_string(), error.code().entry().example);
        }
    }
}
