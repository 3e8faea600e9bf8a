//! Whom the signatures of an order name, before any of them is verified. Anybody may write orders, and name whoever he
//! likes: this tells which cannot be good, and never that one is.

use crate::{
    ArmorFormat, Credit, MAX_ARMOR_BYTES, MAX_BUNDLE_BYTES, MAX_ORDER_SIGNATURES, Principal, Seen, SignedOrder,
    TrustFile, openpgp::Signature, ssh::claimed_keys, trust_file::trust_file_path, verified_signature::is_bundle,
};

impl SignedOrder {
    /// Whether an order to break the glass could be good if each of its signatures fitted: it is about this repository, it
    /// has its time, and those who are named may change the trust file. Costs no verification.
    #[must_use]
    pub fn could_be_good(&self, signatures: &[String], policy: &TrustFile, repo_id: &str, seen: Seen) -> bool {
        let named = signatures.iter().take(MAX_ORDER_SIGNATURES).flat_map(|one| policy.named_by(one.as_bytes()));
        let credit = Credit::by(None, named.map(str::to_owned));
        self.bound(repo_id, &self.about, seen).is_ok()
            && policy.authorise(&self.commit, &trust_file_path(), &credit).is_ok()
    }
}

impl TrustFile {
    /// The principals one of whom a detached signature may be of, by what it says itself. Where that takes more than reading
    /// it, all who sign in its way.
    fn named_by(&self, signature: &[u8]) -> Vec<&str> {
        let all = |signs: &dyn Fn(&Principal) -> bool| {
            let able = self.principals.iter().filter(|(_, principal)| signs(principal));
            able.map(|(name, _)| name.as_str()).collect()
        };
        if is_bundle(signature) {
            let is_read = signature.len() <= MAX_BUNDLE_BYTES;
            return all(&|principal| is_read && !principal.keyless.is_empty());
        }
        if signature.len() > MAX_ARMOR_BYTES {
            return Vec::new();
        }
        match ArmorFormat::of(signature) {
            Some(ArmorFormat::Ssh) => match claimed_keys(signature).as_slice() {
                [key] => self.holder(key).map(|(name, _)| name).into_iter().collect(),
                [_, _authority] => all(&|principal| self.can_be_certified(principal, None)),
                _ => Vec::new(),
            },
            Some(ArmorFormat::OpenPgp) => {
                let issuer = Signature::parse(signature).ok().map(|signature| signature.issuer());
                let certificates = issuer.iter().flat_map(|key| self.certificates_with(key));
                certificates.filter_map(|one| self.certificate_holder(&one)).map(|(name, _pin)| name).collect()
            }
            // Only commits and tags are signed like that.
            Some(ArmorFormat::X509) | None => Vec::new(),
        }
    }
}
