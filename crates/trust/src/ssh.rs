//! SSH keys and signatures (PROTOCOL.sshsig of OpenSSH), verified without a subprocess.

mod allowed_signers;
mod crypto;
mod ecdsa;
pub(crate) mod ed25519;
mod fingerprint;
mod pattern;
mod public_key;
pub(crate) mod rsa;
mod sshsig;
mod verify;
mod wire;

pub use allowed_signers::{AllowedSigners, AllowedSignersError, LineError, MAX_ALLOWED_SIGNERS_BYTES};
pub use crypto::{Crypto, HashAlgorithm, KeyAlgorithm, MIN_RSA_BITS_DEFAULT, UnknownAlgorithm};
pub use fingerprint::{Fingerprint, FingerprintError};
pub(crate) use public_key::shown;
pub use public_key::{MAX_KEY_TEXT_BYTES, PublicKey, PublicKeyError};
pub use verify::{NAMESPACE_GIT, NAMESPACE_TRUST, SshSignature, SshsigError, verify_sshsig};
