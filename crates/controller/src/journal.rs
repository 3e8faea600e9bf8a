//! What goes into the audit log: every decision before it is acted on, every outcome after.
//!
//! An identical refusal is logged once; of very many reverts of one object, or holds of one owner, some have
//! an entry and the rest is counted ([`crate::revert_counts`], [`crate::holds`]).

mod attribution;
mod drift;
mod orders;

pub(crate) use drift::Over;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use audit::{Durability, Entry, EntryKind, Log, LogError, Receipt};
use jiff::Timestamp;
use manifest::{Digest, Finding};
use plan::{ApprovedPlan, DriftFact, DriftReport, PlanOrigin, SyncRef, VerdictInputs};
use serde_json::{Value, json};
use trust::{AuthorizedCommit, TrustMode, TrustRootSpec};

use crate::{drift_history, logged_modes, refusals::Refused, released::Released, removal::Dropped};

/// The most bytes of differences in one body: half of what the log takes, the other half for 10,000
/// objects by name and digest at 400 bytes each. Beyond it fields are counted, not listed.
const MAX_DIFFERENCE_BYTES: usize = 4 << 20;
/// The most findings written into one body: as many as a policy judgement gives.
const MAX_LOGGED_FINDINGS: usize = 200;

/// `result` of the outcome that says that a Sync is gone from the cluster.
pub(crate) const ENDED: &str = "ended";

/// `result` of the hold that says that the advance before it was not acted on.
pub(crate) const SUPERSEDED: &str = "superseded";

/// Writes the log. Cheap to clone; blocking.
#[derive(Clone)]
pub(crate) struct Journal {
    log: Arc<Log>,
    public_key: Arc<str>,
    /// What its entries said of drift, and nobody took yet.
    told: Arc<Mutex<Vec<DriftFact>>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// How one roll-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolloutResult {
    /// Every change was made: the revision is applied.
    Applied,
    /// Some changes failed; they are tried again.
    Partial,
}

impl RolloutResult {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partial => "partial",
        }
    }
}

/// A head that the source gate accepted.
#[derive(Debug)]
pub(crate) struct AcceptedHead<'a> {
    /// `namespace/name` of the GitSource.
    pub source: &'a str,
    /// The TrustRoot that it was accepted under.
    pub root: &'a TrustRootSpec,
    /// The one of the acceptance before it, if there was any.
    pub root_before: Option<&'a TrustRootSpec>,
    /// The commit.
    pub commit: &'a AuthorizedCommit,
    /// The tag by which it was released, if the tracked ref is one.
    pub released: Option<&'a Released>,
    /// Digest of its policies.
    pub policies: Digest,
    /// Spec and TrustRoot: after a restart they stay in force while the ones in the cluster cannot be used.
    pub obeyed: &'a Value,
}

impl Journal {
    /// A journal over an open log with this public key.
    #[must_use]
    pub(crate) fn new(log: Arc<Log>, public_key: &str) -> Self {
        Self { log, public_key: Arc::from(public_key), told: Arc::default() }
    }

    /// The log's public key in its text form.
    #[must_use]
    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The log itself.
    #[must_use]
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The controller started.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn boot(&self, now: Timestamp, instance: &str, version: &str) -> Result<Receipt, LogError> {
        let entry = entry(EntryKind::Boot, now, [("instance", instance), ("version", version)]);
        self.append(&entry, None, None, Durability::Synced)
    }

