//! What is known of drift, as the audit log tells it: records are a projection of its entries.
//!
//! A revert counts as carried out unless a later entry says otherwise, so a drift that is put back at once is one entry. The
//! same entries in the same order give the same records, whether they are read at once or from a [snapshot](Records) on.

mod cause;
mod fact;
mod fold;
mod group;
mod record;

pub use cause::{Cause, DriftChange, DriftId};
pub use fact::{DriftFact, EntryView, FactError, Seen, UNDECLARED, facts, is_told_by_body};
pub use fold::{MAX_CLOSED, MAX_OPEN, Records, is_contested};
pub use group::Group;
pub use record::{DriftState, Record};

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
