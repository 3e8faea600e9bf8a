//! Orders to let a commit through that those who made it may not make: seen, judged, in force, over.
//!
//! What an order let through is in the log for ever, and with it every later judgement lets it through as well. It is shown
//! until nothing of it is as it was brought: those who may have made it anew, or approved it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use cluster::crd;
use git::{Approvals, Attested, Mirror};
use jiff::Timestamp;
use manifest::{Digest, Finding, Subject, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trust::{
    BreakGlass, CommitId, FETCH_APPROVALS, History, Judgement, LetThrough, ObeyedOrder, PUSH_APPROVALS, Seen,
    SignedOrder, SigningFormats, TrustCode, TrustRootSpec, Verifiers, Waivers, judge_break_glass, still_waived,
};

use crate::{
    break_glass_orders::{Answer, BreakGlassState, any_fresh, tell_crowded},
    code::ControllerCode,
    conditions::Verdict,
    journal::Journal,
    resources::finding,
    source_gate::{SourceJob, keyless},
    source_state::SourceState,
    state::{Dirty, Key, State},
};

/// `result` of the entry that says that nothing of an override is left.
pub(crate) const OVER: &str = "over";
/// The condition of a GitSource.
const CONDITION: &str = "BreakGlass";
/// How many files are told in one message.
const TOLD: usize = 5;

/// A step that was let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OverriddenStep {
    /// The step.
    pub commit: CommitId,
    /// What it followed.
    pub predecessor: CommitId,
    /// Code of the refusal that was waived.
    pub code: String,
    /// What was found.
    pub found: String,
}

/// A commit that an order let through, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Override {
    /// The BreakGlass, as `namespace/name`.
    pub request: String,
    /// The head that was let through.
    pub commit: CommitId,
    /// What was waived.
    pub steps: Vec<OverriddenStep>,
    /// Who signed it.
    pub signers: Vec<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// The commit whose trust file said who may order it.
    pub judged_by: CommitId,
    /// What was signed.
    pub order: SignedOrder,
    /// The signatures.
    pub signatures: Vec<String>,
}

/// What orders let through in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// What is still as they left it, oldest first.
    pub active: Vec<Override>,
    /// Every step that was ever let through, with the order: it is judged again whenever the step is.
    pub let_through: BTreeMap<CommitId, LetThrough>,
}

/// An order about a source, for the gate.
#[derive(Debug, Clone)]
pub(crate) struct GateOrder {
    /// The BreakGlass.
    pub key: Key,
    /// What was signed.
    pub order: SignedOrder,
    /// The signatures.
    pub signatures: Vec<String>,
    /// When it was seen first.
    pub first_seen: Timestamp,
}

/// What the gate says of an order.
#[derive(Debug)]
pub(crate) struct OrderAnswer {
    key: Key,
    verdict: Result<(), Finding>,
}

/// A good order.
pub(crate) struct GoodOrder {
    obeyed: Arc<ObeyedOrder>,
    signers: Vec<String>,
}

impl GoodOrder {
    /// As a judgement takes it.
    pub(crate) fn obeyed(&self) -> Arc<ObeyedOrder> {
        Arc::clone(&self.obeyed)
    }
}

impl Override {
    /// What an order let through; nothing if the head was accepted without it.
    pub(crate) fn of(good: GoodOrder, judgement: &Judgement) -> Option<Self> {
        let steps: Vec<OverriddenStep> = judgement
            .waived()
            .iter()
            .map(|step| OverriddenStep {
                commit: step.commit,
                predecessor: step.predecessor,
                code: step.finding.code.code.to_owned(),
                found: step.finding.found.to_string(),
            })
            .collect();
        let GoodOrder { obeyed, signers } = good;
        let ObeyedOrder { request, order, signatures, judged_by, since } = &*obeyed;
        (!steps.is_empty()).then(|| Self {
            request: request.clone(),
            commit: order.commit,
            steps,
            signers,
            reason: order.reason.clone(),
            since: *since,
            judged_by: *judged_by,
            order: order.clone(),
            signatures: signatures.clone(),
        })
    }

