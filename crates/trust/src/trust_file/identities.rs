//! Keyless keys in the trust file: accounts of identity providers, and whose a keyless signature is.

use jiff::Timestamp;

use super::{Principal, Revoked, TrustFile};
use crate::{Instants, KeylessFingerprint, KeylessIdentity, KeylessSignature, TrustCode};

/// An account that is a key of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeylessKey {
    /// The account.
    pub signer: KeylessIdentity,
    /// When it begins as a key of this principal.
    pub not_before: Option<Timestamp>,
    /// When it ends as a key of this principal.
    pub not_after: Option<Timestamp>,
}

impl Principal {
    /// Whether one of its accounts is in force: not revoked, not ended.
    pub(super) fn identity_in_force(&self, file: &TrustFile, at: Option<Timestamp>) -> bool {
        self.keyless.iter().any(|key| {
            let ended = at.zip(key.not_after).is_some_and(|(at, end)| at > end);
            !ended && !file.revoked.contains_key(&Revoked::Keyless(key.signer.fingerprint()))
        })
    }
}

impl TrustFile {
    /// Whether any principal has a keyless key.
    #[must_use]
    pub fn has_identities(&self) -> bool {
        self.principals.values().any(|principal| !principal.keyless.is_empty())
    }

    /// The principal whose key an account is.
    #[must_use]
    pub fn identity_holder(&self, fingerprint: &KeylessFingerprint) -> Option<(&str, &KeylessKey)> {
        self.principals.iter().find_map(|(name, principal)| {
            let found = principal.keyless.iter().find(|key| key.signer.fingerprint() == *fingerprint)?;
            Some((name.as_str(), found))
        })
    }

    /// The principals with a keyless key in force.
    pub(crate) fn identity_holders(&self, at: Timestamp) -> impl Iterator<Item = &str> {
        let able = move |principal: &Principal| principal.identity_in_force(self, Some(at));
        self.principals.iter().filter(move |(_, principal)| able(principal)).map(|(name, _)| name.as_str())
    }

    /// The holder of the account of a good signature, unless the trust file has revoked or ended it.
    pub(crate) fn identity_in_window(
        &self,
        signature: &KeylessSignature,
        instants: &Instants,
    ) -> Result<&str, (TrustCode, String)> {
        let (signer, fingerprint) = (&signature.signer, signature.signer.fingerprint());
        if let Some(reason) = self.revoked.get(&Revoked::Keyless(fingerprint)) {
            let found = format!("signed as {signer} ({fingerprint}), which is revoked ({reason})");
            return Err((TrustCode::W304, found));
        }
        let Some((name, key)) = self.identity_holder(&fingerprint) else {
            return Err((TrustCode::W206, format!("signed as {signer}, which belongs to no principal")));
        };
        // A third time besides those of the commit: when the log or a timestamp authority saw the signature.
        let made = Instants { committer: signature.time, first_sight: None };
        instants
            .between(key.not_before, key.not_after)
            .and_then(|()| made.between(key.not_before, key.not_after))
            .map_err(|reason| (TrustCode::W204, format!("key {signer} of {name} {reason}")))?;
        Ok(name)
    }
}