    /// The source gate accepted a head.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn verified(&self, now: Timestamp, accepted: &AcceptedHead<'_>) -> Result<Receipt, LogError> {
        let root = accepted.root;
        let subject = [("gate", "source"), ("source", accepted.source), ("ref", &root.r#ref)];
        let mut entry = entry(EntryKind::Advance, now, subject);
        describe_commit(&mut entry, root, accepted.commit);
        if let Some(Released { name, id, by }) = accepted.released {
            let tag = [("tag", format!("{name} {id}")), ("releasedBy", by.clone())];
            entry.subject.extend(tag.map(|(field, value)| (field.to_owned(), value)));
        }
        entry.digests.insert("policy".to_owned(), accepted.policies.to_string());
        if let Some(before) = accepted.root_before.filter(|before| *before != root) {
            let digest = |root: &TrustRootSpec| Digest::of(&root.canonical()).to_string();
            entry.digests.insert("trustRoot".to_owned(), digest(root));
            entry.digests.insert("trustRootBefore".to_owned(), digest(before));
        }
        self.append(&entry, Some(&manifest::canonical_json(accepted.obeyed)), None, Durability::Synced)
    }

    /// These Syncs were removed by accepted commits, and what they applied is not gone yet: the newest
    /// entry of this form says it all.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn removals(&self, now: Timestamp, removals: &BTreeMap<SyncRef, Dropped>) -> Result<Receipt, LogError> {
        let mut entry = entry(EntryKind::Prune, now, [("removals", "unfinished")]);
        entry.counts.insert("syncs".to_owned(), removals.len() as u64);
        let body = json!({ "removals": removals.iter().collect::<Vec<_>>() });
        self.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Synced)
    }

    /// The sync gate accepted a revision, or a Sync was removed, and this plan is about to be applied.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn advance(
        &self,
        now: Timestamp,
        root: &TrustRootSpec,
        commit: &AuthorizedCommit,
        plan: &ApprovedPlan,
        spec: &Value,
    ) -> Result<Receipt, LogError> {
        // On the last reserve only what was accepted before is kept up.
        self.log.room()?;
        let kind = if plan.origin() == PlanOrigin::Removal { EntryKind::Prune } else { EntryKind::Advance };
        let mut entry = plan_entry(kind, now, plan);
        entry.subject.insert("gate".to_owned(), "sync".to_owned());
        describe_commit(&mut entry, root, commit);
        let mut body = plan_body(plan);
        if let Value::Object(fields) = &mut body {
            fields.insert("spec".to_owned(), spec.clone());
        }
        self.append_plan(&entry, &body, plan, Durability::Synced)
    }

    /// A head or candidate was refused. `owner` is the Sync or GitSource, as `kind namespace/name`.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn refuse(&self, now: Timestamp, owner: &str, refusal: &Refused<'_>) -> Result<Receipt, LogError> {
        let mut entry = entry(EntryKind::Refuse, now, [("owner", owner), ("commit", refusal.revision)]);
        entry.codes = codes(refusal.findings);
        entry.counts.insert("findings".to_owned(), refusal.findings.len() as u64);
        if let Some(inputs) = refusal.inputs {
            describe_inputs(&mut entry, inputs);
        }
        let body = json!({ "findings": refusal.findings.iter().take(MAX_LOGGED_FINDINGS).map(finding_json).collect::<Vec<_>>() });
        self.append(&entry, Some(&manifest::canonical_json(&body)), None, Durability::Synced)
    }

    /// What came of a roll-out.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn outcome(
        &self,
        now: Timestamp,
        sync: &SyncRef,
        revision: &str,
        result: RolloutResult,
        failures: &[Finding],
    ) -> Result<Receipt, LogError> {
        let name = sync.to_string();
        let mut entry =
            entry(EntryKind::Outcome, now, [("sync", name.as_str()), ("commit", revision), ("result", result.name())]);
        entry.codes = codes(failures);
        entry.counts.insert("failed".to_owned(), failures.len() as u64);
        let body =
            json!({ "failures": failures.iter().take(MAX_LOGGED_FINDINGS).map(finding_json).collect::<Vec<_>>() });
        let body = (!failures.is_empty()).then(|| manifest::canonical_json(&body));
        self.append(&entry, body.as_deref(), None, Durability::Grouped)
    }

    /// Orders of `owner` (`kind namespace/name`) are not obeyed, or nothing of it advances, for this reason.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn hold(
        &self,
        now: Timestamp,
        owner: &str,
        finding: &Finding,
        suppressed: u64,
    ) -> Result<Receipt, LogError> {
        let mut entry = entry(EntryKind::Hold, now, [("owner", owner)]);
        entry.codes = codes([finding]);
        count_suppressed(&mut entry, suppressed);
        self.append(&entry, Some(&hold_body(finding)), None, Durability::Grouped)
    }

    /// That ended.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn release(&self, now: Timestamp, owner: &str, suppressed: u64) -> Result<Receipt, LogError> {
        let mut entry = entry(EntryKind::Release, now, [("owner", owner)]);
        count_suppressed(&mut entry, suppressed);
        self.append(&entry, None, None, Durability::Grouped)
    }

    /// A TrustRoot is in another mode than the log has.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn mode(&self, now: Timestamp, root: &str, mode: TrustMode) -> Result<Receipt, LogError> {
        let subject = [("trustRoot", root), ("mode", logged_modes::name(mode))];
        self.append(&entry(EntryKind::Alert, now, subject), None, None, Durability::Grouped)
    }

    /// Trust or policy moved on between a verdict and its entry: nothing was sent. On disk when this
    /// returns, because a restart takes the newest advance for accepted otherwise.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn superseded(&self, now: Timestamp, sync: &SyncRef, revision: &str) -> Result<Receipt, LogError> {
        let name = sync.to_string();
        let subject = [("sync", name.as_str()), ("commit", revision), ("result", SUPERSEDED)];
        self.append(&entry(EntryKind::Hold, now, subject), None, None, Durability::Synced)
    }

    /// A Sync is gone from the cluster: one of its name that comes later begins anew.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn ended(&self, now: Timestamp, sync: &SyncRef) -> Result<Receipt, LogError> {
        let name = sync.to_string();
        let entry = entry(EntryKind::Outcome, now, [("sync", name.as_str()), ("result", ENDED)]);
        self.append(&entry, None, None, Durability::Grouped)
    }

    /// Writes an entry. What it says of drift is what a later process reads in it.
    fn append(
        &self,
        entry: &Entry,
        body: Option<&[u8]>,
        plan: Option<[u8; 32]>,
        durability: Durability,
    ) -> Result<Receipt, LogError> {
        let receipt = self.log.append(entry, body, plan, durability)?;
        match plan::facts(&drift_history::view(receipt.index(), entry), body) {
            Ok(facts) => self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(facts),
            Err(error) => tracing::error!(%error, "an entry about drift that was just written cannot be read"),
        }
        Ok(receipt)
    }

    /// What entries said of drift since it was asked last.
    pub(crate) fn take_told(&self) -> Vec<DriftFact> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn append_plan(
        &self,
        entry: &Entry,
        body: &Value,
        plan: &ApprovedPlan,
        durability: Durability,
    ) -> Result<Receipt, LogError> {
        self.append(entry, Some(&manifest::canonical_json(body)), Some(*plan.digest().as_bytes()), durability)
    }
}

