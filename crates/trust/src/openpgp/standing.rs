//! What a primary key says about itself and its subkeys, and what follows for a signature.

use jiff::Timestamp;
use pgp::{
    packet::{KeyFlags, PacketTrait as _, RevocationCode, Subpacket, SubpacketData},
    ser::Serialize as _,
};

use super::{
    OpenPgpError, OpenPgpFingerprint,
    digest::Digest,
    material::Material,
    signature_packet::{SignaturePacket, kind, last_second},
};
use crate::instants::Instants;

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) statement: Result<Statement, Unbound>,
    pub(super) revocations: Vec<Revocation>,
}

/// The newest thing that the primary key says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Whether the key is for signing.
    pub(super) signs: bool,
    /// The last second of the key.
    ends: Option<Timestamp>,
}

impl Statement {
    /// The last second of the key.
    pub(super) const fn ends(&self) -> Option<Timestamp> {
        self.ends
    }
}

/// Why a key is not one of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unbound {
    /// Nothing says so, or what does is not by the primary key.
    Nothing,
    /// What says so is over this digest.
    Weak(String),
    /// What says so has a critical part that is not understood.
    NotUnderstood,
    /// The subkey does not say that it belongs to the primary key, so anyone's could be claimed.
    NoBackSignature,
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revocation {
    /// When, if what was signed before still counts.
    soft: Option<Timestamp>,
    reason: &'static str,
}

/// The primary key as the one that makes statements.
pub(super) struct Statements {
    pub(super) fingerprint: OpenPgpFingerprint,
    pub(super) material: Material,
    /// What is hashed for it.
    pub(super) bytes: Vec<u8>,
}

type Candidate<'a> = (&'a SignaturePacket, &'a [u8]);

impl Statements {
    /// What the primary key says about itself: directly, or with one of its user ids.
    pub(super) fn on_primary(
        &self,
        created: Timestamp,
        direct: &[SignaturePacket],
        users: &[(&[u8], &[SignaturePacket])],
    ) -> Result<Statement, Unbound> {
        let on_itself = direct.iter().filter(|one| one.kind == kind::DIRECT).map(|one| (one, [].as_slice()));
        let on_users = users.iter().flat_map(|(bytes, all)| self.certifications(bytes, all));
        // Some statements are about other things: who may revoke, for instance.
        let candidates = on_itself.chain(on_users).filter(|(one, _)| flags(one).is_some());
        let newest = self.newest(candidates.collect())?;
        Ok(Statement { signs: flags(newest).is_some_and(KeyFlags::sign), ends: ends(newest, created) })
    }

    /// What the primary key says about a subkey, and for one that signs, the subkey about the primary key.
    pub(super) fn on_subkey(
        &self,
        created: Timestamp,
        material: &Material,
        bytes: &[u8],
        signatures: &[SignaturePacket],
    ) -> Result<Statement, Unbound> {
        let candidates = signatures.iter().filter(|one| one.kind == kind::BINDS_SUBKEY).map(|one| (one, bytes));
        let newest = self.newest(candidates.collect())?;
        let signs = flags(newest).is_some_and(KeyFlags::sign);
        if signs {
            self.back_signature(newest, material, bytes)?;
        }
        Ok(Statement { signs, ends: ends(newest, created) })
    }

    /// Whether a certification of this user id is in force.
    pub(super) fn vouches_for(&self, user: &[u8], signatures: &[SignaturePacket]) -> bool {
        self.newest(self.certifications(user, signatures).collect()).is_ok()
    }

    /// Whether any of these lets another key revoke.
    pub(super) fn name_a_revoker<'a>(&self, mut signatures: impl Iterator<Item = &'a SignaturePacket>) -> bool {
        let names = |one: &Subpacket| matches!(one.data, SubpacketData::RevocationKey(_));
        signatures.any(|one| one.may_be_by(&self.fingerprint) && one.hashed.iter().any(names))
    }

    /// The revocations of the primary key (no bytes) or of a subkey.
    pub(super) fn revocations(&self, all: &[SignaturePacket], subkey: &[u8], designated: bool) -> Vec<Revocation> {
        let wanted = if subkey.is_empty() { kind::REVOKES_KEY } else { kind::REVOKES_SUBKEY };
        let counts = |one: &&SignaturePacket| {
            if !one.may_be_by(&self.fingerprint) {
                return designated;
            }
            match Digest::of(one.digest) {
                Ok(digest) => one.fits(&self.material, digest, &[&self.bytes, subkey]) != Some(false),
                Err(_weak) => true,
            }
        };
        all.iter().filter(|one| one.kind == wanted).filter(counts).map(Revocation::of).collect()
    }

    /// Certifications of a user id but those that are older than its revocation.
    fn certifications<'a>(
        &self,
        user: &'a [u8],
        all: &'a [SignaturePacket],
    ) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let revoked = all
            .iter()
            .filter(|one| one.kind == kind::REVOKES_CERTIFICATION && self.made(one, user) != Some(false))
            .map(SignaturePacket::created)
            .max();
        all.iter()
            .filter(|one| kind::CERTIFIES.contains(&one.kind))
            .filter(move |one| revoked.is_none_or(|revoked| one.created() > revoked))
            .map(move |one| (one, user))
    }

    /// The newest of these that is by the primary key. A newer one over a weak digest is not passed over: it may take
    /// back what the older one says.
    fn newest<'a>(&self, mut candidates: Vec<Candidate<'a>>) -> Result<&'a SignaturePacket, Unbound> {
        candidates.retain(|(one, _)| one.created().is_some() && one.may_be_by(&self.fingerprint));
        candidates.sort_by_key(|(one, _)| std::cmp::Reverse(one.created()));
        for (one, about) in candidates {
            let digest = Digest::of(one.digest).map_err(|error| weak(&error))?;
            if one.fits(&self.material, digest, &[&self.bytes, about]) == Some(true) {
                let known = one.hashed.iter().all(|subpacket| !subpacket.is_critical || understood(subpacket));
                return if known { Ok(one) } else { Err(Unbound::NotUnderstood) };
            }
        }
        Err(Unbound::Nothing)
    }

    /// Whether the primary key made it; `None` if that cannot be checked.
    fn made(&self, one: &SignaturePacket, about: &[u8]) -> Option<bool> {
        one.fits(&self.material, Digest::of(one.digest).ok()?, &[&self.bytes, about])
    }

    /// The signature by the subkey inside of what binds it. It may stand in the part that is not signed: the subkey
    /// itself vouches for it.
    fn back_signature(&self, binding: &SignaturePacket, subkey: &Material, bytes: &[u8]) -> Result<(), Unbound> {
        let mut found = Err(Unbound::NoBackSignature);
        for subpacket in binding.hashed.iter().chain(&binding.unhashed) {
            let SubpacketData::EmbeddedSignature(inner) = &subpacket.data else { continue };
            let Ok(body) = inner.to_bytes() else { continue };
            let Ok(packet) = SignaturePacket::read(*inner.packet_header(), &body) else { continue };
            if packet.kind != kind::BINDS_PRIMARY || packet.version != binding.version {
                continue;
            }
            match Digest::of(packet.digest) {
                Ok(digest) if packet.fits(subkey, digest, &[&self.bytes, bytes]) == Some(true) => return Ok(()),
                Ok(_does_not_fit) => {}
                Err(error) => found = Err(weak(&error)),
            }
        }
        found
    }
}

