//! Which kinds the cluster serves changes while writ runs: others install CustomResourceDefinitions.
//! It is asked again while something waits for a kind, and when a person asks for a reconcile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{ClusterCode, Discovery};
use manifest::{Finding, ManifestCode};

use crate::state::{State, SyncState};

/// How often it is asked at most, two requests each time: whoever installs a definition waits no
/// longer than this.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What is known of the kinds that the cluster serves.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    /// What the loop saw last.
    seen: Option<Arc<Discovery>>,
    /// When it was asked last.
    asked: Option<Instant>,
    /// Whether the answer is on its way.
    running: bool,
    /// Whether somebody wants to know.
    wanted: bool,
}

impl Kinds {
    /// Somebody wants to know what is served now.
    pub(crate) fn ask(&mut self) {
        self.wanted = true;
    }

    /// Whether it may be asked.
    fn is_due(&self, now: Instant) -> bool {
        !self.running && self.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY)
    }

    /// Takes an answer. Returns whether it is another one.
    fn learn(&mut self, served: Arc<Discovery>) -> bool {
        self.running = false;
        let news = self.seen.as_ref() != Some(&served);
        self.seen = Some(served);
        news
    }
}

impl State {
    /// Asks the cluster, if something waits for a kind and it is time.
    pub(crate) fn ask_kinds(&mut self) {
        let now = Instant::now();
        if !self.kinds.is_due(now) {
            return;
        }
        let wanted = std::mem::take(&mut self.kinds.wanted);
        self.kinds.asked = Some(now);
        if wanted || self.syncs.values().any(|state| self.waits_for_kind(state)) {
            self.kinds.running = true;
            self.refresh_discovery();
        }
    }

    /// Whether a candidate is refused, or an accepted object not watched, for want of its kind.
    fn waits_for_kind(&self, state: &SyncState) -> bool {
        let mut told = state.held.iter().flat_map(|held| &held.findings).chain(&state.failures);
        let accepted = state.accepted.iter().flat_map(|accepted| accepted.iter());
        // Objects are in the order of their kinds.
        let mut before = None;
        let mut kinds =
            accepted.map(|object| &object.reference.group_kind).filter(|kind| before.replace(*kind) != Some(kind));
        told.any(lacks_kind) || kinds.any(|kind| !self.is_watched(kind))
    }

    /// The cluster was asked. If it serves others than before, what was refused is judged again.
    pub(crate) fn discovered(&mut self) {
        if self.kinds.learn(self.cluster.discovery()) {
            self.watch_kinds();
            self.unsettle_held();
            self.consider_all();
        }
    }
}

/// Whether it is about a kind, or a version of it, that the cluster does not serve.
fn lacks_kind(finding: &Finding) -> bool {
    [ManifestCode::M117.entry(), ClusterCode::A103.entry()].contains(&finding.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_now_and_then_and_only_news_counts() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        assert!(kinds.is_due(start));
        kinds.asked = Some(start);
        kinds.running = true;
        assert!(!kinds.is_due(start + ASK_EVERY), "the answer is on its way");
        assert!(kinds.learn(Arc::default()), "nothing was known");
        assert!(!kinds.is_due(start) && kinds.is_due(start + ASK_EVERY));
        assert!(!kinds.learn(Arc::default()), "the same again is no news");
    }
}
