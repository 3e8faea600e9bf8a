//! The kinds of the objects that a step declares or withdraws, judged by the rules that cover their files.
//!
//! Judged are all objects of a changed file as it is after the step, and those it no longer declares: removing an
//! object is a change of it. A changed file that does not parse refuses the step with the finding of `manifest`
//! (M1xx); a file that did not parse *before* the step has declared nothing that could have been applied, so it may
//! be mended. Files below `.writ/` and files that are no YAML declare nothing.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use manifest::{BuiltinScopes, CrdScopes, Declared, Finding, GroupKind, RepoPath, Scope, ScopeLookup};
use manifest::{MAX_SET_FILES, MAX_SET_OBJECTS, declared, declares_objects, expand, parse_yaml};

use crate::{
    Change, CommitId, History, HistoryError, TrustCode, TrustFile,
    refusal::{refuse, unreadable},
};

/// Most bytes of changed manifests in one step: 5,000 files of 50 KiB.
pub const MAX_STEP_BYTES: usize = 256 * 1024 * 1024;
/// Most bytes read while looking for the definition of a kind of unknown scope: the whole tree of 5,000 files.
pub const MAX_SCOPE_BYTES: usize = 256 * 1024 * 1024;

/// Most objects that the changed files of one step declare, before and after it together: all of four of the largest
/// Syncs, which may be moved or renamed as a whole (4 × 12,500 before, as many after).
pub const MAX_STEP_OBJECTS: usize = 2 * 4 * MAX_SET_OBJECTS;

/// Most that is remembered of files, in files and kinds that they define together: two Syncs of 20,000 files each, at 150
/// bytes 6 MB.
const MAX_REMEMBERED: usize = 2 * MAX_SET_FILES;

/// What files define, by the id of their blob, over the steps of one judgement: nearly all files of a tree are those of
/// the step before. What is remembered counts for the limits all the same, so a verdict does not depend on it.
#[derive(Default)]
pub(crate) struct Definitions(RefCell<Remembered>);

#[derive(Default)]
struct Remembered {
    files: BTreeMap<String, File>,
    weight: usize,
}

/// What is remembered of one file.
struct File {
    bytes: usize,
    scopes: CrdScopes,
}

impl Definitions {
    /// The kinds that CustomResourceDefinitions in the tree of a commit define. Files that do not parse define nothing.
    fn of(&self, history: &dyn History, commit: &CommitId) -> Result<CrdScopes, Finding> {
        let mut scopes = CrdScopes::default();
        let mut total = 0_usize;
        let files = history.changes(None, commit, usize::MAX).map_err(|error| unreadable(commit, &error))?;
        for Change { path, after, .. } in files.iter().filter(|change| declares_objects(&change.path)) {
            let Some(entry) = after else { continue };
            let mut remembered = self.0.borrow_mut();
            let file = match remembered.files.get(&entry.id) {
                Some(file) => file,
                None => remembered.keep(&entry.id, read_definitions(path, &read_present(history, commit, path)?)),
            };
            total = total.saturating_add(file.bytes);
            if total > MAX_SCOPE_BYTES {
                return Err(over_budget(commit, "bytes of manifests", MAX_SCOPE_BYTES));
            }
            scopes.merge(&file.scopes);
        }
        Ok(scopes)
    }
}

impl Remembered {
    /// Remembers a file, and forgets all others when they are too many.
    fn keep(&mut self, id: &str, file: File) -> &File {
        let weight = file.scopes.len().saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_REMEMBERED {
            self.files.clear();
            self.weight = weight;
        }
        self.files.entry(id.to_owned()).or_insert(file)
    }
}

/// What one file defines.
fn read_definitions(path: &RepoPath, bytes: &[u8]) -> File {
    const KIND: &[u8] = b"CustomResourceDefinition";
    let mut scopes = CrdScopes::default();
    if memchr::memmem::find(bytes, KIND).is_some() {
        for document in parse_yaml(path, bytes).unwrap_or_default() {
            for object in expand(&document.root) {
                scopes.add(&object.to_json());
            }
        }
    }
    File { bytes: bytes.len(), scopes }
}

