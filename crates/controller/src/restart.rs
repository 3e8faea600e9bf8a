//! After a restart: when the log is asked, and what its answers change. What was accepted is healed
//! again as soon as log and mirror have told it; GitSource and TrustRoot need not be there for that.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{Cluster, ClusterCode, crd, crd::GitSourceSpec};
use git::Archive;
use jiff::Timestamp;
use manifest::{Finding, ObjectRef};
use plan::{INSTANCE_LABEL, InstanceId, SyncRef, SyncSpec};
use tokio::sync::OnceCell;
use trust::{SignatureCache, TrustCode, TrustRootSpec};

use crate::{
    archives::Stores,
    code::ControllerCode,
    event::Event,
    floor::{self, Owner},
    journal::Journal,
    refusals::Refused,
    resources::finding,
    resume::{self, ResumedSource, Under},
    state::{Dirty, Held, Key, Resume, State},
    sync_gate::SyncJob,
};

/// Pause before the log is asked again: an admin may have set `resumeFrom` or restored the volume.
const RESUME_AGAIN: Duration = Duration::from_secs(10);

/// What is needed to ask the log about a source.
struct SourceResumption {
    cluster: Cluster,
    instance: InstanceId,
    /// Set once it is known that nothing in the cluster carries our label.
    unmarked: Arc<OnceCell<()>>,
    journal: Journal,
    key: Key,
    root: Arc<TrustRootSpec>,
    signatures: Arc<SignatureCache>,
    root_name: String,
    mirror: PathBuf,
    archive: Archive,
    known: Option<String>,
}

impl SourceResumption {
    async fn run(self) -> Result<Box<ResumedSource>, Finding> {
        let Self { cluster, instance, unmarked, journal, key, root, signatures, root_name, mirror, archive, known } =
            self;
        let name = format!("GitSource {key}");
        let owner = Owner { name: &name, root: &root_name };
        let log = journal.clone();
        // What the status shows, or an admin vouches for, is compared with the log as it is.
        let unknown = known.is_none() && root.resume_from.is_none();
        if unknown && blocking(&name, move || resume::never_advanced(&log)).await? {
            unmarked.get_or_try_init(|| nothing_is_marked(&cluster, &instance, owner)).await?;
        }
        let vouching = root_name.clone();
        let resumed = move || {
            let stores = Stores { mirror: &mirror, archive: Some(&archive) };
            let under = Under { root: &root, signatures: &signatures };
            resume::source(&journal, &key, under, stores, known.as_deref(), &vouching, Timestamp::now()).map(Box::new)
        };
        blocking(&name, resumed).await
    }
}

/// An empty log while objects carry our label is a log that was lost.
async fn nothing_is_marked(cluster: &Cluster, instance: &InstanceId, owner: Owner<'_>) -> Result<(), Finding> {
    let found = cluster.labelled(INSTANCE_LABEL, instance.as_str(), crd::GROUP).await;
    match found {
        Ok(None) => Ok(()),
        Ok(Some(object)) => Err(floor::forgotten(owner, &object, instance.as_str())),
        Err(error) => Err(Finding {
            code: ClusterCode::A106.entry(),
            subject: manifest::Subject::Named(owner.name.to_owned()),
            rule: None,
            found: format!(
                "the log is empty, and whether objects of this controller are there cannot be told: {error}"
            )
            .into(),
            needed: "a list of every kind that the cluster serves".into(),
            fix: "check the API server and its APIServices; it is asked again".into(),
        }),
    }
}

async fn blocking<T: Send + 'static>(
    owner: &str,
    work: impl FnOnce() -> Result<T, Finding> + Send + 'static,
) -> Result<T, Finding> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|panic| Err(no_answer(owner, &panic.to_string())))
}

fn no_answer(owner: &str, why: &str) -> Finding {
    finding(ControllerCode::A143, owner, why, "a verdict")
}

