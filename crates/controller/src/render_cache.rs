//! Files of one Sync that were rendered and judged before, by the id of their blob: a commit that
//! changes one file of five thousand parses and judges one.
//!
//! Values are gone as soon as a few files are dealt with; only the bytes that are applied stay.
//! A verdict without findings stays with the file and what it was reached by: TrustRoot and trust
//! file, policies, and what the cluster said about its objects.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use git::Objects;
use manifest::{
    CrdScopes, Digest, Finding, GroupKind, MAX_SET_BYTES, MAX_SET_FILES, MAX_SET_OBJECTS, ManifestCode, RenderOptions,
    Rendered, RenderedSet, RepoPath, Scope, ScopeLookup, Subject, declares_objects, render_plain,
};
use plan::{ApplySetId, DesiredObject};
use policy::{Facts as _, MAX_FINDINGS, Operation};
use trust::AuthorizedCommit;

use crate::{
    source_gate::Verified,
    sync_gate::{Facts, Scopes, SyncJob, kinds, unreadable},
};

/// Files that are values in memory at the same time: 128 manifests of 1.4 kB take some 3 MiB then.
const FILES_AT_A_TIME: usize = 128;
/// What every file that defines a kind contains.
const DEFINITION: &[u8] = b"CustomResourceDefinition";

/// Files of one Sync that were rendered before.
#[derive(Debug, Default)]
pub(crate) struct RenderCache {
    files: BTreeMap<RepoPath, CachedFile>,
    /// What the files were rendered with; anything else invalidates them.
    options: Option<(Option<String>, String)>,
}

#[derive(Debug)]
struct CachedFile {
    blob: String,
    bytes: usize,
    objects: Vec<Arc<DesiredObject>>,
    /// What it was found faultless by.
    passed: Option<Passed>,
}

/// What a verdict about a file depends on, besides its bytes and path.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    trust: Digest,
    policy: Digest,
    /// What policies are told about each object; empty without policies.
    facts: Vec<(Operation, Option<String>)>,
}

impl Passed {
    fn of(job: &SyncJob, verified: &Verified, objects: &[Arc<DesiredObject>]) -> Self {
        let facts = Facts { discovery: &job.discovery, present: &job.present };
        let told = |object: &Arc<DesiredObject>| {
            (policy::Facts::operation(&facts, &object.reference), facts.resource(&object.reference.group_kind))
        };
        let asked = !verified.policies.policies().is_empty();
        Self {
            trust: verified.commit.trust_digest(),
            policy: verified.policies.digest(),
            facts: if asked { objects.iter().map(told).collect() } else { Vec::new() },
        }
    }
}

/// What kinds and policies object to, or what cannot be rendered.
type Findings = Vec<Finding>;

/// Files with the ids of their blobs.
type Batch<'a> = [(&'a RepoPath, &'a String)];

/// Where files are read.
#[derive(Clone, Copy)]
struct Tree<'a> {
    objects: &'a Objects,
    commit: &'a AuthorizedCommit,
}

impl Tree<'_> {
    /// The bytes of a file; of one that declares nothing, none: it may be as large as a blob.
    fn read(&self, path: &RepoPath, blob: &str) -> Result<Vec<u8>, Findings> {
        if !declares_objects(path) {
            return Ok(Vec::new());
        }
        self.objects.blob(blob).map_err(|error| vec![unreadable(self.commit, &error.to_string())])
    }

    fn read_all(&self, batch: &Batch<'_>) -> Result<Vec<Vec<u8>>, Findings> {
        batch.iter().map(|(path, blob)| self.read(path, blob)).collect()
    }
}

/// Files that were dealt with.
#[derive(Default)]
struct Dealt {
    findings: Findings,
    /// Objects of files that render in part.
    parts: Vec<Arc<DesiredObject>>,
}

