//! What a live object has beyond its declaration: the server's defaults, and what others added.

use std::collections::HashSet;

use manifest::{FieldPath, GroupKind, merge_keys};
use serde_json::Value;

use crate::{
    compare::{Items, Keys, Step},
    server_form::ServerForm,
};

/// The most paths given: fifty containers with twenty defaults each.
pub const MAX_SURPLUS: usize = 1_000;

/// What the server keeps of its own in `metadata`.
const BOOKKEEPING: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Paths of the fields that only `live` has, outside status and bookkeeping; of what is nested each innermost one, list
/// items by merge key. At most [`MAX_SURPLUS`], in the order of the object.
#[must_use]
pub fn surplus(declared: &Value, live: &Value, kind: &GroupKind) -> Vec<String> {
    let mut walk = Walk { kind, form: ServerForm::of(kind), steps: Vec::new(), names: Vec::new(), found: Vec::new() };
    walk.value(Some(declared), live);
    walk.found
}

struct Walk<'a> {
    kind: &'a GroupKind,
    form: ServerForm<'a>,
    steps: Vec<Step<'a>>,
    /// The names of the fields among the steps.
    names: Vec<&'a str>,
    found: Vec<String>,
}

impl<'a> Walk<'a> {
    /// What is declared as something else altogether is a difference, and no surplus.
    fn value(&mut self, declared: Option<&'a Value>, live: &'a Value) {
        // What is declared as nothing is declared by nobody.
        let declared = declared.filter(|declared| !declared.is_null());
        match (declared, live) {
            (None | Some(Value::Object(_)), Value::Object(fields)) if !fields.is_empty() => {
                for (name, value) in
                    fields.iter().filter(|(name, _)| !is_bookkeeping(&self.names, name)).collect::<Vec<_>>()
                {
                    self.steps.push(Step::Field(name));
                    self.names.push(name);
                    self.value(declared.and_then(|declared| declared.get(name)), value);
                    self.names.pop();
                    self.steps.pop();
                }
            }
            (None | Some(Value::Array(_)), Value::Array(items)) if !items.is_empty() => match self.keys() {
                Some(keys) => self.items(declared, items, keys),
                None => self.leaf(declared),
            },
            _ => self.leaf(declared),
        }
    }

    fn items(&mut self, declared: Option<&'a Value>, items: &'a [Value], keys: Keys) {
        let known = declared.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let known = Items::of(known, keys);
        // One item of each kind is declared: a second one with the same keys is somebody else's.
        let mut met = HashSet::new();
        for item in items {
            self.steps.push(Step::Item(item, keys));
            let declared = known.find(item).filter(|declared| met.insert(std::ptr::from_ref::<Value>(declared)));
            self.value(declared, item);
            self.steps.pop();
        }
    }

    fn leaf(&mut self, declared: Option<&Value>) {
        if declared.is_none() && self.found.len() < MAX_SURPLUS {
            self.found.push(FieldPath::new(self.steps.iter().map(Step::segment).collect()).to_string());
        }
    }

    fn keys(&self) -> Option<Keys> {
        let set: Keys = &[];
        merge_keys(self.kind, &self.names).or_else(|| self.form.is_set(&self.names).then_some(set))
    }
}

/// Whether the field `name` below these names is the server's own.
pub(crate) fn is_bookkeeping(names: &[&str], name: &str) -> bool {
    match names {
        [] => name == "status",
        ["metadata"] => BOOKKEEPING.contains(&name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(declared: &Value, live: &Value) -> Vec<String> {
        surplus(declared, live, &GroupKind::new("apps", "Deployment"))
    }

    #[test]
    fn defaults_and_additions_are_named_by_their_innermost_fields() {
        let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let declared = pod(json!([{"name": "web", "image": "a:1"}]));
        let live = pod(json!([
            {"name": "web", "image": "a:1", "imagePullPolicy": "Always", "env": [{"name": "X", "value": "1"}]},
            {"name": "miner", "image": "evil"}
        ]));
        let at = |path: &str| format!("spec.template.spec.containers[name={path}");
        assert_eq!(
            found(&declared, &live),
            [
                at("web].env[name=X].name"),
                at("web].env[name=X].value"),
                at("web].imagePullPolicy"),
                at("miner].image"),
                at("miner].name")
            ]
        );
        assert_eq!(found(&declared, &declared), [] as [&str; 0]);
    }

    #[test]
    fn an_added_annotation_is_told_from_those_that_are_there() {
        let annotated = |names: &[&str]| {
            let annotations: serde_json::Map<_, _> =
                names.iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
            json!({"metadata": {"annotations": annotations, "uid": "u", "managedFields": [1]}, "status": {"x": 1}})
        };
        assert_eq!(found(&json!({}), &annotated(&["a"])), ["metadata.annotations.a"]);
        assert_eq!(found(&annotated(&["a"]), &annotated(&["a", "b"])), ["metadata.annotations.b"]);
    }

    #[test]
    fn what_is_declared_otherwise_is_a_difference_and_no_surplus() {
        assert_eq!(
            found(&json!({"a": 1, "b": [1], "c": {}}), &json!({"a": {"x": 1}, "b": [1, 2], "c": {}})),
            [] as [&str; 0]
        );
        assert_eq!(
            found(&json!({"c": {}}), &json!({"c": {"x": 1}, "d": {}, "e": [], "f": null})),
            ["c.x", "d", "e", "f"]
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let many = Value::Object((0..5_000).map(|i| (format!("k{i}"), json!(1))).collect());
        assert_eq!(found(&json!({}), &many).len(), MAX_SURPLUS);
    }
}
