//! One run of the source gate off the loop: remote, judgement, record.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use audit::LogError;
use cluster::{Cluster, crd::GitSourceSpec};
use git::Remote;
use jiff::Timestamp;
use manifest::Finding;
use trust::{CommitId, TrustRootSpec};

use crate::{
    archives::Stores,
    break_glass::{self, OrderAnswer, Override},
    code::ControllerCode,
    fault::FaultPoint,
    freshness::Listened,
    journal::{AcceptedHead, Journal},
    resources::finding,
    resume::{self, Under},
    source_gate::{self, InForce, SourceJob, SourceOutcome, Verified},
    source_remote::{KeptRemote, remote},
    source_turns::Turns,
    state::Key,
    webhook::SecretToken,
};

/// One run.
pub(crate) struct GateTask {
    /// The cluster, for the Secret.
    pub cluster: Cluster,
    /// Where acceptance is recorded.
    pub journal: Journal,
    /// Held from the look at the log's floor to the record of the next one.
    pub acceptance: Arc<Mutex<()>>,
    /// Whose turn it is.
    pub turns: Arc<Turns>,
    /// The remote that was used last.
    pub kept: Option<Arc<KeptRemote>>,
    /// The source.
    pub key: Key,
    /// Its obeyed spec.
    pub spec: Arc<GitSourceSpec>,
    /// What is judged.
    pub job: SourceJob,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct GateAnswer {
    /// The TrustRoot that was judged by.
    pub root: Arc<TrustRootSpec>,
    /// The remote that was used.
    pub remote: Option<Arc<KeptRemote>>,
    /// What webhooks must know, if the Secret said it.
    pub webhook: SecretToken,
    /// What was said of heartbeats.
    pub listened: Listened,
    /// How it ended.
    pub outcome: SourceOutcome,
    /// Error of the log, if the acceptance could not be recorded.
    pub recorded: Result<(), LogError>,
    /// What the floor puts in force, if the mirror had lost it.
    pub restored: Option<Result<Verified, Finding>>,
    /// What was said of each order to let a commit through.
    pub orders: Vec<OrderAnswer>,
    /// The commits that orders let through and that are over.
    pub over: Vec<CommitId>,
}

impl GateAnswer {
    fn of(root: Arc<TrustRootSpec>, outcome: SourceOutcome) -> Self {
        Self {
            root,
            remote: None,
            webhook: SecretToken::Unread,
            listened: Listened::Not,
            outcome,
            recorded: Ok(()),
            restored: None,
            orders: Vec::new(),
            over: Vec::new(),
        }
    }
}

impl GateTask {
    /// Runs the gate.
    pub(crate) async fn run(self, now: Timestamp) -> GateAnswer {
        let Self { cluster, journal, acceptance, turns, kept, key, spec, job } = self;
        let root = job.root.clone();
        let (webhook, used) = remote(&cluster, &key, &spec, &root, kept).await;
        let used = match used {
            Ok(used) => used,
            Err(finding) => return GateAnswer { webhook, ..GateAnswer::of(root, SourceOutcome::Unreachable(finding)) },
        };
        let (owner, namespace, asked) = (format!("GitSource {key}"), key.namespace.clone(), Instant::now());
        let run = turns.run(&namespace, move || {
            // It may have waited for its turn.
            let now = now.checked_add(asked.elapsed()).unwrap_or(now);
            let answer = gate(&job, used.remote(), &journal, &acceptance, &key, &spec, now);
            GateAnswer { remote: Some(used), ..answer }
        });
        let answer = run.await.unwrap_or_else(|panic| {
            let found = format!("the judgement ended unexpectedly: {panic}");
            let finding = finding(ControllerCode::A143, &owner, &found, "a verdict");
            GateAnswer::of(root, SourceOutcome::Unreachable(finding))
        });
        GateAnswer { webhook, ..answer }
    }
}

/// The gate, and the record of what it accepted: nothing is obeyed that is not in the log.
fn gate(
    job: &SourceJob,
    remote: &Remote,
    journal: &Journal,
    acceptance: &Mutex<()>,
    key: &Key,
    spec: &GitSourceSpec,
    now: Timestamp,
) -> GateAnswer {
    let (outcome, beside) = source_gate::run(job, remote, now);
    let mut answer = GateAnswer::of(job.root.clone(), outcome);
    answer.listened = beside.map_or(Listened::Not, |beside| beside.listen(job, &answer.outcome, now));
    FaultPoint::Judged.pass();
    let accepted = match &answer.outcome {
        SourceOutcome::Accepted { verified, .. } => Some(verified),
        SourceOutcome::Refused { prefix, .. } => prefix.as_ref(),
        _ => None,
    };
    if let Some(verified) = accepted {
        let by_order = match &answer.outcome {
            SourceOutcome::Accepted { by_order, .. } => by_order.as_deref(),
            _ => None,
        };
        match record(job, journal, acceptance, key, spec, (verified, by_order), now) {
            Ok(Recorded::Done(recorded)) => {
                answer.recorded = recorded;
                answer.over = break_glass::over(job, journal, key, verified.commit.id(), now);
            }
            Ok(Recorded::Overtaken) => answer.outcome = SourceOutcome::Overtaken,
            Err(finding) => answer.outcome = SourceOutcome::Unreachable(finding),
        }
    } else if let (SourceOutcome::Refused { .. }, Some(floor)) = (&answer.outcome, &job.floors.log) {
        match job.in_force {
            InForce::Lost => {
                let stores = Stores { mirror: &job.mirror, archive: None };
                let under = Under { root: &job.root, signatures: &job.signatures };
                answer.restored = Some(resume::read_floor(stores, under, floor, &job.overrides, now));
            }
            // The mirror may have been removed and fetched anew: what is refused must not be all that keeps it there.
            InForce::Known => {
                if let Err(finding) = resume::pin(&job.mirror, floor) {
                    tracing::debug!(source = %key, "the verified revision is not in the mirror: {finding}");
                }
            }
        }
    }
    if let SourceOutcome::Accepted { judged, .. } | SourceOutcome::Refused { judged, .. } = &answer.outcome {
        answer.orders = break_glass::answers(job, &judged.head, now);
    }
    answer
}

/// What became of an acceptance.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// It is in the log, unless the log failed.
    Done(Result<(), LogError>),
    /// Another source of the repository was faster.
    Overtaken,
}

