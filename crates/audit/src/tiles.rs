//! Reading tiles and bundles of a tree of a known size.

use std::collections::BTreeMap;

use crate::error::LogError;
use crate::merkle::{Hash, Nodes, leaf_hash, root_of};
use crate::storage::Storage;
use crate::tile::{BUNDLE_BYTES, Content, Edge, LEVELS, TILE_BYTES, Tile, WIDTH, entries_of, hashes};

/// The tile's file, or the full one in its place when the tree has grown since.
fn read_tile(storage: &dyn Storage, tile: Tile) -> Result<Vec<u8>, LogError> {
    let limit = if tile.content == Content::Entries { BUNDLE_BYTES } else { TILE_BYTES };
    for candidate in [tile, tile.full()] {
        let path = candidate.to_string();
        if let Some(bytes) = storage.read(&path, limit).map_err(|error| LogError::storage("read", &path, error))? {
            return Ok(bytes);
        }
    }
    Err(LogError::damaged(&tile.to_string(), "the file is missing"))
}

fn read_hashes(storage: &dyn Storage, tile: Tile) -> Result<Vec<Hash>, LogError> {
    let mut found = hashes(&read_tile(storage, tile)?).unwrap_or_default();
    if (found.len() as u64) < tile.width {
        return Err(LogError::damaged(&tile.to_string(), format!("fewer than {} hashes", tile.width)));
    }
    found.truncate(tile.width as usize);
    Ok(found)
}

/// The entries of one bundle of a tree of `size` entries.
pub(crate) fn read_bundle(storage: &dyn Storage, number: u64, size: u64) -> Result<Vec<Vec<u8>>, LogError> {
    let tile = Tile::holding(Content::Entries, number * WIDTH, size);
    let bytes = read_tile(storage, tile)?;
    let entries = entries_of(&bytes).filter(|entries| entries.len() as u64 >= tile.width);
    let entries = entries.ok_or_else(|| LogError::damaged(&tile.to_string(), "the bundle is cut or mangled"))?;
    Ok(entries.into_iter().take(tile.width as usize).map(<[u8]>::to_vec).collect())
}

/// The right edge of the tree of `size` entries, as the partial files tell it.
pub(crate) fn read_edge(storage: &dyn Storage, size: u64) -> Result<Edge, LogError> {
    let mut edge = Edge { size, levels: Vec::new(), bundle: Vec::new() };
    for level in 0..LEVELS {
        let count = size >> (8 * level);
        if count == 0 {
            break;
        }
        let partial = Tile::holding(Content::Level(level), count, count);
        edge.levels.push(if partial.width == 0 { Vec::new() } else { read_hashes(storage, partial)? });
    }
    if !size.is_multiple_of(WIDTH) {
        let entries = read_bundle(storage, size / WIDTH, size)?;
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        if edge.levels.first() != Some(&leaves) {
            let bundle = Tile::holding(Content::Entries, size, size);
            return Err(LogError::damaged(&bundle.to_string(), "the entries are not those of the hash tile"));
        }
        for entry in &entries {
            edge.bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            edge.bundle.extend_from_slice(entry);
        }
    }
    Ok(edge)
}

/// Complete subtrees of a tree of `size` entries, read from its tiles; each tile once.
pub(crate) struct TileNodes<'a> {
    storage: &'a dyn Storage,
    size: u64,
    cache: BTreeMap<Tile, Vec<Hash>>,
}

impl<'a> TileNodes<'a> {
    pub(crate) fn new(storage: &'a dyn Storage, size: u64) -> Self {
        Self { storage, size, cache: BTreeMap::new() }
    }
}

impl Nodes for TileNodes<'_> {
    type Error = LogError;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, LogError> {
        let (level, within) = (height / 8, height % 8);
        let first = index << within;
        let tile = Tile::holding(Content::Level(level), first, self.size >> (8 * level));
        if !self.cache.contains_key(&tile) {
            self.cache.insert(tile, read_hashes(self.storage, tile)?);
        }
        let start = (first % WIDTH) as usize;
        self.cache
            .get(&tile)
            .and_then(|hashes| hashes.get(start..start + (1 << within)))
            .map(root_of)
            .ok_or_else(|| LogError::damaged(&tile.to_string(), "too few hashes"))
    }
}
