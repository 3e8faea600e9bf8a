//! What `git-upload-pack` says before it is asked anything (`gitprotocol-pack`, `gitprotocol-v2`).

use std::io::Read;

use trust::ObjectFormat;

use crate::{
    exchange::{ExchangeError, quoted},
    pktline::{self, Packet},
    poll::{Polled, object_id, other_format, packet, protocol},
    remote::Tracked,
};

/// What stands in the place of the first ref of a repository without any.
const NO_REFS: &str = "capabilities^{}";
/// What follows the name of a tag where its commit is told.
const PEELED: &str = "^{}";
/// How a server tells the hash that it names objects by.
const FORMAT: &str = "object-format=";

/// How a server answers to a question in version 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// It speaks it, and waits for a command.
    Version2,
    /// It does not, and has listed its refs: where those are that are asked for.
    Refs(Polled),
}

impl Greeting {
    pub(crate) fn read(stream: &mut impl Read, tracked: &Tracked) -> Result<Self, ExchangeError> {
        let first = line(stream)?;
        if first.as_deref().map(str::trim_end) == Some("version 2") {
            // Whatever else it can do does not matter: if it cannot list refs, it answers with an error.
            let mut format = None;
            while let Some(line) = line(stream)? {
                format = format.or_else(|| line.trim_end().strip_prefix(FORMAT).map(str::to_owned));
            }
            return same_format(format.as_deref(), tracked).map(|()| Self::Version2);
        }
        let mut refs = Refs { tracked, polled: Polled::default(), capabilities: None };
        let mut next = first;
        while let Some(line) = next {
            let is_known = refs.is_found();
            refs.take(&line)?;
            next = match self::line(stream) {
                // Others may make as many refs as they like: that keeps nobody from seeing the tracked one. What a tag
                // leads to is on the line after it.
                Err(ExchangeError::Bytes { .. }) if is_known || !tracked.reference.is_tag() && refs.is_found() => break,
                next => next?,
            };
        }
        Ok(Self::Refs(refs.polled))
    }
}

/// The refs of a server, in version 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// Where the tracked ref is.
    pub(crate) polled: Polled,
    /// What the server can do, separated by spaces.
    pub(crate) capabilities: String,
}

/// Reads all refs of a server and keeps one: others can make as many as they like.
pub(crate) fn advertised(stream: &mut impl Read, tracked: &Tracked) -> Result<Advertised, ExchangeError> {
    let mut refs = Refs { tracked, polled: Polled::default(), capabilities: None };
    while let Some(line) = line(stream)? {
        refs.take(&line)?;
    }
    Ok(Advertised { polled: refs.polled, capabilities: refs.capabilities.unwrap_or_default() })
}

struct Refs<'a> {
    tracked: &'a Tracked,
    polled: Polled,
    capabilities: Option<String>,
}

impl Refs<'_> {
    const fn is_found(&self) -> bool {
        self.polled.head.is_some()
    }

    fn take(&mut self, line: &str) -> Result<(), ExchangeError> {
        if let Some(message) = line.strip_prefix("ERR ") {
            return Err(ExchangeError::Server { message: quoted(message) });
        }
        if line.starts_with("shallow ") {
            return Err(protocol("the server has a part of the history only (it is shallow)"));
        }
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = match (&self.capabilities, line.split_once('\0')) {
            (None, Some((line, capabilities))) => {
                same_format(capabilities.split(' ').find_map(|word| word.strip_prefix(FORMAT)), self.tracked)?;
                self.capabilities = Some(capabilities.to_owned());
                line
            }
            (None, None) => return Err(protocol("the first ref comes without capabilities")),
            (Some(_), _) => line,
        };
        let (id, name) = line.split_once(' ').ok_or_else(|| protocol("a line without a ref"))?;
        let reference = self.tracked.reference.as_str();
        if self.tracked.reference.is_tag() && name.strip_suffix(PEELED) == Some(reference) {
            // What stood there before is the tag itself.
            let tag = self.polled.head.replace(object_id(id, self.tracked)?);
            let tag = tag.ok_or_else(|| protocol("what a tag leads to is named before it"))?;
            self.polled.tag = Some(object_id(&tag.to_string(), self.tracked)?);
            return Ok(());
        }
        if name == NO_REFS { Ok(()) } else { self.polled.put(id, name, self.tracked) }
    }
}

