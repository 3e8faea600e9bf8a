//! Field-level comparison: what differs between two objects, addressed by merge key, masked.
//!
//! Additions by others are not differences here: only fields that `expected` has are looked at.

use manifest::{FieldPath, GroupKind, Segment, merge_key_default, merge_keys};
use serde_json::Value;

/// The most differences listed per object: what fits on three screens; the rest is counted.
pub const MAX_DIFFERENCES: usize = 100;
/// The longest value shown, in characters: a line or two of a terminal.
pub const MAX_SHOWN_CHARACTERS: usize = 200;

/// Whether values may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Values are shown, cut at [`MAX_SHOWN_CHARACTERS`].
    Shown,
    /// Values of a Secret or sensitive kind: only that they differ.
    Masked,
}

/// One field that differs. Values are already cut and masked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldDiff {
    /// Where.
    pub path: String,
    /// What was expected or stood before; `None` if the field is new.
    pub before: Option<String>,
    /// What stands there now or comes; `None` if the field is gone.
    pub after: Option<String>,
}

/// Compares what is expected with what is live: every field of `expected` must be in `live` with
/// the same value. Fields that only `live` has are ignored.
#[must_use]
pub fn declared_differences(
    expected: &Value,
    live: &Value,
    kind: &GroupKind,
    visibility: Visibility,
) -> Vec<FieldDiff> {
    let mut walk = Walk { kind, visibility, mode: Mode::Declared, path: Vec::new(), found: Vec::new() };
    walk.value(expected, live);
    walk.found
}

/// Compares two declarations in both directions.
#[must_use]
pub fn differences(before: &Value, after: &Value, kind: &GroupKind, visibility: Visibility) -> Vec<FieldDiff> {
    let mut walk = Walk { kind, visibility, mode: Mode::Both, path: Vec::new(), found: Vec::new() };
    walk.value(before, after);
    walk.found
}

/// What the server made of a declaration: the fields of `declared` with the values of `response`.
/// This is what later observations are compared with, so that `cpu: "0.5"` served as `500m` is no
/// difference.
#[must_use]
pub fn as_served(declared: &Value, response: &Value, kind: &GroupKind) -> Value {
    served(declared, response, kind, &mut Vec::new())
}

fn served<'a>(declared: &'a Value, response: &Value, kind: &GroupKind, names: &mut Vec<&'a str>) -> Value {
    match (declared, response) {
        (Value::Object(declared), Value::Object(response)) => {
            let mut fields = serde_json::Map::new();
            for (name, value) in declared {
                if let Some(answer) = response.get(name) {
                    names.push(name);
                    fields.insert(name.clone(), served(value, answer, kind, names));
                    names.pop();
                }
            }
            Value::Object(fields)
        }
        (Value::Array(declared), Value::Array(response)) => match list_keys(kind, names) {
            Some(keys) => Value::Array(
                declared
                    .iter()
                    .filter_map(|item| Some(served(item, find(item, response, keys)?, kind, names)))
                    .collect(),
            ),
            None if declared.len() == response.len() => Value::Array(
                declared.iter().zip(response).map(|(item, answer)| served(item, answer, kind, names)).collect(),
            ),
            None => Value::Array(response.clone()),
        },
        (_, response) => response.clone(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Declared,
    Both,
}

struct Walk<'a> {
    kind: &'a GroupKind,
    visibility: Visibility,
    mode: Mode,
    path: Vec<Segment>,
    found: Vec<FieldDiff>,
}

