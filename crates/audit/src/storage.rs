//! The few file operations the log is made of. Paths are relative to the log's directory, with `/`.
//! The seam exists so that tests can simulate full volumes, failing operations and power cuts.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) trait Storage: Send + Sync {
    /// The whole file, if it exists; an error when it is larger than `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
    /// Writes a whole file, replacing what was there; makes its parent directories. Not durable.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes the directories above a path. Not durable.
    fn make_parents(&self, path: &str) -> io::Result<()>;
    /// Overwrites a part of an existing file. Not durable.
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Gives an existing or new file this length with blocks allocated for all of it.
    fn allocate(&self, path: &str, length: u64) -> io::Result<()>;
    /// Cuts a file.
    fn set_len(&self, path: &str, length: u64) -> io::Result<()>;
    /// Makes the contents of a file durable.
    fn sync(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a directory durable (`""` is the log's own).
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Renames within the log, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; one that does not exist is fine.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names in a directory; none when it does not exist.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Length of a file, if it exists.
    fn length(&self, path: &str) -> io::Result<Option<u64>>;
}

/// The file system.
pub(crate) struct Disk {
    root: PathBuf,
    /// Files written in place stay open, so that a write error is reported to the sync after it.
    open: Mutex<BTreeMap<String, Arc<File>>>,
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: Mutex::default() }
    }

    fn handle(&self, path: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(path) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().write(true).open(self.root.join(path))?);
        open.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn is_open(&self, path: &str) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(path)
    }
}

fn make_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// `None` instead of an error for what does not exist.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Storage for Disk {
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = found(File::open(self.root.join(path)))? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        match fs::write(&path, bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_parents(&path)?;
                fs::write(&path, bytes)
            }
            result => result,
        }
    }

    fn make_parents(&self, path: &str) -> io::Result<()> {
        make_parents(&self.root.join(path))
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.handle(path)?.write_all_at(bytes, offset)
    }

    fn allocate(&self, path: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.root.join(path))?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length) {
            // No such operation on this file system: write the blocks.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let zeros = vec![0; 1 << 16];
                let mut at = file.metadata()?.len();
                while at < length {
                    let step = (length - at).min(zeros.len() as u64);
                    file.write_all_at(zeros.get(..step as usize).unwrap_or_default(), at)?;
                    at += step;
                }
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn set_len(&self, path: &str, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.root.join(path))?.set_len(length)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        if self.is_open(path) { self.handle(path)?.sync_data() } else { File::open(self.root.join(path))?.sync_data() }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.root.join(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        found(fs::remove_file(self.root.join(path))).map(drop)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let Some(entries) = found(fs::read_dir(self.root.join(path)))? else { return Ok(Vec::new()) };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn length(&self, path: &str) -> io::Result<Option<u64>> {
        Ok(found(fs::metadata(self.root.join(path)))?.map(|metadata| metadata.len()))
    }
}

/// The directories above a path, nearest first, ending with the log's own (`""`).
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let current = rest?;
        let parent = current.rsplit_once('/').map_or("", |(parent, _)| parent);
        rest = (!current.is_empty() && current.contains('/')).then_some(parent);
        Some(parent)
    })
}

#[cfg(test)]
pub(crate) mod model;
