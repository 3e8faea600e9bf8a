//! GitSources: when the gate runs, and what its answer changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::crd::GitSourceSpec;
use jiff::Timestamp;
use manifest::Finding;
use trust::{AuthorizedCommit, TrustRootSpec};

use crate::{
    code::ControllerCode,
    event::Event,
    floor::Floors,
    journal::Refused,
    resources::finding,
    resume,
    schedule::{backoff, next_poll},
    source_gate::{self, InForce, LastJudged, SourceOutcome, Verified},
    source_run::{GateAnswer, GateJob, GateTask},
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
        self.asked_sources.retain(|key| self.sources.contains_key(key));
        for key in keys {
            self.run_source(&key, now);
        }
    }

    fn run_source(&mut self, key: &Key, now: Timestamp) {
        let Some(source) = self.sources.get(key) else { return };
        if source.obeyed.is_none() && source.order.is_some() && self.asked_sources.insert(key.clone()) {
            return self.resume_source_spec(key);
        }
        let Some(spec) = source.obeyed.clone() else { return };
        if source.running || source.due > Instant::now() || spec.suspend && source.resume == Resume::Done {
            return;
        }
        match source.resume {
            Resume::Running => {}
            Resume::Needed => self.resume_source(key, &spec),
            Resume::Done => self.start_gate(key, spec, now),
        }
    }

    /// Asks the log what it knows of a source. Without its TrustRoot nothing advances, but what was
    /// accepted under the last one is healed.
    fn resume_source(&mut self, key: &Key, spec: &GitSourceSpec) {
        let Some(root) = self.root_or_last(key) else { return };
        let mirror = self.mirror_of(key);
        let Some(source) = self.sources.get_mut(key) else { return };
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
                let outcome = Err(finding(ControllerCode::A143, &format!("GitSource {failed}"), &why, "a verdict"));
                Event::SourceResumed { source: failed, outcome }
            },
        );
    }

    fn start_gate(&mut self, key: &Key, spec: Arc<GitSourceSpec>, now: Timestamp) {
        let Some(root) = self.root_of(key) else { return };
        let status = self.roots.get(&spec.trust_root_ref.name).and_then(|root| root.resource.status.as_ref());
        let status = status.and_then(|status| status.accepted_revision.as_ref()?.parse().ok());
        // A word of the admin that the last acceptance was made under was followed.
        let followed = self.last_roots.get(key).and_then(|last| last.resume_from);
        let admin = root.resume_from.filter(|vouched| followed != Some(*vouched));
        let mirror = self.mirror_of(key);
        let Some(source) = self.sources.get_mut(key) else { return };
        let Ok(digest) = spec.digest() else { return };
        source.running = true;
        let requested = source.resource.annotation(crate::resources::REQUESTED_AT).map(str::to_owned);
        let asked = requested.is_some() && requested != source.requested;
        source.requested = requested;
        let last = source.judged.as_ref().filter(|last| !asked && last.holds(Instant::now()));
        let task = GateTask {
            cluster: self.cluster.clone(),
            journal: self.journal.clone(),
            acceptance: self.acceptance.clone(),
            turns: self.turns.clone(),
            kept: source.remote.clone(),
            key: key.clone(),
            spec,
            job: GateJob {
                mirror,
                child: self.options.fetch_child.clone(),
                root,
                floors: Floors { log: source.floor.clone(), status, admin },
                spec: digest,
                judged: last.map(|last| last.judged.clone()),
                in_force: if source.floor.is_some() && source.verified.is_none() {
                    InForce::Lost
                } else {
                    InForce::Known
                },
            },
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let source = task.key.clone();
            let answer = Box::new(task.run(now).await);
            events.send(Event::SourceJudged { source, answer }).await.ok();
        });
    }

    /// The TrustRoot of a source, or the last one that it was accepted under: that proves what was
    /// accepted, and judges nothing new.
    fn root_or_last(&self, key: &Key) -> Option<Arc<TrustRootSpec>> {
        self.root_of(key).or_else(|| self.last_roots.get(key).cloned())
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
                // What was verified before stays in force if the mirror has lost it since.
                source.verified = resumed.verified.map(Arc::new).or(source.verified.take());
                if source.held.as_ref().is_some_and(|held| held.revision.is_empty()) {
                    source.held = None;
                }
                tracing::info!(source = %key, floor = source.floor.as_ref().map_or_else(|| "none".to_owned(), |floor| floor.id().to_string()), "resumed from the log");
                if let Some(root) = resumed.root {
                    self.last_roots.insert(key.clone(), Arc::new(root));
                }
                if let Some(finding) = resumed.problem {
                    self.source_unreachable(key, &finding);
                }
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
    pub(crate) fn source_judged(&mut self, key: &Key, answer: GateAnswer, now: Timestamp) {
        let GateAnswer { root, remote, outcome, recorded, restored } = answer;
        let random = self.jitter.draw();
        let current = self.root_of(key).is_some_and(|current| current == root);
        let Some(source) = self.sources.get_mut(key) else { return };
        source.running = false;
        source.remote = remote;
        let interval = source.obeyed.as_ref().map(|spec| spec.interval.clone()).unwrap_or_default();
        source.due = Instant::now() + next_poll(&interval, random);
        let requested = source.resource.annotation(crate::resources::REQUESTED_AT).map(str::to_owned);
        if !current || requested != source.requested {
            // Trust changed, or somebody asked, while the gate was running.
            source.due = Instant::now();
        }
        if let Err(error) = recorded {
            source.due = Instant::now() + backoff(3, random);
            return self.log_failed(&error);
        }
        self.metrics.polled(key, outcome.result(), now);
        if !matches!(outcome, SourceOutcome::Unreachable(_)) {
            source.failures = 0;
            if source.unreachable.take().is_some() {
                self.dirty.insert(Dirty::Source(key.clone()));
            }
        }
        match outcome {
            SourceOutcome::Unchanged => {}
            SourceOutcome::Overtaken => {
                // The log knows more than we do.
                source.resume = Resume::Needed;
                source.due = Instant::now();
            }
            SourceOutcome::Accepted { verified, .. } if !current => {
                // It is in the log, hence the floor; whether it is in force, the present TrustRoot says.
                self.raise_floor(key, &verified.commit, &root);
            }
            SourceOutcome::Refused { prefix, .. } if !current => {
                if let Some(verified) = prefix {
                    self.raise_floor(key, &verified.commit, &root);
                }
            }
            SourceOutcome::Accepted { judged, verified } => {
                tracing::info!(source = %key, commit = %verified.commit.id(), policies = verified.policies.policies().len(), "verified");
                source.held = None;
                source.head = Some(judged.head);
                source.judged = Some(LastJudged::of(judged));
                self.refusals.clear(&format!("GitSource {key}"));
                self.in_force(key, *verified, &root);
            }
            SourceOutcome::Refused { judged, findings, signer, commit, prefix } => {
                source.head = Some(judged.head);
                let pause = LastJudged::refused(&mut source.judged, judged, &findings, random);
                source.due = pause.map_or(source.due, |pause| source.due.min(Instant::now() + pause));
                self.source_refused(key, &commit.to_string(), findings, signer, now);
                if let Some(verified) = prefix {
                    tracing::info!(source = %key, commit = %verified.commit.id(), "verified up to the refused commit: trust changes on the way");
                    self.in_force(key, *verified, &root);
                }
            }
            SourceOutcome::Unreachable(finding) => {
                source.failures = source.failures.saturating_add(1);
                source.due = Instant::now() + backoff(source.failures, random);
                // Credentials or the CA may have been mended.
                source.remote = None;
                self.source_unreachable(key, &finding);
            }
        }
        self.restored(key, restored);
        self.dirty.insert(Dirty::Source(key.clone()));
        self.resume_syncs();
    }

    /// What the floor puts in force was read again after the mirror had lost it, or not.
    fn restored(&mut self, key: &Key, restored: Option<Result<Verified, Finding>>) {
        match restored {
            None => {}
            Some(Ok(verified)) => {
                let Some(source) = self.sources.get_mut(key) else { return };
                let newest = source.floor.as_ref().is_some_and(|floor| floor.id() == verified.commit.id());
                if source.verified.is_none() && newest {
                    tracing::info!(source = %key, commit = %verified.commit.id(), "the verified revision is in the mirror again");
                    source.verified = Some(Arc::new(verified));
                    self.verified(key);
                }
            }
            Some(Err(finding)) => self.source_unreachable(key, &finding),
        }
    }

    /// Tells why there is no verdict, or nothing to heal by; once for each code.
    fn source_unreachable(&mut self, key: &Key, finding: &Finding) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let news = source.unreachable.as_ref().map(|before| before.code) != Some(finding.code);
        source.unreachable = Some(finding.clone());
        if news {
            tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_source(key, std::slice::from_ref(finding));
        }
    }

    /// A commit is in the log: every source of the repository is judged from there.
    fn raise_floor(&mut self, key: &Key, commit: &AuthorizedCommit, root: &Arc<TrustRootSpec>) {
        let same = |other: &Key| {
            other == key
                || self.root_of(other).is_some_and(|spec| spec.repo_id == root.repo_id && spec.r#ref == root.r#ref)
        };
        let sources: Vec<Key> = self.sources.keys().filter(|other| same(other)).cloned().collect();
        for other in sources {
            self.last_roots.insert(other.clone(), root.clone());
            if let Some(source) = self.sources.get_mut(&other) {
                source.floor = Some(commit.clone());
            }
        }
    }

    /// An accepted commit is in force for a source.
    fn in_force(&mut self, key: &Key, verified: Verified, root: &Arc<TrustRootSpec>) {
        self.raise_floor(key, &verified.commit, root);
        if let Some(source) = self.sources.get_mut(key) {
            source.verified = Some(Arc::new(verified));
        }
        self.verified(key);
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
        // A verdict that is reached again and again has times in its words: the codes tell whether it is news.
        let before = self.sources.get(key).and_then(|source| source.held.as_ref());
        let told = before.is_some_and(|held| held.revision == revision && source_gate::same_codes(held, &findings));
        let told = told && source_gate::may_pass(&findings);
        if !told && self.refusals.is_new(&owner, &refused) {
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

    /// A GitSource whose spec is nobody's order, or whose TrustRoot is gone, goes on by the spec and
    /// TrustRoot that were obeyed before the restart.
    fn resume_source_spec(&mut self, key: &Key) {
        let (journal, key, failed) = (self.journal.clone(), key.clone(), key.clone());
        self.blocking(
            move || {
                let outcome = resume::obeyed_source(&journal, &key).map(|found| found.map(Box::new));
                Event::SourceSpecResumed { source: key, outcome }
            },
            move |why| {
                let outcome = Err(finding(ControllerCode::A143, &format!("GitSource {failed}"), &why, "a verdict"));
                Event::SourceSpecResumed { source: failed, outcome }
            },
        );
    }

    /// The GitSource spec that was obeyed before the restart.
    pub(crate) fn source_spec_resumed(
        &mut self,
        key: &Key,
        outcome: Result<Option<Box<resume::ObeyedSource>>, Finding>,
        now: Timestamp,
    ) {
        match outcome {
            Ok(None) => return,
            Ok(Some(obeyed)) => {
                let Some(source) = self.sources.get_mut(key).filter(|source| source.obeyed.is_none()) else { return };
                let resume::ObeyedSource { spec, root } = *obeyed;
                source.obeyed = Some(Arc::new(spec));
                source.due = Instant::now();
                self.last_roots.entry(key.clone()).or_insert_with(|| Arc::new(root));
            }
            Err(finding) => {
                self.asked_sources.remove(key);
                self.source_unreachable(key, &finding);
            }
        }
        self.dirty.insert(Dirty::Source(key.clone()));
        self.judge_orders();
        self.run_source(key, now);
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
            let (Some(verified), Some(root)) = (source.verified.clone(), self.root_or_last(key)) else { continue };
            let Some(job) = self.sync_job(&sync, &verified) else { continue };
            let Some(state) = self.syncs.get_mut(&sync) else { continue };
            state.resume = Resume::Running;
            let known = state.resource.status.as_ref().and_then(|status| status.accepted_revision.clone());
            let (journal, failed) = (self.journal.clone(), sync.clone());
            let verified = verified.commit.id();
            self.blocking(
                move || {
                    let outcome = resume::sync(&journal, &job, &root, known.as_deref(), &verified).map(Box::new);
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
                // What was accepted and not completed may be there in part.
                let applied = resumed.applied.as_ref().map(|applied| applied.commit().id());
                let begun = resumed.accepted.iter().filter(|accepted| Some(accepted.commit().id()) != applied);
                state.partial = begun.cloned().collect();
                let objects: Vec<_> = [&resumed.accepted, &resumed.applied]
                    .into_iter()
                    .flatten()
                    .flat_map(|state| state.iter().map(|object| object.reference.clone()))
                    .collect();
                for object in &objects {
                    self.live.claim(object, sync);
                }
                self.rewatch(&objects);
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
