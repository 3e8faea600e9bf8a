//! Entries of orders that people sign outside of Git.

use std::collections::BTreeSet;

use audit::{Durability, EntryKind, LogError, Receipt};
use jiff::Timestamp;
use plan::ApprovedPlan;
use serde_json::{Value, json};
use trust::{AuthorizedCommit, CommitId, SigningFormats, TrustRootSpec};

use super::{Journal, codes, count_suppressed, entry, plan_body, plan_entry};
use crate::{
    break_glass::{OVER, Override},
    order_refusals::{Counted, CountedRefusals},
    rollbacks::RolledBack,
};

impl Journal {
    /// Orders of a namespace were refused that have no entries of their own.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn refused_orders(
        &self,
        now: Timestamp,
        namespace: &str,
        counted: &CountedRefusals,
    ) -> Result<Receipt, LogError> {
        let owner = format!("Namespace {namespace}");
        let mut entry = entry(EntryKind::Refuse, now, [("owner", owner.as_str())]);
        let codes: BTreeSet<&str> = counted.values().flat_map(|by_code| by_code.keys().copied()).collect();
        entry.codes = codes.into_iter().map(str::to_owned).collect();
        let suppressed = counted.values().flat_map(|by_code| by_code.values()).map(Counted::count).sum();
        count_suppressed(&mut entry, suppressed);
        let body = manifest::canonical_json(&json!({ "orders": counted }));
        self.append(&entry, Some(&body), None, Durability::Grouped)
    }

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

    /// People let a commit through that those who made it may not make: written before it is accepted. The body has what
    /// they signed, and what was waived.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn overridden(
        &self,
        now: Timestamp,
        source: &str,
        root: &TrustRootSpec,
        order: &Override,
    ) -> Result<Receipt, LogError> {
        let (commit, signers) = (order.commit.to_string(), order.signers.join(", "));
        let subject = [
            ("source", source),
            ("repoId", &root.repo_id),
            ("ref", &root.r#ref),
            ("commit", &commit),
            ("request", &order.request),
            ("signers", &signers),
            ("reason", &order.reason),
        ];
        let mut entry = entry(EntryKind::Override, now, subject);
        entry.codes = codes([&order.finding(&SigningFormats::default())]);
        entry.counts.insert("steps".to_owned(), order.steps.len() as u64);
        let body = json!({ "override": order });
        self.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Synced)
    }

    /// Nothing of a commit that an order let through is as it left it.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn override_over(
        &self,
        now: Timestamp,
        source: &str,
        root: &TrustRootSpec,
        commit: &CommitId,
        by: &CommitId,
    ) -> Result<Receipt, LogError> {
        let (commit, by) = (commit.to_string(), by.to_string());
        let subject = [
            ("source", source),
            ("repoId", &root.repo_id),
            ("ref", &root.r#ref),
            ("commit", &commit),
            ("by", &by),
            ("result", OVER),
        ];
        self.append(&entry(EntryKind::Override, now, subject), None, None, Durability::Synced)
    }
}
