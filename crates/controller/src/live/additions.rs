//! What others added to an object: noted, neither told nor put back.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, LazyLock},
};

use plan::MAX_SURPLUS;
use serde::{Deserialize, Serialize};

/// The most additions that are listed of one object; the rest is counted. A record of them stays below 8 KiB: names of
/// fields and annotations have at most 317 characters.
const MAX_LISTED: usize = 20;

/// Keyed, so that nobody can add a field whose hash is that of a default.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Fields beyond the declaration that were there when our create was answered: what the server and its admission made of
/// it, and nobody else. Kept as hashes, 8 bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained(Arc<[u64]>);

impl Explained {
    /// `None` for a surplus too large to be known in full: nothing can be told apart from it.
    pub(crate) fn new(surplus: &[String]) -> Option<Self> {
        if surplus.len() >= MAX_SURPLUS {
            return None;
        }
        let mut hashes: Vec<u64> = surplus.iter().map(|path| KEYS.hash_one(path)).collect();
        hashes.sort_unstable();
        Some(Self(hashes.into()))
    }

    /// What of a surplus others added.
    pub(crate) fn added(&self, surplus: Vec<String>) -> Additions {
        let mut paths: Vec<String> =
            surplus.into_iter().filter(|path| self.0.binary_search(&KEYS.hash_one(path)).is_err()).collect();
        let more = paths.len().saturating_sub(MAX_LISTED) as u64;
        paths.truncate(MAX_LISTED);
        Additions { paths, more }
    }
}

/// Fields that others added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Additions {
    /// Where: at most 20.
    pub paths: Vec<String>,
    /// How many more there are.
    #[serde(default)]
    pub more: u64,
}

impl Additions {
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}