fn entry<'a>(kind: EntryKind, now: Timestamp, subject: impl IntoIterator<Item = (&'a str, &'a str)>) -> Entry {
    Entry {
        kind,
        time: now.to_string(),
        subject: subject.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        codes: Vec::new(),
        counts: BTreeMap::new(),
        digests: BTreeMap::new(),
    }
}

/// What came before this entry and has none of its own.
fn count_suppressed(entry: &mut Entry, suppressed: u64) {
    if suppressed > 0 {
        entry.counts.insert("suppressed".to_owned(), suppressed);
    }
}

/// The fields by which a later process proves what was accepted ([`AuthorizedCommit::resume`]).
fn describe_commit(entry: &mut Entry, root: &TrustRootSpec, commit: &AuthorizedCommit) {
    let fields = commit.log_fields(root);
    entry.subject.extend(fields.subject);
    entry.counts.extend(fields.counts);
    entry.digests.extend(fields.digests);
}

fn describe_inputs(entry: &mut Entry, inputs: &VerdictInputs) {
    entry.digests.insert("trust".to_owned(), inputs.trust_digest.to_string());
    entry.digests.insert("policy".to_owned(), inputs.policy_digest.to_string());
    entry.subject.insert("fidelity".to_owned(), inputs.fidelity.name().to_owned());
    if let Some(floor) = &inputs.floor {
        entry.subject.insert("floor".to_owned(), floor.to_string());
    }
}

