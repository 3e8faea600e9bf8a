//! Which orders to break the glass are judged with a head. Anybody with the right to make objects may write orders, and each
//! is judged with every new head: no more of them than people need.

use std::{cmp::Reverse, collections::BTreeMap};

use cluster::crd;
use jiff::Timestamp;
use manifest::{Finding, shell_quote};

use crate::{
    break_glass::GateOrder,
    code::ControllerCode,
    order_room::{Kept, in_namespace, no_room},
    resources::finding,
    state::Key,
};

/// Most orders about one GitSource that are judged with a head: a good one is enough, and a dozen may be left from earlier
/// ones. At 16 signatures each they are 256 verifications, of less than 1 ms.
const MAX_ORDERS: usize = 16;
/// The condition of an order.
pub(crate) const READY: &str = "Ready";
/// Its reason while a good order is not needed.
pub(crate) const NOT_NEEDED: &str = "NotNeeded";
/// Its reason when the time of a good order is over that nothing needed.
pub(crate) const ENDED: &str = "Ended";

/// What is known of a BreakGlass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is not judged yet.
    Pending,
    /// It is good, and nothing needed it.
    Good,
    /// It is not obeyed.
    Refused(Box<Finding>),
    /// There are too many others: it is not judged yet.
    Crowded(Box<Finding>),
    /// It was good until then, and nothing needed it.
    Ended(Timestamp),
    /// Its time was over then, and nobody said of it that it was good.
    Expired(Timestamp),
}

/// A BreakGlass.
#[derive(Debug)]
pub(crate) struct BreakGlassState {
    pub(crate) resource: Box<crd::BreakGlass>,
    pub(crate) answer: Answer,
    first_seen: Timestamp,
    /// The size of its object when it was seen first.
    bytes: usize,
    /// Its time is over: it is judged no more.
    is_over: bool,
}

impl BreakGlassState {
    pub(crate) fn new(resource: Box<crd::BreakGlass>, first_seen: Timestamp, bytes: usize) -> Self {
        Self { resource, answer: Answer::Pending, first_seen, bytes, is_over: false }
    }

    /// Whether it was not judged yet.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.is_over && matches!(self.answer, Answer::Pending | Answer::Crowded(_))
    }

    /// It is not kept.
    pub(crate) fn has_no_room(&mut self, key: &Key) {
        let (found, needed) = no_room(key);
        self.answer = Answer::Crowded(Box::new(self.crowded(key, found, &needed)));
    }

    /// When its time was over, if it is.
    pub(crate) fn expired(&self, key: &Key, now: Timestamp) -> Option<Finding> {
        self.resource.spec.order(&key.namespace).ok()?.expired(now)
    }

    /// Whether it is judged no more.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Its time is over, and it let nothing through: it is judged no more. Whether that is news. There may be any number of
    /// orders, so it is told in the status alone.
    pub(crate) fn end(&mut self, key: &Key, now: Timestamp) -> bool {
        let Ok(signed) = self.resource.spec.order(&key.namespace) else { return false };
        let Some(over) = signed.expired(now).filter(|_over| !self.is_over) else { return false };
        self.is_over = true;
        self.answer = match self.answer {
            Answer::Good => Answer::Ended(signed.not_after),
            Answer::Pending | Answer::Crowded(_) if self.was_good() => Answer::Ended(signed.not_after),
            Answer::Pending | Answer::Crowded(_) => Answer::Expired(signed.not_after),
            _ => Answer::Refused(Box::new(over)),
        };
        true
    }

    /// Whether its status says so. Answers are not kept over a restart.
    fn was_good(&self) -> bool {
        let status = self.resource.status.iter().flat_map(|status| &status.conditions);
        status.filter(|said| said.kind == READY).any(|said| [ENDED, NOT_NEEDED].contains(&said.reason.as_str()))
    }

    fn is_about(&self, key: &Key, source: &Key) -> bool {
        key.namespace == source.namespace && self.resource.spec.source == source.name
    }

    /// Good ones first; then what was not judged yet, as it came; then what was refused, the newest first: it may be about a
    /// head that is still to come.
    fn rank(&self) -> (u8, Timestamp, Reverse<Timestamp>) {
        let none = Timestamp::UNIX_EPOCH;
        match self.answer {
            Answer::Good => (0, self.first_seen, Reverse(none)),
            Answer::Pending | Answer::Crowded(_) => (1, self.first_seen, Reverse(none)),
            Answer::Refused(_) | Answer::Ended(_) | Answer::Expired(_) => (2, none, Reverse(self.first_seen)),
        }
    }

    fn order(&self, key: &Key) -> Option<GateOrder> {
        let spec = &self.resource.spec;
        Some(GateOrder {
            key: key.clone(),
            order: spec.order(&key.namespace).ok()?,
            signatures: spec.signatures.iter().map(|one| one.signature.clone()).collect(),
            first_seen: self.first_seen,
        })
    }

    fn crowded(&self, key: &Key, found: String, needed: &str) -> Finding {
        let mut finding = match self.resource.spec.order(&key.namespace) {
            Ok(order) => order.invalid(found, needed),
            Err(_unread) => finding(ControllerCode::A142, &format!("BreakGlass {key}"), &found, needed),
        };
        let namespace = shell_quote(&key.namespace);
        finding.fix = format!("kubectl -n {namespace} get breakglasses # then delete those that are not needed");
        finding
    }
}

