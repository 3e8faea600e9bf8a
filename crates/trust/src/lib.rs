//! Who signed this commit, and were they allowed to change these paths.
//!
//! A *decide* crate: no I/O, no clock, no environment. What an object database knows is asked of the caller; the time is
//! an argument.

mod armor;
mod code;
mod commit_headers;
mod commit_id;
mod commit_object;
mod person;
mod repair;
mod signature_only;
mod signer;
mod ssh;

pub use armor::{ArmorError, ArmorFormat, MAX_ARMOR_BYTES};
pub use code::TrustCode;
pub use commit_id::{CommitId, ObjectFormat, ObjectIdError, Sha1Collision, TreeId};
pub use commit_object::{CommitObject, MAX_COMMIT_BYTES, MAX_PARENTS, MAX_SIGNATURE_BYTES};
pub use signature_only::verify_signature_only;
pub use signer::{SignatureFormat, Signer};
pub use ssh::{
    AllowedSigners, AllowedSignersError, Crypto, Fingerprint, FingerprintError, HashAlgorithm, KeyAlgorithm, LineError,
    MAX_ALLOWED_SIGNERS_BYTES, MAX_KEY_TEXT_BYTES, MIN_RSA_BITS_DEFAULT, NAMESPACE_GIT, NAMESPACE_TRUST, PublicKey,
    PublicKeyError, SshSignature, SshsigError, UnknownAlgorithm, verify_sshsig,
};
