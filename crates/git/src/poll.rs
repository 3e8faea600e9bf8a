//! One question to a server: where is this branch or tag now? One request of protocol version 2
//! (`gitprotocol-v2`, `ls-refs`), whose answer holds that branch and those that start with its name.

use std::{io::Read, str::FromStr};

use trust::{CommitId, ObjectFormat, TagId};

use crate::{
    attestations::{APPROVAL_NOTES, APPROVAL_TREE},
    budget::Budget,
    error::GitError,
    exchange::{ExchangeError, cause, quoted},
    heartbeats::HEARTBEAT_REF,
    http::{Client, Post, USER_AGENT},
    pktline::{self, Packet, PacketError},
    remote::{Remote, Tracked, TrackedRef},
};

/// The most bytes of an answer that are read: 4,096 branches that start with the tracked name, 256 bytes each. There may
/// be more: servers list refs in order of their names, so the tracked one comes before all that start with it. What would
/// come after those is asked for in questions of its own.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Where the refs of a remote are that are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polled {
    /// The commit of the ref; `None` when there is no such ref.
    pub head: Option<CommitId>,
    /// The tag object that leads there, if the ref is a tag that is one.
    pub tag: Option<TagId>,
    /// Those of the refs of approvals, notes first. `None` also where the server does not tell.
    pub approvals: [Option<CommitId>; 2],
    /// That of heartbeats; `None` also where the server does not tell.
    pub heartbeat: Option<CommitId>,
}

impl Polled {
    /// Notes a line of a listing, if its ref is one of them.
    fn note(&mut self, id: &str, rest: &str, tracked: &Tracked) -> Result<(), ExchangeError> {
        // Of attributes only `peeled` was asked for, if the ref is a tag: a name has no blanks.
        let (name, attributes) = rest.split_once(' ').unwrap_or((rest, ""));
        let peeled = attributes.split(' ').find_map(|attribute| attribute.strip_prefix("peeled:"));
        let (id, tag) = match peeled.filter(|_| name == tracked.reference.as_str() && tracked.reference.is_tag()) {
            Some(commit) => (commit, Some(object_id::<TagId>(id, tracked)?)),
            None => (id, None),
        };
        self.tag = self.tag.or(tag);
        self.put(id, name, tracked)
    }

    /// Notes where a ref is, if it is one of them.
    pub(crate) fn put(&mut self, id: &str, name: &str, tracked: &Tracked) -> Result<(), ExchangeError> {
        let [notes, tree] = &mut self.approvals;
        let place = match name {
            _ if name == tracked.reference.as_str() => &mut self.head,
            APPROVAL_NOTES => notes,
            APPROVAL_TREE => tree,
            HEARTBEAT_REF => &mut self.heartbeat,
            _ => return Ok(()),
        };
        if place.replace(object_id(id, tracked)?).is_some() {
            return Err(protocol("the ref is named twice"));
        }
        Ok(())
    }
}

/// Where the remote's branch is now, and the refs of approvals and heartbeats. One request, and three more if there are so many
/// branches whose names begin like it that the list goes on for longer than is read; over https
/// repeated once on a new connection when the kept one turns out to be closed. A server of ssh that does not know version
/// 2 of the protocol lists all its refs; those that come after more than is read are not found.
///
/// # Errors
/// When the server cannot be reached or trusted, or does not answer as a Git server does.
pub fn poll(remote: &Remote) -> Result<Polled, GitError> {
    let budget = Budget::new(remote.limits.poll_seconds, MAX_ANSWER_BYTES);
    remote.client.prepare()?;
    let ask = |tracked: &Tracked| remote.client.ask(tracked, &budget);
    let asked = ask(&remote.tracked).and_then(|listed| match listed {
        Listed::Whole(found) => Ok(found),
        Listed::Cut(found) => complete(found, &remote.tracked, ask),
    });
    asked.map_err(|source| GitError::Exchange { url: remote.url.clone(), source })
}