impl State {
    /// Asks the log what it knows of a source. Without its TrustRoot nothing advances, but what was
    /// accepted under the last one is healed.
    pub(crate) fn resume_source(&mut self, key: &Key, spec: &GitSourceSpec) {
        let Some(root) = self.root_or_last(key) else { return };
        let (mirror, archive) = (self.mirror_of(key), self.archive_of(key));
        let Some(source) = self.sources.get_mut(key) else { return };
        source.resume = Resume::Running;
        let present = self.roots.get(&spec.trust_root_ref.name);
        let known = present.and_then(|root| root.resource.status.as_ref()?.accepted_revision.clone());
        let signatures = present.map(|root| Arc::clone(&root.signatures)).unwrap_or_default();
        let task = SourceResumption {
            cluster: self.cluster.clone(),
            instance: self.options.instance.clone(),
            unmarked: self.unmarked.clone(),
            journal: self.journal.clone(),
            key: key.clone(),
            root,
            signatures,
            root_name: spec.trust_root_ref.name.clone(),
            mirror,
            archive,
            known,
        };
        let (events, source) = (self.events.clone(), key.clone());
        tokio::spawn(async move {
            let outcome = task.run().await;
            // Nobody listens only when the process ends.
            events.send(Event::SourceResumed { source, outcome }).await.ok();
        });
    }

    /// What the log knows of a source.
    pub(crate) fn source_resumed(&mut self, key: &Key, outcome: Result<Box<ResumedSource>, Finding>, now: Timestamp) {
        let Some(source) = self.sources.get_mut(key) else { return };
        match outcome {
            Ok(resumed) => {
                source.resume = Resume::Done;
                source.floor = resumed.floor;
                source.since = resumed.since;
                source.overrides = resumed.overrides;
                // What was verified before stays in force if the mirror has lost it since.
                source.verified = resumed.verified.map(Arc::new).or(source.verified.take());
                if source.held.as_ref().is_some_and(|held| held.revision.is_empty()) {
                    source.held = None;
                }
                source.unreachable = None;
                let shown = source.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
                if let Some(held) = resumed.refused.and_then(|held| held.shown_as(shown)) {
                    self.refusals.note(&format!("GitSource {key}"), &refusal(&held));
                    source.held.get_or_insert(held);
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
                // Asked again: an admin may have set resumeFrom.
                source.resume = Resume::Needed;
                source.due = Instant::now() + RESUME_AGAIN;
                if finding.code == TrustCode::W407.entry() {
                    self.source_lost(key, &finding, now);
                } else {
                    self.source_unreachable(key, &finding);
                }
            }
        }
        self.dirty.insert(Dirty::Source(key.clone()));
        self.resume_syncs();
        self.consider_all();
    }

    /// The log does not prove what was accepted: nothing advances.
    fn source_lost(&mut self, key: &Key, finding: &Finding, now: Timestamp) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let before = source.held.as_ref().filter(|held| held.is_for(finding)).cloned();
        source.held = Some(Held::renew(before.as_ref(), String::new(), vec![finding.clone()], None, now));
        if before.is_none() {
            tracing::error!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_source(key, std::slice::from_ref(finding));
        }
    }

