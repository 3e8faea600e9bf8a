//! One run of the source gate off the loop: remote, judgement, record.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use audit::LogError;
use cluster::{Cluster, crd::GitSourceSpec};
use git::{Credentials, FetchChild, Limits, Remote, RemoteOptions};
use jiff::Timestamp;
use manifest::{Digest, Finding, Sensitive};
use trust::TrustRootSpec;

use crate::{
    code::ControllerCode,
    fault::FaultPoint,
    floor::Floors,
    journal::Journal,
    resources::finding,
    resume,
    source_gate::{self, InForce, Judged, SourceJob, SourceOutcome, Verified},
    state::Key,
};

/// One run.
pub(crate) struct GateTask {
    /// The cluster, for the Secret.
    pub cluster: Cluster,
    /// Where acceptance is recorded.
    pub journal: Journal,
    /// Held from the look at the log's floor to the record of the next one.
    pub acceptance: Arc<Mutex<()>>,
    /// The source.
    pub key: Key,
    /// Its obeyed spec.
    pub spec: Arc<GitSourceSpec>,
    /// What is judged.
    pub job: GateJob,
}

/// A [`SourceJob`] without its remote, which is made from the Secret first.
pub(crate) struct GateJob {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// How the fetch child is started.
    pub child: FetchChild,
    /// What trust starts from.
    pub root: Arc<TrustRootSpec>,
    /// Where the judgement starts.
    pub floors: Floors,
    /// Digest of the obeyed spec.
    pub spec: Digest,
    /// What was judged last, if that verdict still holds.
    pub judged: Option<Judged>,
    /// Whether what the floor puts in force is known.
    pub in_force: InForce,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct GateAnswer {
    /// The TrustRoot that was judged by.
    pub root: Arc<TrustRootSpec>,
    /// How it ended.
    pub outcome: SourceOutcome,
    /// Error of the log, if the acceptance could not be recorded.
    pub recorded: Result<(), LogError>,
    /// What the floor puts in force, if the mirror had lost it.
    pub restored: Option<Result<Verified, Finding>>,
}

impl GateAnswer {
    fn of(root: Arc<TrustRootSpec>, outcome: SourceOutcome) -> Self {
        Self { root, outcome, recorded: Ok(()), restored: None }
    }
}

impl GateTask {
    /// Runs the gate.
    pub(crate) async fn run(self, now: Timestamp) -> GateAnswer {
        let Self { cluster, journal, acceptance, key, spec, job } = self;
        let root = job.root.clone();
        let remote = match remote(&cluster, &key, &spec, &root.r#ref).await {
            Ok(remote) => remote,
            Err(finding) => return GateAnswer::of(root, SourceOutcome::Unreachable(finding)),
        };
        let GateJob { mirror, child, root: _, floors, spec: digest, judged, in_force } = job;
        let job = SourceJob { mirror, remote, child, root: root.clone(), floors, spec: digest, judged, in_force };
        let owner = format!("GitSource {key}");
        let run = tokio::task::spawn_blocking(move || gate(&job, &journal, &acceptance, &key, &spec, now));
        run.await.unwrap_or_else(|panic| {
            let found = format!("the judgement ended unexpectedly: {panic}");
            let finding = finding(ControllerCode::A143, &owner, &found, "a verdict");
            GateAnswer::of(root, SourceOutcome::Unreachable(finding))
        })
    }
}

/// The gate, and the record of what it accepted: nothing is obeyed that is not in the log.
fn gate(
    job: &SourceJob,
    journal: &Journal,
    acceptance: &Mutex<()>,
    key: &Key,
    spec: &GitSourceSpec,
    now: Timestamp,
) -> GateAnswer {
    let mut answer = GateAnswer::of(job.root.clone(), source_gate::run(job, now));
    FaultPoint::Judged.pass();
    let accepted = match &answer.outcome {
        SourceOutcome::Accepted { verified, .. } => Some(verified),
        SourceOutcome::Refused { prefix, .. } => prefix.as_ref(),
        _ => None,
    };
    if let Some(verified) = accepted {
        match record(job, journal, acceptance, key, spec, verified, now) {
            Ok(Recorded::Done(recorded)) => answer.recorded = recorded,
            Ok(Recorded::Overtaken) => answer.outcome = SourceOutcome::Overtaken,
            Err(finding) => answer.outcome = SourceOutcome::Unreachable(finding),
        }
    } else if let (SourceOutcome::Refused { .. }, InForce::Lost, Some(floor)) =
        (&answer.outcome, job.in_force, &job.floors.log)
    {
        answer.restored = Some(resume::read_floor(&job.mirror, floor));
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
    verified: &Verified,
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
    let obeyed = serde_json::json!({ "spec": spec, "trustRoot": &*job.root });
    let policies = verified.policies.digest();
    let recorded = journal.verified(now, &key.to_string(), &job.root, &verified.commit, policies, &obeyed).map(drop);
    FaultPoint::VerifiedRecorded.pass();
    Ok(Recorded::Done(recorded))
}

/// Makes the remote of a source from its spec and Secret.
async fn remote(cluster: &Cluster, key: &Key, spec: &GitSourceSpec, tracked: &str) -> Result<Remote, Finding> {
    let owner = format!("GitSource {key}");
    if spec.r#ref != tracked {
        let found = format!("spec.ref is {}, the TrustRoot tracks {tracked}", spec.r#ref);
        return Err(finding(ControllerCode::A142, &owner, &found, "the ref of the TrustRoot"));
    }
    let mut options = RemoteOptions { ca: None, credentials: None, limits: Limits::default() };
    if let Some(secret) = &spec.secret_ref {
        let found = cluster.secret(&key.namespace, &secret.name).await.map_err(|error| {
            finding(
                ControllerCode::A141,
                &owner,
                &format!("Secret {}/{} cannot be read: {error}", key.namespace, secret.name),
                "a readable Secret",
            )
        })?;
        let data = found.ok_or_else(|| {
            finding(
                ControllerCode::A141,
                &owner,
                &format!("Secret {}/{} is not there", key.namespace, secret.name),
                "an existing Secret",
            )
        })?;
        options.ca = data.get("ca.crt").map(|ca| ca.expose().clone());
        options.credentials = credentials(&data).map_err(|what| {
            finding(
                ControllerCode::A141,
                &owner,
                &format!("Secret {}/{}: {what}", key.namespace, secret.name),
                "username and password, or bearerToken, as UTF-8",
            )
        })?;
    }
    Remote::new(&spec.url, &spec.r#ref, &options).map_err(|error| git::GitError::from(error).finding())
}

fn credentials(data: &cluster::SecretData) -> Result<Option<Credentials>, &'static str> {
    let text = |name: &str| {
        data.get(name)
            .map(|value| {
                String::from_utf8(value.expose().clone()).map(Sensitive::new).map_err(|_| "a value is not UTF-8")
            })
            .transpose()
    };
    match (text("username")?, text("password")?, text("bearerToken")?) {
        (None, None, None) => Ok(None),
        (None, None, Some(token)) => Ok(Some(Credentials::Bearer(token))),
        (Some(username), Some(password), None) => {
            Ok(Some(Credentials::Basic { username: username.into_exposed(), password }))
        }
        _ => Err("it has neither username and password nor bearerToken alone"),
    }
}
