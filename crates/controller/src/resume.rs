//! After a restart: what the log proves was accepted, and nothing else, is believed. Blocking.

mod break_glass;
mod in_force;
mod rollback;
mod since_applied;

use std::{collections::BTreeMap, sync::Arc};

use audit::{EntryKind, Indexed, Log};
use cluster::{ClusterCode, Current, crd::GitSourceSpec};
use git::Mirror;
use jiff::Timestamp;
use manifest::{Digest, Finding, Subject};
use plan::{DesiredState, SyncRef, SyncSpec};
use serde::Deserialize;
use trust::{AuthorizedCommit, CommitId, LogKey, LogProof, TrustCode, TrustRootSpec};

use crate::{
    archives::Stores,
    break_glass::Overrides,
    floor::{self, Owner, disputed, lost},
    journal::{ENDED, Journal, SUPERSEDED},
    logged_refusal::refusal,
    removal::Dropped,
    rollbacks::RolledBack,
    source_gate::Verified,
    state::{Held, Key},
    sync_gate::{self, SyncJob},
};

use since_applied::{Since, since_applied};

pub(crate) use in_force::{Under, pin, read_floor};
pub(crate) use rollback::{RollbackEntry, accepted_before, rollback_with};

/// What the log knows of a source.
#[derive(Debug, Default)]
pub(crate) struct ResumedSource {
    /// The verified commit; the start of every later judgement.
    pub floor: Option<AuthorizedCommit>,
    /// The TrustRoot that it was accepted under.
    pub root: Option<TrustRootSpec>,
    /// When it was accepted.
    pub since: Option<Timestamp>,
    /// What it puts in force; `None` if the mirror has lost it.
    pub verified: Option<Verified>,
    /// Why it could not be read from the mirror.
    pub problem: Option<Finding>,
    /// The head that was refused last, if nothing was accepted since.
    pub refused: Option<Held>,
    /// What orders let through.
    pub overrides: Overrides,
}

/// What was obeyed when a source was accepted last: the body of its newest advance.
#[derive(Debug, Deserialize)]
pub(crate) struct ObeyedSource {
    /// The GitSource's spec.
    pub spec: GitSourceSpec,
    /// The TrustRoot's spec.
    #[serde(rename = "trustRoot")]
    pub root: TrustRootSpec,
}

/// What the log knows of a Sync.
#[derive(Debug, Default)]
pub(crate) struct ResumedSync {
    /// The accepted revision, rendered.
    pub accepted: Option<Arc<DesiredState>>,
    /// The applied revision, rendered.
    pub applied: Option<Arc<DesiredState>>,
    /// What was accepted between the two and not completed: it may be there in part.
    pub partial: Vec<Arc<DesiredState>>,
    /// The accepted revision, if its roll-out was begun and not completed, and met nobody else's object.
    pub interrupted: Option<Arc<DesiredState>>,
    /// The order by which the accepted revision is an earlier one.
    pub rolled_back: Option<RolledBack>,
    /// Why some of their objects do not render any more: those are neither healed nor pruned.
    pub missing: Vec<Finding>,
    /// Digest of the spec that it was accepted with.
    pub spec: Option<Digest>,
    /// Plan and log entry of that acceptance: the same plan needs no second entry.
    pub advance: Option<(Digest, u64)>,
    /// What trust and policy said then.
    pub current: Option<Current>,
    /// The candidate that was refused last, if nothing was accepted since.
    pub refused: Option<Held>,
    /// Name of the TrustRoot, whether it and the GitSource are there or not.
    pub root_name: Option<String>,
}

/// What a command says where the name of the TrustRoot belongs and it is not known.
const NO_ROOT: &str = "NAME";

/// What is asked about a Sync.
#[derive(Debug)]
pub(crate) struct SyncQuestion {
    /// The TrustRoot; `None` if neither it nor its GitSource is there.
    pub root: Option<Arc<TrustRootSpec>>,
    /// Name of that TrustRoot, as far as it is known.
    pub root_name: Option<String>,
    /// The GitSource that the Sync names.
    pub source: Key,
    /// The accepted revision that the Sync's status shows.
    pub known: Option<String>,
    /// The verified revision; `None` without a GitSource.
    pub verified: Option<CommitId>,
}