impl Kept for BreakGlassState {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn spent(&self) -> Option<(u8, Timestamp)> {
        match self.answer {
            _ if self.is_over => Some((0, self.first_seen)),
            Answer::Refused(_) => Some((1, self.first_seen)),
            _ => None,
        }
    }
}

/// The orders about a source that are judged with its next head. One whose time is over needs no judgement.
pub(crate) fn judged_about(orders: &BTreeMap<Key, BreakGlassState>, source: &Key, now: Timestamp) -> Vec<GateOrder> {
    let about = in_namespace(orders, &source.namespace);
    let about = about.filter(|(key, order)| order.is_about(key, source) && !order.is_over);
    let readable = about.filter_map(|(key, order)| Some((order.rank(), order.order(key)?)));
    let mut readable: Vec<_> = readable.filter(|(_, order)| order.order.expired(now).is_none()).collect();
    readable.sort_by(|(one, of_one), (other, of_other)| (one, &of_one.key).cmp(&(other, &of_other.key)));
    readable.into_iter().take(MAX_ORDERS).map(|(_, order)| order).collect()
}

/// Whether orders about a source wait that were not judged yet.
pub(crate) fn any_fresh(orders: &BTreeMap<Key, BreakGlassState>, source: &Key) -> bool {
    in_namespace(orders, &source.namespace).any(|(key, order)| order.is_about(key, source) && order.is_fresh())
}

