//! Digests of values that must not be guessed.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::Digest;

/// Key of the digests of sensitive values (HMAC-SHA-256, RFC 2104). A plain digest of a Secret tells everybody who reads it
/// whether a guess is right; this one only those who have the key.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    /// A key for one purpose, derived from a secret of the installation: another `purpose` gives an unrelated key.
    #[must_use]
    pub fn derive(secret: &[u8], purpose: &str) -> Self {
        let derived = mac(secret).chain_update(purpose).finalize().into_bytes();
        Self(mac(&derived))
    }

    /// The keyed digest of `bytes`.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        Digest::from_bytes(self.0.clone().chain_update(bytes).finalize().into_bytes().into())
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104, section 2)")]
fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_hmac_sha256() {
        // RFC 4231, test case 2.
        let key = DigestKey(mac(b"Jefe"));
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(key.digest(b"what do ya want for nothing?").to_string(), expected);
    }

    #[test]
    fn another_secret_or_purpose_is_another_key() {
        let digest = |secret: &[u8], purpose| DigestKey::derive(secret, purpose).digest(b"1234");
        assert_eq!(digest(b"one", "a"), digest(b"one", "a"));
        assert_ne!(digest(b"one", "a"), digest(b"two", "a"));
        assert_ne!(digest(b"one", "a"), digest(b"one", "b"));
        assert_ne!(digest(b"one", "a"), Digest::of(b"1234"));
    }

    #[test]
    fn is_not_shown() {
        assert_eq!(format!("{:?}", DigestKey::derive(b"hunter2", "a")), "DigestKey(***)");
    }
}
