//! The chain of first parents, and what it means that a commit is not on it.

use manifest::{Finding, Subject};

use super::{Floor, Judge, MAX_STEPS, same_payload::Told};
use crate::{
    CommitId, HistoryError, TrustCode,
    declared_kinds::over_budget,
    refusal::{refuse, unreadable},
    repair::{SIGN, push_head},
};

impl Judge<'_> {
    /// The commits from one to the head, and whether the floor is behind the first of them.
    pub(super) fn way(&self, from: &CommitId, floor: &Floor) -> Result<(Vec<CommitId>, bool), Finding> {
        let chain = self.chain(from)?;
        match floor {
            Floor::At(floor, _) if chain.contains(floor) => Ok((chain, false)),
            // The roots were lost, and an admin lets trust start anew after the floor.
            Floor::At(floor, _) if self.is_before(floor, from)? => Ok((chain, true)),
            Floor::At(floor, _) => Err(self.elsewhere(floor, &chain, from)),
            Floor::None | Floor::Below => Ok((chain, true)),
        }
    }

    /// The steps from `from` (excluded) to the head (included), oldest first. A commit that does not parse is refused
    /// when its turn comes; to get there, its first `parent` line is followed, which decides nothing.
    pub(super) fn chain(&self, from: &CommitId) -> Result<Vec<CommitId>, Finding> {
        let mut chain = Vec::new();
        let mut at = self.head.commit;
        while at != *from {
            if chain.len() == MAX_STEPS {
                return Err(self.too_far(from));
            }
            let raw = self.history.commit(&at).map_err(|error| unreadable(&self.head.commit, &error))?;
            let missing = || unreadable(&self.head.commit, &HistoryError::Missing { object: format!("commit {at}") });
            let raw = raw.ok_or_else(missing)?;
            chain.push(at);
            match first_parent(&raw) {
                Some(parent) => at = parent,
                None => return Err(self.not_descendant(from, &chain)),
            }
        }
        chain.reverse();
        Ok(chain)
    }

    /// Whether a commit is on the line of first parents that leads to another.
    pub(super) fn is_before(&self, earlier: &CommitId, later: &CommitId) -> Result<bool, Finding> {
        let mut at = *later;
        for _ in 0..MAX_STEPS {
            let raw = self.history.commit(&at).map_err(|error| unreadable(&self.head.commit, &error))?;
            match raw.as_deref().and_then(first_parent) {
                Some(parent) if parent == *earlier => return Ok(true),
                Some(parent) => at = parent,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// W403: the head is too many steps away.
    fn too_far(&self, from: &CommitId) -> Finding {
        if *from != self.root.introduction.commit {
            return over_budget(&self.head.commit, "steps from the last accepted commit", MAX_STEPS);
        }
        let fix = "name a later introduction in the TrustRoot: writ trust root REV prints it".to_owned();
        Finding { fix: fix.into(), ..over_budget(&self.head.commit, "steps from the introduction", MAX_STEPS) }
    }

    /// The floor is not on the chain that leads from a commit to the head.
    fn elsewhere(&self, floor: &CommitId, chain: &[CommitId], from: &CommitId) -> Finding {
        let line: Vec<CommitId> = chain.iter().rev().chain([from]).copied().collect();
        self.not_descendant(floor, &line)
    }

    /// W401 or W402, with the relation of the two commits in words, or W408. `line` leads from the head back along first
    /// parents.
    fn not_descendant(&self, from: &CommitId, line: &[CommitId]) -> Finding {
        let reaches = |ancestor: &CommitId, of: &CommitId| {
            self.history.is_ancestor(ancestor, of).map_err(|error| unreadable(&self.head.commit, &error))
        };
        // As the subject is written; the fix has the whole id.
        let accepted = Subject::Commit(from.to_string());
        let (code, found) = match (reaches(from, &self.head.commit), reaches(&self.head.commit, from)) {
            (Err(finding), _) | (_, Err(finding)) => return finding,
            (Ok(true), _) => (TrustCode::W402, format!("{accepted} is in its history, but not along first parents")),
            (_, Ok(true)) => (TrustCode::W401, format!("older than {accepted}, which was verified before")),
            _ => (TrustCode::W401, format!("does not descend from {accepted}, which was verified before")),
        };
        let same = match self.same_payload(from, line) {
            Ok(same) => same,
            Err(finding) => return finding,
        };
        let (needed, fix) = if code == TrustCode::W402 {
            let push = push_head(self.root);
            let merge = format!("git {SIGN} merge --no-ff --no-edit --gpg-sign {}", self.head.commit);
            let fix = format!("git switch --detach {from} && {merge} # then: {push}");
            (format!("{accepted} on the first-parent chain: merge into the branch, not the branch into another"), fix)
        } else {
            let back = format!("git {SIGN} revert --gpg-sign COMMIT");
            let fix = format!("git {SIGN} rebase --gpg-sign {from} # to go back on purpose after it: {back}");
            (format!("a descendant of {accepted}"), fix)
        };
        if let Some(Told { found, fix: onto }) = same {
            let fix = if code == TrustCode::W402 { fix } else { onto };
            return refuse(TrustCode::W408, &self.head.commit, found, needed, fix);
        }
        refuse(code, &self.head.commit, found, needed, fix)
    }
}

/// The first parent of a commit, also of one that does not parse; the strict form says the same.
pub(super) fn first_parent(raw: &[u8]) -> Option<CommitId> {
    raw.split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"parent "))
        .and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| hex.parse().ok())
}
