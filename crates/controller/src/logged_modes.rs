//! The mode that each TrustRoot had last. Who removes one that says that nothing is done has nothing done by it, not even over
//! a restart: a change of the mode is in the log as soon as it is seen, and while the log is not read nothing is known of
//! those that are not there.

use std::collections::BTreeMap;

use audit::{EntryKind, Indexed};
use jiff::Timestamp;
use trust::TrustMode;

use crate::state::State;

/// What the log says of the modes, by TrustRoot.
pub(crate) type LoggedModes = BTreeMap<String, TrustMode>;

/// What is known of the modes of TrustRoots, those that are gone included. Only platform admins make them, so there are few.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    /// Whether the log was read: before that nothing is known of what is not seen.
    read: bool,
    of: BTreeMap<String, LastMode>,
}

#[derive(Debug, Clone, Copy)]
struct LastMode {
    /// The one that was seen last, in the cluster or in the log.
    mode: TrustMode,
    /// What the newest entry says. Without an entry it was never in another mode than the default.
    logged: TrustMode,
}

impl Modes {
    /// A TrustRoot is in this mode.
    pub(crate) fn see(&mut self, root: &str, mode: TrustMode) {
        let last = LastMode { mode, logged: TrustMode::Enforce };
        self.of.entry(root.to_owned()).or_insert(last).mode = mode;
    }

    /// What the log says. What was seen meanwhile is newer.
    pub(crate) fn read(&mut self, logged: LoggedModes) {
        self.read = true;
        for (root, logged) in logged {
            self.of.entry(root).or_insert(LastMode { mode: logged, logged }).logged = logged;
        }
    }

    /// The mode that a TrustRoot had last; `None` while that is not known.
    pub(crate) fn last(&self, root: &str) -> Option<TrustMode> {
        self.of.get(root).map(|last| last.mode).or_else(|| self.read.then_some(TrustMode::Enforce))
    }

    /// Whether the log was read.
    pub(crate) const fn is_read(&self) -> bool {
        self.read
    }

    /// Has `write` write what the log does not say yet. What it cannot is still to be written the next time.
    pub(crate) fn follow<E>(&mut self, mut write: impl FnMut(&str, TrustMode) -> Result<(), E>) -> Result<(), E> {
        if !self.read {
            return Ok(());
        }
        for (root, last) in self.of.iter_mut().filter(|(_, last)| last.mode != last.logged) {
            write(root, last.mode)?;
            last.logged = last.mode;
        }
        Ok(())
    }
}

/// What an entry says of the mode of a TrustRoot, if that is what it is about. A mode that is not known is none in which
/// anything is done.
pub(crate) fn of_entry(found: &Indexed) -> Option<(String, TrustMode)> {
    let subject = &found.entry.subject;
    let (root, mode) = (subject.get("trustRoot")?, subject.get("mode")?);
    let mode = if mode == name(TrustMode::Enforce) { TrustMode::Enforce } else { TrustMode::Audit };
    (found.entry.kind == EntryKind::Alert).then(|| (root.clone(), mode))
}

/// As the entry has it.
pub(crate) const fn name(mode: TrustMode) -> &'static str {
    match mode {
        TrustMode::Enforce => "Enforce",
        TrustMode::Audit => "Audit",
    }
}

impl State {
    /// Notices in which modes the TrustRoots are, and writes those that the log does not know yet: before they can be gone,
    /// since this is done with each event about them.
    pub(crate) fn log_modes(&mut self, now: Timestamp) {
        for (root, state) in &self.roots {
            self.modes.see(root, state.resource.spec.mode);
        }
        let journal = &self.journal;
        let written = self.modes.follow(|root, mode| journal.mode(now, root, mode).map(drop));
        if let Some(error) = written.err().filter(|_| self.log_problem.is_none()) {
            self.log_failed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::{Log, LogKey};
    use tempfile::TempDir;

    use super::*;
    use crate::{holds_read, journal::Journal};

    const PROD: &str = "prod";

    /// A controller as far as it knows of modes.
    struct Process {
        journal: Journal,
        modes: Modes,
    }

    impl Process {
        /// `None`: the TrustRoot is not there.
        fn turn(&mut self, mode: Option<TrustMode>) -> Option<TrustMode> {
            mode.into_iter().for_each(|mode| self.modes.see(PROD, mode));
            let write = |root: &str, mode| self.journal.mode(Timestamp::now(), root, mode).map(drop);
            self.modes.follow(write).unwrap();
            self.modes.last(PROD)
        }

        fn start(journal: &Journal) -> Self {
            Self { journal: journal.clone(), modes: Modes::default() }
        }

        /// The log is read.
        fn read(&mut self) {
            self.modes.read(holds_read::logged(self.journal.log()).unwrap().modes);
        }
    }

    #[test]
    fn a_trust_root_that_is_gone_keeps_its_mode_over_restarts() {
        let folder = TempDir::new().unwrap();
        let key = LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let log = Arc::new(Log::open(&folder.path().join("log"), key, "writ.test/log").unwrap());
        let journal = Journal::new(Arc::clone(&log), &public);
        let start = || Process::start(&journal);
        let (audit, enforce) = (Some(TrustMode::Audit), Some(TrustMode::Enforce));
        let mut first = start();
        assert_eq!(first.turn(None), None, "nothing is known before the log is read");
        first.read();
        assert_eq!((first.turn(enforce), log.len()), (enforce, 0), "the default is no news");
        assert_eq!((first.turn(audit), first.turn(audit), log.len()), (audit, audit, 1));
        assert_eq!(first.turn(None), audit, "it is deleted");

        let mut second = start();
        assert_eq!(second.turn(None), None);
        second.read();
        assert_eq!((second.turn(None), log.len()), (audit, 1), "deleted, and started anew");

        // What is seen before the log is read is newer than what that says, and is written then.
        let mut third = start();
        assert_eq!(third.turn(enforce), enforce);
        third.read();
        assert_eq!((third.turn(None), log.len()), (enforce, 2));
        let mut fourth = start();
        fourth.read();
        assert_eq!((fourth.turn(None), fourth.turn(audit), log.len()), (enforce, audit, 3));
        let mut fifth = start();
        fifth.turn(audit);
        fifth.read();
        assert_eq!((fifth.turn(None), log.len()), (audit, 3), "a start is no news");
    }

    #[test]
    fn what_the_log_does_not_take_is_written_when_it_does() {
        let mut modes = Modes::default();
        modes.read(LoggedModes::new());
        modes.see(PROD, TrustMode::Audit);
        assert_eq!(modes.follow(|_, _| Err(())), Err(()));
        assert_eq!(modes.last(PROD), Some(TrustMode::Audit), "in force all the same");
        let mut written = Vec::new();
        for _ in 0..2 {
            let write = |root: &str, mode| {
                written.push((root.to_owned(), mode));
                Ok::<_, ()>(())
            };
            modes.follow(write).unwrap();
        }
        assert_eq!(written, [(PROD.to_owned(), TrustMode::Audit)]);
    }
}
