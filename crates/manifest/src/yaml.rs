//! YAML in: documents as kubectl splits and reads them, every value with its position, everything bounded.
//!
//! kubectl splits a file at lines that start with `---` before it parses anything, then reads the first YAML
//! document of each part and drops the rest. Here each part is parsed alone and a rest is refused. The event parser is
//! a port of libyaml, as the one in kubectl is; the meaning of scalars is in [`scalar`](crate::scalar).

use std::{
    borrow::Cow,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};
use serde::de::IgnoredAny;

use crate::{
    Document, Finding, Key, ManifestCode, Node, NodeValue, Position, RepoPath, Subject, canonical_json,
    scalar::resolve_plain,
};

/// The largest file: eight times the largest single object (1 MiB of ConfigMap data), and three times the 2.6 MB that
/// the largest known bundle of CRDs has. Parsing holds about 12 times that (100 MiB) for a moment.
pub const MAX_FILE_BYTES: usize = 8 << 20;
/// The most documents of a file: one of 1.6 kB each, the mean of real manifests, fills a file of the largest size.
pub const MAX_DOCUMENTS: usize = MAX_FILE_BYTES / 1_600;
/// The most values and keys of a file: 16 bytes of text for each in a file of the largest size (real manifests: 24).
/// At 96 bytes each they take 50 MB.
pub const MAX_NODES: usize = MAX_FILE_BYTES / 16;
/// How deep values may nest: below the 128 of `serde_json`, so that what is accepted can be read again from JSON. The
/// deepest built-in CRD schemas have about 60.
pub const MAX_DEPTH: usize = 100;
/// The longest scalar: etcd stores at most 1.5 MiB for a whole object.
pub const MAX_SCALAR_BYTES: usize = 3 << 19;

/// Reads all documents of a file. Documents without a value (nothing but comments, or `null`) are dropped, as kubectl
/// drops them. This is also the entry of the fuzz target: any bytes may be given.
///
/// # Errors
/// One finding (M101–M111) with line and column. Its text never holds a value of the file.
pub fn parse_yaml(file: &RepoPath, bytes: &[u8]) -> Result<Vec<Document>, Finding> {
    let context = Context { file };
    if bytes.len() > MAX_FILE_BYTES {
        let found = format!("the file has {} bytes", bytes.len());
        return Err(context.limit(None, found, format!("at most {MAX_FILE_BYTES} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        context.finding(
            ManifestCode::M101,
            Some(Position { line: to_u32(line).saturating_add(1), column: 1 }),
            "text that is not UTF-8".to_owned(),
            "UTF-8",
            "save the file as UTF-8 (`iconv -t UTF-8`)",
        )
    })?;
    unmistakable(&context, text)?;
    let mut nodes_left = MAX_NODES;
    let mut documents = Vec::new();
    for (index, part) in split(&context, text)?.into_iter().enumerate() {
        if let Some(root) = Composer::parse(&context, part, &mut nodes_left)? {
            documents.push(Document { index: to_u32(index), root });
        }
    }
    Ok(documents)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Makes findings about one file.
struct Context<'a> {
    file: &'a RepoPath,
}

impl Context<'_> {
    fn finding(&self, code: ManifestCode, at: Option<Position>, found: String, needed: &str, fix: &str) -> Finding {
        Finding {
            code: code.entry(),
            subject: Subject::Path {
                path: self.file.clone(),
                line: at.map(|position| position.line),
                column: at.map(|position| position.column),
            },
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }

    fn limit(&self, at: Option<Position>, found: String, needed: String) -> Finding {
        Finding {
            needed: needed.into(),
            ..self.finding(ManifestCode::M102, at, found, "", "split the file into smaller ones")
        }
    }
}

/// Refuses characters that kubectl's line reader, its JSON reader and YAML readers take differently: a carriage return
/// without a line feed, a byte order mark inside the text, and blanks other than ASCII before a first `{`.
fn unmistakable(context: &Context<'_>, text: &str) -> Result<(), Finding> {
    let refuse = |offset: usize, found: &str, fix: &str| {
        let before = text.get(..offset).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let at = Position { line: to_u32(line).saturating_add(1), column: to_u32(column).saturating_add(1) };
        Err(context.finding(ManifestCode::M101, Some(at), found.to_owned(), "text that every reader splits alike", fix))
    };
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((offset, byte)) = bytes.next() {
        if byte == b'\r' && bytes.peek().is_none_or(|(_offset, next)| *next != b'\n') {
            let fix = "end lines with a line feed; in quoted text write \\r";
            return refuse(offset, "a carriage return that is not followed by a line feed", fix);
        }
    }
    if let Some((offset, _mark)) = text.match_indices('\u{feff}').find(|(offset, _mark)| *offset > 0) {
        return refuse(offset, "a byte order mark inside the text", "remove it; in quoted text write \\uFEFF");
    }
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') && !text.trim_ascii_start().starts_with('{') {
        return refuse(0, "unusual blanks before the first `{`", "remove them");
    }
    Ok(())
}

/// The text between two separators, and the line it starts at, counted from 0.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    first_line: u32,
}

