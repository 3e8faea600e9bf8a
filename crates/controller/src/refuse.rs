//! A revision that is refused is held: told once, written to the log, and judged again when what judges changes.

use audit::LogError;
use jiff::Timestamp;
use manifest::Finding;
use plan::{SyncRef, VerdictInputs};
use trust::{AuthorizedCommit, Signer};

use crate::{
    event::Event,
    refusals::Refused,
    state::{Dirty, Held, Phase, State, VerdictKey},
};

impl State {
    /// A candidate is refused; what was accepted stays in force and is healed.
    pub(crate) fn refuse(
        &mut self,
        sync: &SyncRef,
        key: &VerdictKey,
        findings: Vec<Finding>,
        inputs: Option<&VerdictInputs>,
        now: Timestamp,
    ) {
        let about = (key.commit.to_string(), self.signer_of(sync));
        self.hold(sync, key, about, findings, inputs, now);
    }

    /// What a Sync is held to is refused by what judges today: it is rolled out no further, and what of it runs is healed.
    pub(crate) fn hold_target(
        &mut self,
        sync: &SyncRef,
        key: &VerdictKey,
        target: &AuthorizedCommit,
        findings: Vec<Finding>,
        now: Timestamp,
    ) {
        let inputs = self.verdict_inputs(sync, now);
        let about = (target.id().to_string(), target.signer().map(signer));
        self.hold(sync, key, about, findings, inputs.as_ref(), now);
    }

    /// `about`: the revision, and who signed it.
    fn hold(
        &mut self,
        sync: &SyncRef,
        key: &VerdictKey,
        about: (String, Option<String>),
        findings: Vec<Finding>,
        inputs: Option<&VerdictInputs>,
        now: Timestamp,
    ) {
        let owner = format!("Sync {sync}");
        let (revision, signer) = about;
        let before = self.syncs.get(sync).and_then(|state| state.held.as_ref());
        let held = Held::renew(before, revision, findings, signer, now);
        let Held { revision, findings, .. } = &held;
        let refused = Refused { revision, findings, inputs };
        if self.refusals.is_new(&owner, &refused) {
            for finding in findings {
                tracing::warn!(sync = %sync, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
                self.metrics.decided("refuse", finding.code.reason);
            }
            self.announce_held_sync(sync, &held);
            self.log_refusal(owner, revision, findings, inputs, now);
        }
        let Some(state) = self.syncs.get_mut(sync) else { return };
        state.held = Some(held);
        state.enforcement.forget_proposal();
        state.judged(Some(key.clone()));
        state.phase = Phase::Idle;
        self.dirty.insert(Dirty::Sync(sync.clone()));
        self.heal_incomplete(sync, now);
    }

    /// Writes a refusal to the log, beside the loop: a slow disk delays no revert.
    pub(crate) fn log_refusal(
        &self,
        owner: String,
        revision: &str,
        findings: &[Finding],
        inputs: Option<&VerdictInputs>,
        now: Timestamp,
    ) {
        let (journal, revision, findings, inputs) =
            (self.journal.clone(), revision.to_owned(), findings.to_vec(), inputs.cloned());
        let failed = owner.clone();
        self.blocking(
            move || {
                let refused = Refused { revision: &revision, findings: &findings, inputs: inputs.as_ref() };
                let result = journal.refuse(now, &owner, &refused).map(drop).map_err(Some);
                Event::RefusalLogged { owner, result }
            },
            move |why| {
                tracing::error!(owner = failed, why, "a refusal was not written to the log");
                Event::RefusalLogged { owner: failed, result: Err(None) }
            },
        );
    }

    /// A refusal is in the log, or not: then it is told once more when it is reached again.
    pub(crate) fn refusal_logged(&mut self, owner: &str, result: Result<(), Option<LogError>>) {
        let Err(error) = result else { return };
        self.refusals.clear(owner);
        if let Some(error) = error {
            self.log_failed(&error);
        }
    }

    /// Who signed what its source has verified.
    pub(crate) fn signer_of(&self, sync: &SyncRef) -> Option<String> {
        let verified = self.source_of(sync)?.1.verified.as_ref()?;
        verified.commit.signer().map(signer)
    }
}

/// Principal and key.
pub(crate) fn signer(signer: &Signer) -> String {
    format!("{} ({})", signer.principal, signer.key)
}
