//! Keys that are known before a signature names them: what the maths library prepared for one is used for all its
//! signatures. A key is its binary form, so whoever finds it finds the same one as who reads it.

use manifest::{Finding, Subject};

use crate::{
    AllowedSigners, CommitObject, NAMESPACE_GIT, PublicKey, SshSignature, TrustFile,
    repair::resign,
    ssh::{Crypto, verify_sshsig_by},
};

/// Where keys are found.
pub(crate) trait KnownKeys {
    /// The key of this binary form.
    fn key(&self, blob: &[u8]) -> Option<&PublicKey>;
}

impl KnownKeys for TrustFile {
    fn key(&self, blob: &[u8]) -> Option<&PublicKey> {
        let mut keys = self.principals.values().flat_map(|principal| &principal.keys).map(|held| &held.key);
        keys.find(|key| key.blob() == blob)
    }
}

impl KnownKeys for AllowedSigners {
    fn key(&self, blob: &[u8]) -> Option<&PublicKey> {
        self.keys().find(|key| key.blob() == blob)
    }
}

impl CommitObject {
    /// Verifies as [`verify_ssh`](Self::verify_ssh) does, to the same verdict.
    pub(crate) fn verify_ssh_by(&self, crypto: &Crypto, known: &impl KnownKeys) -> Result<SshSignature, Finding> {
        let Some(armored) = &self.signature else { return self.verify_ssh(crypto) };
        verify_sshsig_by(armored, &self.payload, NAMESPACE_GIT, crypto, &|blob| known.key(blob))
            .map_err(|error| error.finding(Subject::Commit(self.id.to_string()), resign(self)))
    }
}