/// Asks for each ref that a list did not come to by itself: then whatever else somebody pushes is listed after it.
fn complete(
    mut found: Polled,
    tracked: &Tracked,
    ask: impl Fn(&Tracked) -> Result<Listed, ExchangeError>,
) -> Result<Polled, ExchangeError> {
    let ([notes, tree], [of_notes, of_tree]) = (&mut found.approvals, TrackedRef::of_approvals());
    let heartbeat = (&mut found.heartbeat, TrackedRef::of_heartbeats());
    for (place, reference) in [(notes, of_notes), (tree, of_tree), heartbeat] {
        if place.is_none() {
            *place = ask(&Tracked { reference, ..tracked.clone() })?.found().head;
        }
    }
    Ok(found)
}

/// One question, over https, within the time of a budget.
pub(crate) fn ask(client: &Client, tracked: &Tracked, time: &Budget) -> Result<Listed, ExchangeError> {
    let listed = list(client, tracked, time);
    // What a server says to a question in the other format is not part of the protocol: most end the answer.
    if let Err(ExchangeError::Truncated | ExchangeError::Server { .. } | ExchangeError::Status { .. }) = &listed {
        let format = match tracked.format {
            ObjectFormat::Sha1 => ObjectFormat::Sha256,
            ObjectFormat::Sha256 => ObjectFormat::Sha1,
        };
        if list(client, &Tracked { format, ..tracked.clone() }, time).is_ok() {
            return Err(other_format(tracked));
        }
    }
    listed
}

/// One question in one object format.
fn list(client: &Client, tracked: &Tracked, time: &Budget) -> Result<Listed, ExchangeError> {
    let budget = time.beside(MAX_ANSWER_BYTES);
    let body = request(tracked);
    let post = Post { body: &body, protocol: Some("version=2") };
    let mut answer = match client.upload_pack(&post, &budget) {
        // A connection that was kept may have been closed meanwhile, which only its use shows.
        Err(ExchangeError::Connection { .. } | ExchangeError::Truncated) => client.upload_pack(&post, &budget)?,
        answer => answer?,
    };
    let found = match parse(&mut answer, tracked)? {
        whole @ Listed::Whole(_) => whole,
        cut @ Listed::Cut(_) => return Ok(cut),
    };
    // Only a body that was read to its end leaves the connection usable for the next poll.
    match answer.read(&mut [0]).map_err(|error| cause(&error))? {
        0 => Ok(found),
        _ => Err(protocol("there is more after its end")),
    }
}

pub(crate) fn request(tracked: &Tracked) -> Vec<u8> {
    let mut body = Vec::new();
    // A ref has at most 255 bytes, so every packet fits.
    let _ = pktline::write(&mut body, b"command=ls-refs\n");
    let _ = pktline::write(&mut body, format!("agent={USER_AGENT}\n").as_bytes());
    let _ = pktline::write(&mut body, format!("object-format={}\n", tracked.format.git_name()).as_bytes());
    pktline::write_delimiter(&mut body);
    if tracked.reference.is_tag() {
        let _ = pktline::write(&mut body, b"peel\n");
    }
    let beside = [APPROVAL_NOTES, APPROVAL_TREE, HEARTBEAT_REF];
    let reference = tracked.reference.as_str();
    // What lies beside a branch is asked for with it, or by itself.
    let others = beside.into_iter().filter(|_| !beside.contains(&reference));
    for name in [reference].into_iter().chain(others) {
        let _ = pktline::write(&mut body, format!("ref-prefix {name}\n").as_bytes());
    }
    pktline::write_flush(&mut body);
    body
}

/// What a server lists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// After the whole list was read.
    Whole(Polled),
    /// With the branch; the list goes on for longer than is read.
    Cut(Polled),
}

impl Listed {
    /// What was read of it.
    pub(crate) const fn found(self) -> Polled {
        match self {
            Self::Whole(found) | Self::Cut(found) => found,
        }
    }
}