    /// A GitSource whose spec is nobody's order, or whose TrustRoot is gone, goes on by the spec and
    /// TrustRoot that were obeyed before the restart.
    pub(crate) fn resume_source_spec(&mut self, key: &Key) {
        let (journal, key, failed) = (self.journal.clone(), key.clone(), key.clone());
        self.blocking(
            move || {
                let outcome = resume::obeyed_source(&journal, &key).map(|found| found.map(Box::new));
                Event::SourceSpecResumed { source: key, outcome }
            },
            move |why| {
                let outcome = Err(no_answer(&format!("GitSource {failed}"), &why));
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

    /// Asks the log about every Sync: by which spec it was obeyed, if the one in the cluster is nobody's
    /// order; and what it accepted.
    pub(crate) fn resume_syncs(&mut self) {
        if !self.knows_orders() {
            // A source that is not there yet may be in a list that is under way.
            return;
        }
        let now = Instant::now();
        let waiting = self.syncs.iter().filter(|(_, state)| state.resume == Resume::Needed && state.resume_at <= now);
        let needed: Vec<SyncRef> = waiting.map(|(sync, _)| sync.clone()).collect();
        for sync in needed {
            let Some(state) = self.syncs.get(&sync) else { continue };
            if state.obeyed.is_none() {
                if (state.order.is_some() || state.gone) && state.spec_resume == Resume::Needed {
                    self.resume_spec(&sync);
                }
                continue;
            }
            self.resume_sync(&sync);
        }
    }

    /// A Sync whose spec is nobody's order goes on by the one that was obeyed before the restart.
    fn resume_spec(&mut self, sync: &SyncRef) {
        if let Some(state) = self.syncs.get_mut(sync) {
            state.spec_resume = Resume::Running;
        }
        let (journal, sync, failed) = (self.journal.clone(), sync.clone(), sync.clone());
        self.blocking(
            move || {
                let outcome = resume::obeyed_spec(&journal, &sync).map(|spec| spec.map(Box::new));
                Event::SpecResumed { sync, outcome }
            },
            move |why| {
                let outcome = Err(no_answer(&format!("Sync {failed}"), &why));
                Event::SpecResumed { sync: failed, outcome }
            },
        );
    }

    /// The spec that was obeyed before the restart.
    pub(crate) fn spec_resumed(
        &mut self,
        sync: &SyncRef,
        outcome: Result<Option<Box<SyncSpec>>, Finding>,
        now: Timestamp,
    ) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        match outcome {
            Ok(spec) => {
                state.spec_resume = Resume::Done;
                if state.obeyed.is_none() {
                    state.obeyed = spec.map(|spec| Arc::new(*spec));
                }
            }
            Err(finding) => {
                state.spec_resume = Resume::Needed;
                self.sync_lost(sync, &finding, now);
            }
        }
        self.resume_syncs();
    }

    fn resume_sync(&mut self, sync: &SyncRef) {
        let Some(source) = self.source_key(sync) else { return };
        let verified = match self.sources.get(&source) {
            Some(state) => match &state.verified {
                Some(verified) => Some(verified.commit.id()),
                None => return,
            },
            // A GitSource that is gone keeps nothing from being healed.
            None => None,
        };
        if self.awaits_modes(sync) {
            // Whether anything is to be done by a TrustRoot that is not there, the log has to say first.
            return;
        }
        let (root, Some(job)) = (self.root_or_last(&source), self.render_job(sync)) else { return };
        let obeyed = self.sources.get(&source).and_then(|source| source.obeyed.as_ref());
        let root_name = obeyed.map(|obeyed| obeyed.trust_root_ref.name.clone());
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.resume = Resume::Running;
        let known = state.resource.status.as_ref().and_then(|status| status.accepted_revision.clone());
        let (journal, sync, failed) = (self.journal.clone(), sync.clone(), sync.clone());
        self.blocking(
            move || {
                let question = resume::SyncQuestion { root, root_name, source, known, verified };
                let outcome = resume::sync(&journal, &job, &question).map(Box::new);
                Event::SyncResumed { sync, outcome }
            },
            move |why| {
                let outcome = Err(no_answer(&format!("Sync {failed}"), &why));
                Event::SyncResumed { sync: failed, outcome }
            },
        );
    }

    /// What is needed to render a Sync's path, whatever became of its source.
    #[must_use]
    pub(crate) fn render_job(&self, sync: &SyncRef) -> Option<SyncJob> {
        let (state, source) = (self.syncs.get(sync)?, self.source_key(sync)?);
        Some(SyncJob {
            mirror: self.mirror_of(&source),
            archive: self.archive_of(&source),
            root: self.root_of(&source),
            sync: sync.clone(),
            spec: state.obeyed.clone()?,
            own_namespace: self.options.namespace.clone(),
            instance: self.options.instance.clone(),
            digest_key: self.digest_key.clone(),
            cluster: self.cluster.id().clone(),
            discovery: self.cluster.discovery(),
            present: Arc::new(HashSet::new()),
            rolled_back_from: self.rolled_back_from(sync),
            since: state.applied.as_ref().map(|applied| applied.commit().id()),
            cache: state.cache.clone(),
        })
    }

    /// What the log knows of a Sync.
    pub(crate) fn sync_resumed(
        &mut self,
        sync: &SyncRef,
        outcome: Result<Box<resume::ResumedSync>, Finding>,
        now: Timestamp,
    ) {
        match outcome {
            Ok(resumed) => self.take_up(sync, *resumed),
            Err(finding) => self.sync_lost(sync, &finding, now),
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.consider(sync);
    }

    fn take_up(&mut self, sync: &SyncRef, resumed: resume::ResumedSync) {
        let current = self.current(sync).or(resumed.current);
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.resume = Resume::Done;
        state.enforcement.root = state.enforcement.root.take().or(resumed.root_name);
        state.last_current = current;
        state.logged_spec = resumed.spec;
        state.advance = resumed.advance;
        state.accepted.clone_from(&resumed.accepted);
        state.rolled_back = resumed.rolled_back;
        state.applied.clone_from(&resumed.applied);
        // What was accepted and not completed may be there in part.
        let applied = resumed.applied.as_ref().map(|applied| applied.commit().id());
        let begun = resumed.accepted.iter().filter(|accepted| Some(accepted.commit().id()) != applied);
        state.interrupted.clone_from(&resumed.interrupted);
        state.partial = resumed.partial.iter().chain(begun).cloned().collect();
        if state.held.as_ref().is_some_and(|held| held.revision.is_empty()) {
            state.held = None;
        }
        let shown = state.resource.status.as_ref().and_then(|status| status.held_revision.as_ref());
        if let Some(held) = resumed.refused.and_then(|held| held.shown_as(shown)) {
            self.refusals.note(&format!("Sync {sync}"), &refusal(&held));
            state.held.get_or_insert(held);
        }
        state.failures.clone_from(&resumed.missing);
        let states = [&resumed.accepted, &resumed.applied].into_iter().flatten().chain(&resumed.partial);
        let objects: Vec<ObjectRef> =
            states.flat_map(|state| state.iter().map(|object| object.reference.clone())).collect();
        for object in &objects {
            // Another Sync may have taken it since.
            if self.live.owner_of(object).is_none() {
                self.live.claim(object, sync);
            }
        }
        if !resumed.missing.is_empty() {
            for finding in &resumed.missing {
                tracing::error!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "accepted, and not healed: {finding}");
            }
            self.announce_sync(sync, &resumed.missing);
        }
        self.rewatch(&objects);
        self.judge_orders();
    }

    /// The log does not tell what a Sync accepted: it is asked again.
    fn sync_lost(&mut self, sync: &SyncRef, finding: &Finding, now: Timestamp) {
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let before = state.held.as_ref().filter(|held| held.is_for(finding)).cloned();
        state.held = Some(Held::renew(before.as_ref(), String::new(), vec![finding.clone()], None, now));
        state.resume = Resume::Needed;
        state.resume_at = Instant::now() + RESUME_AGAIN;
        if before.is_none() {
            tracing::error!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_sync(sync, std::slice::from_ref(finding));
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
    }

    /// A Sync is gone from the cluster: what it accepted is resumed by nobody of its name.
    pub(crate) fn note_end(&mut self, sync: &SyncRef, now: Timestamp) {
        if let Err(error) = self.journal.ended(now, sync) {
            self.log_failed(&error);
        }
    }
}

fn refusal(held: &Held) -> Refused<'_> {
    Refused { revision: &held.revision, findings: &held.findings, inputs: None }
}
