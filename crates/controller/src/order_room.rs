//! How many orders of people are kept. Anybody with the right to make objects may write them, as many and as large as the API
//! server takes.

use std::{cmp::Reverse, collections::BTreeMap, time::Instant};

use cluster::{
    ObjectMeta,
    crd::{Custom, CustomSpec},
};
use jiff::Timestamp;
use plan::INSTANCE_LABEL;

use crate::{order_basis::Stands, state::Key};

/// Most bytes of the orders of one kind, of 430 MiB that there are for everything.
const ROOM: usize = 16 << 20;
/// Most bytes of those in one namespace: 200 with two signatures, or seven as large as the schema allows. Seventeen that are
/// full share the room for all.
const ROOM_OF_NAMESPACE: usize = 1 << 20;
/// What each takes beside its text: its status, most of it.
const EACH: usize = 2_048;

/// An order that is kept.
pub(crate) trait Kept {
    /// The size of its object when it was seen first.
    fn bytes(&self) -> usize;

    /// Whether it may be forgotten for a new one: it was judged, and is not obeyed. The least goes first.
    fn spent(&self) -> Option<(u8, Timestamp)>;

    /// When this process saw it first.
    fn since(&self) -> Instant;

    /// Which object it is.
    fn metadata(&self) -> &ObjectMeta;

    /// As long as what the verdict stands of one that may be forgotten.
    fn stands(&self) -> Stands;
}

/// Why an order is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Those of its namespace take all that there is for a namespace.
    Namespace,
    /// Those of all namespaces take all that there is, and no other namespace has more than its own.
    All,
}

/// Those of one namespace.
pub(crate) fn in_namespace<'a, T>(
    orders: &'a BTreeMap<Key, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a T)> {
    let first = Key { namespace: namespace.to_owned(), name: String::new() };
    orders.range(first..).take_while(move |(key, _)| key.namespace == namespace)
}

fn weight<T: Kept>(order: &T) -> usize {
    order.bytes().saturating_add(EACH)
}

/// What those weigh that give way to no other of their namespace, here or everywhere.
pub(crate) fn unspent<T: Kept>(orders: &BTreeMap<Key, T>, namespace: Option<&str>) -> usize {
    let weigh = |order: &T| if order.spent().is_some() { 0 } else { weight(order) };
    match namespace {
        Some(namespace) => in_namespace(orders, namespace).map(|(_, order)| weigh(order)).sum(),
        None => orders.values().map(weigh).sum(),
    }
}

/// Which orders are forgotten for one of this size: of its own namespace what is spent; where all is full, of the namespace
/// that has most what is spent, and then what came last.
pub(crate) fn room_for<T: Kept>(orders: &BTreeMap<Key, T>, key: &Key, bytes: usize) -> Result<Vec<Key>, Full> {
    let new = bytes.saturating_add(EACH);
    // Another state of it gives way.
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    for (other, order) in orders.iter().filter(|(other, _)| *other != key) {
        let of_namespace = kept.entry(&other.namespace).or_default();
        *of_namespace = of_namespace.saturating_add(weight(order));
    }
    let of_namespace = kept.entry(&key.namespace).or_default();
    *of_namespace = of_namespace.saturating_add(new);
    let mut own = *of_namespace;
    let mut all: usize = kept.values().sum();
    let (mut forgotten, mut leaving) = (Vec::new(), Leaving::default());
    while own > ROOM_OF_NAMESPACE {
        let (gone, freed) = leaving.next(orders, key, &key.namespace, false).ok_or(Full::Namespace)?;
        (own, all) = (own.saturating_sub(freed), all.saturating_sub(freed));
        forgotten.push(gone);
    }
    kept.insert(&key.namespace, own);
    while all > ROOM {
        let most = kept.iter().max_by_key(|(namespace, kept)| (**kept, **namespace == key.namespace));
        let Some((namespace, others)) = most.map(|(namespace, kept)| (*namespace, *kept)) else { break };
        let others_too = namespace != key.namespace;
        let (gone, freed) = leaving.next(orders, key, namespace, others_too).ok_or(Full::All)?;
        kept.insert(namespace, others.saturating_sub(freed));
        all = all.saturating_sub(freed);
        forgotten.push(gone);
    }
    Ok(forgotten)
}