fn plan_entry(kind: EntryKind, now: Timestamp, plan: &ApprovedPlan) -> Entry {
    let (name, revision) = (plan.sync().to_string(), plan.revision().to_string());
    let mut entry =
        entry(kind, now, [("sync", name.as_str()), ("commit", revision.as_str()), ("origin", plan.origin().name())]);
    if let [change] = plan.changes() {
        entry.subject.insert("object".to_owned(), change.reference.to_string());
    }
    describe_inputs(&mut entry, plan.inputs());
    let counts = plan.counts();
    let named = [
        ("created", counts.created),
        ("configured", counts.configured),
        ("reverted", counts.reverted),
        ("pruned", counts.pruned),
        ("unchanged", counts.unchanged),
        ("waiting", counts.waiting),
    ];
    entry
        .counts
        .extend(named.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)));
    entry
}

fn plan_body(plan: &ApprovedPlan) -> Value {
    let mut budget = MAX_DIFFERENCE_BYTES;
    let changes: Vec<Value> = plan
        .changes()
        .iter()
        .map(|change| {
            let size: usize = change.differences.iter().map(difference_bytes).sum();
            let shown = if size <= budget { change.differences.as_slice() } else { &[] };
            budget -= shown.iter().map(difference_bytes).sum::<usize>();
            let report = plan.reports().iter().find(|report| report.reference == change.reference);
            let mut json = json!({
                "object": change.reference.to_string(),
                "action": change.action.name(),
                "wave": change.wave.name(),
                // The digest of a Secret's body would tell whether a guess is right.
                "sha256": if change.sensitive { None } else { change.digest },
                "differences": shown.iter().map(difference_json).collect::<Vec<_>>(),
                "fields": change.differences.len(),
            });
            report.inspect(|report| add_author(&mut json, report));
            json
        })
        .collect();
    json!({ "changes": changes })
}

fn difference_bytes(difference: &plan::FieldDiff) -> usize {
    let text = |value: &Option<String>| value.as_ref().map_or(0, String::len);
    // Quotes, names of the fields, escapes: at most as much again.
    2 * (difference.path.len() + text(&difference.before) + text(&difference.after)) + 96
}

fn difference_json(difference: &plan::FieldDiff) -> Value {
    json!({
        "path": difference.path,
        "before": difference.before,
        "after": difference.after,
        "class": difference.class.name(),
    })
}

/// Who did it, if that is looked for.
fn add_author(json: &mut Value, report: &DriftReport) {
    if let Some(fields) = json.as_object_mut().filter(|_| !report.by.is_empty()) {
        fields.insert("by".to_owned(), json!(report.by));
    }
}

/// The body of a hold.
pub(crate) fn hold_body(finding: &Finding) -> Vec<u8> {
    manifest::canonical_json(&json!({ "findings": [finding_json(finding)] }))
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code.code,
        "reason": finding.code.reason,
        "subject": finding.subject.to_string(),
        "rule": finding.rule,
        "found": finding.found,
        "needed": finding.needed,
        "fix": finding.fix,
    })
}

fn codes<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    let codes: std::collections::BTreeSet<&str> = findings.into_iter().map(|finding| finding.code.code).collect();
    codes.into_iter().map(str::to_owned).collect()
}
