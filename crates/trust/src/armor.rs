//! The armour around a signature: for SSH in the one form that `ssh-keygen -Y sign` writes, for OpenPGP in the two that
//! `gpg` (with a checksum) and newer versions of `sq` (without) write, for CMS in the one of `gitsign`.
//!
//! Git, ssh-keygen and gpg tolerate blanks, headers and other line lengths. Each tolerated form is another object id for
//! the same signature, so no other form is read here: only what encoding the decoded bytes again gives.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The most bytes an armoured signature may have. An 8192-bit RSA key and its signature are 2 × 1 KiB, which with
/// names, base64 and line ends is below 3 KiB; 16 KiB leaves a factor of five.
pub const MAX_ARMOR_BYTES: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Base64 digits in each line but the last, as ssh-keygen writes them.
const LINE: usize = 70;

/// The blank line ends the headers, of which gpg and sq write none.
const BEGIN_OPENPGP: &str = "-----BEGIN PGP SIGNATURE-----\n\n";
const BEGIN_OPENPGP_MESSAGE: &str = "-----BEGIN PGP MESSAGE-----";
const END_OPENPGP: &str = "-----END PGP SIGNATURE-----";
/// Base64 digits in each line but the last, as gpg and sq write them.
const LINE_OPENPGP: usize = 64;
/// `=` and four digits for 24 bits.
const CHECKSUM_DIGITS: usize = 4;

const BEGIN_CMS: &str = "-----BEGIN SIGNED MESSAGE-----";
const END_CMS: &str = "-----END SIGNED MESSAGE-----";
/// Base64 digits in each line but the last, as gitsign, smimesign and gpgsm write them.
const LINE_CMS: usize = 64;
/// The most bytes the armour of a CMS message may have. A certificate of a workflow with all its claims is 2 KiB, a log
/// entry 2 KiB, a timestamp with its certificates 6 KiB: with base64 14 KiB, which leaves a factor of two.
pub const MAX_CMS_ARMOR_BYTES: usize = 32 * 1024;

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
    /// Longer than [`MAX_ARMOR_BYTES`], or for CMS than [`MAX_CMS_ARMOR_BYTES`].
    #[error("the armoured signature has {0} bytes")]
    TooLong(usize),
    /// First or last line is missing, or something stands around them.
    #[error("the armour does not begin and end with exactly its two marker lines")]
    Frame,
    /// Not base64, or with padding or stray bits that are not canonical.
    #[error("the armour does not hold canonical base64")]
    Base64,
    /// Canonical base64 but in other lines than ssh-keygen, gpg or gitsign writes.
    #[error("the lines of the armour are not of {0} digits with one shorter last line")]
    Lines(usize),
    /// OpenPGP armour of a message, which may hold anything.
    #[error("the armour is of a PGP MESSAGE, not of a detached signature")]
    Message,
    /// OpenPGP armour with headers, or without the blank line that ends them.
    #[error("the armour has headers, which nothing signs, or no blank line after its first")]
    Headers,
    /// The checksum line of OpenPGP is not that of the bytes.
    #[error("the checksum of the armour is not that of its bytes")]
    Checksum,
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
    dearmor_lines(text, (BEGIN, END), LINE, MAX_ARMOR_BYTES)
}

/// The bytes inside the armour of a CMS message.
///
/// # Errors
/// Anything but the bytes that gitsign writes around the result.
pub(crate) fn dearmor_cms(text: &[u8]) -> Result<Vec<u8>, ArmorError> {
    dearmor_lines(text, (BEGIN_CMS, END_CMS), LINE_CMS, MAX_CMS_ARMOR_BYTES)
}

fn dearmor_lines(text: &[u8], (begin, end): (&str, &str), width: usize, most: usize) -> Result<Vec<u8>, ArmorError> {
    if text.len() > most {
        return Err(ArmorError::TooLong(text.len()));
    }
    let body = text
        .strip_prefix(begin.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\n"))
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .and_then(|rest| rest.strip_suffix(end.as_bytes()))
        .ok_or(ArmorError::Frame)?;
    decode_lines(body, width)
}

/// The bytes whose base64 a text holds in lines of `width` digits with one shorter last line, or in that one alone.
fn decode_lines(text: &[u8], width: usize) -> Result<Vec<u8>, ArmorError> {
    // The engine refuses missing or surplus padding, stray bits in the last digit, and the line ends of any other lines.
    if let Some(bytes) = joined(text, width).and_then(|digits| STANDARD.decode(digits).ok()) {
        return Ok(bytes);
    }
    let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\n').collect();
    Err(if STANDARD.decode(digits).is_ok() { ArmorError::Lines(width) } else { ArmorError::Base64 })
}

/// What stands between line ends that follow on every `width` bytes and at the end; `None` if one of them is missing, or if
/// the last line is empty and not the only one.
fn joined(text: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut joined = Vec::with_capacity(text.len());
    for line in text.chunks(width + 1) {
        let line = line.strip_suffix(b"\n").filter(|line| !line.is_empty() || text.len() == 1)?;
        joined.extend_from_slice(line);
    }
    (!text.is_empty()).then_some(joined)
}

/// Whether an OpenPGP armour ends with a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// As gpg writes it.
    Present,
    /// As RFC 9580 wants it.
    Absent,
}

