//! One pack with everything, written by hand: `git commit` takes 5 ms for a commit, this 20 µs.
//!
//! Objects are stored without compression or deltas; `git repack` makes of it what a server would send.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{Context as Sha1, SHA1_FOR_LEGACY_USE_ONLY};
use testkit::run;

/// The most bytes of one block that zlib stores as it is.
const BLOCK: usize = 0xffff;

/// The kinds of objects, by their number in a pack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

/// An object id.
pub(super) type Id = [u8; 20];

/// The objects so far.
#[derive(Default)]
pub(super) struct Pack {
    objects: Vec<u8>,
    count: u32,
}

impl Pack {
    /// Adds an object. One that is there already must not be added again.
    pub(super) fn add(&mut self, kind: Kind, bytes: &[u8]) -> Result<Id> {
        let mut hash = Sha1::new(&SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(format!("{} {}\0", kind.name(), bytes.len()).as_bytes());
        hash.update(bytes);
        self.head(kind, bytes.len());
        self.stored(bytes)?;
        self.count += 1;
        hash.finish().as_ref().try_into().context("SHA-1 has 20 bytes")
    }

    /// Kind and size: four bits of the size beside the kind, then seven in each byte.
    fn head(&mut self, kind: Kind, size: usize) {
        let [low, ..] = size.to_le_bytes();
        let (mut byte, mut rest) = ((kind as u8) << 4 | (low & 0x0f), size >> 4);
        while rest > 0 {
            self.objects.push(byte | 0x80);
            let [low, ..] = rest.to_le_bytes();
            (byte, rest) = (low & 0x7f, rest >> 7);
        }
        self.objects.push(byte);
    }

    /// A zlib stream of stored blocks (RFC 1950 and 1951).
    fn stored(&mut self, bytes: &[u8]) -> Result<()> {
        self.objects.extend_from_slice(&[0x78, 0x01]);
        let mut blocks = bytes.chunks(BLOCK).peekable();
        if blocks.peek().is_none() {
            self.objects.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        }
        while let Some(block) = blocks.next() {
            let size = u16::try_from(block.len()).context("a block has at most 65,535 bytes")?;
            self.objects.push(u8::from(blocks.peek().is_none()));
            self.objects.extend_from_slice(&size.to_le_bytes());
            self.objects.extend_from_slice(&(!size).to_le_bytes());
            self.objects.extend_from_slice(block);
        }
        self.objects.extend_from_slice(&adler32(bytes).to_be_bytes());
        Ok(())
    }

    /// Puts all of it into a bare repository, packed anew by Git.
    pub(super) fn store(self, repository: &Path, git: impl Fn() -> std::process::Command) -> Result<()> {
        let mut bytes = b"PACK\x00\x00\x00\x02".to_vec();
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.objects);
        let mut hash = Sha1::new(&SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(&bytes);
        let hash = hash.finish();
        bytes.extend_from_slice(hash.as_ref());
        let file = repository.join(format!("objects/pack/pack-{}.pack", hex::encode(hash)));
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        run(git().arg("index-pack").arg(&file)).map(drop)
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    // So many bytes of 255 fit into 32 bits before the remainder must be taken.
    const AT_ONCE: usize = 5_552;
    let (mut low, mut high) = (1_u32, 0_u32);
    for part in bytes.chunks(AT_ONCE) {
        for byte in part {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % PRIME, high % PRIME);
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use testkit::{Scratch, hermetic_command};

    use super::*;

    #[test]
    fn git_reads_what_is_written() {
        let scratch = Scratch::new("pack").unwrap();
        let repository = scratch.path().join("repository");
        let git = || {
            let mut git = hermetic_command("git", scratch.path());
            git.arg("--git-dir").arg(&repository);
            git
        };
        run(hermetic_command("git", scratch.path()).args(["init", "--quiet", "--bare"]).arg(&repository)).unwrap();
        let mut pack = Pack::default();
        let mut contents = vec![Vec::new(), b"text\n".to_vec()];
        contents.extend([15, 16, 2_047, 2_048, BLOCK, BLOCK + 1].map(|size| vec![255; size]));
        let ids: Vec<Id> = contents.iter().map(|bytes| pack.add(Kind::Blob, bytes).unwrap()).collect();
        pack.store(&repository, git).unwrap();
        for (id, bytes) in ids.iter().zip(&contents) {
            assert_eq!(run(git().args(["cat-file", "blob", &hex::encode(id)])).unwrap(), *bytes);
        }
        run(git().args(["fsck", "--strict"])).unwrap();
    }
}
