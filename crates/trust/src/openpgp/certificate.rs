//! Certificates: a primary key, its subkeys, and what the primary key says about all of them.

use jiff::Timestamp;
use pgp::{
    packet::{PublicKey, PublicSubkey},
    types::{KeyDetails as _, Tag},
};

use super::{
    CertificateError, OpenPgpFingerprint,
    certificate_file::blocks,
    material::Material,
    packets::{Packet, Packets},
    signature_packet::{SignaturePacket, Version},
    standing::{Standing, Statements},
};

/// The most bytes of a certificate: the largest of the Linux kernel's developers, with hundreds of signatures by others,
/// are below 300 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 1024 * 1024;
/// The most packets of a certificate: 1 MiB of RSA signatures (at least 280 bytes each) are 3,744.
pub const MAX_PACKETS: usize = 4096;
/// The most user ids and photographs.
pub const MAX_USER_IDS: usize = 128;
/// The most subkeys.
pub const MAX_SUBKEYS: usize = 64;
/// The most signatures of the primary key on itself and its parts. Each may cost two verifications, the slowest (P-521)
/// half a millisecond each: 512 are half a second, once for each file.
pub const MAX_SELF_SIGNATURES: usize = 512;

/// A certificate, also called a public key, with what it says about each of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(super) primary: Key,
    pub(super) subkeys: Vec<Key>,
    user_id: Option<String>,
}

/// A primary key or a subkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) version: Version,
    pub(super) fingerprint: OpenPgpFingerprint,
    pub(super) created: Timestamp,
    pub(super) material: Material,
    pub(super) standing: Standing,
}

impl Certificate {
    /// Reads one certificate, binary or armoured.
    ///
    /// # Errors
    /// Another form, more than one certificate, a private key, or more than a limit of this module.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut certificates = Self::parse_all(bytes, MAX_CERTIFICATE_BYTES)?;
        match (certificates.pop(), certificates.pop()) {
            (Some(one), None) => Ok(one),
            _ => Err(CertificateError::Several),
        }
    }

    /// Reads one certificate after the other.
    pub(super) fn parse_all(bytes: &[u8], limit: usize) -> Result<Vec<Self>, CertificateError> {
        if bytes.len() > limit {
            let keyring = limit > MAX_CERTIFICATE_BYTES;
            return Err(if keyring { CertificateError::KeyringTooLarge } else { CertificateError::TooLarge });
        }
        let mut certificates = Vec::new();
        for block in blocks(bytes)? {
            let mut parts: Option<Parts> = None;
            for packet in Packets::of(&block) {
                let packet = packet.map_err(|_malformed| bad("not of known length"))?;
                if packet.tag() == Tag::PublicKey {
                    certificates.extend(parts.replace(Parts::begin(&packet)?).map(Parts::judge));
                } else {
                    parts.as_mut().ok_or_else(|| before_any_key(&packet))?.add(&packet)?;
                }
            }
            certificates.push(parts.ok_or(bad("none"))?.judge());
        }
        Ok(certificates)
    }

    /// The fingerprint of its primary key, which stands for the whole.
    #[must_use]
    pub const fn fingerprint(&self) -> OpenPgpFingerprint {
        self.primary.fingerprint
    }

    /// The first user id that the primary key vouches for. It identifies nobody: the holder chose it.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// Fingerprints of those of its keys that the primary key lets sign, and that agree, whether or not they are in force.
    pub fn signing_keys(&self) -> impl Iterator<Item = OpenPgpFingerprint> {
        let signs = |key: &&Key| key.standing.statement.as_ref().is_ok_and(|statement| statement.signs);
        std::iter::once(&self.primary).chain(&self.subkeys).filter(signs).map(|key| key.fingerprint)
    }

    /// Fingerprints of all its keys, the primary one first.
    pub fn keys(&self) -> impl Iterator<Item = OpenPgpFingerprint> {
        std::iter::once(&self.primary).chain(&self.subkeys).map(|key| key.fingerprint)
    }
}

const fn bad(reason: &'static str) -> CertificateError {
    CertificateError::Packets(reason)
}

fn before_any_key(packet: &Packet<'_>) -> CertificateError {
    match packet.tag() {
        Tag::SecretKey | Tag::SecretSubkey => CertificateError::Private,
        _ => bad("the first is not a public key"),
    }
}

/// A key with the bytes that are hashed for it.
struct Hashed {
    version: Version,
    fingerprint: OpenPgpFingerprint,
    created: Timestamp,
    material: Material,
    bytes: Vec<u8>,
}

impl Hashed {
    fn of(packet: &Packet<'_>) -> Result<Self, CertificateError> {
        let body = packet.body;
        let length = u32::try_from(body.len()).map_err(|_error| CertificateError::TooLarge)?.to_be_bytes();
        let (version, bytes) = match body.first() {
            Some(4) if length.starts_with(&[0, 0]) => {
                (Version::V4, [&[0x99], length.get(2..).unwrap_or_default(), body].concat())
            }
            Some(6) => (Version::V6, [&[0x9b], length.as_slice(), body].concat()),
            Some(other) => return Err(CertificateError::Version(*other)),
            None => return Err(bad("a key without bytes")),
        };
        let fingerprint = match version {
            Version::V4 => OpenPgpFingerprint::v4(&bytes).ok_or(CertificateError::Collision)?,
            Version::V6 => OpenPgpFingerprint::v6(&bytes),
        };
        let (created, material) = if packet.tag() == Tag::PublicKey {
            let key = PublicKey::try_from_reader(packet.header, body).map_err(|_error| bad("not a key"))?;
            (key.created_at(), Material::of(key.algorithm(), key.public_params()))
        } else {
            let key = PublicSubkey::try_from_reader(packet.header, body).map_err(|_error| bad("not a subkey"))?;
            (key.created_at(), Material::of(key.algorithm(), key.public_params()))
        };
        let created = Timestamp::from_second(i64::from(created.as_secs())).map_err(|_error| bad("no time"))?;
        Ok(Self { version, fingerprint, created, material, bytes })
    }

