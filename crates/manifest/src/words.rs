//! Words for people that may hold what others wrote: on one line, and shown as they are.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::Serialize;

/// Whether a character is not shown as itself: a control, or one that has no width or turns the direction of what follows, so
/// that people read something else than what is there.
#[must_use]
pub const fn is_unprintable(character: char) -> bool {
    character.is_ascii_control() || (!character.is_ascii() && is_unprintable_beyond_ascii(character))
}

const fn is_unprintable_beyond_ascii(character: char) -> bool {
    matches!(
        character,
        // C1 controls.
        '\u{80}'..='\u{9f}'
        // Marks of direction, one by one and with the zero-width spaces and joiners.
        | '\u{61c}' | '\u{200b}'..='\u{200f}'
        // Ends of lines and paragraphs, then embeddings and overrides of direction.
        | '\u{2028}'..='\u{202e}'
        // Word joiner, invisible operators, isolates, and the deprecated ones after them.
        | '\u{2060}'..='\u{206f}'
        // Byte order mark.
        | '\u{feff}'
        // Tags.
        | '\u{e0000}'..='\u{e007f}'
    )
}

/// `text` on one line, with what [is not shown as itself](is_unprintable) spelled out.
///
/// ```
/// assert_eq!(manifest::printable("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\u{a}\\u{202e}b");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unprintable) { Cow::Owned(escaped(text)) } else { Cow::Borrowed(text) }
}

fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Words of a finding. Whatever they are made of, they are [printable](printable()): nobody who pushes adds a line to what is told
/// about the push.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Words(String);

impl Words {
    /// The words as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self(match printable(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(plain) => plain,
        })
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self(printable(text).into_owned())
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for Words {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Words {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for Words {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_as_itself_is_spelled_out() {
        let hostile = "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200b}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}";
        for character in hostile.chars() {
            assert!(is_unprintable(character), "{character:?}");
        }
        let words = Words::from(hostile.to_owned());
        assert!(words.is_ascii() && !words.chars().any(is_unprintable), "{words}");
        assert_eq!(words, Words::from(hostile));
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        let plain = "Zoë 日本語 שלום ½ 👍\u{fe0f} … a\\nb";
        assert_eq!(Words::from(plain), plain);
    }
}
