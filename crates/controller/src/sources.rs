//! GitSources: when the gate runs, and what its answer changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::crd::GitSourceSpec;
use git::{Credentials, Limits, Remote, RemoteOptions};
use jiff::Timestamp;
use manifest::{Finding, Sensitive};
use trust::Start;

use crate::{
    code::ControllerCode,
    event::Event,
    fault::FaultPoint,
    journal::Refused,
    metrics::PollLabels,
    resources::finding,
    resume,
    schedule::{backoff, next_poll},
    source_gate::{self, SourceJob, SourceOutcome},
    state::{Dirty, Held, Key, Resume, State},
};

/// Pause before the log is asked again: an admin may have set `resumeFrom` or restored the volume.
const RESUME_AGAIN: Duration = Duration::from_secs(10);

impl State {
    /// Starts the gate of every source whose time has come.
    pub(crate) fn run_sources(&mut self, now: Timestamp) {
        if !self.knows_orders() {
            return;
        }
        let keys: Vec<Key> = self.sources.keys().cloned().collect();
        for key in keys {
            self.run_source(&key, now);
        }
    }

    fn run_source(&mut self, key: &Key, now: Timestamp) {
        let Some(root) = self.root_of(key) else { return };
        let mirror = self.mirror_of(key);
        let Some(source) = self.sources.get_mut(key) else { return };
        let Some(spec) = source.obeyed.clone() else { return };
        if source.running || source.due > Instant::now() || spec.suspend && source.resume == Resume::Done {
            return;
        }
        match source.resume {
            Resume::Running => return,
            Resume::Needed => {
                source.resume = Resume::Running;
                let known = self
                    .roots
                    .get(&spec.trust_root_ref.name)
                    .and_then(|root| root.resource.status.as_ref()?.accepted_revision.clone());
                let (journal, key, failed) = (self.journal.clone(), key.clone(), key.clone());
                self.blocking(
                    move || {
                        let outcome = resume::source(&journal, &key, &root, &mirror, known.as_deref()).map(Box::new);
                        Event::SourceResumed { source: key, outcome }
                    },
                    move |why| {
                        let outcome =
                            Err(finding(ControllerCode::A143, &format!("GitSource {failed}"), &why, "a verdict"));
                        Event::SourceResumed { source: failed, outcome }
                    },
                );
                return;
            }
            Resume::Done => {}
        }
        source.running = true;
        source.requested = source.resource.annotation(crate::resources::REQUESTED_AT).map(str::to_owned);
        let start = source.floor.clone().map_or(Start::Introduction, Start::Resumed);
        let (judged, known) = (source.judged.clone(), source.remote.clone());
        let (cluster, events, child) = (self.cluster.clone(), self.events.clone(), self.options.fetch_child.clone());
        let (journal, key) = (self.journal.clone(), key.clone());
        tokio::spawn(async move {
            let remote = match known {
                Some(remote) => Ok(remote),
                None => remote(&cluster, &key, &spec, &root.r#ref).await,
            };
            let source = key.clone();
            let (outcome, recorded) = match remote {
                Err(finding) => (SourceOutcome::Unreachable(finding), Ok(())),
                Ok(remote) => {
                    let job = SourceJob { mirror, remote, child, root, start, judged };
                    let run = tokio::task::spawn_blocking(move || gate(&job, &journal, &key, now));
                    run.await.unwrap_or_else(|panic| {
                        let found = format!("the judgement ended unexpectedly: {panic}");
                        (
                            SourceOutcome::Unreachable(finding(
                                ControllerCode::A143,
                                &format!("GitSource {source}"),
                                &found,
                                "a verdict",
                            )),
                            Ok(()),
                        )
                    })
                }
            };
            events.send(Event::SourceJudged { source, outcome: Box::new(outcome), recorded }).await.ok();
        });
    }

    /// What the log knows of a source.
    pub(crate) fn source_resumed(
        &mut self,
        key: &Key,
        outcome: Result<Box<resume::ResumedSource>, Finding>,
        now: Timestamp,
    ) {
        let Some(source) = self.sources.get_mut(key) else { return };
        match outcome {
            Ok(resumed) => {
                source.resume = Resume::Done;
                source.floor = resumed.floor;
                source.verified = resumed.verified.map(Arc::new);
                tracing::info!(source = %key, floor = ?source.floor.as_ref().map(|floor| floor.id().to_string()), "resumed from the log");
            }
            Err(finding) => {
                tracing::error!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
                source.held = Some(Held::renew(source.held.as_ref(), String::new(), vec![finding.clone()], None, now));
                // Asked again: an admin may have set resumeFrom.
                source.resume = Resume::Needed;
                source.due = Instant::now() + RESUME_AGAIN;
                self.announce_source(key, std::slice::from_ref(&finding));
            }
        }
        self.dirty.insert(Dirty::Source(key.clone()));
        self.resume_syncs();
        self.consider_all();
    }

    /// One run of the gate ended.
    pub(crate) fn source_judged(
        &mut self,
        key: &Key,
        outcome: SourceOutcome,
        recorded: Result<(), audit::LogError>,
        now: Timestamp,
    ) {
        let random = self.jitter.draw();
        let Some(source) = self.sources.get_mut(key) else { return };
        source.running = false;
        let interval = source.obeyed.as_ref().map(|spec| spec.interval.clone()).unwrap_or_default();
        source.due = Instant::now() + next_poll(&interval, random);
        if source.resource.annotation(crate::resources::REQUESTED_AT).map(str::to_owned) != source.requested {
            // Somebody asked while the gate was running.
            source.due = Instant::now();
        }
        if let Err(error) = recorded {
            source.due = Instant::now() + backoff(3, random);
            return self.log_failed(&error);
        }
        let result = match &outcome {
            SourceOutcome::Unchanged => "same",
            SourceOutcome::Accepted { .. } | SourceOutcome::Refused { .. } => "new",
            SourceOutcome::Unreachable(_) => "failed",
        };
        self.metrics.polls.get_or_create(&PollLabels { result }).inc();
        let Some(source) = self.sources.get_mut(key) else { return };
        match outcome {
            SourceOutcome::Unchanged => {
                source.failures = 0;
                if source.unreachable.take().is_some() {
                    self.dirty.insert(Dirty::Source(key.clone()));
                }
            }
            SourceOutcome::Accepted { judged, verified } => {
                tracing::info!(source = %key, commit = %verified.commit.id(), policies = verified.policies.policies().len(), "verified");
                source.failures = 0;
                source.unreachable = None;
                source.held = None;
                source.head = Some(judged.head);
                source.judged = Some(judged);
                source.floor = Some(verified.commit.clone());
                source.verified = Some(Arc::new(*verified));
                self.refusals.clear(&format!("GitSource {key}"));
                self.verified(key);
            }
            SourceOutcome::Refused { judged, findings, signer, commit } => {
                source.failures = 0;
                source.unreachable = None;
                source.head = Some(judged.head);
                source.judged = Some(judged);
                self.source_refused(key, &commit.to_string(), findings, signer, now);
            }
            SourceOutcome::Unreachable(finding) => {
                source.failures = source.failures.saturating_add(1);
                let pause = backoff(source.failures, random);
                source.due = Instant::now() + pause;
                // Credentials or the CA may have been mended.
                source.remote = None;
                let news = source.unreachable.as_ref().map(|before| before.code) != Some(finding.code);
                source.unreachable = Some(finding.clone());
                if news {
                    tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
                    self.announce_source(key, std::slice::from_ref(&finding));
                }
            }
        }
        self.dirty.insert(Dirty::Source(key.clone()));
        self.resume_syncs();
    }

    /// A source has a new verified revision.
    fn verified(&mut self, key: &Key) {
        if let Some(spec) = self.sources.get(key).and_then(|source| source.obeyed.clone()) {
            self.dirty.insert(Dirty::Root(spec.trust_root_ref.name.clone()));
        }
        self.resume_syncs();
        for sync in self.syncs_of(key) {
            self.dirty.insert(Dirty::Sync(sync.clone()));
            self.consider(&sync);
        }
    }

    fn source_refused(
        &mut self,
        key: &Key,
        revision: &str,
        findings: Vec<Finding>,
        signer: Option<String>,
        now: Timestamp,
    ) {
        let owner = format!("GitSource {key}");
        let refused = Refused { revision, findings: &findings, inputs: None };
        if self.refusals.is_new(&owner, &refused) {
            for finding in &findings {
                tracing::warn!(source = %key, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
                self.metrics.decided("refuse", finding.code.reason);
            }
            self.announce_source(key, &findings);
            if let Err(error) = self.journal.refuse(now, &owner, &refused) {
                self.log_failed(&error);
                self.refusals.clear(&owner);
            }
        }
        if let Some(source) = self.sources.get_mut(key) {
            source.held = Some(Held::renew(source.held.as_ref(), revision.to_owned(), findings, signer, now));
        }
    }

    /// A Sync whose spec is nobody's order goes on by the one that was obeyed before the restart.
    pub(crate) fn resume_spec(&self, sync: &plan::SyncRef) {
        let (journal, events, sync) = (self.journal.clone(), self.events.clone(), sync.clone());
        tokio::task::spawn_blocking(move || {
            let spec = resume::obeyed_spec(&journal, &sync).map(Box::new);
            events.blocking_send(Event::SpecResumed { sync, spec }).ok();
        });
    }

    /// The spec that was obeyed before the restart.
    pub(crate) fn spec_resumed(&mut self, sync: &plan::SyncRef, spec: Option<Box<plan::SyncSpec>>) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        if state.obeyed.is_none() {
            state.obeyed = spec.map(|spec| Arc::new(*spec));
        }
        self.resume_syncs();
    }

    /// Asks the log about every Sync whose source can be read.
    pub(crate) fn resume_syncs(&mut self) {
        let needed: Vec<_> = self
            .syncs
            .iter()
            .filter(|(_, state)| state.resume == Resume::Needed && state.resume_at <= Instant::now())
            .map(|(sync, _)| sync.clone())
            .collect();
        for sync in needed {
            let Some((key, source)) = self.source_of(&sync) else { continue };
            let (Some(verified), Some(root)) = (source.verified.clone(), self.root_of(&key.clone())) else { continue };
            let Some(job) = self.sync_job(&sync, &verified) else { continue };
            let Some(state) = self.syncs.get_mut(&sync) else { continue };
            state.resume = Resume::Running;
            let known = state.resource.status.as_ref().and_then(|status| status.accepted_revision.clone());
            let (journal, failed) = (self.journal.clone(), sync.clone());
            self.blocking(
                move || {
                    let outcome = resume::sync(&journal, &job, &root, known.as_deref()).map(Box::new);
                    Event::SyncResumed { sync, outcome }
                },
                move |why| {
                    let outcome = Err(finding(ControllerCode::A143, &format!("Sync {failed}"), &why, "a verdict"));
                    Event::SyncResumed { sync: failed, outcome }
                },
            );
        }
    }

    /// What the log knows of a Sync.
    pub(crate) fn sync_resumed(
        &mut self,
        sync: &plan::SyncRef,
        outcome: Result<Box<resume::ResumedSync>, Finding>,
        now: Timestamp,
    ) {
        let current = self.current(sync);
        let Some(state) = self.syncs.get_mut(sync) else { return };
        match outcome {
            Ok(resumed) => {
                state.resume = Resume::Done;
                state.last_current = current;
                state.accepted.clone_from(&resumed.accepted);
                state.applied.clone_from(&resumed.applied);
                let objects: Vec<_> = [&resumed.accepted, &resumed.applied]
                    .into_iter()
                    .flatten()
                    .flat_map(|state| state.iter().map(|object| object.reference.clone()))
                    .collect();
                for object in objects {
                    self.live.claim(&object, sync);
                }
                self.watch_kinds();
                self.judge_orders();
            }
            Err(finding) => {
                tracing::error!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "{finding}");
                state.held = Some(Held::renew(state.held.as_ref(), String::new(), vec![finding.clone()], None, now));
                state.resume = Resume::Needed;
                state.resume_at = Instant::now() + RESUME_AGAIN;
                self.announce_sync(sync, std::slice::from_ref(&finding));
            }
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.consider(sync);
    }
}

/// The gate, and the record of what it accepted: nothing is obeyed that is not in the log.
fn gate(
    job: &SourceJob,
    journal: &crate::journal::Journal,
    key: &Key,
    now: Timestamp,
) -> (SourceOutcome, Result<(), audit::LogError>) {
    let outcome = source_gate::run(job, now);
    FaultPoint::Judged.pass();
    let SourceOutcome::Accepted { verified, .. } = &outcome else { return (outcome, Ok(())) };
    let known = matches!(&job.start, Start::Resumed(commit) if *commit == verified.commit);
    if known {
        return (outcome, Ok(()));
    }
    if let Err(error) = pin(job, verified) {
        return (SourceOutcome::Unreachable(error), Ok(()));
    }
    let recorded =
        journal.verified(now, &key.to_string(), &job.root, &verified.commit, verified.policies.digest()).map(drop);
    FaultPoint::VerifiedRecorded.pass();
    (outcome, recorded)
}

/// Keeps the verified revision in the mirror, whatever the server does to its branch.
fn pin(job: &SourceJob, verified: &source_gate::Verified) -> Result<(), Finding> {
    let mirror = git::Mirror::open(&job.mirror).map_err(|error| git::GitError::from(error).finding())?;
    let id = verified.commit.id();
    mirror.pin(&format!("verified/{id}"), &id).map_err(|error| git::GitError::from(error).finding())
}

/// Makes the remote of a source from its spec and Secret.
async fn remote(cluster: &cluster::Cluster, key: &Key, spec: &GitSourceSpec, tracked: &str) -> Result<Remote, Finding> {
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
