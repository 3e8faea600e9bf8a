//! An object database that remembers whether it could be read.

use std::cell::OnceCell;

use manifest::RepoPath;

use crate::{Change, CommitId, Entry, History, HistoryError, TagId, TreeId};

/// Passes every question on, and keeps the first failure to read. Every error refuses; this one is no verdict.
pub(crate) struct Watched<'a> {
    history: &'a dyn History,
    failure: OnceCell<String>,
}

impl<'a> Watched<'a> {
    pub(crate) const fn new(history: &'a dyn History) -> Self {
        Self { history, failure: OnceCell::new() }
    }

    /// Why it could not be read, if it could not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    fn watch<T>(&self, answer: Result<T, HistoryError>) -> Result<T, HistoryError> {
        if let Err(error @ HistoryError::Read { .. }) = &answer {
            // Only the first is kept.
            self.failure.get_or_init(|| error.to_string());
        }
        answer
    }
}

impl History for Watched<'_> {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.watch(self.history.commit(id))
    }

    fn tag(&self, id: &TagId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.watch(self.history.tag(id))
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.watch(self.history.changes(from, to, limit))
    }

    fn changes_in(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
        limit: usize,
    ) -> Result<Vec<Change>, HistoryError> {
        self.watch(self.history.changes_in(from, to, folder, limit))
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        self.watch(self.history.entry(commit, path))
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        self.watch(self.history.read(commit, path))
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        self.watch(self.history.list(commit, folder))
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        self.watch(self.history.side_commits(mainline, step, limit))
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        self.watch(self.history.is_ancestor(ancestor, of))
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.watch(self.history.attestations(commit, tree))
    }
}
