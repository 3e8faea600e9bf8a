//! What is not obeyed, and accepted state that is lost, in the log: an entry when it begins, one when it ends, also when
//! its owner is deleted. Nothing is done meanwhile, so the entries follow what is found; a restart writes none that is there already.
//! Of very many about one owner some are written and the rest is counted; the newest state of what is held, or was by the
//! log, gets there in any case, in the order in which it began to wait.

use std::collections::{BTreeMap, BTreeSet};

use audit::Hash;
use jiff::Timestamp;
use manifest::Finding;

use crate::{
    entry_budget::EntryBudget,
    holds_read::Reading,
    journal::hold_body,
    state::{Held, Resume, State},
    windows::is_frozen,
};

/// Entries about one owner within a minute. Nobody needs a signature to edit a Sync: a script that does it twice a second would
/// be 170,000 entries a day, and the log is made for 100,000. Beyond these it is one entry a minute, 1,440 a day, until a
/// minute ends in which all had one.
const ENTRIES_PER_MINUTE: u32 = 10;

/// Owners that are not held and of which nothing is in the log that ended: beyond as many they are not counted either. A
/// hundred new names a second for a minute, at some 200 bytes.
const MAX_FREE_OWNERS: usize = 6_000;

/// What is held now, by owner (`kind namespace/name`).
type Present = BTreeMap<String, Finding>;

/// What the log says is held, and whether it was asked.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// Until the log has answered, or cannot be read, nothing is written.
    pub(crate) read: Reading,
    /// Whether what accepted commits declare was known once.
    begun: bool,
    owners: BTreeMap<String, Owner>,
    /// What each namespace may still have written.
    pub(crate) entries: EntryBudget,
    /// Turns so far.
    turn: u64,
}

/// What the log and this process know of one owner.
#[derive(Debug, Default)]
struct Owner {
    /// The digest of what held it in the last turn, and that itself: only another one is hashed.
    seen: Option<Hash>,
    finding: Option<Finding>,
    /// Whether its newest entry is a hold.
    logged: bool,
    /// Changes since the newest entry, and the turn of the first of them.
    unwritten: u64,
    since: u64,
    /// The minute of the last turn; `None` before the first.
    minute: Option<i64>,
    /// Entries that it may still have in this minute.
    left: u32,
}

/// An entry that is due.
struct Due<'a> {
    owner: &'a str,
    /// Why it is held, if it is.
    finding: Option<&'a Finding>,
    /// Changes that have no entry of their own since its last one.
    suppressed: u64,
}

impl Owner {
    const fn of_log(digest: Hash) -> Self {
        Self { seen: Some(digest), finding: None, logged: true, unwritten: 0, since: 0, minute: None, left: 0 }
    }

    /// Notes what holds it now. Returns whether an entry is due: there is something new to say, and the log does not say
    /// already that it is free.
    fn note(&mut self, finding: Option<&Finding>, minute: i64, turn: u64) -> bool {
        if self.minute != Some(minute) {
            self.minute = Some(minute);
            self.left = if self.unwritten > 0 { 1 } else { ENTRIES_PER_MINUTE };
        }
        if finding.is_none() || self.finding.as_ref() != finding {
            self.finding = finding.cloned();
            let held = finding.map(|finding| Hash::of(&hold_body(finding)));
            if self.seen != held {
                self.seen = held;
                if self.unwritten == 0 {
                    self.since = turn;
                }
                self.unwritten += 1;
            }
        }
        self.unwritten > 0 && self.left > 0 && !self.is_free()
    }

    /// Not held, and neither is it by the log.
    const fn is_free(&self) -> bool {
        self.finding.is_none() && !self.logged
    }

    const fn written(&mut self) {
        self.logged = self.seen.is_some();
        self.unwritten = 0;
        self.left = self.left.saturating_sub(1);
    }
}

impl Holds {
    /// What the log said at the start. What it was told since is newer.
    pub(crate) fn resume(&mut self, logged: BTreeMap<String, Hash>) {
        for (owner, digest) in logged {
            let state = self.owners.entry(owner).or_insert_with(|| Owner::of_log(digest));
            if !state.logged {
                *state = Owner::of_log(digest);
            }
        }
    }