impl Walk<'_> {
    fn value(&mut self, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.object(before, after),
            (Value::Array(before), Value::Array(after)) => self.array(before, after),
            (before, after) if same_scalar(before, after) => {}
            (before, after) => self.push(Some(before), Some(after)),
        }
    }

    fn object(&mut self, before: &serde_json::Map<String, Value>, after: &serde_json::Map<String, Value>) {
        for (name, value) in before {
            self.path.push(Segment::Field(name.clone()));
            match after.get(name) {
                Some(other) => self.value(value, other),
                None if is_nothing(value) => {}
                None => self.push(Some(value), None),
            }
            self.path.pop();
        }
        if self.mode == Mode::Both {
            for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                self.path.push(Segment::Field(name.clone()));
                self.push(None, Some(value));
                self.path.pop();
            }
        }
    }

    fn array(&mut self, before: &[Value], after: &[Value]) {
        let names: Vec<&str> = self
            .path
            .iter()
            .filter_map(|segment| match segment {
                Segment::Field(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let Some(keys) = list_keys(self.kind, &names) else {
            return self.atomic(before, after);
        };
        for item in before {
            self.path.push(address(item, keys));
            match find(item, after, keys) {
                Some(other) => self.value(item, other),
                None => self.push(Some(item), None),
            }
            self.path.pop();
        }
        if self.mode == Mode::Both {
            for item in after.iter().filter(|item| find(item, before, keys).is_none()) {
                self.path.push(address(item, keys));
                self.push(None, Some(item));
                self.path.pop();
            }
        }
    }

    /// A list without merge keys belongs to one owner as a whole.
    fn atomic(&mut self, before: &[Value], after: &[Value]) {
        if before.len() != after.len() {
            return self.push(Some(&Value::Array(before.to_vec())), Some(&Value::Array(after.to_vec())));
        }
        for (index, (item, other)) in before.iter().zip(after).enumerate() {
            self.path.push(Segment::Index(index));
            self.value(item, other);
            self.path.pop();
        }
    }

    fn push(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match self.found.len() {
            count if count < MAX_DIFFERENCES => {
                let path = FieldPath::new(self.path.clone()).to_string();
                self.found.push(FieldDiff { path, before: self.show(before), after: self.show(after) });
            }
            MAX_DIFFERENCES => self.found.push(FieldDiff {
                path: format!("(more than {MAX_DIFFERENCES} fields differ)"),
                before: None,
                after: None,
            }),
            _ => {}
        }
    }

    fn show(&self, value: Option<&Value>) -> Option<String> {
        value.map(|value| match self.visibility {
            Visibility::Masked => "***".to_owned(),
            Visibility::Shown => shorten(&value.to_string()),
        })
    }
}

pub(crate) fn shorten(text: &str) -> String {
    if text.chars().nth(MAX_SHOWN_CHARACTERS).is_none() {
        return text.to_owned();
    }
    let head: String = text.chars().take(MAX_SHOWN_CHARACTERS).collect();
    format!("{head}… ({} bytes)", text.len())
}

/// The server drops empty maps, empty lists and nulls of optional fields.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn same_scalar(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(before), Value::Number(after)) => {
            before == after || (before.is_f64() || after.is_f64()) && before.as_f64() == after.as_f64()
        }
        (before, after) => before == after,
    }
}

/// The keys by which a list is merged; none (but some list) for a set of plain values.
fn list_keys(kind: &GroupKind, path: &[&str]) -> Option<&'static [&'static str]> {
    if path == ["metadata", "finalizers"] { Some(&[]) } else { merge_keys(kind, path) }
}

/// The item of `items` that is the same item as `item`. A set of plain values (no merge keys) is
/// addressed by value; a missing key has the server's default.
fn find<'a>(item: &Value, items: &'a [Value], keys: &[&str]) -> Option<&'a Value> {
    items.iter().find(
        |other| {
            if keys.is_empty() { *other == item } else { keys.iter().all(|key| same_key(item, other, key)) }
        },
    )
}

fn same_key(item: &Value, other: &Value, key: &str) -> bool {
    match (item.get(key), other.get(key)) {
        (Some(one), Some(two)) => one == two,
        (None, None) => true,
        (Some(value), None) | (None, Some(value)) => merge_key_default(key).is_some_and(|default| value == default),
    }
}

