//! Pattern lists of OpenSSH (`ssh_config(5)`, PATTERNS): `*`, `?`, and `!` before a pattern that must not match.

/// Whether a comma-separated list matches: one pattern does and no negated one does.
pub(crate) fn matches_list(list: &str, text: &str) -> bool {
    let mut matched = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    matched
}

/// Whether one pattern matches all of the text; time is at most the product of their lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when a character does not match: after the last `*`, one character later.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, text));
                pattern = rest;
            }
            ([one, next @ ..], [found, after @ ..]) if *one == b'?' || one == found => {
                (pattern, text) = (next, after);
            }
            ([], []) => return true,
            _ => match retry {
                Some((rest, [_, after @ ..])) => {
                    retry = Some((rest, after));
                    (pattern, text) = (rest, after);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches_list;

    #[test]
    fn lists() {
        for (list, matched) in [
            ("git", true),
            ("file,git", true),
            ("g*", true),
            ("*", true),
            ("g?t", true),
            ("*i*t", true),
            ("", false),
            ("gi", false),
            ("gitt", false),
            ("g?", false),
            ("*x", false),
            ("*,!git", false),
            ("!file,*", true),
            ("!file", false),
        ] {
            assert_eq!(matches_list(list, "git"), matched, "{list}");
        }
    }
}