    fn with(self, standing: Standing) -> Key {
        let Self { version, fingerprint, created, material, bytes: _ } = self;
        Key { version, fingerprint, created, material, standing }
    }
}

/// A user id or attribute with the bytes that are hashed for it.
struct User {
    text: Option<String>,
    bytes: Vec<u8>,
    signatures: Vec<SignaturePacket>,
}

/// What has been read of a certificate.
struct Parts {
    primary: Hashed,
    direct: Vec<SignaturePacket>,
    users: Vec<User>,
    subkeys: Vec<(Hashed, Vec<SignaturePacket>)>,
    bytes: usize,
    packets: usize,
    signatures: usize,
    last: Last,
}

/// What signatures that follow are about.
enum Last {
    Primary,
    User,
    Subkey,
}

impl Parts {
    fn begin(packet: &Packet<'_>) -> Result<Self, CertificateError> {
        Ok(Self {
            primary: Hashed::of(packet)?,
            direct: Vec::new(),
            users: Vec::new(),
            subkeys: Vec::new(),
            bytes: packet.body.len(),
            packets: 1,
            signatures: 0,
            last: Last::Primary,
        })
    }

    fn add(&mut self, packet: &Packet<'_>) -> Result<(), CertificateError> {
        self.packets += 1;
        self.bytes += packet.body.len();
        if self.bytes > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge);
        }
        match packet.tag() {
            Tag::UserId => self.add_user(packet, 0xb4),
            Tag::UserAttribute => self.add_user(packet, 0xd1),
            Tag::PublicSubkey => self.add_subkey(Hashed::of(packet)?)?,
            Tag::Signature => self.add_signature(packet),
            Tag::SecretKey | Tag::SecretSubkey => return Err(CertificateError::Private),
            // Trust is what one gpg thought of it, markers and padding hold nothing.
            Tag::Trust | Tag::Marker | Tag::Padding => {}
            _ => return Err(bad("a kind that has no place in it")),
        }
        let many = self.packets > MAX_PACKETS
            || self.users.len() > MAX_USER_IDS
            || self.subkeys.len() > MAX_SUBKEYS
            || self.signatures > MAX_SELF_SIGNATURES;
        if many { Err(CertificateError::TooManyPackets) } else { Ok(()) }
    }

    fn add_subkey(&mut self, subkey: Hashed) -> Result<(), CertificateError> {
        let twice = |known: &Hashed| known.fingerprint == subkey.fingerprint;
        if subkey.version != self.primary.version {
            return Err(bad("a subkey of another version than the primary key"));
        }
        // A revocation behind one of them must not be missed by looking at the other.
        if twice(&self.primary) || self.subkeys.iter().any(|(known, _)| twice(known)) {
            return Err(bad("the same key twice"));
        }
        self.subkeys.push((subkey, Vec::new()));
        self.last = Last::Subkey;
        Ok(())
    }

    fn add_user(&mut self, packet: &Packet<'_>, prefix: u8) {
        // The limit of the whole keeps the length within 32 bits.
        let length = u32::try_from(packet.body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let text = (prefix == 0xb4).then(|| String::from_utf8(packet.body.to_vec()).ok()).flatten();
        let bytes = [&[prefix], length.as_slice(), packet.body].concat();
        self.users.push(User { text, bytes, signatures: Vec::new() });
        self.last = Last::User;
    }

    /// Signatures by others, of other versions, or that are not understood say nothing here.
    fn add_signature(&mut self, packet: &Packet<'_>) {
        let Ok(signature) = SignaturePacket::read(packet.header, packet.body) else { return };
        let own = signature.version == self.primary.version && signature.may_be_by(&self.primary.fingerprint);
        if !own && !signature.is_revocation() {
            return;
        }
        self.signatures += 1;
        match self.last {
            Last::Primary => self.direct.push(signature),
            Last::User => self.users.last_mut().map(|user| user.signatures.push(signature)).unwrap_or_default(),
            Last::Subkey => self.subkeys.last_mut().map(|(_, all)| all.push(signature)).unwrap_or_default(),
        }
    }

    fn judge(self) -> Certificate {
        let Self { primary, direct, users, subkeys, .. } = self;
        let statements = Statements {
            fingerprint: primary.fingerprint,
            material: primary.material.clone(),
            bytes: primary.bytes.clone(),
        };
        let about_users: Vec<_> =
            users.iter().map(|user| (user.bytes.as_slice(), user.signatures.as_slice())).collect();
        let user_id = users
            .iter()
            .filter(|user| user.text.is_some() && statements.vouches_for(&user.bytes, &user.signatures))
            .find_map(|user| user.text.clone());
        let own = direct.iter().chain(users.iter().flat_map(|user| &user.signatures));
        let designated = statements.name_a_revoker(own);
        let standing = Standing {
            statement: statements.on_primary(primary.created, &direct, &about_users),
            revocations: statements.revocations(&direct, &[], designated),
        };
        let subkeys = subkeys
            .into_iter()
            .map(|(key, signatures)| {
                let standing = Standing {
                    statement: statements.on_subkey(key.created, &key.material, &key.bytes, &signatures),
                    revocations: statements.revocations(&signatures, &key.bytes, designated),
                };
                key.with(standing)
            })
            .collect();
        Certificate { primary: primary.with(standing), subkeys, user_id }
    }
}
