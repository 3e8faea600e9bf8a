//! Which orders of people are kept, and when those are looked at again that are not: there was no room for them, or nobody
//! obeys what they are about. Their objects stay where they are, so a new list has them.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    mem,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use cluster::{ObjectMeta, Watch, WatchTarget, crd};
use jiff::Timestamp;
use plan::SyncRef;

use crate::{
    order_basis::{Basis, Stands},
    order_room::{Full, Kept, room_for, unspent},
    run::Target,
    state::{Key, State},
};

/// How long after a list the next one is made at the earliest, when there is room: of 10,000 orders it is 30 MB.
const ROOM_AGAIN: Duration = Duration::from_secs(60);
/// The same when something more is obeyed, which people wait for, and not everybody can bring about.
const TARGET_AGAIN: Duration = Duration::from_secs(5);
/// Most orders that were judged and gave way, of which that is known, at 8 bytes. Then all count as new.
const MAX_JUDGED: usize = 100_000;

/// Of strangers' names: nobody can make two of the same hash.
pub(crate) static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What is known of the orders of one kind that are not kept.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    watch: Option<Watch>,
    /// When the list began that is under way, and the one before.
    listing: Option<Instant>,
    listed: Option<Instant>,
    /// Namespaces with orders for which there was no room, and what those weighed then that gave none; `None`: all.
    full: BTreeMap<Option<String>, usize>,
    /// Orders about something that nobody obeyed.
    aimless: bool,
    /// What was obeyed when the list began, and what all verdicts rested on.
    targets: u64,
    basis: Basis,
    /// Objects that were judged before they gave way.
    judged: HashSet<u64>,
    /// Whether some of them are to be judged again with another trust file, and with another head.
    awaits_trust: bool,
    awaits_head: bool,
    /// Whether what the verdict about some of them rested on was another already when they gave way.
    outdated: bool,
}

/// What is so in this turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    targets: u64,
    basis: Basis,
    now: Instant,
}

impl Intake {
    /// When an order that is seen now was seen first: of those of one list none came before another.
    pub(crate) fn since(&self, now: Instant) -> Instant {
        self.listing.unwrap_or(now)
    }

    fn begins(&mut self, Turn { targets, basis, now }: Turn) {
        self.full.clear();
        (self.aimless, self.awaits_trust, self.awaits_head, self.outdated) = (false, false, false, false);
        (self.targets, self.basis) = (targets, basis);
        (self.listing, self.listed) = (Some(now), Some(now));
    }

    fn awaits(&mut self, stands: Stands) {
        match stands {
            Stands::Always => {}
            Stands::WithTrust(_) => self.awaits_trust = true,
            Stands::WithHeads(_) => self.awaits_head = true,
        }
    }

    fn has_no_room<T: Kept>(&mut self, orders: &BTreeMap<Key, T>, key: &Key, full: Full) {
        let namespace = match full {
            Full::Namespace => Some(key.namespace.clone()),
            Full::All => None,
        };
        let weight = unspent(orders, namespace.as_deref());
        let known = self.full.entry(namespace).or_default();
        *known = weight.max(*known);
    }

    /// What becomes of an order that is not among these yet.
    pub(crate) fn admit<T: Kept>(
        &mut self,
        orders: &BTreeMap<Key, T>,
        key: &Key,
        order: &T,
        is_obeyed: bool,
        basis: impl Fn(&Key, &T) -> Basis,
    ) -> Admission {
        if !is_obeyed {
            self.aimless = true;
            return Admission::Aimless;
        }
        let leaving = match room_for(orders, key, order.bytes()) {
            Ok(leaving) => leaving,
            Err(full) => {
                self.has_no_room(orders, key, full);
                return Admission::Full(full);
            }
        };
        // It makes no other give way: or the same would come and go in turns, and others never came.
        let mut verdicts = basis(key, order).standing().into_iter();
        let is_judged = |stands: &Stands| self.judged.contains(&identity(order.metadata(), *stands));
        if let Some(stands) = verdicts.find(is_judged).filter(|_| !leaving.is_empty()) {
            self.awaits(stands);
            return Admission::Judged;
        }
        for (key, order) in leaving.iter().filter_map(|key| Some((key, orders.get(key)?))) {
            if order.spent().is_none() {
                self.has_no_room(orders, key, Full::All);
                continue;
            }
            let stands = order.stands();
            if !basis(key, order).standing().contains(&stands) {
                self.outdated = true;
                continue;
            }
            if self.judged.len() >= MAX_JUDGED {
                self.judged.clear();
            }
            self.judged.insert(identity(order.metadata(), stands));
            self.awaits(stands);
        }
        Admission::Kept(leaving)
    }

