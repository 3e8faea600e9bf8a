//! A detached signature over data, in the form that gpg or sq writes it.

use jiff::Timestamp;
use pgp::{
    packet::{PacketTrait as _, Subpacket, SubpacketData},
    types::{PacketHeaderVersion, Tag},
};

use super::{
    Claim, OpenPgpError, OpenPgpFingerprint,
    digest::Digest,
    packets::{Packet, Packets},
    signature_packet::{SignaturePacket, Unread, kind},
};
use crate::armor::{self, ArmorError, ArmorFormat, Checksum};

/// A detached signature whose form is right. Whose it is, and whether it fits, is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub(super) packet: SignaturePacket,
    pub(super) digest: Digest,
    pub(super) claim: Claim,
}

impl Signature {
    /// Reads an armoured signature.
    ///
    /// Nothing signs the armour, the packet header and the subpackets behind the signed ones, so each freedom there is
    /// another object id for the same signature. What is read is what gpg writes (checksum, header of the old format,
    /// the key id behind the signed part) or what sq writes (checksum or none, header of the new format, nothing behind
    /// the signed part).
    ///
    /// # Errors
    /// Any other form; another type than 0x00; no or several fingerprints or times of creation in the signed part;
    /// critical subpackets that are not understood; a digest below SHA-2.
    pub fn parse(armored: &[u8]) -> Result<Self, OpenPgpError> {
        match ArmorFormat::of(armored) {
            Some(ArmorFormat::OpenPgp) => {}
            Some(other) => return Err(OpenPgpError::OtherFormat(other)),
            None => return Err(OpenPgpError::Armor(ArmorError::UnknownFormat)),
        }
        let (bytes, checksum) = armor::dearmor_openpgp(armored).map_err(OpenPgpError::Armor)?;
        let (packet, old) = read(&bytes)?;
        if packet.kind != kind::BINARY {
            return Err(OpenPgpError::Type(packet.kind));
        }
        for subpacket in &packet.hashed {
            understood(subpacket)?;
        }
        let issuer = packet.issuer().ok_or(malformed("not one fingerprint of the issuer in the signed part"))?;
        let created = packet.created().ok_or(malformed("not one time of creation in the signed part"))?;
        let other_id = |subpacket: &Subpacket| match &subpacket.data {
            SubpacketData::IssuerKeyId(id) => id.as_ref() != issuer.key_id(),
            _ => false,
        };
        if packet.hashed.iter().any(other_id) {
            return Err(malformed("its key id is not that of its fingerprint"));
        }
        let key_id = |subpacket: &Subpacket| {
            !subpacket.is_critical && matches!(subpacket.data, SubpacketData::IssuerKeyId(_)) && !other_id(subpacket)
        };
        let as_gpg = old && checksum == Checksum::Present && matches!(packet.unhashed.as_slice(), [one] if key_id(one));
        let as_sq = !old && packet.unhashed.is_empty();
        if !as_gpg && !as_sq {
            return Err(malformed("what nothing signs is not as gpg or sq writes it"));
        }
        let digest = Digest::of(packet.digest)?;
        let claim = Claim { issuer, created, ends: packet.ends() };
        Ok(Self { packet, digest, claim })
    }

    /// The key that made it, by its own account.
    #[must_use]
    pub const fn issuer(&self) -> OpenPgpFingerprint {
        self.claim.issuer
    }

    /// The number of the algorithm of that key, by its own account.
    pub(crate) fn algorithm(&self) -> u8 {
        self.packet.algorithm.into()
    }

    /// When it was made, by its own account.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.claim.created
    }
}

const fn malformed(reason: &'static str) -> OpenPgpError {
    OpenPgpError::Malformed(reason)
}

/// The one signature packet, and whether its header is of the old format.
fn read(bytes: &[u8]) -> Result<(SignaturePacket, bool), OpenPgpError> {
    let packets: Result<Vec<Packet<'_>>, _> = Packets::of(bytes).take(2).collect();
    let packets = packets.map_err(|_malformed| malformed("not a packet of known length"))?;
    let [packet] = packets.as_slice() else { return Err(malformed("not exactly one packet")) };
    if packet.tag() != Tag::Signature {
        return Err(malformed("not a signature packet"));
    }
    let (read, signature) = SignaturePacket::read_both(packet.header, packet.body).map_err(|unread| match unread {
        Unread::Malformed => malformed("not a signature packet"),
        Unread::Version(version) => OpenPgpError::NotSupported(format!("a signature of version {version}")),
    })?;
    // Numbers with leading zeros, lengths in more bytes than they need, bytes behind the signature.
    let mut again = Vec::with_capacity(bytes.len());
    if signature.to_writer_with_header(&mut again).is_err() || again != bytes {
        return Err(malformed("not in the shortest form"));
    }
    Ok((read, packet.header.version() == PacketHeaderVersion::Old))
}

/// Whether a subpacket may stand in the signed part. Remarks (notations, the signer's user id, a policy's address) may,
/// if they are not critical.
fn understood(subpacket: &Subpacket) -> Result<(), OpenPgpError> {
    let critical = subpacket.is_critical;
    let refused = |what: String| Err(OpenPgpError::Subpacket(what));
    match &subpacket.data {
        SubpacketData::SignatureCreationTime(_)
        | SubpacketData::SignatureExpirationTime(_)
        | SubpacketData::IssuerFingerprint(_)
        | SubpacketData::IssuerKeyId(_)
        | SubpacketData::SignersUserID(_) => Ok(()),
        SubpacketData::EmbeddedSignature(_) => refused("a signature inside the signature".to_owned()),
        SubpacketData::SignatureTarget(..) => refused("another signature as its target".to_owned()),
        SubpacketData::Notation(notation) if critical => {
            refused(format!("a critical notation {}", crate::ssh::shown(&notation.name)))
        }
        _ if critical => refused(format!("a critical subpacket of type {}", subpacket.typ().as_u8(false))),
        _ => Ok(()),
    }
}
