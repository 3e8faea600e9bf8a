//! Objects that something else writes again after each revert: another tool, an autoscaler, a
//! controller that owns a field which Git declares.
//!
//! A few edits in a row are reverted at once each. Beyond [`REVERTS_PER_MINUTE`] of one object within
//! a minute it is fought. The fields that were written so often are then reverted ever more seldom, until they stay as
//! declared: without that both sides would write as fast as two watches can. Fields that give rights, let something in or
//! change which code runs go on being reverted, and so does a field that was not written so often: once a second. Who
//! makes noise about replicas cannot hide an image behind it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use manifest::{Digest, ObjectRef};
use plan::{DriftReport, FieldDiff, Severity, classify};

use crate::revert_counts::REVERTS_PER_MINUTE;

/// What reverts are counted in.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a fought object stays as declared until the fight is over: what writes again does so
/// within seconds, and whoever stopped it sees the condition change soon.
const QUIET: Duration = Duration::from_secs(30);
/// The shortest time between two reverts of a fought object: one write a second, however grave.
const PACE: Duration = Duration::from_secs(1);
/// From here on a field is reverted again and again, however often it is written.
const GRAVE: Severity = Severity::High;
/// Fields of one object that are told apart, some 5 kB; all others are one.
const MAX_FIELDS: usize = 64;
/// What those are counted under. No path is empty but that of the object itself.
const OTHERS: &str = "(others)";

/// When an object that drifted again is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// At once.
    Now,
    /// Then: it is fought, and must not stay as it is.
    At(Instant),
    /// It is fought, and waits longer each time.
    Later,
}

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
    /// The same by field.
    fields: BTreeMap<Box<str>, u32>,
    /// Last revert.
    reverted: Instant,
    /// Last revert, or last drift that was to wait.
    last: Instant,
    is_fought: bool,
}

impl Fight {
    fn new(declared: Digest, now: Instant) -> Self {
        Self { declared, since: now, reverts: 0, fields: BTreeMap::new(), reverted: now, last: now, is_fought: false }
    }

    fn count(&mut self, path: &str) {
        let path = if self.fields.len() < MAX_FIELDS || self.fields.contains_key(path) { path } else { OTHERS };
        let count = self.fields.entry(path.into()).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether the field may stay as it is for a while.
    fn may_wait(&self, path: &str, severity: Severity) -> bool {
        let count = self.fields.get(path).or_else(|| self.fields.get(OTHERS)).copied().unwrap_or_default();
        severity < GRAVE && count >= REVERTS_PER_MINUTE
    }

    fn turn(&self, fields: &[(&str, Severity)], now: Instant) -> Turn {
        if !self.is_fought {
            return Turn::Now;
        }
        if fields.iter().all(|(path, severity)| self.may_wait(path, *severity)) {
            return Turn::Later;
        }
        let at = self.reverted + PACE;
        if at <= now { Turn::Now } else { Turn::At(at) }
    }
}

/// The fields that differ, and how grave each is; of an object that is not there the object itself.
pub(crate) fn fields<'a>(object: &ObjectRef, differences: &'a [FieldDiff]) -> Vec<(&'a str, Severity)> {
    if differences.is_empty() {
        return vec![("", classify(&object.group_kind, &[]).severity())];
    }
    differences.iter().map(|difference| (difference.path.as_str(), difference.class.severity())).collect()
}

impl Fights {
    /// Notes a revert that is about to be sent.
    pub(crate) fn reverted(&mut self, object: &ObjectRef, declared: Digest, seen: Option<&DriftReport>, now: Instant) {
        let fight = self.objects.entry(object.clone()).or_insert_with(|| Fight::new(declared, now));
        if fight.declared != declared || (!fight.is_fought && now.duration_since(fight.since) >= MINUTE) {
            *fight = Fight::new(declared, now);
        }
        fight.reverts = fight.reverts.saturating_add(1);
        for (path, _) in fields(object, seen.map(|seen| seen.differences.as_slice()).unwrap_or_default()) {
            fight.count(path);
        }
        (fight.reverted, fight.last) = (now, now);
    }

