//! Host keys that are trusted for one remote: the text of a `known_hosts` file (`sshd(8)`, SSH_KNOWN_HOSTS FILE FORMAT).
//!
//! Stricter than ssh in two things: a line that cannot be read is refused instead of skipped, and a server on another
//! port than 22 is known as `[host]:port` only.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use crate::remote::RemoteError;

/// The largest text, in bytes: 170 lines with RSA keys of 4,096 bits (750 bytes each).
pub(crate) const MAX_KNOWN_HOSTS_BYTES: usize = 128 << 10;
/// The longest line that is proposed to be added, in bytes: an RSA key of 8,192 bits and a host of 255.
const MAX_LINE_BYTES: usize = 2 << 10;
/// What a server may identify itself with, the best first. Never SHA-1.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What the file says about a key of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is this server's.
    Known,
    /// It says nothing about this server.
    Unknown,
    /// This server has other keys.
    Different,
    /// It is marked as revoked.
    Revoked,
}

/// The lines of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    revoked: bool,
    hosts: Hosts,
    key: PublicKey,
}

#[derive(Debug, Clone)]
enum Hosts {
    /// `|1|salt|hash`: HMAC-SHA1 of the name.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    /// Patterns with `*` and `?`; those with `!` exclude.
    Named(Vec<String>),
}

impl KnownHosts {
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteError> {
        if text.len() > MAX_KNOWN_HOSTS_BYTES {
            return Err(RemoteError::KnownHosts { line: None, reason: "the text is larger than 128 KiB" });
        }
        let mut lines = Vec::new();
        for (position, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            lines.push(
                Line::parse(line).map_err(|reason| RemoteError::KnownHosts { line: Some(position + 1), reason })?,
            );
        }
        Ok(Self { lines })
    }

    /// How many lines are about a server.
    #[cfg(fuzzing)]
    pub(crate) fn about(&self, host: &str) -> usize {
        self.lines.iter().filter(|line| line.hosts.include(host)).count()
    }

    pub(crate) fn standing(&self, host: &str, key: &PublicKey) -> Standing {
        let of_host = || self.lines.iter().filter(|line| line.hosts.include(host));
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        if of_host().filter(same).any(|line| line.revoked) {
            return Standing::Revoked;
        }
        let pinned = || of_host().filter(|line| !line.revoked);
        if pinned().any(|line| same(&line)) {
            Standing::Known
        } else if pinned().next().is_some() {
            Standing::Different
        } else {
            Standing::Unknown
        }
    }

    /// The kinds of keys to ask a server for, those that are known first: it has several and shows one.
    pub(crate) fn preferred(&self, host: &str) -> Vec<Algorithm> {
        let of_host: Vec<_> = self.lines.iter().filter(|line| !line.revoked && line.hosts.include(host)).collect();
        let known = |algorithm: &Algorithm| {
            of_host.iter().any(|line| match (line.key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (pinned, asked) => pinned == *asked,
            })
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = ALGORITHMS.into_iter().partition(known);
        first.extend(rest);
        first
    }
}

/// The line that makes a key known; `None` for one that is absurdly large.
pub(crate) fn line_for(host: &str, key: &PublicKey) -> Option<String> {
    let bare = PublicKey::new(key.key_data().clone(), "");
    let line = format!("{host} {}", bare.to_openssh().ok()?);
    (line.len() <= MAX_LINE_BYTES).then_some(line)
}

impl Line {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (marker, rest) = match line.split_once(char::is_whitespace) {
            Some((marker, rest)) if marker.starts_with('@') => (Some(marker), rest.trim_start()),
            _ => (None, line),
        };
        let revoked = match marker {
            None => false,
            Some("@revoked") => true,
            Some("@cert-authority") => return Err("certificates of hosts (@cert-authority) are not supported yet"),
            Some(_) => return Err("the marker is not known"),
        };
        let (hosts, key) = rest.split_once(char::is_whitespace).ok_or("it is not of the form: host type key")?;
        let key = PublicKey::from_openssh(key.trim_start()).map_err(|_| "its key cannot be read")?;
        Ok(Self { revoked, hosts: Hosts::parse(hosts)?, key })
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(hashed) = text.strip_prefix('|') else {
            return Ok(Self::Named(text.split(',').map(str::to_ascii_lowercase).collect()));
        };
        let malformed = "its hashed name is not of the form |1|salt|hash";
        let mut parts = hashed.split('|');
        let (Some("1"), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| malformed);
        Ok(Self::Hashed { salt: decode(salt)?, hash: decode(hash)? })
    }

    fn include(&self, host: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                // Nothing is authenticated by it: the file only hides its names with it.
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, host.as_bytes(), hash).is_ok()
            }
            Self::Named(patterns) => {
                let mut included = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(excluded) if matches(excluded.as_bytes(), host.as_bytes()) => return false,
                        Some(_) => {}
                        None => included |= matches(pattern.as_bytes(), host.as_bytes()),
                    }
                }
                included
            }
        }
    }
}