/// Whether a server names objects as is asked for. One that does not say it knows one format.
fn same_format(said: Option<&str>, tracked: &Tracked) -> Result<(), ExchangeError> {
    let said = said.unwrap_or(ObjectFormat::Sha1.git_name());
    if said == tracked.format.git_name() { Ok(()) } else { Err(other_format(tracked)) }
}

/// The next line; `None` at a flush packet.
fn line(stream: &mut impl Read) -> Result<Option<String>, ExchangeError> {
    match pktline::read(stream).map_err(packet)? {
        None => Err(ExchangeError::Truncated),
        Some(Packet::Flush) => Ok(None),
        Some(Packet::Delimiter | Packet::ResponseEnd) => Err(protocol("an unexpected mark")),
        Some(Packet::Data(line)) => String::from_utf8(line).map(Some).map_err(|_| protocol("a line that is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "b2715f40d960c4d911fdbf70009dc76c7d5313cd";

    fn stream(lines: &[&str], end: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            assert!(pktline::write(&mut bytes, line.as_bytes()));
        }
        bytes.extend_from_slice(end.as_bytes());
        bytes
    }

    fn main() -> Tracked {
        Tracked { reference: "refs/heads/main".parse().unwrap(), format: ObjectFormat::Sha1 }
    }

    fn greeting(lines: &[&str], end: &str) -> Result<Greeting, ExchangeError> {
        Greeting::read(&mut stream(lines, end).as_slice(), &main())
    }

    fn all(lines: &[&str], end: &str) -> Result<(Option<String>, String), ExchangeError> {
        let found = advertised(&mut stream(lines, end).as_slice(), &main())?;
        Ok((found.polled.head.map(|id| id.to_string()), found.capabilities))
    }

    #[test]
    fn version_2() {
        let lines = ["version 2\n", "agent=git/2.47\n", "ls-refs=unborn\n"];
        assert_eq!(greeting(&lines, "0000"), Ok(Greeting::Version2));
        assert_eq!(greeting(&lines, ""), Err(ExchangeError::Truncated));
    }

    #[test]
    fn version_0() {
        let first = format!("{ID} HEAD\0multi_ack side-band-64k\n");
        let exact = format!("{ID} refs/heads/main\n");
        let other = format!("{ID} refs/heads/main2\n");
        let found = Polled { head: Some(ID.parse().unwrap()), ..Polled::default() };
        assert_eq!(greeting(&[&first, &exact], "0000"), Ok(Greeting::Refs(found)));
        assert_eq!(greeting(&[&first, &exact], ""), Err(ExchangeError::Truncated), "something may be hidden");
        assert_eq!(greeting(&[&first, &other], "0000"), Ok(Greeting::Refs(Polled::default())));
        let words = "multi_ack side-band-64k".to_owned();
        assert_eq!(all(&[&first, &exact, &other], "0000"), Ok((Some(ID.to_owned()), words.clone())));
        assert_eq!(all(&[&first, &exact, &exact], "0000"), Err(protocol("the ref is named twice")));
        let none = format!("{} {NO_REFS}\0multi_ack side-band-64k\n", "0".repeat(40));
        assert_eq!(all(&[&none], "0000"), Ok((None, words)));
        assert_eq!(all(&[], "0000"), Ok((None, String::new())));
    }

    #[test]
    fn what_lies_beside_the_branch_is_told_by_version_0_as_well() {
        let id = |digit: &str| digit.repeat(40);
        let line = |digit: &str, name: &str| format!("{} {name}\n", id(digit));
        let first = format!("{} HEAD\0multi_ack\n", id("1"));
        let lines = [
            first,
            line("1", "refs/heads/main"),
            line("2", "refs/notes/writ-approvals"),
            line("5", "refs/notes/writ-approvals2"),
            line("3", "refs/writ/approvals"),
            line("4", "refs/writ/heartbeat"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let commit = |digit: &str| id(digit).parse().ok();
        let all =
            Polled { head: commit("1"), tag: None, approvals: [commit("2"), commit("3")], heartbeat: commit("4") };
        assert_eq!(greeting(&lines, "0000"), Ok(Greeting::Refs(all)));
        let twice = [lines.as_slice(), &lines[5..]].concat();
        assert_eq!(greeting(&twice, "0000"), Err(protocol("the ref is named twice")));
        // A list without end: what came up to there counts, if the branch is among it.
        let cut = |lines: &[&str], tracked: &Tracked| {
            let mut end = Endless(stream(lines, "").into());
            Greeting::read(&mut end, tracked)
        };
        let known = Polled { approvals: [commit("2"), None], heartbeat: None, ..all };
        assert_eq!(cut(&lines[..4], &main()), Ok(Greeting::Refs(known)));
        assert_eq!(cut(&lines[..1], &main()), Err(ExchangeError::Bytes { limit: 9 }));
        let tag = Tracked { reference: "refs/tags/live".parse().unwrap(), format: ObjectFormat::Sha1 };
        let tags = [lines[0], &line("6", "refs/tags/live"), &line("1", "refs/tags/live^{}")].map(str::to_owned);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(cut(&tags[..2], &tag), Err(ExchangeError::Bytes { limit: 9 }), "it may be another one's");
        let led = Polled { head: commit("1"), tag: id("6").parse().ok(), ..Polled::default() };
        assert_eq!(cut(&tags, &tag), Ok(Greeting::Refs(led)));
    }

    /// What comes before no more may be read.
    struct Endless(std::collections::VecDeque<u8>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other(ExchangeError::Bytes { limit: 9 })),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn a_tag_is_told_with_its_commit() {
        let tracked = Tracked { reference: "refs/tags/live".parse().unwrap(), format: ObjectFormat::Sha1 };
        let commit = "ab".repeat(20);
        let first = format!("{commit} HEAD\0multi_ack\n");
        let (tag, peeled) = (format!("{ID} refs/tags/live\n"), format!("{commit} refs/tags/live^{{}}\n"));
        let other = format!("{commit} refs/tags/live2\n");
        let annotated = Polled { head: commit.parse().ok(), tag: ID.parse().ok(), ..Polled::default() };
        let plain = Polled { head: ID.parse().ok(), ..Polled::default() };
        for (lines, expected) in [
            ([&first, &tag, &peeled, &other].as_slice(), annotated),
            (&[&first, &tag, &other], plain),
            (&[&first, &tag], plain),
        ] {
            let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
            let bytes = stream(&lines, "0000");
            assert_eq!(Greeting::read(&mut bytes.as_slice(), &tracked), Ok(Greeting::Refs(expected)));
            assert_eq!(advertised(&mut bytes.as_slice(), &tracked).unwrap().polled, expected);
        }
        let bytes = stream(&[&first, &peeled], "0000");
        assert!(advertised(&mut bytes.as_slice(), &tracked).is_err());
    }

    #[test]
    fn anything_else_is_an_error() {
        let first = format!("{ID} HEAD\0multi_ack\n");
        assert_eq!(all(&[&first], ""), Err(ExchangeError::Truncated));
        assert_eq!(all(&["ERR no such repo"], "0000"), Err(ExchangeError::Server { message: "no such repo".into() }));
        let refused = |lines: &[&str]| matches!(all(lines, "0000"), Err(ExchangeError::Protocol { .. }));
        assert!(refused(&[&format!("{ID} HEAD\n")]));
        assert!(refused(&[&first, &format!("shallow {ID}")]));
        assert!(refused(&[&first, "x refs/heads/main\n"]));
        assert!(refused(&[&first, "refs/heads/main"]));
        let other = Err(ExchangeError::ObjectFormat { wanted: "SHA-1".to_owned() });
        assert_eq!(all(&[&format!("{ID} HEAD\0object-format=sha256\n")], "0000"), other);
        let long = format!("{} refs/heads/main\n", "ab".repeat(32));
        assert_eq!(all(&[&first, &long], "0000"), other);
        let sha256 = ["version 2\n", "object-format=sha256\n"];
        assert_eq!(greeting(&sha256, "0000"), Err(ExchangeError::ObjectFormat { wanted: "SHA-1".to_owned() }));
        assert!(matches!(all(&[], "Permission denied"), Err(ExchangeError::Protocol { .. })));
    }

    proptest! {
        #[test]
        fn hostile_listings_end_in_an_error_or_a_whole_id(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(found) = advertised(&mut bytes.as_slice(), &main()) {
                prop_assert!(found.polled.head.is_none_or(|id| id.format() == ObjectFormat::Sha1));
            }
        }
    }
}
