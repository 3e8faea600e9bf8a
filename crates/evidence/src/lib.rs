//! Signatures whose keys are vouched for by others, checked with what those others published.
//!
//! So far: keyless signatures of commits and tags, as gitsign makes them in its offline mode, and of everything else in Sigstore
//! bundles. The trust root is built in, given, or fetched from a TUF repository ([`TufRepository`]), if the TrustRoot says so;
//! nothing else ever asks a server.
//!
//! The crate `cms` splits a message of gitsign into its parts and `sigstore-verify` says what certificate, log entry and time are
//! worth. What neither looks at is looked at here (of a bundle, in `bundle`): that there is one signer with one certificate, that
//! nothing can be put in or left out without breaking the one form (so that a signature fits few objects), that the signed attributes are
//! about these bytes, and that the log entry is about this signature. `sigstore-tuf` says which metadata of a repository
//! follow on those that are trusted; from where and how much is fetched, and what is kept, is decided here.

mod bundle;
mod certificate;
mod cms_message;
mod keyless;
mod log_entry;
mod trusted_root;
mod tuf;

pub use cms_message::MAX_CMS_BYTES;
pub use keyless::KeylessSignatures;
pub use log_entry::{MAX_CHECKPOINT_BYTES, MAX_PROOF_HASHES};
pub use trusted_root::TrustedRootError;
pub use tuf::{
    FETCH_SECONDS, Fetched, FetchedRoot, MAX_KEPT_BYTES, MAX_ROOT_ROTATIONS, TufError, TufRepository, Unwritten,
};
