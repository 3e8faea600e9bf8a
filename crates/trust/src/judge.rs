//! The judgement of a range: from where trust starts to a head, along first parents, oldest first, each step by the
//! policy of its predecessor alone. The first refusal ends it; what was good before it stays good.
//!
//! Equal floor, equal verdict: a key's end is compared with `now` only above the floor (what the caller says was
//! accepted, or `resumeFrom`); below it, and where there is no floor, with the committer time alone.

mod break_glass;
mod holds;
mod introduction;
mod line;
mod mainline;
mod position;
mod predecessor;
mod rollback;
mod same_payload;
mod skip;
mod tag;

use break_glass::{NO_WAIVERS, unwaived};
use position::{Floor, Position, UpToFloor};

pub(crate) use break_glass::is_waivable;
pub use break_glass::{BreakGlass, LetThrough, WaivedStep, Waivers, judge_break_glass, judge_waiving, still_waived};
pub use rollback::{HeldTo, ObeyedRollback, Rollback, held_to, judge_rollback, rollback_signers};

use std::{cell::OnceCell, rc::Rc};

use jiff::Timestamp;
use manifest::{Digest, Finding, Subject};

pub use holds::judge_floor;
pub use introduction::judge_introduction;
use line::{Accepted, Line};
pub use tag::TagVerdict;

use crate::{
    AuthorizedCommit, CommitId, CommitObject, Head, History, Signer, TagObject, TrustCode, TrustFile, TrustRootSpec,
    VerifiedCommit,
    declared_kinds::Definitions,
    explain::Told,
    instants::Instants,
    refusal::{floor_left_out, mend_signature, refuse},
    repair::Place,
    signature_cache::{SignatureCache, Verifier, Verifiers},
    step::{Brought, Step, changes, payload_in_force, read_commit},
    verified::{Grounds, made_at, trust_digest},
    watched::Watched,
};

/// Most steps of one judgement, from the introduction if it must be (after an edit of the TrustRoot, or with a lost log):
/// a hundred commits a day for five years. At less than 1 ms each they take up to 200 s; their ids take 7 MB. Whoever
/// gets there names a later introduction.
pub const MAX_STEPS: usize = 200_000;

/// From where a judgement starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// From the introduction that the TrustRoot pins, which is judged as well.
    Introduction,
    /// As [`Start::Introduction`], with this commit as the floor: it must be on the way to the head, or to an introduction
    /// after it, and nothing before it is given out as accepted or listed. For a revision that is known to have been accepted, but not proven.
    Above(CommitId),
    /// From a commit that the caller takes as accepted; it is the floor. Of the times before it nothing is known but its own.
    Accepted(CommitId),
    /// From a commit proven to have been accepted; it is the floor. If trust has changed since (the trust digest
    /// differs), everything from the introduction is judged again, as for [`Start::Above`].
    Resumed(AuthorizedCommit),
}

/// The verdict on a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The commit that the steps follow, not itself a step; `None` if that commit is refused.
    pub from: Option<CommitId>,
    /// The head that was judged.
    pub to: CommitId,
    /// The steps in order. They end with the first refusal; a refusal that belongs to no step is listed for the head,
    /// one of the introduction for the introduction.
    pub steps: Vec<StepVerdict>,
    accepted: Option<AuthorizedCommit>,
    waived: Vec<WaivedStep>,
    broken: Option<Finding>,
    unreadable: Option<String>,
    judged: u64,
    approvals: Vec<(CommitId, Vec<Vec<u8>>)>,
    tag: Option<TagVerdict>,
}

/// The verdict on one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepVerdict {
    /// The commit.
    pub commit: CommitId,
    /// SHA-256 of what was signed; of the whole body if it is unsigned or unreadable, of nothing if it is missing.
    pub payload_sha256: Digest,
    /// Accepted, or why not.
    pub verdict: Result<(), Finding>,
    /// Whose good signature it carries, also if the step is refused for something else.
    pub signer: Option<Signer>,
    /// Refused commits before it that root principals had left out: it was judged as one step with them.
    pub skipped: Vec<CommitId>,
}

