//! Kubernetes quantities, compared by value.

use std::str::FromStr;

use serde_json::Value;

/// The longest quantity read: 19 digits before and 9 after the point is all that the API server keeps of one.
pub const MAX_QUANTITY_BYTES: usize = 64;

/// A Kubernetes quantity (`500m`, `1Gi`, `2.5`, `1e3`), held exactly as a count of 10⁻⁹, the finest step that the API
/// server keeps; anything finer is rounded away from zero, as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// The text is no quantity, or one outside what Kubernetes can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Kubernetes quantity such as 500m, 2.5 or 1Gi")]
pub struct ParseQuantityError;

impl Quantity {
    /// The value in units of 10⁻⁹.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// A quantity as it stands in an object: text or a number.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }
}

/// A suffix: the power of two and the power of ten it multiplies by.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (0, exponent.parse().ok()?)
        }
    })
}

/// `mantissa × 2^binary × 10^decimal`, rounded away from zero; `None` if it does not fit.
fn multiply(mantissa: i128, binary: u32, decimal: i32) -> Option<i128> {
    let mut value = mantissa.checked_mul(1_i128.checked_shl(binary)?)?;
    if value == 0 {
        return Some(0);
    }
    if let Ok(power) = u32::try_from(decimal) {
        return value.checked_mul(10_i128.checked_pow(power)?);
    }
    let Some(divisor) = 10_i128.checked_pow(decimal.unsigned_abs()) else { return Some(value.signum()) };
    let rest = value % divisor;
    value /= divisor;
    Some(if rest == 0 { value } else { value + rest.signum() })
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            if text.len() > MAX_QUANTITY_BYTES {
                return None;
            }
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
            let (whole, rest) = unsigned.split_at_checked(digits(unsigned))?;
            let (fraction, suffix) = match rest.strip_prefix('.') {
                Some(rest) => rest.split_at_checked(digits(rest))?,
                None => ("", rest),
            };
            if whole.is_empty() && fraction.is_empty() {
                return None;
            }
            let fraction = fraction.trim_end_matches('0');
            let joined = format!("{}0{whole}{fraction}", if text.starts_with('-') { "-" } else { "" });
            let (binary, decimal) = scale(suffix)?;
            let places = i32::try_from(fraction.len()).ok()?;
            // The unit is 10⁻⁹: nine more powers of ten, less one for each digit behind the point.
            let decimal = decimal.checked_add(9)?.checked_sub(places)?;
            multiply(joined.parse().ok()?, binary, decimal)
        };
        parse().map(Self).ok_or(ParseQuantityError)
    }
}

/// True if both are quantities of the same value, however they are written (`"0.5"` and `"500m"`, `1` and `"1"`).
#[must_use]
pub fn same_quantity(a: &Value, b: &Value) -> bool {
    matches!((Quantity::of(a), Quantity::of(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_by_value() {
        for (a, b) in [
            (json!("0.5"), json!("500m")),
            (json!("1024Mi"), json!("1Gi")),
            (json!(1), json!("1")),
            (json!("1e3"), json!("1k")),
            (json!("1E3"), json!("1000")),
            (json!("1.5Gi"), json!("1536Mi")),
            (json!("-.5"), json!("-500m")),
            (json!("0.1n"), json!("1n")),
            (json!("9007199254740993"), json!("9007199254740993.0")),
            (json!("0"), json!("0e99")),
            (json!(0.25), json!("250m")),
        ] {
            assert!(same_quantity(&a, &b), "{a} {b}");
        }
        for (a, b) in [
            (json!("1"), json!("1m")),
            (json!("9007199254740993"), json!("9007199254740992")),
            (json!("1G"), json!("1Gi")),
            (json!("x"), json!("x")),
            (json!(true), json!(true)),
        ] {
            assert!(!same_quantity(&a, &b), "{a} {b}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            ".",
            "+",
            "Gi",
            "1gi",
            "1 Gi",
            "1e",
            "1e+",
            "1mm",
            "0x10",
            "1e999",
            "1e99999999999",
            "--1",
            "1_0",
            "9e38",
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(ParseQuantityError), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[-+.0-9eEimkKMGn]{0,70}|\\PC{0,10}") {
            let _either = text.parse::<Quantity>();
        }

        #[test]
        fn milli_is_exact(units in -1_000_000_000_000_i64..1_000_000_000_000) {
            let milli: Quantity = format!("{units}m").parse().unwrap();
            proptest::prop_assert_eq!(milli.nanos(), i128::from(units) * 1_000_000);
        }
    }
}
