//! Packet lines, the framing of Git's protocols (`gitprotocol-common`, `gitprotocol-v2`): four hex
//! digits of length, which count themselves, then the data; `0000`, `0001` and `0002` are marks.

use std::io::{self, Read};

/// The most data in one packet: 65,520 bytes less the four of the length (`gitprotocol-common`).
pub const MAX_PACKET_DATA: usize = 65_516;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of a stateless response.
    ResponseEnd,
    /// Data, at most [`MAX_PACKET_DATA`] bytes.
    Data(Vec<u8>),
}

/// Why the next packet cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The stream ends inside a packet.
    #[error("the stream ends inside a packet")]
    Truncated,
    /// The length is not four hex digits, is 3, or is over the limit.
    #[error("{found:?} is not the length of a packet")]
    Length {
        /// The four bytes, unprintable ones escaped.
        found: String,
    },
    /// The stream failed.
    #[error("the stream failed")]
    Read(#[source] io::Error),
}

/// Reads the next packet; `None` at the end of the stream.
///
/// # Errors
/// When the stream fails, ends inside a packet or is not made of packets.
pub fn read(stream: &mut impl Read) -> Result<Option<Packet>, PacketError> {
    let mut length = [0_u8; 4];
    match fill(stream, &mut length)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(PacketError::Truncated),
    }
    let refuse = || PacketError::Length { found: length.escape_ascii().to_string() };
    let mut size = 0_usize;
    for digit in length {
        let value = char::from(digit).to_digit(16).ok_or_else(refuse)?;
        size = size * 16 + value as usize; // four digits: at most 65,535
    }
    match size {
        0 => Ok(Some(Packet::Flush)),
        1 => Ok(Some(Packet::Delimiter)),
        2 => Ok(Some(Packet::ResponseEnd)),
        3 => Err(refuse()),
        _ if size - 4 > MAX_PACKET_DATA => Err(refuse()),
        _ => {
            let mut data = vec![0; size - 4];
            if fill(stream, &mut data)? < data.len() {
                return Err(PacketError::Truncated);
            }
            Ok(Some(Packet::Data(data)))
        }
    }
}

/// Reads until `buffer` is full or the stream ends; the number of bytes read.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, PacketError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PacketError::Read(error)),
        }
    }
    Ok(filled)
}

/// Appends a data packet; false, and nothing appended, when `data` is over [`MAX_PACKET_DATA`].
#[must_use]
pub fn write(out: &mut Vec<u8>, data: &[u8]) -> bool {
    if data.len() > MAX_PACKET_DATA {
        return false;
    }
    out.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    out.extend_from_slice(data);
    true
}

/// Appends `0001`.
pub fn write_delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// Appends `0000`.
pub fn write_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<Packet>, PacketError> {
        let mut packets = Vec::new();
        while let Some(packet) = read(&mut bytes)? {
            packets.push(packet);
        }
        Ok(packets)
    }

    fn encode(packets: &[Packet]) -> Vec<u8> {
        let mut out = Vec::new();
        for packet in packets {
            match packet {
                Packet::Flush => write_flush(&mut out),
                Packet::Delimiter => write_delimiter(&mut out),
                Packet::ResponseEnd => out.extend_from_slice(b"0002"),
                Packet::Data(data) => assert!(write(&mut out, data)),
            }
        }
        out
    }

    #[test]
    fn the_examples_of_the_specification() {
        assert_eq!(
            all(b"0006a\n0005a000bfoobar\n0004").unwrap(),
            [
                Packet::Data(b"a\n".to_vec()),
                Packet::Data(b"a".to_vec()),
                Packet::Data(b"foobar\n".to_vec()),
                Packet::Data(Vec::new()),
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for bytes in [&b"0003"[..], b"fff1", b"ffff", b"+005a", b" 005", b"zzzz", b"<htm"] {
            assert!(matches!(all(bytes), Err(PacketError::Length { .. })), "{bytes:?}");
        }
        for bytes in [&b"0"[..], b"000", b"0005", b"000600"[..5].as_ref()] {
            assert!(matches!(all(bytes), Err(PacketError::Truncated)), "{bytes:?}");
        }
        assert!(!write(&mut Vec::new(), &vec![0; MAX_PACKET_DATA + 1]));
    }

    fn packet() -> impl Strategy<Value = Packet> {
        prop_oneof![
            Just(Packet::Flush),
            Just(Packet::Delimiter),
            Just(Packet::ResponseEnd),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Packet::Data),
            Just(Packet::Data(vec![7; MAX_PACKET_DATA])),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(packets in proptest::collection::vec(packet(), 0..8)) {
            prop_assert_eq!(all(&encode(&packets)).unwrap(), packets);
        }

        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            // What is accepted is exactly what writing it again gives, hex digits in either case.
            if let Ok(packets) = all(&bytes) {
                prop_assert!(encode(&packets).eq_ignore_ascii_case(&bytes));
            }
        }

        #[test]
        fn a_cut_stream_is_never_whole(packets in proptest::collection::vec(packet(), 1..4), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&packets);
            let cut = cut.index(bytes.len());
            if let Ok(found) = all(&bytes[..cut]) {
                prop_assert!(found.len() < packets.len());
            }
        }
    }
}
