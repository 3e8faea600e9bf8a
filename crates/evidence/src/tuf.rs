//! The trust root that a TUF repository holds, as new as the signatures and versions of the repository let it be.
//!
//! `sigstore-tuf` decides which metadata follow on those that are trusted: thresholds of signatures, versions, expiry, lengths
//! and digests. Here: what trust begins with, that nothing is fetched without bounds, and that what was verified is kept, so
//! that versions do not go back over a restart and the newest trust root is there without a network.

mod kept;
mod server;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use sigstore_tuf::{Repository, TrustedMetadataSet, Updater, UpdaterConfig};
use trust::{KeylessRefresh, MAX_TRUSTED_ROOT_BYTES, MAX_TUF_ROOT_BYTES};

use crate::{
    keyless::KeylessSignatures,
    trusted_root::TrustedRootError,
    tuf::{
        kept::{Files, Kept, KeptRepository},
        server::Server,
    },
};

pub use kept::MAX_KEPT_BYTES;
pub use server::FETCH_SECONDS;

/// The most roots that are gone through at once, one after the other: the public Sigstore makes two in a year, so sixteen
/// years of them.
pub const MAX_ROOT_ROTATIONS: u32 = 32;
/// Bytes of `timestamp.json`: one entry and its signatures, below 1 KiB.
const MAX_TIMESTAMP_BYTES: u64 = 16 << 10;
/// Bytes of `snapshot.json`: one line for each delegation; below 1 KiB so far.
const MAX_SNAPSHOT_BYTES: u64 = 64 << 10;
/// Bytes of `targets.json`: some twenty files with their digests and the delegations, 8 KiB so far.
const MAX_TARGETS_BYTES: u64 = 256 << 10;
/// Roles that are asked where the file is: the top one, and some that it delegates to.
const MAX_ROLES: u32 = 4;

/// The most characters of what is told of a failure: an address and a sentence.
const MAX_QUOTED: usize = 400;

/// The file that holds the trust root, as every Sigstore calls it.
const TARGET: &str = "trusted_root.json";
/// The address of the public Sigstore's repository.
const PUBLIC_ADDRESS: &str = "https://tuf-repo-cdn.sigstore.dev";
/// What trust in it begins with: the root that `sigstore-trust-root` was published with (`cargo xtask generate` writes it).
const PUBLIC_ROOT: &[u8] = include_bytes!("public_tuf_root.json");

/// Why a trust root was not fetched, or what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TufError {
    /// What trust would begin with is nothing of the kind.
    #[error("no root.json that is signed by its own keys: {0}")]
    Root(String),
    /// The certificates of the server are none.
    #[error("no certificates in PEM form: {0}")]
    Certificates(String),
    /// The server, the way to it, or more than it may send.
    #[error("{0}")]
    Unreachable(String),
    /// What it sent does not follow on what is trusted: a signature, a version, a time or a digest.
    #[error("{0}")]
    Refused(String),
    /// It is verified, and no trust root.
    #[error("its {TARGET} cannot be used: {0}")]
    TrustedRoot(#[source] TrustedRootError),
    /// What was seen could not be kept: a restart goes back behind it.
    #[error("{}: cannot be written: {reason}", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What it sent is refused, and what it showed on the way could not be kept either.
    #[error("{refused}; and {not_kept}")]
    RefusedAndNotKept {
        /// Why it is refused.
        refused: Box<TufError>,
        /// Why it was not kept.
        not_kept: Box<TufError>,
    },
    /// What was fetched before cannot be read or is not what was verified then.
    #[error("{}: {reason}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A trust root that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRoot {
    /// The text of `trusted_root.json`.
    pub trusted_root: String,
    /// When it was the newest.
    pub at: Timestamp,
}

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// What is the newest.
    pub root: FetchedRoot,
    /// Why it could not be kept, if it could not: it counts all the same, for what is older may trust somebody who was taken away.
    /// The next fetch tries again.
    pub not_kept: Option<TufError>,
}

/// A TUF repository, and what trust in it begins with.
#[derive(Debug, Clone)]
pub struct TufRepository {
    base: String,
    root: Vec<u8>,
    /// By what the server is trusted; by the system's if `None`.
    anchors: Option<Vec<CertificateDer<'static>>>,
    /// What could not be written; the next fetch may not go behind it either.
    unwritten: Unwritten,
}

/// What could not be written to the file of a repository. Every clone is the same: whoever asks a repository for that file,
/// perhaps by an edited TrustRoot, does not go back behind it.
#[derive(Debug, Clone, Default)]
pub struct Unwritten(Arc<Mutex<Option<Kept>>>);

impl Unwritten {
    /// Whether there is nothing, and nobody is left who could put something there.
    #[must_use]
    pub fn is_free(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.get().is_none()
    }

    fn get(&self) -> Option<Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, kept: Option<Kept>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }
}

impl TufRepository {
    /// The one that a TrustRoot names.
    ///
    /// # Errors
    /// If its root or its certificates cannot be used.
    pub fn of(refresh: &KeylessRefresh) -> Result<Self, TufError> {
        let root = refresh.root.as_ref().map_or_else(|| PUBLIC_ROOT.to_vec(), |root| root.clone().into_bytes());
        TrustedMetadataSet::from_root(&root).map_err(|error| TufError::Root(chain(&error)))?;
        let anchors = refresh.ca_certificates.as_ref().map(|pem| certificates(pem.as_bytes())).transpose()?;
        let base = refresh.mirror.as_deref().unwrap_or(PUBLIC_ADDRESS).trim_end_matches('/').to_owned();
        Ok(Self { base, root, anchors, unwritten: Unwritten::default() })
    }