impl RenderCache {
    /// Every object that the commit declares for the job's Sync, and, if `verified` is given, what
    /// is to be said against them. Without `verified` the commit was accepted before: then what does
    /// not render any more is left out, and the findings say why.
    ///
    /// # Errors
    /// What keeps the files from being rendered: every mistake of every file. For a commit that was
    /// accepted before, only that it cannot be read.
    pub(crate) fn render(
        &mut self,
        job: &SyncJob,
        objects: &Objects,
        commit: &AuthorizedCommit,
        verified: Option<&Verified>,
    ) -> Result<(Vec<Arc<DesiredObject>>, Findings), Findings> {
        let options = (job.spec.target_namespace.clone(), job.sync.namespace.clone());
        if self.options.as_ref() != Some(&options) {
            self.files.clear();
            self.options = Some(options);
        }
        let entries: BTreeMap<RepoPath, String> = objects
            .entries(&commit.id(), &job.spec.path)
            .map_err(|error| vec![unreadable(commit, &error.to_string())])?
            .into_iter()
            .filter(|(path, _)| !is_ours(path))
            .map(|(path, entry)| (path, entry.id))
            .collect();
        if entries.len() > MAX_SET_FILES {
            return Err(vec![too_much(job, entries.len(), "files", MAX_SET_FILES)]);
        }
        self.files.retain(|path, cached| entries.get(path) == Some(&cached.blob));
        // The definition that a file needed may have gone, or say something else now.
        let scopes = Scopes { discovery: &job.discovery, defined: self.definitions() };
        self.files.retain(|_, file| file.objects.iter().all(|object| is_in_scope(object, &scopes)));
        let open: Vec<(&RepoPath, &String)> =
            entries.iter().filter(|(path, _)| !self.is_done(path, job, verified)).collect();
        let dealt = self.deal_with(job, Tree { objects, commit }, verified, &open)?;
        let mut all: Vec<_> = self.files.values().flat_map(|file| file.objects.iter().cloned()).collect();
        all.extend(dealt.parts);
        // What was accepted before was within the limits.
        if all.len() > MAX_SET_OBJECTS && verified.is_some() {
            return Err(vec![too_much(job, all.len(), "objects", MAX_SET_OBJECTS)]);
        }
        Ok((all, dealt.findings))
    }

    fn is_done(&self, path: &RepoPath, job: &SyncJob, verified: Option<&Verified>) -> bool {
        self.files.get(path).is_some_and(|file| {
            verified.is_none_or(|verified| file.passed.as_ref() == Some(&Passed::of(job, verified, &file.objects)))
        })
    }

