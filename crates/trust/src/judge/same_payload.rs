//! The same signed commit as another object.
//!
//! The signature is not part of what it signs, so whoever may push can make, of a commit that somebody signed, an object with
//! the same content, the same signer and another id where a signature has more than one form: (r, n - s) fits as (r, s)
//! does, an OpenPGP signature can be wrapped as gpg or as sq does it, a keyless one has parts that nothing signs, and a
//! second signature may stand beside the first (`history.dualSigned`). Either is as good as the other; the first that is
//! accepted counts, and that the other one is refused should be told as what it is.

use std::collections::HashMap;

use manifest::{Finding, Subject};

use super::{Judge, MAX_STEPS, mainline::first_parent};
use crate::{
    CommitId, CommitObject, HistoryError,
    git_ref::tag_name,
    refusal::unreadable,
    repair::{SIGN, sign_tag},
};

/// Two objects with one signed content.
struct Same {
    accepted: CommitId,
    shown: CommitObject,
}

/// What is told of them.
pub(super) struct Told {
    pub(super) found: String,
    /// Takes what follows the one that does not count to the last accepted commit.
    pub(super) fix: String,
}

impl Judge<'_> {
    /// What W408 tells, if the mainline of the head leaves that of `accepted` by the same signed commit under another id.
    /// `line` is the mainline of the head, newest first, to its root or to a commit of both.
    pub(super) fn same_payload(&self, accepted: &CommitId, line: &[CommitId]) -> Result<Option<Told>, Finding> {
        let Some(Same { accepted: same, shown }) = self.where_lines_part(accepted, line)? else { return Ok(None) };
        let named = |commit: &CommitId| Subject::Commit(commit.to_string());
        let it = if shown.id == self.head.commit { "it".to_owned() } else { named(&shown.id).to_string() };
        let found = format!(
            "{it} is the same signed content (sha256 {}) as {}, which was verified before, under another id",
            shown.payload_sha256,
            named(&same)
        );
        let push = match tag_name(&self.root.r#ref) {
            Some(tag) => sign_tag(tag, "HEAD"),
            None => "git push --force-with-lease".to_owned(),
        };
        let rebase = format!("git {SIGN} rebase --rebase-merges --gpg-sign --onto {accepted} {}", shown.id);
        let fix = format!("{rebase} # then: {push}; and find out who pushed the other object");
        Ok(Some(Told { found, fix }))
    }

    /// The two commits by which the lines part, if they are the same signed content. No later pair can be: what is signed
    /// names the parents.
    fn where_lines_part(&self, accepted: &CommitId, line: &[CommitId]) -> Result<Option<Same>, Finding> {
        // At most 200,000 of 60 bytes, in a table that may be half empty: 24 MB, while a refusal is worded.
        let places: HashMap<CommitId, usize> = line.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let (mut at, mut below) = (*accepted, None);
        let mut shown = line.last();
        for _ in 0..MAX_STEPS {
            if let Some(place) = places.get(&at) {
                shown = place.checked_sub(1).and_then(|place| line.get(place));
                break;
            }
            below = Some(at);
            let raw = self.history.commit(&at).map_err(|error| unreadable(&self.head.commit, &error))?;
            let missing = || unreadable(&self.head.commit, &HistoryError::Missing { object: format!("commit {at}") });
            match first_parent(&raw.ok_or_else(missing)?) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        let (Some(below), Some(shown)) = (below, shown) else { return Ok(None) };
        let read = |id: &CommitId| {
            let raw = self.history.commit(id).map_err(|error| unreadable(&self.head.commit, &error))?;
            // One that is not in the one form is refused for that when it is on the way.
            Ok(raw.and_then(|raw| CommitObject::parse(*id, &raw).ok()))
        };
        let (Some(before), Some(shown)) = (read(&below)?, read(shown)?) else { return Ok(None) };
        let same = before.payload_sha256 == shown.payload_sha256 && before.id != shown.id;
        Ok(same.then_some(Same { accepted: below, shown }))
    }
}
