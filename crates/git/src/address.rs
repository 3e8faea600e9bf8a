//! Where a repository is: `https://host/path` or `ssh://user@host[:port]/path`, checked.

use std::fmt;

use ureq::http::Uri;

use crate::remote::{MAX_URL_BYTES, RemoteError};

/// The port of https.
const HTTPS_PORT: u16 = 443;
/// The port of ssh.
const SSH_PORT: u16 = 22;

/// A checked address, without slashes at its end. It never holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Of a server that speaks smart http.
    Https {
        /// The whole of it.
        base: String,
        /// Of the server.
        port: u16,
    },
    /// Of a server that runs `git-upload-pack` for whom it knows.
    Ssh(SshAddress),
}

/// An address of ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshAddress {
    /// Who logs in there; the same for all at the public forges.
    pub(crate) user: String,
    /// Name or number, in lower case, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// From its first slash on.
    pub(crate) path: String,
}

impl SshAddress {
    /// What `known_hosts` calls the server: its port only when it is not the usual one.
    pub(crate) fn known_as(&self) -> String {
        if self.port == SSH_PORT { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }

    /// The one command that is ever run there. The path is quoted as git does, for servers that give the command to a
    /// shell: whatever is special within single quotes, for any shell, stands outside of them behind a backslash.
    pub(crate) fn command(&self) -> String {
        let mut command = String::from("git-upload-pack '");
        for character in self.path.chars() {
            match character {
                '\'' | '!' => command.extend(['\'', '\\', character, '\'']),
                other => command.push(other),
            }
        }
        command.push('\'');
        command
    }
}

impl Address {
    /// The TCP port of the server.
    pub(crate) const fn port(&self) -> u16 {
        match self {
            Self::Https { port, .. } => *port,
            Self::Ssh(address) => address.port,
        }
    }

    /// Checks a url. What is wrong with it is told without it: it may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteError> {
        if text.len() > MAX_URL_BYTES {
            return Err(refuse("it is longer than 2048 bytes"));
        }
        let ssh = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => false,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("ssh") => true,
            Some((scheme, _)) => {
                let scheme: String = scheme.chars().take(16).collect();
                return Err(RemoteError::Url { reason: format!("the scheme {scheme:?} is none of: https, ssh") });
            }
            None if looks_like_scp(text) => {
                return Err(refuse("user@host:path is short for ssh://user@host/path: write that"));
            }
            None => return Err(refuse("it is not of the form https://host/path (local paths are not supported)")),
        };
        let form = "it is not a url of the form https://host/path or ssh://user@host/path";
        let uri: Uri = text.parse().map_err(|_| refuse(form))?;
        let authority = uri.authority().ok_or_else(|| refuse(form))?;
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
        if ssh { ssh_address(&uri, path) } else { https_address(&uri, path) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https { base, .. } => f.write_str(base),
            Self::Ssh(SshAddress { user, host, port, path }) => {
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "ssh://{user}@{open}{host}{close}")?;
                if *port != SSH_PORT {
                    write!(f, ":{port}")?;
                }
                f.write_str(path)
            }
        }
    }
}

/// Checks an address as a [`crate::Remote`] does, and writes it as that has it.
///
/// # Errors
/// What is wrong with it, without it: it may hold a password.
pub fn check_url(text: &str) -> Result<String, RemoteError> {
    Address::parse(text).map(|address| address.to_string())
}

fn https_address(uri: &Uri, path: &str) -> Result<Address, RemoteError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(refuse("it holds user info; credentials belong into the secret"));
    }
    let port = uri.port_u16().unwrap_or(HTTPS_PORT);
    Ok(Address::Https { base: format!("https://{authority}{path}"), port })
}

