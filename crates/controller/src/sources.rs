//! GitSources: when the gate runs, and what its answer changes.

use std::{sync::Arc, time::Instant};

use cluster::crd::GitSourceSpec;
use jiff::Timestamp;
use manifest::Finding;
use trust::{AuthorizedCommit, TrustRootSpec};

use crate::{
    event::Event,
    floor::Floors,
    refusals::Refused,
    requests::Asked,
    schedule::backoff,
    source_events,
    source_gate::{self, InForce, LastJudged, SourceJob, SourceOutcome, Verified},
    source_run::{GateAnswer, GateTask},
    source_state::SourceState,
    state::{Dirty, Held, Key, Resume, State},
};

impl State {
    /// Starts the gate of every source whose time has come.
    pub(crate) fn run_sources(&mut self, now: Timestamp) {
        if !self.knows_orders() {
            return;
        }
        self.take_hints();
        let keys: Vec<Key> = self.sources.keys().cloned().collect();
        self.asked_sources.retain(|key| self.sources.contains_key(key));
        for key in keys {
            self.run_source(&key, now);
        }
    }

    /// Sources whose forge says that something was pushed are due.
    fn take_hints(&mut self) {
        for key in self.hooks.take_hinted() {
            let Some(source) = self.sources.get_mut(&key) else { continue };
            source.hinted = Asked::Yes;
            source.due = Instant::now();
        }
    }

    pub(crate) fn run_source(&mut self, key: &Key, now: Timestamp) {
        let Some(source) = self.sources.get(key) else { return };
        if source.obeyed.is_none() && source.order.is_some() && self.asked_sources.insert(key.clone()) {
            return self.resume_source_spec(key);
        }
        let Some(spec) = source.obeyed.clone() else { return };
        if source.due > Instant::now() || spec.suspend && source.resume == Resume::Done {
            return;
        }
        // The gate of this source, or of a deleted one of its name.
        if self.mirrors.is_taken(key) {
            return;
        }
        match source.resume {
            Resume::Running => {}
            Resume::Needed => self.resume_source(key, &spec),
            Resume::Done => self.start_gate(key, spec, now),
        }
    }

