//! Entries of orders that people sign outside of Git.

use audit::{Durability, EntryKind, LogError, Receipt};
use jiff::Timestamp;
use plan::ApprovedPlan;
use serde_json::{Value, json};
use trust::{AuthorizedCommit, TrustRootSpec};

use super::{Journal, plan_body, plan_entry};
use crate::rollbacks::RolledBack;

impl Journal {
    /// People ordered a Sync back to a revision that it accepted earlier, and this plan is about to be applied. The body
    /// has what they signed, so that it can be verified again by anybody.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn rollback(
        &self,
        now: Timestamp,
        root: &TrustRootSpec,
        commit: &AuthorizedCommit,
        plan: &ApprovedPlan,
        order: &RolledBack,
        spec: &Value,
    ) -> Result<Receipt, LogError> {
        let mut entry = plan_entry(EntryKind::Rollback, now, plan);
        let subject = [
            ("gate", "sync".to_owned()),
            ("repoId", root.repo_id.clone()),
            ("payloadSha256", commit.payload_sha256().to_string()),
            ("over", order.over.to_string()),
            ("request", order.request.clone()),
            ("nonce", order.nonce.clone()),
            ("signers", order.signers.join(", ")),
        ];
        entry.subject.extend(subject.map(|(name, value)| (name.to_owned(), value)));
        let mut body = plan_body(plan);
        if let Value::Object(fields) = &mut body {
            fields.insert("spec".to_owned(), spec.clone());
            fields.insert("rollback".to_owned(), json!(order));
        }
        self.append_plan(&entry, &body, plan, Durability::Synced)
    }
}
