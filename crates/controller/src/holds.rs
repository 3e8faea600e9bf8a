//! What is not obeyed, and accepted state that is lost, in the log: an entry when it begins, one when it ends, also when
//! its owner is deleted. Nothing is done meanwhile, so the entries follow what is found; a restart writes none that is there already.

use std::collections::BTreeMap;

use audit::{EntryKind, Hash, Log, LogError};
use jiff::Timestamp;
use manifest::Finding;

use crate::{
    event::Event,
    journal::hold_body,
    state::{Held, Resume, State},
};

/// What is held now, by owner (`kind namespace/name`).
type Present = BTreeMap<String, Finding>;

/// What the log says is held, by owner: the digest of the body of its newest hold.
pub(crate) type Logged = BTreeMap<String, Hash>;

/// What the log says is held, and whether it was asked.
#[derive(Debug)]
pub(crate) struct Holds {
    /// Until the log has answered, nothing is written.
    read: Resume,
    /// Whether what accepted commits declare was known once.
    begun: bool,
    logged: Logged,
}

impl Default for Holds {
    fn default() -> Self {
        Self { read: Resume::Needed, begun: false, logged: Logged::new() }
    }
}

impl Holds {
    /// Has `write` write what began, and what ended (`None`), of each owner. What it cannot is still to be written the next time.
    fn follow<E>(
        &mut self,
        present: &Present,
        mut write: impl FnMut(&str, Option<&Finding>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut result = Ok(());
        for (owner, finding) in present {
            let digest = Hash::of(&hold_body(finding));
            if self.logged.get(owner) == Some(&digest) {
                continue;
            }
            match write(owner, Some(finding)) {
                Ok(()) => drop(self.logged.insert(owner.clone(), digest)),
                Err(error) => result = Err(error),
            }
        }
        // An owner that is not there any more is held no longer either.
        self.logged.retain(|owner, _| {
            present.contains_key(owner) || write(owner, None).map_err(|error| result = Err(error)).is_err()
        });
        result
    }
}

impl State {
    /// Asks the log, once after a start, what is held by it.
    pub(crate) fn ask_holds(&mut self) {
        if self.holds.read != Resume::Needed {
            return;
        }
        self.holds.read = Resume::Running;
        let log = self.journal.log().clone();
        self.blocking(
            move || Event::HoldsRead(logged(&log).map_err(|error| error.to_string())),
            |why| Event::HoldsRead(Err(why)),
        );
    }

    /// What was held before the start.
    pub(crate) fn holds_read(&mut self, outcome: Result<Logged, String>) {
        self.holds.read = Resume::Done;
        self.holds.logged = outcome.unwrap_or_else(|why| {
            tracing::error!(
                why,
                "what was held before the start cannot be read from the log; what is held now is logged again"
            );
            Logged::new()
        });
    }

    /// Writes what began or ended since the last turn.
    pub(crate) fn log_holds(&mut self, now: Timestamp) {
        // What an accepted commit declares may not be known yet.
        if self.holds.read != Resume::Done || (!self.holds.begun && self.is_resuming()) {
            return;
        }
        self.holds.begun = true;
        let present = self.present_holds();
        let journal = &self.journal;
        let result = self.holds.follow(&present, |owner, finding| match finding {
            Some(finding) => journal.hold(now, owner, finding).map(drop),
            None => journal.release(now, owner).map(drop),
        });
        if let Some(error) = result.err().filter(|_| self.log_problem.is_none()) {
            self.log_failed(&error);
        }
    }

    fn present_holds(&self) -> Present {
        let sources = self.sources.iter().map(|(key, state)| {
            (format!("GitSource {key}"), state.order.as_ref().or_else(|| lost(state.held.as_ref())))
        });
        let syncs = self.syncs.iter().filter(|(_, state)| !state.gone);
        let syncs = syncs
            .map(|(sync, state)| (format!("Sync {sync}"), state.order.as_ref().or_else(|| lost(state.held.as_ref()))));
        sources.chain(syncs).filter_map(|(owner, finding)| Some((owner, finding?.clone()))).collect()
    }