    /// When an object that drifted again, in these fields, is put back. Once it has to wait it is fought.
    pub(crate) fn turn(
        &mut self,
        object: &ObjectRef,
        declared: Digest,
        fields: &[(&str, Severity)],
        now: Instant,
    ) -> Turn {
        let Some(fight) = self.objects.get_mut(object).filter(|fight| fight.declared == declared) else {
            return Turn::Now;
        };
        let is_recent = now.duration_since(fight.since) < MINUTE;
        fight.is_fought |= is_recent && fight.reverts >= REVERTS_PER_MINUTE;
        if fight.is_fought {
            fight.last = now;
        }
        fight.turn(fields, now)
    }

    /// Whether an object that is to be put back then has to be put back sooner for these fields.
    #[must_use]
    pub(crate) fn is_pressing(
        &self,
        object: &ObjectRef,
        fields: &[(&str, Severity)],
        then: Instant,
        now: Instant,
    ) -> bool {
        match self.objects.get(object).map(|fight| fight.turn(fields, now)) {
            Some(Turn::Now) => then > now,
            Some(Turn::At(at)) => at < then,
            Some(Turn::Later) | None => false,
        }
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
    use manifest::{ClusterId, Finding, GroupKind, Subject};
    use plan::FieldClass;

    use super::*;
    use crate::code::ControllerCode;

    fn object() -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("apps", "Deployment"),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn declared() -> Digest {
        Digest::of(b"1")
    }

    fn report(class: FieldClass, path: &str) -> DriftReport {
        let finding = Finding {
            code: ControllerCode::A143.entry(),
            subject: Subject::Named("x".into()),
            rule: None,
            found: String::new().into(),
            needed: String::new().into(),
            fix: String::new().into(),
        };
        let difference = FieldDiff { path: path.into(), before: None, after: None, class };
        DriftReport { finding, reference: object(), differences: vec![difference], by: plan::Attribution::default() }
    }

    /// Drift of a field at these milliseconds, each reverted unless it has to wait: when it is not reverted, and until when.
    fn waiting_for(
        fights: &mut Fights,
        start: Instant,
        seen: &DriftReport,
        millis: impl Iterator<Item = u64>,
    ) -> Vec<(u64, Turn)> {
        let mut waiting = Vec::new();
        for milli in millis {
            let now = start + Duration::from_millis(milli);
            match fights.turn(&object(), declared(), &fields(&object(), &seen.differences), now) {
                Turn::Now => fights.reverted(&object(), declared(), Some(seen), now),
                turn => waiting.push((milli, turn)),
            }
        }
        waiting
    }

    /// The same of replicas, by seconds.
    fn waiting(fights: &mut Fights, start: Instant, seconds: impl Iterator<Item = u64>) -> Vec<u64> {
        let seen = report(FieldClass::Replicas, "spec.replicas");
        let waiting = waiting_for(fights, start, &seen, seconds.map(|second| second * 1_000));
        assert!(waiting.iter().all(|(_, turn)| *turn == Turn::Later), "{waiting:?}");
        waiting.into_iter().map(|(milli, _)| milli / 1_000).collect()
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
        let seen = report(FieldClass::Replicas, "spec.replicas");
        let low = fields(&object(), &seen.differences);
        // Tried again after its pause, and written again: it is still fought, however long after.
        fights.reverted(&object(), declared(), Some(&seen), at(300));
        assert_eq!(fights.turn(&object(), declared(), &low, at(301)), Turn::Later);
        let end = |fights: &mut Fights, second, waits| fights.end(at(second), |_| Some(declared()), |_| waits);
        assert!(end(&mut fights, 330, false).is_empty());
        assert!(end(&mut fights, 400, true).is_empty());
        assert_eq!(end(&mut fights, 400, false), [object()]);
        assert_eq!(fights.turn(&object(), declared(), &low, at(401)), Turn::Now);
    }

    #[test]
    fn another_declaration_ends_the_fight() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        assert_eq!(waiting(&mut fights, start, 0..11), [10]);
        assert_eq!(fights.turn(&object(), Digest::of(b"2"), &[("spec.replicas", Severity::Low)], start), Turn::Now);
        assert_eq!(fights.end(start, |_| Some(Digest::of(b"2")), |_| true), [object()]);
        assert!(!fights.is_fought(&object()));
    }

