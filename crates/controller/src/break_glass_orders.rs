//! Which orders to break the glass are judged with a head. Anybody with the right to make objects may write orders, and each
//! is judged with every new head: no more of them than people need. Those that cannot be good by what they say themselves
//! take no place from the others, and of the others the oldest and the newest come first: who names the keys of those who
//! may, without having them, keeps an order waiting only as long as he goes on writing.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Instant};

use cluster::{ObjectMeta, crd};
use jiff::Timestamp;
use manifest::{Digest, Finding, shell_quote};
use trust::{Seen, TrustFile, TrustRootSpec};

use crate::{
    break_glass::GateOrder,
    code::ControllerCode,
    order_basis::{Basis, Stands},
    order_room::{Full, Kept, in_namespace, no_room},
    resources::finding,
    state::{Key, State},
};

/// Most orders about one GitSource that are judged with a head: a good one is enough, and a dozen may be left from earlier
/// ones. At 16 signatures each they are 256 verifications, of less than 1 ms.
const MAX_ORDERS: usize = 16;
/// The rank of an order that was not judged yet and could be good.
const FRESH: u8 = 1;
/// What is added to the rank of one that cannot be good.
const CANNOT_BE_GOOD: u8 = 2;
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

/// The place of an order among others.
type Rank = (u8, Option<(Instant, Timestamp)>, Option<Reverse<Timestamp>>);

/// A BreakGlass.
#[derive(Debug)]
pub(crate) struct BreakGlassState {
    pub(crate) resource: Box<crd::BreakGlass>,
    pub(crate) answer: Answer,
    first_seen: Timestamp,
    /// The size of its object when this process saw it first, and when that was.
    bytes: usize,
    since: Instant,
    /// Its time is over: it is judged no more.
    is_over: bool,
    /// Whether it could be good, by the trust of this digest.
    sifted: Option<(Digest, bool)>,
    /// What it is judged by, or was the last time.
    basis: Basis,
}

impl BreakGlassState {
    pub(crate) fn new(resource: Box<crd::BreakGlass>, first_seen: Timestamp, bytes: usize, since: Instant) -> Self {
        Self {
            resource,
            answer: Answer::Pending,
            first_seen,
            bytes,
            since,
            is_over: false,
            sifted: None,
            basis: Basis::default(),
        }
    }

    /// Looks whether it could be good, by the trust in force. Verifies nothing.
    pub(crate) fn sift(&mut self, key: &Key, repo_id: &str, trust: &TrustFile, now: Timestamp) {
        let by = Digest::of_parts([repo_id.as_bytes(), trust.digest().as_bytes()]);
        if self.sifted.is_none_or(|(known, _)| known != by) {
            let seen = Seen { first: self.first_seen, now };
            let could = self.order(key).is_some_and(|GateOrder { order, signatures, .. }| {
                order.could_be_good(&signatures, trust, repo_id, seen)
            });
            self.sifted = Some((by, could));
        }
    }

    /// Whether it could be good, as far as that is known.
    fn could_be_good(&self) -> bool {
        self.sifted.is_none_or(|(_, could)| could)
    }