    /// Whether the log is still asked what was accepted, and with it which orders are signed.
    fn is_resuming(&self) -> bool {
        let sources = self.sources.values().any(|state| state.resume == Resume::Running);
        let syncs = self.syncs.iter().any(|(sync, state)| {
            let is_verified = || self.source_of(sync).is_some_and(|(_, source)| source.verified.is_some());
            let is_known = state.resume == Resume::Done || lost(state.held.as_ref()).is_some();
            state.resume == Resume::Running || state.spec_resume == Resume::Running || (!is_known && is_verified())
        });
        !self.knows_orders() || sources || syncs
    }
}

/// Why nothing is known of what was accepted.
fn lost(held: Option<&Held>) -> Option<&Finding> {
    held.filter(|held| held.revision.is_empty())?.findings.first()
}

/// What was held and not released, for all owners in one pass: 100,000 entries are read once, not once for each owner.
fn logged(log: &Log) -> Result<Logged, LogError> {
    let mut holds = Logged::new();
    for found in log.entries(0..log.len()) {
        let entry = found?.entry;
        let Some(owner) = entry.subject.get("owner") else { continue };
        match (entry.kind, entry.body_digest()) {
            (EntryKind::Hold, Some(digest)) => drop(holds.insert(owner.clone(), digest)),
            (EntryKind::Release, _) => drop(holds.remove(owner)),
            _ => {}
        }
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::LogKey;
    use plan::SyncRef;
    use tempfile::TempDir;

    use super::*;
    use crate::{code::ControllerCode, journal::Journal, resources::finding};

    const WEB: &str = "Sync shop/web";
    const CONFIG: &str = "GitSource shop/config";

    /// What is held: an owner, and the field that is the reason.
    fn present(holds: &[(&str, &str)]) -> Present {
        let found =
            |owner, field| finding(ControllerCode::A142, owner, &format!("spec.{field} is set"), "a spec without it");
        holds.iter().map(|(owner, field)| ((*owner).to_owned(), found(owner, field))).collect()
    }

    /// What one turn writes.
    fn turn(holds: &mut Holds, present: &Present) -> Vec<String> {
        let mut written = Vec::new();
        let write = |owner: &str, finding: Option<&Finding>| {
            written
                .push(finding.map_or_else(|| format!("{owner}: released"), |held| format!("{owner}: {}", held.found)));
            Ok::<_, LogError>(())
        };
        holds.follow(present, write).unwrap();
        written
    }

    #[test]
    fn a_hold_is_written_once_and_its_end_as_well() {
        let mut holds = Holds::default();
        let mut check = |held: &[(&str, &str)], expected: &[&str]| {
            assert_eq!(turn(&mut holds, &present(held)), expected, "{held:?}");
            assert!(turn(&mut holds, &present(held)).is_empty(), "{held:?}");
        };
        check(&[], &[]);
        check(&[(WEB, "wait")], &["Sync shop/web: spec.wait is set"]);
        check(&[(WEB, "path")], &["Sync shop/web: spec.path is set"]);
        check(&[(WEB, "path"), (CONFIG, "ref")], &["GitSource shop/config: spec.ref is set"]);
        check(&[(CONFIG, "ref")], &["Sync shop/web: released"]);
        check(&[], &["GitSource shop/config: released"]);
    }

    #[test]
    fn what_the_log_did_not_take_is_written_when_it_does() {
        let mut holds = Holds::default();
        assert_eq!(turn(&mut holds, &present(&[(WEB, "wait")])).len(), 1);
        let config = present(&[(CONFIG, "ref")]);
        for _ in 0..2 {
            assert_eq!(holds.follow(&config, |_, _| Err(())), Err(()));
        }
        assert_eq!(turn(&mut holds, &config), ["GitSource shop/config: spec.ref is set", "Sync shop/web: released"]);
        assert!(turn(&mut holds, &config).is_empty());
    }

    #[test]
    fn a_restart_knows_what_the_log_says() {
        let folder = TempDir::new().unwrap();
        let key = LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let journal = Journal::new(Arc::new(Log::open(folder.path(), key, "writ.test/log").unwrap()), &public);
        let before = present(&[(WEB, "wait"), (CONFIG, "ref")]);
        for (owner, finding) in &before {
            journal.hold(Timestamp::UNIX_EPOCH, owner, finding).unwrap();
        }
        journal
            .superseded(Timestamp::UNIX_EPOCH, &SyncRef { namespace: "shop".into(), name: "web".into() }, "revision")
            .unwrap();
        journal.release(Timestamp::UNIX_EPOCH, CONFIG).unwrap();
        let started = || Holds { logged: logged(journal.log()).unwrap(), ..Holds::default() };
        assert!(turn(&mut started(), &present(&[(WEB, "wait")])).is_empty());
        assert_eq!(turn(&mut started(), &before), ["GitSource shop/config: spec.ref is set"]);
        assert_eq!(turn(&mut started(), &present(&[])), ["Sync shop/web: released"]);
    }
}
