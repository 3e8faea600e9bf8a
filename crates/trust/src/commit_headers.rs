//! The header block of a commit, split into lines without judging their meaning.

use std::str::FromStr;

use crate::{TrustCode, commit_object::Refused};

/// One header with its continuation lines.
pub(crate) struct Header<'a> {
    /// What stands before the first blank.
    pub(crate) name: &'a [u8],
    /// The rest of the first line.
    pub(crate) value: &'a [u8],
    /// All its lines as they are, with their line ends.
    pub(crate) bytes: &'a [u8],
}

const KNOWN: [&[u8]; 6] = [b"tree", b"parent", b"author", b"committer", b"encoding", b"mergetag"];

impl Header<'_> {
    /// Whether Git leaves this header out of the signed bytes.
    pub(crate) fn is_signature(&self) -> bool {
        self.name.starts_with(b"gpgsig")
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_signature() || KNOWN.contains(&self.name)
    }

    pub(crate) const fn is_folded(&self) -> bool {
        // name, blank, value and line end are the first line
        self.bytes.len() != self.name.len() + self.value.len() + 2
    }

    /// The value with its continuation lines, each without the blank before it, and the last line end.
    pub(crate) fn unfolded(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes.len());
        let (mut rest, mut dropped) = (self.bytes, self.name.len() + 1);
        while let Some((line, after)) = first_line(rest) {
            text.extend_from_slice(line.get(dropped..).unwrap_or_default());
            (rest, dropped) = (after, 1);
        }
        text
    }

    pub(crate) fn parse<T: FromStr>(&self) -> Result<T, ()> {
        std::str::from_utf8(self.value).ok().and_then(|text| text.parse().ok()).ok_or(())
    }

    pub(crate) fn shown_name(&self) -> String {
        self.name.get(..40).unwrap_or(self.name).escape_ascii().to_string()
    }
}

/// The first line of a text with its end, and what follows it; `None` if no line ends.
fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    text.split_at_checked(memchr::memchr(b'\n', text)? + 1)
}

/// Splits a commit at its first blank line into headers and message.
pub(crate) fn split(raw: &[u8]) -> Result<(Vec<Header<'_>>, &[u8]), Refused> {
    let malformed = |found: String| Refused::new(TrustCode::W101, found, "lines of `name value`, then a blank line");
    let mut headers: Vec<Header<'_>> = Vec::new();
    let mut rest = raw;
    loop {
        let Some((line, mut after)) = first_line(rest) else {
            return Err(malformed("no blank line after the headers".to_owned()));
        };
        if line == b"\n" {
            return Ok((headers, after));
        }
        if line.starts_with(b" ") {
            return Err(malformed("a continuation line before any header".to_owned()));
        }
        while after.starts_with(b" ") {
            // Without another line end there is no blank line either.
            let Some((_folded, later)) = first_line(after) else { break };
            after = later;
        }
        let bytes = rest.get(..rest.len() - after.len()).unwrap_or_default();
        let first = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = first.splitn(2, |byte| *byte == b' ');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return Err(malformed(format!("a header line without value: {}", crate::ssh::shown(first))));
        };
        headers.push(Header { name, value, bytes });
        rest = after;
    }
}
