//! The private key that a remote is asked with.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use manifest::Sensitive;
use russh::keys::{
    Algorithm, PrivateKey,
    ssh_key::{Kdf, LineEnding},
};

use crate::remote::RemoteError;

/// The largest text of a private key, in bytes: RSA with 8,192 bits has 6.5 KB.
const MAX_IDENTITY_BYTES: usize = 16 << 10;
/// The most rounds of the passphrase's derivation: ssh-keygen makes 16 to 24, people up to 100, which take a second.
const MAX_ROUNDS: u32 = 256;
/// The smallest RSA key, in bits: what the servers of today still take.
const MIN_RSA_BITS: u32 = 2_048;

/// A private key and what opens it. Opening is left to the first use: it takes time, and not on the thread that checks a
/// source.
pub(crate) struct Identity {
    locked: PrivateKey,
    passphrase: Option<Sensitive<String>>,
    opened: OnceLock<Result<Arc<PrivateKey>, RemoteError>>,
}

impl Identity {
    pub(crate) fn parse(text: &str, passphrase: Option<&Sensitive<String>>) -> Result<Self, RemoteError> {
        let refuse = |reason| Err(RemoteError::Credentials { reason });
        if text.len() > MAX_IDENTITY_BYTES {
            return refuse("the private key is longer than 16 KiB");
        }
        let Ok(locked) = PrivateKey::from_openssh(text.trim()) else {
            return refuse("the private key is not in OpenSSH's form (ssh-keygen -p -f FILE converts it)");
        };
        match locked.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => {}
            Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
                return refuse("the private key needs a security key in somebody's hand");
            }
            _ => return refuse("the private key is none of: ed25519, ecdsa, rsa"),
        }
        if let Some(rsa) = locked.public_key().key_data().rsa()
            && rsa.key_size() < MIN_RSA_BITS
        {
            return refuse("the private key is an RSA key of fewer than 2048 bits");
        }
        if matches!(locked.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds > MAX_ROUNDS) {
            return refuse("the private key takes more than 256 rounds to open (ssh-keygen -p -a 24 -f FILE)");
        }
        match (locked.is_encrypted(), passphrase) {
            (true, None) => return refuse("the private key has a passphrase, which is missing (key password)"),
            (false, Some(_)) => return refuse("there is a passphrase, and the private key has none"),
            _ => {}
        }
        Ok(Self { locked, passphrase: passphrase.cloned(), opened: OnceLock::new() })
    }

    /// The key, opened by its passphrase.
    pub(crate) fn open(&self) -> Result<Arc<PrivateKey>, RemoteError> {
        let open = || match &self.passphrase {
            None => Ok(Arc::new(self.locked.clone())),
            Some(passphrase) => self
                .locked
                .decrypt(passphrase.expose())
                .map(Arc::new)
                .map_err(|_| RemoteError::Credentials { reason: "the passphrase does not open the private key" }),
        };
        self.opened.get_or_init(open).clone()
    }

    /// The opened key as text, for the fetch child.
    pub(crate) fn opened_text(&self) -> Result<Sensitive<String>, RemoteError> {
        let text = self.open()?.to_openssh(LineEnding::LF);
        let text = text.map_err(|_| RemoteError::Credentials { reason: "the private key cannot be written" })?;
        Ok(Sensitive::new(text.to_string()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}