/// Reads what the log knows of a source: the floor is that of the repository, whatever source it was
/// reached by. `known` is the accepted revision that the TrustRoot's status shows: a log that knows
/// none although one is shown was lost.
///
/// # Errors
/// W407 when accepted state was lost; a proof that does not hold.
pub(crate) fn source(
    journal: &Journal,
    source: &Key,
    under: Under<'_>,
    stores: Stores<'_>,
    known: Option<&str>,
    root_name: &str,
    now: Timestamp,
) -> Result<ResumedSource, Finding> {
    let root = under.root;
    let Some(found) = newest(journal, root)? else {
        return match (known, root.resume_from) {
            (Some(revision), None) => {
                Err(lost(Owner { name: &format!("GitSource {source}"), root: root_name }, revision))
            }
            _ => Ok(ResumedSource::default()),
        };
    };
    let floor = prove(journal, &found, root)?;
    let obeyed_under = obeyed(journal, &found)?.map(|obeyed| obeyed.root);
    let overrides = break_glass::overrides(journal, root)?;
    // Without a mirror the floor stands all the same; the history is fetched again.
    let (verified, problem) = match read_floor(stores, under, &floor, &overrides, now) {
        Ok(verified) => (Some(verified), None),
        Err(finding) => (None, Some(finding)),
    };
    let after = newest_of_source(journal, source)?.map(|found| found.index);
    let refused = refusal(journal.log(), &format!("GitSource {source}"), after);
    let since = found.entry.time.parse().ok();
    Ok(ResumedSource { floor: Some(floor), root: obeyed_under, since, verified, problem, refused, overrides })
}

/// The Syncs that accepted commits removed and whose objects are not gone yet.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn removals(journal: &Journal) -> Result<BTreeMap<SyncRef, Dropped>, Finding> {
    /// The body of the entry.
    #[derive(Deserialize)]
    struct Body {
        removals: Vec<(SyncRef, Dropped)>,
    }
    let Some(found) = latest(journal.log(), EntryKind::Prune, &[("removals", "unfinished")])? else {
        return Ok(BTreeMap::new());
    };
    let Some(body) = body(journal, &found)? else { return Ok(BTreeMap::new()) };
    let body: Body = serde_json::from_slice(&body).map_err(|error| unreadable(&error.to_string()))?;
    Ok(body.removals.into_iter().collect())
}

/// Whether the log knows of no acceptance at all.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn never_advanced(journal: &Journal) -> Result<bool, Finding> {
    Ok(latest(journal.log(), EntryKind::Advance, &[])?.is_none())
}

/// The commit that the log has as the floor of the TrustRoot's repository and ref.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn logged_floor(journal: &Journal, root: &TrustRootSpec) -> Result<Option<String>, Finding> {
    Ok(newest(journal, root)?.and_then(|found| found.entry.subject.get("commit").cloned()))
}

/// The TrustRoot that the floor of its repository and ref was accepted under.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn root_of_floor(journal: &Journal, root: &TrustRootSpec) -> Result<Option<TrustRootSpec>, Finding> {
    let Some(found) = newest(journal, root)? else { return Ok(None) };
    Ok(obeyed(journal, &found)?.map(|obeyed| obeyed.root))
}

/// What was obeyed when this source was accepted last: it stays in force while what is in the cluster
/// is nobody's order.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn obeyed_source(journal: &Journal, source: &Key) -> Result<Option<ObeyedSource>, Finding> {
    let Some(found) = newest_of_source(journal, source)? else { return Ok(None) };
    obeyed(journal, &found)
}

fn newest_of_source(journal: &Journal, source: &Key) -> Result<Option<Indexed>, Finding> {
    let subject = [("gate", "source"), ("source", &*source.to_string())];
    latest(journal.log(), EntryKind::Advance, &subject)
}

fn obeyed(journal: &Journal, found: &Indexed) -> Result<Option<ObeyedSource>, Finding> {
    let Some(body) = body(journal, found)? else { return Ok(None) };
    serde_json::from_slice(&body).map(Some).map_err(|error| unreadable(&error.to_string()))
}

fn body(journal: &Journal, found: &Indexed) -> Result<Option<Vec<u8>>, Finding> {
    let Some(digest) = found.entry.body_digest() else { return Ok(None) };
    journal.log().body(&digest).map_err(|error| unreadable(&error.to_string()))
}

