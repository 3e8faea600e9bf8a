//! `mode: Audit` of a TrustRoot: all is judged and told as otherwise, and nothing is done about it. `plan::decide` makes no plan
//! then, so that there is nothing to apply; here stands what is told instead, and what a change of the mode does to what is under
//! way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cluster::{Note, Severity};
use jiff::Timestamp;
use manifest::{Finding, ObjectRef, shell_quote};
use plan::{DriftMode, Proposal, SyncRef};
use trust::TrustMode;

use crate::{
    announce::regarding,
    code::ControllerCode,
    conditions::Verdict,
    resources::finding,
    state::{Dirty, Key, Phase, State, SyncState, VerdictKey},
    windows::Frozen,
};

/// Whether what is decided is done.
pub(crate) const ENFORCED: &str = "Enforced";

/// What the TrustRoot of a Sync says of doing what is decided.
#[derive(Debug, Default)]
pub(crate) struct Enforcement {
    /// The mode that was told last; `None` before the first time.
    mode: Option<TrustMode>,
    /// The TrustRoot of its source, as it was last.
    pub(crate) root: Option<String>,
    /// That nothing is done.
    pub(crate) finding: Option<Finding>,
    /// What would be done by the verdict that is in force.
    proposal: Option<Proposal>,
    /// The windows that a good candidate waits for.
    pub(crate) frozen: Option<Frozen>,
    /// Set as soon as nothing may be sent: roll-outs that are under way look at it before each request.
    pub(crate) halt: Arc<AtomicBool>,
}

impl Enforcement {
    /// Whether a candidate was found good that is not applied.
    #[must_use]
    pub(crate) const fn has_proposal(&self) -> bool {
        self.proposal.is_some()
    }

    /// The verdict that it came of is no longer in force.
    pub(crate) const fn forget_proposal(&mut self) {
        self.proposal = None;
    }
}

/// Whether what is decided is done, if it is not; `is_shown`: it was not before.
#[must_use]
pub(crate) fn condition(finding: Option<&Finding>, is_shown: bool) -> Option<Verdict> {
    match finding {
        Some(finding) => Some(Verdict::refused(ENFORCED, finding)),
        None => is_shown.then(|| Verdict::yes(ENFORCED, "Enforced", "")),
    }
}

/// That nothing is done, and what would be.
fn audited(owner: &str, root: &str, proposal: Option<&Proposal>) -> Finding {
    let would = proposal.map_or_else(String::new, |Proposal { revision, counts, .. }| {
        format!(
            ": commit {revision} would apply {} for the first time, change {}, delete {} and leave {} of the objects as they are",
            counts.created, counts.configured, counts.pruned, counts.unchanged
        )
    });
    Finding {
        fix: format!(
            "kubectl patch trustroot {} --type=merge -p '{{\"spec\":{{\"mode\":\"Enforce\"}}}}' # by a platform admin, once all that is told is as it should be",
            shell_quote(root)
        ).into(),
        ..finding(
            ControllerCode::A145,
            owner,
            &format!("TrustRoot {root} is in mode Audit, nothing is written{would}"),
            "mode Enforce, for what is judged to be done",
        )
    }
}

impl State {
    /// The mode of a source's TrustRoot as it is in the cluster, whether that can be used or not, with its name.
    fn mode_now(&self, source: &Key) -> Option<(TrustMode, &str)> {
        let name = &self.sources.get(source)?.obeyed.as_ref()?.trust_root_ref.name;
        Some((self.roots.get(name)?.resource.spec.mode, name))
    }

    /// The name of a Sync's TrustRoot, also when source and TrustRoot are gone.
    fn root_name_of(&self, sync: &SyncRef) -> Option<&str> {
        let now = self.source_of(sync).and_then(|(_, source)| source.obeyed.as_ref());
        let now = now.map(|obeyed| &obeyed.trust_root_ref.name);
        now.or_else(|| self.syncs.get(sync)?.enforcement.root.as_ref()).map(String::as_str)
    }

    /// The mode of a Sync's TrustRoot, if that is known. Of one that is gone, the mode that it had: whoever removes what says
    /// that nothing is done has nothing done by it.
    pub(crate) fn known_mode_of(&self, sync: &SyncRef) -> Option<TrustMode> {
        let name = self.root_name_of(sync)?;
        let now = self.roots.get(name).map(|root| root.resource.spec.mode);
        now.or_else(|| self.modes.last(name))
    }