    /// Whether to look again at those that are not kept.
    fn is_due<T: Kept>(&self, orders: &BTreeMap<Key, T>, Turn { targets, basis, now }: Turn) -> bool {
        let since = self.listed.map(|listed| now.saturating_duration_since(listed));
        let may = |pause: Duration| self.listing.is_none() && since.is_none_or(|since| since >= pause);
        let has_room = || self.full.iter().any(|(of, weight)| unspent(orders, of.as_deref()) < *weight);
        let is_moved = (self.awaits_trust && self.basis.of_trust() != basis.of_trust())
            || (self.awaits_head && self.basis.of_heads() != basis.of_heads());
        (self.aimless && self.targets != targets && may(TARGET_AGAIN))
            || (may(ROOM_AGAIN) && (self.outdated || is_moved || has_room()))
    }
}

/// What becomes of an order that is seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is kept, and these give way.
    Kept(Vec<Key>),
    /// It is not, since there is no room.
    Full(Full),
    /// Nobody obeys what it is about.
    Aimless,
    /// It was judged before, gave way to others, and nothing that it was judged by is another: its status says what came of it.
    Judged,
}

/// An object, what it orders, and what was said of it.
fn identity(metadata: &ObjectMeta, stands: Stands) -> u64 {
    KEYS.hash_one((&metadata.uid, metadata.generation, stands))
}

/// What is known of the orders that are not kept.
#[derive(Debug, Default)]
pub(crate) struct Intakes {
    pub(crate) rollbacks: Intake,
    pub(crate) break_glasses: Intake,
    /// What was obeyed in the last turn.
    targets: u64,
}

impl Intakes {
    /// Whether a watch is the one that is open: what another had still to say is about another list.
    pub(crate) fn is_open(&self, target: &WatchTarget) -> bool {
        let both = [&self.rollbacks, &self.break_glasses];
        let mut of_kind =
            both.iter().filter_map(|one| one.watch.as_ref()).filter(|one| one.target() == target).peekable();
        of_kind.peek().is_none() || of_kind.any(|one| std::ptr::eq(one.target(), target))
    }

    /// The list of a kind is complete.
    pub(crate) fn is_listed(&mut self, kind: &str) {
        match kind {
            "RollbackRequest" => self.rollbacks.listing = None,
            "BreakGlass" => self.break_glasses.listing = None,
            _ => {}
        }
    }
}

impl State {
    /// Begins to watch orders as soon as all is known that they may be about, and lists them again when those that are not kept
    /// may be.
    pub(crate) fn look_for_orders(&mut self) {
        if !self.knows_orders() {
            return;
        }
        let (now, targets) = (Instant::now(), self.targets());
        if mem::replace(&mut self.intakes.targets, targets) != targets {
            self.let_go_of_aimless();
        }
        let turn = Turn { targets, basis: self.basis_of_all(), now };
        let known = &self.intakes.rollbacks;
        if known.watch.is_none() || known.is_due(&self.rollbacks, turn) {
            let watch = self.list_orders(crd::RollbackRequest::target());
            self.intakes.rollbacks.watch = Some(watch);
            self.intakes.rollbacks.begins(turn);
        }
        let known = &self.intakes.break_glasses;
        if known.watch.is_none() || known.is_due(&self.break_glasses, turn) {
            let watch = self.list_orders(crd::BreakGlass::target());
            self.intakes.break_glasses.watch = Some(watch);
            self.intakes.break_glasses.begins(turn);
        }
    }

    fn list_orders(&mut self, target: WatchTarget) -> Watch {
        let watch = self.cluster.watch(target, self.events.clone());
        self.relisting.insert(Arc::new(watch.target().clone()), HashSet::new());
        watch
    }