fn newest(journal: &Journal, root: &TrustRootSpec) -> Result<Option<Indexed>, Finding> {
    let subject = [("gate", "source"), ("repoId", root.repo_id.as_str()), ("ref", root.r#ref.as_str())];
    latest(journal.log(), EntryKind::Advance, &subject)
}

/// The newest acceptance of a Sync; `None` if it ended since.
fn newest_of_sync(log: &Log, sync: &SyncRef) -> Result<Option<Indexed>, Finding> {
    let name = sync.to_string();
    let subject = [("gate", "sync"), ("sync", name.as_str())];
    let advance = latest(log, EntryKind::Advance, &subject)?;
    let rollback = latest(log, EntryKind::Rollback, &subject)?;
    let found = advance.into_iter().chain(rollback).max_by_key(|found| found.index);
    let Some(found) = found else { return Ok(None) };
    let superseded = latest(log, EntryKind::Hold, &[("sync", &name), ("result", SUPERSEDED)])?;
    let found = match superseded.filter(|superseded| superseded.index > found.index) {
        // Trust or policy moved on before it was acted on: the one before it is in force.
        Some(_) => acted_on(log, &name, |_| true)?,
        None => Some(found),
    };
    let Some(found) = found else { return Ok(None) };
    let end = latest(log, EntryKind::Outcome, &[("sync", &name)])?;
    let end = end.filter(|end| end.entry.subject.get("result").is_some_and(|result| result == ENDED));
    Ok(Some(found).filter(|found| end.is_none_or(|end| end.index < found.index)))
}

/// The newest acceptance of a Sync, of those that are `wanted`, that was acted on. Reads the whole log, which a race of
/// milliseconds makes necessary.
fn acted_on(log: &Log, name: &str, wanted: impl Fn(&Indexed) -> bool) -> Result<Option<Indexed>, Finding> {
    let (mut newest, mut acted_on) = (None::<Indexed>, None);
    for found in log.entries(0..log.len()) {
        let found = found.map_err(|error| unreadable(&error.to_string()))?;
        let says = |key: &str, value: &str| found.entry.subject.get(key).is_some_and(|said| said == value);
        match found.entry.kind {
            EntryKind::Advance | EntryKind::Rollback if says("sync", name) && says("gate", "sync") => {
                let before = newest.replace(found).filter(&wanted);
                acted_on = before.or(acted_on);
            }
            EntryKind::Hold if says("sync", name) && says("result", SUPERSEDED) => newest = None,
            _ => {}
        }
    }
    Ok(newest.filter(wanted).or(acted_on))
}

/// The TrustRoot of a Sync and its name: those that its source was accepted under last, where they are not there any more.
fn trust_root(
    journal: &Journal,
    question: &SyncQuestion,
) -> Result<(Option<Arc<TrustRootSpec>>, Option<String>), Finding> {
    let SyncQuestion { root, root_name, source, .. } = question;
    if let (Some(root), Some(name)) = (root, root_name) {
        return Ok((Some(root.clone()), Some(name.clone())));
    }
    let logged = obeyed_source(journal, source)?.map(|obeyed| (obeyed.root, obeyed.spec.trust_root_ref.name));
    let (logged_root, logged_name) = logged.unzip();
    Ok((root.clone().or_else(|| logged_root.map(Arc::new)), root_name.clone().or(logged_name)))
}

/// Reads what the log knows of a Sync and renders it again.
///
/// # Errors
/// W407 when accepted state was lost: the log knows none although the status shows one, or the
/// mirror no longer has it.
pub(crate) fn sync(journal: &Journal, job: &SyncJob, question: &SyncQuestion) -> Result<ResumedSync, Finding> {
    let (root, root_name) = trust_root(journal, question)?;
    Ok(ResumedSync { root_name, ..sync_under(journal, job, question, root)? })
}

fn sync_under(
    journal: &Journal,
    job: &SyncJob,
    question: &SyncQuestion,
    root: Option<Arc<TrustRootSpec>>,
) -> Result<ResumedSync, Finding> {
    let name = format!("Sync {}", job.sync);
    let owner = Owner { name: &name, root: question.root_name.as_deref().unwrap_or(NO_ROOT) };
    let found = newest_of_sync(journal.log(), &job.sync)?;
    let refused = refusal(journal.log(), &name, found.as_ref().map(|found| found.index));
    let Some(found) = found else {
        return match &question.known {
            Some(revision) if root.is_none_or(|root| root.resume_from.is_none()) => Err(lost(owner, revision)),
            _ => Ok(ResumedSync { refused, ..ResumedSync::default() }),
        };
    };
    let root = root.ok_or_else(|| unreadable(&format!("no revision of GitSource {} was accepted", question.source)))?;
    let commit = prove_own(journal, &found, &root)?;
    let rendered = match render(job, &commit, owner) {
        // The Sync was ordered to another repository since, whose mirror knows nothing of it.
        Err(finding) if found.entry.subject.get("repoId") != Some(&root.repo_id) => {
            tracing::warn!(sync = %job.sync, code = finding.code.code, "what was accepted from another repository is left alone: {finding}");
            return Ok(ResumedSync { refused, ..ResumedSync::default() });
        }
        rendered => rendered?,
    };
    let (accepted, mut missing) = rendered;
    let rolled_back = rollback::of_entry(journal, &found)?;
    // The log knows of everything up to what was rolled back.
    let newest = rolled_back.as_ref().map_or(commit.id(), |order| order.over);
    let ahead = match question.known.as_deref().filter(|shown| **shown != commit.id().to_string()) {
        None => false,
        // The log says so itself: a mirror that has lost both need not be asked.
        Some(shown) if accepted_until(journal, job, shown, found.index)? => false,
        Some(shown) => standing(job, shown, &newest, question.verified.as_ref(), &root, owner)? == Standing::Ahead,
    };
    let spec = spec_of(journal, &found)?.and_then(|spec| spec.digest().ok());
    let digest = |name: &str| found.entry.digests.get(name).and_then(|text| text.parse().ok());
    let (policy, plan) = (digest("policy"), digest("plan"));
    // That of a rollback was another than when its commit was accepted.
    let trust = digest("trust").unwrap_or(commit.trust_digest());
    let current = policy.map(|policy_digest| Current { trust_digest: trust, policy_digest });
    if ahead {
        // Never back to what the log has: the verified revision, which is not below what is shown,
        // is rolled out; what the log has is only what may have to be pruned.
        return Ok(ResumedSync { applied: Some(accepted), missing, spec, current, refused, ..ResumedSync::default() });
    }
    let Since { applied, at, begun, met_others } = since_applied(journal.log(), &job.sync, found.index)?;
    // What does not render is only what may have to be pruned: what is accepted is healed all the same.
    let mut take = |rendered: Result<(Arc<DesiredState>, Vec<Finding>), Finding>| match rendered {
        Ok((state, also_missing)) => {
            let news: Vec<Finding> = also_missing.into_iter().filter(|finding| !missing.contains(finding)).collect();
            missing.extend(news);
            Some(state)
        }
        Err(finding) => {
            missing.push(finding);
            None
        }
    };
    // A rollback to what was applied last has to undo what was begun since.
    let is_old = |revision: &String| rolled_back.is_some() && at < found.index && *revision == commit.id().to_string();
    let applied = match applied.filter(|revision| !is_old(revision)) {
        Some(revision) if revision == commit.id().to_string() => Some(accepted.clone()),
        Some(revision) => take(advanced_to(journal, job, &revision, &root, owner)),
        None => None,
    };
    let begun = begun.iter().filter(|begun| begun.entry.subject.get("commit") != found.entry.subject.get("commit"));
    let partial = begun
        .filter_map(|begun| take(prove_own(journal, begun, &root).and_then(|commit| render(job, &commit, owner))))
        .collect();
    let advance = plan.map(|plan| (plan, found.index));
    let is_applied = applied.as_ref().is_some_and(|applied: &Arc<DesiredState>| applied.commit().id() == commit.id());
    let interrupted = (!is_applied && !met_others).then(|| accepted.clone());
    let states = ResumedSync { accepted: Some(accepted), applied, partial, interrupted, ..ResumedSync::default() };
    Ok(ResumedSync { missing, spec, advance, current, refused, rolled_back, ..states })
}

/// Whether this code says that an object is somebody else's.
pub(crate) fn names_others(code: &str) -> bool {
    [ClusterCode::A102, ClusterCode::A107].iter().any(|of_others| of_others.entry().code == code)
}

fn advanced_to(
    journal: &Journal,
    job: &SyncJob,
    revision: &str,
    root: &TrustRootSpec,
    owner: Owner<'_>,
) -> Result<(Arc<DesiredState>, Vec<Finding>), Finding> {
    let subject = [("gate", "sync"), ("sync", &*job.sync.to_string()), ("commit", revision)];
    let advance = latest(journal.log(), EntryKind::Advance, &subject)?.ok_or_else(|| lost(owner, revision))?;
    render(job, &prove_own(journal, &advance, root)?, owner)
}

/// Whether a Sync accepted this revision, last in an entry before the one at `end`.
fn accepted_until(journal: &Journal, job: &SyncJob, revision: &str, end: u64) -> Result<bool, Finding> {
    let subject = [("gate", "sync"), ("sync", &*job.sync.to_string()), ("commit", revision)];
    Ok(latest(journal.log(), EntryKind::Advance, &subject)?.is_some_and(|found| found.index < end))
}

/// What a Sync's status shows, seen from the log.
#[derive(PartialEq, Eq)]
enum Standing {
    /// It is older: the status is repaired.
    Behind,
    /// It is newer, or an admin vouches for what is verified.
    Ahead,
}

fn standing(
    job: &SyncJob,
    shown: &str,
    logged: &CommitId,
    verified: Option<&CommitId>,
    root: &TrustRootSpec,
    owner: Owner<'_>,
) -> Result<Standing, Finding> {
    let shown: CommitId = shown.parse().map_err(|_form| lost(owner, shown))?;
    let mirror = Mirror::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let descends = |later, earlier| floor::descends(mirror.objects(), later, earlier).map_err(|finding| *finding);
    if descends(logged, &shown)? {
        return Ok(Standing::Behind);
    }
    let newer = match verified {
        Some(verified) => descends(&shown, logged)? && descends(verified, &shown)?,
        None => false,
    };
    if newer || root.resume_from.is_some() {
        tracing::warn!(sync = %job.sync, shown = %shown, logged = %logged, "the status is ahead of the log: judged again");
        return Ok(Standing::Ahead);
    }
    Err(disputed(owner, &shown, logged))
}

/// The spec that was obeyed last, from the body of the newest advance: it stays in force while the
/// one in the cluster is nobody's order.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn obeyed_spec(journal: &Journal, sync: &SyncRef) -> Result<Option<SyncSpec>, Finding> {
    let Some(found) = newest_of_sync(journal.log(), sync)? else { return Ok(None) };
    spec_of(journal, &found)
}

fn spec_of(journal: &Journal, found: &Indexed) -> Result<Option<SyncSpec>, Finding> {
    /// The part of the body that is read.
    #[derive(Deserialize)]
    struct Body {
        spec: Option<SyncSpec>,
    }
    let Some(body) = body(journal, found)? else { return Ok(None) };
    let body: Body = serde_json::from_slice(&body).map_err(|error| unreadable(&error.to_string()))?;
    Ok(body.spec)
}

fn render(
    job: &SyncJob,
    commit: &AuthorizedCommit,
    owner: Owner<'_>,
) -> Result<(Arc<DesiredState>, Vec<Finding>), Finding> {
    sync_gate::resume(job, commit)
        .map_err(|findings| findings.into_iter().next().unwrap_or_else(|| lost(owner, &commit.id().to_string())))
}

fn latest(log: &Log, kind: EntryKind, subject: &[(&str, &str)]) -> Result<Option<Indexed>, Finding> {
    log.latest(kind, subject).map_err(|error| unreadable(&error.to_string()))
}

/// As [`prove`], whatever repository the entry is about: it is the Sync's own.
fn prove_own(journal: &Journal, found: &Indexed, root: &TrustRootSpec) -> Result<AuthorizedCommit, Finding> {
    let repo_id = found.entry.subject.get("repoId").unwrap_or(&root.repo_id).clone();
    let root = TrustRootSpec { repo_id, ..root.clone() };
    match rollback::went_back_to(journal, found)? {
        // The commit of a rollback was accepted by an entry of its own.
        Some(accepted) => prove(journal, &accepted, &root),
        None => prove(journal, found, &root),
    }
}

fn prove(journal: &Journal, found: &Indexed, root: &TrustRootSpec) -> Result<AuthorizedCommit, Finding> {
    let proof = journal.log().prove(found.index).map_err(|error| unreadable(&error.to_string()))?;
    let key = LogKey::parse(journal.public_key()).map_err(|error| unreadable(&error.to_string()))?;
    let proof = LogProof {
        entry: proof.entry,
        index: proof.index,
        hashes: proof.hashes.into_iter().map(|hash| hash.0).collect(),
        checkpoint: proof.checkpoint.note().to_owned(),
    };
    AuthorizedCommit::resume(&proof, &key, root).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(why: &str) -> Finding {
    Finding {
        code: TrustCode::W407.entry(),
        subject: Subject::Named("audit log".to_owned()),
        rule: None,
        found: why.into(),
        needed: "a log that proves what was accepted".into(),
        fix: "writ audit verify STATE/log --key KEY_FILE # then restore the state volume".into(),
    }
}
