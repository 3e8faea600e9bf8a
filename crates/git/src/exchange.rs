//! What can go wrong between us and a Git server. Crosses from the fetch child to its parent, so it
//! is data; never holds a credential or a response body.

use std::io;

use serde::{Deserialize, Serialize};

use crate::code::GitCode;

/// The longest text of a server that is repeated to people, in characters: two lines of a terminal.
const MAX_QUOTED: usize = 160;

/// Which part of an exchange took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Waiting {
    /// Name, connection or TLS handshake.
    Connecting,
    /// The peer was silent.
    Reading,
    /// The whole exchange.
    Whole,
}

impl Waiting {
    const fn words(self) -> &'static str {
        match self {
            Self::Connecting => "the connection was not made in time",
            Self::Reading => "the server fell silent",
            Self::Whole => "the exchange took too long",
        }
    }
}

/// What is wrong with the host key of an ssh server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyProblem {
    /// Nothing is known about the server.
    Unknown,
    /// The server is known by other keys.
    Different,
    /// The key is marked as revoked.
    Revoked,
}

impl KeyProblem {
    const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "no line of known_hosts is about it",
            Self::Different => "known_hosts has other keys of it",
            Self::Revoked => "known_hosts has that key as revoked",
        }
    }
}

/// Why an exchange with a Git server failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum ExchangeError {
    /// The host has no address.
    #[error("the host name has no address")]
    HostUnknown,
    /// The connection failed.
    #[error("the connection failed ({detail})")]
    Connection {
        /// The system's words.
        detail: String,
    },
    /// The certificate's issuer is not among the trust anchors.
    #[error("the certificate's issuer is not known")]
    UnknownIssuer,
    /// The certificate is for another name.
    #[error("the certificate is made for another host name")]
    WrongName,
    /// The certificate is refused for another reason, or there is no TLS.
    #[error("TLS failed ({detail})")]
    Tls {
        /// The library's words.
        detail: String,
    },
    /// The host key of an ssh server is not the one it should be.
    #[error("{host} shows the host key {fingerprint}: {}", problem.words())]
    HostKey {
        /// As `known_hosts` calls it.
        host: String,
        /// SHA-256, as ssh prints it.
        fingerprint: String,
        /// What is wrong with it.
        problem: KeyProblem,
        /// The line of `known_hosts` that makes it known.
        line: Option<String>,
    },
    /// The server does not let this key in.
    #[error("the server refused the key {fingerprint} for the user {user:?}")]
    KeyRefused {
        /// Who logs in.
        user: String,
        /// SHA-256, as ssh prints it.
        fingerprint: String,
    },
    /// The answer is not of ssh, or there is no way of talking that both sides know.
    #[error("ssh failed ({detail})")]
    Ssh {
        /// The library's words.
        detail: String,
    },
    /// The server redirects.
    #[error("redirected ({status}) to {location:?}")]
    Redirect {
        /// 3xx.
        status: u16,
        /// Where to, without query and user info.
        location: String,
    },
    /// The server wants other credentials.
    #[error("the server refused the credentials ({status})")]
    Credentials {
        /// 401 or 403.
        status: u16,
    },
    /// The server wants another client certificate, or one at all.
    #[error("the server refused the client certificate ({detail})")]
    ClientCertificate {
        /// The server's words.
        detail: String,
    },
    /// GitHub gives no token.
    #[error("GitHub gives no token for the installation of the App ({detail})")]
    App {
        /// Why.
        detail: String,
    },
    /// Another status than 200.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// Not the content type of the protocol.
    #[error("the server answered with content type {found:?} instead of {needed:?}")]
    ContentType {
        /// What it says.
        found: String,
        /// What the protocol says.
        needed: String,
    },
    /// Too slow.
    #[error("{} (limit {seconds} s)", waiting.words())]
    TimedOut {
        /// What was waited for.
        waiting: Waiting,
        /// The limit that was reached.
        seconds: u64,
    },
    /// Too many bytes.
    #[error("more than {limit} bytes were sent")]
    Bytes {
        /// The limit.
        limit: u64,
    },
    /// Too many branches whose names begin with that of the tracked one, which is not among the first.
    #[error("the first {limit} bytes of the branches that begin with {reference} do not name it")]
    Branches {
        /// The tracked branch.
        reference: String,
        /// The limit.
        limit: u64,
    },
    /// Too many objects.
    #[error("more than {limit} objects were sent")]
    Objects {
        /// The limit.
        limit: u64,
    },
    /// An object that is too large.
    #[error("an object of more than {limit} bytes was sent")]
    ObjectBytes {
        /// The limit.
        limit: u64,
    },
    /// What was accepted and what is fetched are too much together.
    #[error("with it the mirror would have more than {limit} bytes")]
    MirrorBytes {
        /// Its folder.
        mirror: String,
        /// The limit.
        limit: u64,
    },
    /// A commit that is too large.
    #[error("commit {} has {bytes} bytes", commit.get(..12).unwrap_or(commit))]
    CommitBytes {
        /// Its id.
        commit: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The answer ends too early.
    #[error("the answer ends too early")]
    Truncated,
    /// The answer is not of the protocol.
    #[error("the answer does not follow the Git protocol ({detail})")]
    Protocol {
        /// What is wrong.
        detail: String,
    },
    /// An error that the Git server states itself.
    #[error("the server says {message:?}")]
    Server {
        /// Its words, shortened.
        message: String,
    },
    /// The server has no such ref.
    #[error("the server has no {reference}")]
    RefMissing {
        /// The ref.
        reference: String,
    },
    /// The repository names its objects by another hash.
    #[error("its object ids are not of {wanted}")]
    ObjectFormat {
        /// The hash that is asked for.
        wanted: String,
    },
    /// The ref does not name a commit.
    #[error("{reference} does not name a commit")]
    NotACommit {
        /// The ref.
        reference: String,
    },
}

