//! Who the server's own bookkeeping says wrote a field. Whoever writes chooses his name there, may leave none, and may
//! empty it all: what is read here is a claim.

use std::borrow::Cow;

use jiff::Timestamp;
use manifest::{FieldPath, Segment};
use plan::{MAX_ACTORS, actor_text};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::FIELD_MANAGER;

/// Most entries that are looked at. The server itself joins older ones beyond ten that are not applies.
const MAX_ENTRIES: usize = 200;
/// Largest `managedFields` that is read: an object has at most 1.5 MiB, of which this is mostly less than half.
const MAX_BYTES: usize = 1 << 20;

/// One entry that has one of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The field manager, printable and cut.
    pub manager: String,
    /// `Apply` or `Update`, as it is written.
    pub operation: String,
    /// Through which subresource, if through one.
    pub subresource: Option<String>,
    /// When.
    pub time: Option<Timestamp>,
}

/// What `managedFields` says of some fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// Those that have one of them, the newest first; ours are not among them. Empty: nobody has.
    Named(Vec<Claim>),
    /// There is no `managedFields`.
    Missing,
    /// It is too large, or not what a server writes.
    Unreadable,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(default)]
    time: Option<Cow<'a, str>>,
    #[serde(default)]
    fields_v1: Map<String, Value>,
}

/// Who has one of these fields, by the `managedFields` of an object.
#[must_use]
pub fn claims(json: &[u8], fields: &[FieldPath]) -> Claims {
    let Ok(Object { metadata }) = serde_json::from_slice(json) else { return Claims::Unreadable };
    let Some(raw) = metadata.managed_fields else { return Claims::Missing };
    if raw.get().len() > MAX_BYTES {
        return Claims::Unreadable;
    }
    let Ok(entries) = serde_json::from_str::<Vec<Entry<'_>>>(raw.get()) else { return Claims::Unreadable };
    if entries.is_empty() {
        return Claims::Missing;
    }
    let ours = |entry: &Entry<'_>| entry.manager == FIELD_MANAGER && entry.operation == "Apply";
    let has = |entry: &Entry<'_>| fields.iter().any(|field| holds(&entry.fields_v1, field.segments()));
    let found = entries.iter().take(MAX_ENTRIES).filter(|entry| !ours(entry) && has(entry));
    let mut claims: Vec<Claim> = found.map(claim).collect();
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.time));
    claims.dedup_by(|one, other| one.manager == other.manager);
    claims.truncate(MAX_ACTORS);
    Claims::Named(claims)
}

fn claim(entry: &Entry<'_>) -> Claim {
    Claim {
        manager: if entry.manager.is_empty() { "(no name)".to_owned() } else { actor_text(&entry.manager) },
        operation: actor_text(&entry.operation),
        subresource: (!entry.subresource.is_empty()).then(|| actor_text(&entry.subresource)),
        time: entry.time.as_ref().and_then(|time| time.parse().ok()),
    }
}

/// Whether a set has the field, something in it, or all of what it is in.
fn holds(set: &Map<String, Value>, path: &[Segment]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let Some(below) = set.iter().find(|(key, _)| is(key, first)).map(|(_, below)| below) else { return false };
    match below.as_object() {
        // A leaf: the value with all that is in it.
        Some(below) if below.is_empty() => true,
        Some(below) => holds(below, rest),
        None => false,
    }
}

