//! Which reverts and flags get a log entry each, and which are counted: beyond [`REVERTS_PER_MINUTE`]
//! of one object they become one entry a minute with a count.

use std::collections::HashMap;

use jiff::Timestamp;
use manifest::ObjectRef;

/// Reverts of one object that get an entry each within a minute.
pub(crate) const REVERTS_PER_MINUTE: u32 = 10;
/// The most objects whose reverts are counted: 10,000 managed objects, a small record each.
pub(crate) const MAX_COUNTED_OBJECTS: usize = 10_000;

/// How often each object was reverted in its current minute.
#[derive(Debug, Default)]
pub(crate) struct RevertCounts {
    counts: HashMap<ObjectRef, (i64, u32, u64)>,
}

/// Whether a revert gets an entry of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logging {
    /// It does; so many before it did not.
    Entry {
        /// Reverts of the object since its last entry that were only counted.
        suppressed: u64,
    },
    /// It is counted.
    Counted,
}

impl RevertCounts {
    /// Notes a revert, or a flag, of `object` at `now`.
    pub(crate) fn note(&mut self, object: &ObjectRef, now: Timestamp) -> Logging {
        let minute = now.as_second() / 60;
        if self.counts.len() >= MAX_COUNTED_OBJECTS {
            self.counts.retain(|_, (seen, _, suppressed)| *seen == minute || *suppressed > 0);
        }
        let (seen, count, suppressed) = self.counts.entry(object.clone()).or_insert((minute, 0, 0));
        if *seen != minute {
            *seen = minute;
            *count = 0;
        }
        *count += 1;
        if *count > REVERTS_PER_MINUTE {
            *suppressed += 1;
            return Logging::Counted;
        }
        Logging::Entry { suppressed: std::mem::take(suppressed) }
    }

    /// What was only counted in minutes before this one. It is taken: see [`put_back`](Self::put_back).
    #[must_use]
    pub(crate) fn past(&mut self, now: Timestamp) -> Vec<(ObjectRef, u64)> {
        let minute = now.as_second() / 60;
        let past = self.counts.iter_mut().filter(|(_, (seen, _, suppressed))| *seen != minute && *suppressed > 0);
        past.map(|(object, (_, _, suppressed))| (object.clone(), std::mem::take(suppressed))).collect()
    }

    /// Counts what was taken and did not get into the log.
    pub(crate) fn put_back(&mut self, taken: impl IntoIterator<Item = (ObjectRef, u64)>) {
        for (object, count) in taken {
            if let Some((_, _, suppressed)) = self.counts.get_mut(&object) {
                *suppressed += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use manifest::{ClusterId, GroupKind};

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("shop".into()),
            name: "a".into(),
        }
    }

    #[test]
    fn reverts_beyond_ten_a_minute_are_counted() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut counts = RevertCounts::default();
        for _ in 0..10 {
            assert_eq!(counts.note(&object(), at(60)), Logging::Entry { suppressed: 0 });
        }
        assert_eq!(counts.note(&object(), at(61)), Logging::Counted);
        assert_eq!(counts.note(&object(), at(119)), Logging::Counted);
        assert_eq!(counts.note(&object(), at(120)), Logging::Entry { suppressed: 2 });
    }

    #[test]
    fn what_was_counted_in_a_past_minute_is_not_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut counts = RevertCounts::default();
        for _ in 0..13 {
            counts.note(&object(), at(60));
        }
        assert!(counts.past(at(119)).is_empty());
        let past = counts.past(at(120));
        assert_eq!(past, [(object(), 3)]);
        assert!(counts.past(at(120)).is_empty());
        counts.put_back(past);
        assert_eq!(counts.past(at(180)), [(object(), 3)]);
    }
}
