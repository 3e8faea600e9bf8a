//! Which order to take a Sync back is judged next. Anybody with the right to make objects may write orders, so what they
//! cost is bounded: one at a time, none twice that can never count, and not more of them than people need.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cluster::{ObjectMeta, crd};
use jiff::Timestamp;
use manifest::{Digest, Finding, shell_quote};
use plan::SyncRef;
use trust::Seen;

use crate::{
    code::ControllerCode,
    order_basis::{Basis, Stands},
    order_room::{Full, Kept, in_namespace, no_room},
    order_turns::Choice,
    resources::finding,
    state::Key,
};

/// How long a refused order waits until it is judged again: somebody may have mended what it was refused for.
const AGAIN: Duration = Duration::from_secs(60);
/// Most orders about one Sync that are judged next, before others are told that they wait: two for each of eight people.
const MAX_ORDERS: usize = 16;

/// What is known of a RollbackRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is not judged yet.
    Pending,
    /// It is not obeyed.
    Refused(Box<Finding>),
    /// There are too many others: it is not judged yet.
    Crowded(Box<Finding>),
    /// It was obeyed.
    Used,
}

/// A RollbackRequest.
#[derive(Debug)]
pub(crate) struct RollbackState {
    pub(crate) resource: Box<crd::RollbackRequest>,
    pub(crate) answer: Answer,
    /// The size of its object when it was seen first, and when that was.
    bytes: usize,
    since: Instant,
    /// When it may be judged again.
    due: Instant,
    /// Digest of the trust under which it never counts.
    void: Option<Digest>,
    /// What it is judged by, or was the last time.
    basis: Basis,
}

impl RollbackState {
    pub(crate) fn new(resource: Box<crd::RollbackRequest>, bytes: usize, since: Instant) -> Self {
        Self { resource, answer: Answer::Pending, bytes, since, due: since, void: None, basis: Basis::default() }
    }

    /// It is not kept.
    pub(crate) fn has_no_room(&mut self, key: &Key, full: Full) {
        let (found, needed) = no_room(key, full);
        self.answer = Answer::Crowded(Box::new(self.crowded(key, found, &needed)));
    }

    /// The Sync that it is about.
    pub(crate) fn about(&self, key: &Key) -> SyncRef {
        SyncRef { namespace: key.namespace.clone(), name: self.resource.spec.sync.clone() }
    }

    pub(crate) fn is_about(&self, sync: &SyncRef) -> bool {
        self.resource.namespace() == Some(sync.namespace.as_str()) && self.resource.spec.sync == sync.name
    }

    /// It is not obeyed. Under `void` it never counts; without that it is judged again later.
    pub(crate) fn refuse(&mut self, finding: Finding, void: Option<Digest>, now: Instant) {
        self.answer = Answer::Refused(Box::new(finding));
        self.due = now + AGAIN;
        self.void = void;
    }

    /// Its judgement begins.
    pub(crate) const fn judged_by(&mut self, basis: Basis) {
        self.basis = basis;
    }

    fn may_be_due(&self, now: Instant) -> bool {
        self.answer != Answer::Used && self.due <= now
    }

    /// Whether it may still count.
    fn is_open(&self, trust: &Digest) -> bool {
        self.answer != Answer::Used && self.void.as_ref() != Some(trust)
    }

    /// Those that were not judged yet first, as they were seen here, of one list as they were made; then those that are judged
    /// once more, as they wait. So whoever writes orders keeps no other from being judged, whatever becomes of his: one that
    /// gave way and comes again is new, however old its object is.
    fn rank(&self) -> (u8, Instant, Option<Timestamp>) {
        match self.answer {
            Answer::Pending | Answer::Crowded(_) => (0, self.since, self.made()),
            Answer::Refused(_) | Answer::Used => (1, self.due, None),
        }
    }

    fn made(&self) -> Option<Timestamp> {
        self.resource.metadata.creation_timestamp.as_ref().and_then(|made| made.0.to_string().parse().ok())
    }

    /// When the API server made the object: an order that counts too late then never will.
    pub(crate) fn seen(&self, now: Timestamp) -> Seen {
        Seen { first: self.made().map_or(now, |made| made.min(now)), now }
    }

    /// There are too many. What it says is not looked at.
    fn crowded(&self, key: &Key, found: String, needed: &str) -> Finding {
        let mut finding = match self.resource.spec.order(&key.namespace) {
            Ok(order) => order.invalid(found, needed),
            Err(_unread) => finding(ControllerCode::A142, &format!("RollbackRequest {key}"), &found, needed),
        };
        let namespace = shell_quote(&key.namespace);
        finding.fix =
            format!("kubectl -n {namespace} get rollbackrequests # then delete those that are not needed").into();
        finding
    }
}

