//! Names for the volatile words of a story.

/// Replaces what differs from run to run by what it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// Calls `word` `<name>` from now on. An empty word is nothing that could be replaced.
    pub(crate) fn call(&mut self, word: &str, name: &str) {
        if !word.is_empty() {
            self.0.retain(|(known, _)| known != word);
            self.0.push((word.to_owned(), format!("<{name}>")));
            // The longest first: an id before its own beginning.
            self.0.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        }
    }

    /// Calls a commit, its full id and the twelve digits by which messages name it, `<name>`.
    pub(crate) fn call_commit(&mut self, id: &str, name: &str) {
        self.call(id, name);
        if let Some(short) = id.get(..12) {
            self.call(short, name);
        }
    }

    /// The text with every name in place, times as `<time>`, and other long hexadecimal words as `<digest>`.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let named = self.0.iter().fold(text.to_owned(), |text, (word, name)| text.replace(word, name));
        let mut scrubbed = String::new();
        let mut word = String::new();
        for character in named.chars() {
            if character.is_ascii_alphanumeric() || "-:.+_".contains(character) {
                word.push(character);
                continue;
            }
            scrubbed.push_str(&volatile(&word));
            word.clear();
            scrubbed.push(character);
        }
        scrubbed.push_str(&volatile(&word));
        without_fan_out(&scrubbed)
    }
}

/// The folder of a body in the log is named by the first two digits of the body's digest.
fn without_fan_out(text: &str) -> String {
    let mut parts = text.split("bodies/");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("bodies/");
        let body = part.get(2..).and_then(|rest| rest.strip_prefix('/')).filter(|rest| rest.starts_with("<digest>"));
        kept.push_str(body.unwrap_or(part));
    }
    kept
}

/// A time, a digest or a port with its address, by its form; any other word stays.
fn volatile(word: &str) -> String {
    let (core, tail) = word.split_at(word.trim_end_matches(['.', ':', '-']).len());
    let digits =
        |range: std::ops::Range<usize>| core.get(range).is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let time = core.len() >= 20
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && core.get(10..11) == Some("T")
        && core.ends_with('Z');
    if time {
        return format!("<time>{tail}");
    }
    // The id of a Sync as an ApplySet is a hash of its name and namespace.
    if core.starts_with("applyset-") && core.ends_with("-v1") && core.len() > 50 {
        return format!("<applyset id>{tail}");
    }
    // The last part of `sha256:…` and of `pack_…`.
    let hex = core.rsplit([':', '_']).next().unwrap_or_default();
    if hex.len() >= 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return format!("{}<digest>{tail}", core.strip_suffix(hex).unwrap_or_default());
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn volatile_words_are_named() {
        let mut names = Names::default();
        names.call_commit("0123456789abcdef0123456789abcdef01234567", "the commit");
        names.call("test-00aa", "namespace");
        let text = "test-00aa/x: commit 0123456789ab (0123456789abcdef0123456789abcdef01234567) at 2026-11-23T21:38:00.123456Z, \
                    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08. Fix: 12:30 stays, \
                    bodies/9f/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, bodies/here";
        assert_eq!(
            names.scrub(text),
            "<namespace>/x: commit <the commit> (<the commit>) at <time>, sha256:<digest>. Fix: 12:30 stays, \
             bodies/<digest>, bodies/here"
        );
    }
}
