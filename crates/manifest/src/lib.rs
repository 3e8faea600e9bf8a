//! Kubernetes objects as data: identity, YAML in and out with positions, normalising, masking.
//!
//! A *decide* crate: no I/O, no clock, no environment. All YAML of the project passes through it.

mod code;
mod digest;
mod finding;
mod object;
mod repo_path;
mod sensitive;

pub use code::CodeEntry;
pub use digest::{Digest, ParseDigestError};
pub use finding::{Finding, Subject};
pub use object::{ClusterId, GroupKind, Object, ObjectRef, Origin, Position, Rendered, Scope};
pub use repo_path::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, RepoPath, RepoPathError};
pub use sensitive::Sensitive;
