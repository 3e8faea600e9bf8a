//! Questions about ancestry, answered from raw commit objects.
//!
//! What is asked concerns the newest commits of a long history, and the answer must not cost all of it. So a walk goes
//! from the newest commit to older ones and ends as soon as nothing that it has not seen can change the answer. Which is
//! newer is what commits claim, and decides how long a walk takes. When it may end is decided by ancestry alone: no commit
//! is an ancestor of its own ancestors. So what a merge costs grows with how far back its side took the mainline in last,
//! not with what is behind that.

mod side;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use trust::{CommitId, HistoryError};

/// The most commits that one question may visit: the longest histories of configuration
/// repositories have 100,000; ten times that takes seconds.
pub const MAX_VISITED_COMMITS: usize = 1_000_000;
/// The parents that are remembered between questions: 200,000 commits take 22 MB; usually a few hundred are asked for.
const MAX_REMEMBERED: usize = 200_000;
/// The most parents of a commit that are followed; Git's own limit for merges is 16.
const MAX_PARENTS: usize = 256;

/// How a commit's raw body is read.
pub(crate) type ReadCommit<'a> = dyn Fn(&CommitId) -> Result<Vec<u8>, HistoryError> + 'a;

/// The commits seen so far. They never change: an id names its parents.
#[derive(Default)]
pub(crate) struct Ancestry {
    known: RefCell<HashMap<CommitId, Known>>,
}

/// What a walk needs to know of a commit.
#[derive(Clone)]
struct Known {
    parents: Arc<[CommitId]>,
    /// The second at which it says that it was made; anything where it says nothing that can be read.
    made: i64,
}

impl Ancestry {
    fn known(&self, id: &CommitId, read: &ReadCommit<'_>) -> Result<Known, HistoryError> {
        if let Some(known) = self.known.borrow().get(id) {
            return Ok(known.clone());
        }
        let raw = read(id)?;
        let found = Known { parents: parents(id, &raw)?.into(), made: made(&raw) };
        let mut remembered = self.known.borrow_mut();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(*id, found.clone());
        Ok(found)
    }

    /// True if `ancestor` is `from` or can be reached from it.
    pub(crate) fn reaches(
        &self,
        from: &CommitId,
        ancestor: &CommitId,
        read: &ReadCommit<'_>,
    ) -> Result<bool, HistoryError> {
        if from == ancestor {
            return Ok(true);
        }
        let mut walk = Walk::new(self, read);
        walk.mark(from, MAINLINE)?;
        let proven = walk.prove(&[*ancestor]);
        // Who names it as a parent descends from it, whether or not it is there.
        if walk.has(ancestor, MAINLINE) { Ok(true) } else { proven.map(|()| false) }
    }
}

/// Reached from the mainline.
const MAINLINE: u64 = 1;
/// Reached from the step.
const STEP: u64 = 1 << 1;
/// Ancestors of the first of the roots; the bits above are for the others.
const FIRST_ROOT: u64 = 1 << 2;
/// How many roots have a bit.
const MAX_ROOTS: usize = 62;

/// When a walk goes on.
#[derive(Clone, Copy)]
enum Until {
    /// Until all that is left was reached from the mainline.
    Mainline,
    /// Until all that is left of the mainline are ancestors of all roots.
    Roots(u64),
    /// Until nothing of the mainline is left.
    Exhausted,
}

/// From newer commits to older ones, each passing its marks on to its parents.
struct Walk<'w> {
    ancestry: &'w Ancestry,
    read: &'w ReadCommit<'w>,
    marks: HashMap<CommitId, u64>,
    /// What has marks that its parents may lack.
    queue: BTreeSet<(i64, CommitId)>,
    until: Until,
    /// What of the queue keeps the walk from ending.
    open: HashSet<CommitId>,
}

impl<'w> Walk<'w> {
    fn new(ancestry: &'w Ancestry, read: &'w ReadCommit<'w>) -> Self {
        Self {
            ancestry,
            read,
            marks: HashMap::new(),
            queue: BTreeSet::new(),
            until: Until::Mainline,
            open: HashSet::new(),
        }
    }

    fn has(&self, id: &CommitId, mark: u64) -> bool {
        self.marks.get(id).is_some_and(|marks| marks & mark != 0)
    }

