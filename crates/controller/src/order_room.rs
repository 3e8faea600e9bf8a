//! How many orders of people are kept. Anybody with the right to make objects may write them, as many and as large as the API
//! server takes.

use std::collections::BTreeMap;

use cluster::{
    ObjectMeta,
    crd::{Custom, CustomSpec},
};
use jiff::Timestamp;
use plan::INSTANCE_LABEL;

use crate::state::Key;

/// Most bytes of the orders of one kind, of 430 MiB that there are for everything.
const ROOM: usize = 16 << 20;
/// Most bytes of those in one namespace: 200 with two signatures, or seven as large as the schema allows. Whoever fills it keeps
/// nobody else's out.
const ROOM_OF_NAMESPACE: usize = 1 << 20;
/// What each takes beside its text: its status, most of it.
const EACH: usize = 2_048;

/// An order that is kept.
pub(crate) trait Kept {
    /// The size of its object when it was seen first.
    fn bytes(&self) -> usize;

    /// Whether it may be forgotten for a new one: it was judged, and is not obeyed. The least goes first.
    fn spent(&self) -> Option<(u8, Timestamp)>;
}

/// Those of one namespace.
pub(crate) fn in_namespace<'a, T>(
    orders: &'a BTreeMap<Key, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a T)> {
    let first = Key { namespace: namespace.to_owned(), name: String::new() };
    orders.range(first..).take_while(move |(key, _)| key.namespace == namespace)
}

/// Which orders of its namespace are forgotten for one of this size; nothing if there is no room for it all the same.
pub(crate) fn room_for<T: Kept>(orders: &BTreeMap<Key, T>, key: &Key, bytes: usize) -> Option<Vec<Key>> {
    let weight = |order: &T| order.bytes().saturating_add(EACH);
    // Another state of it gives way.
    let others = || orders.iter().filter(|(other, _)| *other != key);
    let beside = || in_namespace(orders, &key.namespace).filter(|(other, _)| *other != key);
    let mut all: usize = others().map(|(_, order)| weight(order)).sum();
    let mut own: usize = beside().map(|(_, order)| weight(order)).sum();
    let fits = |all: usize, own: usize| {
        let new = bytes.saturating_add(EACH);
        all.saturating_add(new) <= ROOM && own.saturating_add(new) <= ROOM_OF_NAMESPACE
    };
    if fits(all, own) {
        return Some(Vec::new());
    }
    let mut spent: Vec<_> = beside().filter_map(|(key, order)| Some((order.spent()?, key, weight(order)))).collect();
    spent.sort_unstable();
    let mut forgotten = Vec::new();
    for (_, key, freed) in spent {
        (all, own) = (all.saturating_sub(freed), own.saturating_sub(freed));
        forgotten.push(key.clone());
        if fits(all, own) {
            return Some(forgotten);
        }
    }
    None
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
pub(crate) fn no_room(key: &Key) -> (String, String) {
    let found = format!("the orders in namespace {} take all the room that there is for them", key.namespace);
    (found, "at most 1 MiB of them; then make it again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Order(usize, Option<u8>);

    impl Kept for Order {
        fn bytes(&self) -> usize {
            self.0
        }

        fn spent(&self) -> Option<(u8, Timestamp)> {
            Some((self.1?, Timestamp::UNIX_EPOCH))
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
            let Some(forgotten) = room_for(orders, &key, bytes) else { continue };
            for key in forgotten {
                orders.remove(&key);
            }
            orders.insert(key, Order(bytes, spent));
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
        assert_eq!(room_for(&orders, &key("junk", "more"), 3 << 10), None);
        // Another state of one that is kept takes its place.
        assert_eq!(room_for(&orders, &key("junk", "order-00000"), 3 << 10), Some(Vec::new()));
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

    #[test]
    fn all_together_are_bounded() {
        let mut orders = BTreeMap::new();
        for namespace in 0..40 {
            flood(&mut orders, &format!("junk-{namespace}"), 10, 128 << 10, None);
        }
        let all: usize = orders.values().map(|order| order.bytes() + EACH).sum();
        assert!(all <= ROOM && all > ROOM - (130 << 10), "{all}");
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