/// Splits a file at lines that start with `---`, as kubectl does. Nothing but blanks, and then a comment, may follow.
fn split<'a>(context: &Context<'_>, text: &'a str) -> Result<Vec<Part<'a>>, Finding> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(rest) = line.strip_prefix("---") {
            // `---#`, and `---` before a blank other than ASCII, are separators to kubectl's splitter, text to its parser.
            let trimmed = rest.trim_ascii();
            if rest.starts_with('#') || !trimmed.is_empty() && !trimmed.starts_with('#') {
                return Err(context.finding(
                    ManifestCode::M110,
                    Some(Position { line: to_u32(number).saturating_add(1), column: 4 }),
                    "text on a `---` line".to_owned(),
                    "nothing but a comment after `---`",
                    "start the document on the next line",
                ));
            }
            parts.extend(text.get(start..offset).map(|text| Part { text, first_line }));
            start = offset + line.len();
            first_line = to_u32(number).saturating_add(1);
        }
        offset += line.len();
    }
    parts.extend(text.get(start..).map(|text| Part { text, first_line }));
    // Without a single byte between two separators kubectl sees no document at all, not an empty one.
    parts.retain(|part| !part.text.is_empty());
    if parts.len() > MAX_DOCUMENTS {
        let found = format!("the file has {} documents", parts.len());
        return Err(context.limit(None, found, format!("at most {MAX_DOCUMENTS} documents")));
    }
    Ok(parts)
}

/// How the parser says that something other than a document follows `...` or a directive.
const NO_DOCUMENT_START: &str = "did not find expected <document start>";

/// Builds the value of one part from the events of the parser.
struct Composer<'a, 'b> {
    context: &'a Context<'a>,
    part: Part<'a>,
    parser: Parser<&'b mut &'a [u8]>,
    nodes_left: &'a mut usize,
}

impl Composer<'_, '_> {
    fn parse(context: &Context<'_>, part: Part<'_>, nodes_left: &mut usize) -> Result<Option<Node>, Finding> {
        // kubectl ends every line, also the last one, before it parses.
        let text =
            if part.text.ends_with('\n') { Cow::Borrowed(part.text) } else { Cow::Owned(format!("{}\n", part.text)) };
        // On a few malformed texts (odd tags) the parser panics where libyaml reports an error. It is memory-safe and
        // dropped right here, so a panic is one more way to say that the text is refused.
        let root = catch_unwind(AssertUnwindSafe(|| {
            let mut bytes = text.as_bytes();
            let mut parser = Parser::new();
            parser.set_input_string(&mut bytes);
            Composer { context, part, parser, nodes_left }.document()
        }))
        .unwrap_or_else(|_panic| {
            let at = Position { line: part.first_line.saturating_add(1), column: 1 };
            let found = "a document that the YAML parser gives up on".to_owned();
            let fix = "mend the document that starts here; odd tags (`!…`) are the usual cause";
            Err(context.finding(ManifestCode::M101, Some(at), found, "valid YAML", fix))
        })?;
        if let Some(root) = &root {
            same_as_json(context, part, root)?;
        }
        Ok(root.filter(|root| !root.is_null()))
    }

