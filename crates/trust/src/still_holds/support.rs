//! Steps that stood on more than who signed them: on approvals, or on an order that let them through, some of which are
//! withdrawn, or gone.
//!
//! Somebody may approve such a step at any time, without another commit. So it is kept what such a step lacks, and asked
//! again as soon as something else lies beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use manifest::{Digest, Finding, RepoPath};

use super::{
    Approved, Ends, Made, StillHolds,
    approvals::{At, Judged},
    orders::Ordered,
};
use crate::{
    Change, CommitId, CommitObject, HistoryError, approval::Approvals, issuers::Issuers, signed_by::SignedBy,
    step::read_commit,
};

/// What lies beside a step, if it can be read.
type Beside = Result<Vec<Vec<u8>>, HistoryError>;

/// A step for which too few were left when what lay beside it was read last, or who has approved it since.
#[derive(Debug, Clone)]
pub(super) struct Support {
    made: Arc<Made>,
    /// The ends of soft revocations that are not before the step.
    spared: Ends,
    /// What lay beside it; nothing if that could not be read.
    beside: Option<Digest>,
    /// Who is withdrawn, or what is gone.
    pub(super) why: String,
    /// The files for which those who are left do not stand.
    lacking: BTreeSet<RepoPath>,
}

impl Support {
    /// Whether enough stand for what the step left at a path.
    pub(super) fn stands(&self, path: &RepoPath) -> bool {
        !self.lacking.contains(path)
    }
}

/// Who stands for a step besides who signed it.
struct Backing<'o> {
    judged: Judged<'o>,
    approvals: Approvals,
    /// Why it may be too few; nothing if nobody is known to be withdrawn or missing.
    why: Option<String>,
}

impl StillHolds<'_> {
    /// What a step lacks without what is withdrawn, and all that it changed on the word of others than who signed it; nothing
    /// if enough stand for it.
    pub(super) fn support(&self, at: At<'_>, issuers: &Issuers) -> Result<Option<(Support, Vec<Change>)>, Finding> {
        if !self.revokes_signers() {
            return Ok(None);
        }
        let At { place, step, .. } = at;
        let ordered = self.ordered(at, issuers)?;
        // What the signer was enough for stands, whatever anybody puts beside it.
        if step.approved == Approved::No && !matches!(ordered, Ordered::Fallen(_)) {
            return Ok(None);
        }
        // Before there was a trust file nobody was asked.
        if step.approved == Approved::Untold && self.policy_at(at.predecessor)?.is_none() {
            return Ok(None);
        }
        let beside = self.history.attestations(&step.commit, &step.tree);
        let object = read_commit(self.history, &step.commit)?;
        let Backing { judged, approvals, why } = self.backing(at, &object, ordered, &beside, issuers)?;
        let Some(why) = why else { return Ok(None) };
        let lacking = paths(self.unsupported(&judged, approvals)?);
        if lacking.is_empty() {
            return Ok(None);
        }
        let alone = self.unsupported(&judged, Approvals::default())?;
        let spared = at.ends.iter().filter(|(_, end)| place <= **end).map(|(after, _)| (*after, 0)).collect();
        Ok(Some((Support { made: Arc::clone(step), spared, beside: digest(&beside), why, lacking }, alone)))
    }

    /// Asks those steps again beside which something else lies by now.
    pub(super) fn ask_again(
        &self,
        supports: &mut BTreeMap<CommitId, Support>,
        issuers: &Issuers,
    ) -> Result<(), Finding> {
        for support in supports.values_mut() {
            let step = &support.made;
            let beside = self.history.attestations(&step.commit, &step.tree);
            self.is_seen(&beside);
            let found = digest(&beside);
            let Some(predecessor) = step.predecessor.as_ref().filter(|_| found != support.beside) else { continue };
            let at = At { place: 0, ends: &support.spared, step, predecessor };
            let object = read_commit(self.history, &step.commit)?;
            let ordered = self.ordered(at, issuers)?;
            let Backing { judged, approvals, why } = self.backing(at, &object, ordered, &beside, issuers)?;
            let lacking = paths(self.unsupported(&judged, approvals)?);
            (support.beside, support.lacking) = (found, lacking);
            support.why = why.unwrap_or_else(|| std::mem::take(&mut support.why));
        }
        Ok(())
    }

    fn backing<'o>(
        &self,
        at: At<'o>,
        object: &'o CommitObject,
        ordered: Ordered,
        beside: &Beside,
        issuers: &Issuers,
    ) -> Result<Backing<'o>, Finding> {
        let judged = self.judged(at, object, matches!(ordered, Ordered::Stands))?;
        self.is_seen(beside);
        let (approvals, withdrawn) = match beside {
            // Whoever makes it unreadable must not keep a withdrawn approval in force: it counts as withdrawn.
            Err(error) => (Approvals::default(), Some(format!("what approved it cannot be read: {error}"))),
            Ok(_) => {
                let withdrawn = |signed: &SignedBy| self.withdrawn_by(at.ends, at.place, signed, issuers);
                let approvals = self.approvals(&judged, &withdrawn)?;
                let stood_on = approvals.withdrawn.iter().find(|(approval, _why)| judged.stood_on(approval));
                let gone = || (at.step.approved == Approved::Yes).then(|| "what approved it is gone".to_owned());
                let why = stood_on.map(|(_, why)| why.clone()).or_else(gone);
                (approvals, why)
            }
        };
        let why = match ordered {
            Ordered::Fallen(why) => Some(why),
            Ordered::Not | Ordered::Stands => withdrawn,
        };
        let why = why.map(|why| format!("commit {:.12}: {why}", object.id.to_string()));
        Ok(Backing { judged, approvals, why })
    }

    fn is_seen(&self, beside: &Beside) {
        self.unseen.set(self.unseen.get() || beside.is_err());
    }
}

fn digest(beside: &Beside) -> Option<Digest> {
    beside.as_ref().ok().map(|envelopes| Digest::of_parts(envelopes.iter().map(Vec::as_slice)))
}

fn paths(changes: Vec<Change>) -> BTreeSet<RepoPath> {
    changes.into_iter().map(|change| change.path).collect()
}
