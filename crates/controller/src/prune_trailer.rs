//! What the commits since a revision say about pruning: the trailer `Writ-Prune: <count>`. Blocking.

use git::Objects;
use manifest::RepoPath;
use plan::PruneTrailer;
use trust::{
    ArmorFormat, CommitId, CommitObject, Credit, History as _, HistoryError, MAX_CHANGED_PATHS, TrustFile,
    TrustRootSpec, Verifiers,
};

use crate::source_gate::keyless;

/// The trailer that lifts the prune guard.
const TRAILER: &str = "Writ-Prune:";
/// How lines begin that Git itself adds to a message.
const BY_GIT: [&str; 2] = ["Signed-off-by: ", "(cherry picked from commit "];
/// The most commits that are looked at: one is read in some 50 µs, and 1,000 are more than a team
/// pushes between two roll-outs of a Sync.
const MAX_COMMITS: usize = 1_000;

/// Where a trailer is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The trust file that is in force.
    pub trust: &'a TrustFile,
    /// The TrustRoot, which says what keyless signatures are verified by.
    pub root: Option<&'a TrustRootSpec>,
    /// The revision that was applied last; without one only the head is asked.
    pub since: Option<&'a CommitId>,
    /// What is to be applied.
    pub head: &'a CommitId,
    /// The folder that it is applied from.
    pub folder: &'a RepoPath,
}

/// The trailer of the newest commit after the applied one, up to the head, that has one and may speak for the folder: it
/// changes something there; or it changes nothing anywhere, and its signer may change what changed there.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn said(objects: &Objects, asked: Asked<'_>) -> Result<PruneTrailer, HistoryError> {
    let Asked { since, head, .. } = asked;
    let mut next = Some(*head);
    for _ in 0..MAX_COMMITS {
        let Some(id) = next.filter(|id| Some(id) != since) else { break };
        let Some(commit) = objects.commit(&id)?.and_then(|raw| CommitObject::parse(id, &raw).ok()) else { break };
        let parent = commit.parents.first().copied();
        if let Some(count) = trailer(&commit.message)
            && may_speak(objects, asked, &commit)?
        {
            return Ok(PruneTrailer(Some(count)));
        }
        next = parent.filter(|_| since.is_some());
    }
    Ok(PruneTrailer::default())
}

/// The count of the last such trailer, as `git interpret-trailers --only-trailers` finds it: in the last paragraph of
/// the message, which is not its title, and holds trailers (or, as Git has it, at least one line that Git wrote and a
/// quarter of trailers).
fn trailer(message: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(message);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let mut paragraphs = lines.rsplitn(2, |line| line.trim().is_empty());
    let last = paragraphs.next()?;
    let has_title = paragraphs.next().is_some_and(|before| before.iter().any(|line| !line.trim().is_empty()));
    // A line that begins with white space continues the one before it.
    let whole: Vec<&str> = last.iter().copied().filter(|line| !line.starts_with([' ', '\t'])).collect();
    let trailers = whole.iter().filter(|line| is_trailer(line)).count();
    let others = whole.len().saturating_sub(trailers);
    let by_git = whole.iter().any(|line| BY_GIT.iter().any(|prefix| line.starts_with(prefix)));
    if !has_title || others > 0 && !(by_git && trailers.saturating_mul(3) >= others) {
        return None;
    }
    whole.iter().rev().find_map(|line| line.strip_prefix(TRAILER)?.trim().parse().ok())
}

/// `Token: value`, or a line that Git itself adds.
fn is_trailer(line: &str) -> bool {
    let is_token = |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    line.split_once(':').is_some_and(|(token, _value)| is_token(token.trim_end()))
        || BY_GIT.iter().any(|prefix| line.starts_with(prefix))
}

fn may_speak(objects: &Objects, asked: Asked<'_>, commit: &CommitObject) -> Result<bool, HistoryError> {
    let parent = commit.parents.first();
    if !objects.changes_below(parent, &commit.id, asked.folder)?.is_empty() {
        return Ok(true);
    }
    let is_empty = objects.changes(parent, &commit.id, MAX_CHANGED_PATHS)?.is_empty();
    Ok(is_empty && may_change(objects, asked, commit)?)
}

/// Whether the signer may change each file of the folder that was changed or removed since the applied revision, or each
/// one that is there if none was. Nobody authorised an empty commit for any path, so it is done here.
fn may_change(objects: &Objects, asked: Asked<'_>, commit: &CommitObject) -> Result<bool, HistoryError> {
    let Asked { trust, root, since, folder, .. } = asked;
    let keyless = root.filter(|_root| commit.signature_format() == Some(ArmorFormat::X509)).and_then(keyless);
    let with = Verifiers { known: None, keyless: keyless.as_ref().map(|one| one as _) };
    let Some(signer) = trust.signer_of_commit(commit, with) else { return Ok(false) };
    let credit = Credit::of_author(signer);
    let changed = match since {
        Some(since) => objects.changes_below(Some(since), &commit.id, folder)?,
        None => Vec::new(),
    };
    let mut files: Vec<_> =
        changed.into_iter().filter(|change| change.before.is_some()).map(|change| change.path).collect();
    if files.is_empty() {
        files = objects.list(&commit.id, folder)?;
    }
    Ok(!files.is_empty() && files.iter().all(|file| trust.authorise(&commit.id, file, &credit).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_a_message_is_its_trailer() {
        let of = |text: &str| trailer(text.as_bytes());
        assert_eq!(of("fewer items\n\nWrit-Prune: 11\nSigned-off-by: sam\n"), Some(11));
        assert_eq!(of("fewer items\n\nWrit-Prune: 1\nWrit-Prune: 2\n\n"), Some(2));
        assert_eq!(of("fewer items\n\nWrit-Prune: 3\nReviewed-by: ann\n  of the team\n"), Some(3));
        assert_eq!(of("fewer items\n\nWrit-Prune: all"), None);
        assert_eq!(of("say Writ-Prune: 3"), None);
    }

    /// Each as `git interpret-trailers --parse` has it.
    #[test]
    fn a_quoted_trailer_is_none() {
        let of = |text: &str| trailer(text.as_bytes());
        assert_eq!(of("Writ-Prune: 3"), None, "the title");
        assert_eq!(of("Writ-Prune: 3\nand more"), None, "the title");
        assert_eq!(of("Revert\n\nThis takes back:\n\nfewer items\n\nWrit-Prune: 11\n\nIt was wrong.\n"), None);
        assert_eq!(of("squash\n\nWrit-Prune: 11\n\nReviewed-by: ann\n"), None);
        assert_eq!(of("quote\n\nsaid before:\nWrit-Prune: 11 items\n"), None);
        assert_eq!(of("quote\n\nas was said\nWrit-Prune: 11\n"), None);
        assert_eq!(of("quote\n\n    Writ-Prune: 11\n"), None);
        assert_eq!(of("mixed\n\nas was said\nWrit-Prune: 11\nSigned-off-by: sam\n"), Some(11));
    }
}
