//! The parsers of bytes from outside, for the fuzz targets alone.

use crate::{poll, remote::BranchRef, tree};

/// The names in a raw tree; `None` if it is refused.
#[must_use]
pub fn tree(raw: &[u8]) -> Option<Vec<String>> {
    Some(tree::parse(raw).ok()?.into_iter().map(|(name, _)| name).collect())
}

/// The commit that an `ls-refs` answer names for a branch; `None` if it is refused or names none.
#[must_use]
pub fn ls_refs(mut answer: &[u8], branch: &BranchRef) -> Option<trust::CommitId> {
    match poll::parse(&mut answer, branch).ok()? {
        poll::Listed::Whole(found) => found,
        poll::Listed::Cut(found) => Some(found),
    }
}