    fn start_gate(&mut self, key: &Key, spec: Arc<GitSourceSpec>, now: Timestamp) {
        let Some(root) = self.root_of(key) else { return };
        let state = self.roots.get(&spec.trust_root_ref.name);
        let signatures = state.map(|state| Arc::clone(&state.signatures)).unwrap_or_default();
        let status = state.and_then(|state| state.resource.status.as_ref());
        let status = status.and_then(|status| status.accepted_revision.as_ref()?.parse().ok());
        // A word of the admin that the last acceptance was made under was followed.
        let followed = self.last_roots.get(key).and_then(|last| last.resume_from);
        let admin = root.resume_from.filter(|vouched| followed != Some(*vouched));
        let mirror = self.mirror_of(key);
        let orders = self.orders_about(key);
        let Some(source) = self.sources.get_mut(key) else { return };
        let Ok(digest) = spec.digest() else { return };
        self.mirrors.take(key);
        let asked = source.requests.begin();
        source.hinted = Asked::No;
        let last = source.judged.as_ref().filter(|last| asked == Asked::No && last.holds(Instant::now()));
        let task = GateTask {
            cluster: self.cluster.clone(),
            journal: self.journal.clone(),
            acceptance: self.acceptance.clone(),
            turns: self.turns.clone(),
            kept: source.remote.clone(),
            key: key.clone(),
            job: SourceJob {
                root_name: spec.trust_root_ref.name.clone(),
                mirror,
                child: self.options.fetch_child.owned_by(&key.namespace),
                root,
                signatures,
                floors: Floors { log: source.floor.clone(), status, admin },
                spec: digest,
                orders,
                overrides: source.overrides.clone(),
                judged: last.map(|last| last.judged.clone()),
                trust_file: source.verified.as_ref().map(|verified| Arc::clone(&verified.trust_file)),
                heard: source.pulse.beat().cloned(),
                in_force: if source.floor.is_some() && source.verified.is_none() {
                    InForce::Lost
                } else {
                    InForce::Known
                },
            },
            spec,
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
    pub(crate) fn root_or_last(&self, key: &Key) -> Option<Arc<TrustRootSpec>> {
        self.root_of(key).or_else(|| self.last_roots.get(key).cloned())
    }

    /// One run of the gate ended.
    pub(crate) fn source_judged(&mut self, key: &Key, answer: GateAnswer, now: Timestamp) {
        let GateAnswer { root, remote, webhook, listened, outcome, recorded, restored, orders, over } = answer;
        let random = self.jitter.draw();
        let current = self.root_of(key).is_some_and(|current| current == root);
        self.mirrors.give_back(key);
        // A gate starts when the log was asked: this one was that of a source that was deleted and made again meanwhile.
        // What it accepted is in the log, which the new one asks first.
        let own = |source: &&mut SourceState| source.resume == Resume::Done;
        let Some(source) = self.sources.get_mut(key).filter(own) else { return };
        source.remote = remote;
        self.hooks.know(key, webhook);
        source.due = source.next_due(current, random);
        if let Err(error) = recorded {
            source.due = Instant::now() + backoff(3, random);
            return self.log_failed(&error);
        }
        if current && !matches!(outcome, SourceOutcome::Overtaken) {
            source.requests.end();
        }
        self.metrics.gate_ended(key, &outcome, now);
        if current {
            source.pulse.listened(listened);
        }
        if !matches!(outcome, SourceOutcome::Unreachable(_)) {
            source.failures = 0;
            source.pulse.answered(now);
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
            SourceOutcome::Accepted { verified, by_order, .. } if !current => {
                self.overridden(key, by_order, &root);
                // It is in the log, hence the floor; whether it is in force, the present TrustRoot says.
                self.raise_floor(key, &verified.commit, &root);
            }
            SourceOutcome::Refused { prefix, .. } if !current => {
                prefix.into_iter().for_each(|verified| self.raise_floor(key, &verified.commit, &root));
            }
            SourceOutcome::Accepted { judged, verified, by_order, .. } => {
                tracing::info!(source = %key, commit = %verified.commit.id(), released = verified.released.as_ref().map(tracing::field::display), policies = verified.policies.policies().len(), "verified");
                source.held = None;
                source.head = Some(judged.head);
                source.judged = Some(LastJudged::of(judged));
                self.refusals.clear(&format!("GitSource {key}"));
                self.overridden(key, by_order, &root);
                self.in_force(key, *verified, &root);
            }
            SourceOutcome::Refused { judged, findings, signer, commit, prefix, .. } => {
                source.head = Some(judged.head);
                let pause = LastJudged::refused(&mut source.judged, judged, &findings, random);
                source.due = pause.map_or(source.due, |pause| source.due.min(Instant::now() + pause));
                self.source_refused(key, &commit.to_string(), findings, signer, now);
                if let Some(verified) = prefix {
                    tracing::info!(source = %key, commit = %verified.commit.id(), "verified up to the refused commit");
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
        self.orders_answered(key, orders, &over, &root);
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
    pub(crate) fn source_unreachable(&mut self, key: &Key, finding: &Finding) {
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
        for other in self.of_repository(key, root) {
            self.last_roots.insert(other.clone(), root.clone());
            if let Some(source) = self.sources.get_mut(&other) {
                source.floor = Some(commit.clone());
            }
        }
    }

    /// The sources of the repository and ref of this one.
    pub(crate) fn of_repository(&self, key: &Key, root: &TrustRootSpec) -> Vec<Key> {
        let same = |other: &Key| {
            other == key
                || self.root_of(other).is_some_and(|spec| spec.repo_id == root.repo_id && spec.r#ref == root.r#ref)
        };
        self.sources.keys().filter(|other| same(other)).cloned().collect()
    }

    /// An accepted commit is in force for a source.
    fn in_force(&mut self, key: &Key, verified: Verified, root: &Arc<TrustRootSpec>) {
        let source = self.sources.get(key);
        let own = source.and_then(|source| source.verified.as_ref()).map(|before| &before.commit);
        let before = own.or_else(|| source.and_then(|source| source.floor.as_ref()));
        self.announce_verdicts(key, source_events::accepted(before, &verified.commit));
        self.raise_floor(key, &verified.commit, root);
        if let Some(source) = self.sources.get_mut(key) {
            source.verified = Some(Arc::new(verified));
            source.since = Some(Timestamp::now());
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
        let is_news = !told && self.refusals.is_new(&owner, &refused);
        let held = Held::renew(before, revision.to_owned(), findings, signer, now);
        if is_news {
            for finding in &held.findings {
                tracing::warn!(source = %key, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
                self.metrics.decided("refuse", finding.code.reason);
            }
            self.announce_held_source(key, &held);
            self.log_refusal(owner, revision, &held.findings, None, now);
        }
        if let Some(source) = self.sources.get_mut(key) {
            source.held = Some(held);
        }
    }
}