/// Whether a key of a set is this step: `f:` a field, `k:` an item by its keys, `i:` an item by its place.
fn is(key: &str, segment: &Segment) -> bool {
    match (key.split_once(':'), segment) {
        (Some(("f", name)), Segment::Field(field)) => name == field,
        (Some(("i", place)), Segment::Index(index)) => place.parse() == Ok(*index),
        (Some(("k", keys)), Segment::Item(item)) => {
            let keys = serde_json::from_str::<Map<String, Value>>(keys);
            // Ours may leave out a key that has its default.
            keys.is_ok_and(|keys| item.iter().all(|(name, value)| keys.get(name) == Some(value)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(paths: &[&str]) -> Vec<FieldPath> {
        paths.iter().map(|path| path.parse().unwrap()).collect()
    }

    fn named(managed: &Value, fields: &[&str]) -> Vec<String> {
        let object = json!({"metadata": {"name": "web", "managedFields": managed}, "spec": {}});
        match claims(object.to_string().as_bytes(), &paths(fields)) {
            Claims::Named(claims) => claims.into_iter().map(|claim| claim.manager).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    fn entry(manager: &str, operation: &str, time: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn who_has_a_field_is_found_through_lists_leaves_and_what_is_below() {
        let image = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:env": {"k:{\"name\":\"MODE\"}": {"f:value": {}}}}}}}}});
        let managed = json!([
            entry("writ", "Apply", "2026-11-28T05:00:00Z", &json!({"f:spec": {"f:replicas": {}}})),
            entry("kubectl-set", "Update", "2026-11-28T05:00:01Z", &image),
            entry("kubectl-edit", "Update", "2026-11-28T05:00:02Z", &json!({"f:metadata": {"f:annotations": {}}})),
        ]);
        let containers = "spec.template.spec.containers";
        assert_eq!(named(&managed, &[&format!("{containers}[name=web].image")]), ["kubectl-set"]);
        assert_eq!(named(&managed, &[&format!("{containers}[name=web]")]), ["kubectl-set"]);
        assert_eq!(named(&managed, &[&format!("{containers}[name=db].image")]), [""; 0]);
        assert_eq!(named(&managed, &["metadata.annotations.a"]), ["kubectl-edit"]);
        // What only we have, nobody claims.
        assert_eq!(named(&managed, &["spec.replicas"]), [""; 0]);
        let both = [&format!("{containers}[name=web].env[name=MODE].value"), "metadata.annotations.a"];
        assert_eq!(named(&managed, &both.map(|path| -> &str { path })), ["kubectl-edit", "kubectl-set"]);
    }

    #[test]
    fn claims_of_huge_missing_forged_managed_fields() {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        // A name of ours for what is no apply of ours is told as it is.
        let forged =
            json!([entry("writ", "Update", "yesterday", &fields), entry("a\u{1b}[2J\u{202e}b", "Update", "", &fields)]);
        assert_eq!(named(&forged, &["spec.replicas"]), ["writ", "a\u{fffd}[2J\u{fffd}b"]);
        assert_eq!(named(&json!([entry("", "", "", &fields)]), &["spec.replicas"]), ["(no name)"]);
        for missing in [json!(null), json!([])] {
            assert_eq!(named(&missing, &["spec.replicas"]), ["Missing"]);
        }
        for odd in [json!("x"), json!({}), json!([1]), json!([{"manager": 1}]), json!([{"fieldsV1": 7}])] {
            assert_eq!(named(&odd, &["spec.replicas"]), ["Unreadable"], "{odd}");
        }
        let odd_sets = json!([entry("m", "Update", "", &json!({"f:spec": 7, "k:x": {}, "f": {}, "": {}}))]);
        assert_eq!(named(&odd_sets, &["spec.replicas"]), [""; 0]);
        let many: Vec<Value> = (0..MAX_ENTRIES * 2).map(|n| entry(&format!("m{n}"), "Update", "", &fields)).collect();
        assert_eq!(named(&json!(many), &["spec.replicas"]).len(), MAX_ACTORS);
        let large = json!([entry(&"m".repeat(MAX_BYTES), "Update", "", &fields)]);
        assert_eq!(named(&large, &["spec.replicas"]), ["Unreadable"]);
        assert_eq!(claims(b"{", &[]), Claims::Unreadable);
        assert_eq!(claims(br#"{"metadata":{}}"#, &[]), Claims::Missing);
    }

    proptest::proptest! {
        /// Whatever the bytes: an answer, never a panic, and no text that does something to a terminal.
        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}", manager in proptest::prelude::any::<String>()) {
            let managed = json!([entry(&manager, &text, &text, &json!({text.clone(): {"f:a": {}}, "f:a": {}}))]);
            for name in named(&managed, &["a"]) {
                proptest::prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }
}
