//! Positioned access to the YAML of a trust file: every mistake is noted with its place, none ends the reading.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use manifest::{Finding, Key, Node, NodeValue, Position, Subject};

use super::{MAX_ITEMS, MAX_TRUST_FILE_BYTES, trust_file_path};
use crate::TrustCode;

/// Collects the mistakes of one file.
pub(super) struct Reader {
    /// The lines of the file, by which it is told how a number is written.
    lines: Vec<String>,
    findings: Vec<Finding>,
}

/// A finding about a place in the trust file.
pub(super) fn finding(code: TrustCode, at: Position, found: String, needed: &str, fix: &str) -> Finding {
    Finding {
        code: code.entry(),
        subject: Subject::Path { path: trust_file_path(), line: Some(at.line), column: Some(at.column) },
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

impl Reader {
    pub(super) fn of(bytes: &[u8]) -> Self {
        // One that is too large, or no text, is refused before anything is read of it.
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TRUST_FILE_BYTES);
        let lines = text.unwrap_or_default().trim_start_matches('\u{feff}').split('\n').map(str::to_owned);
        Self { lines: lines.collect(), findings: Vec::new() }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    pub(super) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, at: Position, found: String, needed: &str) {
        let fix = format!("edit line {} of .writ/trust.yaml", at.line);
        self.findings.push(finding(TrustCode::W502, at, found, needed, &fix));
    }

    /// Notes something that belongs to the full format but is not supported yet.
    pub(super) fn later(&mut self, at: Position, what: &str) {
        self.wrong(at, format!("{what} is not supported yet"), "a file without it");
    }

    /// The entries of a mapping, after refusing fields that are unknown or not supported yet.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
        later: &[&str],
    ) -> Option<&'n Node> {
        if !node.is_mapping() {
            self.wrong(node.position, format!("{what} is {}", node.kind()), "a mapping");
            return None;
        }
        for (key, _value) in node.entries() {
            if later.contains(&key.name.as_str()) {
                self.later(key.position, &format!("field {} of {what}", key.name));
            } else if !known.contains(&key.name.as_str()) {
                let name: String = key.name.chars().take(80).collect();
                self.wrong(
                    key.position,
                    format!("{what} has the unknown field {name:?}"),
                    &format!("one of {}", known.join(", ")),
                );
            }
        }
        Some(node)
    }

    /// The entries of a mapping with free names, at least one and not too many.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        let entries = node.entries();
        if entries.is_empty() || entries.len() > MAX_ITEMS {
            let found = format!("{what} is {} with {} entries", node.kind(), entries.len());
            self.wrong(node.position, found, &format!("a mapping of 1 to {MAX_ITEMS} entries"));
            return &[];
        }
        for (key, _value) in entries {
            if !is_name(&key.name) {
                let found = format!("{:?} is not a name", key.name.chars().take(80).collect::<String>());
                self.wrong(key.position, found, "1 to 64 letters, digits, '-', '_' or '.', not beginning with '.'");
            }
        }
        entries
    }

    /// The items of a list, at least one and not too many.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        let items = node.items();
        if items.is_empty() || items.len() > MAX_ITEMS {
            let found = if matches!(node.value, NodeValue::Sequence(_)) {
                format!("{what} has {} items", items.len())
            } else {
                format!("{what} is {}", node.kind())
            };
            self.wrong(node.position, found, &format!("a list of 1 to {MAX_ITEMS} items"));
            return &[];
        }
        items
    }

    /// A field that must be there.
    pub(super) fn required<'n>(&mut self, node: &'n Node, what: &str, field: &str) -> Option<&'n Node> {
        let found = node.get(field);
        if found.is_none() {
            self.wrong(node.position, format!("{what} has no {field}"), &format!("the field {field}"));
        }
        found
    }

    /// Text, not empty.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match node.as_str() {
            Some(text) if !text.is_empty() => Some(text),
            Some(_) => {
                self.wrong(node.position, format!("{what} is empty"), "text");
                None
            }
            None => {
                self.wrong(node.position, format!("{what} is {}", node.kind()), "text; put it in quotes");
                None
            }
        }
    }

    /// Text of a required field.
    pub(super) fn required_text<'n>(&mut self, node: &'n Node, what: &str, field: &str) -> Option<&'n str> {
        let value = self.required(node, what, field)?;
        self.text(value, field)
    }

    /// A name: of a role, a principal, a rule.
    pub(super) fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, what)?;
        if is_name(text) {
            return Some(text.to_owned());
        }
        let found = format!("{what} {:?} is not a name", text.chars().take(80).collect::<String>());
        self.wrong(node.position, found, "1 to 64 letters, digits, '-', '_' or '.', not beginning with '.'");
        None
    }

    /// A whole number from 1 up to `max`.
    pub(super) fn number(&mut self, node: &Node, what: &str, max: u64) -> Option<u64> {
        let value = match node.value {
            NodeValue::Int(value) => u64::try_from(value).ok().filter(|value| (1..=max).contains(value)),
            _ => None,
        };
        if let Some(value) = value
            && !self.is_written(value, node.position)
        {
            self.wrong(node.position, format!("{what} is {value} in another spelling"), &format!("{value}"));
            return None;
        }
        if value.is_none() {
            self.wrong(node.position, format!("{what} is {}", shown(node)), &format!("a whole number from 1 to {max}"));
        }
        value
    }

    /// Whether a number is written at a place as everybody reads it, not as `1.0` or `0o1`.
    fn is_written(&self, value: u64, at: Position) -> bool {
        let index = |from_one: u32| usize::try_from(from_one).ok()?.checked_sub(1);
        let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | '}' | ']');
        let written = || {
            let (line, column) = (self.lines.get(index(at.line)?)?, index(at.column)?);
            Some(line.chars().skip(column).take_while(|c| !ends(c)).collect::<String>())
        };
        written().is_some_and(|written| written == value.to_string())
    }

    /// True or false.
    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let value = if let NodeValue::Bool(value) = node.value { Some(value) } else { None };
        if value.is_none() {
            self.wrong(node.position, format!("{what} is {}", node.kind()), "true or false");
        }
        value
    }

    /// An instant: RFC 3339, or a date, which is its first instant in UTC.
    pub(super) fn instant(&mut self, node: &Node, what: &str) -> Option<Timestamp> {
        let text = self.text(node, what)?;
        let as_date = || {
            let date = text.parse::<Date>().ok().filter(|_date| text.len() == 10)?;
            date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        };
        let instant = as_date().or_else(|| text.parse::<Timestamp>().ok());
        if instant.is_none() {
            let found = format!("{what} is {:?}", text.chars().take(80).collect::<String>());
            self.wrong(node.position, found, "a date or a time such as 2027-06-01T00:00:00Z");
        }
        instant
    }
}

/// A value in a message: numbers as they are, everything else by what it is.
fn shown(node: &Node) -> String {
    match node.value {
        NodeValue::Int(value) => value.to_string(),
        _ => node.kind().to_owned(),
    }
}

/// Names become file names (`<principal>.sig`) and are printed.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
