//! OpenPGP certificates and detached signatures (RFC 9580, and RFC 4880 as gpg writes it), verified without a
//! subprocess.
//!
//! The crate `pgp` reads packets and their parts, nothing more: its own verification accepts revoked and expired keys and
//! SHA-1. `rpgpie`, the usual layer above it, is not used: what it decides about a signature it decides at the time of the
//! machine's clock, and here the time is an argument. So what a certificate says about its keys ([`Certificate`]) and
//! whether a signature counts ([`OpenPgpVerifier`]) are decided in this module, and the maths is that of the SSH keys.
//!
//! What is decided otherwise than by gpg:
//! - A signature has the one form in which gpg writes it, or the one of sq; see [`Signature::parse`].
//! - Only SHA-2 counts, in signatures and in what binds a key, and a signing key needs the key flag that says so.
//! - The newest self-signature speaks for all times, since the file that holds it is pinned: an expiry that was extended
//!   is extended for older signatures too.
//! - A revocation is never taken back, and one that cannot be checked (by a designated revoker, or over SHA-1) counts. A
//!   hard one (no reason, key compromised, or a reason that is unknown) refuses every signature, a soft one (superseded,
//!   retired) those that are not known to be older.

mod certificate;
mod certificate_file;
mod digest;
mod error;
mod fingerprint;
mod keyring;
mod material;
mod packets;
mod signature;
mod signature_packet;
mod standing;
mod verify;

pub use certificate::{
    Certificate, MAX_CERTIFICATE_BYTES, MAX_PACKETS, MAX_SELF_SIGNATURES, MAX_SUBKEYS, MAX_USER_IDS,
};
pub use certificate_file::split_keyring;
pub use error::{CertificateError, OpenPgpError};
pub use fingerprint::{OpenPgpFingerprint, OpenPgpFingerprintError};
pub use keyring::{Keyring, MAX_CERTIFICATES, MAX_KEYRING_BYTES};
pub use signature::Signature;
pub(crate) use verify::Claim;
pub use verify::{OpenPgpSignature, OpenPgpVerifier};
