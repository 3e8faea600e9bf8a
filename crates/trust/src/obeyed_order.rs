//! An order that was obeyed, as whoever obeyed it keeps it: what was signed, and what it was judged by. Keys may be revoked
//! later, so whether it still stands is asked whenever what it put in force is judged again.

use jiff::Timestamp;

use crate::{
    CommitId, Credit, SignedOrder, TrustFile, approval::Withdrawn, detached::Keys, instants::Instants,
    signature_cache::Verifier, signed_order::Signers, trust_file::trust_file_path,
};

/// An order that was obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObeyedOrder {
    /// Its custom resource, as `namespace/name`.
    pub request: String,
    /// What was signed.
    pub order: SignedOrder,
    /// The armoured signatures.
    pub signatures: Vec<String>,
    /// The commit whose trust file said who may order it.
    pub judged_by: CommitId,
    /// When it was obeyed.
    pub since: Timestamp,
}

impl ObeyedOrder {
    /// Who stands for it by the trust file of then, without what is withdrawn since. Windows of keys are asked for the time
    /// at which it was obeyed, as those of commits below the floor are for that of the commit.
    pub(crate) fn signers(
        &self,
        policy: &TrustFile,
        verifier: Verifier<'_>,
        withdrawn: Option<Withdrawn<'_>>,
    ) -> Signers {
        let instants = Instants { committer: self.since, first_sight: None };
        let keys = Keys { policy, instants: &instants, verifier };
        self.order.signers_without(&self.signatures, keys, withdrawn)
    }

    /// Why an order to break the glass stands no longer, if it does not.
    pub(crate) fn lets_through(
        &self,
        policy: &TrustFile,
        verifier: Verifier<'_>,
        withdrawn: Option<Withdrawn<'_>>,
    ) -> Result<(), String> {
        let signers = self.signers(policy, verifier, withdrawn);
        let credit = Credit::by(None, signers.good.iter().cloned());
        let verdict = policy.authorise(&self.order.commit, &trust_file_path(), &credit);
        verdict.map_err(|finding| self.fallen(&signers, &finding.found))
    }

    /// Why it stands no longer: `lacks` is what the rules say of those who are left.
    pub(crate) fn fallen(&self, signers: &Signers, lacks: &str) -> String {
        let mut why = format!("order {} no longer stands: ", self.request);
        for reason in signers.told() {
            why += reason;
            why += "; ";
        }
        why + &lacks.replacen(" changed ", " signed for ", 1)
    }
}
