//! The armour around an SSH signature, in the one form that `ssh-keygen -Y sign` writes.
//!
//! Git and ssh-keygen tolerate blanks and other line lengths. Each tolerated form is another object id for the same
//! signature, so exactly one form is read here: what encoding the decoded bytes again gives.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The most bytes an armoured signature may have. An 8192-bit RSA key and its signature are 2 × 1 KiB, which with
/// names, base64 and line ends is below 3 KiB; 16 KiB leaves a factor of five.
pub const MAX_ARMOR_BYTES: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Base64 digits in each line but the last, as ssh-keygen writes them.
const LINE: usize = 70;

/// Whose signature an armour holds, by its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArmorFormat {
    /// `-----BEGIN SSH SIGNATURE-----`
    Ssh,
    /// `-----BEGIN PGP SIGNATURE-----` and the older `-----BEGIN PGP MESSAGE-----`
    OpenPgp,
    /// `-----BEGIN SIGNED MESSAGE-----`: CMS, as gitsign and smimesign write it
    X509,
}

/// What is wrong with an armour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// The first line is none that is known.
    #[error("the signature does not begin with a known armour line")]
    UnknownFormat,
    /// Longer than [`MAX_ARMOR_BYTES`].
    #[error("the armoured signature has {0} bytes")]
    TooLong(usize),
    /// First or last line is missing, or something stands around them.
    #[error("the armour does not begin and end with exactly its two marker lines")]
    Frame,
    /// Not base64, or with padding or stray bits that are not canonical.
    #[error("the armour does not hold canonical base64")]
    Base64,
    /// Canonical base64 but in other lines than ssh-keygen writes.
    #[error("the lines of the armour are not of {LINE} digits with one shorter last line")]
    Lines,
}

impl ArmorFormat {
    /// The format by the first line, which must end there.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Self> {
        match text.split(|byte| *byte == b'\n').next()? {
            b"-----BEGIN SSH SIGNATURE-----" => Some(Self::Ssh),
            b"-----BEGIN PGP SIGNATURE-----" | b"-----BEGIN PGP MESSAGE-----" => Some(Self::OpenPgp),
            b"-----BEGIN SIGNED MESSAGE-----" => Some(Self::X509),
            _ => None,
        }
    }

    /// The name people know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssh => "SSH",
            Self::OpenPgp => "OpenPGP",
            Self::X509 => "X.509 (CMS)",
        }
    }
}

/// The bytes inside the armour of an SSH signature.
///
/// # Errors
/// Anything but the bytes that ssh-keygen writes around the result.
pub(crate) fn dearmor(text: &[u8]) -> Result<Vec<u8>, ArmorError> {
    if text.len() > MAX_ARMOR_BYTES {
        return Err(ArmorError::TooLong(text.len()));
    }
    let body = text
        .strip_prefix(BEGIN.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\n"))
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .and_then(|rest| rest.strip_suffix(END.as_bytes()))
        .ok_or(ArmorError::Frame)?;
    let mut digits = Vec::with_capacity(body.len());
    for line in body.split(|byte| *byte == b'\n') {
        digits.extend_from_slice(line);
    }
    // The engine refuses missing or surplus padding and stray bits in the last digit.
    let bytes = STANDARD.decode(digits).map_err(|_invalid| ArmorError::Base64)?;
    if is_in_lines(body, LINE) { Ok(bytes) } else { Err(ArmorError::Lines) }
}

/// Whether a text is lines of `width` digits with one shorter last line, or that one alone.
fn is_in_lines(text: &[u8], width: usize) -> bool {
    let Some(text) = text.strip_suffix(b"\n") else { return false };
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let fits = match lines.peek() {
            Some(_) => line.len() == width,
            None => line.len() <= width && (!line.is_empty() || text.is_empty()),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The armour that ssh-keygen writes around these bytes, with its final line end.
#[cfg(test)]
pub(crate) fn armor(bytes: &[u8]) -> String {
    let mut text = String::from(BEGIN);
    text.push('\n');
    for (index, digit) in STANDARD.encode(bytes).chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_every_other_form() {
        let good = armor(&[7; 120]);
        let forms = [
            (good.replace('\n', "\r\n"), ArmorError::Frame),
            (format!("{good}\n"), ArmorError::Frame),
            (good.trim_end().to_owned(), ArmorError::Frame),
            (format!(" {good}"), ArmorError::Frame),
            (good.replacen("BwcH", "BwcH\n", 1), ArmorError::Lines),
            (good.replacen("BwcH", "Bw cH", 1), ArmorError::Base64),
            (good.replacen("BwcH", "Bw-H", 1), ArmorError::Base64),
            (good.replace("\n-----END", "\n\n-----END"), ArmorError::Lines),
            ("x".repeat(MAX_ARMOR_BYTES + 1), ArmorError::TooLong(MAX_ARMOR_BYTES + 1)),
        ];
        for (text, error) in forms {
            assert_ne!(text, good);
            assert_eq!(dearmor(text.as_bytes()), Err(error), "{text}");
        }
        // 121 bytes end in one digit with four stray bits and two signs of padding.
        let padded = armor(&[0; 121]);
        assert!(padded.contains("A=="));
        assert_eq!(dearmor(padded.replace("A==", "B==").as_bytes()), Err(ArmorError::Base64));
        assert_eq!(dearmor(padded.replace("A==", "A=").as_bytes()), Err(ArmorError::Base64));
        assert_eq!(dearmor(padded.replace("A==", "A").as_bytes()), Err(ArmorError::Base64));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(dearmor(armor(&bytes).as_bytes()), Ok(bytes));
        }

        #[test]
        fn one_edit_makes_it_another_armour_or_none(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            place in any::<proptest::sample::Index>(),
            with in proptest::sample::select(b"\nA= ".as_slice()),
            insert in any::<bool>(),
        ) {
            let mut text = armor(&bytes).into_bytes();
            let place = place.index(text.len());
            if insert { text.insert(place, with) } else { _ = text.remove(place) }
            if let Ok(bytes) = dearmor(&text) {
                prop_assert_eq!(armor(&bytes).into_bytes(), text);
            }
        }

        #[test]
        fn what_is_read_is_what_is_written(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(bytes) = dearmor(&text) {
                prop_assert_eq!(armor(&bytes).into_bytes(), text);
            }
        }
    }
}
