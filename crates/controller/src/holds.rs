//! What is not obeyed, and accepted state that is lost, in the log: an entry when it begins, one when it ends. Nothing is done
//! meanwhile, so the entries follow what is found; a restart writes none that is there already.

use std::collections::BTreeMap;

use audit::{EntryKind, Log};
use jiff::Timestamp;
use manifest::Finding;

use crate::{
    journal::{Journal, hold_body},
    state::{Held, Resume, State},
};

/// What is held now, by owner (`kind namespace/name`); `None` for one of which nothing is.
type Holds = BTreeMap<String, Option<Finding>>;

impl State {
    /// Writes what began or ended since the last turn.
    pub(crate) fn log_holds(&mut self, now: Timestamp) {
        let before = self.holds.take();
        if before.is_none() && self.is_resuming() {
            // What an accepted commit declares is not known yet.
            return;
        }
        let before = before.unwrap_or_default();
        let mut holds = self.present_holds();
        let mut error = None;
        for (owner, finding) in &mut holds {
            let known = before.get(owner);
            if known == Some(&*finding) {
                continue;
            }
            let first = known.is_none();
            if let Err(why) = note(&self.journal, now, owner, finding.as_ref(), first) {
                error = Some(why);
                // Written when the log takes entries again.
                *finding = known.cloned().flatten();
            }
        }
        self.holds = Some(holds);
        if let Some(error) = error.filter(|_| self.log_problem.is_none()) {
            self.log_failed(&error);
        }
    }

    fn present_holds(&self) -> Holds {
        let sources = self.sources.iter().map(|(key, state)| {
            (format!("GitSource {key}"), state.order.as_ref().or_else(|| lost(state.held.as_ref())))
        });
        let syncs = self.syncs.iter().filter(|(_, state)| !state.gone);
        let syncs = syncs
            .map(|(sync, state)| (format!("Sync {sync}"), state.order.as_ref().or_else(|| lost(state.held.as_ref()))));
        sources.chain(syncs).map(|(owner, finding)| (owner, finding.cloned())).collect()
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

/// Writes that `owner` is held for this, or no longer. The first of a process is compared with what the log says.
fn note(
    journal: &Journal,
    now: Timestamp,
    owner: &str,
    finding: Option<&Finding>,
    first: bool,
) -> Result<(), audit::LogError> {
    let logged = if first { logged(journal.log(), owner)? } else { None };
    match finding {
        Some(finding) if logged.as_ref() == Some(&hold_body(finding)) => Ok(()),
        Some(finding) => journal.hold(now, owner, finding).map(drop),
        None if first && logged.is_none() => Ok(()),
        None => journal.release(now, owner).map(drop),
    }
}

/// The body of the newest hold of `owner` that was not released.
fn logged(log: &Log, owner: &str) -> Result<Option<Vec<u8>>, audit::LogError> {
    let Some(hold) = log.latest(EntryKind::Hold, &[("owner", owner)])? else { return Ok(None) };
    let release = log.latest(EntryKind::Release, &[("owner", owner)])?;
    if release.is_some_and(|release| release.index > hold.index) {
        return Ok(None);
    }
    hold.entry.body_digest().map_or(Ok(None), |digest| log.body(&digest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::LogKey;
    use tempfile::TempDir;

    use super::*;
    use crate::{code::ControllerCode, resources::finding};

    #[test]
    fn a_hold_is_logged_once_over_restarts_and_its_end_as_well() {
        let folder = TempDir::new().unwrap();
        let key = LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let journal = Journal::new(Arc::new(Log::open(folder.path(), key, "writ.test/log").unwrap()), &public);
        let at: Timestamp = "2026-11-23T21:00:00Z".parse().unwrap();
        let edited = finding(ControllerCode::A142, "Sync shop/web", "spec.wait is set", "a spec without it");
        let other = finding(ControllerCode::A142, "Sync shop/web", "spec.dependsOn is set", "a spec without it");
        let mut length = 0;
        let mut check = |finding: Option<&Finding>, first: bool, written: u64| {
            note(&journal, at, "Sync shop/web", finding, first).unwrap();
            length += written;
            assert_eq!(journal.log().len(), length, "{finding:?}");
        };
        check(None, true, 0);
        check(Some(&edited), false, 1);
        check(Some(&edited), true, 0);
        check(Some(&other), true, 1);
        check(None, true, 1);
        check(None, true, 0);
        check(Some(&other), true, 1);
        check(None, false, 1);
    }
}