    /// The same, with what could not be written before to the same file.
    #[must_use]
    pub fn after(self, unwritten: &Unwritten) -> Self {
        Self { unwritten: unwritten.clone(), ..self }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The trust root that a file keeps of what was fetched last, verified once more from the beginning; no server is asked.
    /// What could not be written is remembered instead. `None` if nothing was fetched yet, or only from a repository that
    /// begins with another root and does not lead here.
    ///
    /// # Errors
    /// If there is something and it cannot be used. Then nothing may take its place but what is fetched anew.
    pub fn kept(&self, file: &Path) -> Result<Option<FetchedRoot>, TufError> {
        let kept = match self.unwritten.get() {
            None => Kept::read(file)?,
            unwritten => unwritten,
        };
        let Some(kept) = kept else { return Ok(None) };
        let Some(at) = kept.verified_at else { return Ok(None) };
        let files = Arc::new(Files::of(kept.in_force.clone()));
        match self.run(KeptRepository(Arc::clone(&files)), &files, at).and_then(|text| usable(&text).map(|()| text)) {
            Ok(trusted_root) => Ok(Some(FetchedRoot { trusted_root, at })),
            // Not of this repository, as after an edit of the TrustRoot.
            Err(_) if !kept.begins_with(&self.root) => Ok(None),
            Err(error) => Err(TufError::Kept { path: file.to_owned(), reason: error.to_string() }),
        }
    }

    /// Asks the server for what is newer than the root and than what `file` keeps, verifies it and keeps it. Blocks for
    /// [`FETCH_SECONDS`] at most. Whatever fails, what was in force before is kept as it was.
    ///
    /// # Errors
    /// Why nothing else is in force.
    pub fn fetch(&self, file: &Path, now: Timestamp) -> Result<Fetched, TufError> {
        let unwritten = self.unwritten.get();
        let is_written = unwritten.is_none();
        let before = match &unwritten {
            Some(kept) => kept.clone(),
            None => Kept::read(file)?.unwrap_or_default(),
        };
        let files = Arc::new(Files::of(before.seen.clone()));
        let server = Server::new(&self.base, self.anchors.as_deref())?;
        let fetched = self.run(server, &files, now).and_then(|text| usable(&text).map(|()| text));
        let seen = files.take();
        let kept = match &fetched {
            Ok(_) => Kept::new(&self.root, now, seen),
            // The versions that it showed are not gone back behind, although nothing came of them.
            Err(_) => before.clone().with_seen(seen),
        };
        let written = if kept == before && is_written { Ok(()) } else { kept.write(file) };
        self.unwritten.set(if written.is_ok() { None } else { kept.or_smaller(unwritten) });
        match (fetched, written) {
            (Ok(trusted_root), written) => {
                Ok(Fetched { root: FetchedRoot { trusted_root, at: now }, not_kept: written.err() })
            }
            (Err(error), Ok(())) => Err(error),
            (Err(refused), Err(not_kept)) => {
                Err(TufError::RefusedAndNotKept { refused: Box::new(refused), not_kept: Box::new(not_kept) })
            }
        }
    }

    /// Goes from the root to the trust root, by what `repository` has and `files` keep.
    fn run(
        &self,
        repository: impl Repository + 'static,
        files: &Arc<Files>,
        now: Timestamp,
    ) -> Result<String, TufError> {
        let run = || {
            let updater = Updater::new(repository, &self.root)?;
            let mut updater = updater.with_config(limits()).with_store(Arc::clone(files));
            ready(async {
                updater.refresh(now).await?;
                updater.get_target(TARGET, now).await
            })
            .unwrap_or_else(|| Err(sigstore_tuf::Error::transport("it was not waited for")))
        };
        // The parsers of others see what a server sends: one that gives up refuses it and ends nothing else.
        let bytes = catch_unwind(AssertUnwindSafe(run))
            .map_err(|_panic| TufError::Refused("a parser gave up on it".to_owned()))?
            .map_err(|error| refused(&error))?;
        String::from_utf8(bytes).map_err(|error| TufError::TrustedRoot(TrustedRootError::Form(error.to_string())))
    }
}

/// Whether signatures can be verified by it.
fn usable(trusted_root: &str) -> Result<(), TufError> {
    KeylessSignatures::by(trusted_root).map(drop).map_err(TufError::TrustedRoot)
}

/// Together at most 32 × 64 + 16 + 64 + 4 × 256 + 64 KiB: 3.2 MiB.
fn limits() -> UpdaterConfig {
    let mut limits = UpdaterConfig::default();
    limits.root_max_length = MAX_TUF_ROOT_BYTES as u64;
    limits.timestamp_max_length = MAX_TIMESTAMP_BYTES;
    limits.snapshot_max_length = MAX_SNAPSHOT_BYTES;
    limits.targets_max_length = MAX_TARGETS_BYTES;
    limits.target_max_length = MAX_TRUSTED_ROOT_BYTES as u64;
    limits.max_root_rotations = MAX_ROOT_ROTATIONS;
    limits.max_delegations = MAX_ROLES;
    limits
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TufError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TufError::Certificates("there is none".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(TufError::Certificates(error.to_string())),
    }
}

fn refused(error: &sigstore_tuf::Error) -> TufError {
    match error {
        sigstore_tuf::Error::Transport { message, .. } => TufError::Unreachable(quoted(message)),
        other => TufError::Refused(chain(other)),
    }
}

/// An error with all that it comes from, as far as it is told.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    quoted(&text)
}

/// Words with parts of what a server sent, which may be by nobody that is trusted: shortened, on one line and without control
/// characters.
fn quoted(text: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let mut short: String = text.trim().chars().take(MAX_QUOTED).map(plain).collect();
    if text.trim().chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    short
}

/// The end of a future that never waits: all that it asks blocks instead. `None` if it waits all the same.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
