//! The end of a file that another process writes and rotates.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{AuditEvents, MAX_EVENT_BYTES};

/// How often it is looked: what is found later than the watch event is told later anyway.
const LOOKED_EVERY: Duration = Duration::from_millis(250);
/// How much of what was written before the start is read: what happened while writ did not run.
const READ_AT_START: u64 = 8 << 20;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Why the audit log is not read.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// It cannot be opened.
    #[error("cannot read the API server's audit log {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the thread for the API server's audit log")]
    Thread(#[source] io::Error),
}

/// The thread that reads. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Tail {
    ended: Arc<AtomicBool>,
}

impl Tail {
    /// Starts it.
    ///
    /// # Errors
    /// When the file cannot be opened, or the system gives no thread.
    pub(crate) fn start(path: &Path, events: Arc<AuditEvents>) -> Result<Self, AuditLogError> {
        let mut follow = Follow::open(path).map_err(|source| AuditLogError::Open { path: path.to_owned(), source })?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        let work = move || {
            let mut is_told = false;
            while !stop.load(Ordering::Acquire) {
                match follow.read(&mut |line| events.read(line)) {
                    Ok(()) => is_told = false,
                    Err(error) => {
                        if !is_told {
                            tracing::warn!(error = %error, "the API server's audit log cannot be read");
                        }
                        is_told = true;
                    }
                }
                std::thread::sleep(LOOKED_EVERY);
            }
        };
        std::thread::Builder::new().name("writ-audit-log".to_owned()).spawn(work).map_err(AuditLogError::Thread)?;
        Ok(Self { ended })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// Where it is in the file.
struct Follow {
    path: PathBuf,
    file: File,
    inode: u64,
    position: u64,
    line: Vec<u8>,
    /// The line is longer than any event, or was begun before we came: up to its end nothing is kept.
    is_skipped: bool,
}

impl Follow {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let position = metadata.len().saturating_sub(READ_AT_START);
        file.seek(SeekFrom::Start(position))?;
        let (inode, is_skipped) = (metadata.ino(), position > 0);
        Ok(Self { path: path.to_owned(), file, inode, position, line: Vec::new(), is_skipped })
    }

    /// Every line that is complete by now.
    fn read(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        self.read_file(take)?;
        // Another file has its name, or it was emptied: what it said to its end was read before.
        let now = std::fs::metadata(&self.path)?;
        if now.ino() != self.inode || now.len() < self.position {
            self.file = File::open(&self.path)?;
            self.inode = self.file.metadata()?.ino();
            (self.position, self.is_skipped) = (0, false);
            self.line.clear();
            self.read_file(take)?;
        }
        Ok(())
    }

    fn read_file(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = self.file.read(&mut piece)?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { return Ok(()) };
            self.position = self.position.saturating_add(read.len() as u64);
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                self.part(part, take);
            }
        }
    }

    fn part(&mut self, part: &[u8], take: &mut impl FnMut(&[u8])) {
        let end = part.strip_suffix(b"\n");
        if !self.is_skipped {
            self.line.extend_from_slice(end.unwrap_or(part));
        }
        if self.line.len() > MAX_EVENT_BYTES {
            self.is_skipped = true;
            self.line = Vec::new();
        }
        if end.is_some() {
            if !self.is_skipped {
                take(&self.line);
            }
            self.line.clear();
            self.is_skipped = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(follow: &mut Follow) -> Vec<String> {
        let mut lines = Vec::new();
        follow.read(&mut |line| lines.push(String::from_utf8_lossy(line).chars().take(8).collect())).unwrap();
        lines
    }

    #[test]
    fn lines_are_read_once_they_are_complete_and_through_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let append = |text: &str| {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("one\ntw");
        let mut follow = Follow::open(&path).unwrap();
        assert_eq!(read(&mut follow), ["one"]);
        append("o\n");
        assert_eq!(read(&mut follow), ["two"]);
        append("three\n");
        std::fs::rename(&path, folder.path().join("audit-1.log")).unwrap();
        append("four\n");
        assert_eq!(read(&mut follow), ["three", "four"]);
        std::fs::write(&path, "5\n").unwrap();
        assert_eq!(read(&mut follow), ["5"]);
        std::fs::remove_file(&path).unwrap();
        assert!(follow.read(&mut |_| {}).is_err());
        append("six\n");
        assert_eq!(read(&mut follow), ["six"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_what_is_long_ago_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        std::fs::write(&path, format!("old\n{}\nnew\n", "x".repeat(MAX_EVENT_BYTES + 1))).unwrap();
        let mut follow = Follow::open(&path).unwrap();
        assert_eq!(read(&mut follow), ["new"]);
        let mut whole = Follow::open(&path).unwrap();
        whole.file.seek(SeekFrom::Start(0)).unwrap();
        (whole.position, whole.is_skipped) = (0, false);
        assert_eq!(read(&mut whole), ["old", "new"]);
    }
}
