//! DER, written by hand: what is wrong on purpose cannot be written otherwise.

/// One element.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// A set, in the order of its encoded elements.
pub(super) fn set_of(mut items: Vec<Vec<u8>>) -> Vec<u8> {
    items.sort();
    tlv(0x31, &[&items.concat()])
}

/// Context-specific and constructed.
pub(super) fn explicit(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    tlv(0xa0 | number, parts)
}

/// A number that is not negative.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let short: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let pad: &[u8] = if short.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
    tlv(0x02, &[pad, &short])
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(0x04, &[bytes])
}

/// A string of bits whose last `unused` count for nothing.
pub(super) fn bits(unused: u8, bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[unused], bytes])
}

pub(super) fn boolean() -> Vec<u8> {
    tlv(0x01, &[&[0xff]])
}

pub(super) fn text(text: &str) -> Vec<u8> {
    tlv(0x0c, &[text.as_bytes()])
}

/// An object identifier, as it is written with dots.
pub(super) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').filter_map(|arc| arc.parse().ok()).collect();
    let mut out = Vec::new();
    let mut put = |mut arc: u64| {
        let mut bytes = vec![(arc & 0x7f) as u8];
        while arc > 0x7f {
            arc >>= 7;
            bytes.push((arc & 0x7f) as u8 | 0x80);
        }
        bytes.reverse();
        out.extend(bytes);
    };
    if let [first, second, rest @ ..] = arcs.as_slice() {
        put(first * 40 + second);
        rest.iter().copied().for_each(put);
    }
    tlv(0x06, &[&out])
}

/// A time as certificates have it until 2049.
pub(super) fn utc_time(at: jiff::Timestamp) -> Vec<u8> {
    tlv(0x17, &[at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
}

/// A time as timestamps have it.
pub(super) fn generalized_time(at: jiff::Timestamp) -> Vec<u8> {
    tlv(0x18, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
}