impl ExchangeError {
    pub(crate) const fn code(&self) -> GitCode {
        match self {
            Self::UnknownIssuer | Self::WrongName | Self::Tls { .. } | Self::HostKey { .. } => GitCode::W602,
            Self::Bytes { .. }
            | Self::Branches { .. }
            | Self::Objects { .. }
            | Self::ObjectBytes { .. }
            | Self::CommitBytes { .. }
            | Self::MirrorBytes { .. } => GitCode::W603,
            Self::Redirect { .. } => GitCode::W605,
            Self::Credentials { .. } | Self::ClientCertificate { .. } | Self::App { .. } | Self::KeyRefused { .. } => {
                GitCode::W606
            }
            Self::TimedOut { .. } => GitCode::W607,
            Self::RefMissing { .. } => GitCode::W608,
            Self::HostUnknown
            | Self::Connection { .. }
            | Self::Status { .. }
            | Self::ContentType { .. }
            | Self::Ssh { .. }
            | Self::Truncated
            | Self::Protocol { .. }
            | Self::Server { .. }
            | Self::ObjectFormat { .. }
            | Self::NotACommit { .. } => GitCode::W601,
        }
    }

    fn credentials_advice(&self) -> (String, String) {
        let (needed, fix) = match self {
            Self::ClientCertificate { .. } => (
                "a client certificate that the server takes",
                "renew tls.crt and tls.key in the secret named by spec.secretRef",
            ),
            Self::App { .. } => (
                "an App that is installed for the repository and may read its contents",
                "compare githubAppID, githubAppInstallationID and githubAppPrivateKey in the secret named by spec.secretRef with the App's page",
            ),
            Self::KeyRefused { .. } => (
                "a key that may read the repository",
                "let the public key read the repository at the server, or renew identity in the secret named by spec.secretRef",
            ),
            _ => ("credentials that may read the repository", "renew the secret named by spec.secretRef"),
        };
        (needed.to_owned(), fix.to_owned())
    }

    /// What would have been needed of the tracked ref and its repository.
    fn ref_advice(&self) -> (String, String) {
        match self {
            Self::RefMissing { reference } => match trust::tag_name(reference) {
                Some(tag) => ("the tracked tag".to_owned(), sign_tag(tag)),
                None => ("the tracked branch".to_owned(), push(&format!("HEAD:{reference}"))),
            },
            Self::NotACommit { reference } => match trust::tag_name(reference) {
                Some(tag) => ("a signed tag of a commit".to_owned(), sign_tag(tag)),
                None => ("a branch that names a commit".to_owned(), push(&format!("+COMMIT:{reference}"))),
            },
            Self::ObjectFormat { wanted } => (
                format!("a repository with {wanted} ids, as the introduction of the TrustRoot has"),
                "correct spec.url, or name a commit of this repository in the TrustRoot: writ trust root REV prints it"
                    .to_owned(),
            ),
            _ => ("a Git server that serves the tracked ref".to_owned(), String::new()),
        }
    }