    /// All that is obeyed and orders may be about.
    fn targets(&self) -> u64 {
        let sources = self.sources.iter().filter(|(_, source)| source.obeyed.is_some()).map(|(key, _)| key);
        let syncs = self.syncs.iter().filter(|(_, state)| !state.gone && state.obeyed.is_some()).map(|(sync, _)| sync);
        let mut hasher = KEYS.build_hasher();
        sources.for_each(|key| key.hash(&mut hasher));
        syncs.for_each(|sync| (&sync.namespace, &sync.name).hash(&mut hasher));
        hasher.finish()
    }

    pub(crate) fn is_obeyed_sync(&self, sync: &SyncRef) -> bool {
        self.syncs.get(sync).is_some_and(|state| !state.gone && state.obeyed.is_some())
    }

    pub(crate) fn is_obeyed_source(&self, source: &Key) -> bool {
        self.sources.get(source).is_some_and(|source| source.obeyed.is_some())
    }

    /// What orders are about is gone. They are told so, and take no room.
    fn let_go_of_aimless(&mut self) {
        let aimless = self.rollbacks.iter().filter(|(key, order)| !self.is_obeyed_sync(&order.about(key)));
        for key in aimless.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.intakes.rollbacks.aimless = true;
            if let Some(order) = self.rollbacks.get(&key).filter(|_| self.reporter.has_room()) {
                self.tell_rollback_request(&key, order, Timestamp::now());
            }
            self.forget_rollback(&key);
        }
        let aimless = self.break_glasses.iter().filter(|(key, order)| !self.is_obeyed_source(&order.about(key)));
        for key in aimless.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.intakes.break_glasses.aimless = true;
            if let Some(order) = self.break_glasses.get(&key).filter(|_| self.reporter.has_room()) {
                self.tell_break_glass(&key, order, Timestamp::now());
            }
            self.forget_break_glass(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use manifest::Digest;
    use serde_json::json;

    use super::*;

    struct Order {
        metadata: ObjectMeta,
        since: Instant,
        is_spent: bool,
        stands: Stands,
    }

    impl Kept for Order {
        fn bytes(&self) -> usize {
            3 << 10
        }

        fn spent(&self) -> Option<(u8, Timestamp)> {
            self.is_spent.then_some((0, Timestamp::UNIX_EPOCH))
        }

        fn since(&self) -> Instant {
            self.since
        }

        fn metadata(&self) -> &ObjectMeta {
            &self.metadata
        }

        fn stands(&self) -> Stands {
            self.stands
        }
    }

    /// A cluster with objects in one namespace, on a clock of our own.
    struct World {
        intake: Intake,
        objects: Vec<Key>,
        kept: BTreeMap<Key, Order>,
        judged: HashSet<Key>,
        basis: Basis,
        /// Whether a verdict stands until trust is another, or until there is another head.
        stands: fn(Basis) -> Stands,
        now: Instant,
    }

    impl World {
        fn new(objects: usize) -> Self {
            let key = |number| Key { namespace: "shop".to_owned(), name: format!("order-{number:05}") };
            let objects = (0..objects).map(key).collect();
            let (kept, judged, now) = (BTreeMap::new(), HashSet::new(), Instant::now());
            let (basis, stands) = (Basis::default(), Basis::of_heads as fn(Basis) -> Stands);
            Self { intake: Intake::default(), objects, kept, judged, basis, stands, now }
        }

        fn see(&mut self, key: &Key, is_obeyed: bool) -> Admission {
            let metadata = json!({"uid": key.name, "generation": 1});
            let metadata = serde_json::from_value(metadata).unwrap();
            let order = Order { metadata, since: self.intake.since(self.now), is_spent: false, stands: Stands::Always };
            let basis = self.basis;
            let admission = self.intake.admit(&self.kept, key, &order, is_obeyed, |_, _| basis);
            if let Admission::Kept(leaving) = &admission {
                self.kept.retain(|key, _| !leaving.contains(key));
                self.kept.insert(key.clone(), order);
            }
            admission
        }

        fn turn(&self, targets: u64, later: u64) -> Turn {
            Turn { targets, basis: self.basis, now: self.now + Duration::from_secs(later) }
        }

        fn list(&mut self, targets: u64) {
            self.intake.begins(self.turn(targets, 0));
            for key in self.objects.clone() {
                if !self.kept.contains_key(&key) {
                    self.see(&key, targets > 0);
                }
            }
            self.intake.listing = None;
        }

        /// An order is judged each second and refused; lists are made as they are due. Returns how many.
        fn run(&mut self, seconds: u64) -> usize {
            let lists = (0..seconds).filter(|_| {
                self.now += Duration::from_secs(1);
                let next = self.kept.iter_mut().filter(|(_, order)| !order.is_spent);
                if let Some((key, order)) = next.min_by_key(|(key, order)| (order.since, key.name.clone())) {
                    (order.is_spent, order.stands) = (true, (self.stands)(self.basis));
                    self.judged.insert(key.clone());
                }
                let is_due = self.intake.is_due(&self.kept, self.turn(1, 0));
                if is_due {
                    self.list(1);
                }
                is_due
            });
            lists.count()
        }
    }

    /// However many orders are there, after a start or before: each is judged once before any is judged again, and then
    /// nothing is listed any more.
    #[test]
    fn all_orders_come_to_be_judged_and_then_it_is_quiet() {
        let mut world = World::new(1_000);
        world.list(1);
        assert_eq!(world.kept.len(), 204);
        world.run(1_020);
        assert_eq!(world.judged.len(), 1_000);
        assert_eq!(world.run(3_600), 0);
    }

    /// What an order lacked may be there with the next trust file or head: each comes to be judged once more, however many
    /// gave way, and then it is quiet again. What no head changes is left alone until trust is another.
    #[test]
    fn what_gave_way_is_judged_again_when_what_it_was_judged_by_is_another() {
        let commit = |text: &str| Some(text.repeat(40).parse().unwrap());
        let trust = |text: &str| Some(Digest::of(text.as_bytes()));
        let head = Basis::new(trust("one"), &[commit("a")]);
        let moves = [Basis::new(trust("one"), &[commit("b")]), Basis::new(trust("two"), &[commit("b")])];
        for (stands, again) in [
            (Basis::of_heads as fn(Basis) -> Stands, [1_000; 2]),
            (Basis::of_trust, [0, 1_000]),
            (|_| Stands::Always, [0; 2]),
        ] {
            let mut world = World::new(1_000);
            (world.basis, world.stands) = (head, stands);
            world.list(1);
            world.run(1_020);
            for (basis, again) in moves.into_iter().zip(again) {
                world.basis = basis;
                world.judged.clear();
                // As those that are kept are judged again after a while.
                let outdated = world.kept.values_mut().filter(|order| !basis.standing().contains(&order.stands));
                outdated.for_each(|order| order.is_spent = false);
                world.run(3_600);
                assert_eq!((world.judged.len(), world.run(3_600)), (again, 0));
            }
        }
    }

    /// What nobody obeys takes no room, and is looked at as soon as somebody does.
    #[test]
    fn what_is_about_nothing_is_not_kept() {
        let mut world = World::new(300);
        world.list(0);
        assert!(world.kept.is_empty() && !world.intake.is_due(&world.kept, world.turn(0, 3_600)));
        let good = Key { namespace: "shop".to_owned(), name: "good".to_owned() };
        assert_eq!(world.see(&good, true), Admission::Kept(Vec::new()));
        assert!(!world.intake.is_due(&world.kept, world.turn(1, 0)));
        assert_eq!(world.run(4), 0);
        assert_eq!(world.run(1), 1);
        assert_eq!(world.kept.len(), 204);
    }

    /// An order without room is not forgotten: it is kept as soon as there is some.
    #[test]
    fn who_finds_no_room_comes_when_there_is_some() {
        let mut world = World::new(204);
        world.list(1);
        let good = Key { namespace: "shop".to_owned(), name: "z-good".to_owned() };
        assert_eq!(world.see(&good, true), Admission::Full(Full::Namespace));
        world.objects.push(good.clone());
        assert!(!world.intake.is_due(&world.kept, world.turn(1, 3_600)));
        world.run(61);
        assert!(world.kept.contains_key(&good) && !world.judged.contains(&good));
    }

    /// One that gave way, and is touched, comes after all that wait.
    #[test]
    fn who_comes_again_is_the_last() {
        let mut world = World::new(204);
        world.list(1);
        let last = world.objects[203].clone();
        for turn in 0..203 {
            world.run(1);
            let touched = world.objects[turn].clone();
            world.kept.remove(&touched);
            world.see(&touched, true);
        }
        world.run(1);
        assert!(world.judged.contains(&last));
    }
}
