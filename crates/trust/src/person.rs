//! The author and committer lines of a commit: `name <email> seconds ±hhmm`.

/// The last second of the year 9999, the largest that a time of ours holds.
const MAX_SECONDS: i64 = 253_402_207_199;

/// The seconds of such a line.
pub(crate) fn check(line: &[u8]) -> Result<i64, &'static str> {
    let mut parts = line.splitn(2, |byte| *byte == b'<');
    let (Some(name), Some(rest)) = (parts.next(), parts.next()) else { return Err("no e-mail in angle brackets") };
    if name.last() != Some(&b' ') || name.contains(&b'>') {
        return Err("the name is not followed by one blank and <");
    }
    let mut parts = rest.splitn(2, |byte| *byte == b'>');
    let (Some(email), Some(rest)) = (parts.next(), parts.next()) else { return Err("the e-mail does not end in >") };
    if email.contains(&b'<') {
        return Err("a < inside the e-mail");
    }
    let time = rest.strip_prefix(b" ").ok_or("no blank after the e-mail")?;
    let text = std::str::from_utf8(time).map_err(|_not_text| "the time is not ASCII")?;
    let (seconds, zone) = text.split_once(' ').ok_or("no time zone")?;
    if seconds.is_empty()
        || !seconds.bytes().all(|byte| byte.is_ascii_digit())
        || (seconds.len() > 1 && seconds.starts_with('0'))
    {
        return Err("the time is not a plain number of seconds");
    }
    let zone = zone.as_bytes();
    if zone.len() != 5 || !matches!(zone, [b'+' | b'-', digits @ ..] if digits.iter().all(u8::is_ascii_digit)) {
        return Err("the time zone is not ±hhmm");
    }
    match seconds.parse::<i64>() {
        Ok(seconds) if seconds <= MAX_SECONDS => Ok(seconds),
        _ => Err("the time is after the year 9999"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for good in ["A <a@x> 1 +0000", " <> 0 -1234", "Zoë B. (x) <a b> 253402207199 +0000"] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "A a@x 1 +0000",
            "A<a@x> 1 +0000",
            "<a@x> 1 +0000",
            "A <a@x 1 +0000",
            "A <a<x> 1 +0000",
            "A > B <a@x> 1 +0000",
            "A <a@x>> 1 +0000",
            "A <a@x>  1 +0000",
            "A <a@x>1 +0000",
            "A <a@x> 01 +0000",
            "A <a@x> -1 +0000",
            "A <a@x> +1 +0000",
            "A <a@x> 1",
            "A <a@x> 1 0000",
            "A <a@x> 1 +00000",
            "A <a@x> 1 +00:0",
            "A <a@x> 1 +0000 ",
            "A <a@x> 253402207200 +0000",
            "A <a@x> 99999999999999999999 +0000",
            "A <a@x> ١ +0000",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
