//! What the commits since a revision say about pruning: the trailer `Writ-Prune: <count>`. Blocking.

use git::Objects;
use manifest::RepoPath;
use plan::PruneTrailer;
use trust::{CommitId, CommitObject, History as _, HistoryError};

/// The trailer that lifts the prune guard.
const TRAILER: &str = "Writ-Prune:";
/// The most commits that are looked at: one is read in some 50 µs, and 1,000 are more than a team
/// pushes between two roll-outs of a Sync.
const MAX_COMMITS: usize = 1_000;

/// The trailer of the newest commit after `since` up to `head` that has one and is about `folder`: it
/// changes something there, or nothing anywhere. Without `since` only `head` is asked.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn said(
    objects: &Objects,
    since: Option<&CommitId>,
    head: &CommitId,
    folder: &RepoPath,
) -> Result<PruneTrailer, HistoryError> {
    let mut next = Some(*head);
    for _ in 0..MAX_COMMITS {
        let Some(id) = next.filter(|id| Some(id) != since) else { break };
        let Some(commit) = objects.commit(&id)?.and_then(|raw| CommitObject::parse(id, &raw).ok()) else { break };
        let parent = commit.parents.first().copied();
        if let Some(count) = trailer(&commit.message)
            && is_about(objects, parent.as_ref(), &id, folder)?
        {
            return Ok(PruneTrailer(Some(count)));
        }
        next = parent.filter(|_| since.is_some());
    }
    Ok(PruneTrailer::default())
}

fn trailer(message: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(message);
    text.lines().rev().find_map(|line| line.strip_prefix(TRAILER)?.trim().parse().ok())
}

fn is_about(
    objects: &Objects,
    parent: Option<&CommitId>,
    id: &CommitId,
    folder: &RepoPath,
) -> Result<bool, HistoryError> {
    Ok(!objects.changes_below(parent, id, folder)?.is_empty() || objects.changes(parent, id)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_a_message_is_its_trailer() {
        let of = |text: &str| trailer(text.as_bytes());
        assert_eq!(of("fewer items\n\nWrit-Prune: 11\nSigned-off-by: sam\n"), Some(11));
        assert_eq!(of("Writ-Prune: 1\nWrit-Prune: 2"), Some(2));
        assert_eq!(of("fewer items\n\nWrit-Prune: all"), None);
        assert_eq!(of("say Writ-Prune: 3"), None);
    }
}