impl Judgement {
    fn of(head: CommitId) -> Self {
        let (from, accepted, broken, unreadable, tag) = (None, None, None, None, None);
        let (steps, approvals, waived) = (Vec::new(), Vec::new(), Vec::new());
        Self { from, to: head, steps, accepted, waived, broken, unreadable, judged: 0, approvals, tag }
    }

    /// The last commit that is accepted; `None` if none is, or if the start was taken on the caller's word and
    /// nothing after it is.
    #[must_use]
    pub const fn accepted(&self) -> Option<&AuthorizedCommit> {
        self.accepted.as_ref()
    }

    /// The steps that were let through by the order about the head.
    #[must_use]
    pub fn waived(&self) -> &[WaivedStep] {
        &self.waived
    }

    /// Why what is accepted holds no longer: files in it are as steps left them that are revoked by now. The acceptance
    /// stands, and with it the revocation; nothing of it may be rolled out until they are made anew or vouched for.
    #[must_use]
    pub const fn broken(&self) -> Option<&Finding> {
        self.broken.as_ref()
    }

    /// What lay beside steps and made them accepted, each with its commit: envelopes with at least one signature that counts.
    /// Whoever keeps them can have these steps judged again, whatever becomes of where they lay. Those of steps that are not
    /// listed, up to a floor, are among them: with a lost log nobody has kept them. At 2 KiB each, those of 10,000 approved
    /// steps are 20 MB for as long as the judgement is.
    #[must_use]
    pub fn approvals(&self) -> &[(CommitId, Vec<Vec<u8>>)] {
        &self.approvals
    }

    /// The tag that leads to the head, if the tracked ref is one and all but it was found good.
    #[must_use]
    pub const fn tag(&self) -> Option<&TagVerdict> {
        self.tag.as_ref()
    }

    /// How many steps were judged, also those up to a floor that are not listed.
    #[must_use]
    pub const fn judged(&self) -> u64 {
        self.judged
    }

    /// Why the object database could not be read, if that is why the head is not accepted: then its refusal says
    /// nothing about the commit, and another try may end otherwise.
    #[must_use]
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref().filter(|_reason| self.refusal().is_some())
    }

    /// Why the head is not accepted; `None` if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<&Finding> {
        self.steps.last().and_then(|step| step.verdict.as_ref().err())
    }
}

/// Judges `head`. Where the tracked ref is a tag, it has to come with the tag object.
#[must_use]
pub fn judge(
    history: &dyn History,
    root: &TrustRootSpec,
    start: &Start,
    head: impl Into<Head>,
    now: Timestamp,
) -> Judgement {
    judge_with(history, root, start, head, now, Verifiers::default())
}

/// Judges `head` as [`judge`] does, with what the caller has for verifying signatures: those that are known are not
/// verified again, and what was looked through for revoked commits is not looked through again, which changes no verdict;
/// and keyless ones can count.
#[must_use]
pub fn judge_with<'a>(
    history: &dyn History,
    root: &TrustRootSpec,
    start: &Start,
    head: impl Into<Head>,
    now: Timestamp,
    with: impl Into<Verifiers<'a>>,
) -> Judgement {
    judge_and_tell(history, root, start, head.into(), now, with.into(), None, &Waivers::default())
}

/// Judges `head`, and tells why.
#[expect(clippy::too_many_arguments, reason = "what a range is judged by, each of another kind")]
pub(crate) fn judge_and_tell(
    history: &dyn History,
    root: &TrustRootSpec,
    start: &Start,
    head: Head,
    now: Timestamp,
    with: Verifiers<'_>,
    told: Option<&Told<'_>>,
    waivers: &Waivers,
) -> Judgement {
    let watched = Watched::new(history);
    let mut judge = Judge { told, waivers, ..Judge::new(&watched, root, start, now, head, with) };
    match judge.tagged() {
        Ok(tag) => judge.tag = tag,
        Err(finding) => {
            let mut judgement = Judgement::of(head.commit);
            // Who may release says the trust file of the tagged commit.
            let policy = TrustFile::of_commit(&watched, &head.commit);
            let finding = policy.map_or(finding.clone(), |policy| policy.formats(Some(now)).fit(finding, None));
            judgement.steps.push(*judge.about(head.commit, finding));
            judgement.unreadable = watched.failure();
            return judgement;
        }
    }
    judge.range(&watched)
}