    /// Gives marks to a commit; if it lacks one of them, its parents' turn comes again.
    fn mark(&mut self, id: &CommitId, marks: u64) -> Result<(), HistoryError> {
        let known = self.marks.get(id).copied().unwrap_or_default();
        let grown = known | marks;
        if known == grown {
            return Ok(());
        }
        self.marks.insert(*id, grown);
        if self.marks.len() > MAX_VISITED_COMMITS {
            let what = format!("commits between {id} and those it is compared with");
            return Err(HistoryError::Limit { what, limit: MAX_VISITED_COMMITS as u64 });
        }
        self.queue.insert((self.ancestry.known(id, self.read)?.made, *id));
        if is_open(self.until, grown) {
            self.open.insert(*id)
        } else {
            self.open.remove(id)
        };
        Ok(())
    }

    /// Passes the marks of the newest commit on; those that came upon each parent. `None`: there is no need to.
    fn step(&mut self) -> Result<Option<Arc<[CommitId]>>, HistoryError> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let Some((_made, id)) = self.queue.pop_last() else { return Ok(None) };
        self.open.remove(&id);
        let marks = self.marks.get(&id).copied().unwrap_or_default();
        let parents = self.ancestry.known(&id, self.read)?.parents;
        for parent in parents.iter() {
            self.mark(parent, marks)?;
        }
        Ok(Some(parents))
    }

    fn go_on(&mut self, until: Until) {
        self.until = until;
        let marks = |id: &CommitId| self.marks.get(id).copied().unwrap_or_default();
        self.open = self.queue.iter().map(|(_made, id)| *id).filter(|id| is_open(until, marks(id))).collect();
    }

    /// Goes on until it is certain which of the roots (at most [`MAX_ROOTS`]), and of what descends from them, the mainline
    /// reaches: when every commit of the mainline whose parents were not looked at is an ancestor of all of them, none of
    /// them can be behind it. What is behind such a commit is one as well, so what is certain stays so when the walk goes
    /// on for other roots. Ends early at a root that is reached.
    fn prove(&mut self, roots: &[CommitId]) -> Result<(), HistoryError> {
        let all_roots = !(MAINLINE | STEP);
        self.marks.values_mut().for_each(|marks| *marks &= !all_roots);
        let mut wanted = 0;
        for (index, root) in roots.iter().enumerate().take(MAX_ROOTS) {
            wanted |= FIRST_ROOT << index;
            let parents = match self.ancestry.known(root, self.read) {
                Ok(known) => known.parents,
                // Then nothing is known to be its ancestor.
                Err(HistoryError::Missing { .. }) => Arc::default(),
                Err(error) => return Err(error),
            };
            for parent in parents.iter() {
                self.mark(parent, FIRST_ROOT << index)?;
            }
        }
        self.go_on(Until::Roots(wanted));
        while !roots.iter().any(|root| self.has(root, MAINLINE)) && self.step()?.is_some() {}
        Ok(())
    }
}

const fn is_open(until: Until, marks: u64) -> bool {
    match until {
        Until::Mainline => marks & MAINLINE == 0,
        Until::Roots(wanted) => marks & MAINLINE != 0 && marks & wanted != wanted,
        Until::Exhausted => marks & MAINLINE != 0,
    }
}

/// The parents that a raw commit names: the lines right after its tree.
pub(crate) fn parents(id: &CommitId, raw: &[u8]) -> Result<Vec<CommitId>, HistoryError> {
    let malformed = || HistoryError::Malformed { object: format!("commit {id} names a malformed parent") };
    let mut found = Vec::new();
    for line in raw.split(|byte| *byte == b'\n').skip(1) {
        let Some(text) = line.strip_prefix(b"parent ") else { break };
        let text = std::str::from_utf8(text).map_err(|_| malformed())?;
        found.push(text.parse().map_err(|_| malformed())?);
        if found.len() > MAX_PARENTS {
            return Err(HistoryError::Limit { what: format!("parents of commit {id}"), limit: MAX_PARENTS as u64 });
        }
    }
    Ok(found)
}

