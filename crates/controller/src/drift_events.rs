//! The Events about drift: reasons that people know from other tools, about the Sync, with the object beside it.

use cluster::{Note, Regarding};
use manifest::{Finding, ObjectRef};
use plan::{DriftReport, SyncRef};

use crate::{announce::regarding, attribution::with_author, state::State};

/// Drift is there and left alone.
pub(crate) const DRIFT_DETECTED: &str = "DriftDetected";
/// Drift was put back.
pub(crate) const DRIFT_REVERTED: &str = "DriftReverted";
/// Drift comes back after each revert, or cannot be put back.
pub(crate) const DRIFT_CONTESTED: &str = "DriftContested";

impl State {
    /// Tells a Sync's owners what drifted, and what was done about it.
    pub(crate) fn announce_drift(&self, sync: &SyncRef, reports: &[DriftReport], done: (&'static str, &str)) {
        let (reason, words) = done;
        let notes = reports.iter().map(|report| {
            let note = Note::of(&report.finding, "Drift", Some(&with_author(words, &report.by)));
            Note { reason, related: Some(Box::new(self.related(&report.reference))), ..note }
        });
        self.tell_sync(sync, notes);
    }

    /// Tells a Sync's owners that drift could not be reverted.
    pub(crate) fn announce_revert_failure(&self, sync: &SyncRef, object: &ObjectRef, finding: &Finding) {
        let note = Note::of(finding, "Revert", None);
        let is_contested = plan::is_contested(finding.code.code);
        let reason = if is_contested { DRIFT_CONTESTED } else { note.reason };
        self.tell_sync(sync, [Note { reason, related: Some(Box::new(self.related(object))), ..note }]);
    }

    fn tell_sync(&self, sync: &SyncRef, notes: impl IntoIterator<Item = Note>) {
        let Some(state) = self.syncs.get(sync) else { return };
        let uid = state.resource.metadata.uid.clone();
        self.tell(&regarding("Sync", Some(&sync.namespace), &sync.name, uid), notes);
    }

    /// A managed object, in the version that its Sync declares.
    fn related(&self, object: &ObjectRef) -> Regarding {
        let sync = self.live.owner_of(object).and_then(|sync| self.syncs.get(sync));
        let declared = sync.and_then(|state| state.accepted.as_ref()?.get(object));
        Regarding {
            api_version: declared.map_or_else(|| object.group_kind.group.clone(), |object| object.api_version.clone()),
            kind: object.group_kind.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: self.live.expected(object).map(|expected| expected.uid.to_string()),
        }
    }
}
