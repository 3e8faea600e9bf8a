//! The C2SP tlog-tiles layout: paths, tiles, entry bundles and the growing right edge of the tree.
//! Format: <https://c2sp.org/tlog-tiles>.

use std::fmt;

use crate::merkle::{Hash, empty_root, leaf_hash, node_hash, root_of};

/// Hashes (or entries) of a full tile (or bundle).
pub(crate) const WIDTH: u64 = 256;
/// Bytes of a full tile: 256 × 32.
pub(crate) const TILE_BYTES: u64 = WIDTH * 32;
/// Most bytes of a bundle: 256 entries of 16 KiB, each with its length of two bytes.
pub(crate) const BUNDLE_BYTES: u64 = WIDTH * (2 + crate::entry::ENTRY_LIMIT as u64);
/// Levels of tiles that a tree of less than 2^64 leaves can have: 64 / 8.
pub(crate) const LEVELS: u32 = 8;

/// What a file below `tile/` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    /// Entry bundles, `tile/entries/…`.
    Entries,
    /// Hashes of this level, `tile/<L>/…`.
    Level(u32),
}

/// One file below `tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tile {
    pub(crate) content: Content,
    pub(crate) number: u64,
    /// Hashes or entries in it, 1 to 256; 256 is a full one.
    pub(crate) width: u64,
}

impl Tile {
    /// The tile at `level` (or the bundle) that holds item `index` of that level, in a tree with `count` such items.
    pub(crate) const fn holding(content: Content, index: u64, count: u64) -> Self {
        let number = index / WIDTH;
        let left = count.saturating_sub(number * WIDTH);
        Self { content, number, width: if left > WIDTH { WIDTH } else { left } }
    }

    pub(crate) const fn is_full(self) -> bool {
        self.width == WIDTH
    }

    pub(crate) const fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Reads a path back; `None` when it is not in the one right spelling.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("tile/")?.split('/').peekable();
        let content = match parts.next()? {
            "entries" => Content::Entries,
            level => Content::Level(level.parse().ok().filter(|level| *level < LEVELS)?),
        };
        let (mut number, mut width) = (0_u64, WIDTH);
        while let Some(part) = parts.next() {
            let digits = part.strip_prefix('x').unwrap_or(part);
            let (digits, partial) = digits.strip_suffix(".p").map_or((digits, false), |digits| (digits, true));
            number = number.checked_mul(1000)?.checked_add(digits.parse::<u64>().ok()?)?;
            if partial {
                width = parts.next()?.parse().ok().filter(|width| (1..WIDTH).contains(width))?;
            }
        }
        let tile = Self { content, number, width };
        (tile.to_string() == path).then_some(tile)
    }

    /// Index of the first entry below this tile.
    pub(crate) const fn first_entry(self) -> u64 {
        let level = match self.content {
            Content::Entries => 0,
            Content::Level(level) => level,
        };
        self.number.saturating_mul(WIDTH.saturating_pow(level + 1))
    }

    /// Entries below each of its items.
    pub(crate) const fn span(self) -> u64 {
        match self.content {
            Content::Entries => 1,
            Content::Level(level) => WIDTH.saturating_pow(level),
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Entries => f.write_str("tile/entries")?,
            Content::Level(level) => write!(f, "tile/{level}")?,
        }
        let mut groups = vec![self.number % 1000];
        let mut rest = self.number / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        let last = groups.len() - 1;
        for (place, group) in groups.iter().rev().enumerate() {
            write!(f, "/{}{group:03}", if place == last { "" } else { "x" })?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// The hashes of a tile file; `None` when its length is not a whole number of hashes.
pub(crate) fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| Hash(*chunk)).collect())
}

/// One record of an entry bundle: its entry, or what is left when the framing is broken.
pub(crate) fn next_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// All entries of a bundle; `None` when its framing is broken.
pub(crate) fn entries_of(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = next_entry(bytes)?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

/// The right edge of a growing tree: at each level the hashes of the tile that is not full yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) size: u64,
    /// Partial tile of each level, 0 to 255 hashes.
    pub(crate) levels: Vec<Vec<Hash>>,
    /// Partial entry bundle.
    pub(crate) bundle: Vec<u8>,
}

impl Edge {
    /// Appends an entry of at most [`ENTRY_LIMIT`](crate::ENTRY_LIMIT) bytes and gives the files that became full by it.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Vec<(Tile, Vec<u8>)> {
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let mut full = Vec::new();
        let mut carry = leaf_hash(entry);
        for level in 0..LEVELS {
            if self.levels.len() as u32 <= level {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(level as usize) else { break };
            tile.push(carry);
            if (tile.len() as u64) < WIDTH {
                break;
            }
            let number = self.size / WIDTH.saturating_pow(level + 1);
            full.push((Tile { content: Content::Level(level), number, width: WIDTH }, concat(tile)));
            carry = root_of(tile);
            tile.clear();
        }
        self.size += 1;
        if self.size.is_multiple_of(WIDTH) {
            let number = self.size / WIDTH - 1;
            let bundle = std::mem::take(&mut self.bundle);
            full.push((Tile { content: Content::Entries, number, width: WIDTH }, bundle));
        }
        full
    }

    /// The partial files of this size.
    pub(crate) fn partials(&self) -> Vec<(Tile, Vec<u8>)> {
        let mut partials: Vec<_> = (0..)
            .zip(&self.levels)
            .filter(|(_, tile)| !tile.is_empty())
            .map(|(level, tile)| {
                let number = self.size / WIDTH.saturating_pow(level + 1);
                (Tile { content: Content::Level(level), number, width: tile.len() as u64 }, concat(tile))
            })
            .collect();
        if !self.size.is_multiple_of(WIDTH) {
            let tile = Tile { content: Content::Entries, number: self.size / WIDTH, width: self.size % WIDTH };
            partials.push((tile, self.bundle.clone()));
        }
        partials
    }

    /// Root of the tree.
    pub(crate) fn root(&self) -> Hash {
        // Complete subtrees from large to small; each level contributes one per set bit of its width.
        let mut peaks = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = tile.as_slice();
            while !rest.is_empty() {
                let (left, right) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(root_of(left));
                rest = right;
            }
        }
        peaks.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests;