/// The bytes inside the armour of a detached OpenPGP signature.
///
/// # Errors
/// Anything but the bytes that [`armor_openpgp`] makes of the result.
pub(crate) fn dearmor_openpgp(text: &[u8]) -> Result<(Vec<u8>, Checksum), ArmorError> {
    if text.len() > MAX_ARMOR_BYTES {
        return Err(ArmorError::TooLong(text.len()));
    }
    if text.starts_with(BEGIN_OPENPGP_MESSAGE.as_bytes()) {
        return Err(ArmorError::Message);
    }
    let framed = text
        .strip_prefix(BEGIN_OPENPGP.trim_end().as_bytes())
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .and_then(|rest| rest.strip_suffix(END_OPENPGP.as_bytes()))
        .ok_or(ArmorError::Frame)?;
    let body = framed.strip_prefix(b"\n\n").ok_or(ArmorError::Headers)?;
    let lines = body.strip_suffix(b"\n").ok_or(ArmorError::Lines(LINE_OPENPGP))?;
    match lines.rsplit(|byte| *byte == b'\n').next() {
        Some(last @ [b'=', digits @ ..]) if digits.len() == CHECKSUM_DIGITS => {
            let bytes = decode_lines(lines.strip_suffix(last).unwrap_or_default(), LINE_OPENPGP)?;
            let is_right = checksum_digits(&bytes).as_bytes() == digits;
            if is_right { Ok((bytes, Checksum::Present)) } else { Err(ArmorError::Checksum) }
        }
        _ => decode_lines(body, LINE_OPENPGP).map(|bytes| (bytes, Checksum::Absent)),
    }
}

/// The armour that gpg (or without checksum, sq) writes around these bytes, with its final line end.
#[cfg(test)]
pub(crate) fn armor_openpgp(bytes: &[u8], checksum: Checksum) -> String {
    let mut text = String::from(BEGIN_OPENPGP);
    put_lines(&mut text, bytes, LINE_OPENPGP);
    if checksum == Checksum::Present {
        text.push('=');
        text.push_str(&checksum_digits(bytes));
        text.push('\n');
    }
    text.push_str(END_OPENPGP);
    text.push('\n');
    text
}

/// CRC-24 of RFC 9580, section 6.1.1, in base64.
fn checksum_digits(bytes: &[u8]) -> String {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in bytes {
        let [_, high, _, _] = crc.to_be_bytes();
        // A byte never lies outside of a table of 256.
        let next = CRC.get(usize::from(high ^ byte)).copied().unwrap_or_default();
        crc = (crc << 8 ^ next) & 0x00ff_ffff;
    }
    let [_, high, middle, low] = crc.to_be_bytes();
    STANDARD.encode([high, middle, low])
}

/// What each value of the upper eight bits adds to the checksum when eight more bits come in. Bit by bit the checksum takes a
/// tenth of the time that a verification by RSA does.
#[expect(clippy::indexing_slicing, reason = "an index outside of the table would not compile")]
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < table.len() {
        let mut crc = (value as u32) << 16;
        let mut bit = 0;
        while bit < 8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
            bit += 1;
        }
        table[value] = crc;
        value += 1;
    }
    table
};

/// Base64 in lines of this many digits, the last one shorter.
#[cfg(test)]
fn put_lines(text: &mut String, bytes: &[u8], line: usize) {
    let digits = STANDARD.encode(bytes);
    let mut rest = digits.as_str();
    while let Some((head, tail)) = rest.split_at_checked(line).filter(|(_, tail)| !tail.is_empty()) {
        text.push_str(head);
        text.push('\n');
        rest = tail;
    }
    text.push_str(rest);
    text.push('\n');
}

