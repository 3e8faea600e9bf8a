//! JSON to CEL values as Kubernetes sees them: integers are ints, keys stay as they are.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value as Cel,
    objects::{Key, Map},
};
use serde_json::Value;

/// Converts an object. A number that fits into 64 signed bits is an int, above that a uint, with a
/// fraction a double.
pub(crate) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => number
            .as_i64()
            .map(Cel::Int)
            .or_else(|| number.as_u64().map(Cel::UInt))
            .or_else(|| number.as_f64().map(Cel::Float))
            .unwrap_or(Cel::Null),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, Cel> =
                fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}
