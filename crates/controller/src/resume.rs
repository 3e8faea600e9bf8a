//! After a restart: what the log proves was accepted, and nothing else, is believed. Blocking.

use std::{path::Path, sync::Arc};

use audit::{EntryKind, Indexed, Log};
use cluster::crd::GitSourceSpec;
use git::Mirror;
use manifest::{Finding, Subject};
use plan::{DesiredState, SyncRef, SyncSpec};
use serde::Deserialize;
use trust::{AuthorizedCommit, CommitId, LogKey, LogProof, TrustCode, TrustRootSpec};

use crate::{
    floor::{self, disputed, lost},
    journal::Journal,
    source_gate::{Verified, read_verified},
    state::Key,
    sync_gate::{self, SyncJob},
};

/// What the log knows of a source.
#[derive(Debug, Default)]
pub(crate) struct ResumedSource {
    /// The verified commit; the start of every later judgement.
    pub floor: Option<AuthorizedCommit>,
    /// The TrustRoot that it was accepted under.
    pub root: Option<TrustRootSpec>,
    /// What it puts in force; `None` if the mirror has lost it.
    pub verified: Option<Verified>,
    /// Why it could not be read from the mirror.
    pub problem: Option<Finding>,
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
    root: &TrustRootSpec,
    mirror: &Path,
    known: Option<&str>,
) -> Result<ResumedSource, Finding> {
    let Some(found) = newest(journal, root)? else {
        return match (known, root.resume_from) {
            (Some(revision), None) => Err(lost(&format!("GitSource {source}"), revision)),
            _ => Ok(ResumedSource::default()),
        };
    };
    let floor = prove(journal, &found, root)?;
    let under = obeyed(journal, &found)?.map(|obeyed| obeyed.root);
    // Without a mirror the floor stands all the same; the history is fetched again.
    let (verified, problem) = match read_floor(mirror, &floor) {
        Ok(verified) => (Some(verified), None),
        Err(finding) => (None, Some(finding)),
    };
    Ok(ResumedSource { floor: Some(floor), root: under, verified, problem })
}

/// Reads what an accepted commit puts in force, and keeps it in the mirror.
///
/// # Errors
/// Why the mirror cannot be read.
pub(crate) fn read_floor(mirror: &Path, floor: &AuthorizedCommit) -> Result<Verified, Finding> {
    let opened = Mirror::open(mirror).map_err(|error| git::GitError::from(error).finding())?;
    let verified = read_verified(opened.objects(), floor).map_err(|findings| {
        let unknown = || disputed("the mirror", &floor.id(), &floor.id());
        findings.into_iter().next().unwrap_or_else(unknown)
    })?;
    pin(mirror, floor)?;
    Ok(verified)
}

/// Keeps an accepted commit in the mirror, whatever the server does to its branch.
///
/// # Errors
/// When the mirror cannot be written.
pub(crate) fn pin(mirror: &Path, commit: &AuthorizedCommit) -> Result<(), Finding> {
    let mirror = Mirror::open(mirror).map_err(|error| git::GitError::from(error).finding())?;
    let id = commit.id();
    mirror.pin_line("verified", &id).map_err(|error| git::GitError::from(error).finding())
}

/// The commit that the log has as the floor of the TrustRoot's repository and ref.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn logged_floor(journal: &Journal, root: &TrustRootSpec) -> Result<Option<String>, Finding> {
    Ok(newest(journal, root)?.and_then(|found| found.entry.subject.get("commit").cloned()))
}

/// What was obeyed when this source was accepted last: it stays in force while what is in the cluster
/// is nobody's order.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn obeyed_source(journal: &Journal, source: &Key) -> Result<Option<ObeyedSource>, Finding> {
    let subject = [("gate", "source"), ("source", &*source.to_string())];
    let Some(found) = latest(journal.log(), EntryKind::Advance, &subject)? else { return Ok(None) };
    obeyed(journal, &found)
}

fn obeyed(journal: &Journal, found: &Indexed) -> Result<Option<ObeyedSource>, Finding> {
    let Some(digest) = found.entry.body_digest() else { return Ok(None) };
    let Some(body) = journal.log().body(&digest).map_err(|error| unreadable(&error.to_string()))? else {
        return Ok(None);
    };
    serde_json::from_slice(&body).map(Some).map_err(|error| unreadable(&error.to_string()))
}

