//! A signature as the format of its key has it, checked against that key: the part that the signatures of messages and
//! of certificates have in common.

use super::{
    HashAlgorithm, PublicKey,
    ecdsa::Curve,
    ed25519,
    public_key::Material,
    rsa::Sha2,
    security_key::Assertion,
    webauthn::{self, Browser},
    wire::{Malformed, Reader},
};

/// The two formats of RSA keys.
const RSA_SHA256: &[u8] = b"rsa-sha2-256";
const RSA_SHA512: &[u8] = b"rsa-sha2-512";

/// The name of a format, the signature itself, and what the formats of security keys have after it.
pub(super) struct KeySignature<'a> {
    pub(super) format: &'a [u8],
    value: &'a [u8],
    rest: Reader<'a>,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not in the one form of its format.
    Malformed,
    /// RSA with SHA-1.
    Sha1,
    /// The format is not one of this key.
    Format,
    /// It does not fit the message.
    Mismatch,
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl<'a> KeySignature<'a> {
    /// Splits the bytes; what is after the signature is read when the key is known.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = Reader::new(bytes);
        let format = rest.string()?;
        let value = rest.string()?;
        Ok(Self { format, value, rest })
    }

    /// Checks the signature over `message`; what the token asserts if the key is in one.
    pub(super) fn check(mut self, key: &PublicKey, message: &[u8]) -> Result<Option<Assertion>, Fault> {
        let own_format = self.format == key.algorithm().key_type().as_bytes();
        let (fits, assertion) = match key.material() {
            Material::Ed25519(point) if own_format => (ed25519::verifies(point, message, self.value), None),
            Material::Ecdsa { curve, point } if own_format => (curve.verifies(point, message, self.value), None),
            Material::Rsa(key) => {
                let digest = match self.format {
                    RSA_SHA256 => Sha2::Sha256,
                    RSA_SHA512 => Sha2::Sha512,
                    b"ssh-rsa" => return Err(Fault::Sha1),
                    _ => return Err(Fault::Format),
                };
                (key.verifies(digest, message, self.value), None)
            }
            Material::SkEd25519 { point, application } if own_format => {
                let assertion = Assertion::read(&mut self.rest)?;
                let signed = assertion.signed_bytes(application, &[], message);
                (ed25519::verifies(point, &signed, self.value), Some(assertion))
            }
            Material::SkEcdsa { point, application } if own_format => {
                let assertion = Assertion::read(&mut self.rest)?;
                let signed = assertion.signed_bytes(application, &[], message);
                (Curve::P256.verifies(point, &signed, self.value), Some(assertion))
            }
            Material::SkEcdsa { point, application } if self.format == webauthn::FORMAT => {
                let Browser { assertion, client_data, extensions } = Browser::read(&mut self.rest, message)?;
                let signed = assertion.signed_bytes(application, extensions, client_data);
                (Curve::P256.verifies(point, &signed, self.value), Some(assertion))
            }
            _ => return Err(Fault::Format),
        };
        self.rest.end()?;
        if fits { Ok(assertion) } else { Err(Fault::Mismatch) }
    }

    /// The format with its digest, where whoever signed had a choice: keys other than those of RSA have the one digest of
    /// their algorithm.
    pub(super) fn chosen_digest(&self) -> Option<(&'static str, HashAlgorithm)> {
        match self.format {
            RSA_SHA256 => Some(("rsa-sha2-256", HashAlgorithm::Sha256)),
            RSA_SHA512 => Some(("rsa-sha2-512", HashAlgorithm::Sha512)),
            _ => None,
        }
    }

    /// Whether signatures of this key are in this form, over whatever message.
    pub(super) fn has_form_of(mut self, key: &PublicKey) -> bool {
        let own_format = self.format == key.algorithm().key_type().as_bytes();
        let formed = match key.material() {
            Material::Ed25519(_) if own_format => ed25519::has_form(self.value),
            Material::Ecdsa { curve, .. } if own_format => curve.has_form(self.value),
            Material::Rsa(key) => matches!(self.format, RSA_SHA256 | RSA_SHA512) && self.value.len() == key.width(),
            Material::SkEd25519 { .. } if own_format => {
                ed25519::has_form(self.value) && Assertion::read(&mut self.rest).is_ok()
            }
            Material::SkEcdsa { .. } if own_format => {
                Curve::P256.has_form(self.value) && Assertion::read(&mut self.rest).is_ok()
            }
            Material::SkEcdsa { .. } if self.format == webauthn::FORMAT => {
                Curve::P256.has_form(self.value) && Browser::read_of_any(&mut self.rest).is_ok()
            }
            _ => false,
        };
        formed && self.rest.end().is_ok()
    }
}
