//! Proofs as values that can be checked without the log.

use crate::checkpoint::Checkpoint;
use crate::merkle::{Hash, ProofError, leaf_hash, verify_consistency, verify_inclusion};

/// Proof that an entry is in the log (RFC 9162, 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry's place.
    pub index: u64,
    /// Size of the tree it was proven in; that of `checkpoint`.
    pub tree_size: u64,
    /// The path, from the leaf's sibling upwards.
    pub hashes: Vec<Hash>,
    /// The leaf: canonical JSON of the entry.
    pub entry: Vec<u8>,
    /// The checkpoint whose root the path leads to.
    pub checkpoint: Checkpoint,
}

impl InclusionProof {
    /// Checks the path against a checkpoint whose signature was verified.
    ///
    /// # Errors
    /// A [`ProofError`] when it does not hold.
    pub fn verify(&self, checkpoint: &Checkpoint) -> Result<(), ProofError> {
        if self.tree_size != checkpoint.size() {
            return Err(ProofError::Range);
        }
        verify_inclusion(&leaf_hash(&self.entry), self.index, self.tree_size, &self.hashes, checkpoint.root())
    }
}

/// Proof that a tree is a prefix of a later one (RFC 9162, 2.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Size of the earlier tree.
    pub old_size: u64,
    /// Size of the later tree.
    pub new_size: u64,
    /// The path.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// Checks it between two roots.
    ///
    /// # Errors
    /// A [`ProofError`] when it does not hold.
    pub fn verify(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        verify_consistency(self.old_size, self.new_size, old_root, new_root, &self.hashes)
    }
}