/// `*` is any characters, `?` is one. Goes back to the last `*` only, so a pattern costs at most its length for each
/// character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((place, covered)) => {
                    star = Some((place, covered + 1));
                    at = place + 1;
                    read = covered + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Public keys without owner: RFC 8032 test vectors 1 and 2, in the encoding of ssh.
    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID1AF8PoQ4lakrcKp01bfrykBynZQQwKxtF6zlaM1GYM";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[track_caller]
    fn check(text: &str, host: &str, expected: Standing) {
        assert_eq!(KnownHosts::parse(text).unwrap().standing(host, &key(ONE)), expected, "{host} in {text:?}");
    }

    #[test]
    fn plain_names() {
        let file = format!("# a comment\n\n git.example.com,10.0.0.1\t{ONE} ops@example.com\n");
        check(&file, "git.example.com", Standing::Known);
        check(&file, "10.0.0.1", Standing::Known);
        check(&file, "example.com", Standing::Unknown);
        check(&file, "[git.example.com]:2222", Standing::Unknown);
        check(&format!("[git.example.com]:2222 {ONE}"), "[git.example.com]:2222", Standing::Known);
        check(&format!("Git.Example.com {ONE}"), "git.example.com", Standing::Known);
        check(&format!("git.example.com {TWO}"), "git.example.com", Standing::Different);
        check(&format!("git.example.com {TWO}\ngit.example.com {ONE}"), "git.example.com", Standing::Known);
        check("", "git.example.com", Standing::Unknown);
    }

    #[test]
    fn patterns() {
        check(&format!("*.example.com {ONE}"), "git.example.com", Standing::Known);
        check(&format!("*.example.com,!git.example.com {ONE}"), "git.example.com", Standing::Unknown);
        check(&format!("!git.example.com,*.example.com {ONE}"), "git.example.com", Standing::Unknown);
        check(&format!("git?.example.com {ONE}"), "git.example.com", Standing::Unknown);
        check(&format!("g*t.*.c?m {ONE}"), "git.example.com", Standing::Known);
        assert!(!matches("*a".repeat(1_000).as_bytes(), "a".repeat(900).as_bytes()), "and it ends soon");
    }

    #[test]
    fn hashed_names() {
        // HMAC-SHA1 with the salt 01…14 of the two names.
        let salt: Vec<u8> = (1..=20).collect();
        let hashed = |name: &str| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), name.as_bytes());
            format!("|1|{}|{}", STANDARD.encode(&salt), STANDARD.encode(tag.as_ref()))
        };
        check(&format!("{} {ONE}", hashed("git.example.com")), "git.example.com", Standing::Known);
        check(&format!("{} {ONE}", hashed("git.example.com")), "other.example.com", Standing::Unknown);
        check(&format!("{} {ONE}", hashed("[git.example.com]:2222")), "[git.example.com]:2222", Standing::Known);
        check(&format!("@revoked {} {ONE}", hashed("git.example.com")), "git.example.com", Standing::Revoked);
    }

    #[test]
    fn what_is_revoked_is_never_known() {
        let file = format!("git.example.com {ONE}\n@revoked * {ONE}\n");
        check(&file, "git.example.com", Standing::Revoked);
        // Nothing is said about the others.
        check(&format!("@revoked * {TWO}"), "git.example.com", Standing::Unknown);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (line, words) in [
            (format!("@cert-authority *.example.com {ONE}"), "not supported yet"),
            (format!("@trusted *.example.com {ONE}"), "marker"),
            ("git.example.com".to_owned(), "host type key"),
            ("git.example.com ssh-ed25519 AAAA".to_owned(), "key cannot be read"),
            ("git.example.com ssh-ed25519".to_owned(), "key cannot be read"),
            (format!("|2|AAAA|AAAA {ONE}"), "|1|salt|hash"),
            (format!("|1|AAAA {ONE}"), "|1|salt|hash"),
            (format!("|1|A|A {ONE}"), "|1|salt|hash"),
        ] {
            let error = KnownHosts::parse(&format!("# first\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(words), "{line}: {error}");
        }
        assert!(KnownHosts::parse(&"#\n".repeat(MAX_KNOWN_HOSTS_BYTES)).is_err());
    }

    #[test]
    fn known_kinds_are_asked_for_first() {
        let file = KnownHosts::parse(&format!("a {ONE}")).unwrap();
        assert_eq!(file.preferred("a").first(), Some(&Algorithm::Ed25519));
        assert_eq!(file.preferred("b"), ALGORITHMS);
        assert!(!file.preferred("a").contains(&Algorithm::Rsa { hash: None }));
    }

    #[test]
    fn the_proposed_line_makes_the_key_known() {
        let line = line_for("[h]:1", &key(&format!("{ONE} comment"))).unwrap();
        assert_eq!(line, format!("[h]:1 {ONE}"));
        check(&line, "[h]:1", Standing::Known);
    }
}
