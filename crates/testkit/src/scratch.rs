//! Directories that disappear with this process, however it ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A directory that is removed when the value is dropped *or the process dies*: values in statics are never dropped, and a test
/// that is killed drops nothing. A small shell waits for the end of a pipe that only this process holds open, then removes it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    /// A new directory in the system's temporary directory.
    pub fn new(prefix: &str) -> Result<Self> {
        Self::below(&std::env::temp_dir(), prefix)
    }

    /// A new directory in memory (`/dev/shm`) where there is one that can be written, else in the temporary directory: for
    /// databases that need no durability.
    pub fn in_memory(prefix: &str) -> Result<Self> {
        Self::below(Path::new("/dev/shm"), prefix).or_else(|_| Self::new(prefix))
    }

    fn below(parent: &Path, prefix: &str) -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix(&format!("writ-{prefix}-"))
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?
            .keep();
        // Not spawned through `process::spawn`: it must outlive this process for a moment. A group of its own keeps Ctrl-C away.
        let janitor = Command::new("/bin/sh")
            .args(["-c", "cat >/dev/null; rm -rf -- \"$1\"", "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { path, janitor })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // Nothing can be returned from here; the directory is temporary in any case.
        let _status = self.janitor.wait();
    }
}
