//! Bytes split into packets (RFC 9580, section 4.2) without looking into them.

use pgp::packet::PacketHeader;
use pgp::types::{PacketLength, Tag};

/// One packet.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) header: PacketHeader,
    pub(super) body: &'a [u8],
}

/// Not a sequence of packets of known length.
pub(super) struct Malformed;

impl Packet<'_> {
    pub(super) fn tag(&self) -> Tag {
        self.header.tag()
    }
}

/// Splits off packets one by one; after an error it ends. Lengths that are not known beforehand (partial,
/// indeterminate) are for streams: no certificate and no signature has them.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been split yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn split(&mut self) -> Result<Packet<'a>, Malformed> {
        let mut rest = self.rest;
        let header = PacketHeader::try_from_reader(&mut rest).map_err(|_error| Malformed)?;
        let PacketLength::Fixed(length) = header.packet_length() else { return Err(Malformed) };
        let length = usize::try_from(length).map_err(|_error| Malformed)?;
        let (body, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Packet { header, body })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.split();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}