fn newest(journal: &Journal, root: &TrustRootSpec) -> Result<Option<Indexed>, Finding> {
    let subject = [("gate", "source"), ("repoId", root.repo_id.as_str()), ("ref", root.r#ref.as_str())];
    latest(journal.log(), EntryKind::Advance, &subject)
}

/// Reads what the log knows of a Sync and renders it again.
///
/// # Errors
/// W407 when accepted state was lost: the log knows none although the status shows one, or the
/// mirror no longer has it.
pub(crate) fn sync(
    journal: &Journal,
    job: &SyncJob,
    root: &TrustRootSpec,
    known: Option<&str>,
    verified: &CommitId,
) -> Result<ResumedSync, Finding> {
    let name = job.sync.to_string();
    let log = journal.log();
    let owner = format!("Sync {}", job.sync);
    let Some(found) = latest(log, EntryKind::Advance, &[("gate", "sync"), ("sync", name.as_str())])? else {
        return match (known, root.resume_from) {
            (Some(revision), None) => Err(lost(&owner, revision)),
            _ => Ok(ResumedSync::default()),
        };
    };
    let commit = prove(journal, &found, root)?;
    let accepted = render(job, &commit, &owner)?;
    if let Some(shown) = known.filter(|shown| **shown != commit.id().to_string()) {
        match standing(job, shown, &commit.id(), verified, root, &owner)? {
            Standing::Behind => {}
            // Never back to what the log has: the verified revision, which is not below what is shown,
            // is rolled out; what the log has is only what may have to be pruned.
            Standing::Ahead => return Ok(ResumedSync { accepted: None, applied: Some(accepted) }),
        }
    }
    let applied = match latest(log, EntryKind::Outcome, &[("sync", name.as_str()), ("result", "applied")])? {
        None => None,
        Some(outcome) => {
            let revision = outcome.entry.subject.get("commit").map(String::as_str).unwrap_or_default();
            if revision == commit.id().to_string() {
                Some(accepted.clone())
            } else {
                let subject = [("gate", "sync"), ("sync", name.as_str()), ("commit", revision)];
                let advance = latest(log, EntryKind::Advance, &subject)?.ok_or_else(|| lost(&owner, revision))?;
                Some(render(job, &prove(journal, &advance, root)?, &owner)?)
            }
        }
    };
    Ok(ResumedSync { accepted: Some(accepted), applied })
}

/// What a Sync's status shows, seen from the log.
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
    verified: &CommitId,
    root: &TrustRootSpec,
    owner: &str,
) -> Result<Standing, Finding> {
    let shown: CommitId = shown.parse().map_err(|_form| lost(owner, shown))?;
    let mirror = Mirror::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let descends = |later, earlier| floor::descends(mirror.objects(), later, earlier).map_err(|finding| *finding);
    if descends(logged, &shown)? {
        return Ok(Standing::Behind);
    }
    let newer = descends(&shown, logged)? && descends(verified, &shown)?;
    if newer || root.resume_from.is_some() {
        tracing::warn!(sync = %job.sync, shown = %shown, logged = %logged, "the status is ahead of the log: judged again");
        return Ok(Standing::Ahead);
    }
    Err(disputed(owner, &shown, logged))
}

/// The spec that was obeyed last, from the body of the newest advance: it stays in force while the
/// one in the cluster is nobody's order.
pub(crate) fn obeyed_spec(journal: &Journal, sync: &SyncRef) -> Option<SyncSpec> {
    let log = journal.log();
    let advance = log.latest(EntryKind::Advance, &[("gate", "sync"), ("sync", &sync.to_string())]).ok()??;
    let body = log.body(&advance.entry.body_digest()?).ok()??;
    let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
    serde_json::from_value(body.get("spec")?.clone()).ok()
}

fn render(job: &SyncJob, commit: &AuthorizedCommit, owner: &str) -> Result<Arc<DesiredState>, Finding> {
    sync_gate::resume(job, commit)
        .map_err(|findings| findings.into_iter().next().unwrap_or_else(|| lost(owner, &commit.id().to_string())))
}

fn latest(log: &Log, kind: EntryKind, subject: &[(&str, &str)]) -> Result<Option<Indexed>, Finding> {
    log.latest(kind, subject).map_err(|error| unreadable(&error.to_string()))
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
        found: why.to_owned(),
        needed: "a log that proves what was accepted".to_owned(),
        fix: "writ audit verify <state>/log --key <public key>, then restore the state volume".to_owned(),
    }
}
