//! Which certificates an OpenPGP key belongs to, and which authority of SSH a key is that of.
//!
//! A signature names the key that made it, often a subkey, or that of an authority; a revocation may name the certificate,
//! or the authority as the trust file calls it. Which of them belong together is said by the certificates and by trust
//! files, and the one in force may pin the certificate in question no longer, or a later form of it, or have a new key for
//! the authority. So those of all accepted steps are asked.

use std::collections::{BTreeMap, BTreeSet};

use manifest::{Digest, Finding};

use crate::{
    CommitId, Fingerprint, History, KeyFingerprint, TrustFile,
    openpgp::{Certificate, OpenPgpFingerprint},
    refusal::unreadable,
    trust_file::trust_file_path,
};

/// The certificates of each key, and the keys of each authority.
#[derive(Debug, Clone, Default)]
pub(crate) struct Issuers {
    certificates: BTreeMap<OpenPgpFingerprint, BTreeSet<OpenPgpFingerprint>>,
    authorities: BTreeMap<String, BTreeSet<Fingerprint>>,
    /// Object ids of the trust files that were read.
    files: BTreeSet<String>,
    /// Digests of the certificates that were read.
    pins: BTreeSet<Digest>,
}

impl Issuers {
    /// Takes in what the trust file of a commit pins. What does not parse there was never in force.
    pub(crate) fn add(&mut self, history: &dyn History, commit: &CommitId) -> Result<(), Finding> {
        let (path, fail) = (trust_file_path(), |error| unreadable(commit, &error));
        let Some(entry) = history.entry(commit, &path).map_err(fail)? else { return Ok(()) };
        if !self.files.insert(entry.id) {
            return Ok(());
        }
        let bytes = history.read(commit, &path).map_err(fail)?.unwrap_or_default();
        let Ok(file) = TrustFile::parse(&bytes) else { return Ok(()) };
        for (name, authority) in &file.authorities {
            self.authorities.entry(name.clone()).or_default().insert(authority.key.fingerprint());
        }
        for pin in file.principals.values().flat_map(|principal| &principal.pinned) {
            if self.pins.contains(&pin.sha256) {
                continue;
            }
            let bytes = history.read(commit, &pin.file).map_err(fail)?.unwrap_or_default();
            if Digest::of(&bytes) != pin.sha256 {
                continue;
            }
            self.pins.insert(pin.sha256);
            let Ok(certificate) = Certificate::parse(&bytes) else { continue };
            for key in certificate.signing_keys() {
                self.certificates.entry(key).or_default().insert(certificate.fingerprint());
            }
        }
        Ok(())
    }

    /// Whether this is, or was, the key of the authority of this name.
    pub(crate) fn is_authority(&self, name: &str, key: &Fingerprint) -> bool {
        self.authorities.get(name).is_some_and(|keys| keys.contains(key))
    }

    /// These keys, and the certificates that they belong to.
    pub(crate) fn with_certificates(&self, keys: &[KeyFingerprint]) -> BTreeSet<KeyFingerprint> {
        let of = |key: &KeyFingerprint| match key {
            KeyFingerprint::Ssh(_) | KeyFingerprint::Keyless(_) => None,
            KeyFingerprint::OpenPgp(key) => self.certificates.get(key),
        };
        let certificates = keys.iter().filter_map(of).flatten().copied().map(KeyFingerprint::OpenPgp);
        keys.iter().copied().chain(certificates).collect()
    }
}
