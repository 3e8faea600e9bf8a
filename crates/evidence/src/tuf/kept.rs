//! What is kept of a TUF repository: one file, replaced as a whole, so that a crash leaves the old one or the new one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sigstore_tuf::{Error, MetadataStore, Repository, transport::FetchFuture};

use crate::tuf::TufError;

/// The most bytes of what is kept. All but the roots is 1.2 MiB at most, is there twice (in force, and seen), and doubles as
/// JSON in JSON: 4.8 MiB. That leaves 11.2 MiB for roots, each there four times: 200 of the 6 KiB that the public Sigstore's
/// have, doubled as well. What would be more is not written.
pub const MAX_KEPT_BYTES: u64 = 16 << 20;

/// Verified metadata and files by name, as text.
type Texts = BTreeMap<String, String>;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kept {
    /// SHA-256 of the root that it began with.
    begins: Vec<u8>,
    /// When what is in force was verified, if anything is.
    pub(super) verified_at: Option<Timestamp>,
    /// All that the trust root in force was verified by, and itself.
    pub(super) in_force: Texts,
    /// The newest of each that was verified: what comes later may not be older. A fetch that broke off leaves more here.
    pub(super) seen: Texts,
}

impl Kept {
    pub(super) fn new(root: &[u8], at: Timestamp, files: Texts) -> Self {
        Self { begins: begins(root), verified_at: Some(at), in_force: files.clone(), seen: files }
    }

    pub(super) fn with_seen(self, seen: Texts) -> Self {
        Self { seen, ..self }
    }

    pub(super) fn begins_with(&self, root: &[u8]) -> bool {
        self.begins == begins(root)
    }

    /// `None` if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, TufError> {
        let broken = |reason: String| TufError::Kept { path: path.to_owned(), reason };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_KEPT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
        if bytes.len() as u64 > MAX_KEPT_BYTES {
            return Err(broken(format!("more than {MAX_KEPT_BYTES} bytes")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(error.to_string()))
    }

    /// As it is written; nothing that could not be read again.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() as u64 > MAX_KEPT_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it would have more than {MAX_KEPT_BYTES} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// What is remembered of it where it cannot be written. What is too large to be written is too large for that as well: then
    /// what was remembered before, which is newer than the file.
    pub(super) fn or_smaller(self, before: Option<Self>) -> Option<Self> {
        if self.bytes().is_ok() { Some(self) } else { before }
    }

    /// Durable when it returns.
    pub(super) fn write(&self, path: &Path) -> Result<(), TufError> {
        let replace = || -> io::Result<()> {
            let bytes = self.bytes()?;
            let folder = path.parent().unwrap_or_else(|| Path::new("."));
            fs::create_dir_all(folder)?;
            let fresh = path.with_extension("new");
            let mut file = File::create(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            File::open(folder)?.sync_all()
        };
        replace().map_err(|error| TufError::NotKept { path: path.to_owned(), reason: error.to_string() })
    }
}

fn begins(root: &[u8]) -> Vec<u8> {
    Sha256::digest(root).to_vec()
}

/// Verified files while they are worked with.
pub(super) struct Files(Mutex<Texts>);

impl Files {
    pub(super) fn of(texts: Texts) -> Self {
        Self(Mutex::new(texts))
    }

    /// What there is by now.
    pub(super) fn take(&self) -> Texts {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetadataStore for Files {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(texts.get(name).map(|text| text.clone().into_bytes()))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        if is_versioned_snapshot(name) {
            return Ok(());
        }
        let text = str::from_utf8(bytes).map_err(|error| Error::Malformed(format!("{name}: {error}")))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), text.to_owned());
        Ok(())
    }
}

/// A snapshot under its version. It is stored as `snapshot.json` too, which is what is read again; these would be one more with
/// each version, for as long as somebody who has the key of snapshots makes new ones.
fn is_versioned_snapshot(name: &str) -> bool {
    let version = name.strip_suffix(".snapshot.json");
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is kept, asked as if it were the server.
pub(super) struct KeptRepository(pub(super) Arc<Files>);

impl KeptRepository {
    fn get(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let found = self.0.load(name)?;
        if found.as_ref().is_some_and(|bytes| bytes.len() as u64 > most) {
            return Err(Error::transport(format!("{name}: more than {most} bytes")));
        }
        Ok(found)
    }
}

impl Repository for KeptRepository {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        // Delegated roles are kept without the version that servers put before their names; which one it is says the snapshot.
        let bare = name.split_once('.').map(|(_version, bare)| bare).filter(|bare| *bare != "root.json");
        let found = match self.get(name, max_length) {
            Ok(None) => bare.map_or(Ok(None), |bare| self.get(bare, max_length)),
            found => found,
        };
        Box::pin(async move { found })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        let found = self.get(&format!("targets/{path}"), max_length);
        Box::pin(async move { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("shop.json");
        let of = |bytes: usize| {
            let texts = Texts::from([("snapshot.json".to_owned(), "\\".repeat(bytes))]);
            Kept::default().with_seen(texts)
        };
        of(64 << 10).write(&path).unwrap();
        let error = of(8 << 20).write(&path).unwrap_err();
        assert!(error.to_string().ends_with("it would have more than 16777216 bytes"), "{error}");
        assert_eq!(Kept::read(&path).unwrap(), Some(of(64 << 10)), "what was kept stays");
        // Nor is it remembered, and what was remembered before stays.
        assert_eq!(of(1).or_smaller(Some(of(2))), Some(of(1)));
        assert_eq!(of(8 << 20).or_smaller(Some(of(2))), Some(of(2)));
        assert_eq!(of(8 << 20).or_smaller(None), None);
    }

    #[test]
    fn snapshots_are_stored_once() {
        let files = Files::of(Texts::new());
        for name in ["7.snapshot.json", "snapshot.json", "x.snapshot.json", ".snapshot.json"] {
            files.store(name, b"{}").unwrap();
        }
        assert_eq!(
            files.take().into_keys().collect::<Vec<_>>(),
            [".snapshot.json", "snapshot.json", "x.snapshot.json"]
        );
    }
}