/// What is in force at an accepted commit.
struct State {
    commit: CommitId,
    /// The latest committer time on the line up to it.
    made: Timestamp,
    policy: Rc<TrustFile>,
    /// What [`trust_digest`] makes of it.
    digest: Digest,
}

/// What is in force after a step, and its commit.
type Good = (State, AuthorizedCommit);

/// A good step.
struct Taken {
    good: Good,
    /// The commits before it that were left out.
    skipped: Vec<CommitId>,
    /// What an order waives.
    waived: Option<Finding>,
    /// What lay beside it and was needed.
    approvals: Vec<Vec<u8>>,
}

/// A refusal with what is known of the commit.
type Refused = Box<StepVerdict>;

struct Judge<'a> {
    history: &'a dyn History,
    root: &'a TrustRootSpec,
    start: &'a Start,
    now: Timestamp,
    head: Head,
    /// What leads to the head, if the tracked ref is a tag.
    tag: Option<TagObject>,
    definitions: Definitions,
    verifier: Verifier<'a>,
    /// What earlier judgements left.
    known: Option<&'a SignatureCache>,
    /// Who wants to know why.
    told: Option<&'a Told<'a>>,
    /// What is let through.
    waivers: &'a Waivers,
}

impl<'a> Judge<'a> {
    /// One that nobody asks why, and that lets nothing through by an order.
    fn new(
        history: &'a dyn History,
        root: &'a TrustRootSpec,
        start: &'a Start,
        now: Timestamp,
        head: Head,
        with: Verifiers<'a>,
    ) -> Self {
        let (definitions, verifier, known) = (Definitions::default(), Verifier::new(with), with.known);
        let (tag, told, waivers) = (None, None, &NO_WAIVERS);
        Self { history, root, start, now, head, tag, definitions, verifier, known, told, waivers }
    }
}

