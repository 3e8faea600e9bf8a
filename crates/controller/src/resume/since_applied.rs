//! What became of a Sync since a revision of it was applied completely.

use audit::{EntryKind, Indexed, Log};
use manifest::Finding;
use plan::SyncRef;

use super::{latest, names_others, unreadable};
use crate::{journal::ENDED, rollout::MAX_PARTIAL};

/// What became of a Sync since a revision of it was applied completely.
pub(super) struct Since {
    /// That commit; `None` if there was none since the Sync began.
    pub(super) applied: Option<String>,
    /// The entry that says so.
    pub(super) at: u64,
    /// Acceptances since then, each commit once, at most [`MAX_PARTIAL`].
    pub(super) begun: Vec<Indexed>,
    /// Whether the newest outcome since then names an object of somebody else: that is not ours because of what it says.
    pub(super) met_others: bool,
}

/// Reads the log back to the last complete roll-out. `accepted` is the newest acceptance.
pub(super) fn since_applied(log: &Log, sync: &SyncRef, accepted: u64) -> Result<Since, Finding> {
    let name = sync.to_string();
    let outcome = latest(log, EntryKind::Outcome, &[("sync", &name), ("result", "applied")])?;
    let from = outcome.as_ref().map_or(0, |outcome| outcome.index);
    let last = latest(log, EntryKind::Outcome, &[("sync", &name)])?;
    let mut since = Since {
        applied: outcome.and_then(|found| found.entry.subject.get("commit").cloned()),
        at: from,
        begun: Vec::new(),
        met_others: last
            .is_some_and(|last| last.index > from && last.entry.codes.iter().any(|code| names_others(code))),
    };
    for found in log.entries(from..accepted) {
        let found = found.map_err(|error| unreadable(&error.to_string()))?;
        let says = |key: &str, value: &str| found.entry.subject.get(key).is_some_and(|said| said == value);
        if !says("sync", &name) {
            continue;
        }
        if says("result", ENDED) {
            since = Since { applied: None, begun: Vec::new(), ..since };
        } else if matches!(found.entry.kind, EntryKind::Advance | EntryKind::Rollback) && says("gate", "sync") {
            let commit = found.entry.subject.get("commit");
            since.begun.retain(|before| before.entry.subject.get("commit") != commit);
            if since.begun.len() >= MAX_PARTIAL {
                since.begun.remove(0);
            }
            since.begun.push(found);
        }
    }
    Ok(since)
}