    #[test]
    fn what_is_reverted_seldom_is_forgotten_without_a_word() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        fights.reverted(&object(), declared(), None, start);
        assert!(fights.end(start + MINUTE, |_| Some(Digest::of(b"1")), |_| false).is_empty());
        assert!(fights.objects.is_empty());
    }

    #[test]
    fn what_is_grave_goes_on_being_reverted_once_a_second() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let image = report(FieldClass::Image, "spec.template.spec.containers[web].image");
        assert!(image.differences[0].class.severity() >= GRAVE);
        // Written ten times a second for a minute and a half.
        let waiting = waiting_for(&mut fights, start, &image, (0..90_000).step_by(100));
        let soon = |(milli, turn): &(u64, Turn)| {
            let at = start + Duration::from_millis(*milli);
            matches!(turn, Turn::At(then) if *then > at && *then <= at + PACE)
        };
        assert!(waiting.iter().all(soon), "{waiting:?}");
        // Ten at once, then one each second.
        assert_eq!(900 - waiting.len(), 10 + 89);
        assert!(fights.is_fought(&object()));
    }

    #[test]
    fn noise_about_one_field_hides_no_other() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        assert_eq!(waiting(&mut fights, start, 0..11), [10]);
        let now = start + Duration::from_secs(40);
        // In five minutes replicas have their turn.
        let then = now + Duration::from_secs(300);
        let (low, grave) =
            (("spec.replicas", Severity::Medium), ("spec.template.spec.hostNetwork", Severity::Critical));
        let (other, whole) = (("metadata.labels.team", Severity::Low), ("", Severity::Medium));
        assert!(!fights.is_pressing(&object(), &[low], then, now));
        for fields in [[low, grave], [low, other], [low, whole]] {
            assert!(fights.is_pressing(&object(), &fields, then, now), "{fields:?}");
            assert_eq!(fights.turn(&object(), declared(), &fields, now), Turn::Now, "{fields:?}");
        }
        fights.reverted(&object(), declared(), Some(&report(FieldClass::Labels, other.0)), now);
        assert_eq!(fights.turn(&object(), declared(), &[low, grave], now), Turn::At(now + PACE));
        assert!(!fights.is_pressing(&object(), &[low, grave], now + PACE, now));
        // The other becomes noise itself.
        for second in 1..10 {
            let report = report(FieldClass::Labels, other.0);
            fights.reverted(&object(), declared(), Some(&report), now + Duration::from_secs(second));
        }
        assert_eq!(fights.turn(&object(), declared(), &[low, other], now + Duration::from_secs(20)), Turn::Later);
    }

    #[test]
    fn one_fought_object_slows_no_other() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        assert_eq!(waiting(&mut fights, start, 0..13), [10, 11, 12]);
        let other = ObjectRef { name: "other".into(), ..object() };
        assert_eq!(fights.turn(&other, declared(), &[("spec.replicas", Severity::Low)], start), Turn::Now);
        assert!(!fights.is_fought(&other));
    }

    #[test]
    fn fields_that_are_told_apart_are_bounded() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        for number in 0..1_000 {
            let report = report(FieldClass::Labels, &format!("metadata.labels.l{number}"));
            fights.reverted(&object(), declared(), Some(&report), start);
        }
        assert_eq!(fights.objects[&object()].fields.len(), MAX_FIELDS + 1);
    }
}
