//! What the log said before a start, of what is held and of the modes of TrustRoots: asked once, and again later if it cannot be
//! read. Nothing is done meanwhile by a TrustRoot that is gone, and that is told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use audit::{EntryKind, Hash, Log, LogError};
use jiff::Timestamp;
use manifest::{Finding, Subject};
use plan::SyncRef;

use crate::{
    apply::retry_pause,
    code::ControllerCode,
    event::Event,
    logged_modes::{self, LoggedModes},
    state::{Dirty, Resume, State},
};

/// What the log said at the start.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    /// What is held, by owner: the digest of the body of its newest hold.
    pub(crate) holds: BTreeMap<String, Hash>,
    /// The modes of the TrustRoots.
    pub(crate) modes: LoggedModes,
}

/// Whether the log was asked, and answered.
#[derive(Debug)]
pub(crate) struct Reading {
    state: Resume,
    failed: u32,
    /// When it is asked again.
    due: Option<Instant>,
    /// Why it could not be read.
    problem: Option<Finding>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { state: Resume::Needed, failed: 0, due: None, problem: None }
    }
}

impl Reading {
    /// Whether it is asked now.
    fn begins(&mut self, now: Instant) -> bool {
        let is_due = self.state == Resume::Needed && self.due.is_none_or(|due| due <= now);
        if is_due {
            self.state = Resume::Running;
        }
        is_due
    }

    fn answered(&mut self) {
        *self = Self { state: Resume::Done, ..Self::default() };
    }

    /// Returns how long it is left alone.
    fn failed(&mut self, why: &str, now: Instant) -> Duration {
        let pause = retry_pause(self.failed);
        let problem = Finding {
            code: ControllerCode::A140.entry(),
            subject: Subject::Named("audit log".to_owned()),
            rule: None,
            found: format!("what was held before the start, and in which modes TrustRoots were, cannot be read from it: {why}").into(),
            needed: "a log that can be read; it is asked again by itself, and until then nothing is done by TrustRoots that are \
                     gone"
                .into(),
            fix: "writ audit verify STATE/log --key KEY_FILE # and check the state volume".into(),
        };
        (self.state, self.due, self.problem) = (Resume::Needed, Some(now + pause), Some(problem));
        self.failed = self.failed.saturating_add(1);
        pause
    }

    /// Whether what is held may be written: the log has answered, or nobody knows when it will.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, Resume::Done) || self.problem.is_some()
    }
}

impl State {
    /// Asks the log, once after a start, what is held by it, and in which modes the TrustRoots were.
    pub(crate) fn ask_holds(&mut self) {
        if !self.holds.read.begins(Instant::now()) {
            return;
        }
        let log = self.journal.log().clone();
        self.blocking(
            move || Event::HoldsRead(logged(&log).map_err(|error| error.to_string())),
            |why| Event::HoldsRead(Err(why)),
        );
    }

    /// What was held before the start.
    pub(crate) fn holds_read(&mut self, outcome: Result<Logged, String>, now: Timestamp) {
        let waiting: Vec<SyncRef> = self.syncs.keys().filter(|sync| self.awaits_modes(sync)).cloned().collect();
        match outcome {
            Ok(Logged { holds, modes }) => {
                self.holds.resume(holds);
                self.holds.read.answered();
                self.modes.read(modes);
                self.follow_modes(now);
                self.resume_syncs();
            }
            Err(why) => {
                let is_news = self.holds.read.problem.is_none();
                let again = self.holds.read.failed(&why, Instant::now());
                tracing::error!(why, again = ?again, "what was held before the start cannot be read from the log");
                if let Some(problem) = self.holds.read.problem.as_ref().filter(|_| is_news) {
                    tracing::error!(code = problem.code.code, reason = problem.code.reason, "{problem}");
                    self.announce_roots(problem);
                    for sync in &waiting {
                        self.announce_sync(sync, std::slice::from_ref(problem));
                    }
                }
            }
        }
        self.metrics.log_unread.set(i64::from(self.holds.read.problem.is_some()));
        self.dirty.extend(waiting.into_iter().map(Dirty::Sync));
        self.dirty.extend(self.roots.keys().cloned().map(Dirty::Root));
    }

    /// Whether the log has to say first whether anything is to be done by the TrustRoot of a Sync, which is not there.
    pub(crate) fn awaits_modes(&self, sync: &SyncRef) -> bool {
        !self.modes.is_read() && self.source_key(sync).is_some_and(|source| self.root_of(&source).is_none())
    }

    /// Why it does not say so.
    pub(crate) fn log_unread(&self) -> Option<&Finding> {
        self.holds.read.problem.as_ref()
    }
}

/// What was held and not released, for all owners, and the newest modes: 100,000 entries are read in one pass, not once for
/// each owner.
pub(crate) fn logged(log: &Log) -> Result<Logged, LogError> {
    let mut logged = Logged::default();
    for found in log.entries(0..log.len()) {
        let found = found?;
        logged.modes.extend(logged_modes::of_entry(&found));
        let Some(owner) = found.entry.subject.get("owner") else { continue };
        match (found.entry.kind, found.entry.body_digest()) {
            (EntryKind::Hold, Some(digest)) => drop(logged.holds.insert(owner.clone(), digest)),
            (EntryKind::Release, _) => drop(logged.holds.remove(owner)),
            _ => {}
        }
    }
    Ok(logged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_read_is_asked_again_later_and_later() {
        let (mut reading, mut now, mut asked) = (Reading::default(), Instant::now(), 0);
        assert!(reading.begins(now) && !reading.begins(now) && !reading.is_over());
        reading.failed("a block is damaged", now);
        // What is held now is not kept from the log meanwhile.
        assert!(reading.is_over() && !reading.begins(now));
        let problem = reading.problem.clone().unwrap();
        assert!(
            problem.to_string().starts_with("A140 StateVolume: audit log: what was held before the start"),
            "{problem}"
        );
        for _ in 0..600 {
            now += Duration::from_secs(1);
            if reading.begins(now) {
                asked += 1;
                assert_eq!(reading.problem, Some(problem.clone()));
                reading.failed("a block is damaged", now);
            }
        }
        assert!((14..=16).contains(&asked), "{asked}");
        now += Duration::from_secs(60);
        assert!(reading.begins(now));
        reading.answered();
        assert!(reading.is_over() && reading.problem.is_none() && !reading.begins(now + Duration::from_secs(3_600)));
    }
}
