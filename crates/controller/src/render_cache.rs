//! Files of one Sync that were rendered and judged before, by the id of their blob: a commit that
//! changes one file of five thousand parses and judges one.
//!
//! Values are gone as soon as a few files are dealt with; only the bytes that are applied stay.
//! A verdict without findings stays with the file and what it was reached by: TrustRoot and trust
//! file, policies, and what the cluster said about its objects.

use std::{collections::BTreeMap, sync::Arc};

use git::Objects;
use manifest::{
    CrdScopes, Digest, Finding, MAX_SET_FILES, MAX_SET_OBJECTS, ManifestCode, RenderOptions, Rendered, RenderedSet,
    RepoPath, Subject, render_plain,
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

/// What kinds and policies object to.
type Findings = Vec<Finding>;

impl RenderCache {
    /// Every object that the commit declares for the job's Sync, and, if `verified` is given, what
    /// is to be said against them.
    ///
    /// # Errors
    /// What keeps the files from being rendered: every mistake of every file.
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
        self.files.retain(|path, cached| entries.get(path) == Some(&cached.blob));
        let open: Vec<(&RepoPath, &String)> =
            entries.iter().filter(|(path, _)| !self.is_done(path, job, verified)).collect();
        if entries.len() > MAX_SET_FILES {
            return Err(vec![too_much(job, entries.len(), "files", MAX_SET_FILES)]);
        }
        let findings = self.deal_with(job, objects, commit, verified, &open)?;
        let all: Vec<_> = self.files.values().flat_map(|file| file.objects.iter().cloned()).collect();
        if all.len() > MAX_SET_OBJECTS {
            return Err(vec![too_much(job, all.len(), "objects", MAX_SET_OBJECTS)]);
        }
        Ok((all, findings))
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
        objects: &Objects,
        commit: &AuthorizedCommit,
        verified: Option<&Verified>,
        open: &[(&RepoPath, &String)],
    ) -> Result<Findings, Findings> {
        let read = |blob: &str| objects.blob(blob).map_err(|error| vec![unreadable(commit, &error.to_string())]);
        let mut scopes = Scopes { discovery: &job.discovery, defined: self.definitions() };
        let (mut definitions, mut others) = (Vec::new(), Vec::new());
        for (path, blob) in open {
            let bytes = read(blob)?;
            if bytes.windows(DEFINITION.len()).any(|window| window == DEFINITION) {
                definitions.push((*path, *blob));
            } else {
                others.push((*path, *blob));
            }
        }
        let (mut findings, mut mistakes) = (Vec::new(), Vec::new());
        // Kinds may be used in any file, so all that define some come first, together.
        let batches = std::iter::once(definitions.as_slice()).chain(others.chunks(FILES_AT_A_TIME));
        for batch in batches.filter(|batch| !batch.is_empty()) {
            let files = batch.iter().map(|(_, blob)| read(blob)).collect::<Result<Vec<_>, _>>()?;
            let options = RenderOptions {
                cluster: job.cluster.clone(),
                default_namespace: &job.sync.namespace,
                target_namespace: job.spec.target_namespace.as_deref(),
                scopes: &scopes,
                sensitive_kinds: &[],
            };
            let files = batch.iter().zip(&files).map(|((path, _), bytes)| (*path, bytes.as_slice()));
            match render_plain(files, &options).and_then(|set| self.keep(job, batch, &set).map(|()| set)) {
                Err(found) => mistakes.extend(found),
                Ok(set) => {
                    set.iter().for_each(|rendered| scopes.defined.add(&rendered.object.value));
                    if let Some(verified) = verified.filter(|_| findings.len() < MAX_FINDINGS) {
                        findings.extend(self.judge(job, verified, batch, &set));
                    }
                }
            }
        }
        if mistakes.is_empty() { Ok(findings) } else { Err(mistakes) }
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
    fn keep(&mut self, job: &SyncJob, batch: &[(&RepoPath, &String)], set: &RenderedSet) -> Result<(), Findings> {
        let part_of = ApplySetId::of(&job.sync);
        let mut made: BTreeMap<&RepoPath, Vec<Arc<DesiredObject>>> = BTreeMap::new();
        let mut findings = Vec::new();
        for rendered in set.iter() {
            match (file_of(rendered), DesiredObject::new(rendered, &job.instance, &part_of)) {
                (_, Err(finding)) => findings.push(*finding),
                (Some(file), Ok(object)) => made.entry(file).or_default().push(object),
                (None, Ok(_)) => {}
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        for (path, blob) in batch {
            let objects = made.remove(path).unwrap_or_default();
            let known = self.files.get(*path).is_some_and(|known| known.objects == objects);
            if !known {
                let file = CachedFile { blob: (*blob).clone(), objects, passed: None };
                self.files.insert((*path).clone(), file);
            }
        }
        Ok(())
    }

    /// Judges a batch; the files without a finding need not be judged again while nothing changes
    /// that the verdict depends on.
    fn judge(
        &mut self,
        job: &SyncJob,
        verified: &Verified,
        batch: &[(&RepoPath, &String)],
        set: &RenderedSet,
    ) -> Findings {
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

/// Batches are bounded by the renderer; this is about all of them together.
fn too_much(job: &SyncJob, count: usize, what: &str, limit: usize) -> Finding {
    Finding {
        code: ManifestCode::M102.entry(),
        subject: Subject::Named(format!("Sync {}", job.sync)),
        rule: None,
        found: format!("{count} {what}"),
        needed: format!("at most {limit}"),
        fix: "split the path into several Syncs".to_owned(),
    }
}

fn file_of(rendered: &Rendered) -> Option<&RepoPath> {
    rendered.sources.first().map(|origin| &origin.file)
}

/// The folders with a meaning of their own declare nothing to apply.
fn is_ours(path: &RepoPath) -> bool {
    matches!(path.segments().next(), Some(".writ" | "policies" | "waivers"))
}
