//! Mirrors: one for each GitSource, whose credentials it was fetched with. One goes when nobody needs it any more.
//!
//! The mirror of a GitSource that is gone stays as long as a Sync refers to that source: what the Sync applied is healed,
//! and after a restart it is read from there.

use std::{collections::BTreeSet, path::PathBuf};

use git::remove_mirrors;

use crate::{
    event::Event,
    state::{Key, Resume, State, SyncState},
};

/// Who works in which mirror.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    /// Sources whose gate is running, also after they were deleted.
    gates: BTreeSet<Key>,
    /// While mirrors are removed, the names of those that stay.
    staying: Option<BTreeSet<String>>,
    /// Why one could not be removed last time.
    problem: Option<String>,
}

impl Mirrors {
    /// Whether a source has to wait: a gate runs in its mirror, or its mirror is perhaps being removed.
    #[must_use]
    pub(crate) fn is_taken(&self, key: &Key) -> bool {
        self.gates.contains(key) || self.is_going(key)
    }

    /// Whether its mirror is perhaps being removed.
    #[must_use]
    pub(crate) fn is_going(&self, key: &Key) -> bool {
        self.staying.as_ref().is_some_and(|staying| !staying.contains(&name(key)))
    }

    /// The gate of a source runs from here on.
    pub(crate) fn take(&mut self, key: &Key) {
        self.gates.insert(key.clone());
    }

    /// It has ended.
    pub(crate) fn give_back(&mut self, key: &Key) {
        self.gates.remove(key);
    }
}

/// The name of a mirror. A namespace has no dot, so no two sources have the same.
pub(crate) fn name(key: &Key) -> String {
    format!("{}.{}", key.namespace, key.name)
}

/// Whose mirror it is: those of approvals lie beside it. No name of an object has an `@`.
fn of(mirror: &str) -> &str {
    mirror.split_once('@').map_or(mirror, |(of, _)| of)
}

impl State {
    fn mirrors_folder(&self) -> PathBuf {
        self.options.state_dir.join("mirror")
    }

    /// The mirror's folder of a source.
    #[must_use]
    pub(crate) fn mirror_of(&self, source: &Key) -> PathBuf {
        self.mirrors_folder().join(name(source))
    }

    /// Removes mirrors that nobody needs, once it is known what the log says about all that may need one.
    pub(crate) fn sweep_mirrors(&mut self) {
        let is_known = |state: &SyncState| state.obeyed.is_some() || state.spec_resume == Resume::Done;
        let all_known = self.knows_orders() && self.removals == Resume::Done && self.syncs.values().all(is_known);
        if !all_known || self.mirrors.staying.is_some() {
            return;
        }
        let staying = self.needed_mirrors();
        self.mirrors.staying = Some(staying.clone());
        let (folder, archives) = (self.mirrors_folder(), self.archives_folder());
        self.blocking(
            move || {
                let removed = remove_mirrors(&folder, |name| staying.contains(of(name)))
                    .and_then(|removed| remove_mirrors(&archives, |name| staying.contains(name)).map(|_| removed));
                Event::MirrorsSwept(removed.map_err(|error| git::GitError::from(error).finding().to_string()))
            },
            |why| Event::MirrorsSwept(Err(why)),
        );
    }

    fn needed_mirrors(&self) -> BTreeSet<String> {
        let obeyed = self.syncs.keys().filter_map(|sync| self.source_key(sync));
        // What is ordered may be obeyed later: the GitSource comes back, or a commit declares it.
        let ordered = self.syncs.iter().map(|(sync, state)| {
            let source = &state.resource.spec.source_ref;
            let namespace = source.namespace.as_ref().unwrap_or(&sync.namespace);
            Key { namespace: namespace.clone(), name: source.name.clone() }
        });
        let present = self.sources.keys().chain(&self.mirrors.gates).cloned();
        present.chain(obeyed).chain(ordered).map(|key| name(&key)).collect()
    }

    /// Mirrors were removed, or not.
    pub(crate) fn mirrors_swept(&mut self, result: Result<Vec<String>, String>) {
        self.mirrors.staying = None;
        match result {
            Ok(removed) => {
                self.mirrors.problem = None;
                if !removed.is_empty() {
                    tracing::info!(removed = removed.join(" "), "mirrors of GitSources that are gone were removed");
                }
            }
            // Tried again with the next upkeep.
            Err(problem) if self.mirrors.problem.as_ref() == Some(&problem) => {}
            Err(problem) => {
                tracing::warn!("mirrors of GitSources that are gone stay: {problem}");
                self.mirrors.problem = Some(problem);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_waits_for_a_gate_and_for_a_removal_that_does_not_spare_it() {
        let key = |name: &str| Key { namespace: "shop".to_owned(), name: name.to_owned() };
        let mut mirrors = Mirrors::default();
        mirrors.take(&key("a"));
        assert!(mirrors.is_taken(&key("a")) && !mirrors.is_taken(&key("b")));
        mirrors.give_back(&key("a"));
        mirrors.staying = Some(BTreeSet::from([name(&key("a"))]));
        assert!(!mirrors.is_taken(&key("a")) && mirrors.is_taken(&key("b")));
    }
}
