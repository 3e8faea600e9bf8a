//! YAML values with the place they were written at.

use serde_json::{Map, Number, Value};

use crate::{FieldPath, Position, Segment};

/// A value of a YAML document and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value starts.
    pub position: Position,
    /// The value, as kubectl reads it.
    pub value: NodeValue,
}

/// A YAML value as kubectl reads it. Numbers outside `i64` and non-finite ones are refused by the parser.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// `null`, `~` or nothing at all.
    Null,
    /// A boolean, in any of the spellings of YAML 1.1.
    Bool(bool),
    /// An integer; also a float without a fraction, which kubectl turns into one.
    Int(i64),
    /// A finite number with a fraction, or beyond `i64`.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order written; no key occurs twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it is written.
    pub position: Position,
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Which document of the file, counted from 0 as kubectl splits it; documents without a value are counted too.
    pub index: u32,
    /// Its value.
    pub root: Node,
}

impl Node {
    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Int(value) => Value::from(*value),
            NodeValue::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            NodeValue::String(value) => Value::String(value.clone()),
            NodeValue::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeValue::Mapping(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value under a key; `None` if this is no mapping or has no such key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|(_key, node)| node)
    }

    /// Key and value under a key.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<(&Key, &Self)> {
        self.entries().iter().find(|(key, _node)| key.name == name).map(|(key, node)| (key, node))
    }

    /// The entries of a mapping; none for everything else.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            NodeValue::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for everything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            NodeValue::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// True for `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, NodeValue::Null)
    }

    /// True for a mapping.
    #[must_use]
    pub const fn is_mapping(&self) -> bool {
        matches!(self.value, NodeValue::Mapping(_))
    }

    /// What kind of value this is, in words for a message. Never the value itself.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            NodeValue::Null => "null",
            NodeValue::Bool(_) => "a boolean",
            NodeValue::Int(_) | NodeValue::Float(_) => "a number",
            NodeValue::String(_) => "text",
            NodeValue::Sequence(_) => "a list",
            NodeValue::Mapping(_) => "a mapping",
        }
    }

    /// Where the field at `path` (relative to this node) is written: its key for a field, its first character for
    /// an item of a list. The empty path is this node itself.
    #[must_use]
    pub fn locate(&self, path: &FieldPath) -> Option<Position> {
        let mut node = self;
        let mut position = self.position;
        for segment in path.segments() {
            (position, node) = match segment {
                Segment::Field(name) => node.entry(name).map(|(key, value)| (key.position, value))?,
                Segment::Index(index) => node.items().get(*index).map(|item| (item.position, item))?,
                Segment::Item(keys) => node
                    .items()
                    .iter()
                    .find(|item| {
                        keys.iter().all(|(key, value)| item.get(key).is_some_and(|found| found.to_json() == *value))
                    })
                    .map(|item| (item.position, item))?,
            };
        }
        Some(position)
    }
}

impl Document {
    /// The object that starts at `line`: the root, or an item of a `List`.
    #[must_use]
    pub fn object_at(&self, line: u32) -> Option<&Node> {
        fn find(node: &Node, line: u32) -> Option<&Node> {
            if let Some(items) = node.get("items") {
                return items.items().iter().find_map(|item| find(item, line));
            }
            (node.position.line == line).then_some(node)
        }
        find(&self.root, line)
    }
}

/// Where the field at `path` of the document's root is written.
#[must_use]
pub fn locate(document: &Document, path: &FieldPath) -> Option<Position> {
    document.root.locate(path)
}