/// The second that the committer claims.
fn made(raw: &[u8]) -> i64 {
    let mut headers = raw.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let committer = headers.find_map(|line| line.strip_prefix(b"committer "));
    let second = committer.and_then(|person| person.rsplit(|byte| *byte == b' ').nth(1));
    second.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        collections::{BTreeMap, BTreeSet},
    };

    use proptest::prelude::*;

    use super::*;

    /// A history in memory: numbers with their parents, and when they claim to be made.
    #[derive(Default)]
    struct Graph {
        commits: BTreeMap<u32, (Vec<u32>, i64)>,
        read: Cell<usize>,
    }

    fn id(number: u32) -> CommitId {
        let bytes = number.to_be_bytes();
        CommitId::from_bytes(&[[0; 16].as_slice(), &bytes].concat()).unwrap()
    }

    fn number(id: &CommitId) -> u32 {
        u32::from_be_bytes(id.as_bytes()[16..].try_into().unwrap())
    }

    impl Graph {
        fn of<'p>(commits: impl IntoIterator<Item = (u32, &'p [u32])>) -> Self {
            let mut graph = Self::default();
            commits.into_iter().for_each(|(number, parents)| graph.put(number, parents));
            graph
        }

        /// Made as many minutes after the first as its number says.
        fn put(&mut self, number: u32, parents: &[u32]) {
            self.commits.insert(number, (parents.to_vec(), i64::from(number) * 60));
        }

        fn read(&self, commit: &CommitId) -> Result<Vec<u8>, HistoryError> {
            self.read.set(self.read.get() + 1);
            let missing = || HistoryError::Missing { object: commit.to_string() };
            let (parents, made) = self.commits.get(&number(commit)).ok_or_else(missing)?;
            let lines: String = parents.iter().map(|parent| format!("parent {}\n", id(*parent))).collect();
            let person = format!("A <a@example.com> {made} +0000");
            let head = format!("tree {}\n{lines}author {person}\ncommitter {person}\n", id(0));
            Ok(format!("{head}\nparent {}\ncommitter x <x> 1 +0000\n", id(99)).into_bytes())
        }

        fn side(&self, mainline: u32, step: u32, limit: usize) -> Result<Vec<u32>, HistoryError> {
            let found = Ancestry::default().side(&id(mainline), &id(step), limit, &|id| self.read(id))?;
            Ok(found.iter().map(number).collect())
        }

        fn reaches(&self, from: u32, ancestor: u32) -> Result<bool, HistoryError> {
            Ancestry::default().reaches(&id(from), &id(ancestor), &|id| self.read(id))
        }

        /// All that is behind a commit, and itself.
        fn behind(&self, from: u32) -> BTreeSet<u32> {
            let (mut seen, mut queue) = (BTreeSet::from([from]), vec![from]);
            while let Some(at) = queue.pop() {
                queue.extend(self.commits[&at].0.iter().filter(|parent| seen.insert(**parent)));
            }
            seen
        }

        /// What an answer reads.
        fn cost<T>(&self, ask: impl FnOnce(&Self) -> T) -> (T, usize) {
            self.read.set(0);
            (ask(self), self.read.get())
        }

        /// A mainline of so many commits.
        fn long(length: u32) -> Self {
            let mut graph = Self::default();
            (0..length).for_each(|number| graph.put(number, number.checked_sub(1).as_slice()));
            graph
        }
    }

    /// 1 ← 2 ← 3 ← 6(merge of 3, 5), 2 ← 4 ← 5, and 7 alone.
    fn graph() -> Graph {
        Graph::of([
            (1, [].as_slice()),
            (2, &[1]),
            (3, &[2]),
            (4, &[2]),
            (5, &[4]),
            (6, &[3, 5]),
            (7, &[]),
            (8, &[42]),
            (9, &[3, 7]),
        ])
    }

    #[test]
    fn side_commits_are_what_a_merge_brings() {
        assert_eq!(graph().side(3, 6, 10).unwrap(), [4, 5]);
        assert_eq!(graph().side(2, 3, 10).unwrap(), [0_u32; 0]);
        assert_eq!(graph().side(5, 6, 10).unwrap(), [3]);
        assert_eq!(graph().side(1, 3, 10).unwrap(), [2]);
        assert_eq!(graph().side(7, 3, 10).unwrap(), [1, 2]);
        assert_eq!(graph().side(3, 9, 10).unwrap(), [7]);
        assert_eq!(graph().side(3, 3, 10).unwrap(), [0_u32; 0]);
        assert_eq!(graph().side(6, 3, 10).unwrap(), [0_u32; 0]);
        assert!(matches!(graph().side(3, 6, 1), Err(HistoryError::Limit { limit: 1, .. })));
    }

    #[test]
    fn ancestors() {
        assert!(graph().reaches(6, 1).unwrap());
        assert!(graph().reaches(6, 6).unwrap());
        assert!(!graph().reaches(3, 4).unwrap());
        assert!(!graph().reaches(3, 6).unwrap());
        assert!(!graph().reaches(6, 7).unwrap());
        assert!(matches!(graph().reaches(8, 1), Err(HistoryError::Missing { .. })));
        // One that is not there is behind those that name it, and no others.
        assert!(graph().reaches(8, 42).unwrap());
        assert!(!graph().reaches(6, 42).unwrap());
    }

    #[test]
    fn a_malformed_parent_is_an_error() {
        assert!(parents(&id(1), b"tree x\nparent zz\n").is_err());
        assert_eq!(parents(&id(1), b"tree x\nauthor parent\nparent zz\n").unwrap(), []);
    }

    #[test]
    fn the_time_of_a_commit_is_its_committers() {
        assert_eq!(made(b"tree x\nauthor A <a> 1 +0000\ncommitter A B <a> 23 -0100\n\ncommitter C <c> 4 +0\n"), 23);
        for raw in [&b"tree x\n\ncommitter C <c> 4 +0\n"[..], b"", b"committer ", b"committer A <a> x +0000\n"] {
            assert_eq!(made(raw), 0);
        }
    }

    /// On top of 1,000 and of 100,000: a branch that parted lately, one that is merged again after it took the mainline in,
    /// one that is as old as the history, an octopus.
    #[test]
    fn what_is_new_does_not_cost_what_is_old() {
        let costs = [1_000, 100_000].map(|length| {
            let mut graph = Graph::long(length);
            let (head, new) = (length - 1, length);
            let put = |graph: &mut Graph, number: u32, parents: &[u32]| {
                graph.put(number, parents);
                number
            };
            let first = put(&mut graph, new, &[head - 8]);
            let second = put(&mut graph, new + 1, &[first]);
            let merge = put(&mut graph, new + 2, &[head, second]);
            let next = put(&mut graph, new + 3, &[merge]);
            let took = put(&mut graph, new + 4, &[second, merge]);
            let again = put(&mut graph, new + 5, &[next, took]);
            let tips: Vec<u32> = (0..100).map(|number| put(&mut graph, new + 10 + number, &[head - number])).collect();
            let octopus = put(&mut graph, new + 130, &[[head].as_slice(), &tips].concat());
            // Takes from the mainline now and then, was merged, and goes on.
            let mut old = put(&mut graph, new + 140, &[1]);
            for number in (1..10).map(|tenth| length / 10 * tenth) {
                old = put(&mut graph, new + 140 + number, &[old, number]);
            }
            let lately = put(&mut graph, new * 2 + 150, &[old, head - 9]);
            let merged = put(&mut graph, new * 2 + 151, &[head, lately]);
            let more = put(&mut graph, new * 2 + 152, &[lately]);
            let lived = put(&mut graph, new * 2 + 153, &[merged, more]);
            let sides = [(head, merge, 2), (next, again, 1), (head, octopus, 100), (merged, lived, 1)];
            let sides = sides.map(|(mainline, step, count)| {
                let (side, cost) = graph.cost(|graph| graph.side(mainline, step, 1_000).unwrap());
                assert_eq!(side.len(), count, "{step}");
                cost
            });
            let (apart, negative) = graph.cost(|graph| graph.reaches(head, first).unwrap());
            let (behind, positive) = graph.cost(|graph| graph.reaches(again, head - 3).unwrap());
            assert!(!apart && behind);
            (sides, negative, positive)
        });
        assert_eq!(costs[0], costs[1]);
        let (sides, negative, positive) = costs[1];
        assert!(sides.into_iter().chain([negative, positive]).all(|cost| cost < 250), "{costs:?}");
    }

    proptest! {
        /// Whatever the commits claim about their times.
        #[test]
        fn answers_are_those_of_who_looks_at_everything(
            commits in proptest::collection::vec((proptest::collection::vec(any::<u32>(), 0..4), 0..40_i64), 2..40),
            (one, other) in (any::<u32>(), any::<u32>()),
        ) {
            let mut graph = Graph::default();
            for (number, (parents, made)) in (0..).zip(&commits) {
                let below = number.max(1);
                // Parents are older; those of most are near.
                let near = |parent: &u32| if parent % 3 == 0 { parent % below } else { below - 1 - parent % below.min(4) };
                let parents: BTreeSet<u32> = parents.iter().filter(|_| number > 0).map(near).collect();
                graph.commits.insert(number, (parents.into_iter().collect(), *made));
            }
            let count = u32::try_from(commits.len()).unwrap();
            let (mainline, step) = (one % count, other % count);
            let behind = graph.behind(mainline);
            let side: Vec<u32> = graph.behind(step).into_iter().filter(|at| *at != step && !behind.contains(at)).collect();
            let side = if behind.contains(&step) { Vec::new() } else { side };
            prop_assert_eq!(graph.side(mainline, step, 40).unwrap(), side.clone());
            if let Some(limit) = side.len().checked_sub(1) {
                prop_assert!(graph.side(mainline, step, limit).is_err());
            }
            prop_assert_eq!(graph.side(mainline, step, side.len()).unwrap(), side);
            prop_assert_eq!(graph.reaches(mainline, step).unwrap(), behind.contains(&step));
        }
    }
}