    /// As a judgement takes it.
    fn obeyed(&self) -> Arc<ObeyedOrder> {
        Arc::new(ObeyedOrder {
            request: self.request.clone(),
            order: self.order.clone(),
            signatures: self.signatures.clone(),
            judged_by: self.judged_by,
            since: self.since,
        })
    }

    /// W701. `formats` are those of whoever may stand for something.
    pub(crate) fn finding(&self, formats: &SigningFormats) -> Finding {
        let waived = self.steps.iter().take(TOLD).map(|step| format!("{}: {}", step.code, step.found));
        let signers = self.signers.join(", ");
        Finding {
            code: TrustCode::W701.entry(),
            subject: Subject::Commit(self.commit.to_string()),
            rule: None,
            found: format!(
                "let through by {signers} ({}) although {}",
                self.reason,
                waived.collect::<Vec<_>>().join("; ")
            )
            .into(),
            needed: "all that it changed made anew, or approved, by those who may".into(),
            fix: formats
                .writ(
                    &format!("{FETCH_APPROVALS} && writ trust approve {}", self.commit),
                    &format!(" && {PUSH_APPROVALS}"),
                )
                .into(),
        }
    }
}

impl Overrides {
    /// For the judgement of what the log has as accepted.
    pub(crate) fn waivers(&self) -> Waivers {
        Waivers { before: self.let_through.clone(), head: None }
    }

    /// Another one.
    pub(crate) fn add(&mut self, order: Override) {
        let by = order.obeyed();
        let through = |step: &OverriddenStep| LetThrough { predecessor: step.predecessor, by: Arc::clone(&by) };
        self.let_through.extend(order.steps.iter().map(|step| (step.commit, through(step))));
        self.active.retain(|known| known.commit != order.commit);
        self.active.push(order);
    }

    /// What the order of this name let through: another order may have had the name before, about another commit.
    pub(crate) fn by(&self, key: &Key, commit: &str) -> Option<&Override> {
        let request = key.to_string();
        self.active.iter().find(|order| order.request == request && order.commit.to_string() == commit)
    }

    /// Whether the order of this name let this commit through, and that is over.
    pub(crate) fn is_over(&self, key: &Key, commit: &str) -> bool {
        let request = key.to_string();
        let let_through = |(step, order): (&CommitId, &LetThrough)| {
            step.to_string() == commit && order.by.request == request && order.by.order.commit == *step
        };
        self.by(key, commit).is_none() && self.let_through.iter().any(let_through)
    }

    /// What the condition of the GitSource says; nothing if it never said anything.
    pub(crate) fn condition(&self, known: &[crd::Condition], formats: &SigningFormats) -> Option<Verdict> {
        let shown = known.iter().any(|condition| condition.kind == CONDITION);
        match self.active.last() {
            Some(order) => {
                let finding = order.finding(formats);
                let more = self.active.len().saturating_sub(1);
                let rest = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                Some(Verdict::yes(CONDITION, finding.code.reason, format!("{finding}{rest}")))
            }
            None => shown.then(|| Verdict::no(CONDITION, "Over", "everything was made anew by those who may")),
        }
    }
}

/// Digest of all orders: others are judged anew.
pub(crate) fn digest(orders: &[GateOrder]) -> Digest {
    let all: Vec<Value> =
        orders.iter().map(|order| json!([order.key.to_string(), order.order.statement(), order.signatures])).collect();
    Digest::of(&canonical_json(&Value::Array(all)))
}

/// The first good order about this head.
pub(crate) fn good(job: &SourceJob, history: &dyn History, head: &CommitId, now: Timestamp) -> Option<GoodOrder> {
    job.orders.iter().find_map(|order| {
        let (signers, judged_by) = judge(job, history, order, head, now).ok()?;
        let GateOrder { key, order, signatures, .. } = order.clone();
        let obeyed = ObeyedOrder { request: key.to_string(), order, signatures, judged_by, since: now };
        Some(GoodOrder { obeyed: Arc::new(obeyed), signers })
    })
}