    /// The first document of the part; a second one is refused.
    fn document(&mut self) -> Result<Option<Node>, Finding> {
        let mut root = None;
        loop {
            let event = self.next()?;
            match event.data {
                EventData::StreamEnd => return Ok(root),
                EventData::DocumentStart { version_directive, tag_directives, .. } => {
                    if version_directive.is_some() || !tag_directives.is_empty() {
                        return Err(self.refuse(
                            ManifestCode::M110,
                            event.start_mark,
                            "a directive",
                            "no directives",
                            "remove the line that starts with `%`",
                        ));
                    }
                    if root.is_some() {
                        return Err(self.refuse(
                            ManifestCode::M110,
                            event.start_mark,
                            "a second document without a `---` line before it",
                            "documents separated by lines of `---`",
                            "put a line of `---` before it, or remove it",
                        ));
                    }
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                // Stream start and document end carry nothing.
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<Event, Finding> {
        self.parser.parse().map_err(|error| {
            // The problem is a fixed sentence of the parser, never text of the file.
            let at = error.problem_mark().map(|mark| self.position(mark));
            let problem = match (error.context(), error.problem()) {
                (_, "") => "bytes that are no YAML characters".to_owned(),
                (Some(context), problem) if !context.is_empty() => format!("{problem} ({context})"),
                (_, problem) => problem.to_owned(),
            };
            if problem.starts_with(NO_DOCUMENT_START) {
                let fix = "start documents with a line of `---`, and remove directives and text after `...`";
                let found = "a directive, or text where a document has to start".to_owned();
                return self.context.finding(
                    ManifestCode::M110,
                    at,
                    found,
                    "documents separated by lines of `---`",
                    fix,
                );
            }
            self.context.finding(ManifestCode::M101, at, problem, "valid YAML", "mend the text at this place")
        })
    }

    fn position(&self, mark: Mark) -> Position {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        Position { line: count(mark.line).saturating_add(self.part.first_line), column: count(mark.column) }
    }

    fn refuse(&self, code: ManifestCode, mark: Mark, found: &str, needed: &str, fix: &str) -> Finding {
        self.context.finding(code, Some(self.position(mark)), found.to_owned(), needed, fix)
    }

    /// The value that starts with `event`.
    fn node(&mut self, event: Event, depth: usize) -> Result<Node, Finding> {
        let mark = event.start_mark;
        let position = self.position(mark);
        if depth > MAX_DEPTH {
            let needed = format!("at most {MAX_DEPTH} levels");
            let finding = self.context.limit(Some(position), "values nested too deeply".to_owned(), needed);
            return Err(Finding { fix: "nest the value less deeply".into(), ..finding });
        }
        *self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| {
            self.context.limit(Some(position), "too many values".to_owned(), format!("at most {MAX_NODES} in a file"))
        })?;
        let value = match event.data {
            EventData::Scalar { anchor, tag, value, plain_implicit, style, .. } => {
                self.undecorated(mark, anchor.as_deref(), tag.as_deref())?;
                self.scalar(mark, value, plain_implicit, style)?
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                self.undecorated(mark, anchor.as_deref(), tag.as_deref())?;
                self.sequence(depth)?
            }
            EventData::MappingStart { anchor, tag, .. } => {
                self.undecorated(mark, anchor.as_deref(), tag.as_deref())?;
                self.mapping(depth)?
            }
            EventData::Alias { .. } => return Err(self.alias(mark, "an alias")),
            _ => {
                return Err(self.refuse(
                    ManifestCode::M101,
                    mark,
                    "no value",
                    "a value",
                    "mend the text at this place",
                ));
            }
        };
        Ok(Node { position, value })
    }

    fn alias(&self, mark: Mark, found: &str) -> Finding {
        let fix = "write the value out where it is used, and remove anchor and aliases";
        self.refuse(ManifestCode::M107, mark, found, "the value itself", fix)
    }

    /// Refuses anchors and tags.
    fn undecorated(&self, mark: Mark, anchor: Option<&str>, tag: Option<&str>) -> Result<(), Finding> {
        if anchor.is_some() {
            return Err(self.alias(mark, "an anchor"));
        }
        if tag.is_some() {
            return Err(self.tag(mark));
        }
        Ok(())
    }

    fn tag(&self, mark: Mark) -> Finding {
        let fix = "remove the tag, and quote the value if it is text";
        self.refuse(ManifestCode::M109, mark, "an explicit tag", "an untagged value", fix)
    }

    fn scalar(&self, mark: Mark, text: String, implicit: bool, style: ScalarStyle) -> Result<NodeValue, Finding> {
        if text.len() > MAX_SCALAR_BYTES {
            let found = format!("a scalar of {} bytes", text.len());
            return Err(self.context.limit(
                Some(self.position(mark)),
                found,
                format!("at most {MAX_SCALAR_BYTES} bytes"),
            ));
        }
        if style != ScalarStyle::Plain {
            // The parser reports `! "1"` as a quoted scalar to be resolved like a plain one, and kubectl does so.
            return if implicit { Err(self.tag(mark)) } else { Ok(NodeValue::String(text)) };
        }
        resolve_plain(&text).map_err(|refused| {
            let needed = "a spelling that every reader takes for the same value";
            self.refuse(refused.code, mark, refused.found, needed, refused.fix)
        })
    }

    fn sequence(&mut self, depth: usize) -> Result<NodeValue, Finding> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(NodeValue::Sequence(items));
            }
            items.push(self.node(event, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<NodeValue, Finding> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines = BTreeMap::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                return Ok(NodeValue::Mapping(entries));
            }
            let mark = event.start_mark;
            let key = self.key(event, depth)?;
            if let Some(line) = lines.insert(key.name.clone(), key.position.line) {
                let found = format!("key {} was already given on line {line}", quoted(&key.name));
                return Err(self.refuse(ManifestCode::M106, mark, &found, "each key once", "remove one of the two"));
            }
            let value = self.next()?;
            entries.push((key, self.node(value, depth + 1)?));
        }
    }

    fn key(&mut self, event: Event, depth: usize) -> Result<Key, Finding> {
        let mark = event.start_mark;
        if let EventData::Scalar { value, style: ScalarStyle::Plain, .. } = &event.data
            && value == "<<"
        {
            let fix = "write the merged fields out; quote the key if a literal \"<<\" is meant";
            return Err(self.refuse(ManifestCode::M108, mark, "a merge key", "the fields themselves", fix));
        }
        let node = self.node(event, depth + 1)?;
        match node.value {
            NodeValue::String(name) => Ok(Key { name, position: node.position }),
            _ => {
                let found = format!("a mapping key that is read as {}", node.kind());
                Err(self.refuse(ManifestCode::M105, mark, &found, "a text key", "quote the key"))
            }
        }
    }
}

/// A key as it is printed: quoted, at most 64 characters.
fn quoted(key: &str) -> String {
    let short: String = key.chars().take(64).collect();
    format!("{short:?}")
}

/// kubectl reads a document that starts with `{` and is JSON as JSON. Almost always YAML reads the same; where it does
/// not (line separators inside strings), the document is refused.
fn same_as_json(context: &Context<'_>, part: Part<'_>, root: &Node) -> Result<(), Finding> {
    let text = part.text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('{') {
        return Ok(());
    }
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        // Not JSON: kubectl then reads it as YAML, too.
        return Ok(());
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) if canonical_json(&json) == canonical_json(&root.to_json()) => Ok(()),
        // Other values, or a number that no `f64` holds: kubectl refuses it, and YAML takes it for text.
        Ok(_) | Err(_) => Err(context.finding(
            ManifestCode::M111,
            Some(root.position),
            "a JSON document that YAML reads as another value".to_owned(),
            "one reading",
            "escape unusual characters in strings as \\uXXXX, or write the document as YAML",
        )),
    }
}
