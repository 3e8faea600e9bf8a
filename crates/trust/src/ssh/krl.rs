//! Key revocation lists (PROTOCOL.krl of OpenSSH), read strictly: every section is understood wholly, or the file is
//! refused. Extensions that are not critical are skipped, as the format has it.

use super::{
    Fingerprint,
    public_key::shown,
    revocations::{RevocationsError, RevokedItem, is_plain_key},
    wire::{Malformed, Reader},
};

const MAGIC: &[u8] = b"SSHKRL\n\0";
const VERSION: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// The most bytes of a key id: as in certificates.
const MAX_KEY_ID_BYTES: usize = 512;

/// Takes one thing that is revoked after another.
type Sink<'a> = dyn FnMut(RevokedItem) -> Result<(), RevocationsError> + 'a;

impl From<Malformed> for RevocationsError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed("it ends early, or a field has another form than its own")
    }
}

/// Whether a file says that it is a key revocation list.
pub(super) fn is_krl(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a list and gives each thing that it revokes.
pub(super) fn read(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RevocationsError> {
    let mut reader = Reader::new(bytes);
    reader.take(MAGIC.len())?;
    let version = reader.u32()?;
    if version != VERSION {
        return Err(RevocationsError::Version(version));
    }
    let _list_version = reader.u64()?;
    let _generated = reader.u64()?;
    if reader.u64()? != 0 || !reader.string()?.is_empty() {
        return Err(RevocationsError::Malformed("flags or a reserved field are set"));
    }
    let _comment = reader.string()?;
    while !reader.rest().is_empty() {
        let kind = reader.u8()?;
        let mut section = Reader::new(reader.string()?);
        match kind {
            CERTIFICATES => certificates(&mut section, sink)?,
            EXPLICIT_KEY => each(&mut section, &mut |blob| {
                let plain = is_plain_key(blob);
                let key = plain.then(|| RevokedItem::Key(Fingerprint::of(blob)));
                sink(key.ok_or(RevocationsError::Malformed("a key that is none"))?)
            })?,
            FINGERPRINT_SHA1 => digests(&mut section, &mut |digest: [u8; 20]| sink(RevokedItem::KeySha1(digest)))?,
            FINGERPRINT_SHA256 => {
                digests(&mut section, &mut |digest| sink(RevokedItem::Key(Fingerprint::from_sha256(digest))))?;
            }
            SIGNATURE => return Err(RevocationsError::Signed),
            EXTENSION => extension(&mut section)?,
            other => return Err(RevocationsError::UnknownSection(other)),
        }
    }
    Ok(())
}

fn certificates(reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Result<(), RevocationsError> {
    let authority = match reader.string()? {
        [] => None,
        blob if is_plain_key(blob) => Some(Fingerprint::of(blob)),
        _ => return Err(RevocationsError::Malformed("the key of an authority is none")),
    };
    if !reader.string()?.is_empty() {
        return Err(RevocationsError::Malformed("flags or a reserved field are set"));
    }
    while !reader.rest().is_empty() {
        let kind = reader.u8()?;
        let mut section = Reader::new(reader.string()?);
        match kind {
            SERIAL_LIST => {
                while !section.rest().is_empty() {
                    let serial = section.u64()?;
                    sink(serials(authority, serial, serial)?)?;
                }
            }
            SERIAL_RANGE => {
                let (from, to) = (section.u64()?, section.u64()?);
                section.end()?;
                sink(serials(authority, from, to)?)?;
            }
            SERIAL_BITMAP => bitmap(authority, &mut section, sink)?,
            KEY_ID => each(&mut section, &mut |bytes| {
                let text = std::str::from_utf8(bytes)
                    .ok()
                    .filter(|text| text.len() <= MAX_KEY_ID_BYTES && !text.chars().any(char::is_control));
                let key_id = text.ok_or(RevocationsError::Malformed("a key id that is no text"))?.to_owned();
                sink(RevokedItem::KeyId { authority, key_id })
            })?,
            CERTIFICATE_EXTENSION => extension(&mut section)?,
            other => return Err(RevocationsError::UnknownSection(other)),
        }
    }
    Ok(())
}

fn serials(authority: Option<Fingerprint>, from: u64, to: u64) -> Result<RevokedItem, RevocationsError> {
    if from == 0 || from > to {
        return Err(RevocationsError::Malformed("serial 0, or a range that ends before it begins"));
    }
    Ok(RevokedItem::Serials { authority, from, to })
}

/// The bit of worth 2^N stands for `offset + N`. Neighbours become one range.
fn bitmap(
    authority: Option<Fingerprint>,
    reader: &mut Reader<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), RevocationsError> {
    let beyond = RevocationsError::Malformed("a bitmap that goes beyond the last serial");
    let offset = reader.u64()?;
    let bits = reader.positive()?;
    reader.end()?;
    let mut range: Option<(u64, u64)> = None;
    let mut serial = Some(offset);
    for byte in bits.iter().rev() {
        for bit in 0..8_u32 {
            if byte >> bit & 1 == 1 {
                let one = serial.ok_or(beyond.clone())?;
                match &mut range {
                    Some((_from, to)) if to.checked_add(1) == Some(one) => *to = one,
                    other => {
                        if let Some((from, to)) = other.replace((one, one)) {
                            sink(serials(authority, from, to)?)?;
                        }
                    }
                }
            }
            serial = serial.and_then(|serial| serial.checked_add(1));
        }
    }
    match range {
        Some((from, to)) => sink(serials(authority, from, to)?),
        None => Ok(()),
    }
}

/// One text after another, at least one.
fn each(
    reader: &mut Reader<'_>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), RevocationsError>,
) -> Result<(), RevocationsError> {
    loop {
        take(reader.string()?)?;
        if reader.rest().is_empty() {
            return Ok(());
        }
    }
}

/// Digests in ascending order, at least one.
fn digests<const N: usize>(
    reader: &mut Reader<'_>,
    take: &mut dyn FnMut([u8; N]) -> Result<(), RevocationsError>,
) -> Result<(), RevocationsError> {
    let mut last: Option<[u8; N]> = None;
    each(reader, &mut |bytes| {
        let digest = bytes.try_into().map_err(|_length| RevocationsError::Malformed("a digest of another length"))?;
        if last.is_some_and(|last| last >= digest) {
            return Err(RevocationsError::Malformed("digests out of order"));
        }
        last = Some(digest);
        take(digest)
    })
}

fn extension(reader: &mut Reader<'_>) -> Result<(), RevocationsError> {
    let name = reader.string()?;
    let critical = reader.u8()?;
    let _contents = reader.string()?;
    reader.end()?;
    if critical == 0 { Ok(()) } else { Err(RevocationsError::CriticalExtension(shown(name))) }
}
