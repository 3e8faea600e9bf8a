//! Objects that something else writes again after each revert: another tool, an autoscaler, a
//! controller that owns a field which Git declares.
//!
//! A few edits in a row are reverted at once each. Beyond [`REVERTS_PER_MINUTE`] of one object within
//! a minute the next reverts wait ever longer, until the object stays as declared: without that both
//! sides would write as fast as two watches can.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use manifest::{Digest, ObjectRef};

use crate::revert_counts::REVERTS_PER_MINUTE;

/// What reverts are counted in.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a fought object stays as declared until the fight is over: what writes again does so
/// within seconds, and whoever stopped it sees the condition change soon.
const QUIET: Duration = Duration::from_secs(30);

/// Reverts of single objects. At most as many as are managed.
#[derive(Debug, Default)]
pub(crate) struct Fights {
    objects: HashMap<ObjectRef, Fight>,
}

#[derive(Debug)]
struct Fight {
    /// Another declaration is another matter.
    declared: Digest,
    /// When the minute began.
    since: Instant,
    /// Reverts within it.
    reverts: u32,
    /// Last revert, or last drift that was to wait.
    last: Instant,
    is_fought: bool,
}

impl Fights {
    /// Notes a revert that is about to be sent.
    pub(crate) fn reverted(&mut self, object: &ObjectRef, declared: Digest, now: Instant) {
        let new = || Fight { declared, since: now, reverts: 0, last: now, is_fought: false };
        let fight = self.objects.entry(object.clone()).or_insert_with(new);
        if fight.declared != declared || (!fight.is_fought && now.duration_since(fight.since) >= MINUTE) {
            *fight = new();
        }
        fight.reverts = fight.reverts.saturating_add(1);
        fight.last = now;
    }

    /// Whether a revert of an object that drifted again has to wait. From then on it is fought.
    pub(crate) fn is_one_too_many(&mut self, object: &ObjectRef, declared: Digest, now: Instant) -> bool {
        let Some(fight) = self.objects.get_mut(object).filter(|fight| fight.declared == declared) else { return false };
        let is_recent = now.duration_since(fight.since) < MINUTE;
        fight.is_fought |= is_recent && fight.reverts >= REVERTS_PER_MINUTE;
        if fight.is_fought {
            fight.last = now;
        }
        fight.is_fought
    }

    /// Whether something writes the object again after each revert.
    #[must_use]
    pub(crate) fn is_fought(&self, object: &ObjectRef) -> bool {
        self.objects.get(object).is_some_and(|fight| fight.is_fought)
    }

    /// Forgets what is over, and returns which of it had been fought. `declared`: what is declared of
    /// an object now; `waits`: whether a revert of it is still to come.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        declared: impl Fn(&ObjectRef) -> Option<Digest>,
        waits: impl Fn(&ObjectRef) -> bool,
    ) -> Vec<ObjectRef> {
        let over = self.objects.extract_if(|object, fight| {
            let is_quiet = if fight.is_fought {
                now.duration_since(fight.last) >= QUIET && !waits(object)
            } else {
                now.duration_since(fight.since) >= MINUTE
            };
            is_quiet || declared(object) != Some(fight.declared)
        });
        over.filter(|(_, fight)| fight.is_fought).map(|(object, _)| object).collect()
    }
}

#[cfg(test)]
mod tests {
    use manifest::{ClusterId, GroupKind};

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("apps", "Deployment"),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    /// Drift at these seconds, each reverted at once unless it has to wait: at which it has to.
    fn waiting(fights: &mut Fights, start: Instant, seconds: impl Iterator<Item = u64>) -> Vec<u64> {
        let declared = Digest::of(b"1");
        let mut waiting = Vec::new();
        for second in seconds {
            let now = start + Duration::from_secs(second);
            if fights.is_one_too_many(&object(), declared, now) {
                waiting.push(second);
            } else {
                fights.reverted(&object(), declared, now);
            }
        }
        waiting
    }

    #[test]
    fn edits_now_and_then_never_wait() {
        let mut fights = Fights::default();
        assert!(waiting(&mut fights, Instant::now(), (0..3_600).step_by(6)).is_empty());
        assert!(!fights.is_fought(&object()));
    }

    #[test]
    fn beyond_ten_in_a_minute_reverts_wait_until_it_stays_as_declared() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        assert_eq!(waiting(&mut fights, start, 0..13), [10, 11, 12]);
        let at = |second| start + Duration::from_secs(second);
        let declared = Digest::of(b"1");
        // Tried again after its pause, and written again: it is still fought, however long after.
        fights.reverted(&object(), declared, at(300));
        assert!(fights.is_one_too_many(&object(), declared, at(301)));
        let end = |fights: &mut Fights, second, waits| fights.end(at(second), |_| Some(declared), |_| waits);
        assert!(end(&mut fights, 330, false).is_empty());
        assert!(end(&mut fights, 400, true).is_empty());
        assert_eq!(end(&mut fights, 400, false), [object()]);
        assert!(!fights.is_one_too_many(&object(), declared, at(401)));
    }

    #[test]
    fn another_declaration_ends_the_fight() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        assert_eq!(waiting(&mut fights, start, 0..11), [10]);
        assert!(!fights.is_one_too_many(&object(), Digest::of(b"2"), start));
        assert_eq!(fights.end(start, |_| Some(Digest::of(b"2")), |_| true), [object()]);
        assert!(!fights.is_fought(&object()));
    }

    #[test]
    fn what_is_reverted_seldom_is_forgotten_without_a_word() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        fights.reverted(&object(), Digest::of(b"1"), start);
        assert!(fights.end(start + MINUTE, |_| Some(Digest::of(b"1")), |_| false).is_empty());
        assert!(fights.objects.is_empty());
    }
}