impl Kept for RollbackState {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn spent(&self) -> Option<(u8, Timestamp)> {
        let least = match self.answer {
            Answer::Refused(_) if self.void.is_some() => 0,
            Answer::Refused(_) => 1,
            // What it put in force stays so.
            Answer::Used => 2,
            Answer::Pending | Answer::Crowded(_) => return None,
        };
        Some((least, self.made().unwrap_or(Timestamp::UNIX_EPOCH)))
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.resource.metadata
    }

    fn stands(&self) -> Stands {
        match self.answer {
            Answer::Used => Stands::Always,
            _ if self.void.is_some() => self.basis.of_trust(),
            _ => self.basis.of_heads(),
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The order that is judged next.
    pub(crate) next: Option<Key>,
    /// Orders that are too many, as news.
    pub(crate) crowded: Vec<Key>,
}

/// Whether an order about a Sync may have to be judged.
pub(crate) fn any_due(orders: &BTreeMap<Key, RollbackState>, sync: &SyncRef, now: Instant) -> bool {
    in_namespace(orders, &sync.namespace).any(|(_, order)| order.may_be_due(now) && order.is_about(sync))
}

/// Whose turn it is of the orders about a Sync that may count under this trust, and who is told to wait behind
/// [`MAX_ORDERS`] others.
pub(crate) fn take_turn(
    orders: &mut BTreeMap<Key, RollbackState>,
    sync: &SyncRef,
    trust: &Digest,
    choice: Choice,
    now: Instant,
) -> Turn {
    let open = in_namespace(orders, &sync.namespace);
    let open = open.filter(|(_, order)| order.is_about(sync) && order.is_open(trust) && order.due <= now);
    let mut open: Vec<_> = open.map(|(key, order)| (order.rank(), key.clone())).collect();
    open.sort();
    let is_fresh = |((rank, ..), _): &&((u8, _, _), Key)| *rank == 0;
    let chosen = match choice {
        Choice::Oldest => None,
        Choice::Newest => open.iter().rev().find(is_fresh),
        Choice::Again => open.iter().find(|one| !is_fresh(one)),
    };
    let mut turn = Turn { next: chosen.or(open.first()).map(|(_, key)| key.clone()), crowded: Vec::new() };
    for (_, key) in open.into_iter().skip(MAX_ORDERS) {
        if let Some(order) = orders.get_mut(&key).filter(|order| order.answer == Answer::Pending)
            && turn.next.as_ref() != Some(&key)
        {
            let found = format!("{MAX_ORDERS} other orders about the Sync are judged first");
            let needed = format!("at most {MAX_ORDERS} orders about a Sync");
            order.answer = Answer::Crowded(Box::new(order.crowded(&key, found, &needed)));
            turn.crowded.push(key);
        }
    }
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key { namespace: "shop".to_owned(), name: format!("order-{number:02}") }
    }

    fn sync() -> SyncRef {
        SyncRef { namespace: "shop".to_owned(), name: "web".to_owned() }
    }

    /// Orders about a Sync, each made a second after the one before.
    fn orders(count: usize) -> BTreeMap<Key, RollbackState> {
        let order = |number: usize| {
            let commit = "a".repeat(40);
            let resource = serde_json::json!({
                "apiVersion": "writ.dev/v1alpha1", "kind": "RollbackRequest",
                "metadata": {
                    "namespace": "shop", "name": key(number).name,
                    "creationTimestamp": format!("2026-01-01T00:00:{number:02}Z"),
                },
                "spec": {
                    "sync": "web", "repoId": "urn:shop", "to": commit, "payloadSha256": "b".repeat(64), "reason": "errors",
                    "notAfter": "2026-01-01T01:00:00Z", "nonce": format!("n{number}"), "signatures": [],
                },
            });
            (key(number), RollbackState::new(Box::new(serde_json::from_value(resource).unwrap()), 0, Instant::now()))
        };
        (0..count).map(order).collect()
    }

    fn junk() -> Finding {
        finding(ControllerCode::A142, "RollbackRequest shop/one", "nobody signed it", "a signature")
    }

    #[test]
    fn what_never_counts_is_not_judged_again_under_the_same_trust() {
        let (mut orders, trust, other) = (orders(2), Digest::of(b"trust"), Digest::of(b"other"));
        let now = Instant::now();
        let next = |orders: &mut _, trust, now| take_turn(orders, &sync(), trust, Choice::Oldest, now).next;
        let later = now + AGAIN;
        orders.get_mut(&key(0)).unwrap().refuse(junk(), Some(trust), now);
        orders.get_mut(&key(1)).unwrap().refuse(junk(), None, now);
        assert_eq!(next(&mut orders, &trust, now), None);
        assert_eq!(next(&mut orders, &trust, later), Some(key(1)));
        orders.get_mut(&key(1)).unwrap().answer = Answer::Used;
        assert_eq!(next(&mut orders, &trust, later), None);
        // A key may have been added since.
        assert_eq!(next(&mut orders, &other, later), Some(key(0)));
    }

    #[test]
    fn whoever_waits_longest_is_next() {
        let (mut orders, trust, start) = (orders(2), Digest::of(b"trust"), Instant::now());
        let mut judged = Vec::new();
        for minute in 1..5 {
            let now = start + AGAIN * minute + Duration::from_secs(u64::from(minute));
            let next = take_turn(&mut orders, &sync(), &trust, Choice::Oldest, now).next.unwrap();
            orders.get_mut(&next).unwrap().refuse(junk(), None, now);
            judged.push(next);
        }
        assert_eq!(judged, [key(0), key(1), key(0), key(1)]);
    }

    /// Beyond the limit those that were not judged yet are told once that they wait, and all come to be judged.
    #[test]
    fn more_orders_than_people_need_wait() {
        let (mut orders, trust, now) = (orders(MAX_ORDERS + 2), Digest::of(b"trust"), Instant::now() + AGAIN);
        let turn = take_turn(&mut orders, &sync(), &trust, Choice::Oldest, now);
        assert_eq!(turn, Turn { next: Some(key(0)), crowded: vec![key(MAX_ORDERS), key(MAX_ORDERS + 1)] });
        let Answer::Crowded(told) = &orders[&key(MAX_ORDERS)].answer else { panic!("it is not told") };
        assert_eq!((told.code.code, told.found.as_str()), ("W703", "16 other orders about the Sync are judged first"));
        let turn = take_turn(&mut orders, &sync(), &trust, Choice::Oldest, now);
        assert_eq!(turn, Turn { next: Some(key(0)), crowded: Vec::new() });
        // Those about another Sync count for nothing.
        let other = SyncRef { name: "api".to_owned(), ..sync() };
        assert_eq!(take_turn(&mut orders, &other, &trust, Choice::Oldest, now + AGAIN), Turn::default());
    }

    /// Any number of orders that are refused for now, and may count later, hold up no other, nor each other.
    #[test]
    fn copies_of_an_order_that_is_refused_hold_up_no_other() {
        let (mut all, trust, start) = (orders(3 * MAX_ORDERS), Digest::of(b"trust"), Instant::now() + AGAIN);
        let good = all.split_off(&key(3 * MAX_ORDERS - 1));
        for order in all.values_mut() {
            order.refuse(junk(), None, start);
        }
        all.extend(good);
        // All are due again.
        let now = start + AGAIN;
        let turn = take_turn(&mut all, &sync(), &trust, Choice::Oldest, now);
        assert_eq!(turn, Turn { next: Some(key(3 * MAX_ORDERS - 1)), crowded: Vec::new() });
        let mut judged = std::collections::BTreeSet::new();
        for second in 0..3 * 16 {
            let now = now + Duration::from_secs(second);
            let next = take_turn(&mut all, &sync(), &trust, Choice::Oldest, now).next.unwrap();
            all.get_mut(&next).unwrap().refuse(junk(), None, now);
            assert!(judged.insert(next), "one is judged twice before another");
        }
        assert_eq!(judged.len(), all.len());
    }

    /// One that gave way and comes again is new, however old its object is.
    #[test]
    fn an_old_object_that_comes_again_takes_no_turn_of_those_that_wait() {
        let (mut orders, trust, now) = (orders(2), Digest::of(b"trust"), Instant::now() + AGAIN);
        let again = orders.remove(&key(0)).unwrap();
        orders.insert(key(0), RollbackState::new(again.resource, 0, now));
        assert_eq!(take_turn(&mut orders, &sync(), &trust, Choice::Oldest, now).next, Some(key(1)));
    }

    /// Of a thousand that are there the third part of all turns is that of whoever came last, and of what was refused.
    #[test]
    fn nobody_waits_for_a_thousand() {
        let (mut orders, trust, now) = (orders(60), Digest::of(b"trust"), Instant::now() + AGAIN);
        orders.get_mut(&key(30)).unwrap().refuse(junk(), None, now - AGAIN);
        let mut judged = Vec::new();
        for choice in [Choice::Oldest, Choice::Newest, Choice::Again].repeat(2) {
            let next = take_turn(&mut orders, &sync(), &trust, choice, now).next.unwrap();
            orders.get_mut(&next).unwrap().refuse(junk(), None, now);
            judged.push(next);
        }
        assert_eq!(judged, [0, 59, 30, 1, 58, 2].map(key));
    }
}
