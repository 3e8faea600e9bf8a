//! Refusals of orders that people sign outside of Git. Anybody may write orders who may make objects: some refusals of a
//! namespace are in the log and announced one by one, and all others are counted there once a minute. Each is in the metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use audit::LogError;
use cluster::Regarding;
use jiff::Timestamp;
use manifest::Finding;
use serde::Serialize;

use crate::{
    entry_budget::EntryBudget,
    state::{Key, State},
};

/// Refusals of the orders of one namespace within a minute that have an entry of their own: as many as may count at once, and
/// no more than half of what there is for a namespace.
const ONE_BY_ONE: u32 = 15;
/// The same after a minute with more of them: with the one that counts it is 7,200 entries a day, of a log that is made for
/// 100,000.
const ONE_BY_ONE_IN_A_FLOOD: u32 = 4;
// Beyond these, and beside what there is for a namespace, the first of each kind and code within a minute has an entry of its
// own: junk of one code hides nothing else. Two kinds of orders are refused with some twenty codes, so it is forty a minute
// at most, by somebody who can bring about each of them.
/// Orders that are named of those that are counted, of each kind and code.
const MAX_NAMED: usize = 8;

/// Those of one kind with one code that are counted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    count: u64,
    /// The first of them by name.
    orders: BTreeSet<String>,
}

/// Those of one namespace that are counted, by kind and code.
pub(crate) type CountedRefusals = BTreeMap<&'static str, BTreeMap<&'static str, Counted>>;

/// What is known of the refusals of one namespace.
#[derive(Debug, Default)]
struct OfNamespace {
    minute: Option<i64>,
    /// In this minute: those that may still have an entry of their own.
    left: u32,
    /// In this minute: the kinds and codes that had one.
    told: BTreeSet<(&'static str, &'static str)>,
    counted: CountedRefusals,
    /// The minute of the first that is counted.
    since: i64,
}

/// Refusals of orders that the log has or is to have.
#[derive(Debug, Default)]
pub(crate) struct OrderRefusals(BTreeMap<String, OfNamespace>);

/// An order that is not obeyed.
pub(crate) struct RefusedOrder<'a> {
    pub(crate) kind: &'static str,
    pub(crate) action: &'static str,
    pub(crate) key: &'a Key,
    pub(crate) regarding: Regarding,
    pub(crate) revision: &'a str,
    pub(crate) findings: &'a [Finding],
}

impl OrderRefusals {
    /// Whether one of this kind and code has an entry of its own. Otherwise it is counted.
    fn note(
        &mut self,
        key: &Key,
        kind: &'static str,
        code: &'static str,
        budget: &mut EntryBudget,
        now: Timestamp,
    ) -> bool {
        let minute = now.as_second() / 60;
        let state = self.0.entry(key.namespace.clone()).or_default();
        if state.minute != Some(minute) {
            state.minute = Some(minute);
            state.left = if state.counted.is_empty() { ONE_BY_ONE } else { ONE_BY_ONE_IN_A_FLOOD };
            state.told.clear();
        }
        let is_first = state.told.insert((kind, code));
        if state.left > 0 && budget.take(&key.namespace, now) {
            state.left -= 1;
            return true;
        }
        if is_first {
            return true;
        }
        if state.counted.is_empty() {
            state.since = minute;
        }
        let counted = state.counted.entry(kind).or_default().entry(code).or_default();
        counted.count += 1;
        if counted.orders.len() < MAX_NAMED {
            counted.orders.insert(key.name.clone());
        }
        false
    }

    /// Has `write` write what was counted in minutes that are over. What it cannot is still to be written the next time.
    fn tell<E>(
        &mut self,
        now: Timestamp,
        mut write: impl FnMut(&str, &CountedRefusals) -> Result<(), E>,
    ) -> Result<(), E> {
        let minute = now.as_second() / 60;
        for (namespace, state) in &mut self.0 {
            if state.counted.is_empty() || state.since == minute {
                continue;
            }
            write(namespace, &state.counted)?;
            mem::take(&mut state.counted);
            if state.minute != Some(minute) {
                state.minute = Some(minute);
                state.left = ONE_BY_ONE_IN_A_FLOOD;
                state.told.clear();
            }
        }
        self.0.retain(|_, state| state.minute == Some(minute) || !state.counted.is_empty());
        Ok(())
    }
}

