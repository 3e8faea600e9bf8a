//! Keys and times as arguments name them.

use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use manifest::Digest;
use trust::{
    MAX_KEY_TEXT_BYTES, NewKeyMaterial, PublicKey, certificate_path,
    openpgp::{Certificate, MAX_CERTIFICATE_BYTES},
};

use crate::{exit::UsageError, input};

/// What a private key of OpenSSH or OpenSSL says in its first line.
const PRIVATE: &str = "PRIVATE KEY-----";

/// An SSH key: the text itself, or a file with it.
pub(crate) fn ssh_key(argument: &str) -> anyhow::Result<PublicKey> {
    // A file name of two words that is a key as well is nobody's.
    if let Ok(key) = PublicKey::parse(argument) {
        return Ok(key);
    }
    let text = input::text(Path::new(argument), MAX_KEY_TEXT_BYTES)?;
    if text.lines().next().is_some_and(|line| line.ends_with(PRIVATE)) {
        return Err(
            UsageError(format!("{argument} is a private key, which stays where it is; give {argument}.pub")).into()
        );
    }
    PublicKey::parse(&text).with_context(|| format!("{argument} is no public key that can be used"))
}

/// An OpenPGP certificate from a file, as a key of this principal, and its bytes.
pub(crate) fn certificate(file: &Path, name: &str) -> anyhow::Result<(NewKeyMaterial, Vec<u8>)> {
    let bytes = input::bytes(file, MAX_CERTIFICATE_BYTES)?;
    let parsed = Certificate::parse(&bytes).with_context(|| format!("{} is no certificate", file.display()))?;
    let fingerprint = parsed.fingerprint();
    let place = certificate_path(&fingerprint, name);
    Ok((NewKeyMaterial::OpenPgp { fingerprint, file: place, sha256: Digest::of(&bytes) }, bytes))
}

/// RFC 3339, or a date, which is its first instant in UTC.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let date = || text.parse::<Date>().ok().filter(|_date| text.len() == 10)?.to_zoned(TimeZone::UTC).ok();
    let instant = date().map(|zoned| zoned.timestamp()).or_else(|| text.parse().ok());
    instant.ok_or_else(|| format!("{text:?} is no date and no RFC 3339 time"))
}

/// Refuses what the trust file does not know.
pub(crate) fn no_keyless(given: bool) -> anyhow::Result<()> {
    if given {
        bail!(UsageError(
            "--keyless: keyless identities are not supported yet, and the trust file refuses them".to_owned()
        ));
    }
    Ok(())
}
