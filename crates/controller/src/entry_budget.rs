//! How many log entries people may cause in a namespace who need no signature for it: edits of Syncs, and orders that nobody
//! obeys.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Entries about all owners of one namespace within a minute: names cost nothing to who may create Syncs. At 30 a minute
/// the 70,000 decisions that the volume is made for are two days of such an attack, and it is in the metrics at once.
const ENTRIES_OF_NAMESPACE: u32 = 30;

/// The entries of each namespace in this minute.
#[derive(Debug, Default)]
pub(crate) struct EntryBudget {
    minute: i64,
    written: BTreeMap<String, u32>,
}

impl EntryBudget {
    /// Whether there may be one more.
    pub(crate) fn has_left(&mut self, namespace: &str, now: Timestamp) -> bool {
        let minute = now.as_second() / 60;
        if self.minute != minute {
            self.minute = minute;
            self.written.clear();
        }
        self.written.get(namespace).is_none_or(|written| *written < ENTRIES_OF_NAMESPACE)
    }

    /// One more was written.
    pub(crate) fn written(&mut self, namespace: &str) {
        *self.written.entry(namespace.to_owned()).or_default() += 1;
    }

    /// One more, if there may be one.
    pub(crate) fn take(&mut self, namespace: &str, now: Timestamp) -> bool {
        let has_left = self.has_left(namespace, now);
        if has_left {
            self.written(namespace);
        }
        has_left
    }
}
