//! What is common to signatures over data and those inside certificates: the packet, and which bytes it covers.

use jiff::{SignedDuration, Timestamp};
use pgp::{
    crypto::public_key::PublicKeyAlgorithm,
    packet::{PacketHeader, Signature, SignatureVersionSpecific, Subpacket, SubpacketData},
    types::SignatureBytes,
};

use super::{OpenPgpFingerprint, digest::Digest, material::Material};

/// Types of signatures (RFC 9580, section 5.2.1).
pub(super) mod kind {
    /// Over the bytes of a document as they are.
    pub(in crate::openpgp) const BINARY: u8 = 0x00;
    /// By the primary key over a user id, with more or less care.
    pub(in crate::openpgp) const CERTIFIES: std::ops::RangeInclusive<u8> = 0x10..=0x13;
    /// By the primary key over a subkey.
    pub(in crate::openpgp) const BINDS_SUBKEY: u8 = 0x18;
    /// By a subkey over the primary key.
    pub(in crate::openpgp) const BINDS_PRIMARY: u8 = 0x19;
    /// By the primary key over itself.
    pub(in crate::openpgp) const DIRECT: u8 = 0x1f;
    /// Over the primary key.
    pub(in crate::openpgp) const REVOKES_KEY: u8 = 0x20;
    /// Over a subkey.
    pub(in crate::openpgp) const REVOKES_SUBKEY: u8 = 0x28;
    /// Over a user id.
    pub(in crate::openpgp) const REVOKES_CERTIFICATION: u8 = 0x30;
}

/// Versions of signatures and of the keys that make them: each makes only its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// A signature packet that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignaturePacket {
    pub(super) version: Version,
    /// Type of RFC 9580, section 5.2.1.
    pub(super) kind: u8,
    /// Number of its digest.
    pub(super) digest: u8,
    pub(super) hashed: Vec<Subpacket>,
    pub(super) unhashed: Vec<Subpacket>,
    pub(super) algorithm: PublicKeyAlgorithm,
    salt: Vec<u8>,
    /// The packet up to the end of the hashed subpackets, as it was read: what is signed besides the message.
    covered: Vec<u8>,
    start: [u8; 2],
    signature: SignatureBytes,
}

/// Why a packet was not read.
pub(super) enum Unread {
    Malformed,
    Version(u8),
}

impl SignaturePacket {
    pub(super) fn read(header: PacketHeader, body: &[u8]) -> Result<Self, Unread> {
        Self::read_both(header, body).map(|(read, _packet)| read)
    }

    /// The same, and the packet as `pgp` has it, which can write it again.
    pub(super) fn read_both(header: PacketHeader, body: &[u8]) -> Result<(Self, Signature), Unread> {
        let number = *body.first().ok_or(Unread::Malformed)?;
        let version = match number {
            4 => Version::V4,
            6 => Version::V6,
            other => return Err(Unread::Version(other)),
        };
        let packet = Signature::try_from_reader(header, body).map_err(|_error| Unread::Malformed)?;
        Self::of(version, &packet, body).map(|read| (read, packet)).ok_or(Unread::Malformed)
    }

    fn of(version: Version, packet: &Signature, body: &[u8]) -> Option<Self> {
        let config = packet.config()?;
        // version, type, algorithm, digest, then the length of the hashed subpackets in two or four bytes
        let area = match version {
            Version::V4 => 6 + usize::from(u16::from_be_bytes(body.get(4..6)?.try_into().ok()?)),
            Version::V6 => {
                8_usize.checked_add(u32::from_be_bytes(body.get(4..8)?.try_into().ok()?).try_into().ok()?)?
            }
        };
        let salt = match &config.version_specific {
            SignatureVersionSpecific::V6 { salt } => salt.clone(),
            _ => Vec::new(),
        };
        Some(Self {
            version,
            kind: config.typ.into(),
            digest: config.hash_alg.into(),
            hashed: config.hashed_subpackets.clone(),
            unhashed: config.unhashed_subpackets.clone(),
            algorithm: config.pub_alg,
            salt,
            covered: body.get(..area)?.to_vec(),
            start: packet.signed_hash_value()?,
            signature: packet.signature()?.clone(),
        })
    }

    /// Whether it is a signature by this key over these parts (RFC 9580, section 5.2.4). `None`: the key makes no such
    /// signatures.
    pub(super) fn fits(&self, key: &Material, digest: Digest, parts: &[&[u8]]) -> Option<bool> {
        let number = match self.version {
            Version::V4 => 4,
            Version::V6 => 6,
        };
        // The length counts modulo 2^32, which no packet reaches.
        let length = u32::try_from(self.covered.len()).ok()?.to_be_bytes();
        let after: [&[u8]; 3] = [&self.covered, &[number, 0xff], &length];
        let signed = digest.hash(std::iter::once(self.salt.as_slice()).chain(parts.iter().copied()).chain(after));
        let starts = signed.as_ref().starts_with(&self.start);
        Some(key.verifies(self.algorithm, digest, &signed, &self.signature)? && starts)
    }

    /// When it was made, as it says in the part that is signed.
    pub(super) fn created(&self) -> Option<Timestamp> {
        self.one(|data| match data {
            SubpacketData::SignatureCreationTime(time) => Some(time.as_secs()),
            _ => None,
        })
        .and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok())
    }

    /// The last second at which it holds; `None` is for ever. Of several times the first counts.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        let seconds = self.hashed.iter().filter_map(|subpacket| match &subpacket.data {
            SubpacketData::SignatureExpirationTime(duration) => Some(duration.as_secs()),
            _ => None,
        });
        last_second(self.created()?, seconds)
    }

    /// The fingerprint of the key that made it, as it says in the part that is signed.
    pub(super) fn issuer(&self) -> Option<OpenPgpFingerprint> {
        self.one(|data| match data {
            SubpacketData::IssuerFingerprint(fingerprint) => OpenPgpFingerprint::said(fingerprint),
            _ => None,
        })
    }

    /// Whether it may be by this key: it says so, or does not say whose it is.
    pub(super) fn may_be_by(&self, key: &OpenPgpFingerprint) -> bool {
        let named = self.hashed.iter().chain(&self.unhashed).filter_map(|subpacket| match &subpacket.data {
            SubpacketData::IssuerFingerprint(said) => Some(OpenPgpFingerprint::said(said) == Some(*key)),
            SubpacketData::IssuerKeyId(id) => Some(id.as_ref() == key.key_id()),
            _ => None,
        });
        // `reduce` is `None` where nothing is named.
        named.reduce(|one, other| one || other).unwrap_or(true)
    }

    /// Whether it revokes a key or a subkey.
    pub(super) const fn is_revocation(&self) -> bool {
        matches!(self.kind, kind::REVOKES_KEY | kind::REVOKES_SUBKEY)
    }

    /// What the only such subpacket in the signed part holds.
    pub(super) fn one<'a, T>(&'a self, choose: impl Fn(&'a SubpacketData) -> Option<T>) -> Option<T> {
        let mut found = self.hashed.iter().filter_map(|subpacket| choose(&subpacket.data));
        let first = found.next();
        if found.next().is_some() { None } else { first }
    }
}

/// The last of so many seconds from `start`, by the shortest span that is not 0, which is for ever.
pub(super) fn last_second(start: Timestamp, spans: impl Iterator<Item = u32>) -> Option<Timestamp> {
    let span = spans.filter(|seconds| *seconds != 0).min()?;
    start.checked_add(SignedDuration::from_secs(i64::from(span) - 1)).ok()
}
