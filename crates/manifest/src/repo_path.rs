//! Paths inside a repository.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

use crate::is_unprintable;

/// The longest path accepted, in bytes: Linux' `PATH_MAX` (4,096) without its NUL.
pub const MAX_PATH_BYTES: usize = 4_095;
/// The most segments of a path: far more than any real layout, few enough to walk recursively.
pub const MAX_PATH_SEGMENTS: usize = 64;

/// A path relative to the root of a repository: UTF-8, `/` between segments, no empty, `.` or
/// `..` segment, no character that is [not shown as itself](is_unprintable), no backslash. The root itself is the empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RepoPath(String);

/// Why a text is not a path inside a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepoPathError {
    /// Longer than [`MAX_PATH_BYTES`] or deeper than [`MAX_PATH_SEGMENTS`].
    #[error(
        "a path of {bytes} bytes and {segments} segments is over the limit ({MAX_PATH_BYTES} bytes, {MAX_PATH_SEGMENTS} segments)"
    )]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Its segments.
        segments: usize,
    },
    /// A segment that is empty, `.`, `..` or `.git` in any case.
    #[error("{path:?} has the segment {segment:?}, which a repository path may not have")]
    Segment {
        /// The path.
        path: String,
        /// The offending segment.
        segment: String,
    },
    /// A control, one that has no width or turns the direction of text, or a backslash.
    #[error("{path:?} has the character {character:?}, which a repository path may not have")]
    Character {
        /// The path.
        path: String,
        /// The offending character.
        character: char,
    },
}

impl RepoPath {
    /// The root of the repository.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the root of the repository.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments in order; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last segment; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.segments().last()
    }

    /// True if `self` is `ancestor` or lies below it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self.0.strip_prefix(ancestor.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// This path with one more segment.
    ///
    /// # Errors
    /// When the segment is not allowed or the path grows over the limits.
    pub fn join(&self, segment: &str) -> Result<Self, RepoPathError> {
        if segment.is_empty() || segment.contains('/') {
            return Err(RepoPathError::Segment { path: self.0.clone(), segment: segment.to_owned() });
        }
        if self.is_root() { segment.parse() } else { format!("{}/{segment}", self.0).parse() }
    }
}

impl FromStr for RepoPath {
    type Err = RepoPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segments = text.split('/').count();
        if text.len() > MAX_PATH_BYTES || segments > MAX_PATH_SEGMENTS {
            return Err(RepoPathError::TooLong { bytes: text.len(), segments });
        }
        if text.is_empty() {
            return Ok(Self::root());
        }
        if let Some(character) = text.chars().find(|character| is_unprintable(*character) || *character == '\\') {
            return Err(RepoPathError::Character { path: text.to_owned(), character });
        }
        for segment in text.split('/') {
            if segment.is_empty() || segment == "." || segment == ".." || segment.eq_ignore_ascii_case(".git") {
                return Err(RepoPathError::Segment { path: text.to_owned(), segment: segment.to_owned() });
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_leaves_the_tree() {
        for text in [
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/./b",
            ".git/config",
            "a/.GIT",
            "a\\b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}",
            "a\u{200b}",
            "a\u{202e}lmay.b",
            "a\u{2028}b",
            "a\u{2066}",
            "\u{feff}a",
        ] {
            assert!(text.parse::<RepoPath>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn below_means_whole_segments() {
        let path = |text: &str| text.parse::<RepoPath>().unwrap();
        assert!(path("apps/web/a.yaml").starts_with(&path("apps")));
        assert!(path("apps").starts_with(&path("apps")));
        assert!(!path("apps2/a.yaml").starts_with(&path("apps")));
        assert!(path("apps").starts_with(&RepoPath::root()));
    }

    #[test]
    fn joins_segments_only() {
        assert_eq!(RepoPath::root().join("a").unwrap().join("b").unwrap().as_str(), "a/b");
        assert!(RepoPath::root().join("a/b").is_err());
        assert!(RepoPath::root().join("..").is_err());
    }
}
