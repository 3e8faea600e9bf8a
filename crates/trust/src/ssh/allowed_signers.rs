//! Allowed-signers files of OpenSSH (`ssh-keygen(1)`, ALLOWED SIGNERS), as Git's `gpg.ssh.allowedSignersFile` names them.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{Certificate, PublicKey, PublicKeyError, pattern::matches_list};

/// The most bytes of a file: 2,000 lines with RSA keys of 4096 bits (about 800 bytes each) are 1.6 MiB.
pub const MAX_ALLOWED_SIGNERS_BYTES: usize = 2 * 1024 * 1024;

/// Who may sign, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The first principal that is not negated: whom a key is said to be of.
    pub(crate) principal: String,
    /// The pattern list, which principals of certificates must match.
    pub(crate) principals: String,
    /// Whether the key signs certificates, and nothing else.
    pub(crate) cert_authority: bool,
    pub(crate) key: PublicKey,
    namespaces: Option<String>,
    pub(crate) valid_after: Option<Timestamp>,
    pub(crate) valid_before: Option<Timestamp>,
}

/// A line that is refused; the first one refuses the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the allowed-signers file")]
pub struct AllowedSignersError {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub reason: LineError,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The file is too large.
    #[error("more than {MAX_ALLOWED_SIGNERS_BYTES} bytes")]
    TooLarge,
    /// Principals, options or key are missing.
    #[error("not of the form `principals [options] type key`")]
    Form,
    /// A quotation mark without its partner.
    #[error("a quotation mark is not closed")]
    Quote,
    /// A control character.
    #[error("a control character")]
    Control,
    /// No principal that is not negated.
    #[error("no principal that could be named")]
    NoPrincipal,
    /// An option that is not known.
    #[error("unknown option {0:?}")]
    UnknownOption(String),
    /// An option given twice.
    #[error("option {0} is given twice")]
    Repeated(&'static str),
    /// A time in no known form.
    #[error("{0:?} is not a time of the form YYYYMMDD[HHMM[SS]][Z]")]
    Time(String),
    /// The window is empty.
    #[error("valid-before is not after valid-after")]
    EmptyWindow,
    /// The key is refused.
    #[error("the key is refused: {0}")]
    Key(#[source] PublicKeyError),
}

impl AllowedSigners {
    /// Reads a file whose times are in UTC, also those without a `Z` at their end.
    ///
    /// # Errors
    /// As [`parse_in`](Self::parse_in).
    pub fn parse(text: &str) -> Result<Self, AllowedSignersError> {
        Self::parse_in(text, &TimeZone::UTC)
    }

    /// Reads a file. Blank lines and lines that begin with `#` are skipped; nothing else is. Times without a `Z` at their
    /// end are in `zone`; OpenSSH takes that of the machine.
    ///
    /// # Errors
    /// The first line that is not understood wholly, with its number.
    pub fn parse_in(text: &str, zone: &TimeZone) -> Result<Self, AllowedSignersError> {
        if text.len() > MAX_ALLOWED_SIGNERS_BYTES {
            return Err(AllowedSignersError { line: 0, reason: LineError::TooLarge });
        }
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t']);
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(Line::parse(line, zone).map_err(|reason| AllowedSignersError { line: index + 1, reason })?);
            }
        }
        Ok(Self { lines })
    }

    /// The keys of all lines, those of authorities too.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.lines.iter().map(|line| &line.key)
    }

    /// All lines, in the order of the file.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// The lines that hold this key.
    pub(crate) fn lines_of<'a>(&'a self, key: &'a PublicKey) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| !line.cert_authority && line.key == *key)
    }

    /// The lines whose authority signed this certificate, each with the first of its principals that the line is for.
    pub(crate) fn lines_of_authority<'a>(
        &'a self,
        certificate: &'a Certificate,
    ) -> impl Iterator<Item = (&'a Line, Option<&'a str>)> {
        self.lines.iter().filter(move |line| line.cert_authority && line.key == *certificate.authority()).map(|line| {
            let named = certificate.principals().iter().find(|one| matches_list(&line.principals, one));
            (line, named.map(String::as_str))
        })
    }
}

