//! Patterns: `*` within one segment of a path or a kind, `**` for whole segments.
//!
//! Case-sensitive, names with a leading dot match like any other, and there are no braces, classes or escapes: a
//! pattern with one of their characters is refused, so that nobody believes it to work.

use std::fmt;

use manifest::{MAX_PATH_SEGMENTS, RepoPath};

/// The longest pattern: four times the longest path that people write (256 bytes).
pub const MAX_PATTERN_BYTES: usize = 1_024;

/// How a pattern begins that is for refs, not for files.
const REFS: &str = "git:";
/// How a pattern for tags begins.
const TAGS: &str = "git:refs/tags/";

/// A text with `*`, each standing for any characters including none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    text: String,
}

impl Wildcard {
    /// A wildcard text; anything is one.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// True if it is `*` alone.
    pub(crate) fn is_any(&self) -> bool {
        self.text == "*"
    }

    /// Whether `text` matches. Pieces between stars are looked for from left to right, the first place is as good as
    /// any later one, so the work is linear in both lengths.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut pieces = self.text.split('*');
        let Some(rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        for piece in pieces {
            let Some((_before, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
        true
    }
}

/// A pattern over repository paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    /// Runs of single segments; between two runs stands `**`. Never empty.
    runs: Vec<Vec<Wildcard>>,
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, longer than [`MAX_PATTERN_BYTES`] or with more segments than any path.
    #[error("a pattern has 1 to {MAX_PATTERN_BYTES} bytes and at most {MAX_PATH_SEGMENTS} segments")]
    Length,
    /// A segment that no path can have.
    #[error("no path can have the segment {0:?}")]
    Segment(String),
    /// `**` inside a segment.
    #[error("`**` stands for whole segments, as in `apps/**`; in {0:?} it does not")]
    DoubleStar(String),
    /// A pattern for refs that is not for tags.
    #[error("{0:?} is for refs, of which only tags are known: git:refs/tags/…")]
    Ref(String),
    /// A character of another pattern language.
    #[error("{0:?} has no meaning in a pattern; only `*` and `**` do")]
    Character(char),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none; see [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES || text.split('/').count() > MAX_PATH_SEGMENTS {
            return Err(PatternError::Length);
        }
        let refused = |c: &char| c.is_control() || matches!(c, '\\' | '?' | '[' | ']' | '{' | '}' | '!');
        if let Some(character) = text.chars().find(refused) {
            return Err(PatternError::Character(character));
        }
        if text.starts_with(REFS) && !text.starts_with(TAGS) {
            return Err(PatternError::Ref(text.chars().take(80).collect()));
        }
        let mut runs = Vec::new();
        let mut run = Vec::new();
        for segment in text.split('/') {
            if segment == "**" {
                runs.push(std::mem::take(&mut run));
            } else if segment.contains("**") {
                return Err(PatternError::DoubleStar(segment.to_owned()));
            } else if segment.is_empty() || segment == "." || segment == ".." {
                return Err(PatternError::Segment(segment.to_owned()));
            } else {
                run.push(Wildcard::new(segment));
            }
        }
        runs.push(run);
        Ok(Self { text: text.to_owned(), runs })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if every path that matches lies below `folder`, a single plain segment.
    #[must_use]
    pub fn is_below(&self, folder: &str) -> bool {
        self.text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// True if some path below `folder`, a single plain segment, may match.
    #[must_use]
    pub fn touches(&self, folder: &str) -> bool {
        match self.text.split('/').next() {
            Some("**") => true,
            Some(first) => Wildcard::new(first).matches(folder),
            None => false,
        }
    }

    /// True if every path that matches this pattern matches `wider` as well. It may be false although that is so: where
    /// stars of both meet within one segment, only the plain cases are seen.
    #[must_use]
    pub fn is_within(&self, wider: &Self) -> bool {
        let (own, other): (Vec<&str>, Vec<&str>) = (self.text.split('/').collect(), wider.text.split('/').collect());
        is_within(&own, &other)
    }

    /// True for a pattern that refs match, such as `git:refs/tags/**`, and no file.
    #[must_use]
    pub fn is_for_refs(&self) -> bool {
        self.text.starts_with(REFS)
    }

    /// Whether a ref matches, by its full name.
    #[must_use]
    pub fn matches_ref(&self, git_ref: &str) -> bool {
        let path = format!("{REFS}{git_ref}");
        self.is_for_refs() && self.matches_segments(&path.split('/').collect::<Vec<_>>())
    }

    /// Whether a path matches. `**` stands for any number of segments, at the end of a pattern for at least one:
    /// `apps/**` is everything below `apps`. A path has at most 64 segments and each run is looked for from left to
    /// right, so a match costs at most 64 × 64 segment comparisons.
    #[must_use]
    pub fn matches(&self, path: &RepoPath) -> bool {
        !self.is_for_refs() && self.matches_segments(&path.segments().collect::<Vec<_>>())
    }

    fn matches_segments(&self, segments: &[&str]) -> bool {
        let Some((first, later)) = self.runs.split_first() else { return false };
        let Some(mut rest) = strip_run(segments, first) else { return false };
        let Some((last, middle)) = later.split_last() else { return rest.is_empty() };
        for run in middle {
            let found = (0..=rest.len()).find_map(|at| rest.get(at..).and_then(|tail| strip_run(tail, run)));
            let Some(tail) = found else { return false };
            rest = tail;
        }
        if last.is_empty() {
            return !rest.is_empty();
        }
        let Some(at) = rest.len().checked_sub(last.len()) else { return false };
        rest.get(at..).and_then(|tail| strip_run(tail, last)).is_some()
    }
}

/// Whether each sequence of segments that `own` stands for is one of `wider`. Patterns have at most 64 segments, and
/// for each pair of rests the answer is found once.
fn is_within(own: &[&str], wider: &[&str]) -> bool {
    let width = wider.len().saturating_add(1);
    // Row by row from the ends: `next` is the row of one segment fewer of `own`.
    let mut next: Vec<bool> = Vec::new();
    for from in (0..=own.len()).rev() {
        let mut row = vec![false; width];
        for at in (0..width).rev() {
            let rests = own.get(from..).zip(wider.get(at..));
            let Some((own, wider)) = rests else { continue };
            let below = |row: &[bool], at: usize| row.get(at).copied().unwrap_or(false);
            let fits = match (own.split_first(), wider.split_first()) {
                (None, None) => true,
                // At the end `**` stands for at least one segment.
                (own, Some((&"**", []))) => own.is_some(),
                (own, Some((&"**", _))) => below(&row, at + 1) || (own.is_some() && below(&next, at)),
                (Some((&"**", _)), _) | (None, Some(_)) | (Some(_), None) => false,
                (Some((own, _)), Some((wider, _))) => segment_within(own, wider) && below(&next, at + 1),
            };
            if let Some(cell) = row.get_mut(at) {
                *cell = fits;
            }
        }
        next = row;
    }
    next.first().copied().unwrap_or(false)
}

/// A star of `own` is a character like any other here: only a star of `wider` takes it.
fn segment_within(own: &str, wider: &str) -> bool {
    own == wider || Wildcard::new(wider).matches(own)
}

/// What follows `run` at the beginning of `segments`, if it is there.
fn strip_run<'a, 'b>(segments: &'a [&'b str], run: &[Wildcard]) -> Option<&'a [&'b str]> {
    let (head, tail) = segments.split_at_checked(run.len())?;
    head.iter().zip(run).all(|(segment, wildcard)| wildcard.matches(segment)).then_some(tail)
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().matches(&path.parse().unwrap())
    }

    #[test]
    fn star_stays_in_its_segment() {
        assert!(check("apps/*/image.yaml", "apps/web/image.yaml"));
        assert!(!check("apps/*/image.yaml", "apps/web/x/image.yaml"));
        assert!(!check("apps/*", "apps"));
        assert!(check("apps/*.yaml", "apps/.yaml"));
        assert!(!check("apps/a*a", "apps/a"));
        assert!(check("*", ".hidden"));
    }

    #[test]
    fn double_star_is_whole_segments() {
        assert!(check("**", "a"));
        assert!(check("apps/**", "apps/a/b/c.yaml"));
        assert!(!check("apps/**", "apps"));
        assert!(!check("apps/**", "apps2/a"));
        assert!(check("**/secret.yaml", "secret.yaml"));
        assert!(check("a/**/b/**/c", "a/x/b/b/y/c"));
        assert!(check("a/**/b", "a/b"));
        assert!(!check("a/**/b", "a/b/c"));
        assert!(!check("a/**/a", "a"));
        assert!(check(".writ/**", ".writ/trust.yaml"));
    }

    #[test]
    fn refs_are_no_files() {
        let pattern = |text: &str| PathPattern::parse(text).unwrap();
        assert!(pattern("git:refs/tags/**").matches_ref("refs/tags/release/v1"));
        assert!(pattern("git:refs/tags/v*").matches_ref("refs/tags/v1"));
        assert!(!pattern("git:refs/tags/v*").matches_ref("refs/tags/release/v1"));
        assert!(!pattern("git:refs/tags/**").matches_ref("refs/tags2/v1"));
        for wide in ["**", "*/**", "*:refs/**", "refs/tags/**"] {
            assert!(!pattern(wide).matches_ref("refs/tags/v1"), "{wide}");
        }
        assert!(!check("git:refs/tags/**", "git:refs/tags/v1"));
        for text in ["git:refs/heads/**", "git:**", "git:refs/tags", "git:"] {
            assert!(matches!(PathPattern::parse(text), Err(PatternError::Ref(_))), "{text}");
        }
    }

    #[test]
    fn case_matters() {
        assert!(!check("policies/**", "Policies/a.yaml"));
    }

    #[test]
    fn other_pattern_languages_are_refused() {
        for text in ["", "/a", "a//b", "a/../b", "a**", "{a,b}", "[ab]", "a?", "!a", "a\\b"] {
            assert!(PathPattern::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    /// The definition, without any thought of cost.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            Some((byte, rest)) => text.first() == Some(byte) && naive(rest, &text[1..]),
        }
    }

    fn naive_path(pattern: &[&str], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((&"**", [])) => !path.is_empty(),
            Some((&"**", rest)) => (0..=path.len()).any(|at| naive_path(rest, &path[at..])),
            Some((segment, rest)) => path
                .split_first()
                .is_some_and(|(head, tail)| naive(segment.as_bytes(), head.as_bytes()) && naive_path(rest, tail)),
        }
    }

    #[test]
    fn narrower_and_wider() {
        let within =
            |own: &str, wider: &str| PathPattern::parse(own).unwrap().is_within(&PathPattern::parse(wider).unwrap());
        let narrower = [
            ("apps/**", "apps/**"),
            ("apps/*/image.yaml", "apps/**"),
            ("apps/a", "apps/*"),
            ("apps/*", "*/*"),
            ("a/**/b", "a/**"),
            ("a/b", "a/**/b"),
            ("**", "**"),
            ("a/b/*.yaml", "a/**/*"),
            ("a*b", "a*"),
            ("a/**", "**"),
        ];
        for (own, wider) in narrower {
            assert!(within(own, wider), "{own} in {wider}");
        }
        let other = [
            ("apps/**", "apps/*"),
            ("apps", "apps/**"),
            ("**", "apps/**"),
            ("*/a", "apps/*"),
            ("a/**", "a/**/b"),
            ("a*", "a*b"),
        ];
        for (own, wider) in other {
            assert!(!within(own, wider), "{own} in {wider}");
        }
    }

    proptest! {
        #[test]
        fn what_is_within_matches_nothing_more(
            own in "(a|b|\\*|a\\*|\\*\\*){1}(/(a|b|\\*|\\*b|\\*\\*)){0,3}",
            wider in "(a|b|\\*|a\\*|\\*\\*){1}(/(a|b|\\*|\\*b|\\*\\*)){0,3}",
            path in "[ab]{1,2}(/[ab]{1,2}){0,4}",
        ) {
            let (Ok(own), Ok(wider)) = (PathPattern::parse(&own), PathPattern::parse(&wider)) else { return Ok(()) };
            let path: RepoPath = path.parse().unwrap();
            prop_assert!(own.is_within(&own));
            if own.is_within(&wider) && own.matches(&path) {
                prop_assert!(wider.matches(&path), "{own} is within {wider}, but {path} is not");
            }
        }

        #[test]
        fn a_wildcard_matches_by_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Wildcard::new(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_pattern_matches_by_definition(
            pattern in proptest::collection::vec("\\*\\*|a|b|a\\*|\\*", 1..6),
            path in proptest::collection::vec("[ab]{1,2}", 1..7),
        ) {
            let segments: Vec<&str> = pattern.iter().map(String::as_str).collect();
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            prop_assert_eq!(check(&pattern.join("/"), &path.join("/")), naive_path(&segments, &names));
        }
    }
}