    /// The same. While it is not known nothing is done.
    pub(crate) fn mode_of(&self, sync: &SyncRef) -> TrustMode {
        self.known_mode_of(sync).unwrap_or(TrustMode::Audit)
    }

    /// What becomes of drift of a Sync: what its spec says, and in mode Audit it is told at most.
    pub(crate) fn drift_mode(&self, sync: &SyncRef) -> Option<DriftMode> {
        let wanted = self.syncs.get(sync)?.obeyed.as_ref()?.drift.mode;
        let is_audited = wanted == DriftMode::Revert && self.mode_of(sync) == TrustMode::Audit;
        Some(if is_audited { DriftMode::Flag } else { wanted })
    }

    /// What is said of drift that stays. An object that is being deleted is left alone in each mode.
    pub(crate) fn left_alone(&self, sync: &SyncRef) -> &'static str {
        let wanted = self.syncs.get(sync).and_then(|state| state.obeyed.as_ref()).map(|spec| spec.drift.mode);
        let is_audited = wanted == Some(DriftMode::Revert) && self.mode_of(sync) == TrustMode::Audit;
        if is_audited { "left alone in mode Audit, would be put back" } else { "left alone" }
    }

    /// Why a plan for this Sync is not made.
    pub(crate) fn audit_finding(&self, sync: &SyncRef, proposal: Option<&Proposal>) -> Finding {
        audited(&format!("Sync {sync}"), self.root_name_of(sync).unwrap_or_default(), proposal)
    }

    /// Notices what the TrustRoots say, and what changed since: the mode of each source and Sync.
    pub(crate) fn follow_modes(&mut self, now: Timestamp) {
        self.log_modes(now);
        let sources: Vec<(Key, TrustMode)> =
            self.sources.keys().filter_map(|key| Some((key.clone(), self.mode_now(key)?.0))).collect();
        for (key, mode) in sources {
            let before = self.sources.get_mut(&key).and_then(|source| source.mode.replace(mode));
            if before != Some(mode) {
                self.source_mode(&key, before, mode);
            }
        }
        let changed = |(sync, state): (&SyncRef, &SyncState)| {
            let (root, mode) = (self.root_name_of(sync)?, self.known_mode_of(sync)?);
            let is_known = state.enforcement.mode == Some(mode) && state.enforcement.root.as_deref() == Some(root);
            (!is_known).then(|| (sync.clone(), root.to_owned(), mode))
        };
        let syncs: Vec<(SyncRef, String, TrustMode)> = self.syncs.iter().filter_map(changed).collect();
        for (sync, root, mode) in syncs {
            let Some(state) = self.syncs.get_mut(&sync) else { continue };
            state.enforcement.root = Some(root);
            if state.enforcement.mode != Some(mode) {
                self.sync_mode(&sync, mode, now);
            }
        }
    }

    fn source_mode(&mut self, key: &Key, before: Option<TrustMode>, mode: TrustMode) {
        self.metrics.sources.audited(key, mode);
        self.dirty.insert(Dirty::Source(key.clone()));
        if let Some(finding) = self.source_audited(key).filter(|_| before.is_some()) {
            tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_source(key, std::slice::from_ref(&finding));
        }
    }

    /// That nothing is done by what a source shows, if that is so.
    pub(crate) fn source_audited(&self, key: &Key) -> Option<Finding> {
        let (mode, root) = self.mode_now(key)?;
        (mode == TrustMode::Audit).then(|| audited(&format!("GitSource {key}"), root, None))
    }

    /// From now on what is decided for a Sync is done, or no longer.
    fn sync_mode(&mut self, sync: &SyncRef, mode: TrustMode, now: Timestamp) {
        let finding = (mode == TrustMode::Audit).then(|| self.audit_finding(sync, None));
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let before = state.enforcement.mode.replace(mode);
        state.enforcement.finding.clone_from(&finding);
        state.enforcement.forget_proposal();
        match mode {
            TrustMode::Audit => state.enforcement.halt.store(true, Ordering::Release),
            TrustMode::Enforce => {
                // What still runs with the old one has to end.
                state.enforcement.halt = Arc::default();
                state.settled = None;
                state.stop_waiting();
            }
        }
        let accepted = state.accepted.clone();
        self.dirty.insert(Dirty::Sync(sync.clone()));
        if before.is_none() {
            return;
        }
        match finding {
            Some(finding) => {
                tracing::warn!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "{finding}");
                self.announce_sync(sync, std::slice::from_ref(&finding));
            }
            None => self.tell_enforced(sync),
        }
        // What was put back is told now, and what was told is put back.
        let objects: Vec<ObjectRef> =
            accepted.iter().flat_map(|state| state.iter()).map(|object| object.reference.clone()).collect();
        self.heal_all(sync, objects.iter(), now);
    }

    fn tell_enforced(&self, sync: &SyncRef) {
        let Some(state) = self.syncs.get(sync) else { return };
        tracing::info!(sync = %sync, "its TrustRoot is in mode Enforce: what is judged is done again");
        let regarding = regarding("Sync", Some(&sync.namespace), &sync.name, state.resource.metadata.uid.clone());
        let text = "the TrustRoot is in mode Enforce: what is judged is done again".to_owned();
        self.tell(
            &regarding,
            [Note { severity: Severity::Normal, reason: ENFORCED, action: "Reconcile", text, related: None }],
        );
    }

    /// Nothing speaks against a candidate, and it is not applied: what would be done is told, once.
    pub(crate) fn report_plan(&mut self, sync: &SyncRef, key: VerdictKey, proposal: Proposal, now: Timestamp) {
        let finding = self.audit_finding(sync, Some(&proposal));
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.phase = Phase::Idle;
        state.judged(Some(key));
        state.held = None;
        state.enforcement.proposal = Some(proposal);
        let before = state.enforcement.finding.replace(finding.clone());
        self.refusals.clear(&format!("Sync {sync}"));
        self.dirty.insert(Dirty::Sync(sync.clone()));
        if before.as_ref() != Some(&finding) {
            tracing::warn!(sync = %sync, commit = %proposal.revision, code = finding.code.code, reason = finding.code.reason, "reported: {finding}");
            self.metrics.decided("report", finding.code.reason);
            self.announce_sync(sync, std::slice::from_ref(&finding));
        }
        self.heal_incomplete(sync, now);
    }
}

