//! Whether what was accepted still holds under the revocations in force.
//!
//! A revocation works backwards: a hard one says that nothing this key ever signed can be believed, a soft one nothing
//! after a commit of the mainline, one of a payload that this content is refused. The step that brings it is accepted (else
//! the key would stay in force), and what revoked steps brought into the tree is looked at: a file that is still as such a
//! step left it does not hold, until a step by somebody else changes it or people who may change it vouch for the tree. A
//! step that was accepted because somebody approved it is looked at in the same way if the approval was signed with what
//! is revoked, and one that an order let through if too few are left who signed the order.

mod approvals;
mod orders;
mod support;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use manifest::{Finding, RepoPath};

use crate::{
    CommitId, Credit, Entry, History, HistoryError, KeyFingerprint, LetThrough, Revocation, Revoked, TreeId, TrustCode,
    TrustFile, TrustRootSpec,
    approval::{Approvals, Bound, FETCH_APPROVALS, PUSH_APPROVALS},
    instants::Instants,
    issuers::Issuers,
    refusal::{refuse, unreadable},
    repair::Place,
    signature_cache::Verifier,
    signed_by::{Certified, SignedBy},
    step::{MAX_SIDE_COMMITS, changes, read_commit},
};

use approvals::At;
pub(crate) use approvals::Policies;
use support::Support;

/// Most files that are compared step by step: 200 revoked files over 1,000 later steps; at 10 µs, 2 s. Beyond them a file is
/// taken for what the revoked step left.
const MAX_LOOKUPS: usize = 200_000;
/// How many files are told in one message.
const TOLD: usize = 5;

/// Whether what lay beside a step was asked for when it was accepted, and something of it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approved {
    No,
    Yes,
    /// It was accepted under a trust that is no longer known, or an order let it through.
    Untold,
}

/// A step that was accepted, now or before.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) commit: CommitId,
    /// The accepted step that it was judged from; nothing for the introduction.
    pub(crate) predecessor: Option<CommitId>,
    /// The refused commits between the two, which were left out: nothing of them was ever in force.
    pub(crate) skipped: Vec<CommitId>,
    pub(crate) approved: Approved,
    pub(crate) tree: TreeId,
    pub(crate) payload: manifest::Digest,
    /// Who signed it, as the signature has it.
    pub(crate) signed: SignedBy,
    /// Whether it brings other commits along.
    pub(crate) is_merge: bool,
}

/// What a revoked step left at a path.
#[derive(Debug, Clone)]
struct Left {
    /// The place of the step among those that are looked at; `None` if it is before them.
    step: Option<usize>,
    entry: Option<Entry>,
    why: Why,
}

/// Why that does not hold.
#[derive(Debug, Clone)]
enum Why {
    /// Who made it, or what it is, is revoked.
    Revoked(String),
    /// Too few stand for this step besides who signed it; somebody may approve it yet.
    Lacks(CommitId),
}

/// What was found on a mainline up to a commit: it is not looked for again when later commits are judged under the same
/// trust.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    /// The commit.
    pub(crate) last: CommitId,
    pub(crate) issuers: Issuers,
    /// What is still as a revoked step left it.
    left: BTreeMap<RepoPath, Left>,
    /// What of it the commit itself left.
    by_last: BTreeSet<RepoPath>,
    /// What the steps lack that left something because too few stand for them.
    supports: BTreeMap<CommitId, Support>,
    /// Whether that is all of it. Where a limit cut the search short, what a later search finds depends on where it begins.
    is_whole: bool,
}