fn address(item: &Value, keys: &[&str]) -> Segment {
    if keys.is_empty() {
        return Segment::Item([(String::new(), item.clone())].into());
    }
    Segment::Item(keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> GroupKind {
        GroupKind::new("apps", "Deployment")
    }

    fn check(expected: &Value, live: &Value) -> Vec<String> {
        declared_differences(expected, live, &deployment(), Visibility::Shown)
            .into_iter()
            .map(|diff| {
                format!("{}: {} → {}", diff.path, diff.before.unwrap_or_default(), diff.after.unwrap_or_default())
            })
            .collect()
    }

    fn containers(items: &Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": items}}}})
    }

    #[test]
    fn additions_and_defaults_are_no_differences() {
        let declared = containers(&json!([{"name": "web", "image": "a:1", "ports": [{"containerPort": 80}]}]));
        let live = containers(&json!([
            {"name": "sidecar", "image": "x"},
            {"name": "web", "image": "a:1", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
        ]));
        assert_eq!(check(&declared, &live), [] as [&str; 0]);
    }

    #[test]
    fn edits_are_addressed_by_merge_key() {
        let declared = containers(&json!([{"name": "web", "image": "a:1"}, {"name": "gone", "image": "b"}]));
        let live = containers(&json!([{"name": "x"}, {"name": "web", "image": "evil"}]));
        assert_eq!(
            check(&declared, &live),
            [
                r#"spec.template.spec.containers[name=web].image: "a:1" → "evil""#,
                r#"spec.template.spec.containers[name=gone]: {"image":"b","name":"gone"} → "#,
            ]
        );
    }

    #[test]
    fn a_list_without_merge_keys_is_one_value() {
        let declared = json!({"spec": {"x": [1, 2]}});
        assert_eq!(check(&declared, &json!({"spec": {"x": [1, 2]}})), [] as [&str; 0]);
        assert_eq!(check(&declared, &json!({"spec": {"x": [1, 3]}})), ["spec.x[1]: 2 → 3"]);
        assert_eq!(check(&declared, &json!({"spec": {"x": [1, 2, 3]}})), ["spec.x: [1,2] → [1,2,3]"]);
    }

    #[test]
    fn what_the_server_made_of_a_declaration_is_expected() {
        let declared = containers(&json!([{"name": "web", "resources": {"limits": {"cpu": "0.5"}}}]));
        let answer = containers(&json!([{"name": "web", "image": "d", "resources": {"limits": {"cpu": "500m"}}}]));
        let expected = as_served(&declared, &answer, &deployment());
        assert_eq!(expected, containers(&json!([{"name": "web", "resources": {"limits": {"cpu": "500m"}}}])));
        assert_eq!(check(&expected, &answer), [] as [&str; 0]);
    }

    #[test]
    fn secrets_are_masked_and_long_values_cut() {
        let secret = GroupKind::new("", "Secret");
        let found = declared_differences(
            &json!({"data": {"k": "aGk="}}),
            &json!({"data": {"k": "bG8="}}),
            &secret,
            Visibility::Masked,
        );
        assert_eq!(found, [FieldDiff { path: "data.k".into(), before: Some("***".into()), after: Some("***".into()) }]);
        let long = check(&json!({"a": "x".repeat(5000)}), &json!({"a": 1}));
        assert!(long[0].len() < 300, "{}", long[0].len());
    }

    #[test]
    fn the_list_of_differences_is_bounded() {
        let many = |value: u32| Value::Object((0..500).map(|i| (format!("k{i}"), json!(value))).collect());
        assert_eq!(check(&many(1), &many(2)).len(), MAX_DIFFERENCES + 1);
    }

    #[test]
    fn both_directions_list_what_is_new() {
        let found = differences(&json!({"a": 1}), &json!({"b": 2}), &deployment(), Visibility::Shown);
        assert_eq!(found.iter().map(|diff| diff.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}