/// Those of each namespace that may be forgotten, the first last.
#[derive(Default)]
struct Leaving<'a>(BTreeMap<&'a str, Vec<(&'a Key, usize)>>);

impl<'a> Leaving<'a> {
    /// The next of a namespace, and what it weighs.
    fn next<T: Kept>(
        &mut self,
        orders: &'a BTreeMap<Key, T>,
        new: &Key,
        namespace: &'a str,
        unspent_too: bool,
    ) -> Option<(Key, usize)> {
        let those = self.0.entry(namespace).or_insert_with(|| {
            let others = in_namespace(orders, namespace).filter(|(key, _)| *key != new);
            let may_go = others.filter(|(_, order)| unspent_too || order.spent().is_some());
            let rank = |order: &T| {
                let spent = order.spent();
                (spent.is_none(), spent, spent.is_none().then(|| Reverse(order.since())))
            };
            let mut those: Vec<_> = may_go.map(|(key, order)| (rank(order), key, weight(order))).collect();
            those.sort_unstable_by(|one, other| other.cmp(one));
            those.into_iter().map(|(_, key, weight)| (key, weight)).collect()
        });
        those.pop().map(|(key, weight)| (key.clone(), weight))
    }
}

/// The object without what nobody reads of it: what is kept does not grow but for our own status.
pub(crate) fn slim<S>(resource: Custom<S>) -> Box<Custom<S>>
where
    S: CustomSpec + std::fmt::Debug + Clone + PartialEq,
    S::Status: std::fmt::Debug,
{
    let ObjectMeta { name, namespace, uid, generation, creation_timestamp, labels, .. } = resource.metadata;
    let labels = labels.map(|mut labels| {
        labels.retain(|name, _| name == INSTANCE_LABEL);
        labels
    });
    let metadata = ObjectMeta { name, namespace, uid, generation, creation_timestamp, labels, ..ObjectMeta::default() };
    Box::new(Custom { metadata, ..resource })
}

/// What its finding says of one that is not kept, as found and as needed.
pub(crate) fn no_room(key: &Key, full: Full) -> (String, String) {
    let found = match full {
        Full::Namespace => {
            format!("the orders in namespace {} take all the room that there is for them, 1 MiB", key.namespace)
        }
        Full::All => format!(
            "the orders in all namespaces take all the room that there is for them, 16 MiB, and none has more of it than {}",
            key.namespace
        ),
    };
    (found, "fewer of them; it is looked at again when there is room".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Order(usize, Option<u8>, Instant);

    impl Kept for Order {
        fn bytes(&self) -> usize {
            self.0
        }

        fn spent(&self) -> Option<(u8, Timestamp)> {
            Some((self.1?, Timestamp::UNIX_EPOCH))
        }

        fn since(&self) -> Instant {
            self.2
        }

        fn metadata(&self) -> &ObjectMeta {
            unreachable!("nothing asks for it")
        }

        fn stands(&self) -> Stands {
            unreachable!("nothing asks for it")
        }
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Writes this many orders; returns how many are kept.
    fn flood(
        orders: &mut BTreeMap<Key, Order>,
        namespace: &str,
        count: usize,
        bytes: usize,
        spent: Option<u8>,
    ) -> usize {
        for number in 0..count {
            let key = key(namespace, &format!("order-{number:05}"));
            let Ok(forgotten) = room_for(orders, &key, bytes) else { continue };
            for key in forgotten {
                orders.remove(&key);
            }
            orders.insert(key, Order(bytes, spent, Instant::now()));
        }
        in_namespace(orders, namespace).count()
    }

    #[test]
    fn a_namespace_full_of_orders_keeps_none_of_another_out() {
        let mut orders = BTreeMap::new();
        assert_eq!(flood(&mut orders, "junk", 2_000, 3 << 10, None), 204);
        assert_eq!(flood(&mut orders, "large", 100, 128 << 10, None), 7);
        assert_eq!(flood(&mut orders, "shop", 10, 3 << 10, None), 10);
        // Its own are not thrown away for others that nobody judged.
        assert_eq!(room_for(&orders, &key("junk", "more"), 3 << 10), Err(Full::Namespace));
        // Another state of one that is kept takes its place.
        assert_eq!(room_for(&orders, &key("junk", "order-00000"), 3 << 10), Ok(Vec::new()));
    }

    #[test]
    fn nothing_is_kept_that_nobody_reads() {
        let resource = serde_json::json!({
            "apiVersion": "writ.dev/v1alpha1", "kind": "BreakGlass",
            "metadata": {
                "namespace": "shop", "name": "urgent", "uid": "u", "generation": 1, "annotations": {"a": "x"},
                "labels": {"writ.dev/instance": "one", "other": "x"}, "finalizers": ["x/y"],
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "source": "config", "repoId": "urn:shop", "commit": "a".repeat(40), "payloadSha256": "b".repeat(64),
                "reason": "down", "notAfter": "2026-01-01T01:00:00Z", "signatures": [],
            },
        });
        let kept = slim::<cluster::crd::BreakGlassSpec>(serde_json::from_value(resource).unwrap());
        let metadata = serde_json::json!({
            "namespace": "shop", "name": "urgent", "uid": "u", "generation": 1, "labels": {INSTANCE_LABEL: "one"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        assert_eq!(serde_json::to_value(&kept.metadata).unwrap(), metadata);
    }

    /// However many namespaces are full, one that has less than its share keeps what it has, and gets more.
    #[test]
    fn all_together_are_bounded_and_shared() {
        let mut orders = BTreeMap::new();
        for namespace in 0..40 {
            flood(&mut orders, &format!("junk-{namespace:02}"), 204, 3 << 10, None);
        }
        let all = |orders: &BTreeMap<Key, Order>| orders.values().map(|order| order.bytes() + EACH).sum::<usize>();
        assert!(all(&orders) <= ROOM && all(&orders) > ROOM - (16 << 10), "{}", all(&orders));
        assert_eq!(flood(&mut orders, "shop", 10, 3 << 10, None), 10);
        let share = |namespace: &str| in_namespace(&orders, namespace).count();
        let shares: Vec<usize> = (0..40).map(|namespace| share(&format!("junk-{namespace:02}"))).collect();
        assert!(shares.iter().all(|share| (80..=84).contains(share)), "{shares:?}");
        // The first that came there are there, and who has most gets no more.
        assert!(
            orders.contains_key(&key("junk-00", "order-00000")) && !orders.contains_key(&key("junk-00", "order-00203"))
        );
        let most = (0..40).max_by_key(|namespace| shares[*namespace]).unwrap();
        assert_eq!(room_for(&orders, &key(&format!("junk-{most:02}"), "more"), 12 << 10), Err(Full::All));
    }

    #[test]
    fn what_is_refused_gives_way_to_what_is_new() {
        let mut orders = BTreeMap::new();
        assert_eq!(flood(&mut orders, "shop", 204, 3 << 10, Some(1)), 204);
        orders.get_mut(&key("shop", "order-00099")).unwrap().1 = Some(0);
        orders.get_mut(&key("shop", "order-00000")).unwrap().1 = None;
        let forgotten = room_for(&orders, &key("shop", "new"), 8 << 10).unwrap();
        assert_eq!(forgotten, [key("shop", "order-00099"), key("shop", "order-00001")]);
    }
}