    /// Renders and judges files that are not known, or not known to be faultless.
    fn deal_with(
        &mut self,
        job: &SyncJob,
        tree: Tree<'_>,
        verified: Option<&Verified>,
        open: &Batch<'_>,
    ) -> Result<Dealt, Findings> {
        let mut scopes = Scopes { discovery: &job.discovery, defined: self.definitions() };
        let (mut definitions, mut others) = (Vec::new(), Vec::new());
        // Many files are in memory at a time, so they are added up before.
        let again: BTreeSet<&RepoPath> = open.iter().map(|(path, _)| *path).collect();
        let known = self.files.iter().filter(|(path, _)| !again.contains(path)).map(|(_, file)| file.bytes);
        let mut total: usize = known.sum();
        for (path, blob) in open {
            let bytes = tree.read(path, blob)?;
            total = total.saturating_add(bytes.len());
            if total > MAX_SET_BYTES && verified.is_some() {
                let found = format!("more than {MAX_SET_BYTES} bytes");
                return Err(vec![Finding { found: found.into(), ..too_much(job, total, "bytes", MAX_SET_BYTES) }]);
            }
            if memchr::memmem::find(&bytes, DEFINITION).is_some() {
                definitions.push((*path, *blob));
            } else {
                others.push((*path, *blob));
            }
        }
        let (mut dealt, mut mistakes, mut doubtful) = (Dealt::default(), Vec::new(), Vec::new());
        // Kinds may be used in any file, so all that define some come first, together.
        let batches = std::iter::once(definitions.as_slice()).chain(others.chunks(FILES_AT_A_TIME));
        for batch in batches.filter(|batch| !batch.is_empty()) {
            match (self.deal_with_batch(job, tree, batch, &mut scopes)?, verified) {
                (Ok(set), Some(verified)) if dealt.findings.len() < MAX_FINDINGS => {
                    dealt.findings.extend(self.judge(job, verified, batch, &set));
                }
                (Ok(_), _) => {}
                (Err(found), Some(_)) => mistakes.extend(found),
                (Err(_), None) => doubtful.extend_from_slice(batch),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        self.deal_in_part(job, tree, doubtful, scopes, &mut dealt)?;
        Ok(dealt)
    }

    /// Renders files together and keeps what they declare. The inner error is about what they say, the
    /// outer one that they cannot be read.
    fn deal_with_batch(
        &mut self,
        job: &SyncJob,
        tree: Tree<'_>,
        batch: &Batch<'_>,
        scopes: &mut Scopes<'_>,
    ) -> Result<Result<RenderedSet, Findings>, Findings> {
        let files = tree.read_all(batch)?;
        let rendered = render_files(job, batch, &files, scopes).and_then(|set| {
            self.keep(job, batch, &files, &set)?;
            Ok(set)
        });
        if let Ok(set) = &rendered {
            set.iter().for_each(|rendered| scopes.defined.add(&rendered.object.value));
        }
        Ok(rendered)
    }

    /// Files of a commit that was accepted before, among which some do not render any more: each by
    /// itself, and of those without the objects whose kind is not known.
    fn deal_in_part(
        &mut self,
        job: &SyncJob,
        tree: Tree<'_>,
        mut doubtful: Vec<(&RepoPath, &String)>,
        mut scopes: Scopes<'_>,
        dealt: &mut Dealt,
    ) -> Result<(), Findings> {
        loop {
            let mut left = Vec::new();
            for file in &doubtful {
                if self.deal_with_batch(job, tree, &[*file], &mut scopes)?.is_err() {
                    left.push(*file);
                }
            }
            // A definition that was found may be what others lacked.
            if left.is_empty() || left.len() == doubtful.len() {
                doubtful = left;
                break;
            }
            doubtful = left;
        }
        for file in doubtful {
            let (batch, files) = ([file], tree.read_all(&[file])?);
            let why = render_files(job, &batch, &files, &scopes).err();
            let part = render_in_part(job, &batch, &files, &mut scopes);
            let objects = part.and_then(|set| Ok(made(job, &set)?.into_values().flatten().collect::<Vec<_>>()));
            match objects {
                Ok(objects) => dealt.parts.extend(objects),
                // Nothing of it can be used.
                Err(found) if why.is_none() => dealt.findings.extend(found),
                Err(_) => {}
            }
            dealt.findings.extend(why.into_iter().flatten());
        }
        Ok(())
    }

    /// The kinds that known files define.
    fn definitions(&self) -> CrdScopes {
        let mut scopes = CrdScopes::default();
        let objects = self.files.values().flat_map(|file| &file.objects);
        for object in objects.filter(|object| object.reference.group_kind.kind == "CustomResourceDefinition") {
            if let Ok(value) = object.value() {
                scopes.add(&value);
            }
        }
        scopes
    }

    /// Keeps what is applied of a batch. Objects that are known already stay the same ones, shared
    /// with the states that have them.
    fn keep(&mut self, job: &SyncJob, batch: &Batch<'_>, files: &[Vec<u8>], set: &RenderedSet) -> Result<(), Findings> {
        let mut made = made(job, set)?;
        for ((path, blob), bytes) in batch.iter().zip(files) {
            let objects = made.remove(path).unwrap_or_default();
            let known = self.files.get(*path).is_some_and(|known| known.objects == objects);
            if !known {
                let file = CachedFile { blob: (*blob).clone(), bytes: bytes.len(), objects, passed: None };
                self.files.insert((*path).clone(), file);
            }
        }
        Ok(())
    }

    /// Judges a batch; the files without a finding need not be judged again while nothing changes
    /// that the verdict depends on.
    fn judge(&mut self, job: &SyncJob, verified: &Verified, batch: &Batch<'_>, set: &RenderedSet) -> Findings {
        let facts = Facts { discovery: &job.discovery, present: &job.present };
        let mut findings = kinds(job, set, verified);
        findings.extend(verified.policies.judge(set, &facts));
        // A finding does not say which file it is about in a form to rely on: one spoils its batch.
        let faultless = findings.is_empty();
        for (path, _) in batch {
            if let Some(file) = self.files.get_mut(*path) {
                file.passed = faultless.then(|| Passed::of(job, verified, &file.objects));
            }
        }
        findings
    }
}

/// What a set is as objects of the job's Sync, by file.
fn made<'a>(job: &SyncJob, set: &'a RenderedSet) -> Result<BTreeMap<&'a RepoPath, Vec<Arc<DesiredObject>>>, Findings> {
    let part_of = ApplySetId::of(&job.sync);
    let mut made: BTreeMap<&RepoPath, Vec<Arc<DesiredObject>>> = BTreeMap::new();
    let mut findings = Vec::new();
    for rendered in set.iter() {
        match (file_of(rendered), DesiredObject::new(rendered, &job.instance, &part_of, &job.digest_key)) {
            (_, Err(finding)) => findings.push(*finding),
            (Some(file), Ok(object)) => made.entry(file).or_default().push(object),
            (None, Ok(_)) => {}
        }
    }
    if findings.is_empty() { Ok(made) } else { Err(findings) }
}