impl Looked {
    /// Nothing yet.
    pub(crate) fn none(last: CommitId) -> Self {
        let (left, by_last, supports) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { last, issuers: Issuers::default(), left, by_last, supports, is_whole: true }
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Why what was left at a path does not hold; nothing if enough stand for it by now.
    fn why<'a>(&'a self, path: &RepoPath, left: &'a Left) -> Option<&'a str> {
        match &left.why {
            Why::Revoked(why) => Some(why),
            Why::Lacks(step) => {
                let support = self.supports.get(step).filter(|support| !support.stands(path));
                support.map(|support| support.why.as_str())
            }
        }
    }
}

/// The places of the steps at which soft revocations begin.
pub(crate) type Ends = BTreeMap<CommitId, usize>;

/// Where soft revocations begin among these steps. An end that is not among them lies before all of them; one that was left
/// out, where the step before it is.
pub(crate) fn ends(policy: &TrustFile, steps: &[Arc<Made>]) -> Ends {
    let ends: BTreeSet<CommitId> = policy.revoked.values().filter_map(|revocation| revocation.after).collect();
    let mut places = Ends::new();
    for (place, step) in steps.iter().enumerate() {
        let left_out =
            place.checked_sub(1).into_iter().flat_map(|before| step.skipped.iter().map(move |id| (id, before)));
        let all = left_out.chain([(&step.commit, place)]).filter(|(commit, _)| ends.contains(commit));
        places.extend(all.map(|(commit, place)| (*commit, place)));
    }
    places
}

/// What is asked: accepted steps, oldest first, and the policy that is in force after the last.
pub(crate) struct StillHolds<'a> {
    pub(crate) history: &'a dyn History,
    pub(crate) root: &'a TrustRootSpec,
    pub(crate) policy: &'a TrustFile,
    pub(crate) steps: &'a [Arc<Made>],
    /// Where soft revocations begin: at these places, which may lie beyond the last of the steps.
    pub(crate) ends: &'a Ends,
    /// What orders let through.
    pub(crate) let_through: &'a BTreeMap<CommitId, LetThrough>,
    /// The last of them, or what they would follow if there are none.
    pub(crate) last: CommitId,
    /// The commit whose trust file is the policy: a later one, where something earlier is asked by today's.
    pub(crate) judged_by: CommitId,
    pub(crate) instants: Instants,
    pub(crate) verifier: Verifier<'a>,
    pub(crate) policies: Policies,
    /// Whether something that lies beside a step could not be read.
    pub(crate) unseen: Cell<bool>,
}

