//! The numbers of a key, and whether a signature fits them. The maths and what is demanded of keys are those of SSH.

use std::sync::Arc;

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
        ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
        ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
    },
};
use pgp::{
    crypto::{ecc_curve::ECCCurve, public_key::PublicKeyAlgorithm},
    ser::Serialize as _,
    types::{EcdsaPublicParams, EddsaLegacyPublicParams, Mpi, PublicParams, SignatureBytes},
};

use super::{OpenPgpError, digest::Digest};
use crate::ssh::{
    Crypto, KeyAlgorithm, ed25519,
    rsa::{RsaKey, Sha2},
};

/// Smallest RSA modulus in bits that any settings can allow; the maths library verifies nothing shorter.
const MIN_RSA_BITS: u32 = 2048;

/// A key by what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Ed25519 {
        key: [u8; 32],
        /// As gpg has it: algorithm 22, signatures of two numbers. Else algorithm 27, signatures of 64 bytes.
        legacy: bool,
    },
    Ecdsa {
        curve: Curve,
        point: Vec<u8>,
    },
    Rsa(Arc<RsaKey>),
    /// Refused for good.
    Weak(&'static str),
    /// A key whose numbers are refused.
    Refused(&'static str),
    /// What the maths library does not do, or what is not for signing.
    NotSupported(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Material {
    pub(super) fn of(algorithm: PublicKeyAlgorithm, params: &PublicParams) -> Self {
        let material = match params {
            PublicParams::RSA(_) if algorithm == PublicKeyAlgorithm::RSAEncrypt => None,
            PublicParams::RSA(params) => {
                numbers(params.to_bytes().ok()).map(|[modulus, exponent]| match RsaKey::new(&modulus, &exponent) {
                    Ok(key) => Self::Rsa(Arc::new(key)),
                    Err(reason) => Self::Refused(reason),
                })
            }
            PublicParams::ECDSA(params) => Some(ecdsa(params)),
            PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { key }) => Some(edwards(*key.as_bytes(), true)),
            PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { curve, .. }) => Some(not_curve(curve)),
            PublicParams::Ed25519(params) => Some(edwards(*params.key.as_bytes(), false)),
            PublicParams::DSA(_) => Some(Self::Weak("DSA")),
            PublicParams::Elgamal(_) => Some(Self::Weak("ElGamal")),
            _ => None,
        };
        material.unwrap_or_else(|| Self::NotSupported(format!("a key of algorithm {}", u8::from(algorithm))))
    }

    /// Whether the key is strong enough under these settings, and can be used at all.
    pub(super) fn check(&self, crypto: &Crypto) -> Result<(), OpenPgpError> {
        let found = match self {
            Self::Ed25519 { .. } => KeyAlgorithm::Ed25519,
            Self::Ecdsa { curve: Curve::P256, .. } => KeyAlgorithm::EcdsaP256,
            Self::Ecdsa { curve: Curve::P384, .. } => KeyAlgorithm::EcdsaP384,
            Self::Ecdsa { curve: Curve::P521, .. } => KeyAlgorithm::EcdsaP521,
            Self::Rsa(_) => KeyAlgorithm::Rsa,
            Self::Weak(found) => return Err(OpenPgpError::WeakKey(found)),
            Self::Refused(reason) => return Err(OpenPgpError::Key(reason)),
            Self::NotSupported(what) => return Err(OpenPgpError::NotSupported(what.clone())),
        };
        if !crypto.allow.contains(&found) {
            return Err(OpenPgpError::KeyAlgorithm { found, allowed: crypto.allow.iter().copied().collect() });
        }
        let needed = crypto.min_rsa.max(MIN_RSA_BITS);
        match self {
            Self::Rsa(key) if key.bits() < needed => Err(OpenPgpError::ShortRsa { bits: key.bits(), needed }),
            _ => Ok(()),
        }
    }

    /// Whether `signature` by `algorithm` over what has this digest fits. `None`: it is not one that this key makes.
    pub(super) fn verifies(
        &self,
        algorithm: PublicKeyAlgorithm,
        digest: Digest,
        signed: &digest::Digest,
        signature: &SignatureBytes,
    ) -> Option<bool> {
        match (self, algorithm, signature) {
            (Self::Ed25519 { key, legacy: true }, PublicKeyAlgorithm::EdDSALegacy, SignatureBytes::Mpis(numbers)) => {
                let fixed = fixed(numbers, 32)?;
                Some(ed25519::verifies(key, signed.as_ref(), &fixed))
            }
            (Self::Ed25519 { key, legacy: false }, PublicKeyAlgorithm::Ed25519, SignatureBytes::Native(bytes)) => {
                Some(ed25519::verifies(key, signed.as_ref(), bytes))
            }
            (Self::Ecdsa { curve, point }, PublicKeyAlgorithm::ECDSA, SignatureBytes::Mpis(numbers)) => {
                let key = UnparsedPublicKey::new(curve.algorithm(digest), point);
                Some(key.verify_digest(signed, &der(numbers)?).is_ok())
            }
            (Self::Rsa(key), PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign, SignatureBytes::Mpis(numbers)) => {
                let [number] = numbers.as_slice() else { return None };
                Some(key.verifies_digest(digest.into(), signed, &padded(number, key.width())?))
            }
            _ => None,
        }
    }
}

impl Curve {
    const fn algorithm(self, digest: Digest) -> &'static EcdsaVerificationAlgorithm {
        match (self, digest) {
            (Self::P256, Digest::Sha256) => &ECDSA_P256_SHA256_ASN1,
            (Self::P256, Digest::Sha384) => &ECDSA_P256_SHA384_ASN1,
            (Self::P256, Digest::Sha512) => &ECDSA_P256_SHA512_ASN1,
            (Self::P384, Digest::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (Self::P384, Digest::Sha384) => &ECDSA_P384_SHA384_ASN1,
            (Self::P384, Digest::Sha512) => &ECDSA_P384_SHA512_ASN1,
            (Self::P521, Digest::Sha256) => &ECDSA_P521_SHA256_ASN1,
            (Self::P521, Digest::Sha384) => &ECDSA_P521_SHA384_ASN1,
            (Self::P521, Digest::Sha512) => &ECDSA_P521_SHA512_ASN1,
        }
    }
}

impl From<Digest> for Sha2 {
    fn from(digest: Digest) -> Self {
        match digest {
            Digest::Sha256 => Self::Sha256,
            Digest::Sha384 => Self::Sha384,
            Digest::Sha512 => Self::Sha512,
        }
    }
}

fn edwards(key: [u8; 32], legacy: bool) -> Material {
    match ed25519::check(&key) {
        Ok(()) => Material::Ed25519 { key, legacy },
        Err(reason) => Material::Refused(reason),
    }
}

fn ecdsa(params: &EcdsaPublicParams) -> Material {
    match params {
        EcdsaPublicParams::P256 { key } => {
            Material::Ecdsa { curve: Curve::P256, point: key.to_sec1_bytes().into_vec() }
        }
        EcdsaPublicParams::P384 { key } => {
            Material::Ecdsa { curve: Curve::P384, point: key.to_sec1_bytes().into_vec() }
        }
        EcdsaPublicParams::P521 { key } => {
            Material::Ecdsa { curve: Curve::P521, point: key.to_sec1_bytes().into_vec() }
        }
        EcdsaPublicParams::Secp256k1 { .. } => not_curve(&ECCCurve::Secp256k1),
        EcdsaPublicParams::Unsupported { curve, .. } => not_curve(curve),
    }
}

fn not_curve(curve: &ECCCurve) -> Material {
    Material::NotSupported(format!("a key on the curve {} ({})", curve.name(), curve.oid_str()))
}

/// Exactly so many numbers in the form of OpenPGP.
fn numbers<const N: usize>(bytes: Option<Vec<u8>>) -> Option<[Vec<u8>; N]> {
    let bytes = bytes?;
    let mut rest = bytes.as_slice();
    let mut numbers = [const { Vec::new() }; N];
    for number in &mut numbers {
        *number = Mpi::try_from_reader(&mut rest).ok()?.as_ref().to_vec();
    }
    rest.is_empty().then_some(numbers)
}

/// A number filled up with zeros to this width.
fn padded(number: &Mpi, width: usize) -> Option<Vec<u8>> {
    let mut padded = vec![0; width.checked_sub(number.len())?];
    padded.extend_from_slice(number.as_ref());
    Some(padded)
}

/// Two numbers of this width after each other.
fn fixed(numbers: &[Mpi], width: usize) -> Option<Vec<u8>> {
    let [first, second] = numbers else { return None };
    Some([padded(first, width)?, padded(second, width)?].concat())
}

/// `SEQUENCE { INTEGER r, INTEGER s }`, as the maths library reads signatures of all three curves with all digests.
fn der(numbers: &[Mpi]) -> Option<Vec<u8>> {
    const SHORT: usize = 0x80;
    let [r, s] = numbers else { return None };
    let mut body = Vec::new();
    for number in [r.as_ref(), s.as_ref()] {
        let sign = number.first().is_none_or(|first| first & 0x80 != 0);
        let length = number.len() + usize::from(sign);
        body.extend([0x02, u8::try_from(length).ok().filter(|length| usize::from(*length) < SHORT)?]);
        body.extend(sign.then_some(0));
        body.extend_from_slice(number);
    }
    let length = u8::try_from(body.len()).ok()?;
    let mut der = vec![0x30];
    der.extend((body.len() >= SHORT).then_some(0x81));
    der.push(length);
    der.extend(body);
    Some(der)
}
