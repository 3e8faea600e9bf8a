//! Showing sensitive objects without their values.

use serde_json::Value;

/// What stands in place of a value that is not shown.
pub const MASK: &str = "***";

/// A sensitive object as it may be shown: all keys and the structure, but every value replaced by [`MASK`], except
/// `apiVersion`, `kind`, `metadata.name` and `metadata.namespace`. `null` stays, since it says that there is no value.
#[must_use]
pub fn masked(object: &Value) -> Value {
    let mut shown = mask_values(object);
    for pointer in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
        if let (Some(slot), Some(value @ Value::String(_))) = (shown.pointer_mut(pointer), object.pointer(pointer)) {
            *slot = value.clone();
        }
    }
    shown
}

/// Any value with every scalar in it replaced by [`MASK`], `null` excepted.
#[must_use]
pub fn mask_values(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::from(MASK),
        Value::Array(items) => Value::Array(items.iter().map(mask_values).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), mask_values(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_identity_and_keys_only() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
            "metadata": {"name": "db", "namespace": "shop", "annotations": {"a": "hunter2"}, "uid": null},
            "data": {"password": "aHVudGVyMg==", "list": [1, "x"]}});
        assert_eq!(
            masked(&object),
            json!({"apiVersion": "v1", "kind": "Secret", "type": "***", "immutable": "***",
                "metadata": {"name": "db", "namespace": "shop", "annotations": {"a": "***"}, "uid": null},
                "data": {"password": "***", "list": ["***", "***"]}})
        );
        // A name that is no text could hide anything.
        assert_eq!(
            masked(&json!({"metadata": {"name": {"x": "hunter2"}}})),
            json!({"metadata": {"name": {"x": "***"}}})
        );
    }
}
