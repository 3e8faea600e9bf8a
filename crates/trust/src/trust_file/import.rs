//! What revocation files of OpenSSH become in a trust file.

use std::collections::BTreeSet;

use super::{Revoked, TrustFile};
use crate::{Fingerprint, PublicKey, Revocations, RevokedItem};

/// Revocations in the words of a trust file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedRevocations {
    /// What to add to `revoked`, each hard; none of it is there already.
    pub revoked: BTreeSet<Revoked>,
    /// What the file has no words for: certificates of authorities that it does not name, and digests of SHA-1 that are
    /// of none of its keys, if it has no authorities. Nothing of it could sign under this file.
    pub without_words: Vec<RevokedItem>,
    /// Digests of SHA-1 that are of none of its keys, and may be of a key that one of its authorities certified: the file
    /// names keys by SHA-256, so they stay in force until they are revoked by that, or their certificates are.
    pub may_be_certified: Vec<RevokedItem>,
}

impl TrustFile {
    /// What of these revocations is to be added to this file.
    #[must_use]
    pub fn import_revocations(&self, revocations: &Revocations) -> ImportedRevocations {
        let mut imported = ImportedRevocations::default();
        for item in revocations.items() {
            let words = self.words_for(item);
            if words.is_empty() {
                let may_sign = matches!(item, RevokedItem::KeySha1(_)) && !self.authorities.is_empty();
                let told = if may_sign { &mut imported.may_be_certified } else { &mut imported.without_words };
                told.push(item.clone());
            }
            imported.revoked.extend(words.into_iter().filter(|what| !self.revoked.contains_key(what)));
        }
        imported
    }

    fn words_for(&self, item: &RevokedItem) -> Vec<Revoked> {
        let of = |authority: &Option<Fingerprint>| {
            let authority = *authority;
            self.authorities
                .iter()
                .filter(move |(_name, ca)| authority.is_none_or(|authority| ca.key.fingerprint() == authority))
                .map(|(name, _ca)| name.clone())
        };
        match item {
            RevokedItem::Key(key) => vec![Revoked::Key(*key)],
            RevokedItem::KeySha1(sha1) => {
                let keys = self.keys().filter(|key| key.sha1() == *sha1);
                keys.map(|key| Revoked::Key(key.fingerprint())).collect()
            }
            RevokedItem::Serials { authority, from, to } => {
                of(authority).map(|ca| Revoked::Serials { ca, from: *from, to: *to }).collect()
            }
            RevokedItem::KeyId { authority, key_id } => {
                of(authority).map(|ca| Revoked::KeyId { ca, key_id: key_id.clone() }).collect()
            }
        }
    }

    /// All keys in the file, of principals and of authorities.
    fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let held = self.principals.values().flat_map(|principal| &principal.keys).map(|held| &held.key);
        held.chain(self.authorities.values().map(|authority| &authority.key))
    }
}
