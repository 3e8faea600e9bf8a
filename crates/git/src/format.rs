//! The two object formats, and ids as libgit2 has them.
//!
//! libgit2 takes the length of an id from the id itself where it looks for an object, and writes it where there is room for one
//! of the repository: an id of the other format must never get there.

use git2::Oid;
use trust::{CommitId, ObjectFormat, TagId, TreeId};

/// The format that a repository names its objects by.
pub(crate) const fn of(format: git2::ObjectFormat) -> ObjectFormat {
    match format {
        git2::ObjectFormat::Sha1 => ObjectFormat::Sha1,
        git2::ObjectFormat::Sha256 => ObjectFormat::Sha256,
    }
}

/// The same for libgit2.
pub(crate) const fn for_git2(format: ObjectFormat) -> git2::ObjectFormat {
    match format {
        ObjectFormat::Sha1 => git2::ObjectFormat::Sha1,
        ObjectFormat::Sha256 => git2::ObjectFormat::Sha256,
    }
}

/// libgit2's form of the id of a commit; `None` for one of the other format.
pub(crate) fn oid(id: &CommitId, format: ObjectFormat) -> Option<Oid> {
    if id.format() == format { Oid::from_bytes(id.as_bytes()).ok() } else { None }
}

/// The same of a tag object.
pub(crate) fn tag_oid(id: &TagId, format: ObjectFormat) -> Option<Oid> {
    if id.format() == format { Oid::from_bytes(id.as_bytes()).ok() } else { None }
}

/// The id of any object in hex; `None` for anything else, and for one of the other format.
pub(crate) fn parse_oid(hex: &str, format: ObjectFormat) -> Option<Oid> {
    let id: TreeId = hex.parse().ok()?;
    if id.format() == format { Oid::from_bytes(id.as_bytes()).ok() } else { None }
}