impl State {
    /// An order is not obeyed: told once for each code, since it is judged again and again and has times in its words.
    pub(crate) fn order_refused(&mut self, order: RefusedOrder<'_>, now: Timestamp) {
        let RefusedOrder { kind, action, key, regarding, revision, findings } = order;
        let owner = format!("{kind} {key}");
        let Some(first) = findings.first() else { return };
        if !self.refusals.is_new_code(&owner, revision, findings) {
            return;
        }
        for finding in findings {
            self.metrics.decided("refuse", finding.code.reason);
        }
        if !self.order_refusals.note(key, kind, first.code.code, &mut self.holds.entries, now) {
            return;
        }
        for finding in findings {
            tracing::warn!(request = %key, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
        }
        self.announce(&regarding, findings, action, None);
        self.log_refusal(owner, revision, findings, None, now);
    }

    /// Writes how many were refused beyond those that have an entry of their own.
    pub(crate) fn log_counted_refusals(&mut self, now: Timestamp) {
        let journal = &self.journal;
        let result: Result<(), LogError> = self.order_refusals.tell(now, |namespace, counted| {
            tracing::warn!(namespace, counted = ?counted, "more orders were refused");
            journal.refused_orders(now, namespace, counted).map(drop)
        });
        if let Some(error) = result.err().filter(|_| self.log_problem.is_none()) {
            self.log_failed(&error);
        }
    }
}

impl Counted {
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of a flood of ten a second, in all and one by one.
    fn flood(seconds: i64, names: impl Fn(i64) -> (String, &'static str)) -> (u64, Vec<CountedRefusals>) {
        let (mut refusals, mut budget, mut singles, mut counted) =
            (OrderRefusals::default(), EntryBudget::default(), 0, Vec::new());
        for number in 0..seconds * 10 {
            let now = Timestamp::from_second(number / 10).unwrap();
            let (name, code) = names(number);
            let key = Key { namespace: "shop".to_owned(), name };
            singles += u64::from(refusals.note(&key, "RollbackRequest", code, &mut budget, now));
            let write = |_: &str, one: &CountedRefusals| {
                counted.push(one.clone());
                Ok::<_, ()>(())
            };
            refusals.tell(now, write).unwrap();
        }
        (singles, counted)
    }

    #[test]
    fn each_refusal_is_in_the_log_by_itself_or_counted() {
        // Junk, and two probes with a stolen key among it.
        let names = |number: i64| match number {
            400 => ("probe".to_owned(), "W304"),
            401 => ("another".to_owned(), "W304"),
            _ => (format!("junk-{number:04}"), "W302"),
        };
        let (singles, counted) = flood(61, names);
        // The first of them has an entry of its own, however much else there is.
        assert_eq!((singles, counted.len()), (15 + 1 + 4, 1));
        let of_code = &counted[0]["RollbackRequest"];
        assert_eq!((of_code["W302"].count, of_code["W302"].orders.len()), (600 - 2 - 15, MAX_NAMED));
        let probe = Counted { count: 1, orders: ["another".to_owned()].into() };
        assert_eq!(of_code["W304"], probe);
    }

    /// However many Syncs it has: a day of junk leaves room for all else in a log that is made for 100,000 entries.
    #[test]
    fn a_flood_in_one_namespace_does_not_fill_the_log() {
        let (singles, counted) = flood(86_400, |number| (format!("order-{}", number % 20), "W302"));
        let entries = singles + counted.len() as u64;
        assert!((7_000..=7_220).contains(&entries), "{entries}");
    }

    #[test]
    fn what_the_log_did_not_take_is_still_to_be_written() {
        let (mut refusals, mut budget) = (OrderRefusals::default(), EntryBudget::default());
        let key = Key { namespace: "shop".to_owned(), name: "one".to_owned() };
        for _ in 0..20 {
            refusals.note(&key, "BreakGlass", "W302", &mut budget, Timestamp::UNIX_EPOCH);
        }
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(refusals.tell(later, |_, _| Err(())), Err(()));
        let mut counts = Vec::new();
        let write = |_: &str, counted: &CountedRefusals| {
            counts.push(counted["BreakGlass"]["W302"].count);
            Ok::<_, ()>(())
        };
        refusals.tell(later, write).unwrap();
        assert_eq!(counts, [5]);
    }
}