/// Pins and records what was accepted, unless the log's floor is another than the one it was judged from.
pub(crate) fn record(
    job: &SourceJob,
    journal: &Journal,
    acceptance: &Mutex<()>,
    key: &Key,
    spec: &GitSourceSpec,
    (verified, by_order): (&Verified, Option<&Override>),
    now: Timestamp,
) -> Result<Recorded, Finding> {
    // Nothing is kept under the lock: a panic elsewhere leaves nothing half done.
    let _one = acceptance.lock().unwrap_or_else(PoisonError::into_inner);
    let newest = resume::logged_floor(journal, &job.root)?;
    if newest != job.floors.log.as_ref().map(|floor| floor.id().to_string()) {
        return Ok(Recorded::Overtaken);
    }
    resume::pin(&job.mirror, &verified.commit)?;
    let known = job.floors.log.as_ref() == Some(&verified.commit);
    if known && resume::obeyed_source(journal, key)?.is_some_and(|last| last.spec == *spec && last.root == *job.root) {
        return Ok(Recorded::Done(Ok(())));
    }
    if let Some(by_order) = by_order
        && let Err(error) = journal.overridden(now, &key.to_string(), &job.root, by_order)
    {
        return Ok(Recorded::Done(Err(error)));
    }
    let before = resume::root_of_floor(journal, &job.root)?;
    let accepted = AcceptedHead {
        source: &key.to_string(),
        root: &job.root,
        root_before: before.as_ref(),
        commit: &verified.commit,
        released: verified.released.as_ref(),
        policies: verified.policies.digest(),
        obeyed: &serde_json::json!({ "spec": spec, "trustRoot": &*job.root }),
    };
    let recorded = journal.verified(now, &accepted).map(drop);
    FaultPoint::VerifiedRecorded.pass();
    Ok(Recorded::Done(recorded))
}