impl Line {
    fn parse(line: &str, zone: &TimeZone) -> Result<Self, LineError> {
        if line.chars().any(|one| one.is_control() && one != '\t') {
            return Err(LineError::Control);
        }
        let (principals, rest) = word(line)?;
        let principals = match principals.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').ok_or(LineError::Quote)?,
            None => principals,
        };
        let principal = principals
            .split(',')
            .find(|one| !one.is_empty() && !one.starts_with('!'))
            .ok_or(LineError::NoPrincipal)?
            .to_owned();
        let (second, rest) = word(rest)?;
        let (third, after) = word(rest)?;
        let (options, name, encoded) = match PublicKey::from_words(second, third) {
            Err(PublicKeyError::Form) => (second, third, word(after)?.0),
            _key_or_error => ("", second, third),
        };
        let mut parsed = Options::default();
        parsed.read(options, zone)?;
        let key = PublicKey::from_words(name, encoded).map_err(|error| match error {
            PublicKeyError::Form => LineError::Form,
            other => LineError::Key(other),
        })?;
        if parsed.valid_after.zip(parsed.valid_before).is_some_and(|(after, before)| before <= after) {
            return Err(LineError::EmptyWindow);
        }
        let Options { cert_authority, namespaces, valid_after, valid_before } = parsed;
        let (principals, cert_authority) = (principals.to_owned(), cert_authority.is_some());
        Ok(Self { principal, principals, cert_authority, key, namespaces, valid_after, valid_before })
    }

    /// Whether the line is for signatures of this namespace; without the option it is for all.
    pub(crate) fn allows_namespace(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|list| matches_list(list, namespace))
    }

    /// Whether `at` lies in the window, both ends included.
    pub(crate) fn allows_time(&self, at: Timestamp) -> bool {
        self.valid_after.is_none_or(|after| at >= after) && self.valid_before.is_none_or(|before| at <= before)
    }
}

#[derive(Default)]
struct Options {
    cert_authority: Option<()>,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

impl Options {
    /// Reads `name="value",…`. Names are read in any case, values stand in quotation marks, as OpenSSH does.
    fn read(&mut self, mut text: &str, zone: &TimeZone) -> Result<(), LineError> {
        while !text.is_empty() {
            let end = text.find(['=', ',']).unwrap_or(text.len());
            let (name, rest) = text.split_at_checked(end).ok_or(LineError::Form)?;
            let name = name.to_ascii_lowercase();
            let rest = if name == "cert-authority" {
                set(&mut self.cert_authority, "cert-authority", ())?;
                rest
            } else {
                self.read_value(&name, rest, zone)?
            };
            text = match rest.strip_prefix(',') {
                Some(next) if !next.is_empty() => next,
                None if rest.is_empty() => rest,
                _ => return Err(LineError::Form),
            };
        }
        Ok(())
    }

    /// Reads `="value"` of an option, and gives what follows.
    fn read_value<'t>(&mut self, name: &str, text: &'t str, zone: &TimeZone) -> Result<&'t str, LineError> {
        let known = matches!(name, "namespaces" | "valid-after" | "valid-before");
        let value = text.strip_prefix("=\"").filter(|_value| known);
        let Some(value) = value else { return Err(LineError::UnknownOption(name.chars().take(40).collect())) };
        let (value, rest) = value.split_once('"').ok_or(LineError::Quote)?;
        match name {
            "namespaces" => set(&mut self.namespaces, "namespaces", value.to_owned())?,
            "valid-after" => set(&mut self.valid_after, "valid-after", time(value, zone)?)?,
            _valid_before => set(&mut self.valid_before, "valid-before", time(value, zone)?)?,
        }
        Ok(rest)
    }
}

fn set<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), LineError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_first) => Err(LineError::Repeated(name)),
    }
}

