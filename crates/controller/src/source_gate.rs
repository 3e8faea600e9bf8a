//! The source gate: one poll, one fetch if the head moved, the judgement of every commit since the
//! last verified one, and the policy set of the head. Blocking; runs on a thread of its own.

mod reading;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use evidence::KeylessSignatures;
use git::{Approvals, Attested, ExchangeError, FetchChild, GitError, Mirror, Objects, Polled, Remote, poll};
use jiff::Timestamp;
use manifest::{Digest, Finding};
use policy::PolicySet;
use trust::{
    AuthorizedCommit, CommitId, Head, History, HistoryError, Judgement, ObeyedOrder, SignatureCache, Start, TagId,
    TrustCode, TrustFile, TrustRootSpec, Verifiers, Waivers, judge_waiving,
};

use crate::{
    break_glass::{self, GateOrder, GoodOrder, Override, Overrides},
    fault::FaultPoint,
    floor::{Floors, Owner, unreadable},
    freshness::{Beat, Beside},
    released::Released,
    schedule::backoff,
    state::Held,
};

use reading::load_policies;
pub(crate) use reading::{judging_folders, read_verified};

/// What one run of the gate needs.
#[derive(Debug, Clone)]
pub(crate) struct SourceJob {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// How the fetch child is started.
    pub child: FetchChild,
    /// What trust starts from.
    pub root: Arc<TrustRootSpec>,
    /// Name of that TrustRoot.
    pub root_name: String,
    /// What was verified before under that TrustRoot.
    pub signatures: Arc<SignatureCache>,
    /// What is known of the revision that was accepted last.
    pub floors: Floors,
    /// Digest of the GitSource's obeyed spec.
    pub spec: Digest,
    /// Orders to let a commit through.
    pub(crate) orders: Vec<GateOrder>,
    /// What orders let through before.
    pub(crate) overrides: Overrides,
    /// What was judged last; the same again needs no judgement.
    pub judged: Option<Judged>,
    /// Whether what the floor puts in force was read.
    pub in_force: InForce,
    /// The trust file in force, if it was read.
    pub trust_file: Option<Arc<TrustFile>>,
    /// The newest heartbeat that was heard.
    pub heard: Option<Beat>,
}

/// Whether what the floor puts in force is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InForce {
    /// It is, or there is no floor.
    Known,
    /// The mirror had lost it.
    Lost,
}

/// What a judgement was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The head.
    pub head: CommitId,
    /// The tag object that leads to it, if the ref is a tag that is one.
    pub tag: Option<TagId>,
    /// Digest of the TrustRoot.
    pub root: Digest,
    /// Digest of the GitSource's obeyed spec, which is recorded with every verdict.
    pub spec: Digest,
    /// What lay beside the commits: where the refs of approvals were.
    pub approvals: [Option<CommitId>; 2],
    /// Digest of the orders to let a commit through.
    pub orders: Digest,
}

/// What was judged last, and until when the verdict holds.
#[derive(Debug, Clone)]
pub(crate) struct LastJudged {
    /// What was judged.
    pub judged: Judged,
    /// When it is judged again although nothing changed, and how often that was so.
    again: Option<(Instant, u32)>,
}

impl LastJudged {
    /// A verdict that holds.
    #[must_use]
    pub(crate) const fn of(judged: Judged) -> Self {
        Self { judged, again: None }
    }

    /// A refusal that replaces `last`. If its reason may pass by itself, the pause until it is judged
    /// again, which grows.
    pub(crate) fn refused(
        last: &mut Option<Self>,
        judged: Judged,
        findings: &[Finding],
        random: u64,
    ) -> Option<Duration> {
        let attempts =
            last.as_ref().filter(|last| last.judged == judged).and_then(|last| last.again).map_or(0, |again| again.1);
        let attempts = attempts.saturating_add(1);
        let pause = may_pass(findings).then(|| backoff(attempts, random));
        *last = Some(Self { judged, again: pause.map(|pause| (Instant::now() + pause, attempts)) });
        pause
    }

