//! What a person names: revisions and ranges of a local repository, as object ids.
//!
//! libgit2 refuses to look up a commit that it cannot parse, and parses more leniently than is safe.
//! Here names become ids without parsing where the syntax allows it, so that a malformed commit is
//! found and refused with its code instead of being "missing".

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
};

use git2::{ObjectType, Oid};
use trust::{CommitId, Head, History as _, HistoryError, TagId};

use crate::{
    exchange::quoted,
    format::{self, oid},
    objects::Objects,
    walk::{MAX_VISITED_COMMITS, parents},
};

/// The tags that are followed to a commit: a tag of a tag exists, more is made up.
const MAX_TAGS: usize = 8;
/// The most that is read of where a shallow history ends: 100,000 commits of 65 bytes.
const MAX_SHALLOW_BYTES: u64 = 6_500_000;
/// The fewest digits of an id that name an object, as with Git.
const MIN_ABBREVIATION: usize = 4;

impl Objects {
    /// The commit that a revision names (`main`, `HEAD~2`, an id, a tag).
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, HistoryError> {
        let missing = || HistoryError::Missing { object: format!("revision \"{}\"", quoted(revision)) };
        let mut id = self.name_to_id(revision).ok_or_else(missing)?;
        let odb = self.repository().odb().map_err(|error| HistoryError::Read { reason: quoted(error.message()) })?;
        for _tag in 0..MAX_TAGS {
            match odb.read_header(id).map_err(|_| missing())?.1 {
                ObjectType::Commit => return CommitId::from_bytes(id.as_bytes()).map_err(|_| missing()),
                ObjectType::Tag => {
                    id = self.repository().find_tag(id).map_err(|_| missing())?.target_id();
                }
                _ => return Err(missing()),
            }
        }
        Err(missing())
    }

    /// The same with the tag object, if the revision names one.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn head(&self, revision: &str) -> Result<Head, HistoryError> {
        let commit = self.resolve(revision)?;
        let odb = self.repository().odb().map_err(|error| HistoryError::Read { reason: quoted(error.message()) })?;
        let tag =
            self.name_to_id(revision).filter(|id| odb.read_header(*id).is_ok_and(|(_, kind)| kind == ObjectType::Tag));
        Ok(Head { commit, tag: tag.and_then(|id| TagId::from_bytes(id.as_bytes()).ok()) })
    }

    /// The commits that a revision or a range names: of `A..B` all that `B` reaches and `A` does not,
    /// parents before their children; an empty side is `HEAD`. Anything else names one commit.
    ///
    /// # Errors
    /// When a revision is not there, history is incomplete, or more than [`MAX_VISITED_COMMITS`] are reached.
    pub fn commits(&self, revision: &str) -> Result<Vec<CommitId>, HistoryError> {
        let Some((from, to)) = revision.split_once("..") else { return Ok(vec![self.resolve(revision)?]) };
        if to.starts_with('.') {
            let reason = format!("\"{}\" is a symmetric difference; only A..B is supported", quoted(revision));
            return Err(HistoryError::Read { reason });
        }
        let side = |name: &str| self.resolve(if name.is_empty() { "HEAD" } else { name });
        let (from, to) = (side(from)?, side(to)?);
        let behind: HashSet<CommitId> = self.oldest_first(from, &HashSet::new())?.into_iter().collect();
        self.oldest_first(to, &behind)
    }

    /// Whether the parents of a commit are commits of this repository. Where the history of a shallow repository ends, they
    /// are allowed to be missing, as Git has it.
    ///
    /// # Errors
    /// When one is another object or, elsewhere, missing.
    pub fn check_parents(&self, commit: &CommitId, parents: &[CommitId]) -> Result<(), HistoryError> {
        for parent in parents {
            match self.commit(parent) {
                Ok(Some(_)) => {}
                Ok(None) if self.is_boundary(commit)? => {}
                Ok(None) => return Err(HistoryError::Missing { object: format!("its parent, commit {parent},") }),
                Err(HistoryError::Malformed { object }) => {
                    return Err(HistoryError::Malformed { object: format!("its parent {object}") });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the history of a shallow repository ends at a commit.
    fn is_boundary(&self, commit: &CommitId) -> Result<bool, HistoryError> {
        let failed = |error: io::Error| HistoryError::Read { reason: format!("the file shallow: {error}") };
        let file = match File::open(self.repository().commondir().join("shallow")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(MAX_SHALLOW_BYTES).read_to_string(&mut text).map_err(failed)?;
        let id = commit.to_string();
        Ok(text.lines().any(|line| line == id))
    }

    fn name_to_id(&self, revision: &str) -> Option<Oid> {
        let repository = self.repository();
        // libgit2 takes it for HEAD; here it is an unset variable of a script.
        if revision.is_empty() {
            return None;
        }
        // A full id names the object whether or not libgit2 can parse it; so do refs.
        let full = revision.parse::<CommitId>().ok().and_then(|id| oid(&id, self.format()));
        if full.is_some() {
            return full;
        }
        let reference = repository.resolve_reference_from_short_name(revision);
        if let Some(target) = reference.and_then(|found| found.resolve()).ok().and_then(|found| found.target()) {
            return Some(target);
        }
        // Only then what libgit2 must parse: `HEAD~2`, `main^{commit}`.
        self.abbreviated(revision).or_else(|| repository.revparse_single(revision).map(|object| object.id()).ok())
    }

    /// The one object whose id starts with these digits.
    fn abbreviated(&self, digits: &str) -> Option<Oid> {
        let most = 2 * self.format().id_bytes();
        if !(MIN_ABBREVIATION..=most).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let prefix = Oid::from_str_ext(digits, format::for_git2(self.format()));
        self.repository().odb().and_then(|odb| odb.exists_prefix(prefix?, digits.len())).ok()
    }

    /// Everything a commit reaches outside `behind`, parents before children.
    fn oldest_first(&self, head: CommitId, behind: &HashSet<CommitId>) -> Result<Vec<CommitId>, HistoryError> {
        let mut order = Vec::new();
        // True once all parents of a commit are on the stack above it.
        let mut expanded: HashMap<CommitId, bool> = HashMap::new();
        let mut stack = vec![head];
        while let Some(id) = stack.last().copied() {
            match expanded.get(&id) {
                None if !behind.contains(&id) => match self.parents_of(&id) {
                    // The first parent is pushed last: its history comes first, as along a mainline.
                    Ok(parents) => {
                        expanded.insert(id, false);
                        let unseen = parents.into_iter().rev();
                        stack.extend(unseen.filter(|parent| !expanded.contains_key(parent)));
                    }
                    // It is no commit. Whichever has it as its parent is refused for that.
                    Err(HistoryError::Malformed { .. }) if id != head => {
                        expanded.insert(id, true);
                        stack.pop();
                    }
                    Err(error) => return Err(error),
                },
                Some(false) => {
                    expanded.insert(id, true);
                    order.push(id);
                    stack.pop();
                }
                Some(true) | None => _ = stack.pop(),
            }
            if expanded.len() > MAX_VISITED_COMMITS {
                let what = format!("commits behind {head}");
                return Err(HistoryError::Limit { what, limit: MAX_VISITED_COMMITS as u64 });
            }
        }
        Ok(order)
    }

    /// Parents of a commit; none of one whose parents are malformed, which no judgement accepts.
    fn parents_of(&self, id: &CommitId) -> Result<Vec<CommitId>, HistoryError> {
        let missing = || HistoryError::Missing { object: format!("commit {id}") };
        let raw = self.commit(id)?.ok_or_else(missing)?;
        Ok(parents(id, &raw).unwrap_or_default())
    }
}