/// The first word and the rest; blanks inside quotation marks do not end it.
fn word(text: &str) -> Result<(&str, &str), LineError> {
    let text = text.trim_start_matches([' ', '\t']);
    let mut quoted = false;
    let end = text.find(|one: char| {
        quoted ^= one == '"';
        !quoted && (one == ' ' || one == '\t')
    });
    if end.is_none() && quoted {
        return Err(LineError::Quote);
    }
    let (word, rest) = text.split_at_checked(end.unwrap_or(text.len())).ok_or(LineError::Form)?;
    if word.is_empty() { Err(LineError::Form) } else { Ok((word, rest)) }
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in `zone` unless `Z` or `UTC` follows. A time that a change of the clocks
/// skips or repeats is the later or the first one.
fn time(text: &str, zone: &TimeZone) -> Result<Timestamp, LineError> {
    let invalid = || LineError::Time(text.chars().take(40).collect());
    let upper = text.to_ascii_uppercase();
    let utc = upper.strip_suffix("UTC").or_else(|| upper.strip_suffix('Z'));
    let digits = utc.unwrap_or(&upper);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let number =
        |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i16>().map_err(|_error| invalid());
    let small = |from: usize, to: usize| number(from, to).and_then(|one| i8::try_from(one).map_err(|_error| invalid()));
    let civil =
        DateTime::new(number(0, 4)?, small(4, 6)?, small(6, 8)?, small(8, 10)?, small(10, 12)?, small(12, 14)?, 0)
            .map_err(|_error| invalid())?;
    let zone = if utc.is_some() { &TimeZone::UTC } else { zone };
    zone.to_ambiguous_timestamp(civil).compatible().map_err(|_error| invalid())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPalMm/yDT8w2cqJZX4bL6j2Zfi0qpCfgJCuePI1WUEO";

    fn check(text: &str) -> Result<Vec<Line>, (usize, LineError)> {
        AllowedSigners::parse(text).map(|file| file.lines).map_err(|error| (error.line, error.reason))
    }

    #[test]
    fn reads_lines() {
        let text = format!(
            "# people\n\n alice@x {KEY} a comment\n\"bob@x,*@y\" namespaces=\"git,file\",valid-after=\"20200101Z\",\
             VALID-BEFORE=\"20300101120000Z\"\t{KEY}\n"
        );
        let lines = check(&text).unwrap();
        assert_eq!(lines[0].principal, "alice@x");
        assert!(lines[0].allows_namespace("anything"));
        assert_eq!(lines[1].principal, "bob@x");
        assert!(lines[1].allows_namespace("git") && !lines[1].allows_namespace("other"));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(lines[1].allows_time(at("2020-01-01T00:00:00Z")) && lines[1].allows_time(at("2030-01-01T12:00:00Z")));
        assert!(!lines[1].allows_time(at("2019-12-31T23:59:59Z")) && !lines[1].allows_time(at("2030-01-01T12:00:01Z")));
    }

    #[test]
    fn times_without_zone_are_in_the_one_that_is_given() {
        let line = format!("alice valid-after=\"20200701\",valid-before=\"20200702Z\" {KEY}");
        let after = |zone: &TimeZone| AllowedSigners::parse_in(&line, zone).unwrap().lines[0].valid_after.unwrap();
        assert_eq!(after(&TimeZone::UTC).to_string(), "2020-07-01T00:00:00Z");
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(after(&berlin).to_string(), "2020-06-30T22:00:00Z");
        // Skipped in spring, there twice in autumn.
        let at = |text| time(text, &berlin).unwrap().to_string();
        assert_eq!(at("202003290230"), "2020-03-29T01:30:00Z");
        assert_eq!(at("202010250230"), "2020-10-25T00:30:00Z");
        assert_eq!(at("202003290230Z"), "2020-03-29T02:30:00Z");
    }

    #[test]
    fn lines_of_authorities_are_not_of_keys() {
        let key = PublicKey::parse(KEY).unwrap();
        let lines = |text: &str| AllowedSigners::parse(text).unwrap().lines_of(&key).count();
        assert_eq!(lines(&format!("alice {KEY}\n")), 1);
        assert_eq!(lines(&format!("*@x cert-authority {KEY}\n")), 0);
        assert_eq!(lines(&format!("*@x namespaces=\"git\",CERT-AUTHORITY,valid-after=\"20200101\" {KEY}\n")), 0);
    }

    #[test]
    fn the_first_bad_line_is_named() {
        let bad = [
            ("alice".to_owned(), LineError::Form),
            ("alice ssh-ed25519".to_owned(), LineError::Form),
            ("alice nonsense AAAA".to_owned(), LineError::Form),
            (format!("!alice {KEY}"), LineError::NoPrincipal),
            (format!("\"alice {KEY}"), LineError::Quote),
            (format!("alice cert-authority=\"yes\" {KEY}"), LineError::Form),
            (format!("alice cert-authority,cert-authority {KEY}"), LineError::Repeated("cert-authority")),
            (format!("alice no-touch-required {KEY}"), LineError::UnknownOption("no-touch-required".into())),
            (format!("alice namespaces=git {KEY}"), LineError::UnknownOption("namespaces".into())),
            (format!("alice namespaces=\"git\",namespaces=\"x\" {KEY}"), LineError::Repeated("namespaces")),
            (format!("alice namespaces=\"git\", {KEY}"), LineError::Form),
            (format!("alice valid-after=\"2020-01-01Z\" {KEY}"), LineError::Time("2020-01-01Z".into())),
            (format!("alice valid-after=\"20201301Z\" {KEY}"), LineError::Time("20201301Z".into())),
            (format!("alice valid-after=\"20200101Z\",valid-before=\"20200101Z\" {KEY}"), LineError::EmptyWindow),
            ("alice sk-ssh-ed25519@openssh.com AAAA".to_owned(), LineError::Key(PublicKeyError::Malformed)),
            (
                format!("alice {}", KEY.replace("AAAAC3", "AAAAC4")),
                LineError::Key(PublicKeyError::OtherType {
                    found: "qsh-ed25519".into(),
                    expected: "ssh-ed25519".into(),
                }),
            ),
        ];
        for (line, reason) in bad {
            let found = check(&format!("alice {KEY}\n{line}\n"));
            match (&found, &reason) {
                (Err((2, LineError::Key(_))), LineError::Key(PublicKeyError::OtherType { .. })) => {}
                _ => assert_eq!(found, Err((2, reason)), "{line}"),
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}", options in "[a-z=\",0-9Z-]{0,60}") {
            let _verdict = AllowedSigners::parse(&text);
            let _verdict = AllowedSigners::parse(&format!("alice {options} {KEY}"));
        }
    }
}