/// What is to be said of each order.
pub(crate) fn answers(job: &SourceJob, head: &CommitId, now: Timestamp) -> Vec<OrderAnswer> {
    if job.orders.is_empty() {
        return Vec::new();
    }
    let opened = Mirror::open(&job.mirror).and_then(|mirror| Ok((mirror, Approvals::open(&job.mirror)?)));
    let answer = |order: &GateOrder| match &opened {
        Ok((mirror, approvals)) => {
            judge(job, &Attested { objects: mirror.objects(), approvals }, order, head, now).map(drop)
        }
        Err(error) => Err(unusable(&error.to_string())),
    };
    job.orders.iter().map(|order| OrderAnswer { key: order.key.clone(), verdict: answer(order) }).collect()
}

fn judge(
    job: &SourceJob,
    history: &dyn History,
    order: &GateOrder,
    head: &CommitId,
    now: Timestamp,
) -> Result<(Vec<String>, CommitId), Finding> {
    let Some(accepted) = &job.floors.log else {
        return Err(order.order.invalid("nothing was accepted yet".to_owned(), "a trust file that was accepted"));
    };
    let asked = BreakGlass {
        order: &order.order,
        signatures: &order.signatures,
        source: &order.order.about,
        accepted: &accepted.id(),
        head,
        seen: Seen { first: order.first_seen, now },
    };
    let keyless = keyless(&job.root);
    let with = Verifiers { known: Some(&job.signatures), keyless: keyless.as_ref().map(|one| one as _) };
    let signers = judge_break_glass(history, &job.root, &asked, with)?;
    Ok((signers.into_iter().collect(), accepted.id()))
}

fn unusable(why: &str) -> Finding {
    finding(ControllerCode::A143, "BreakGlass", why, "a verdict")
}

/// Which of what orders let through is over now that this commit is accepted. It is in the log then.
pub(crate) fn over(
    job: &SourceJob,
    journal: &Journal,
    source: &Key,
    accepted: CommitId,
    now: Timestamp,
) -> Vec<CommitId> {
    let active = &job.overrides.active;
    if active.is_empty() {
        return Vec::new();
    }
    let over = active.iter().filter(|order| match is_over(job, order, &accepted, now) {
        Ok(is_over) => is_over,
        Err(finding) => {
            tracing::warn!(source = %source, commit = %order.commit, "whether an override is over cannot be told: {finding}");
            false
        }
    });
    let written = over.filter(|order| {
        let entry = journal.override_over(now, &source.to_string(), &job.root, &order.commit, &accepted);
        // It stays active, and is asked again with the next commit.
        entry.map_err(|error| tracing::error!(error = %error, "the end of an override cannot be written")).is_ok()
    });
    written.map(|order| order.commit).collect()
}