/// The armour that ssh-keygen writes around these bytes, with its final line end.
#[cfg(test)]
pub(crate) fn armor(bytes: &[u8]) -> String {
    let mut text = String::from(BEGIN);
    text.push('\n');
    put_lines(&mut text, bytes, LINE);
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
            (good.replacen("BwcH", "BwcH\n", 1), ArmorError::Lines(LINE)),
            (good.replacen("BwcH", "Bw cH", 1), ArmorError::Base64),
            (good.replacen("BwcH", "Bw-H", 1), ArmorError::Base64),
            (good.replace("\n-----END", "\n\n-----END"), ArmorError::Lines(LINE)),
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

    #[test]
    fn refuses_every_other_openpgp_form() {
        let good = armor_openpgp(&[7; 120], Checksum::Present);
        assert_eq!(dearmor_openpgp(good.as_bytes()), Ok((vec![7; 120], Checksum::Present)));
        let bare = armor_openpgp(&[7; 120], Checksum::Absent);
        assert_eq!(dearmor_openpgp(bare.as_bytes()), Ok((vec![7; 120], Checksum::Absent)));
        let first = "-----BEGIN PGP SIGNATURE-----\n";
        let lines = ArmorError::Lines(LINE_OPENPGP);
        let forms = [
            (good.replace('\n', "\r\n"), ArmorError::Frame),
            (format!("{good}\n"), ArmorError::Frame),
            (good.trim_end().to_owned(), ArmorError::Frame),
            (good.replacen("\n\n", "\n", 1), ArmorError::Headers),
            (good.replacen(first, &format!("{first}Version: GnuPG v2\n"), 1), ArmorError::Headers),
            (good.replacen(first, &format!("{first}Comment: x\n"), 1), ArmorError::Headers),
            (good.replacen("\n\n", "\n \n", 1), ArmorError::Headers),
            (good.replace("PGP SIGNATURE", "PGP MESSAGE"), ArmorError::Message),
            (good.replacen("\n\n", "\n\n\n", 1), lines),
            (good.replacen("BwcH", "BwcH\n", 1), lines),
            (bare.replacen("BwcH", "BwcH\n", 1), lines),
            (good.replacen("BwcH", "BwcI", 1), ArmorError::Checksum),
            (good.replacen("\n=", "\n\n=", 1), lines),
            (good.replacen("BwcH", "Bw-H", 1), ArmorError::Base64),
            (bare.replace("\n-----END", "\n=\n-----END"), ArmorError::Base64),
            (format!("{first}\n{}", "x".repeat(MAX_ARMOR_BYTES)), ArmorError::TooLong(MAX_ARMOR_BYTES + 31)),
        ];
        for (text, error) in forms {
            assert_ne!(text, good);
            assert_eq!(dearmor_openpgp(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // the check value of CRC-24/OPENPGP: 0x21cf02 of "123456789"
        assert_eq!(STANDARD.decode(checksum_digits(b"123456789")).unwrap(), [0x21, 0xcf, 0x02]);
    }

    #[test]
    fn cms_has_lines_and_a_limit_of_its_own() {
        let lines = |width: usize| {
            let mut text = format!("{BEGIN_CMS}\n");
            put_lines(&mut text, &[7; 120], width);
            format!("{text}{END_CMS}\n")
        };
        assert_eq!(dearmor_cms(lines(LINE_CMS).as_bytes()), Ok(vec![7; 120]));
        assert_eq!(dearmor_cms(lines(LINE).as_bytes()), Err(ArmorError::Lines(LINE_CMS)));
        assert_eq!(dearmor_cms(lines(LINE_CMS).replace("SIGNED", "PGP").as_bytes()), Err(ArmorError::Frame));
        let long = "x".repeat(MAX_CMS_ARMOR_BYTES + 1);
        assert_eq!(dearmor_cms(long.as_bytes()), Err(ArmorError::TooLong(long.len())));
    }

    proptest! {
        #[test]
        fn openpgp_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for checksum in [Checksum::Present, Checksum::Absent] {
                let text = armor_openpgp(&bytes, checksum);
                prop_assert_eq!(dearmor_openpgp(text.as_bytes()), Ok((bytes.clone(), checksum)));
            }
        }

        #[test]
        fn what_is_read_of_openpgp_is_what_is_written(body in "[A-Za-z0-9+/=\n-]{0,200}", end in "\n?") {
            let text = format!("{BEGIN_OPENPGP}{body}{end}{END_OPENPGP}\n");
            if let Ok((bytes, checksum)) = dearmor_openpgp(text.as_bytes()) {
                prop_assert_eq!(armor_openpgp(&bytes, checksum), text);
            }
        }

        #[test]
        fn one_edit_makes_it_another_openpgp_armour_or_none(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            checksum in proptest::sample::select([Checksum::Present, Checksum::Absent].as_slice()),
            place in any::<proptest::sample::Index>(),
            with in proptest::sample::select(b"\nA= ".as_slice()),
            insert in any::<bool>(),
        ) {
            let mut text = armor_openpgp(&bytes, checksum).into_bytes();
            let place = place.index(text.len());
            if insert { text.insert(place, with) } else { _ = text.remove(place) }
            if let Ok((bytes, checksum)) = dearmor_openpgp(&text) {
                prop_assert_eq!(armor_openpgp(&bytes, checksum).into_bytes(), text);
            }
        }

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
