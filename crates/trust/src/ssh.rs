//! SSH keys and signatures (PROTOCOL.sshsig of OpenSSH), verified without a subprocess.

mod allowed_signers;
mod certificate;
mod crypto;
mod ecdsa;
pub(crate) mod ed25519;
mod fingerprint;
mod key_signature;
mod krl;
mod pattern;
mod public_key;
mod revocations;
pub(crate) mod rsa;
mod security_key;
mod sshsig;
mod verify;
mod webauthn;
mod wire;

pub(crate) use allowed_signers::Line as AllowedLine;
pub use allowed_signers::{AllowedSigners, AllowedSignersError, LineError, MAX_ALLOWED_SIGNERS_BYTES};
pub use certificate::{Certificate, CertificateError, MAX_CERTIFICATE_BYTES};
pub use crypto::{Crypto, HashAlgorithm, KeyAlgorithm, MIN_RSA_BITS_DEFAULT, UnknownAlgorithm};
pub use fingerprint::{Fingerprint, FingerprintError};
pub(crate) use pattern::matches_list;
pub(crate) use public_key::shown;
pub use public_key::{MAX_KEY_TEXT_BYTES, PublicKey, PublicKeyError};
pub use revocations::{MAX_REVOCATIONS, MAX_REVOCATIONS_BYTES, Revocations, RevocationsError, RevokedItem};
pub(crate) use security_key::Unproven;
pub use security_key::{Assertion, UserCheck, UserPresence};
pub use verify::{NAMESPACE_GIT, NAMESPACE_TRUST, SshSignature, SshsigError, verify_sshsig};
pub(crate) use verify::{claimed_certificate, claimed_in_git, claimed_keys, verify_sshsig_by};