fn render_files(
    job: &SyncJob,
    batch: &Batch<'_>,
    files: &[Vec<u8>],
    scopes: &dyn ScopeLookup,
) -> Result<RenderedSet, Findings> {
    let options = RenderOptions {
        cluster: job.cluster.clone(),
        default_namespace: &job.sync.namespace,
        target_namespace: job.spec.target_namespace.as_deref(),
        scopes,
        sensitive_kinds: &[],
    };
    render_plain(batch.iter().zip(files).map(|((path, _), bytes)| (*path, bytes.as_slice())), &options)
}

/// Takes every kind that is not known for a namespaced one, and notes it.
struct Guessing<'a> {
    known: &'a Scopes<'a>,
    unknown: RefCell<BTreeSet<GroupKind>>,
}

impl ScopeLookup for Guessing<'_> {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.known.scope(kind).or_else(|| {
            self.unknown.borrow_mut().insert(kind.clone());
            Some(Scope::Namespaced)
        })
    }
}

/// The objects of a file whose kind is known.
fn render_in_part(
    job: &SyncJob,
    batch: &Batch<'_>,
    files: &[Vec<u8>],
    scopes: &mut Scopes<'_>,
) -> Result<RenderedSet, Findings> {
    let guessed = |scopes: &Scopes<'_>| {
        let guessing = Guessing { known: scopes, unknown: RefCell::default() };
        render_files(job, batch, files, &guessing).map(|set| (set, guessing.unknown.into_inner()))
    };
    let (set, _) = guessed(scopes)?;
    // The file itself may define some.
    set.iter().for_each(|rendered| scopes.defined.add(&rendered.object.value));
    let (set, unknown) = guessed(scopes)?;
    let known = |rendered: &Rendered| !unknown.contains(&rendered.object.reference.group_kind);
    RenderedSet::new(set.into_objects().into_iter().filter(known))
}

fn is_in_scope(object: &DesiredObject, scopes: &Scopes<'_>) -> bool {
    let scope = if object.reference.namespace.is_some() { Scope::Namespaced } else { Scope::Cluster };
    scopes.scope(&object.reference.group_kind) == Some(scope)
}

/// Batches are bounded by the renderer; this is about all of them together.
fn too_much(job: &SyncJob, count: usize, what: &str, limit: usize) -> Finding {
    Finding {
        code: ManifestCode::M102.entry(),
        subject: Subject::Named(format!("Sync {}", job.sync)),
        rule: None,
        found: format!("{count} {what}").into(),
        needed: format!("at most {limit}").into(),
        fix: "split the path into several Syncs".into(),
    }
}

fn file_of(rendered: &Rendered) -> Option<&RepoPath> {
    rendered.sources.first().map(|origin| &origin.file)
}

/// The folders with a meaning of their own declare nothing to apply.
pub(crate) fn is_ours(path: &RepoPath) -> bool {
    matches!(path.segments().next(), Some(".writ" | "policies" | "waivers"))
}
