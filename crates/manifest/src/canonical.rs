//! One sequence of bytes for each JSON value.

use serde_json::Value;

use crate::scalar::whole;

/// The canonical bytes of a JSON value, for digests and for comparing:
///
/// - keys sorted by their UTF-8 bytes, no whitespace;
/// - an integer as decimal digits, and so a float without a fraction that fits into `i64` (`1.0` → `1`, as kubectl and
///   the API server do); every other number as the shortest decimal that reads back as the same `f64`;
/// - strings with the escapes `\" \\ \b \f \n \r \t`, `\u00xx` for other control characters, all else as UTF-8.
///
/// Equal bytes mean equal values. Equal values mean equal bytes, but for floats from 2⁶³ on, which the YAML reader refuses.
#[must_use]
pub fn canonical_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let float = number.as_f64().filter(|_float| number.is_f64());
            match float.and_then(whole) {
                Some(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
                None => out.extend_from_slice(number.to_string().as_bytes()),
            }
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // Sorted here: whether the map sorts is decided by a feature of serde_json that any crate may switch.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (index, (key, item)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(item, out);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.push(b'"');
    // Runs of bytes that stand for themselves are copied as a whole.
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0x00..=0x1f)) {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = escaped.split_first() else { break };
        rest = after;
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0x0f)]),
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        assert_eq!(String::from_utf8(canonical_json(value)).unwrap(), expected);
    }

    #[test]
    fn sorts_and_normalises() {
        check(
            &json!({"b": [1, {"z": null, "a": true}], "a": "x", "B": 1}),
            r#"{"B":1,"a":"x","b":[1,{"a":true,"z":null}]}"#,
        );
        check(
            &json!([1.0, -0.0, 0.5, u64::MAX, i64::MIN, 1e300]),
            "[1,0,0.5,18446744073709551615,-9223372036854775808,1e+300]",
        );
        check(&json!("é\"\\\n\u{1}\u{7f}/"), "\"é\\\"\\\\\\n\\u0001\u{7f}/\"");
    }

    proptest::proptest! {
        #[test]
        fn reads_back_as_the_same_bytes(text in "\\PC{0,20}|[\\x00-\\x20]{0,8}", number: f64, integer: i64) {
            let value = json!({text.clone(): [text, number, integer]});
            let bytes = canonical_json(&value);
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            proptest::prop_assert_eq!(canonical_json(&back), bytes);
        }
    }
}