    /// Whether the verdict still holds.
    #[must_use]
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.again.is_none_or(|(at, _)| now < at)
    }
}

/// Whether the reason of a refusal may pass without a push: it lies in the time, in the state of the
/// mirror, or in what is shown as accepted.
#[must_use]
pub(crate) fn may_pass(findings: &[Finding]) -> bool {
    let passing = [TrustCode::W204, TrustCode::W403, TrustCode::W406, TrustCode::W407, TrustCode::W508];
    findings.iter().any(|finding| passing.iter().any(|code| finding.code == code.entry()))
}

/// Whether what is held is held for the same codes.
#[must_use]
pub(crate) fn same_codes(held: &Held, findings: &[Finding]) -> bool {
    held.findings.iter().map(|finding| finding.code).eq(findings.iter().map(|finding| finding.code))
}

/// A head that the source gate accepted.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    /// The commit.
    pub commit: AuthorizedCommit,
    /// When it was made, as its committer says.
    pub made: Timestamp,
    /// The policies of its tree.
    pub policies: Arc<PolicySet>,
    /// The trust file of its tree, which judges what comes next.
    pub trust_file: Arc<TrustFile>,
    /// The tag by which it was released, and by whom, if the tracked ref is one and that was judged since the start.
    pub released: Option<Released>,
    /// Why nothing of it may be rolled out: files in it are as steps left them that are revoked by now.
    pub broken: Option<Finding>,
    /// What it came to under the TrustRoot that was asked about last: asked with each event, hashed with each TrustRoot.
    digest: Arc<Mutex<Option<Trusted>>>,
}

/// A TrustRoot, and the trust digest under it.
#[derive(Debug, Clone)]
struct Trusted {
    root: Arc<TrustRootSpec>,
    digest: Digest,
}

impl Verified {
    /// Digest of what trust says under this TrustRoot.
    pub(crate) fn trust_digest(&self, root: &Arc<TrustRootSpec>) -> Digest {
        let mut known = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(trusted) if Arc::ptr_eq(&trusted.root, root) => trusted.digest,
            _ => {
                let digest = trust::trust_digest(
                    root,
                    &self.trust_file,
                    Some(KeylessSignatures::basis_of(root.keyless.as_ref())),
                );
                *known = Some(Trusted { root: Arc::clone(root), digest });
                digest
            }
        }
    }
}

/// What a judgement cost, for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Commits that were judged.
    pub commits: u64,
    /// How long it took.
    pub took: Duration,
}

/// How one run of the gate ended.
#[derive(Debug)]
pub(crate) enum SourceOutcome {
    /// The head is the one judged last.
    Unchanged,
    /// The head was judged and accepted.
    Accepted {
        /// What was judged.
        judged: Judged,
        /// The accepted head.
        verified: Box<Verified>,
        /// The order that let it through, if it took one.
        by_order: Option<Box<Override>>,
        /// What it cost.
        tally: Tally,
    },
    /// The head was judged and refused.
    Refused {
        /// What was judged.
        judged: Judged,
        /// Why.
        findings: Vec<Finding>,
        /// Who signed the refused commit, if that is known.
        signer: Option<String>,
        /// The refused commit; the head, or one before it.
        commit: CommitId,
        /// The last good commit before it, if its trust file wants good commits taken one by one, or if trust changes
        /// on the way there: who was removed by a signed order cannot push that order away by putting a refused commit
        /// on top of it.
        prefix: Option<Box<Verified>>,
        /// What it cost.
        tally: Tally,
    },
    /// Another source of the repository was accepted meanwhile: the log has a newer floor.
    Overtaken,
    /// No verdict: the server, the way to it or the mirror.
    Unreachable(Finding),
}