fn is_over(job: &SourceJob, order: &Override, accepted: &CommitId, now: Timestamp) -> Result<bool, Finding> {
    let mirror = Mirror::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let approvals = Approvals::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let history = Attested { objects: mirror.objects(), approvals: &approvals };
    let keyless = keyless(&job.root);
    let with = Verifiers { known: Some(&job.signatures), keyless: keyless.as_ref().map(|one| one as _) };
    let waivers = job.overrides.waivers();
    for step in &order.steps {
        let step = (&step.predecessor, &step.commit);
        if !still_waived(&history, &job.root, step, accepted, now, with, &waivers)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl State {
    /// A commit was let through, and is in the log.
    pub(crate) fn overridden(&mut self, key: &Key, by_order: Option<Box<Override>>, root: &TrustRootSpec) {
        let Some(order) = by_order else { return };
        let formats = self.sources.get(key).map(SourceState::formats).unwrap_or_default();
        let finding = order.finding(&formats);
        tracing::warn!(source = %key, commit = %order.commit, request = order.request, code = finding.code.code, reason = finding.code.reason, "{finding}");
        self.metrics.decided("override", finding.code.reason);
        self.announce_source(key, std::slice::from_ref(&finding));
        for other in self.of_repository(key, root) {
            if let Some(source) = self.sources.get_mut(&other) {
                source.overrides.add((*order).clone());
            }
            self.dirty.insert(Dirty::Source(other));
        }
    }

    /// What the gate said of orders, and what is over.
    pub(crate) fn orders_answered(
        &mut self,
        key: &Key,
        answers: Vec<OrderAnswer>,
        over: &[CommitId],
        root: &TrustRootSpec,
    ) {
        let now = Timestamp::now();
        let is_fresh =
            |answer: &OrderAnswer| self.break_glasses.get(&answer.key).is_some_and(BreakGlassState::is_fresh);
        let is_progress = answers.iter().any(is_fresh);
        for OrderAnswer { key, verdict } in answers {
            match verdict {
                Ok(()) => {
                    if let Some(request) = self.break_glasses.get_mut(&key) {
                        request.answer = Answer::Good;
                    }
                }
                Err(finding) => self.break_glass_refused(&key, finding, now),
            }
            self.dirty.insert(Dirty::BreakGlass(key));
        }
        let crowded = tell_crowded(&mut self.break_glasses, key, now);
        self.dirty.extend(crowded.into_iter().map(Dirty::BreakGlass));
        // Those that wait are not put off to the next poll.
        let waits = is_progress && any_fresh(&self.break_glasses, key);
        if let Some(source) = self.sources.get_mut(key).filter(|_source| waits) {
            source.hurry(Instant::now());
        }
        if over.is_empty() {
            return;
        }
        tracing::info!(source = %key, "what an order let through was made anew by those who may");
        for other in self.of_repository(key, root) {
            if let Some(source) = self.sources.get_mut(&other) {
                source.overrides.active.retain(|order| !over.contains(&order.commit));
            }
            self.dirty.insert(Dirty::Source(other));
        }
        self.dirty.extend(self.break_glasses.keys().cloned().map(Dirty::BreakGlass));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_anew_is_over_for_its_order_alone() {
        let key = Key { namespace: "shop".to_owned(), name: "urgent".to_owned() };
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        let step =
            OverriddenStep { commit, predecessor: commit, code: "W302".to_owned(), found: "not hers".to_owned() };
        let mut overrides = Overrides::default();
        overrides.add(Override { steps: vec![step], ..an_override(&key, commit) });
        let is_over = |overrides: &Overrides, name: &str, commit: &str| {
            overrides.is_over(&Key { name: name.to_owned(), ..key.clone() }, commit)
        };
        let (this, other) = (commit.to_string(), "b".repeat(40));
        assert!(!is_over(&overrides, "urgent", &this));
        overrides.active.clear();
        assert!(is_over(&overrides, "urgent", &this));
        assert!(!is_over(&overrides, "urgent", &other) && !is_over(&overrides, "another", &this));
    }

    fn an_override(key: &Key, commit: CommitId) -> Override {
        let since = Timestamp::now();
        Override {
            request: key.to_string(),
            commit,
            steps: Vec::new(),
            signers: Vec::new(),
            reason: String::new(),
            since,
            judged_by: commit,
            order: SignedOrder {
                kind: trust::OrderKind::BreakGlass,
                repo_id: String::new(),
                about: String::new(),
                commit,
                payload_sha256: Digest::of(b""),
                reason: String::new(),
                not_after: since,
            },
            signatures: Vec::new(),
        }
    }

    #[test]
    fn an_order_of_the_same_name_about_another_commit_did_nothing() {
        let key = Key { namespace: "shop".to_owned(), name: "urgent".to_owned() };
        let commits = ["a", "b"].map(|digit| digit.repeat(40));
        let mut overrides = Overrides::default();
        overrides.add(an_override(&key, commits[0].parse().unwrap()));
        assert!(overrides.by(&key, &commits[0]).is_some() && overrides.by(&key, &commits[1]).is_none());
        assert!(overrides.by(&Key { name: "other".to_owned(), ..key }, &commits[0]).is_none());
    }
}
