//! What is looked at now and then rather than at every event: the log's health, its anchor in the
//! TrustRoots, mirrors and gauges of what is gone.

use std::time::{Duration, Instant};

use audit::LogError;
use manifest::{Finding, Subject};

use crate::{
    code::ControllerCode,
    event::Event,
    proof::Proofs,
    report::chain,
    state::{Dirty, Key, Resume, State},
};

/// How often it is looked at.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
/// A TrustRoot's checkpoint is renewed at most this often: two writes a minute, while outsiders hold
/// an anchor that is at most half a minute old.
const ANCHOR_EVERY: Duration = Duration::from_secs(30);

/// What was found when it was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    due: Option<Instant>,
    anchor: Anchor,
    /// What is wrong with the log's past, if anything: entries that were lost, or have no checkpoint.
    log_damage: Option<Finding>,
    /// Whether the volume was asked for room and has not answered.
    asking_room: bool,
    /// Objects with our label that no accepted revision declared.
    unclaimed: usize,
    /// Lists beside the watches.
    pub(crate) proofs: Proofs,
}

/// The checkpoint that outsiders are shown.
#[derive(Debug, Default)]
struct Anchor {
    note: String,
    shown: Option<Instant>,
}

impl Anchor {
    /// Whether it is time for a new one.
    fn is_due(&self, now: Instant) -> bool {
        self.shown.is_none_or(|shown| now.duration_since(shown) >= ANCHOR_EVERY)
    }

    /// Shows this checkpoint from now on. Returns whether it is another one.
    fn show(&mut self, note: &str, now: Instant) -> bool {
        if self.note == note {
            return false;
        }
        note.clone_into(&mut self.note);
        self.shown = Some(now);
        true
    }
}

impl Upkeep {
    /// The checkpoint that outsiders are shown.
    #[must_use]
    pub(crate) fn anchor(&self) -> &str {
        &self.anchor.note
    }

    /// What is wrong with the log, apart from that it takes no entries.
    #[must_use]
    pub(crate) fn log_damage(&self) -> Option<&Finding> {
        self.log_damage.as_ref()
    }
}

impl State {
    /// Looks, if it is time.
    pub(crate) fn upkeep(&mut self) {
        let now = Instant::now();
        if self.upkeep.due.is_some_and(|due| now < due) {
            return;
        }
        self.upkeep.due = Some(now + UPKEEP_EVERY);
        self.inspect_log();
        self.ask_room();
        self.sweep_mirrors();
        self.count_unclaimed();
        self.forget_undeclared_failures();
        self.end_fights();
        self.close_undeclared(jiff::Timestamp::now());
        self.keep_history();
        self.record_counts(jiff::Timestamp::now());
        self.end_break_glasses(jiff::Timestamp::now());
        let (sources, syncs) = (&self.sources, &self.syncs);
        self.hooks.retain(|key| sources.contains_key(key));
        self.metrics.retain(|owner| {
            let key = Key { namespace: owner.namespace.clone(), name: owner.name.clone() };
            if owner.kind == "Sync" {
                syncs.contains_key(&plan::SyncRef { namespace: key.namespace, name: key.name })
            } else {
                sources.contains_key(&key)
            }
        });
    }

    /// Renews the checkpoint in the TrustRoots, if the log grew and it is time.
    pub(crate) fn refresh_anchor(&mut self) {
        let now = Instant::now();
        if self.upkeep.anchor.is_due(now) && self.upkeep.anchor.show(self.journal.log().checkpoint().note(), now) {
            self.dirty.extend(self.roots.keys().cloned().map(Dirty::Root));
        }
    }

    fn inspect_log(&mut self) {
        let log = self.journal.log();
        let (lost, fault) = (log.lost_grouped(), log.publish_fault());
        self.metrics.log_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
        self.metrics.log_unpublished.set(i64::from(fault.is_some()));
        let damage = log_damage(lost, fault.as_ref());
        if damage == self.upkeep.log_damage {
            return;
        }
        match &damage {
            Some(finding) => {
                tracing::error!(code = finding.code.code, lost, "{finding}");
                self.announce_roots(finding);
            }
            None => tracing::info!("checkpoints of the log are written again"),
        }
        self.upkeep.log_damage = damage;
        self.dirty.extend(self.roots.keys().cloned().map(Dirty::Root));
    }