impl Revocation {
    fn of(packet: &SignaturePacket) -> Self {
        let code = packet.one(|data| match data {
            SubpacketData::RevocationReason(code, _text) => Some(*code),
            _ => None,
        });
        let (soft, reason) = match code {
            Some(RevocationCode::KeySuperseded) => (packet.created(), "superseded"),
            Some(RevocationCode::KeyRetired) => (packet.created(), "retired"),
            Some(RevocationCode::KeyCompromised) => (None, "compromised"),
            _ => (None, "without a reason that would let older signatures stand"),
        };
        Self { soft, reason }
    }

    /// Whether a signature is not known to be older. At the same second it is not.
    fn hits(&self, signed: Timestamp, at: &Instants) -> bool {
        self.soft.is_none_or(|soft| signed.max(at.latest()) >= soft)
    }
}

impl Standing {
    /// Whether this key was in force for a signature of `signed`.
    pub(super) fn check(
        &self,
        key: OpenPgpFingerprint,
        created: Timestamp,
        signed: Timestamp,
        at: &Instants,
    ) -> Result<&Statement, OpenPgpError> {
        if let Some(revocation) = self.revocations.iter().find(|one| one.hits(signed, at)) {
            let since = revocation.soft.map(|soft| format!(" since {soft}")).unwrap_or_default();
            return Err(OpenPgpError::Revoked { key, reason: format!("{}{since}", revocation.reason) });
        }
        let statement = self.statement.as_ref().map_err(|unbound| unbound.error(key))?;
        if signed < created {
            return Err(OpenPgpError::BeforeKey { key, created, signed });
        }
        match statement.ends {
            Some(end) if signed > end => {
                Err(OpenPgpError::KeyEnded { key, reason: format!("ended {end}, the signature is of {signed}") })
            }
            end => {
                at.within(end).map_err(|reason| OpenPgpError::KeyEnded { key, reason })?;
                Ok(statement)
            }
        }
    }
}

impl Unbound {
    fn error(&self, key: OpenPgpFingerprint) -> OpenPgpError {
        let reason = match self {
            Self::Weak(digest) => return OpenPgpError::WeakBinding { key, digest: digest.clone() },
            Self::Nothing => "is not bound by a signature of its certificate",
            Self::NotUnderstood => "is bound by a signature that says more than is understood",
            Self::NoBackSignature => "has no back-signature, so its certificate may claim somebody else's key",
        };
        OpenPgpError::NotBound { key, reason }
    }
}

fn weak(error: &OpenPgpError) -> Unbound {
    Unbound::Weak(match error {
        OpenPgpError::WeakDigest { found } => found.clone(),
        _ => "an unknown digest".to_owned(),
    })
}

fn flags(packet: &SignaturePacket) -> Option<&KeyFlags> {
    packet.one(|data| match data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}

/// The last second of a key by this statement.
fn ends(packet: &SignaturePacket, created: Timestamp) -> Option<Timestamp> {
    let spans = packet.hashed.iter().filter_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyExpirationTime(duration) => Some(duration.as_secs()),
        _ => None,
    });
    let key = last_second(created, spans);
    [key, packet.ends()].into_iter().flatten().min()
}

/// Whether a critical subpacket of a statement about a key is understood, or says nothing about signing.
fn understood(subpacket: &Subpacket) -> bool {
    !matches!(
        subpacket.data,
        SubpacketData::Notation(_)
            | SubpacketData::Experimental(..)
            | SubpacketData::Other(..)
            | SubpacketData::TrustSignature(..)
            | SubpacketData::RegularExpression(_)
            | SubpacketData::SignatureTarget(..)
    )
}
