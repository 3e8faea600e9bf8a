//! Durations as custom resources have them.

use std::time::Duration;

/// The longest duration taken: a year, in seconds.
const MAX_SECONDS: u64 = 365 * 24 * 3_600;

/// Parses a duration such as `90s`, `5m` or `1h30m`; at most a year.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number: Option<u64> = None;
    for character in text.chars() {
        if let Some(digit) = character.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && seconds > 0 && seconds <= MAX_SECONDS).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_strictly() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        for text in ["", "5", "m", "-1s", "1d", "99999999999999999999s", "0s", "8761h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
