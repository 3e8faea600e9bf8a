//! RFC 6962 Merkle trees: hashes, roots, proofs and their verification (RFC 9162, 2.1.3.2 and 2.1.4.2). Pure.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 value: leaf hash, node hash, root or digest of a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of plain bytes, as bodies are addressed.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 lower-case hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hash of a leaf: SHA-256(0x00 ‖ entry).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// Root over the given leaf hashes (or over equal, complete subtrees); the empty root for none.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Largest power of two smaller than `n`, for `n` ≥ 2.
const fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Where complete subtrees come from: `node(height, i)` is the hash over leaves `i·2^height ..
/// (i+1)·2^height`.
pub(crate) trait Nodes {
    type Error;
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// MTH(D[begin..end]) for a range that occurs in RFC 6962 recursion (its left part is aligned).
fn range_root<N: Nodes>(nodes: &mut N, begin: u64, end: u64) -> Result<Hash, N::Error> {
    let width = end - begin;
    if width == 0 {
        return Ok(empty_root());
    }
    if width.is_power_of_two() {
        return nodes.node(width.ilog2(), begin >> width.ilog2());
    }
    let middle = begin + split(width);
    let left = range_root(nodes, begin, middle)?;
    Ok(node_hash(&left, &range_root(nodes, middle, end)?))
}

/// Root of the first `size` leaves.
pub(crate) fn root_at<N: Nodes>(nodes: &mut N, size: u64) -> Result<Hash, N::Error> {
    range_root(nodes, 0, size)
}

/// PATH(index, D[size]) of RFC 9162, 2.1.3.1; `index` < `size`.
pub(crate) fn inclusion_path<N: Nodes>(nodes: &mut N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut begin, mut end) = (0, size);
    let mut path = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old, D[new]) of RFC 9162, 2.1.4.1; empty when `old` is 0 or `new`; `old` ≤ `new`.
pub(crate) fn consistency_path<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut begin, mut end) = (0, new);
    let mut path = Vec::new();
    // Down to the subtree that ends where the old tree ended.
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    // The old root itself needs no proof when that subtree is the whole old tree.
    if begin != 0 {
        path.push(range_root(nodes, begin, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Index or sizes cannot belong together.
    #[error("index or tree sizes are out of range")]
    Range,
    /// Too few or too many hashes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The computed root is not the given one.
    #[error("the proof leads to another root")]
    Root,
}

/// Verifies that the leaf with hash `leaf` is number `index` of the tree of `size` leaves with this `root`.
///
/// # Errors
/// A [`ProofError`] when it is not shown.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut fnode, mut snode, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if snode == 0 {
            return Err(ProofError::Length);
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node_hash(sibling, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    match (snode, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Verifies that the tree of `old_size` leaves with root `old_root` is a prefix of that of `new_size` with `new_root`.
///
/// # Errors
/// A [`ProofError`] when it is not shown.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size == new_size || old_size == 0 {
        let known = if old_size == new_size { old_root == new_root } else { *old_root == empty_root() };
        return match (proof.is_empty(), known) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // A complete old tree is its own first hash and is not repeated in the proof.
    let (first, rest) =
        if old_size.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let (mut fnode, mut snode) = (old_size - 1, new_size - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for hash in rest {
        if snode == 0 {
            return Err(ProofError::Length);
        }
        if fnode & 1 == 1 || fnode == snode {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    match (snode, old == *old_root && new == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

#[cfg(test)]
mod tests;