    /// Has `write` write what began, and what ended, of each owner. What it cannot is still to be written the next time.
    /// `unknown`: owners of which nobody can tell yet whether they are held; what the log says of them stands.
    fn follow<E>(
        &mut self,
        now: Timestamp,
        present: &Present,
        unknown: &BTreeSet<String>,
        mut write: impl FnMut(&Due<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut result, minute) = (Ok(()), now.as_second() / 60);
        self.turn += 1;
        let turn = self.turn;
        for owner in present.keys().filter(|owner| !self.owners.contains_key(*owner)).collect::<Vec<_>>() {
            self.owners.insert(owner.clone(), Owner::default());
        }
        let (mut due, mut free) = (Vec::new(), 0);
        self.owners.retain(|owner, state| {
            if unknown.contains(owner) && !present.contains_key(owner) {
                return true;
            }
            let turned = state.minute.is_some_and(|last| last != minute);
            // An owner that is not there any more is held no longer either.
            if state.note(present.get(owner), minute, turn) {
                due.push((state.finding.is_none(), state.since, owner.clone()));
            }
            if !state.is_free() {
                return true;
            }
            // Kept to the end of its minute: one that comes back is still counted.
            free += 1;
            !turned && free <= MAX_FREE_OWNERS && (state.unwritten > 0 || state.left < ENTRIES_PER_MINUTE)
        });
        // What is held comes first, and what waits longest: names that come and go keep no other from the log.
        due.sort_unstable();
        for (_, _, owner) in due {
            if !self.entries.has_left(namespace(&owner), now) {
                continue;
            }
            let Some(state) = self.owners.get_mut(&owner) else { continue };
            let suppressed = state.unwritten.saturating_sub(1);
            match write(&Due { owner: &owner, finding: present.get(&owner), suppressed }) {
                Ok(()) => {
                    self.entries.written(namespace(&owner));
                    state.written();
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// Of `kind namespace/name`.
fn namespace(owner: &str) -> &str {
    owner.split_once(' ').and_then(|(_, name)| name.split_once('/')).map_or(owner, |(namespace, _)| namespace)
}

impl State {
    /// Writes what began or ended since the last turn.
    pub(crate) fn log_holds(&mut self, now: Timestamp) {
        // What an accepted commit declares may not be known yet.
        if !self.holds.read.is_over() || (!self.holds.begun && self.is_resuming()) {
            return;
        }
        self.holds.begun = true;
        let present = self.present_holds();
        let unknown: BTreeSet<String> = self.still_frozen().map(|sync| format!("Sync {sync}")).collect();
        let journal = &self.journal;
        let result = self.holds.follow(now, &present, &unknown, |due| match due.finding {
            Some(finding) => journal.hold(now, due.owner, finding, due.suppressed).map(drop),
            None => journal.release(now, due.owner, due.suppressed).map(drop),
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
        let syncs = syncs.map(|(sync, state)| {
            let frozen = || state.held.as_ref().filter(|held| is_frozen(held))?.findings.first();
            let held = state.order.as_ref().or_else(|| lost(state.held.as_ref())).or_else(frozen);
            (format!("Sync {sync}"), held.or(state.enforcement.finding.as_ref()))
        });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::{Log, LogError, LogKey};
    use plan::SyncRef;
    use tempfile::TempDir;

    use super::*;
    use crate::{code::ControllerCode, holds_read::logged, journal::Journal, resources::finding};

    const WEB: &str = "Sync shop/web";
    const CONFIG: &str = "GitSource shop/config";

    /// What is held: an owner, and the field that is the reason.
    fn present(holds: &[(&str, &str)]) -> Present {
        let found =
            |owner, field| finding(ControllerCode::A142, owner, &format!("spec.{field} is set"), "a spec without it");
        holds.iter().map(|(owner, field)| ((*owner).to_owned(), found(owner, field))).collect()
    }

    /// What the turn at this second writes.
    fn turn(holds: &mut Holds, second: i64, present: &Present) -> Vec<String> {
        let mut written = Vec::new();
        let write = |due: &Due<'_>| {
            let what = due.finding.map_or("released", |finding| &finding.found);
            let rest = if due.suppressed > 0 { format!(", {} before", due.suppressed) } else { String::new() };
            written.push(format!("{}: {what}{rest}", due.owner));
            Ok::<_, LogError>(())
        };
        holds.follow(Timestamp::from_second(second).unwrap(), present, &BTreeSet::new(), write).unwrap();
        written
    }

    #[test]
    fn a_hold_is_written_once_and_its_end_as_well() {
        let mut holds = Holds::default();
        let mut check = |held: &[(&str, &str)], expected: &[&str]| {
            assert_eq!(turn(&mut holds, 0, &present(held)), expected, "{held:?}");
            assert!(turn(&mut holds, 0, &present(held)).is_empty(), "{held:?}");
            assert!(turn(&mut holds, 0, &present(held)).is_empty(), "{held:?}");
        };
        check(&[], &[]);
        check(&[(WEB, "wait")], &["Sync shop/web: spec.wait is set"]);
        check(&[(WEB, "path")], &["Sync shop/web: spec.path is set"]);
        check(&[(WEB, "path"), (CONFIG, "ref")], &["GitSource shop/config: spec.ref is set"]);
        check(&[(CONFIG, "ref")], &["Sync shop/web: released"]);
        check(&[], &["GitSource shop/config: released"]);
    }

    #[test]
    fn of_whom_nothing_is_known_yet_the_log_stands() {
        let mut holds = Holds::default();
        let held = present(&[(WEB, "wait")]);
        assert_eq!(turn(&mut holds, 0, &held).len(), 1);
        let unknown = BTreeSet::from([WEB.to_owned()]);
        let mut written = 0;
        let mut turn = |present: &Present, unknown: &BTreeSet<String>| {
            let write = |_: &Due<'_>| {
                written += 1;
                Ok::<_, LogError>(())
            };
            holds.follow(Timestamp::UNIX_EPOCH, present, unknown, write).unwrap();
            written
        };
        assert_eq!(turn(&Present::new(), &unknown), 0, "it may be held still");
        assert_eq!(turn(&held, &BTreeSet::new()), 0, "it is");
        assert_eq!(turn(&Present::new(), &BTreeSet::new()), 1, "it is no longer");
    }

    #[test]
    fn what_the_log_did_not_take_is_written_when_it_does() {
        let mut holds = Holds::default();
        assert_eq!(turn(&mut holds, 0, &present(&[(WEB, "wait")])).len(), 1);
        let config = present(&[(CONFIG, "ref")]);
        for _ in 0..2 {
            assert_eq!(holds.follow(Timestamp::UNIX_EPOCH, &config, &BTreeSet::new(), |_| Err(())), Err(()));
        }
        let late = turn(&mut holds, 0, &config);
        assert_eq!(late, ["GitSource shop/config: spec.ref is set", "Sync shop/web: released"]);
        assert!(turn(&mut holds, 0, &config).is_empty());
    }

    #[test]
    fn beyond_ten_a_minute_they_are_counted_and_the_newest_state_is_written() {
        let mut holds = Holds::default();
        // Two turns a second: edited and put back, in another way each time.
        let mut storm = |second: i64| {
            let held = present(&[(WEB, &format!("field{second}"))]);
            let mut written = turn(&mut holds, second, &held);
            written.extend(turn(&mut holds, second, &present(&[])));
            written
        };
        let written: Vec<_> = (0..60).map(&mut storm).collect();
        assert_eq!(written.concat().len(), 10);
        let later: Vec<_> = (60..180).flat_map(&mut storm).collect();
        assert_eq!(
            later,
            ["Sync shop/web: spec.field60 is set, 110 before", "Sync shop/web: spec.field120 is set, 119 before",]
        );
        // It is quiet, and nobody is held: the log said otherwise.
        assert!(turn(&mut holds, 179, &present(&[])).is_empty());
        assert_eq!(turn(&mut holds, 180, &present(&[])), ["Sync shop/web: released, 118 before"]);
        assert!(turn(&mut holds, 181, &present(&[])).is_empty());
        assert_eq!(holds.owners.len(), 1);
        assert!(turn(&mut holds, 240, &present(&[])).is_empty());
        assert!(holds.owners.is_empty());
        assert_eq!(turn(&mut holds, 241, &present(&[(WEB, "wait")])), ["Sync shop/web: spec.wait is set"]);
    }

    #[test]
    fn new_names_get_a_namespace_no_more_entries() {
        let mut holds = Holds::default();
        let mut written = Vec::new();
        for second in 0..60 {
            // Before `web` in the alphabet, and each is there for a moment.
            let name = format!("Sync shop/a{second}");
            written.extend(turn(&mut holds, second, &present(&[(&name, "wait")])));
            written.extend(turn(&mut holds, second, &present(&[(&name, "wait"), ("Sync other/web", "wait")])));
            written.extend(turn(&mut holds, second, &present(&[])));
        }
        let (shop, other): (Vec<_>, Vec<_>) = written.into_iter().partition(|entry| entry.starts_with("Sync shop/"));
        assert_eq!((shop.len(), other.len()), (30, 10));
        // What is held and not yet said has its entry in the next minute, before all that.
        let next = turn(&mut holds, 60, &present(&[(WEB, "wait")]));
        assert_eq!(next.first(), Some(&format!("{WEB}: spec.wait is set")), "{next:?}");
    }

    #[test]
    fn who_waits_longest_comes_first_and_who_was_there_for_a_moment_not_at_all() {
        let mut holds = Holds::default();
        let names: Vec<String> = (0..100).map(|at| format!("Sync shop/a{at:03}")).collect();
        let crowd: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "wait")).collect();
        assert_eq!(turn(&mut holds, 0, &present(&crowd)).len(), 30);
        // Seventy were never in the log, and are gone.
        assert_eq!(turn(&mut holds, 1, &present(&[(WEB, "wait")])), Vec::<String>::new());
        let next = turn(&mut holds, 60, &present(&[(WEB, "wait")]));
        assert_eq!((next.len(), next.first()), (30, Some(&format!("{WEB}: spec.wait is set"))));
        assert_eq!(turn(&mut holds, 120, &present(&[(WEB, "wait")])), ["Sync shop/a029: released"]);
        assert!(turn(&mut holds, 180, &present(&[(WEB, "wait")])).is_empty());
        assert_eq!(holds.owners.len(), 1);
    }

    #[test]
    fn what_the_log_does_not_take_uses_up_no_quota() {
        let mut holds = Holds::default();
        let held = present(&[(WEB, "wait")]);
        for _ in 0..100 {
            assert_eq!(holds.follow(Timestamp::UNIX_EPOCH, &held, &BTreeSet::new(), |_| Err(())), Err(()));
        }
        assert_eq!(turn(&mut holds, 0, &held).len(), 1);
    }

    #[test]
    fn an_owner_that_comes_and_goes_is_counted_as_one() {
        let mut holds = Holds::default();
        let (there, gone) = (present(&[(WEB, "wait")]), present(&[]));
        let written: usize =
            (0..59).map(|at| turn(&mut holds, at, if at % 2 == 0 { &there } else { &gone }).len()).sum();
        assert_eq!(written, 10);
    }

    #[test]
    fn a_restart_knows_what_the_log_says() {
        let folder = TempDir::new().unwrap();
        let key = LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let journal = Journal::new(Arc::new(Log::open(folder.path(), key, "writ.test/log").unwrap()), &public);
        let before = present(&[(WEB, "wait"), (CONFIG, "ref")]);
        for (owner, finding) in &before {
            journal.hold(Timestamp::UNIX_EPOCH, owner, finding, 0).unwrap();
        }
        let other = SyncRef { namespace: "shop".into(), name: "web".into() };
        journal.superseded(Timestamp::UNIX_EPOCH, &other, "revision").unwrap();
        journal.release(Timestamp::UNIX_EPOCH, CONFIG, 0).unwrap();
        let started = || {
            let holds = logged(journal.log()).unwrap().holds;
            let mut started = Holds::default();
            started.resume(holds);
            started
        };
        assert!(turn(&mut started(), 0, &present(&[(WEB, "wait")])).is_empty());
        assert_eq!(turn(&mut started(), 0, &before), ["GitSource shop/config: spec.ref is set"]);
        assert_eq!(turn(&mut started(), 0, &present(&[])), ["Sync shop/web: released"]);
        // It could not be read at first: what was written meanwhile stands, and what ended before is released.
        let (mut late, holds) = (Holds::default(), logged(journal.log()).unwrap().holds);
        let config = present(&[(CONFIG, "ref")]);
        assert_eq!(turn(&mut late, 0, &config), ["GitSource shop/config: spec.ref is set"]);
        late.resume(holds);
        assert_eq!(turn(&mut late, 0, &config), ["Sync shop/web: released"]);
        assert!(turn(&mut late, 0, &config).is_empty());
    }
}