impl Judge<'_> {
    /// Judges from the start to the head.
    fn range(&self, watched: &Watched<'_>) -> Judgement {
        let mut judgement = match self.start {
            Start::Introduction => self.run_from_introduction(self.root.resume_from, UpToFloor::Listed),
            Start::Above(floor) => self.run_from_introduction(Some(*floor), UpToFloor::Passed),
            Start::Accepted(commit) => {
                let state = self.resume(commit, None).map(|state| (state, None));
                self.run(*commit, state, &Floor::Below)
            }
            Start::Resumed(commit) => match self.resume(&commit.id, Some(commit)) {
                Ok(state) if state.digest == commit.trust_digest => {
                    self.run(commit.id, Ok((state, Some(commit.clone()))), &Floor::Below)
                }
                Ok(_) => self.run_from_introduction(Some(commit.id), UpToFloor::Passed),
                Err(refused) => self.run(commit.id, Err(refused), &Floor::Below),
            },
        };
        self.minimum_version(&mut judgement);
        judgement.unreadable = watched.failure();
        judgement
    }

    fn run_from_introduction(&self, floor: Option<CommitId>, up_to: UpToFloor) -> Judgement {
        let introduction = self.root.introduction.commit;
        let floor = match floor {
            None => Floor::None,
            Some(floor) if floor == introduction => Floor::Below,
            Some(floor) => Floor::At(floor, up_to),
        };
        let state = self.introduce().map(|(state, commit)| (state, Some(commit)));
        self.run(introduction, state, &floor)
    }

    /// Judges all steps from a state to the head.
    fn run(
        &self,
        from: CommitId,
        state: Result<(State, Option<AuthorizedCommit>), Refused>,
        floor: &Floor,
    ) -> Judgement {
        let mut judgement = Judgement::of(self.head.commit);
        let (mut state, accepted) = match state {
            Ok(start) => start,
            Err(refused) => {
                judgement.steps.push(*refused);
                return judgement;
            }
        };
        judgement.from = Some(from);
        // Nothing older than a floor is ever given out as accepted, whatever is refused after it.
        let (chain, mut reached) = match self.way(&from, floor) {
            Ok(chain) => chain,
            Err(finding) => {
                judgement.accepted = accepted.filter(|_commit| !matches!(floor, Floor::At(..)));
                let finding = state.policy.formats(Some(self.now)).fit(finding, None);
                judgement.steps.push(*self.about(self.head.commit, finding));
                return judgement;
            }
        };
        judgement.accepted = accepted.filter(|_commit| reached);
        let (mut at, mut past, mut line) = (0, None, Line::after(from));
        while let Some(commit) = chain.get(at).copied() {
            let position = Position::of(reached, floor);
            judgement.judged = judgement.judged.saturating_add(1);
            let alone = self.step(&state, commit, position, &[]);
            let taken = match alone.or_else(|refused| self.skip(&state, &chain, at, position, refused)) {
                Ok(taken) => taken,
                Err(refused) => {
                    let refused = if reached { refused } else { self.accepted_before(refused, &state) };
                    judgement.steps.push(*refused);
                    break;
                }
            };
            let Taken { good: (next, authorized), skipped, waived, approvals } = taken;
            let (commit, predecessor) = (next.commit, state.commit);
            judgement.waived.extend(waived.map(|finding| WaivedStep { commit, predecessor, finding }));
            at = at.saturating_add(skipped.len()).saturating_add(1);
            past = past.or(match floor {
                Floor::At(floor, _) if skipped.contains(floor) => Some((*floor, next.commit)),
                _ => None,
            });
            let (approved, before) = (self.approved(&commit, &approvals), Some(predecessor));
            line.steps.push(Accepted { commit, predecessor: before, skipped: skipped.clone(), approved });
            judgement.approvals.extend((!approvals.is_empty()).then_some((next.commit, approvals)));
            if reached || !matches!(floor, Floor::At(_, UpToFloor::Passed)) {
                judgement.steps.push(StepVerdict {
                    commit: next.commit,
                    payload_sha256: authorized.payload_sha256,
                    verdict: Ok(()),
                    signer: authorized.signer().cloned(),
                    skipped,
                });
            } else {
                judgement.from = Some(next.commit);
            }
            reached |= matches!(floor, Floor::At(at, _) if *at == next.commit);
            judgement.accepted = reached.then_some(authorized);
            state = next;
        }
        if let Some((floor, by)) = past.filter(|_| judgement.refusal().is_none()) {
            judgement.steps.push(*self.about(self.head.commit, floor_left_out(&self.head.commit, &floor, &by)));
        }
        match &self.tag {
            // What leads to a refused commit released nothing on the way to it either.
            Some(_) if judgement.refusal().is_some() => judgement.accepted = None,
            Some(tag) => self.judge_tag(tag, &state, floor, &mut judgement),
            None => {}
        }
        judgement.broken = self.still_holds(&state, &judgement.waived, line).err();
        judgement
    }

    fn step(&self, state: &State, id: CommitId, position: Position, skipped: &[CommitId]) -> Result<Taken, Refused> {
        let above = position.is_above();
        // Looked up for a refusal alone.
        let formats = || state.policy.formats(Some(self.now));
        let object = read_commit(self.history, &id).map_err(|finding| self.about(id, formats().fit(finding, None)))?;
        let refused = |finding| refusal_of(&object, None, formats().fit(finding, None));
        payload_in_force(&object, &state.policy).map_err(refused)?;
        let place = Place::of(&id, &self.head.commit);
        let made = self.time(state, &object, place).map_err(refused)?;
        let instants = Instants { committer: made, first_sight: above.then_some(self.now) };
        let verified = VerifiedCommit::verify(&object, &state.policy, &instants, self.verifier)
            .map_err(|finding| mend_signature(finding, &formats(), &object, Some(&state.commit), place))
            .map_err(|finding| refusal_of(&object, None, finding))?;
        let signer = verified.signer().clone();
        let refused = |finding: Finding| {
            // What is said of another commit, one that a merge brings along, somebody else mends.
            let is_its_own = finding.subject == Subject::Commit(id.to_string());
            let finding = formats().fit(finding, is_its_own.then_some(signer.format));
            refusal_of(&object, Some(signer.clone()), finding)
        };
        let changes = changes(self.history, Some(&state.commit), &id, place).map_err(refused)?;
        self.few_changes(position, &id, changes.len()).map_err(refused)?;
        let author = &signer.principal;
        let (policy, verifier) = (&state.policy, self.verifier);
        let brought =
            Brought::by(self.history, self.root, policy, &object, place, &instants, verifier, &changes, author)
                .map_err(refused)?;
        let order = self.waives(&id, above);
        let mut step = Step {
            history: self.history,
            root: self.root,
            policy: &state.policy,
            predecessor: &state.commit,
            object: &object,
            place,
            instants,
            verifier,
            changes,
            skipped,
            definitions: &self.definitions,
            brought,
            waives: order == Ok(true),
            waived: OnceCell::new(),
            approved: OnceCell::new(),
        };
        if let Some(told) = self.told {
            told.tell(&step, author);
        }
        let (next, digest) = match &step.brought {
            Some(brought) => (&brought.file, trust_digest(self.root, &brought.file, verifier.basis())),
            None => (&*state.policy, state.digest),
        };
        let latest = made.max(state.made);
        let authorized = AuthorizedCommit::authorize(verified, &Grounds::Step(&step), self.root, next, digest, latest)
            .map_err(|finding| refused(unwaived(finding, &order)))?;
        // One that was let through before is no news.
        let waived = step.waived.take().filter(|_| !self.waivers.before.contains_key(&id));
        let policy = step.brought.take().map_or_else(|| Rc::clone(&state.policy), |brought| Rc::new(brought.file));
        let approvals = step.approved.take().map(|approvals| approvals.counted).unwrap_or_default();
        let good = (State { commit: id, made: latest, policy, digest }, authorized);
        Ok(Taken { good, skipped: skipped.to_vec(), waived, approvals })
    }

    /// W503 if what is accepted stands on a policy older than the TrustRoot demands; then nothing is accepted.
    fn minimum_version(&self, judgement: &mut Judgement) {
        let minimum = self.root.min_policy_version;
        let Some(accepted) = judgement.accepted.take_if(|accepted| accepted.policy_version < minimum) else { return };
        if judgement.refusal().is_some() {
            return;
        }
        let found = format!("version {} of .writ/trust.yaml is in force", accepted.policy_version);
        let needed = format!("at least version {minimum} (minPolicyVersion of the TrustRoot)");
        let fix = "fetch the newest head; it may have been held back by the server".to_owned();
        let finding = refuse(TrustCode::W503, &self.head.commit, found, needed, fix);
        match judgement.steps.last_mut() {
            Some(last) => last.verdict = Err(finding),
            None => judgement.steps.push(*self.about(self.head.commit, finding)),
        }
    }

    /// A refusal of a commit of which nothing else is known.
    fn about(&self, commit: CommitId, finding: Finding) -> Refused {
        // Of nothing, where there is nothing to read: a verdict has a payload, and no approval names this one.
        let payload = self.payload(&commit).unwrap_or_else(|| Digest::of(b""));
        Box::new(StepVerdict {
            commit,
            payload_sha256: payload,
            verdict: Err(finding),
            signer: None,
            skipped: Vec::new(),
        })
    }
}

/// A refusal of a commit that was read.
fn refusal_of(object: &CommitObject, signer: Option<Signer>, finding: Finding) -> Refused {
    Box::new(StepVerdict {
        commit: object.id,
        payload_sha256: object.payload_sha256,
        verdict: Err(finding),
        signer,
        skipped: Vec::new(),
    })
}
