//! What the lines of the catalogue ask of a difference: which field it is, and what its values look like.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Site;

/// The letters of generated names: `rand.String` of apimachinery, which leaves out vowels and what looks like them.
const SAFE_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
/// The length of the generated end of a name (`names.SimpleNameGenerator`).
const GENERATED_LETTERS: usize = 5;

impl<'a> Site<'a> {
    /// Whether the object is of a kind.
    pub(super) fn is_of(&self, group: &str, kind: &str) -> bool {
        self.kind.group == group && self.kind.kind == kind
    }

    /// The live value, if nobody declares one: absent, `null`, empty or 0 in the declaration.
    pub(super) fn filled(&self) -> Option<&'a Value> {
        let nothing = match self.desired {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Number(number)) => number.as_u64() == Some(0),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        self.live.filter(|_| nothing)
    }

    /// The live value of a field that the declaration does not have at all.
    pub(super) fn added(&self) -> Option<&'a Value> {
        self.live.filter(|_| matches!(self.desired, None | Some(Value::Null)))
    }

    /// Key and text of an annotation that the declaration does not have.
    pub(super) fn added_annotation(&self) -> Option<(&'a str, &'a str)> {
        let ["metadata", "annotations", key] = self.names else { return None };
        Some((*key, self.added()?.as_str()?))
    }

    /// Whether a finalizer is added; they come one by one, or all at once.
    pub(super) fn adds_finalizer(&self, finalizer: &str) -> bool {
        self.names == ["metadata", "finalizers"] && every(self.added(), |item| item.as_str() == Some(finalizer))
    }

    /// What stands in the declaration.
    pub(super) fn declares(&self, names: &[&str]) -> Option<&'a Value> {
        at(self.declared, names)
    }

    /// The name of the object.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.declares(&["metadata", "name"])?.as_str()
    }

    /// The namespace of the object.
    pub(super) fn namespace(&self) -> Option<&'a str> {
        self.declares(&["metadata", "namespace"])?.as_str()
    }
}

/// What stands under some names; `null` is nothing.
pub(super) fn at<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().try_fold(value, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// Whether an item, or each item of a list that is not empty, is as asked.
pub(super) fn every(live: Option<&Value>, asked: impl Fn(&Value) -> bool) -> bool {
    match live {
        Some(Value::Array(items)) => !items.is_empty() && items.iter().all(asked),
        Some(item) => asked(item),
        None => false,
    }
}

/// The group of an `apiVersion`.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether a text is a UID.
pub(super) fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a text is the name of an object: a DNS subdomain.
pub(super) fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.')
}

/// Whether a name is a beginning with a generated end.
pub(super) fn is_generated(name: &str, begin: &str) -> bool {
    name.strip_prefix(begin)
        .is_some_and(|end| end.len() == GENERATED_LETTERS && end.chars().all(|letter| SAFE_LETTERS.contains(letter)))
}

/// Whether a value is a port.
pub(super) fn is_port(value: &Value) -> bool {
    value.as_u64().is_some_and(|port| (1..=65_535).contains(&port))
}

/// The text in a base64 value.
pub(super) fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// Whether a text is a bundle of certificates, and of nothing else.
pub(super) fn is_certificates(text: &str) -> bool {
    let mut blocks = text.lines().filter_map(|line| line.strip_prefix("-----BEGIN ")).peekable();
    blocks.peek().is_some() && blocks.all(|block| block.trim_end() == "CERTIFICATE-----")
}
