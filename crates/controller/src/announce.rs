//! Whom people's Events are about, and what is said in them: GitSources, Syncs and TrustRoots, and what was found.

use cluster::{Note, Regarding, crd};
use jiff::Timestamp;
use manifest::Finding;
use plan::SyncRef;

use crate::{
    outbox::Announcement,
    source_events,
    state::{Held, Key, State},
};

/// The most findings announced at once: what fits on a screen; status and log have all.
pub(crate) const MAX_ANNOUNCED: usize = 20;

impl State {
    /// Tells a Sync's owners what was found.
    pub(crate) fn announce_sync(&self, sync: &SyncRef, findings: &[Finding]) {
        self.announce_about(sync, findings, "Reconcile", None);
    }

    /// Tells a Sync's owners which commit is held, whose it is, and why.
    pub(crate) fn announce_held_sync(&self, sync: &SyncRef, held: &Held) {
        self.announce_about(sync, &held.findings, "Reconcile", held.words().as_deref());
    }

    /// Tells a GitSource's owners what was found.
    pub(crate) fn announce_source(&self, key: &Key, findings: &[Finding]) {
        self.announce_verdicts(key, findings.iter().map(|finding| Note::of(finding, "Verify", None)));
    }

    /// Tells a GitSource's owners which commit is held, whose it is, and why.
    pub(crate) fn announce_held_source(&self, key: &Key, held: &Held) {
        let words = held.words();
        self.announce_verdicts(
            key,
            held.findings.iter().map(|finding| source_events::refused(finding, words.as_deref())),
        );
    }

    /// Tells a GitSource's owners what became of commits.
    pub(crate) fn announce_verdicts(&self, key: &Key, notes: impl IntoIterator<Item = Note>) {
        let Some(source) = self.sources.get(key) else { return };
        let regarding = regarding("GitSource", Some(&key.namespace), &key.name, source.resource.metadata.uid.clone());
        self.tell(&regarding, notes);
    }

    /// Tells the platform's admins what was found about a TrustRoot.
    pub(crate) fn announce_root(&self, name: &str, finding: &Finding) {
        let Some(root) = self.roots.get(name) else { return };
        let regarding = regarding("TrustRoot", None, name, root.resource.metadata.uid.clone());
        self.announce(&regarding, std::slice::from_ref(finding), "Refresh", None);
    }

    /// Tells the platform's admins what was found: about every TrustRoot, since the log is that of all.
    pub(crate) fn announce_roots(&self, finding: &Finding) {
        for (name, root) in &self.roots {
            let regarding = regarding("TrustRoot", None, name, root.resource.metadata.uid.clone());
            self.announce(&regarding, std::slice::from_ref(finding), "Log", None);
        }
    }

    fn announce_about(&self, sync: &SyncRef, findings: &[Finding], action: &'static str, words: Option<&str>) {
        let Some(state) = self.syncs.get(sync) else { return };
        let regarding = regarding("Sync", Some(&sync.namespace), &sync.name, state.resource.metadata.uid.clone());
        self.announce(&regarding, findings, action, words);
    }

    pub(crate) fn announce(
        &self,
        regarding: &Regarding,
        findings: &[Finding],
        action: &'static str,
        words: Option<&str>,
    ) {
        self.tell(regarding, findings.iter().map(|finding| Note::of(finding, action, words)));
    }

    pub(crate) fn tell(&self, regarding: &Regarding, notes: impl IntoIterator<Item = Note>) {
        let at = Timestamp::now();
        for note in notes.into_iter().take(MAX_ANNOUNCED) {
            self.reporter.event(Announcement { regarding: regarding.clone(), note, at });
        }
    }
}

/// What an Event is about.
pub(crate) fn regarding(kind: &str, namespace: Option<&str>, name: &str, uid: Option<String>) -> Regarding {
    Regarding {
        api_version: format!("{}/{}", crd::GROUP, crd::VERSION),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        uid,
    }
}
