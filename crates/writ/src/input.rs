//! Files that arguments name: read whole, within a limit.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use manifest::RepoPath;

/// Largest manifest of a trust root: 256 `bootstrap` entries and 32 keys of at most 1 KiB each, three times over.
pub(crate) const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Largest key or checkpoint file: a signed note has at most 96 KiB.
pub(crate) const MAX_NOTE_BYTES: usize = 96 << 10;

/// Reads a file.
///
/// # Errors
/// When it cannot be read or is larger than `limit` bytes.
pub(crate) fn bytes(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = beginning(file, limit)?;
    anyhow::ensure!(bytes.len() <= limit, "{} is larger than {limit} bytes", file.display());
    Ok(bytes)
}

/// Reads a file, of one that is too large as much as shows it.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn beginning(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", file.display());
    let mut bytes = Vec::new();
    let opened = File::open(file).with_context(cannot)?;
    opened.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    Ok(bytes)
}

/// What findings about a file that an argument names call it.
pub(crate) fn name(file: &Path) -> RepoPath {
    let name = file.file_name().map(|name| name.to_string_lossy());
    // One with a control character is named by the error alone, which has the whole path.
    name.and_then(|name| name.parse().ok()).unwrap_or_else(RepoPath::root)
}

/// Reads a file of UTF-8 text.
///
/// # Errors
/// As [`bytes`], and when it is no text.
pub(crate) fn text(file: &Path, limit: usize) -> anyhow::Result<String> {
    String::from_utf8(bytes(file, limit)?).with_context(|| format!("{} is no UTF-8 text", file.display()))
}
