//! What a verdict about an order rests on: one that is not obeyed today may be good with the next trust file or head.

use std::hash::{BuildHasher, Hash, Hasher};

use manifest::Digest;
use plan::SyncRef;
use trust::CommitId;

use crate::{
    order_intake::KEYS,
    state::{Key, State},
};

/// What the verdict about an order rests on, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Basis {
    trust: u64,
    /// That, the commits that are seen and verified, and what the Sync accepted.
    heads: u64,
}

/// As long as what a verdict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stands {
    /// For ever: its time is over, or it was obeyed.
    Always,
    /// As long as trust is the same.
    WithTrust(u64),
    /// As long as trust and the commits are the same.
    WithHeads(u64),
}

impl Basis {
    pub(crate) fn new(trust: Option<Digest>, commits: &[Option<CommitId>]) -> Self {
        let trust = KEYS.hash_one(trust.map(|digest| *digest.as_bytes()));
        Self { trust, heads: KEYS.hash_one((trust, commits)) }
    }

    /// A verdict that another head changes nothing about.
    pub(crate) const fn of_trust(self) -> Stands {
        Stands::WithTrust(self.trust)
    }

    /// Any other.
    pub(crate) const fn of_heads(self) -> Stands {
        Stands::WithHeads(self.heads)
    }

    /// The verdicts that still stand.
    pub(crate) const fn standing(self) -> [Stands; 3] {
        [Stands::Always, self.of_trust(), self.of_heads()]
    }
}

impl State {
    /// For orders about a source.
    pub(crate) fn basis_of_source(&self, source: &Key) -> Basis {
        self.basis(source, [None; 2])
    }

    /// For orders about a Sync.
    pub(crate) fn basis_of_sync(&self, sync: &SyncRef) -> Basis {
        let Some(source) = self.source_key(sync) else { return Basis::default() };
        let accepted = self.syncs.get(sync).map_or([None; 2], |state| {
            [
                state.accepted.as_ref().map(|desired| desired.commit().id()),
                state.rolled_back.as_ref().map(|one| one.over),
            ]
        });
        self.basis(&source, accepted)
    }

    fn basis(&self, source: &Key, [accepted, over]: [Option<CommitId>; 2]) -> Basis {
        let Some(state) = self.sources.get(source) else { return Basis::default() };
        let verified = state.verified.as_ref();
        let trust = verified.zip(self.root_of(source)).map(|(verified, root)| verified.trust_digest(&root));
        Basis::new(trust, &[state.head, verified.map(|verified| verified.commit.id()), accepted, over])
    }

    /// For all orders, to see that one of them moved.
    pub(crate) fn basis_of_all(&self) -> Basis {
        let (mut trust, mut heads) = (KEYS.build_hasher(), KEYS.build_hasher());
        for source in self.sources.keys() {
            let basis = self.basis_of_source(source);
            (source, basis.trust).hash(&mut trust);
            basis.heads.hash(&mut heads);
        }
        for sync in self.syncs.values() {
            sync.accepted.as_ref().map(|desired| desired.commit().id()).hash(&mut heads);
            sync.rolled_back.as_ref().map(|one| one.over).hash(&mut heads);
        }
        Basis { trust: trust.finish(), heads: heads.finish() }
    }
}