/// Reads an `ls-refs` answer to its flush packet, or to the end of what may be read; the id of exactly the tracked ref.
pub(crate) fn parse(answer: &mut impl Read, tracked: &Tracked) -> Result<Listed, ExchangeError> {
    let mut found = Polled::default();
    loop {
        let line = match pktline::read(answer).map_err(packet) {
            Ok(None) => return Err(ExchangeError::Truncated),
            Ok(Some(Packet::Flush)) => return Ok(Listed::Whole(found)),
            Ok(Some(Packet::Delimiter | Packet::ResponseEnd)) => return Err(protocol("an unexpected mark")),
            Ok(Some(Packet::Data(line))) => line,
            Err(ExchangeError::Bytes { .. }) if found.head.is_some() => return Ok(Listed::Cut(found)),
            Err(ExchangeError::Bytes { limit }) => {
                return Err(ExchangeError::Branches { reference: tracked.reference.to_string(), limit });
            }
            Err(error) => return Err(error),
        };
        let line = std::str::from_utf8(&line).map_err(|_| protocol("a ref that is not UTF-8"))?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        if let Some(message) = line.strip_prefix("ERR ") {
            return Err(ExchangeError::Server { message: quoted(message) });
        }
        let (id, name) = line.split_once(' ').ok_or_else(|| protocol("a line without a ref"))?;
        found.note(id, name, tracked)?;
    }
}

/// The id in a line of a listing.
pub(crate) fn object_id<Id: FromStr>(text: &str, tracked: &Tracked) -> Result<Id, ExchangeError> {
    let malformed = |_| protocol("a line without an object id");
    let format = text.parse::<CommitId>().map_err(malformed)?.format();
    let id = text.parse().map_err(|_| protocol("a line without an object id"))?;
    if format == tracked.format { Ok(id) } else { Err(other_format(tracked)) }
}

/// What is said of a server that names objects by another hash than the one that is asked for.
pub(crate) fn other_format(tracked: &Tracked) -> ExchangeError {
    ExchangeError::ObjectFormat { wanted: tracked.format.to_string() }
}

pub(crate) fn protocol(detail: &str) -> ExchangeError {
    ExchangeError::Protocol { detail: detail.to_owned() }
}