impl SourceOutcome {
    /// Its name as a metric label.
    #[must_use]
    pub(crate) const fn result(&self) -> &'static str {
        match self {
            Self::Unchanged | Self::Overtaken => "same",
            Self::Accepted { .. } | Self::Refused { .. } => "new",
            Self::Unreachable(_) => "failed",
        }
    }
}

/// Runs the gate. The second is what lies beside the branch, if anybody asks for heartbeats and the server answered.
#[must_use]
pub(crate) fn run(job: &SourceJob, remote: &Remote, now: Timestamp) -> (SourceOutcome, Option<Beside>) {
    let polled = match poll(remote) {
        Ok(polled) => polled,
        Err(error) => return (SourceOutcome::Unreachable(error.finding()), None),
    };
    let outcome = run_steps(job, remote, polled, now);
    let beside = Beside::fetch(job, remote, polled);
    (outcome.unwrap_or_else(|finding| SourceOutcome::Unreachable(*finding)), beside)
}

fn run_steps(job: &SourceJob, remote: &Remote, polled: Polled, now: Timestamp) -> Result<SourceOutcome, Box<Finding>> {
    let head = polled.head.ok_or_else(|| Box::new(missing_ref(remote)))?;
    let approvals = approvals(job, remote, &polled)?;
    let beside = approvals.tips().map_err(|error| Box::new(GitError::from(error).finding()))?;
    let (tag, root) = (polled.tag, Digest::of(&job.root.canonical()));
    let judged =
        Judged { head, tag, root, spec: job.spec, approvals: beside, orders: break_glass::digest(&job.orders) };
    let format = job.root.introduction.commit.format();
    let mirror = Mirror::open_for(&job.mirror, format).map_err(|error| Box::new(GitError::from(error).finding()))?;
    // A mirror that was removed is fetched again, also if somebody who reads has made an empty one meanwhile.
    let fetched = is_incoming(&mirror, &head, tag.as_ref());
    if fetched && job.in_force == InForce::Known && job.judged.as_ref() == Some(&judged) {
        return Ok(SourceOutcome::Unchanged);
    }
    let there = fetched && is_there(mirror.objects(), &head, tag.as_ref());
    let (head, tag) = if there {
        (head, tag)
    } else {
        let fetched = mirror.fetch(remote, &job.child).map_err(|error| Box::new(not_fetched(&error, &job.root)))?;
        (fetched.head, fetched.tag)
    };
    FaultPoint::Fetched.pass();
    let judged = Judged { head, tag, ..judged };
    Ok(verdict(job, &Attested { objects: mirror.objects(), approvals: &approvals }, judged, now))
}

/// Why nothing was fetched; of a mirror that would be too large by the TrustRoot, with the field that says so.
pub(crate) fn not_fetched(error: &GitError, root: &TrustRootSpec) -> Finding {
    let finding = error.finding();
    let is_tighter = root.limits.as_ref().is_some_and(|limits| limits.repository_bytes.is_some());
    match error {
        GitError::Exchange { source: ExchangeError::MirrorBytes { .. }, .. } if is_tighter => Finding {
            needed: format!("{} (limits.repositoryBytes of the TrustRoot)", finding.needed).into(),
            fix: format!("{}; or have limits.repositoryBytes of the TrustRoot raised", finding.fix).into(),
            ..finding
        },
        _ => finding,
    }
}

/// What lies beside the commits, as new as it can be had: without the newest a change waits, and nothing else.
fn approvals(job: &SourceJob, remote: &Remote, polled: &Polled) -> Result<Approvals, Box<Finding>> {
    let approvals = Approvals::open_for(&job.mirror, job.root.introduction.commit.format())
        .map_err(|error| Box::new(GitError::from(error).finding()))?;
    if let Err(error) = approvals.fetch(remote, &job.child, polled) {
        tracing::warn!("approvals are not fetched, what waits for them goes on waiting: {}", error.finding());
    }
    Ok(approvals)
}

