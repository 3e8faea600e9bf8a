//! Listing the files of a log directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::verify::VerifyError;

/// Most directories below each other: `tile`, level, and the seven groups of three digits of a 64-bit number, `.p`.
const DEPTH_LIMIT: usize = 12;

/// All files below `top` (relative to `dir`), as sorted paths relative to `dir`. Links are not followed.
pub(crate) fn files_below(dir: &Path, top: &str) -> Result<Vec<String>, VerifyError> {
    let mut files = Vec::new();
    let mut open = vec![(top.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let entries = match fs::read_dir(dir.join(&path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(VerifyError::unreadable(&path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| VerifyError::unreadable(&path, error))?;
            let below = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(|error| VerifyError::unreadable(&below, error))?;
            if kind.is_dir() && depth < DEPTH_LIMIT {
                open.push((below, depth + 1));
            } else {
                files.push(below);
            }
        }
    }
    files.sort();
    Ok(files)
}