fn ssh_address(uri: &Uri, path: &str) -> Result<Address, RemoteError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let Some((user, _)) = authority.rsplit_once('@').filter(|(user, _)| !user.is_empty()) else {
        return Err(refuse("it names no user: ssh://git@host/path is what most servers expect"));
    };
    if user.contains(':') {
        return Err(refuse("it holds a password; credentials belong into the secret"));
    }
    if user.contains(['@', '%']) || path.contains('%') {
        return Err(refuse("it has a character written with %, which is not supported with ssh"));
    }
    if path.starts_with("/~") {
        return Err(refuse("its path begins in a home directory (~): write the whole path"));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = match uri.port() {
        Some(port) => port.as_u16(),
        None => SSH_PORT,
    };
    if port == 0 {
        return Err(refuse("its port is 0"));
    }
    Ok(Address::Ssh(SshAddress { user: user.to_owned(), host, port, path: path.to_owned() }))
}

/// `user@host:path`, as git takes it.
fn looks_like_scp(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, path)| {
        host.contains('@') && !host.contains('/') && !path.is_empty() && !path.starts_with(':')
    })
}

fn refuse(reason: &str) -> RemoteError {
    RemoteError::Url { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        match (Address::parse(text).map(|address| address.to_string()), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn https() {
        check("https://git.example.com/team/shop.git", Ok("https://git.example.com/team/shop.git"));
        check("https://127.0.0.1:8443/shop/", Ok("https://127.0.0.1:8443/shop"));
        check("https://[::1]:8443/a/b", Ok("https://[::1]:8443/a/b"));
        check("HTTPS://git.example.com/shop", Ok("https://git.example.com/shop"));
        check("https://user:canary@example.com/shop", Err("user info"));
        check("https://example.com/", Err("names no repository"));
        check("https://example.com/a/../b", Err("segment"));
        check("https://example.com/a?b=c", Err("query"));
        check("https://example.com/a#b", Err("fragment"));
        check("https://example.com/a b", Err("not a url"));
        check(&format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES)), Err("longer"));
    }

    #[test]
    fn ssh() {
        check("ssh://git@git.example.com/team/shop.git", Ok("ssh://git@git.example.com/team/shop.git"));
        check("SSH://git@Git.Example.com:22/shop/", Ok("ssh://git@git.example.com/shop"));
        check("ssh://git@127.0.0.1:2222/shop", Ok("ssh://git@127.0.0.1:2222/shop"));
        check("ssh://git@[::1]:2222/shop", Ok("ssh://git@[::1]:2222/shop"));
        check("ssh://git@[::1]/shop", Ok("ssh://git@[::1]/shop"));
        check("ssh://example.com/shop", Err("names no user"));
        check("ssh://git:canary@example.com/shop", Err("password"));
        check("ssh://git@example.com/", Err("names no repository"));
        check("ssh://git@example.com/~git/shop", Err("home directory"));
        check("ssh://git@example.com/a%27b", Err("%"));
        check("ssh://git@example.com:0/shop", Err("port"));
        check("git@example.com:shop", Err("ssh://user@host/path"));
    }

    #[test]
    fn anything_else_is_refused() {
        check("http://git.example.com/shop", Err("\"http\" is none of: https, ssh"));
        check("git://git.example.com/shop", Err("\"git\" is none of: https, ssh"));
        check("file:///srv/shop", Err("\"file\" is none of: https, ssh"));
        check("ext::sh -c id", Err("local paths"));
        check("/srv/shop", Err("local paths"));
        check("./a@b:c", Err("local paths"));
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        for scheme in ["https", "ssh"] {
            let error = Address::parse(&format!("{scheme}://user:canary-7f3a@example.com/shop")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary-7f3a"));
        }
    }

    #[test]
    fn a_path_is_quoted_for_a_shell() {
        let command = |text: &str| match Address::parse(text).unwrap() {
            Address::Ssh(address) => address.command(),
            other @ Address::Https { .. } => panic!("{other}"),
        };
        assert_eq!(command("ssh://git@h/a/b.git"), "git-upload-pack '/a/b.git'");
        assert_eq!(command("ssh://git@h/it's"), r"git-upload-pack '/it'\''s'");
        assert_eq!(command("ssh://git@h/a!b;$(id)"), r"git-upload-pack '/a'\!'b;$(id)'");
    }
}