/// What verifies keyless signatures under a TrustRoot. One by which nothing can be verified is not obeyed at all.
pub(crate) fn keyless(root: &TrustRootSpec) -> Option<KeylessSignatures> {
    KeylessSignatures::of(root.keyless.as_ref())
        .inspect_err(|error| tracing::error!(error = %error, "keyless signatures cannot be verified"))
        .ok()
}

/// Judges a head whose history is there.
pub(crate) fn verdict(job: &SourceJob, history: &Attested<'_>, judged: Judged, now: Timestamp) -> SourceOutcome {
    let name = format!("TrustRoot {}", job.root_name);
    let start = match job.floors.start(history.objects, Owner { name: &name, root: &job.root_name }) {
        Ok(start) => start,
        Err(finding) => {
            let commit = judged.head;
            let (findings, tally) = (vec![*finding], Tally::default());
            return SourceOutcome::Refused { judged, findings, signer: None, commit, prefix: None, tally };
        }
    };
    let started = Instant::now();
    let good = break_glass::good(job, history, &judged.head, now);
    let judging = Judging { job, history, start, now, keyless: keyless(&job.root) };
    let head = Head { commit: judged.head, tag: judged.tag };
    let judgement = judging.up_to(head, good.as_ref().map(GoodOrder::obeyed)).under(&job.root_name);
    let tally = Tally { commits: judgement.judged(), took: started.elapsed() };
    // Before anything of it is accepted: it must be possible to judge it again.
    for (commit, envelopes) in judgement.approvals() {
        if let Err(error) = history.approvals.keep(commit, envelopes) {
            return SourceOutcome::Unreachable(GitError::from(error).finding());
        }
    }
    let mut outcome = judging.conclude(judged, &judgement, tally);
    if let SourceOutcome::Accepted { by_order, .. } = &mut outcome {
        *by_order = good.and_then(|good| Override::of(good, &judgement)).map(Box::new);
    }
    outcome
}

/// Whether the whole history of `head` was fetched: only a completed fetch moves the ref.
fn is_incoming(mirror: &Mirror, head: &CommitId, tag: Option<&TagId>) -> bool {
    mirror.incoming().is_ok_and(|incoming| incoming.as_ref() == Some(head))
        && mirror.incoming_tag().is_ok_and(|incoming| incoming.as_ref() == tag)
}

fn is_there(objects: &Objects, head: &CommitId, tag: Option<&TagId>) -> bool {
    objects.commit(head).is_ok_and(|commit| commit.is_some())
        && tag.is_none_or(|tag| objects.tag(tag).is_ok_and(|tag| tag.is_some()))
}

/// One judgement, and what comes of it.
struct Judging<'a> {
    job: &'a SourceJob,
    history: &'a Attested<'a>,
    start: Start,
    now: Timestamp,
    keyless: Option<KeylessSignatures>,
}

