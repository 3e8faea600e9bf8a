//! Claims that are made for a candidate before its advance is on disk, and given back if nothing comes of it.

use manifest::ObjectRef;
use plan::{DesiredState, SyncRef};

use crate::{live::LiveTable, state::State};

impl State {
    /// Gives back what was claimed for a candidate that is not accepted: another Sync may have it.
    pub(crate) fn unclaim(&mut self, sync: &SyncRef, candidate: &DesiredState) {
        let kept: Vec<_> = self
            .syncs
            .get(sync)
            .into_iter()
            .flat_map(|state| [&state.accepted, &state.applied].into_iter().flatten().chain(&state.partial))
            .cloned()
            .collect();
        let is_kept = |object: &ObjectRef| kept.iter().any(|state| state.get(object).is_some());
        self.live.release_candidate(sync, candidate.iter().map(|object| &object.reference), is_kept);
    }
}

impl LiveTable {
    /// Releases those of `objects` that `sync` owns and that nothing else of it declares.
    fn release_candidate<'a>(
        &mut self,
        sync: &SyncRef,
        objects: impl Iterator<Item = &'a ObjectRef>,
        is_kept: impl Fn(&ObjectRef) -> bool,
    ) {
        for object in objects {
            if self.owner_of(object) == Some(sync) && !is_kept(object) {
                self.release(object);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use manifest::{ClusterId, GroupKind};

    use super::*;

    #[test]
    fn what_only_a_candidate_declares_is_free_again() {
        let object = |name: &str| ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        };
        let sync = |name: &str| SyncRef { namespace: "shop".to_owned(), name: name.to_owned() };
        let (web, other) = (sync("web"), sync("other"));
        let mut live = LiveTable::default();
        for (name, owner) in [("kept", &web), ("new", &web), ("theirs", &other)] {
            live.claim(&object(name), owner);
        }
        let candidate = ["kept", "new", "theirs"].map(object);
        live.release_candidate(&web, candidate.iter(), |object| object.name == "kept");
        let owners = candidate.each_ref().map(|object| live.owner_of(object));
        assert_eq!(owners, [Some(&web), None, Some(&other)]);
    }
}
