//! Questions about ancestry, answered from raw commit objects.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
};

use trust::{CommitId, HistoryError};

/// The most commits that one question may visit: the longest histories of configuration
/// repositories have 100,000; ten times that takes seconds.
pub const MAX_VISITED_COMMITS: usize = 1_000_000;
/// The parents that are remembered between questions: 200,000 commits take 16 MB; usually a few hundred are asked for.
const MAX_REMEMBERED: usize = 200_000;
/// The most parents of a commit that are followed; Git's own limit for merges is 16.
const MAX_PARENTS: usize = 256;

/// How a commit's raw body is read.
pub(crate) type ReadCommit<'a> = dyn Fn(&CommitId) -> Result<Vec<u8>, HistoryError> + 'a;

/// The parents of the commits seen so far. They never change: an id names its parents.
#[derive(Default)]
pub(crate) struct Ancestry {
    parents: RefCell<HashMap<CommitId, Vec<CommitId>>>,
}

impl Ancestry {
    fn parents(&self, id: &CommitId, read: &ReadCommit<'_>) -> Result<Vec<CommitId>, HistoryError> {
        if let Some(parents) = self.parents.borrow().get(id) {
            return Ok(parents.clone());
        }
        let found = parents(id, &read(id)?)?;
        let mut remembered = self.parents.borrow_mut();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(*id, found.clone());
        Ok(found)
    }

    /// Calls `visit` for `from` and all it reaches, breadth first, until it returns false.
    fn visit(
        &self,
        from: &CommitId,
        read: &ReadCommit<'_>,
        mut visit: impl FnMut(&CommitId) -> Result<Step, HistoryError>,
    ) -> Result<(), HistoryError> {
        let mut seen = HashSet::from([*from]);
        let mut queue = VecDeque::from([*from]);
        while let Some(id) = queue.pop_front() {
            match visit(&id)? {
                Step::Stop => return Ok(()),
                Step::Skip => continue,
                Step::Follow => {}
            }
            for parent in self.parents(&id, read)? {
                if seen.insert(parent) {
                    queue.push_back(parent);
                }
            }
            if seen.len() > MAX_VISITED_COMMITS {
                return Err(HistoryError::Limit {
                    what: format!("commits behind {from}"),
                    limit: MAX_VISITED_COMMITS as u64,
                });
            }
        }
        Ok(())
    }

    /// True if `ancestor` is `from` or can be reached from it.
    pub(crate) fn reaches(
        &self,
        from: &CommitId,
        ancestor: &CommitId,
        read: &ReadCommit<'_>,
    ) -> Result<bool, HistoryError> {
        let mut found = false;
        self.visit(from, read, |id| {
            found = id == ancestor;
            Ok(if found { Step::Stop } else { Step::Follow })
        })?;
        Ok(found)
    }

    /// Reachable from `step`, not from `mainline`, without `step`; in order of ids.
    pub(crate) fn side(
        &self,
        mainline: &CommitId,
        step: &CommitId,
        limit: usize,
        read: &ReadCommit<'_>,
    ) -> Result<Vec<CommitId>, HistoryError> {
        let parents = self.parents(step, read)?;
        // Nearly every step: nothing but the mainline behind it.
        if step == mainline || parents.iter().all(|parent| parent == mainline) {
            return Ok(Vec::new());
        }
        let mut behind = HashSet::new();
        self.visit(mainline, read, |id| {
            behind.insert(*id);
            Ok(Step::Follow)
        })?;
        let mut side = BTreeSet::new();
        self.visit(step, read, |id| {
            if behind.contains(id) {
                return Ok(Step::Skip);
            }
            if id != step {
                side.insert(*id);
            }
            if side.len() > limit {
                return Err(HistoryError::Limit { what: format!("commits that {step} merges"), limit: limit as u64 });
            }
            Ok(Step::Follow)
        })?;
        Ok(side.into_iter().collect())
    }
}

enum Step {
    Follow,
    Skip,
    Stop,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A history in memory: numbers with their parents.
    struct Graph(BTreeMap<u8, Vec<u8>>);

    fn id(number: u8) -> CommitId {
        CommitId::from_bytes(&[number; 20]).unwrap()
    }

    impl Graph {
        fn read(&self, commit: &CommitId) -> Result<Vec<u8>, HistoryError> {
            let parents =
                self.0.get(&commit.as_bytes()[0]).ok_or(HistoryError::Missing { object: commit.to_string() })?;
            let lines: String = parents.iter().map(|parent| format!("parent {}\n", id(*parent))).collect();
            Ok(format!("tree {}\n{lines}author x\n\nparent {}\n", id(0), id(99)).into_bytes())
        }

        fn side(&self, mainline: u8, step: u8, limit: usize) -> Result<Vec<u8>, HistoryError> {
            let found = Ancestry::default().side(&id(mainline), &id(step), limit, &|id| self.read(id))?;
            Ok(found.iter().map(|id| id.as_bytes()[0]).collect())
        }

        fn reaches(&self, from: u8, ancestor: u8) -> Result<bool, HistoryError> {
            Ancestry::default().reaches(&id(from), &id(ancestor), &|id| self.read(id))
        }
    }

    /// 1 ← 2 ← 3 ← 6(merge of 3, 5), 2 ← 4 ← 5, and 7 alone.
    fn graph() -> Graph {
        Graph(BTreeMap::from([
            (1, vec![]),
            (2, vec![1]),
            (3, vec![2]),
            (4, vec![2]),
            (5, vec![4]),
            (6, vec![3, 5]),
            (7, vec![]),
            (8, vec![42]),
        ]))
    }

    #[test]
    fn side_commits_are_what_a_merge_brings() {
        assert_eq!(graph().side(3, 6, 10).unwrap(), [4, 5]);
        assert_eq!(graph().side(2, 3, 10).unwrap(), [0_u8; 0]);
        assert_eq!(graph().side(5, 6, 10).unwrap(), [3]);
        assert_eq!(graph().side(1, 3, 10).unwrap(), [2]);
        assert_eq!(graph().side(7, 3, 10).unwrap(), [1, 2]);
        assert_eq!(graph().side(3, 3, 10).unwrap(), [0_u8; 0]);
        assert!(matches!(graph().side(3, 6, 1), Err(HistoryError::Limit { limit: 1, .. })));
    }

    #[test]
    fn ancestors() {
        assert!(graph().reaches(6, 1).unwrap());
        assert!(graph().reaches(6, 6).unwrap());
        assert!(!graph().reaches(3, 4).unwrap());
        assert!(!graph().reaches(6, 7).unwrap());
        assert!(matches!(graph().reaches(8, 1), Err(HistoryError::Missing { .. })));
    }

    #[test]
    fn a_malformed_parent_is_an_error() {
        assert!(parents(&id(1), b"tree x\nparent zz\n").is_err());
        assert_eq!(parents(&id(1), b"tree x\nauthor parent\nparent zz\n").unwrap(), []);
    }
}
