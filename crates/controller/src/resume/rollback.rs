//! What the log knows of orders to take a Sync back.

use audit::{EntryKind, Indexed, Log};
use manifest::Finding;
use plan::SyncRef;
use serde::Deserialize;
use trust::{AuthorizedCommit, CommitId, SignedOrder, TrustRootSpec};

use super::{acted_on, body, latest, prove_own, unreadable};
use crate::{
    journal::{Journal, SUPERSEDED},
    rollbacks::RolledBack,
};

/// An order that was obeyed.
#[derive(Debug)]
pub(crate) struct RollbackEntry {
    /// Its place in the log.
    pub index: u64,
    /// What was signed.
    pub order: SignedOrder,
}

/// The order of this repository that was obeyed with this nonce. One that trust or policy overtook before it was acted on
/// was not.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn rollback_with(journal: &Journal, repo_id: &str, nonce: &str) -> Result<Option<RollbackEntry>, Finding> {
    let Some(found) = with_nonce(journal.log(), repo_id, nonce)? else { return Ok(None) };
    let rolled_back = of_entry(journal, &found)?;
    Ok(rolled_back.map(|rolled_back| RollbackEntry { index: found.index, order: rolled_back.order }))
}

fn with_nonce(log: &Log, repo_id: &str, nonce: &str) -> Result<Option<Indexed>, Finding> {
    let subject = [("repoId", repo_id), ("nonce", nonce)];
    let Some(newest) = latest(log, EntryKind::Rollback, &subject)? else { return Ok(None) };
    let sync = newest.entry.subject.get("sync").cloned().unwrap_or_default();
    let superseded = latest(log, EntryKind::Hold, &[("sync", &sync), ("result", SUPERSEDED)])?;
    if superseded.is_none_or(|superseded| superseded.index < newest.index) {
        return Ok(Some(newest));
    }
    let with_it = |found: &Indexed| {
        let says = |(key, value): &(&str, &str)| found.entry.subject.get(*key).is_some_and(|said| said == value);
        found.entry.kind == EntryKind::Rollback && subject.iter().all(says)
    };
    acted_on(log, &sync, with_it)
}

/// A commit that a Sync accepted by an advance, as the log proves.
///
/// # Errors
/// When the log cannot be read, or does not prove it.
pub(crate) fn accepted_before(
    journal: &Journal,
    sync: &SyncRef,
    commit: &CommitId,
    root: &TrustRootSpec,
) -> Result<Option<AuthorizedCommit>, Finding> {
    let (name, commit) = (sync.to_string(), commit.to_string());
    let subject = [("gate", "sync"), ("sync", &*name), ("commit", &*commit), ("repoId", &*root.repo_id)];
    let found = latest(journal.log(), EntryKind::Advance, &subject)?;
    found.map(|found| prove_own(journal, &found, root)).transpose()
}

/// The advance of the commit that an entry went back to; `None` for an entry that is none of a rollback.
///
/// # Errors
/// When the log cannot be read, or has none.
pub(super) fn went_back_to(journal: &Journal, found: &Indexed) -> Result<Option<Indexed>, Finding> {
    if found.entry.kind != EntryKind::Rollback {
        return Ok(None);
    }
    let of = |name: &str| found.entry.subject.get(name).map(String::as_str).unwrap_or_default();
    let subject = [("gate", "sync"), ("sync", of("sync")), ("commit", of("commit"))];
    let advance = latest(journal.log(), EntryKind::Advance, &subject)?;
    advance.map(Some).ok_or_else(|| unreadable(&format!("no entry accepts {}, which was rolled back to", of("commit"))))
}

/// The order of an entry; `None` for an entry that is none of a rollback.
///
/// # Errors
/// When its body is lost or cannot be read.
pub(super) fn of_entry(journal: &Journal, found: &Indexed) -> Result<Option<RolledBack>, Finding> {
    /// The part of the body that is read.
    #[derive(Deserialize)]
    struct Body {
        rollback: RolledBack,
    }
    if found.entry.kind != EntryKind::Rollback {
        return Ok(None);
    }
    let body = body(journal, found)?.ok_or_else(|| unreadable("the body of a rollback is lost"))?;
    let body: Body = serde_json::from_slice(&body).map_err(|error| unreadable(&error.to_string()))?;
    Ok(Some(body.rollback))
}