    /// What carries our label and was declared by no accepted revision is reported, never deleted.
    /// Counted once every Sync has said what it declares.
    fn count_unclaimed(&mut self) {
        if !self.knows_orders() || self.syncs.values().any(|sync| sync.resume != Resume::Done) {
            return;
        }
        let count = self.live.unclaimed();
        self.metrics.unclaimed.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.added.set(i64::try_from(self.live.added_to()).unwrap_or(i64::MAX));
        self.metrics.unexpected.set(i64::try_from(self.live.without_record()).unwrap_or(i64::MAX));
        if count > self.upkeep.unclaimed {
            tracing::warn!(
                count,
                "objects carry this instance's label and no accepted revision declared them; they are left alone"
            );
        }
        self.upkeep.unclaimed = count;
    }

    /// While the log takes no entries: asks whether there is room again, so that nobody has to push
    /// to find out.
    fn ask_room(&mut self) {
        if self.log_problem.is_none() || self.upkeep.asking_room {
            return;
        }
        self.upkeep.asking_room = true;
        let log = self.journal.log().clone();
        self.blocking(
            move || Event::LogRoom { room: log.room().map_err(|error| error.to_string()) },
            |why| Event::LogRoom { room: Err(why) },
        );
    }

    /// The state volume has room again, or not.
    pub(crate) fn log_room(&mut self, room: Result<(), String>) {
        self.upkeep.asking_room = false;
        match room {
            Ok(()) if self.log_problem.take().is_some() => {
                tracing::info!("the audit log can be written again");
                self.metrics.log_full.set(0);
                self.dirty.extend(self.syncs.keys().cloned().map(Dirty::Sync));
                self.heal_soon();
            }
            Ok(()) => {}
            Err(why) => tracing::debug!(why, "the audit log still cannot be written"),
        }
    }
}

fn log_damage(lost: u64, fault: Option<&LogError>) -> Option<Finding> {
    let fault = fault.map(|fault| chain(fault));
    let found = match (lost, fault) {
        (0, None) => return None,
        (0, Some(fault)) => format!("no checkpoint can be written for the newest entries: {fault}"),
        (lost, None) => {
            format!("entries of reverts or outcomes lost since the start, because they could not be synced: {lost}")
        }
        (lost, Some(fault)) => {
            format!(
                "entries of reverts or outcomes lost since the start: {lost}; and no checkpoint can be written: {fault}"
            )
        }
    };
    Some(Finding {
        code: ControllerCode::A140.entry(),
        subject: Subject::Named("audit log".to_owned()),
        rule: None,
        found: found.into(),
        needed: "a state volume that keeps what is written to it".into(),
        fix: "writ audit verify STATE/log --key KEY_FILE # and check the state volume".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_shown_at_once_and_then_every_thirty_seconds_if_the_log_grew() {
        let (mut anchor, start) = (Anchor::default(), Instant::now());
        assert!(anchor.is_due(start) && anchor.show("1", start));
        assert!(!anchor.is_due(start + Duration::from_secs(29)));
        let later = start + ANCHOR_EVERY;
        assert!(anchor.is_due(later) && !anchor.show("1", later));
        assert!(anchor.is_due(later) && anchor.show("2", later));
        assert!(!anchor.is_due(later + Duration::from_secs(1)));
        assert_eq!(anchor.note, "2");
    }

    #[test]
    fn what_is_wrong_with_the_log_is_said() {
        assert_eq!(log_damage(0, None), None);
        let lost = log_damage(3, None).unwrap();
        assert!(lost.to_string().starts_with("A140 StateVolume: audit log:") && lost.found.ends_with(": 3"), "{lost}");
    }
}