/// Says of those that are not judged with the next head either that there are too many; returns which, if that is news.
pub(crate) fn tell_crowded(orders: &mut BTreeMap<Key, BreakGlassState>, source: &Key, now: Timestamp) -> Vec<Key> {
    let judged = judged_about(orders, source, now);
    if judged.len() < MAX_ORDERS {
        return Vec::new();
    }
    let mut told = Vec::new();
    for (key, order) in orders.iter_mut().filter(|(key, order)| order.is_about(key, source)) {
        if order.answer == Answer::Pending && judged.iter().all(|judged| judged.key != *key) {
            let found = format!("{MAX_ORDERS} other orders about the GitSource are judged first");
            let needed = format!("at most {MAX_ORDERS} orders about a GitSource");
            order.answer = Answer::Crowded(Box::new(order.crowded(key, found, &needed)));
            told.push(key.clone());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key { namespace: "shop".to_owned(), name: format!("order-{number:02}") }
    }

    /// Orders about a source, each made a second after the one before.
    fn orders(count: usize) -> BTreeMap<Key, BreakGlassState> {
        let order = |number: usize| {
            let resource = serde_json::json!({
                "apiVersion": "writ.dev/v1alpha1", "kind": "BreakGlass",
                "metadata": {"namespace": "shop", "name": key(number).name},
                "spec": {
                    "source": "config", "repoId": "urn:shop", "commit": "a".repeat(40), "payloadSha256": "b".repeat(64),
                    "reason": "down", "notAfter": "2026-01-01T01:00:00Z", "signatures": [],
                },
            });
            let seen = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
            (key(number), BreakGlassState::new(Box::new(serde_json::from_value(resource).unwrap()), seen, 0))
        };
        (0..count).map(order).collect()
    }

    fn source(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn judged(orders: &BTreeMap<Key, BreakGlassState>) -> Vec<Key> {
        judged_about(orders, &source("config"), Timestamp::UNIX_EPOCH).into_iter().map(|order| order.key).collect()
    }

    fn keys(numbers: std::ops::Range<usize>) -> Vec<Key> {
        numbers.map(key).collect()
    }

    /// Every order comes to be judged, however many there are, and then what is judged stays the same.
    #[test]
    fn no_more_orders_than_people_need_are_judged_with_a_head() {
        let mut orders = orders(2 * MAX_ORDERS + 3);
        let refuse = |orders: &mut BTreeMap<Key, BreakGlassState>, keys: Vec<Key>| {
            for key in keys {
                let junk = finding(ControllerCode::A142, "BreakGlass shop/one", "nobody signed it", "a signature");
                orders.get_mut(&key).unwrap().answer = Answer::Refused(Box::new(junk));
            }
        };
        assert_eq!(judged(&orders), keys(0..16));
        assert_eq!(tell_crowded(&mut orders, &source("config"), Timestamp::UNIX_EPOCH), keys(16..35));
        let Answer::Crowded(told) = &orders[&key(16)].answer else { panic!("it is not told") };
        assert_eq!(
            (told.code.code, told.found.as_str()),
            ("W702", "16 other orders about the GitSource are judged first")
        );
        assert!(tell_crowded(&mut orders, &source("config"), Timestamp::UNIX_EPOCH).is_empty());
        refuse(&mut orders, keys(0..16));
        assert!(any_fresh(&orders, &source("config")) && !any_fresh(&orders, &source("other")));
        assert_eq!(judged(&orders), keys(16..32));
        refuse(&mut orders, keys(16..32));
        orders.get_mut(&key(3)).unwrap().answer = Answer::Good;
        refuse(&mut orders, keys(32..35));
        assert!(!any_fresh(&orders, &source("config")));
        for number in 32..35 {
            orders.get_mut(&key(number)).unwrap().answer = Answer::Pending;
        }
        let mut expected = vec![key(3), key(32), key(33), key(34)];
        expected.extend(keys(20..32).into_iter().rev());
        assert_eq!(judged(&orders), expected);
        assert!(judged_about(&orders, &source("other"), Timestamp::UNIX_EPOCH).is_empty());
    }

    /// What its condition is when the time of an order is over, and that it is news once.
    #[test]
    fn orders_end_without_a_head() {
        let end: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let later = end + std::time::Duration::from_secs(1);
        let junk = || Box::new(finding(ControllerCode::A142, "BreakGlass shop/one", "nobody signed it", "a signature"));
        // Of what its status said before a restart, and of what is known of it.
        let ended = |said: Option<&str>, answer: Answer| {
            let mut order = orders(1).remove(&key(0)).unwrap();
            order.answer = answer;
            order.resource.status = said.map(|reason| {
                let ready = serde_json::json!({
                    "type": "Ready", "status": "False", "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                });
                serde_json::from_value(serde_json::json!({"conditions": [ready]})).unwrap()
            });
            assert!(!order.end(&key(0), end) && order.end(&key(0), later) && !order.end(&key(0), later));
            order.answer
        };
        assert_eq!(ended(None, Answer::Good), Answer::Ended(end));
        for unknown in [Answer::Pending, Answer::Crowded(junk())] {
            for said in [None, Some("Pending"), Some("BreakGlassInvalid"), Some("Expired")] {
                assert_eq!(ended(said, unknown.clone()), Answer::Expired(end));
            }
            for said in ["Ended", "NotNeeded"] {
                assert_eq!(ended(Some(said), unknown.clone()), Answer::Ended(end));
            }
        }
        let Answer::Refused(why) = ended(Some("Ended"), Answer::Refused(junk())) else { panic!("it is obeyed") };
        assert_eq!(
            (why.code.code, why.found.as_str()),
            ("W702", "it expired 2026-01-01T01:00:00Z, and it is 2026-01-01T01:00:01Z")
        );
    }

    /// However many there are whose time is over, none is judged, and none takes the place of one that may count.
    #[test]
    fn what_is_over_is_not_judged() {
        let mut orders = orders(100);
        let mut good = orders.remove(&key(99)).unwrap();
        good.resource.spec.not_after = "2026-01-01T03:00:00Z".to_owned();
        orders.insert(key(99), good);
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
        let judged: Vec<Key> =
            judged_about(&orders, &source("config"), now).into_iter().map(|order| order.key).collect();
        assert_eq!(judged, [key(99)]);
        assert!(tell_crowded(&mut orders, &source("config"), now).is_empty());
    }
}
