//! Drifts by cause: one line for what one thing did to many objects.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::{DriftState, Record, Records};
use crate::Severity;

/// Drifts of one cause: the same class of field, changed to the same value by the same actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// Who did it, if anybody is known.
    pub actor: Option<&'a str>,
    /// The class of the field.
    pub class: &'a str,
    /// What it was changed to. Masked: of Secrets only that there is a value.
    pub after: Option<&'a str>,
    /// The worst of them.
    pub severity: Severity,
    /// How many of them are open.
    pub open: usize,
    /// When one was seen first.
    pub first: Timestamp,
    /// When one was seen last.
    pub last: Timestamp,
    /// How often they were seen.
    pub count: u64,
    /// The drifts, worst and newest first; never empty.
    pub records: Vec<&'a Record>,
}

impl Records {
    /// Those that `wanted` names, by cause: what is open first, then worst and newest first.
    #[must_use]
    pub fn groups(&self, wanted: impl Fn(&Record) -> bool) -> Vec<Group<'_>> {
        let mut causes: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
        for record in self.iter().filter(|record| wanted(record)) {
            let Record { cause, .. } = record;
            causes
                .entry((cause.actor.as_deref(), &*cause.class, cause.after.as_deref(), cause.change))
                .or_default()
                .push(record);
        }
        let mut groups: Vec<Group<'_>> = causes
            .into_iter()
            .filter_map(|((actor, class, after, _), mut records)| {
                records.sort_by_key(|record| (Reverse(rank(record)), Reverse(record.last), &record.cause.id));
                Some(Group {
                    actor,
                    class,
                    after,
                    severity: records.iter().map(|record| record.cause.severity).max()?,
                    open: records.iter().filter(|record| record.state.is_open()).count(),
                    first: records.iter().map(|record| record.first).min()?,
                    last: records.iter().map(|record| record.last).max()?,
                    count: records.iter().fold(0, |sum, record| sum.saturating_add(record.count)),
                    records,
                })
            })
            .collect();
        groups.sort_by_key(|group| (Reverse(group.open > 0), Reverse(group.severity), Reverse(group.last)));
        groups
    }
}

fn rank(record: &Record) -> (bool, bool, Severity) {
    (record.state.is_open(), record.state == DriftState::Contested, record.cause.severity)
}
