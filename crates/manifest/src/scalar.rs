//! How kubectl reads an unquoted scalar: YAML 1.1 as its parser (go-yaml 2.4, through JSON) resolves it.
//!
//! What readers disagree on is refused instead. No reason here ever quotes the scalar: it may be a secret.

use crate::{ManifestCode, NodeValue};

/// Why an unquoted scalar is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ManifestCode,
    pub(crate) found: &'static str,
    pub(crate) fix: &'static str,
}

const fn ambiguous(found: &'static str, fix: &'static str) -> Refused {
    Refused { code: ManifestCode::M103, found, fix }
}

const UNDERSCORE: Refused =
    ambiguous("a number with underscores", "quote it if it is text, else write the number without underscores");
const LEADING_ZERO: Refused = ambiguous(
    "a decimal number with a leading zero",
    "quote it if it is text, else write it without the zero (octal modes: 0o644)",
);
const TOO_LARGE: Refused =
    ambiguous("a whole number that does not fit into 64 bits with sign", "quote it; kubectl would round it");
const BINARY_SIGN: Refused = ambiguous("a sign after `0b`", "quote it if it is text, else put the sign before `0b`");
const NON_FINITE: Refused = Refused {
    code: ManifestCode::M104,
    found: "a number that is not finite",
    fix: "quote it if it is text, else write a finite number",
};

/// The value of an unquoted scalar without a tag.
pub(crate) fn resolve_plain(text: &str) -> Result<NodeValue, Refused> {
    if let Some(word) = resolve_word(text) {
        return word;
    }
    match text.bytes().next() {
        Some(b'0'..=b'9' | b'+' | b'-') => resolve_number(text),
        Some(b'.') => resolve_fraction(text),
        _ => Ok(NodeValue::String(text.to_owned())),
    }
}

/// The words of YAML 1.1: exactly these spellings, no others (`tRUE` is text).
fn resolve_word(text: &str) -> Option<Result<NodeValue, Refused>> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Ok(NodeValue::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Ok(NodeValue::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Ok(NodeValue::Bool(false))
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => Err(NON_FINITE),
        _ => return None,
    })
}

/// A scalar that starts with a dot: a fraction, or text.
fn resolve_fraction(text: &str) -> Result<NodeValue, Refused> {
    let number = text.replace('_', "");
    match parse_float(&number) {
        Some(_) if number != text => Err(UNDERSCORE),
        Some(value) => normalise(value),
        None => Ok(NodeValue::String(text.to_owned())),
    }
}

/// A scalar that starts with a digit or a sign: an integer, a float, or text (dates and times are text).
fn resolve_number(text: &str) -> Result<NodeValue, Refused> {
    let number = text.replace('_', "");
    let value = if let Some(integer) = parse_integer(&number) {
        integer.map(NodeValue::Int)
    } else if let Some(float) = parse_float(&number) {
        let digits = number.trim_start_matches(['+', '-']);
        match (digits.bytes().all(|byte| byte.is_ascii_digit()), digits.starts_with('0')) {
            (true, true) => Err(LEADING_ZERO),
            (true, false) => Err(TOO_LARGE),
            (false, _) => normalise(float),
        }
    } else if ["0b+", "0b-"].iter().any(|prefix| {
        number
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|bit| matches!(bit, b'0' | b'1')))
    }) {
        Err(BINARY_SIGN)
    } else {
        return Ok(NodeValue::String(text.to_owned()));
    };
    if number == text { value } else { value.and(Err(UNDERSCORE)) }
}

/// An integer in Go's notation: sign, then decimal, `0x`, `0o`, `0b`, or octal by a leading zero. `None` if the
/// text is none; an error if it is one that does not fit.
fn parse_integer(text: &str) -> Option<Result<i64, Refused>> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(_) if digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    // Beyond 64 bits go-yaml falls back to text for `0x…`, `0o…` and `0b…`, and to a float for plain digits.
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let value = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    // A signed number beyond `i64` is not retried as unsigned by go-yaml; both ends are refused alike.
    Some(value.ok_or(TOO_LARGE))
}

/// A decimal float in go-yaml's notation: `[-+]? ( .d+ | d+ (. d*)? ) ( [eE] [-+]? d+ )?`. `None` if the text is
/// none, or one that overflows (which kubectl reads as text).
fn parse_float(text: &str) -> Option<f64> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits(unsigned);
    let mut rest = unsigned.get(whole..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if whole == 0 && count == 0 {
            return None;
        }
        rest = fraction.get(count..)?;
    } else if whole == 0 {
        return None;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) != exponent.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// kubectl passes numbers through JSON: a float that Go prints without fraction or exponent (below 1e21) and that
/// fits into `i64` comes back as an integer; one that does not fit is refused.
fn normalise(value: f64) -> Result<NodeValue, Refused> {
    // From here on Go prints an exponent; below, it prints digits that other readers take for an integer.
    const FIRST_WITH_EXPONENT: f64 = 1e21;
    match whole(value) {
        Some(integer) => Ok(NodeValue::Int(integer)),
        None if value.fract() == 0.0 && value.abs() < FIRST_WITH_EXPONENT => Err(TOO_LARGE),
        None => Ok(NodeValue::Float(value)),
    }
}

/// The integer that a float is exactly, if it fits into `i64`.
pub(crate) fn whole(value: f64) -> Option<i64> {
    // 2^63 is a float; every whole float in [-2^63, 2^63) is an i64 exactly.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 || !(-LIMIT..LIMIT).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within i64, checked above")]
    let integer = value as i64;
    Some(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Result<NodeValue, ManifestCode>) {
        assert_eq!(&resolve_plain(text).map_err(|refused| refused.code), expected, "{text:?}");
    }

    #[test]
    fn words() {
        for text in ["yes", "Yes", "on", "ON", "y", "true", "TRUE"] {
            check(text, &Ok(NodeValue::Bool(true)));
        }
        for text in ["yES", "tRUE", "nulL", "", "~", "Infinity", "NaN", "None"] {
            let expected = if matches!(text, "" | "~") { NodeValue::Null } else { NodeValue::String(text.to_owned()) };
            check(text, &Ok(expected));
        }
        check("-.Inf", &Err(ManifestCode::M104));
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("00", 0),
            ("0644", 420),
            ("-0644", -420),
            ("0o644", 420),
            ("0O644", 420),
            ("0x1F", 31),
            ("+0XfF", 255),
            ("-0b101", -5),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("1e3", 1000),
            ("1.0", 1),
            ("-0.0", 0),
        ] {
            check(text, &Ok(NodeValue::Int(value)));
        }
        for text in ["0x", "0o8", "+", "-", "+-1", "0xg", "1e", "1.2.3", "12:30", "2001-01-01", "1e400", "10Gi", "0b2"]
        {
            check(text, &Ok(NodeValue::String(text.to_owned())));
        }
        for text in [
            "1_000",
            "08",
            "0999",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "0b-1",
            "._5",
            "1_0.5",
        ] {
            check(text, &Err(ManifestCode::M103));
        }
    }

    #[test]
    fn floats() {
        for (text, value) in
            [(".5", 0.5), ("-1.5e-3", -0.0015), ("+.5", 0.5), ("1e300", 1e300), ("0.1", 0.1), ("08.5", 8.5)]
        {
            check(text, &Ok(NodeValue::Float(value)));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[-+.0-9a-fxobeE_:yn~]{0,24}|\\PC{0,12}") {
            let _either = resolve_plain(&text);
        }
    }
}