pub(crate) fn packet(error: PacketError) -> ExchangeError {
    match error {
        PacketError::Truncated => ExchangeError::Truncated,
        PacketError::Read(error) => cause(&error),
        other @ PacketError::Length { .. } => protocol(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "b2715f40d960c4d911fdbf70009dc76c7d5313cd";

    fn tracked() -> Tracked {
        Tracked { reference: "refs/heads/main".parse().unwrap(), format: ObjectFormat::Sha1 }
    }

    fn check(lines: &[&str], end: &str) -> Result<Option<String>, ExchangeError> {
        let mut bytes = Vec::new();
        for line in lines {
            assert!(pktline::write(&mut bytes, line.as_bytes()));
        }
        bytes.extend_from_slice(end.as_bytes());
        match parse(&mut bytes.as_slice(), &tracked())? {
            Listed::Whole(found) => Ok(found.head.map(|id| id.to_string())),
            cut @ Listed::Cut(_) => panic!("nothing ended early: {cut:?}"),
        }
    }

    #[test]
    fn the_request_is_what_git_sends() {
        let body = request(&tracked());
        let text = String::from_utf8(body).unwrap();
        assert!(text.starts_with("0014command=ls-refs\n"), "{text}");
        let refs = "001fref-prefix refs/heads/main\n0029ref-prefix refs/notes/writ-approvals\n0023ref-prefix refs/writ/approvals\n0023ref-prefix refs/writ/heartbeat\n";
        assert!(text.ends_with(&format!("0001{refs}0000")), "{text}");
    }

    #[test]
    fn what_a_cut_list_does_not_come_to_is_asked_for_by_itself() {
        let reference = TrackedRef::of_heartbeats();
        let text = String::from_utf8(request(&Tracked { reference, ..tracked() })).unwrap();
        assert!(text.ends_with("00010023ref-prefix refs/writ/heartbeat\n0000"), "{text}");
        let asked = std::cell::RefCell::new(Vec::new());
        let known = Polled { head: ID.parse().ok(), approvals: [ID.parse().ok(), None], ..Polled::default() };
        let answer = |of: &Tracked| {
            asked.borrow_mut().push(of.reference.to_string());
            let head = if of.reference.as_str() == HEARTBEAT_REF { ID.parse().ok() } else { None };
            Ok(Listed::Cut(Polled { head, ..Polled::default() }))
        };
        let found = complete(known, &tracked(), answer).unwrap();
        assert_eq!(*asked.borrow(), [APPROVAL_TREE, HEARTBEAT_REF]);
        assert_eq!(found, Polled { heartbeat: ID.parse().ok(), ..known });
        // Neither is it taken for gone if that cannot be told.
        let failed = complete(known, &tracked(), |_| Err(ExchangeError::Truncated));
        assert_eq!(failed, Err(ExchangeError::Truncated));
    }

    #[test]
    fn a_tag_is_told_with_its_commit() {
        let tracked = Tracked { reference: "refs/tags/live".parse().unwrap(), format: ObjectFormat::Sha1 };
        assert!(request(&tracked).windows(9).any(|bytes| bytes == b"0009peel\n"));
        let read = |line: &str| {
            let mut bytes = Vec::new();
            assert!(pktline::write(&mut bytes, line.as_bytes()));
            pktline::write_flush(&mut bytes);
            match parse(&mut bytes.as_slice(), &tracked) {
                Ok(Listed::Whole(found)) => Ok((found.head, found.tag)),
                other => Err(other),
            }
        };
        let commit = "ab".repeat(20);
        let (head, tag) = (commit.parse().ok(), ID.parse().ok());
        assert_eq!(read(&format!("{ID} refs/tags/live peeled:{commit}\n")), Ok((head, tag)));
        assert_eq!(read(&format!("{ID} refs/tags/live symref-target:x peeled:{commit}\n")), Ok((head, tag)));
        assert_eq!(read(&format!("{ID} refs/tags/live\n")), Ok((ID.parse().ok(), None)), "not annotated");
        assert_eq!(read(&format!("{ID} refs/tags/live2 peeled:{commit}\n")), Ok((None, None)));
        assert!(read(&format!("{ID} refs/tags/live peeled:x\n")).is_err());
        assert!(read(&format!("x refs/tags/live peeled:{commit}\n")).is_err());
    }

    #[test]
    fn only_the_exact_ref_counts() {
        let exact = format!("{ID} refs/heads/main\n");
        let longer = format!("{ID} refs/heads/main2\n");
        assert_eq!(check(&[&longer, &exact], "0000").unwrap().as_deref(), Some(ID));
        assert_eq!(check(&[&longer], "0000").unwrap(), None);
        assert_eq!(check(&[], "0000").unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        let exact = format!("{ID} refs/heads/main\n");
        assert_eq!(check(&[&exact], ""), Err(ExchangeError::Truncated));
        assert_eq!(check(&[&exact], "00"), Err(ExchangeError::Truncated));
        assert_eq!(check(&[&exact, &exact], "0000"), Err(protocol("the ref is named twice")));
        assert_eq!(check(&["unborn refs/heads/main"], "0000"), Err(protocol("a line without an object id")));
        assert_eq!(check(&["abcd refs/heads/main"], "0000"), Err(protocol("a line without an object id")));
        assert_eq!(check(&["x"], "0000"), Err(protocol("a line without a ref")));
        assert_eq!(
            check(&["ERR no\nsuch repo"], "0000"),
            Err(ExchangeError::Server { message: "no such repo".into() })
        );
        assert_eq!(check(&[], "0001"), Err(protocol("an unexpected mark")));
        assert!(matches!(check(&[], "<html>"), Err(ExchangeError::Protocol { .. })));
    }

    proptest! {
        #[test]
        fn hostile_answers_end_in_an_error_or_a_whole_id(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(Listed::Whole(found)) = parse(&mut bytes.as_slice(), &tracked()) {
                prop_assert!(found.head.is_none_or(|id| id.format() == ObjectFormat::Sha1));
            }
        }
    }
}
