//! Our own small files: YAML out, and strictly in.

use libyaml_safer::{Emitter, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{FieldPath, Finding, ManifestCode, Node, NodeValue, RepoPath, Segment, Subject, scalar::resolve_plain};

/// A value could not be written as YAML.
#[derive(Debug, thiserror::Error)]
pub enum WriteYamlError {
    /// It has no JSON form: a key that is no text, or a `Serialize` that fails.
    #[error("the value has no JSON form")]
    Json(#[source] serde_json::Error),
    /// The emitter refused it.
    #[error("the value cannot be written as YAML")]
    Emit(#[source] libyaml_safer::Error),
}

/// Writes a value as one YAML document in block style, keys sorted, no `---` line. Text that any reader of YAML 1.1
/// or 1.2 could take for something else is quoted, so kubectl, readers of YAML 1.2 and [`parse_yaml`](crate::parse_yaml) read the same.
///
/// # Errors
/// When the value has no JSON form.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, WriteYamlError> {
    let value = serde_json::to_value(value).map_err(WriteYamlError::Json)?;
    let mut bytes = Vec::new();
    let mut emitter = Emitter::new();
    emitter.set_output_string(&mut bytes);
    emitter.set_unicode(true);
    emitter.set_width(-1);
    let mut events = vec![Event::stream_start(libyaml_safer::Encoding::Utf8), Event::document_start(None, &[], true)];
    push(&value, &mut events);
    events.extend([Event::document_end(true), Event::stream_end()]);
    for event in events {
        emitter.emit(event).map_err(WriteYamlError::Emit)?;
    }
    emitter.flush().map_err(WriteYamlError::Emit)?;
    drop(emitter);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn push(value: &Value, events: &mut Vec<Event>) {
    match value {
        Value::Null => events.push(plain("null")),
        Value::Bool(flag) => events.push(plain(if *flag { "true" } else { "false" })),
        Value::Number(number) => events.push(plain(&number.to_string())),
        Value::String(text) => events.push(text_event(text)),
        Value::Array(items) => {
            let style = if items.is_empty() { SequenceStyle::Flow } else { SequenceStyle::Block };
            events.push(Event::sequence_start(None, None, true, style));
            items.iter().for_each(|item| push(item, events));
            events.push(Event::sequence_end());
        }
        Value::Object(fields) => {
            let style = if fields.is_empty() { MappingStyle::Flow } else { MappingStyle::Block };
            events.push(Event::mapping_start(None, None, true, style));
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _value)| *key);
            for (key, item) in fields {
                events.push(if is_unmistakable(key) { plain(key) } else { double_quoted(key) });
                push(item, events);
            }
            events.push(Event::mapping_end());
        }
    }
}

fn plain(text: &str) -> Event {
    Event::scalar(None, None, text, true, false, ScalarStyle::Plain)
}

fn double_quoted(text: &str) -> Event {
    Event::scalar(None, None, text, false, true, ScalarStyle::DoubleQuoted)
}

fn text_event(text: &str) -> Event {
    // A block keeps the lines of certificates and scripts readable; blanks at line ends or odd characters need quotes.
    let is_block = text.ends_with('\n')
        && !text.starts_with([' ', '\n'])
        && text.lines().all(|line| !line.ends_with(' ') && line.chars().all(|c| !c.is_control() && c.is_ascii()));
    if is_block {
        Event::scalar(None, None, text, false, true, ScalarStyle::Literal)
    } else if is_unmistakable(text) {
        plain(text)
    } else {
        double_quoted(text)
    }
}

/// True for text that needs no quotes in any reader: starts with a letter or `/`, holds nothing that YAML uses, and is
/// none of the words of YAML 1.1.
pub(crate) fn is_unmistakable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !text.eq_ignore_ascii_case("null")
        && matches!(resolve_plain(&text.to_ascii_lowercase()), Ok(NodeValue::String(_)))
}

/// Reads a document of one of our own files ([`crate::parse_yaml`]) into a type that refuses unknown fields where it says
/// so (`deny_unknown_fields`). Not for files that hold secrets: serde's message may quote a value.
///
/// # Errors
/// M112 with line and column of the field when the document does not fit the type.
pub fn from_document<T: DeserializeOwned>(file: &RepoPath, root: &Node) -> Result<T, Finding> {
    let refuse = |at: Option<crate::Position>, found: String| Finding {
        code: ManifestCode::M112.entry(),
        subject: Subject::Path {
            path: file.clone(),
            line: at.map(|position| position.line),
            column: at.map(|position| position.column),
        },
        rule: None,
        found: found.into(),
        needed: "a file of the documented form".into(),
        fix: "mend the field named".into(),
    };
    serde_path_to_error::deserialize(root.to_json()).map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let mut path = field_path(error.path());
        let name = path.to_string();
        let mut at = root.locate(&path);
        while at.is_none() && !path.segments().is_empty() {
            path = FieldPath::new(path.segments().split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default());
            at = root.locate(&path);
        }
        let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
        let message: String = error.inner().to_string().chars().take(400).collect();
        refuse(at, format!("{prefix}{message}"))
    })
}

/// serde's path to the refused value, as far as it is known.
fn field_path(path: &serde_path_to_error::Path) -> FieldPath {
    use serde_path_to_error::Segment as At;
    FieldPath::new(
        path.iter()
            .map_while(|segment| match segment {
                At::Seq { index } => Some(Segment::Index(*index)),
                At::Map { key } => Some(Segment::Field(key.clone())),
                At::Enum { .. } | At::Unknown => None,
            })
            .collect(),
    )
}
