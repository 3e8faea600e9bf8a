//! Paths to fields of an object, as they are printed: `spec.containers[name=web].image`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde_json::Value;

/// The most segments of a path: two for each level of [`MAX_DEPTH`](crate::MAX_DEPTH) nested lists of mappings.
pub const MAX_FIELD_PATH_SEGMENTS: usize = 2 * crate::MAX_DEPTH;

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A field of a mapping.
    Field(String),
    /// An item of a list, by its index from 0.
    Index(usize),
    /// An item of a list, by the values of its merge keys.
    Item(BTreeMap<String, Value>),
}

/// A path to a field; the empty path is the object itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Segment>);

/// The text is not a path to a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a field path at byte {offset}: expected {expected}")]
pub struct ParseFieldPathError {
    offset: usize,
    expected: &'static str,
}

impl FieldPath {
    /// The path with these segments.
    #[must_use]
    pub const fn new(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// A path of plain fields.
    #[must_use]
    pub fn of_fields<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        Self(fields.into_iter().map(|field| Segment::Field(field.to_owned())).collect())
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path and one field more.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// This path and one index more.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path and one segment more.
    #[must_use]
    pub fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The names of its fields, without indices and items: what [`merge_keys`](crate::merge_keys) asks for.
    #[must_use]
    pub fn field_names(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|segment| match segment {
                Segment::Field(name) => Some(name.as_str()),
                Segment::Index(_) | Segment::Item(_) => None,
            })
            .collect()
    }
}

/// True if a field name can stand without quotes: nothing that the path syntax itself uses.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

/// True if an item's value can stand without quotes and is read back as the same text.
fn is_plain_value(text: &str) -> bool {
    is_plain(text) && serde_json::from_str::<Value>(text).is_err()
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if is_plain(name) => write!(f, "{}{name}", if index == 0 { "" } else { "." })?,
                Segment::Field(name) => write!(f, "[{}]", Value::from(name.as_str()))?,
                Segment::Index(item) => write!(f, "[{item}]")?,
                Segment::Item(keys) => {
                    f.write_str("[")?;
                    for (position, (key, value)) in keys.iter().enumerate() {
                        f.write_str(if position == 0 { "" } else { "," })?;
                        if is_plain(key) {
                            f.write_str(key)?;
                        } else {
                            write!(f, "{}", Value::from(key.as_str()))?;
                        }
                        match value {
                            Value::String(text) if is_plain_value(text) => write!(f, "={text}")?,
                            other => write!(f, "={other}")?,
                        }
                    }
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a path from left to right.
struct Reader<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    const fn error(&self, expected: &'static str) -> ParseFieldPathError {
        ParseFieldPathError { offset: self.offset, expected }
    }

    fn eat(&mut self, token: char) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.offset += token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char, expected: &'static str) -> Result<(), ParseFieldPathError> {
        if self.eat(token) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn plain(&mut self) -> Result<&'a str, ParseFieldPathError> {
        let rest = self.rest();
        let end = rest.find(['.', '[', ']', '=', ',', '"']).unwrap_or(rest.len());
        let word = rest.get(..end).filter(|word| !word.is_empty()).ok_or_else(|| self.error("a field name"))?;
        self.offset += end;
        Ok(word)
    }

    /// One JSON value at the current place.
    fn json(&mut self, expected: &'static str) -> Result<Value, ParseFieldPathError> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        let value = values.next().and_then(Result::ok).ok_or_else(|| self.error(expected))?;
        self.offset += values.byte_offset();
        Ok(value)
    }

    fn name(&mut self) -> Result<String, ParseFieldPathError> {
        if !self.rest().starts_with('"') {
            return self.plain().map(str::to_owned);
        }
        match self.json("a quoted name")? {
            Value::String(name) => Ok(name),
            _ => Err(self.error("a quoted name")),
        }
    }

    /// What stands between `[` and `]`.
    fn bracket(&mut self) -> Result<Segment, ParseFieldPathError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && self.rest().get(digits..).is_some_and(|rest| rest.starts_with(']')) {
            let index = self.plain()?.parse().map_err(|_overflow| self.error("an index"))?;
            return Ok(Segment::Index(index));
        }
        let name = self.name()?;
        if self.rest().starts_with(']') {
            return Ok(Segment::Field(name));
        }
        let mut keys = BTreeMap::new();
        let mut key = name;
        loop {
            self.expect('=', "`=`")?;
            let value = self.value()?;
            if keys.insert(key, value).is_some() {
                return Err(self.error("each key once"));
            }
            if !self.eat(',') {
                return Ok(Segment::Item(keys));
            }
            key = self.name()?;
        }
    }

    fn value(&mut self) -> Result<Value, ParseFieldPathError> {
        if self.rest().starts_with(['"', '[', '{']) {
            return self.json("a JSON value");
        }
        let end = self.rest().find([',', ']']).unwrap_or(self.rest().len());
        let word = self.rest().get(..end).filter(|word| !word.is_empty()).ok_or_else(|| self.error("a value"))?;
        self.offset += end;
        Ok(serde_json::from_str(word).unwrap_or_else(|_not_json| Value::from(word)))
    }
}

impl FromStr for FieldPath {
    type Err = ParseFieldPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, offset: 0 };
        let mut segments = Vec::new();
        while !reader.rest().is_empty() {
            if segments.len() == MAX_FIELD_PATH_SEGMENTS {
                return Err(reader.error("the end: the path has too many segments"));
            }
            if reader.eat('[') {
                segments.push(reader.bracket()?);
                reader.expect(']', "`]`")?;
                continue;
            }
            if !segments.is_empty() {
                reader.expect('.', "`.` or `[`")?;
            }
            segments.push(Segment::Field(reader.plain()?.to_owned()));
        }
        Ok(Self(segments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, segments: &[Segment]) {
        let path = FieldPath::new(segments.to_vec());
        assert_eq!(path.to_string(), text);
        assert_eq!(text.parse(), Ok(path));
    }

    fn field(name: &str) -> Segment {
        Segment::Field(name.to_owned())
    }

    fn item(keys: &[(&str, Value)]) -> Segment {
        Segment::Item(keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn prints_and_parses() {
        check("", &[]);
        check("spec.replicas", &[field("spec"), field("replicas")]);
        check("metadata.annotations[\"a.b/c\"]", &[field("metadata"), field("annotations"), field("a.b/c")]);
        check(
            "spec.containers[name=web].args[2]",
            &[field("spec"), field("containers"), item(&[("name", "web".into())]), field("args"), Segment::Index(2)],
        );
        check(
            "ports[containerPort=80,protocol=TCP]",
            &[field("ports"), item(&[("containerPort", 80.into()), ("protocol", "TCP".into())])],
        );
        check("a[name=\"80\"]", &[field("a"), item(&[("name", "80".into())])]);
        check("a[name=\"x,y]\"]", &[field("a"), item(&[("name", "x,y]".into())])]);
        check("[\"\"]", &[field("")]);
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in
            [".", "a.", ".a", "a..b", "a[", "a[]", "a[x=]", "a[x", "a]b", "a[x=1,x=2]", "a[99999999999999999999]"]
        {
            assert!(text.parse::<FieldPath>().is_err(), "{text:?} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,40}", names in proptest::collection::vec("\\PC{0,8}", 0..6)) {
            let _either = text.parse::<FieldPath>();
            let path = FieldPath::of_fields(names.iter().map(String::as_str));
            proptest::prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}