    /// What would have been needed, and what mends it.
    pub(crate) fn advice(&self, url: &str) -> (String, String) {
        let probe = probe(url);
        let begin =
            "begin a repository with less history, and name it in a new TrustRoot: writ trust root REV prints it";
        // What is in the history is fetched, whatever later commits remove; but what the TrustRoot names, or was accepted,
        // is not to be rewritten.
        let drop = format!(
            "keep large files elsewhere: drop or amend the commits that bring them, a later removal is not enough; if they are accepted already or not above the introduction, {begin}"
        );
        let pair = |needed: &str, fix: &str| (needed.to_owned(), fix.to_owned());
        match self {
            Self::HostUnknown | Self::Connection { .. } => ("a Git server that can be reached".to_owned(), probe),
            Self::UnknownIssuer => pair(
                "a certificate issued by the authority in the source's secret",
                "put the authority's certificate into the secret as ca.crt",
            ),
            Self::WrongName => {
                pair("a certificate for the host in the url", "correct spec.url or renew the server's certificate")
            }
            Self::Tls { .. } => pair("TLS 1.2 or 1.3 with a valid certificate", "renew the server's certificate"),
            Self::HostKey { problem, line, .. } => host_key_advice(*problem, line.as_deref()),
            Self::ClientCertificate { .. } | Self::App { .. } | Self::KeyRefused { .. } | Self::Credentials { .. } => {
                self.credentials_advice()
            }
            Self::Ssh { .. } => ("a server that speaks SSH 2 with ciphers of today".to_owned(), probe),
            Self::Redirect { .. } => {
                pair("an answer from the address itself", "set spec.url to the new address, if it is the right one")
            }
            Self::Status { status: 404 | 410 } => {
                pair("a repository that these credentials may see", "correct spec.url, or grant read access")
            }
            Self::Status { .. } => ("status 200".to_owned(), probe),
            Self::ContentType { .. } | Self::Protocol { .. } | Self::Truncated if url.starts_with("ssh:") => {
                ("the answer of git-upload-pack".to_owned(), probe)
            }
            Self::ContentType { .. } | Self::Protocol { .. } | Self::Truncated => {
                ("the answer of a Git server that speaks protocol v2 and smart http".to_owned(), probe)
            }
            Self::Server { .. } => ("a Git server that serves the repository".to_owned(), probe),
            Self::TimedOut { seconds, .. } => (format!("an answer within {seconds} s"), probe),
            Self::Bytes { limit } => (format!("at most {limit} bytes"), drop),
            Self::Branches { reference, .. } => (
                "few branches whose names begin with that of the tracked one".to_owned(),
                format!(
                    "git ls-remote --heads origin {} # delete or rename those",
                    manifest::shell_quote(&format!("{reference}?*"))
                ),
            ),
            Self::Objects { limit } => (format!("at most {limit} objects"), begin.to_owned()),
            Self::ObjectBytes { limit } => (format!("objects of at most {limit} bytes"), drop),
            Self::MirrorBytes { mirror, limit } => (
                format!("at most {limit} bytes of what was accepted and what is fetched"),
                // What was fetched bit by bit has objects twice, and fewer of them as differences to others.
                format!(
                    "rm -r {} # it is fetched anew, as one pack; if that is too much as well, {drop}",
                    manifest::shell_quote(mirror)
                ),
            ),
            Self::CommitBytes { commit, limit, .. } => (
                format!("a message and headers of at most {limit} bytes"),
                format!(
                    "git rebase --interactive --rebase-merges --gpg-sign {commit}^ # drop or amend that commit: a later one is not enough"
                ),
            ),
            Self::RefMissing { .. } | Self::ObjectFormat { .. } | Self::NotACommit { .. } => self.ref_advice(),
        }
    }
}

/// A command that shows whether the server answers.
fn probe(url: &str) -> String {
    if url.starts_with("ssh:") {
        format!("git ls-remote {}", manifest::shell_quote(url))
    } else {
        format!("curl -I {}", manifest::shell_quote(&format!("{url}/info/refs?service=git-upload-pack")))
    }
}

fn host_key_advice(problem: KeyProblem, line: Option<&str>) -> (String, String) {
    let line = line.unwrap_or("the line that ssh-keyscan prints");
    let (needed, fix) = match problem {
        KeyProblem::Unknown => (
            "a host key that the source's secret names",
            format!(
                "compare the fingerprint with what the server's operator publishes, then add to known_hosts in the secret: {line}"
            ),
        ),
        KeyProblem::Different => (
            "the host key that the source's secret names",
            format!(
                "ask the server's operator whether its key was renewed: somebody else may answer in its place. If it was, put into known_hosts in the secret: {line}"
            ),
        ),
        KeyProblem::Revoked => {
            ("a host key that is not revoked", "ask the server's operator: somebody else may have its key".to_owned())
        }
    };
    (needed.to_owned(), fix)
}

fn sign_tag(name: &str) -> String {
    let (tag, pushed) = (manifest::shell_quote(name), push(&format!("+refs/tags/{name}")));
    format!("git tag --sign --force -m {tag} {tag} COMMIT && {pushed}")
}

fn push(what: &str) -> String {
    format!("git push origin {}", manifest::shell_quote(what))
}

/// The [`ExchangeError`] inside an error of a stream that is read with it.
pub(crate) fn cause(error: &io::Error) -> ExchangeError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ExchangeError>())
        .cloned()
        .unwrap_or_else(|| ExchangeError::Connection { detail: quoted(&error.to_string()) })
}

/// Words of a server, shortened, on one line and without what is not shown as itself.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |character: char| if manifest::is_unprintable(character) { ' ' } else { character };
    let mut short: String = text.trim().chars().take(MAX_QUOTED).map(plain).collect();
    if text.trim().chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_of_a_server_stay_on_one_line() {
        assert_eq!(quoted(" a\nb\u{1b}[31m\u{202e}c\t"), "a b [31m c");
        assert_eq!(quoted(&"x".repeat(1_000)).chars().count(), 161);
    }
}
