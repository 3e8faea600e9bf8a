//! Approvals that made a step accepted, in a folder beside the mirror: one file for each commit, one envelope in each line.
//!
//! They prove themselves, so nothing else guards them. With them a step that is judged again is accepted again, also when
//! somebody took them away from the server.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use trust::{CommitId, HistoryError, MAX_ENVELOPE_BYTES, MAX_ENVELOPES};

use crate::mirror::{MirrorError, file};

/// The most bytes of one file: as many envelopes as are looked at, of the largest size. One has about 2 KiB.
const MAX_KEPT_BYTES: u64 = (MAX_ENVELOPES * (MAX_ENVELOPE_BYTES + 1)) as u64;

/// The folder.
pub(crate) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is kept for a commit.
    pub(crate) fn read(&self, commit: &CommitId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let failed =
            |error: io::Error| HistoryError::Read { reason: format!("{}: {error}", self.path(commit).display()) };
        let bytes = self.load(commit).map_err(failed)?;
        if bytes.len() as u64 > MAX_KEPT_BYTES {
            let what = format!("bytes of the approvals kept for {commit}");
            return Err(HistoryError::Limit { what, limit: MAX_KEPT_BYTES });
        }
        Ok(lines(&bytes))
    }

    fn path(&self, commit: &CommitId) -> PathBuf {
        self.folder.join(commit.to_string())
    }

    /// The bytes of a commit's file, one more than may be at most.
    fn load(&self, commit: &CommitId) -> io::Result<Vec<u8>> {
        let kept = match File::open(self.path(commit)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        kept.take(MAX_KEPT_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Keeps these envelopes for a commit, with those that are kept for it already; whole or not at all. What cannot be read
    /// is not written over: it may be all that made a step accepted.
    pub(crate) fn add(&self, commit: &CommitId, envelopes: &[Vec<u8>]) -> Result<(), MirrorError> {
        let known =
            self.load(commit).map_err(|source| file(&self.folder, "read the approvals that are kept", source))?;
        if known.len() as u64 > MAX_KEPT_BYTES {
            let what = format!("more than {MAX_KEPT_BYTES} bytes of approvals");
            return Err(MirrorError::Foreign { path: self.path(commit), what });
        }
        let known = lines(&known);
        let new: Vec<&Vec<u8>> = envelopes.iter().filter(|one| !known.contains(one)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let all = known.iter().chain(new).take(MAX_ENVELOPES).map(Vec::as_slice);
        let bytes = all.flat_map(|one| [one, b"\n"]).collect::<Vec<_>>().concat();
        self.write(&commit.to_string(), &bytes).map_err(|source| file(&self.folder, "keep an approval", source))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Only the gate of its source writes here, so an unfinished file is what an interrupted write left.
        let (unfinished, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        let mut fresh = File::create(&unfinished)?;
        fresh.write_all(bytes)?;
        fresh.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn id(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_read_again_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("shop.config@kept"));
        assert!(kept.read(&id("1")).unwrap().is_empty(), "there is no folder yet");
        let (one, two) = (b"{\"n\":1}".to_vec(), b"{\"n\":2}".to_vec());
        kept.add(&id("1"), std::slice::from_ref(&one)).unwrap();
        kept.add(&id("1"), &[one.clone(), two.clone()]).unwrap();
        kept.add(&id("1"), std::slice::from_ref(&two)).unwrap();
        kept.add(&id("2"), &[]).unwrap();
        assert_eq!(kept.read(&id("1")).unwrap(), [one, two]);
        assert!(kept.read(&id("2")).unwrap().is_empty());
        // What an interrupted write left is no approval of anything.
        fs::write(dir.path().join("shop.config@kept").join(format!("{}.new", id("3"))), "{").unwrap();
        assert!(kept.read(&id("3")).unwrap().is_empty());
        kept.add(&id("3"), &[b"{}".to_vec()]).unwrap();
        assert_eq!(kept.read(&id("3")).unwrap(), [b"{}"]);
        fs::write(
            dir.path().join("shop.config@kept").join(id("4").to_string()),
            vec![b'x'; MAX_KEPT_BYTES as usize + 1],
        )
        .unwrap();
        assert!(matches!(kept.read(&id("4")), Err(HistoryError::Limit { .. })));
    }

    #[test]
    fn what_cannot_be_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().to_owned());
        let one = [b"{}".to_vec()];
        // It cannot be opened, by root neither.
        symlink(kept.path(&id("1")), kept.path(&id("1"))).unwrap();
        assert!(matches!(kept.read(&id("1")), Err(HistoryError::Read { .. })));
        assert!(matches!(kept.add(&id("1"), &one), Err(MirrorError::File { .. })));
        assert!(kept.path(&id("1")).is_symlink());
        fs::write(kept.path(&id("2")), vec![b'x'; MAX_KEPT_BYTES as usize + 1]).unwrap();
        assert!(matches!(kept.add(&id("2"), &one), Err(MirrorError::Foreign { .. })));
        assert_eq!(fs::metadata(kept.path(&id("2"))).unwrap().len(), MAX_KEPT_BYTES + 1);
    }
}