#[cfg(test)]
mod tests {
    use cluster::crd::ConditionStatus;
    use plan::{Counts, PlanOrigin};

    use super::*;

    fn conditions(finding: Option<&Finding>, is_shown: bool) -> Vec<(ConditionStatus, String, String)> {
        let mut conditions = Vec::new();
        crate::conditions::set(&mut conditions, condition(finding, is_shown), None, Timestamp::UNIX_EPOCH);
        conditions.into_iter().map(|one| (one.status, one.reason, one.message)).collect()
    }

    #[test]
    fn what_would_be_done_is_counted() {
        let text = |proposal: Option<&Proposal>| audited("Sync shop/web", "prod", proposal).to_string();
        let fix = "needed: mode Enforce, for what is judged to be done. Fix: kubectl patch trustroot prod --type=merge";
        let nothing = "A145 AuditMode: Sync shop/web: TrustRoot prod is in mode Audit, nothing is written";
        assert!(text(None).starts_with(&format!("{nothing}; {fix}")), "{}", text(None));
        let counts = Counts { created: 3, configured: 2, pruned: 1, unchanged: 9, ..Counts::default() };
        let revision = "1".repeat(40).parse().unwrap();
        let found = text(Some(&Proposal { origin: PlanOrigin::Advance, revision, counts }));
        let would = "would apply 3 for the first time, change 2, delete 1 and leave 9 of the objects as they are";
        assert!(found.starts_with(&format!("{nothing}: commit {revision} {would}; {fix}")), "{found}");
    }

    #[test]
    fn that_nothing_is_done_has_a_condition_of_its_own() {
        assert!(conditions(None, false).is_empty());
        let finding = audited("Sync shop/web", "prod", None);
        let shown = conditions(Some(&finding), false);
        assert_eq!(shown, [(ConditionStatus::False, "AuditMode".to_owned(), finding.to_string())]);
        // Once it was shown, the end of it is as well.
        assert_eq!(conditions(None, true), [(ConditionStatus::True, "Enforced".to_owned(), String::new())]);
    }
}