/// One step and what is known of it so far.
struct Gate<'a> {
    history: &'a dyn History,
    policy: &'a TrustFile,
    commit: &'a CommitId,
    bytes: usize,
    objects: usize,
    known: &'a Definitions,
    definitions: Option<CrdScopes>,
}

/// Judges the kinds of everything that `commit` declares or withdraws against `predecessor`.
pub(crate) fn judge_kinds(
    history: &dyn History,
    policy: &TrustFile,
    predecessor: &CommitId,
    commit: &CommitId,
    changes: &[Change],
    known: &Definitions,
) -> Result<(), Finding> {
    let mut gate = Gate { history, policy, commit, bytes: 0, objects: 0, known, definitions: None };
    for change in changes.iter().filter(|change| declares_objects(&change.path)) {
        let path = &change.path;
        let after = match &change.after {
            Some(_) => declared(path, &gate.read(commit, path)?)?,
            None => Vec::new(),
        };
        let before = match &change.before {
            Some(_) => declared(path, &gate.read(predecessor, path)?).unwrap_or_default(),
            None => Vec::new(),
        };
        gate.count(after.len().saturating_add(before.len()))?;
        let still: BTreeSet<_> = after.iter().map(identity).collect();
        let withdrawn = before.iter().filter(|object| !still.contains(&identity(object)));
        for object in after.iter().chain(withdrawn) {
            let scope = gate.scope(path, &object.group_kind)?;
            policy.authorise_declared(commit, object, scope)?;
        }
    }
    Ok(())
}

/// What makes two declarations one object.
fn identity(object: &Declared) -> (&GroupKind, Option<&str>, &str) {
    (&object.group_kind, object.namespace.as_deref(), &object.name)
}

impl Gate<'_> {
    fn count(&mut self, objects: usize) -> Result<(), Finding> {
        self.objects = self.objects.saturating_add(objects);
        if self.objects <= MAX_STEP_OBJECTS {
            return Ok(());
        }
        let fix = "commit the changed files in several commits, each with fewer objects".to_owned();
        let what = "objects in the changed files, before and after the step";
        Err(Finding { fix: fix.into(), ..over_budget(self.commit, what, MAX_STEP_OBJECTS) })
    }

    fn read(&mut self, commit: &CommitId, path: &RepoPath) -> Result<Vec<u8>, Finding> {
        let bytes = read_present(self.history, commit, path)?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_STEP_BYTES {
            return Err(over_budget(self.commit, "bytes of changed manifests", MAX_STEP_BYTES));
        }
        Ok(bytes)
    }

    /// The scope of a kind, from the built-in table, else from the definitions in the tree of the step. The tree is
    /// read once, and only if a rule asks.
    fn scope(&mut self, path: &RepoPath, kind: &GroupKind) -> Result<Option<Scope>, Finding> {
        if !self.policy.limits_kinds(path) {
            return Ok(None);
        }
        if let Some(scope) = BuiltinScopes.scope(kind) {
            return Ok(Some(scope));
        }
        let definitions = match self.definitions.take() {
            Some(definitions) => definitions,
            None => self.known.of(self.history, self.commit)?,
        };
        let scope = definitions.scope(kind);
        self.definitions = Some(definitions);
        Ok(scope)
    }
}

/// The bytes of a file that a tree is known to have.
fn read_present(history: &dyn History, commit: &CommitId, path: &RepoPath) -> Result<Vec<u8>, Finding> {
    let bytes = history.read(commit, path).map_err(|error| unreadable(commit, &error))?;
    bytes.ok_or_else(|| unreadable(commit, &HistoryError::Missing { object: format!("file {path}") }))
}

/// W403 for a limit.
pub(crate) fn over_budget(commit: &CommitId, what: &str, limit: usize) -> Finding {
    let fix = "advance in smaller portions".to_owned();
    refuse(TrustCode::W403, commit, format!("more than {limit} {what}"), format!("at most {limit}"), fix)
}
