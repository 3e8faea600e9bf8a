//! What a step brings along besides itself.

use std::collections::BTreeSet;

use trust::{CommitId, HistoryError};

use super::{Ancestry, MAINLINE, MAX_ROOTS, ReadCommit, STEP, Until, Walk};

impl Ancestry {
    /// Reachable from `step`, not from `mainline`, without `step`; in order of ids.
    pub(crate) fn side(
        &self,
        mainline: &CommitId,
        step: &CommitId,
        limit: usize,
        read: &ReadCommit<'_>,
    ) -> Result<Vec<CommitId>, HistoryError> {
        let parents = self.known(step, read)?.parents;
        // Nearly every step: nothing but the mainline behind it.
        if step == mainline || parents.iter().all(|parent| parent == mainline) {
            return Ok(Vec::new());
        }
        let near = Walk::new(self, read).near(mainline, step, limit)?;
        let side = match near {
            Some(side) => side,
            // More than the limit, or so much of the mainline that claims to be older than what it descends from.
            None => Walk::new(self, read).whole(mainline, step, limit)?,
        };
        Ok(side.into_iter().collect())
    }
}

impl Walk<'_> {
    /// The side, looking at no more of the mainline than it takes to be certain. `None`: at some time it seemed to be
    /// more than `limit`.
    fn near(
        &mut self,
        mainline: &CommitId,
        step: &CommitId,
        limit: usize,
    ) -> Result<Option<BTreeSet<CommitId>>, HistoryError> {
        self.mark(mainline, MAINLINE)?;
        self.mark(step, STEP)?;
        let mut side = BTreeSet::new();
        while let Some(parents) = self.step()? {
            side.extend(parents.iter().filter(|parent| self.is_side(parent)));
            if side.len() > limit {
                side.retain(|one| self.is_side(one));
                if side.len() > limit {
                    return Ok(None);
                }
            }
        }
        loop {
            // What the mainline has reached meanwhile is no part of it, and others are the roots.
            side.retain(|one| self.is_side(one));
            if side.is_empty() {
                return Ok(Some(side));
            }
            for roots in self.roots(&side)?.chunks(MAX_ROOTS) {
                self.prove(roots)?;
            }
            if side.iter().all(|one| self.is_side(one)) {
                return Ok(Some(side));
            }
        }
    }

    fn is_side(&self, id: &CommitId) -> bool {
        self.has(id, STEP) && !self.has(id, MAINLINE)
    }

    /// What of a side has no parent there: all of it descends from one of these.
    fn roots(&self, side: &BTreeSet<CommitId>) -> Result<Vec<CommitId>, HistoryError> {
        let mut roots = Vec::new();
        for one in side {
            let parents = self.ancestry.known(one, self.read)?.parents;
            if !parents.iter().any(|parent| side.contains(parent)) {
                roots.push(*one);
            }
        }
        Ok(roots)
    }

    /// The side, after all that is behind the mainline.
    fn whole(
        &mut self,
        mainline: &CommitId,
        step: &CommitId,
        limit: usize,
    ) -> Result<BTreeSet<CommitId>, HistoryError> {
        self.mark(mainline, MAINLINE)?;
        self.go_on(Until::Exhausted);
        while self.step()?.is_some() {}
        self.mark(step, STEP)?;
        self.go_on(Until::Mainline);
        let mut side = BTreeSet::new();
        while let Some(parents) = self.step()? {
            side.extend(parents.iter().filter(|parent| self.is_side(parent)));
            if side.len() > limit {
                return Err(HistoryError::Limit { what: format!("commits that {step} merges"), limit: limit as u64 });
            }
        }
        Ok(side)
    }
}
