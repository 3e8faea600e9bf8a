//! The parsers of bytes from outside, for the fuzz targets alone.

use trust::ObjectFormat;

use crate::{
    poll,
    remote::{Tracked, TrackedRef},
    ssh, tree,
};

fn tracked(branch: &TrackedRef) -> Tracked {
    Tracked { reference: branch.clone(), format: ObjectFormat::Sha1 }
}

/// The names in a raw tree; `None` if it is refused.
#[must_use]
pub fn tree(raw: &[u8]) -> Option<Vec<String>> {
    Some(tree::parse(raw, ObjectFormat::Sha1).ok()?.into_iter().map(|(name, _)| name).collect())
}

/// The commit that an `ls-refs` answer names for a branch; `None` if it is refused or names none.
#[must_use]
pub fn ls_refs(mut answer: &[u8], branch: &TrackedRef) -> Option<trust::CommitId> {
    poll::parse(&mut answer, &tracked(branch)).ok()?.found().head
}

/// The commit that the refs of an ssh server name for a branch; `None` if they are refused or name none.
#[must_use]
pub fn advertised(mut answer: &[u8], branch: &TrackedRef) -> Option<trust::CommitId> {
    ssh::advertised(&mut answer, &tracked(branch)).ok()?.polled.head
}

/// How many lines of a `known_hosts` text are about a server; `None` if it is refused.
#[must_use]
pub fn known_hosts(text: &str, host: &str) -> Option<usize> {
    Some(ssh::KnownHosts::parse(text).ok()?.about(host))
}