    /// Whether it was not judged yet.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.is_over && matches!(self.answer, Answer::Pending | Answer::Crowded(_))
    }

    /// It is not kept.
    pub(crate) fn has_no_room(&mut self, key: &Key, full: Full) {
        let (found, needed) = no_room(key, full);
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

    /// The GitSource that it is about.
    pub(crate) fn about(&self, key: &Key) -> Key {
        Key { namespace: key.namespace.clone(), name: self.resource.spec.source.clone() }
    }

    fn is_about(&self, key: &Key, source: &Key) -> bool {
        key.namespace == source.namespace && self.resource.spec.source == source.name
    }

    /// Good ones first; then what was not judged yet, as it was seen here, of one list as it was made; then what was refused,
    /// the newest first: it may be about a head that is still to come. What cannot be good comes after all that.
    fn rank(&self) -> Rank {
        let after = if self.could_be_good() { 0 } else { CANNOT_BE_GOOD };
        let forth = |rank| (rank, Some((self.since, self.first_seen)), None);
        match self.answer {
            Answer::Good => forth(0),
            Answer::Pending | Answer::Crowded(_) => forth(FRESH + after),
            Answer::Refused(_) | Answer::Ended(_) | Answer::Expired(_) => {
                (2 + after, None, Some(Reverse(self.first_seen)))
            }
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
        finding.fix = format!("kubectl -n {namespace} get breakglasses # then delete those that are not needed").into();
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
            Answer::Pending | Answer::Crowded(_) if !self.could_be_good() => Some((1, self.first_seen)),
            Answer::Refused(_) => Some((2, self.first_seen)),
            _ => None,
        }
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.resource.metadata
    }

    fn stands(&self) -> Stands {
        match self.answer {
            _ if self.is_over => Stands::Always,
            Answer::Pending | Answer::Crowded(_) => self.basis.of_trust(),
            _ => self.basis.of_heads(),
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
    let fresh = |(rank, _): &(Rank, GateOrder)| rank.0 == FRESH;
    let begin = readable.iter().position(fresh).unwrap_or(readable.len());
    let end = readable.iter().rposition(fresh).map_or(begin, |last| last.saturating_add(1));
    // If there are more than the good ones leave places for, the newest take half of these.
    let places = MAX_ORDERS.saturating_sub(begin);
    let newest = if end.saturating_sub(begin) > places { places / 2 } else { 0 };
    if let Some(fresh) = readable.get_mut(begin..end) {
        fresh.rotate_right(newest);
    }
    readable.into_iter().take(MAX_ORDERS).map(|(_, order)| order).collect()
}

/// Whether orders about a source wait that were not judged yet and could be good.
pub(crate) fn any_fresh(orders: &BTreeMap<Key, BreakGlassState>, source: &Key) -> bool {
    let waits = |order: &BreakGlassState| order.is_fresh() && order.could_be_good();
    in_namespace(orders, &source.namespace).any(|(key, order)| order.is_about(key, source) && waits(order))
}

/// Looks which orders about a source could be good, by the trust in force.
pub(crate) fn sift(
    orders: &mut BTreeMap<Key, BreakGlassState>,
    source: &Key,
    repo_id: &str,
    trust: &TrustFile,
    now: Timestamp,
) {
    let first = Key { namespace: source.namespace.clone(), name: String::new() };
    let beside = orders.range_mut(first..).take_while(|(key, _)| key.namespace == source.namespace);
    for (key, order) in beside.filter(|(key, order)| order.is_about(key, source)) {
        order.sift(key, repo_id, trust, now);
    }
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

impl State {
    /// The orders about a source that can be read, as many as are judged.
    pub(crate) fn orders_about(&mut self, source: &Key) -> Vec<GateOrder> {
        let now = Timestamp::now();
        if let Some((root, trust)) = self.trust_of(source) {
            sift(&mut self.break_glasses, source, &root.repo_id, &trust, now);
        }
        let (judged, basis) = (judged_about(&self.break_glasses, source, now), self.basis_of_source(source));
        let about = self.break_glasses.iter_mut().filter(|(key, order)| order.is_about(key, source));
        for (_, order) in about.filter(|(key, order)| order.is_fresh() || judged.iter().any(|one| one.key == **key)) {
            order.basis = basis;
        }
        judged
    }

    /// The trust in force for a source.
    fn trust_of(&self, source: &Key) -> Option<(Arc<TrustRootSpec>, Arc<TrustFile>)> {
        let verified = self.sources.get(source)?.verified.as_ref()?;
        Some((self.root_of(source)?, Arc::clone(&verified.trust_file)))
    }

    /// Looks whether an order could be good that is not kept yet.
    pub(crate) fn sift_order(&self, key: &Key, order: &mut BreakGlassState, now: Timestamp) {
        let source = Key { namespace: key.namespace.clone(), name: order.resource.spec.source.clone() };
        if let Some((root, trust)) = self.trust_of(&source) {
            order.sift(key, &root.repo_id, &trust, now);
            order.basis = self.basis_of_source(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::{KeyType, Keys, SigningKey};
    use trust::NAMESPACE_BREAK_GLASS;

    use super::*;

    fn key(number: usize) -> Key {
        Key { namespace: "shop".to_owned(), name: format!("order-{number:04}") }
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
            (
                key(number),
                BreakGlassState::new(Box::new(serde_json::from_value(resource).unwrap()), seen, 0, Instant::now()),
            )
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
        let of_both_ends = |old: std::ops::Range<usize>, new| [keys(new), keys(old)].concat();
        assert_eq!(judged(&orders), of_both_ends(0..8, 27..35));
        assert_eq!(tell_crowded(&mut orders, &source("config"), Timestamp::UNIX_EPOCH), keys(8..27));
        let Answer::Crowded(told) = &orders[&key(16)].answer else { panic!("it is not told") };
        assert_eq!(
            (told.code.code, told.found.as_str()),
            ("W702", "16 other orders about the GitSource are judged first")
        );
        assert!(tell_crowded(&mut orders, &source("config"), Timestamp::UNIX_EPOCH).is_empty());
        refuse(&mut orders, of_both_ends(0..8, 27..35));
        assert!(any_fresh(&orders, &source("config")) && !any_fresh(&orders, &source("other")));
        assert_eq!(judged(&orders), of_both_ends(8..16, 19..27));
        refuse(&mut orders, of_both_ends(8..16, 19..27));
        assert_eq!(judged(&orders)[..3], keys(16..19));
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

    /// One that gave way and comes again is new, however old its object is.
    #[test]
    fn an_old_object_that_comes_again_takes_no_turn_of_those_that_wait() {
        let mut orders = orders(2);
        let again = orders.remove(&key(0)).unwrap();
        orders.insert(key(0), BreakGlassState::new(again.resource, again.first_seen, 0, Instant::now()));
        assert_eq!(judged(&orders), [key(1), key(0)]);
    }

    /// Turns until this order is judged, each of which refuses what it judges; none of more than a dozen.
    fn turns_until(orders: &mut BTreeMap<Key, BreakGlassState>, wanted: &Key, trust: &TrustFile) -> Option<usize> {
        let (source, now) = (source("config"), Timestamp::UNIX_EPOCH);
        (1..=12).find(|_| {
            sift(orders, &source, "urn:shop", trust, now);
            let judged = judged_about(orders, &source, now);
            for one in &judged {
                let junk = finding(ControllerCode::A142, "BreakGlass shop/one", "nobody signed it", "a signature");
                orders.get_mut(&one.key).unwrap().answer = Answer::Refused(Box::new(junk));
            }
            judged.iter().any(|one| one.key == *wanted)
        })
    }

    #[test]
    fn junk_takes_no_turn_from_an_order_that_could_be_good() {
        let keys = Keys::new().unwrap();
        let [root, stranger] = ["root", "kim"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let file = testkit::TrustFile::team("urn:shop", &root, &root, &root).text();
        let trust = TrustFile::parse(file.as_bytes()).unwrap();
        let signature = |signer: &SigningKey| signer.sign(NAMESPACE_BREAK_GLASS, b"another order").unwrap();
        let (forged, unknown) = (signature(&root), signature(&stranger));
        // A thousand orders, and in the middle of them one that names the key of who may; the others do what `edit` does.
        let wanted = key(500);
        let flood = |edit: &dyn Fn(&mut crd::BreakGlassSpec)| {
            let mut orders = orders(1_001);
            for (key, order) in &mut orders {
                let spec = &mut order.resource.spec;
                spec.not_after = "1970-01-01T01:00:00Z".to_owned();
                spec.signatures =
                    vec![crd::DetachedSignature { principal: "root".to_owned(), signature: forged.clone() }];
                if *key != wanted {
                    edit(spec);
                }
            }
            orders
        };
        let unsigned = |spec: &mut crd::BreakGlassSpec| spec.signatures.clear();
        let by_nobody = |spec: &mut crd::BreakGlassSpec| spec.signatures[0].signature.clone_from(&unknown);
        let of_another = |spec: &mut crd::BreakGlassSpec| spec.repo_id = "urn:other".to_owned();
        let unread = |spec: &mut crd::BreakGlassSpec| spec.commit = "main".to_owned();
        for edit in [&unsigned as &dyn Fn(&mut crd::BreakGlassSpec), &by_nobody, &of_another, &unread] {
            let mut orders = flood(edit);
            assert_eq!(turns_until(&mut orders, &wanted, &trust), Some(1));
            // Junk has nobody hurry, and gives its room to what is new; what could be good does not.
            assert!(!any_fresh(&orders, &source("config")));
            let kept: Vec<bool> = orders.values().map(|order| order.spent().is_none()).collect();
            assert!(!kept.contains(&true), "all others are spent");
        }
        // Who names the key of who may is judged as well: of a thousand that were there before, none delays the newest.
        let mut orders = flood(&|_| ());
        let newest = key(1_000);
        assert_eq!(turns_until(&mut orders, &newest, &trust), Some(1));
        assert!(any_fresh(&orders, &source("config")));
        assert!(orders[&wanted].spent().is_none());
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
