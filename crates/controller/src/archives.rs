//! What is in force is kept a second time, apart from the mirrors: without its mirror, and when the server no longer has the
//! commit, it is healed all the same, also after a restart. Nothing is judged by it, so nothing advances.
//!
//! Written beside the loop once it is in force: until then, a second or so, only the mirror has it. The objects are those of
//! the repository, Secrets included, as in the mirror; they go with the GitSource as it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use git::{Archive, ArchiveError, Mirror, Others, Wanted};
use manifest::RepoPath;

use crate::{
    event::Event,
    mirrors::name,
    report::chain,
    source_gate::judging_folders,
    state::{Key, Resume, State},
};

/// The folder of trust.
const TRUST: &str = ".writ";
/// How often it is looked whether something else is in force: many Syncs advance within a second.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failure: a full volume is not mended within a second.
const KEEP_AGAIN: Duration = Duration::from_secs(60);

/// Where the objects of a source are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stores<'a> {
    /// The mirror's directory.
    pub mirror: &'a Path,
    /// What is in force of it, if it is looked for there.
    pub archive: Option<&'a Archive>,
}

/// What is kept, and what is not yet.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    due: Option<Instant>,
    /// What is kept of a source, as far as that is known.
    kept: BTreeMap<Key, (Wanted, Others)>,
    /// What is being written.
    running: BTreeMap<Key, (Wanted, Others)>,
    /// When it is tried again, and why it failed.
    failed: BTreeMap<Key, (Instant, String)>,
}

impl Archives {
    /// Whether something has to be written for a source whose revisions in force are these.
    fn is_news(&self, key: &Key, wanted: &(Wanted, Others), now: Instant) -> bool {
        let waits = self.failed.get(key).is_some_and(|(again, _)| now < *again);
        !waits && !self.running.contains_key(key) && self.kept.get(key) != Some(wanted)
    }

    /// It was written, or not. Returns why not, if that is news.
    fn ended(&mut self, key: &Key, result: Result<(), String>, now: Instant) -> Option<String> {
        let written = self.running.remove(key)?;
        match result {
            Ok(()) => {
                self.failed.remove(key);
                self.kept.insert(key.clone(), written);
                None
            }
            Err(why) => {
                let before = self.failed.insert(key.clone(), (now + KEEP_AGAIN, why.clone()));
                Some(why).filter(|why| before.is_none_or(|(_, before)| before != *why))
            }
        }
    }
}

/// The folders by which a verified revision judges others.
pub(crate) fn judging() -> BTreeSet<RepoPath> {
    // A name that did not parse would be the root: more would be kept.
    judging_folders().chain([TRUST.parse().unwrap_or_default()]).collect()
}

fn keep(mirror: &Path, archive: &Archive, wanted: &Wanted, others: Others) -> Result<(), ArchiveError> {
    // One that is not there is not made for this.
    let opened = if mirror.exists() {
        Mirror::open(mirror)
            .inspect_err(|error| tracing::debug!("what is in force is not read from the mirror: {error}"))
            .ok()
    } else {
        None
    };
    archive.keep(opened.as_ref().map(Mirror::objects), wanted, others)
}

impl State {
    /// The folder of all archives.
    pub(crate) fn archives_folder(&self) -> PathBuf {
        self.options.state_dir.join("accepted")
    }

    /// What is in force of a source.
    #[must_use]
    pub(crate) fn archive_of(&self, source: &Key) -> Archive {
        Archive::new(self.archives_folder().join(name(source)))
    }

    /// Keeps what is in force, if it is not kept yet.
    pub(crate) fn keep_in_force(&mut self) {
        let now = Instant::now();
        if self.archives.due.is_some_and(|due| now < due) {
            return;
        }
        self.archives.due = Some(now + KEEP_EVERY);
        let sources = &self.sources;
        self.archives.kept.retain(|key, _| sources.contains_key(key));
        self.archives.failed.retain(|key, _| sources.contains_key(key));
        let keys: Vec<Key> = sources.keys().filter(|key| !self.mirrors.is_going(key)).cloned().collect();
        for key in keys {
            let Some(wanted) = self.revisions_in_force(&key).filter(|wanted| self.archives.is_news(&key, wanted, now))
            else {
                continue;
            };
            self.archives.running.insert(key.clone(), wanted.clone());
            let (mirror, archive, source) = (self.mirror_of(&key), self.archive_of(&key), key.clone());
            self.blocking(
                move || {
                    let result = keep(&mirror, &archive, &wanted.0, wanted.1).map_err(|error| chain(&error));
                    Event::InForceKept { source, result }
                },
                move |why| Event::InForceKept { source: key, result: Err(why) },
            );
        }
    }

    /// What is in force of a source: what is verified, with what it judges by, and what each Sync accepted and applied.
    fn revisions_in_force(&self, key: &Key) -> Option<(Wanted, Others)> {
        let source = self.sources.get(key).filter(|source| source.resume == Resume::Done)?;
        let mut wanted = Wanted::from([(source.verified.as_ref()?.commit.id(), judging())]);
        let mut others = if self.knows_orders() { Others::Go } else { Others::Stay };
        for sync in self.syncs_of(key) {
            let Some(state) = self.syncs.get(&sync) else { continue };
            let Some(spec) = &state.obeyed else { continue };
            if state.resume != Resume::Done {
                others = Others::Stay;
            }
            let revisions = [&state.accepted, &state.applied].into_iter().flatten().chain(&state.partial);
            let over = state.rolled_back.as_ref().map(|order| order.over);
            for commit in revisions.map(|state| state.commit().id()).chain(over) {
                wanted.entry(commit).or_default().insert(spec.path.clone());
            }
        }
        Some((wanted, others))
    }

    /// What is in force is kept, or not.
    pub(crate) fn in_force_kept(&mut self, key: &Key, result: Result<(), String>) {
        if let Some(why) = self.archives.ended(key, result, Instant::now()) {
            tracing::warn!(source = %key, "what is in force is not kept apart from its mirror: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_written_once_and_again_after_a_failure() {
        let key = Key { namespace: "shop".to_owned(), name: "config".to_owned() };
        let wanted = |commit: &str, others| (Wanted::from([(commit.repeat(40).parse().unwrap(), judging())]), others);
        let (one, two) = (wanted("1", Others::Stay), wanted("2", Others::Stay));
        let (mut archives, start) = (Archives::default(), Instant::now());
        assert!(archives.is_news(&key, &one, start));
        archives.running.insert(key.clone(), one.clone());
        assert!(!archives.is_news(&key, &two, start), "one at a time");
        assert_eq!(archives.ended(&key, Ok(()), start), None);
        assert!(!archives.is_news(&key, &one, start) && archives.is_news(&key, &two, start));
        assert!(archives.is_news(&key, &wanted("1", Others::Go), start), "what nobody wants can go");
        for (second, told) in [(0, true), (60, false)] {
            let now = start + Duration::from_secs(second);
            archives.running.insert(key.clone(), two.clone());
            assert_eq!(archives.ended(&key, Err("full".to_owned()), now).is_some(), told);
            assert!(!archives.is_news(&key, &two, now + Duration::from_secs(59)));
            assert!(archives.is_news(&key, &two, now + KEEP_AGAIN));
        }
        assert_eq!(archives.ended(&key, Ok(()), start), None, "nothing is running");
    }
}
