//! After a restart: what the log proves was accepted, and nothing else, is believed. Blocking.

use std::sync::Arc;

use audit::{EntryKind, Indexed, Log};
use git::Mirror;
use manifest::{Finding, Subject};
use plan::{DesiredState, SyncRef, SyncSpec};
use trust::{AuthorizedCommit, LogKey, LogProof, TrustCode, TrustRootSpec};

use crate::{
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
    /// What it puts in force; `None` if the mirror has lost it.
    pub verified: Option<Verified>,
}

/// What the log knows of a Sync.
#[derive(Debug, Default)]
pub(crate) struct ResumedSync {
    /// The accepted revision, rendered.
    pub accepted: Option<Arc<DesiredState>>,
    /// The applied revision, rendered.
    pub applied: Option<Arc<DesiredState>>,
}

/// Reads what the log knows of a source. `known` is the accepted revision that the TrustRoot's
/// status shows: a log that knows none although one is shown was lost.
///
/// # Errors
/// W407 when accepted state was lost; a proof that does not hold.
pub(crate) fn source(
    journal: &Journal,
    source: &Key,
    root: &TrustRootSpec,
    mirror: &std::path::Path,
    known: Option<&str>,
) -> Result<ResumedSource, Finding> {
    let name = source.to_string();
    let subject = [("gate", "source"), ("source", name.as_str()), ("repoId", root.repo_id.as_str())];
    let Some(found) = latest(journal.log(), EntryKind::Advance, &subject)? else {
        return match (known, root.resume_from) {
            (Some(revision), None) => Err(lost(&format!("GitSource {source}"), revision)),
            _ => Ok(ResumedSource::default()),
        };
    };
    let floor = prove(journal, &found, root)?;
    // Without a mirror the floor stands all the same; the history is fetched again.
    let verified = Mirror::open(mirror).ok().and_then(|mirror| read_verified(mirror.objects(), &floor).ok());
    Ok(ResumedSource { floor: Some(floor), verified })
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

fn lost(owner: &str, revision: &str) -> Finding {
    Finding {
        code: TrustCode::W407.entry(),
        subject: Subject::Named(owner.to_owned()),
        rule: None,
        found: format!("its status shows the accepted revision {revision}, of which the log knows nothing"),
        needed: "the log that recorded it, or an admin who vouches for a revision".to_owned(),
        fix: "restore the state volume, or set spec.resumeFrom of the TrustRoot to the accepted revision".to_owned(),
    }
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