impl StillHolds<'_> {
    /// Goes on with what was found before these steps.
    pub(crate) fn look(&self, before: Looked) -> Result<Looked, Finding> {
        let Looked { issuers, mut left, mut by_last, mut supports, is_whole, .. } = before;
        left.values_mut().for_each(|left| left.step = None);
        self.ask_again(&mut supports, &issuers)?;
        self.left_by_revoked(&issuers, &mut left, &mut supports)?;
        let was_whole = self.drop_what_was_made_anew(&mut left)?;
        if let Some(last) = self.steps.len().checked_sub(1) {
            let of_last = left.iter().filter(|(_, left)| left.step == Some(last));
            by_last = of_last.map(|(path, _)| path.clone()).collect();
        }
        let lacking = left.values().filter_map(|left| match left.why {
            Why::Lacks(step) => Some(step),
            Why::Revoked(_) => None,
        });
        let lacking: BTreeSet<CommitId> = lacking.collect();
        supports.retain(|step, _| lacking.contains(step));
        let is_whole = is_whole && was_whole && !self.unseen.get();
        Ok(Looked { last: self.last, issuers, left, by_last, supports, is_whole })
    }

    /// What was found before, by what lies beside its steps now.
    pub(crate) fn again(&self, known: &Looked) -> Result<Looked, Finding> {
        let mut looked = known.clone();
        self.ask_again(&mut looked.supports, &looked.issuers)?;
        Ok(looked)
    }

    /// W304 for the last step if files in it are as revoked steps left them.
    pub(crate) fn verdict(&self, looked: &Looked) -> Result<(), Finding> {
        self.verdict_on(looked, |_path| true)
    }

    /// The same for these files alone, and all that the last step left itself.
    pub(crate) fn verdict_on(&self, looked: &Looked, counts: impl Fn(&RepoPath) -> bool) -> Result<(), Finding> {
        let is_asked = |path: &RepoPath| counts(path) || looked.by_last.contains(path);
        let asked = looked.left.iter().filter(|(path, _)| is_asked(path));
        let mut left: BTreeMap<&RepoPath, &str> =
            asked.filter_map(|(path, left)| Some((path, looked.why(path, left)?))).collect();
        if left.is_empty() {
            return Ok(());
        }
        let vouched = self.vouched()?;
        left.retain(|path, _| self.policy.authorise(&self.last, path, &vouched).is_err());
        if left.is_empty() { Ok(()) } else { Err(self.finding(&left)) }
    }

    /// Why a step counts for nothing, if it does. `place` is its place among the steps.
    fn revoked(&self, place: usize, step: &Made, issuers: &Issuers) -> Option<String> {
        if let Some(revocation) = self.policy.revoked.get(&Revoked::Payload(step.payload)) {
            return Some(format!("its content is revoked ({revocation})"));
        }
        self.withdrawn(place, &step.signed, issuers)
    }

    /// Why what made a signature counts for nothing at this place, if it does.
    pub(crate) fn withdrawn(&self, place: usize, signed: &SignedBy, issuers: &Issuers) -> Option<String> {
        self.withdrawn_by(self.ends, place, signed, issuers)
    }

    /// The same where soft revocations begin elsewhere.
    fn withdrawn_by(&self, ends: &Ends, place: usize, signed: &SignedBy, issuers: &Issuers) -> Option<String> {
        // One that is revoked only after this step says nothing about the others.
        let hits = |revocation: &Revocation| {
            let is_before = revocation.after.is_some_and(|after| ends.get(&after).is_some_and(|end| place <= *end));
            !is_before
        };
        let by_key = |key: KeyFingerprint| {
            let revocation = self.policy.revoked.get(&key.into()).filter(|one| hits(one))?;
            Some(format!("key {key} is revoked ({revocation})"))
        };
        let by_name = |certified: &Certified| {
            let is_meant = |revoked: &Revoked| match revoked {
                Revoked::Serials { ca, from, to } => {
                    issuers.is_authority(ca, &certified.authority) && (*from..=*to).contains(&certified.serial)
                }
                Revoked::KeyId { ca, key_id } => {
                    issuers.is_authority(ca, &certified.authority) && *key_id == certified.key_id
                }
                Revoked::Key(_) | Revoked::Certificate(_) | Revoked::Keyless(_) | Revoked::Payload(_) => false,
            };
            let mut found = self.policy.revoked.iter().filter(|(what, revocation)| is_meant(what) && hits(revocation));
            found.next().map(|(what, revocation)| format!("{what} is revoked ({revocation})"))
        };
        let accounts = || self.policy.revoked.keys().any(|revoked| matches!(revoked, Revoked::Keyless(_)));
        if signed.is_unknown_account && accounts() {
            return Some("its account cannot be read, and accounts are revoked".to_owned());
        }
        let keys = issuers.with_certificates(&signed.keys);
        keys.into_iter().find_map(by_key).or_else(|| signed.certificate.as_ref().and_then(by_name))
    }

    fn left_by_revoked(
        &self,
        issuers: &Issuers,
        left: &mut BTreeMap<RepoPath, Left>,
        supports: &mut BTreeMap<CommitId, Support>,
    ) -> Result<(), Finding> {
        for (place, step) in self.steps.iter().enumerate() {
            if let Some(why) = self.revoked(place, step, issuers) {
                let why = Why::Revoked(format!("commit {:.12}: {why}", step.commit.to_string()));
                for change in changes(self.history, step.predecessor.as_ref(), &step.commit, Place::Below)? {
                    left.insert(change.path, Left { step: Some(place), entry: change.after, why: why.clone() });
                }
            } else if let Some(predecessor) = &step.predecessor {
                if step.is_merge {
                    self.left_by_sides(place, step, predecessor, issuers, left)?;
                }
                let Some((support, changes)) =
                    self.support(At { place, ends: self.ends, step, predecessor }, issuers)?
                else {
                    continue;
                };
                for change in changes {
                    let why = Why::Lacks(step.commit);
                    left.insert(change.path, Left { step: Some(place), entry: change.after, why });
                }
                supports.insert(step.commit, support);
            }
        }
        Ok(())
    }

    /// What a merge took over from commits with a revoked key, unless its own signer may answer for it alone.
    fn left_by_sides(
        &self,
        place: usize,
        step: &Made,
        predecessor: &CommitId,
        issuers: &Issuers,
        left: &mut BTreeMap<RepoPath, Left>,
    ) -> Result<(), Finding> {
        let sides = self.history.side_commits(predecessor, &step.commit, MAX_SIDE_COMMITS);
        let merger = step.signed.keys.first().and_then(|key| self.policy.holder_of(key)).map(Credit::of_author);
        let answers = |path: &RepoPath| {
            merger.as_ref().is_some_and(|merger| self.policy.authorise(&step.commit, path, merger).is_ok())
        };
        for side in sides.map_err(|error| unreadable(&step.commit, &error))? {
            if step.skipped.contains(&side) {
                continue;
            }
            let object = read_commit(self.history, &side)?;
            let made = Made {
                commit: side,
                predecessor: object.parents.first().copied(),
                skipped: Vec::new(),
                approved: Approved::No,
                tree: object.tree,
                payload: object.payload_sha256,
                signed: self.verifier.signed_by(&object),
                is_merge: false,
            };
            let Some(why) = self.revoked(place, &made, issuers) else { continue };
            for change in changes(self.history, object.parents.first(), &side, Place::Below)? {
                if self.entry(&step.commit, &change.path)? == change.after && !answers(&change.path) {
                    let why = Why::Revoked(format!("commit {:.12}: {why}", side.to_string()));
                    left.insert(change.path, Left { step: Some(place), entry: change.after, why });
                }
            }
        }
        Ok(())
    }

    /// Forgets what is no longer as the revoked step left it, and what a later step, which is not revoked, changed. Whether
    /// everything was compared.
    fn drop_what_was_made_anew(&self, left: &mut BTreeMap<RepoPath, Left>) -> Result<bool, Finding> {
        let mut lookups = 0_usize;
        let mut remaining = BTreeMap::new();
        for (path, was) in std::mem::take(left) {
            if self.entry(&self.last, &path)? != was.entry {
                continue;
            }
            let mut entry = was.entry.clone();
            let mut is_anew = false;
            // No revoked step changed it later, or it would be that one that left it.
            for step in self.steps.iter().skip(was.step.map_or(0, |step| step.saturating_add(1))) {
                lookups = lookups.saturating_add(1);
                if lookups > MAX_LOOKUPS {
                    break;
                }
                let next = self.entry(&step.commit, &path)?;
                if next != entry {
                    is_anew = true;
                    break;
                }
                entry = next;
            }
            if !is_anew {
                remaining.insert(path, was);
            }
        }
        *left = remaining;
        Ok(lookups <= MAX_LOOKUPS)
    }

    /// Who vouches for the tree as it is.
    fn vouched(&self) -> Result<Credit, Finding> {
        let object = read_commit(self.history, &self.last)?;
        let predecessor = object.parents.first().copied().unwrap_or(self.last);
        let bound = Bound {
            root: self.root,
            policy: self.policy,
            predecessor: &predecessor,
            object: &object,
            instants: &self.instants,
            verifier: self.verifier,
            withdrawn: None,
        };
        let approvals = Approvals::of(self.history, &bound);
        Ok(Credit::by(None, approvals.vouching))
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, Finding> {
        self.history.entry(commit, path).map_err(|error: HistoryError| unreadable(commit, &error))
    }

    fn finding(&self, left: &BTreeMap<&RepoPath, &str>) -> Finding {
        let last = &self.last;
        let mut told: Vec<String> = left.iter().take(TOLD).map(|(path, why)| format!("{path} ({why})")).collect();
        if let Some(more) = left.len().checked_sub(TOLD).filter(|more| *more > 0) {
            told.push(format!("{more} more"));
        }
        let found = format!("it still holds what is revoked: {}", told.join(", "));
        let needed = "those files changed again by somebody in force, or vouched for".to_owned();
        let by = if self.judged_by == *last { String::new() } else { format!(" --trust {}", self.judged_by) };
        let paths: Vec<String> = left.keys().take(TOLD).map(|path| manifest::shell_quote(path.as_str())).collect();
        let look = format!("git log -p {last} -- {}", paths.join(" "));
        let vouch = format!("{look} && {FETCH_APPROVALS} && writ trust approve {last} --vouch{by}");
        let then = format!(" && {PUSH_APPROVALS} # if they are good as they are; otherwise change them by a commit");
        let fix = self.policy.formats_for(left.keys().copied(), None).writ(&vouch, &then);
        refuse(TrustCode::W304, last, found, needed, fix)
    }
}
