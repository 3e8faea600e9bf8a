//! The tamper-evident log.
//!
//! Every decision is one [`Entry`], a leaf of an RFC 6962 Merkle tree whose root is signed after
//! each group of entries. The directory is a [C2SP tlog-tiles](https://c2sp.org/tlog-tiles) log that
//! third parties can verify; [`verify_dir`] does so offline.
//!
//! | in the directory | what |
//! |---|---|
//! | `checkpoint` | newest signed checkpoint: origin, size, root |
//! | `tile/<L>/<N>[.p/<W>]` | hashes, 256 to a tile |
//! | `tile/entries/<N>[.p/<W>]` | entries, 256 to a bundle, each with its length in 16 bits |
//! | `bodies/<2 hex>/<sha256>` | what is too large for an entry, named in its `digests["body"]` |
//! | `checkpoint.settled` | newest checkpoint whose files are all synced: where recovery starts |
//! | `journal` | entries with their small bodies, synced but not settled; all zeros after a clean close |
//! | `reserve` | blocks kept for when the volume is full; holds nothing |
//! | `lock` | whose lock says who writes; empty |
//!
//! Order of writes: large body → journal, with the small body in the entry's record → sync of both → small bodies, tiles,
//! bundles, `checkpoint` → (when the journal fills up, and at close) sync of those → `checkpoint.settled` → journal
//! emptied. A checkpoint is signed only over synced entries, so none is ever taken back, and no entry is in the tree
//! before its body is in place.
//!
//! The crate reads no clock (times are arguments), blocks, and depends on no other crate of writ.

mod body;
mod checkpoint;
mod committer;
mod entry;
mod error;
mod journal;
mod log;
mod merkle;
mod note;
mod proof;
mod publish;
mod reader;
mod recovery;
mod reserve;
mod shared;
mod storage;
mod tile;
mod tiles;
mod verify;
mod walk;

pub use body::BODY_LIMIT;
pub use checkpoint::Checkpoint;
pub use entry::{ENTRY_LIMIT, Entry, EntryError, EntryKind, SCHEMA};
pub use error::LogError;
pub use log::{Durability, Indexed, Log, Receipt};
pub use merkle::{Hash, ProofError, empty_root, leaf_hash, node_hash, root_of, verify_consistency, verify_inclusion};
pub use note::{LogKey, LogPublicKey, NoteError};
pub use proof::{ConsistencyProof, InclusionProof};
pub use reader::{Filter, LogReader};
pub use verify::{Mismatch, Report, VerifyError, verify_dir};