impl Judging<'_> {
    /// `ordered` where a good order lets this commit through.
    fn up_to(&self, head: Head, ordered: Option<Arc<ObeyedOrder>>) -> Judgement {
        let Self { job, history, start, now, keyless } = self;
        let with = Verifiers { known: Some(&job.signatures), keyless: keyless.as_ref().map(|one| one as _) };
        let waivers = Waivers { head: ordered, ..job.overrides.waivers() };
        judge_waiving(*history, &job.root, start, head, *now, with, &waivers)
    }

    fn conclude(&self, judged: Judged, judgement: &Judgement, tally: Tally) -> SourceOutcome {
        let refuse = |commit: CommitId, findings: Vec<Finding>, prefix: Option<Box<Verified>>| {
            let step = judgement.steps.iter().find(|step| step.commit == commit);
            // A tag is looked at when its commits are good: what is refused then is the tag.
            let signer =
                judgement.tag().map_or_else(|| step.and_then(|step| step.signer.as_ref()), |tag| tag.signer.as_ref());
            let signer = signer.map(|signer| format!("{} ({})", signer.principal, signer.key));
            SourceOutcome::Refused { judged: judged.clone(), findings, signer, commit, prefix, tally }
        };
        if let Err((commit, findings)) = compile_steps(self.history.objects, judgement) {
            return refuse(commit, findings, self.good_before(judgement, &commit));
        }
        let failed =
            judgement.steps.iter().find(|step| step.verdict.is_err()).map_or(&judged.head, |step| &step.commit);
        let (Some(commit), None) = (judgement.accepted(), judgement.refusal()) else {
            let findings = judgement.refusal().cloned().into_iter().collect();
            return refuse(*failed, findings, self.good_prefix(judgement));
        };
        let released = judgement.tag().and_then(Released::by);
        let verified = read_verified(self.history.objects, commit, judgement.broken().cloned())
            .map(|verified| Verified { released, ..verified });
        match (verified, judgement.broken()) {
            // Its trust file counts, so that the revocation does; its content waits.
            (Ok(verified), Some(broken)) => refuse(commit.id(), vec![broken.clone()], Some(Box::new(verified))),
            (Ok(verified), None) => {
                SourceOutcome::Accepted { judged, verified: Box::new(verified), by_order: None, tally }
            }
            (Err(findings), _) => refuse(commit.id(), findings, None),
        }
    }

    /// The last good commit of a refused push, where it counts for itself: if trust changes between the floor and it, or
    /// if its trust file, by which the next one is judged, says so (`history.partialAdvance`). Otherwise a push counts as
    /// a whole: nothing of it is in force while its head is refused.
    fn good_prefix(&self, judgement: &Judgement) -> Option<Box<Verified>> {
        let good = judgement.accepted()?;
        let floor = self.job.floors.log.as_ref();
        // Without a floor a head that does not descend from the introduction has no step that was good.
        let is_news = match floor {
            Some(floor) => floor.id() != good.id(),
            None => judgement.steps.iter().any(|step| step.verdict.is_ok()),
        };
        if !is_news {
            return None;
        }
        let moved = floor.is_some_and(|floor| floor.trust_digest() != good.trust_digest());
        let verified = read_verified(self.history.objects, good, judgement.broken().cloned()).ok()?;
        (moved || verified.trust_file.history.partial_advance).then(|| Box::new(verified))
    }

    /// As [`Self::good_prefix`], before a step that is good but for its policies. Judged once more up to there, since
    /// only the end of a judgement is proven; its signatures are known. Where the ref is a tag nobody released it.
    fn good_before(&self, judgement: &Judgement, uncompiled: &CommitId) -> Option<Box<Verified>> {
        let before = judgement.steps.iter().take_while(|step| step.commit != *uncompiled).last()?;
        // An order lets the head through, and steps on the way to it; not what comes before it alone.
        let up_to = self.up_to((&before.commit).into(), None);
        if up_to.refusal().is_some() { None } else { self.good_prefix(&up_to) }
    }
}

/// Every step that changes `policies/` or `waivers/` must leave a set that compiles.
fn compile_steps(objects: &Objects, judgement: &Judgement) -> Result<(), (CommitId, Vec<Finding>)> {
    let mut before = judgement.from.as_ref();
    for step in judgement.steps.iter().filter(|step| step.verdict.is_ok()) {
        let previous = before.filter(|previous| **previous != step.commit);
        let fail = |error: &HistoryError| (step.commit, vec![unreadable(&step.commit, error)]);
        let mut changed = false;
        for folder in judging_folders() {
            let changes = objects.changes_below(previous, &step.commit, &folder).map_err(|error| fail(&error))?;
            changed |= !changes.is_empty();
        }
        if changed {
            load_policies(objects, &step.commit).map_err(|findings| (step.commit, findings))?;
        }
        before = Some(&step.commit);
    }
    Ok(())
}

fn missing_ref(remote: &Remote) -> Finding {
    let source = ExchangeError::RefMissing { reference: remote.reference().to_string() };
    GitError::Exchange { url: remote.url().to_owned(), source }.finding()
}
