//! A mirror of a remote branch or tag; the only user of `git2`.
//!
//! [`poll`] asks a server where a branch is, with one request. [`Mirror::fetch`] brings it, in a
//! short-lived child process under limits of its own ([`fetch_child`]). [`Mirror`] and [`Objects`]
//! answer what `trust` asks ([`trust::History`]) from raw objects; there is never a checkout.

mod address;
mod anchors;
mod app;
mod archive;
mod arrival;
mod attestations;
mod budget;
mod child;
mod client;
mod code;
mod compact;
mod confinement;
mod credentials;
mod error;
mod exchange;
mod fetch;
mod folders;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod heartbeats;
mod http;
mod inspection;
mod kept;
mod library;
mod memory;
mod mirror;
mod objects;
mod pins;
pub mod pktline;
mod poll;
mod pushed;
mod remote;
mod revision;
mod ssh;
mod sweep;
mod transport;
mod tree;
mod turns;
mod walk;
mod wire;

pub use address::check_url;
pub use anchors::MAX_CA_BYTES;
pub use app::App;
pub use archive::{Archive, ArchiveError, MAX_ARCHIVE_BYTES, Others, Wanted};
pub use attestations::{APPROVAL_NOTES, APPROVAL_TREE, Approvals, Attested};
pub use child::fetch_child;
pub use code::GitCode;
pub use confinement::{Confinement, confine};
pub use credentials::{ClientCertificate, Credentials, MAX_CREDENTIAL_BYTES};
pub use error::GitError;
pub use exchange::{ExchangeError, KeyProblem, Waiting};
pub use fetch::{ChildError, FetchChild};
pub use heartbeats::{HEARTBEAT_FILE, HEARTBEAT_REF, Heartbeats};
pub use mirror::{Mirror, MirrorError};
pub use objects::{
    MAX_BLOB_BYTES, MAX_COMMIT_BYTES, MAX_ENTRIES, MAX_FOLDER_BYTES, MAX_PATHS_BYTES, MAX_TREE_BYTES, Objects,
};
pub use pins::MAX_PIN_BYTES;
pub use poll::{Polled, poll};
pub use remote::{Limits, MAX_REDIRECTS, MAX_URL_BYTES, Remote, RemoteError, RemoteOptions, TrackedRef};
pub use sweep::remove_mirrors;
pub use walk::MAX_VISITED_COMMITS;
pub use wire::Fetched;
