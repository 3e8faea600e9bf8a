//! Values to be written into the text of a YAML file.

use serde_json::{Map, Value};

use crate::{is_unprintable, text_form::is_unmistakable};

/// A value as it is to be written: the entries of a mapping in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// Text, in quotation marks where it needs them.
    Text(String),
    /// A whole number.
    Number(u64),
    /// A list.
    List(Vec<Self>),
    /// A mapping.
    Mapping(Vec<(String, Self)>),
}

/// How block style is indented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indents {
    /// From a field to the `-` of the list in it.
    pub(crate) list: usize,
    /// From a field to those of the mapping in it.
    pub(crate) mapping: usize,
}

impl NewValue {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::from(*number),
            Self::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Mapping(entries) => Value::Object(
                entries.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// On one line.
    pub(crate) fn flow(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::flow).collect::<Vec<_>>().join(", ")),
            Self::Mapping(entries) => {
                let entries = entries.iter().map(|(name, value)| format!("{}: {}", quoted(name), value.flow()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What follows `name:` of a field in this column: `levels` in block style, what is nested deeper on one line.
    pub(crate) fn after_name(&self, column: usize, levels: usize, indents: Indents) -> String {
        let deeper = levels.saturating_sub(1);
        match self {
            Self::List(items) if levels > 0 && !items.is_empty() => {
                let column = column + indents.list;
                items.iter().map(|item| format!("\n{}{}", pad(column), item.item(column, deeper, indents))).collect()
            }
            Self::Mapping(entries) if levels > 0 && !entries.is_empty() => {
                let column = column + indents.mapping;
                let entries = entries.iter().map(|(name, value)| {
                    format!("\n{}{}:{}", pad(column), quoted(name), value.after_name(column, deeper, indents))
                });
                entries.collect()
            }
            _ => format!(" {}", self.flow()),
        }
    }

    /// An item of a list, from its `-` in this column on.
    pub(crate) fn item(&self, column: usize, levels: usize, indents: Indents) -> String {
        match self {
            Self::Mapping(entries) if levels > 0 && !entries.is_empty() => {
                let (column, deeper) = (column + 2, levels.saturating_sub(1));
                let entries = entries
                    .iter()
                    .map(|(name, value)| format!("{}:{}", quoted(name), value.after_name(column, deeper, indents)));
                format!("- {}", entries.collect::<Vec<_>>().join(&format!("\n{}", pad(column))))
            }
            _ => format!("- {}", self.flow()),
        }
    }
}

/// So many blanks.
pub(crate) fn pad(columns: usize) -> String {
    " ".repeat(columns)
}

/// Text as a scalar: in quotation marks unless every reader takes it for text.
pub(crate) fn quoted(text: &str) -> String {
    // What JSON escapes, YAML reads alike; line separators and the like it would fold, and people would misread.
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        // Beyond the first 65,536 JSON has no escape of its own, and YAML has.
        c if is_unprintable(c) && u32::from(c) > 0xffff => format!("\\U{:08x}", u32::from(c)),
        c if is_unprintable(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    if is_unmistakable(text) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.chars().map(escape).collect::<String>())
    }
}
