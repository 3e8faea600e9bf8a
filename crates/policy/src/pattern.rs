//! What a regular expression costs. `cel` compiles the pattern of `matches` anew in every call, so a pattern is a literal
//! that is compiled once at load, under small limits, and priced by its size.

use regex::RegexBuilder;

use crate::ExpressionError;

/// The longest pattern, in bytes. That of an image with its registry and digest has 100.
pub const MAX_PATTERN_BYTES: usize = 256;
/// The largest compiled pattern, in bytes, a 320th of the library's own limit. A DNS label takes 16 KiB, an image with
/// registry, tag and digest 32 KiB; `\w`, which is 140,000 characters of all scripts, takes 64 KiB.
pub const MAX_PATTERN_SIZE: u64 = 32 << 10;
/// Compiling any pattern. With [`COMPILE_BYTES_PER_STEP`]: 42 µs were measured for a DNS label of 16 KiB (5,096 steps, at
/// 0.1 µs a step 510 µs), and of 225 patterns, most of them hostile, none took longer than its price (`a?` × 64, 8 KiB: 285 µs, 305 paid).
const COMPILE_STEPS: u64 = 1_000;
/// Bytes of the compiled pattern that cost a step of compiling it.
const COMPILE_BYTES_PER_STEP: u64 = 4;
/// A class that may hold characters of all scripts: up to 150 µs were measured (the parser sorts and cuts its ranges).
const CLASS_STEPS: u64 = 1_500;
/// The same, and any bracket, when case is ignored: 5.8 ms were measured for the range of all characters.
const FOLDED_CLASS_STEPS: u64 = 60_000;
/// Matching one byte costs a step per this many bytes of the compiled pattern: 5.9 µs a byte were measured where every
/// state of 32 KiB is alive (`(a|b)*a(a|b){200}c`), that is 59 steps; 32 KiB / 512 = 64.
const MATCH_BYTES_PER_STEP: u64 = 512;

/// Steps of one call of `matches`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    compile: u64,
    per_byte: u64,
}

impl Price {
    /// Prices `pattern`.
    ///
    /// # Errors
    /// When it is no regular expression, or is over a limit.
    pub(crate) fn of(pattern: &str) -> Result<Self, ExpressionError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(ExpressionError::CostlyPattern(format!(
                "{} bytes; at most {MAX_PATTERN_BYTES}",
                pattern.len()
            )));
        }
        let mut size = 1_024;
        while let Err(error) = compile(pattern, size) {
            match error {
                regex::Error::CompiledTooBig(_) if size < MAX_PATTERN_SIZE => size *= 2,
                regex::Error::CompiledTooBig(_) => {
                    return Err(ExpressionError::CostlyPattern(format!(
                        "compiled it has more than {MAX_PATTERN_SIZE} bytes"
                    )));
                }
                error => {
                    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                    return Err(ExpressionError::Compile(text));
                }
            }
        }
        let classes = if ignores_case(pattern) {
            // Letters are classes of two or three: 198 µs were measured for `(?i:k){5}`.
            CLASS_STEPS + FOLDED_CLASS_STEPS.saturating_mul(wide_classes(pattern) + count(pattern, '['))
        } else {
            CLASS_STEPS.saturating_mul(wide_classes(pattern))
        };
        let compile = COMPILE_STEPS + size / COMPILE_BYTES_PER_STEP + classes;
        Ok(Self { compile, per_byte: size / MATCH_BYTES_PER_STEP })
    }

    /// Steps of a call on a text of at most `bytes`.
    pub(crate) fn steps(self, bytes: u64) -> u64 {
        self.compile.saturating_add(self.per_byte.saturating_mul(bytes))
    }
}

fn compile(pattern: &str, size: u64) -> Result<(), regex::Error> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    RegexBuilder::new(pattern).size_limit(size).build().map(drop)
}

/// At least the classes of `pattern` that may hold characters of all scripts: `.`, `\w`, `\p{…}`, `[^…]`, `[:^…:]`, and
/// whatever is written with such characters.
fn wide_classes(pattern: &str) -> u64 {
    let mut classes = 0;
    let mut before = ' ';
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let wide = match character {
            '\\' => characters.next().is_some_and(|escaped| escaped.is_ascii_alphabetic()),
            '.' => true,
            '^' => matches!(before, '[' | ':'),
            character => !character.is_ascii(),
        };
        classes += u64::from(wide);
        before = character;
    }
    classes
}

/// Whether a group of flags, `(?i)` or `(?s-i:`, has an `i`. The name of a group is none.
fn ignores_case(pattern: &str) -> bool {
    pattern.split("(?").skip(1).any(|group| {
        !group.starts_with(['P', '<']) && group.chars().take_while(|c| !matches!(c, ':' | ')')).any(|c| c == 'i')
    })
}

fn count(text: &str, wanted: char) -> u64 {
    text.chars().filter(|character| *character == wanted).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_policies_match_is_accepted_and_cheap() {
        for (pattern, most) in [
            ("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", 8_000),
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", 5_000),
            (r"^registry\.example/([a-z0-9._-]+/)*[a-z0-9._-]+(:[A-Za-z0-9._-]{1,128})?@sha256:[a-f0-9]{64}$", 22_000),
            (r"^v\d+\.\d+\.\d+$", 17_000),
            ("^.+@sha256:[0-9a-f]{64}$", 8_000),
            ("(?i)^prod", 3_000),
            ("^(?P<image>[a-z]+)$", 2_000),
        ] {
            let steps = Price::of(pattern).unwrap().steps(63);
            assert!(steps <= most, "{pattern}: {steps}");
        }
    }

    #[test]
    fn what_is_slow_to_compile_is_refused_or_dear() {
        for pattern in [r"(\w{40}){20}", ".{1,253}", "(?:[a-z]{100}){100}", &"a".repeat(257)] {
            let error = Price::of(pattern).unwrap_err();
            assert!(matches!(error, ExpressionError::CostlyPattern(_)), "{pattern}: {error}");
        }
        assert!(matches!(Price::of("(a"), Err(ExpressionError::Compile(_))));
        for (pattern, least) in [
            (format!("[{}]{{0}}", r"\W".repeat(100)), 150_000),
            (format!("[{}]{{0}}", "[^a]".repeat(60)), 90_000),
            ("(?i:[\u{1}-\u{10ffff}]){0}".repeat(10), 580_000),
            (format!("(?s-i)(?xi:[{}]{{0}})", r"\PL".repeat(60)), 3_600_000),
        ] {
            assert!(Price::of(&pattern).unwrap().compile >= least, "{pattern}");
        }
    }

    #[test]
    fn many_states_make_each_byte_dear() {
        assert!(Price::of("(a|b)*a(a|b){200}c").unwrap().steps(1_000) >= 59_000);
        assert!(Price::of("(?s).*a[ab]{150}z").unwrap().steps(1_000) >= 16_000);
    }
}
