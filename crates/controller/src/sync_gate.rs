//! The sync gate's facts: a Sync's folder at a verified commit, rendered and judged. Blocking; runs
//! on a thread of its own. What to do with them is `plan::decide`'s.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cluster::Discovery;
use git::{Mirror, Objects};
use manifest::{
    ClusterId, CrdScopes, Finding, GroupKind, ObjectRef, RenderOptions, Rendered, RenderedSet, RepoPath, Scope,
    ScopeLookup, render_plain,
};
use plan::{DesiredState, DesiredStateError, InstanceId, SyncRef, SyncSpec};
use policy::Operation;
use trust::{AuthorizedCommit, HistoryError};

use crate::{fault::FaultPoint, source_gate::Verified};

/// What one run of the gate needs.
#[derive(Debug, Clone)]
pub(crate) struct SyncJob {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// The Sync.
    pub sync: SyncRef,
    /// Its obeyed spec.
    pub spec: Arc<SyncSpec>,
    /// writ's own namespace.
    pub(crate) own_namespace: String,
    /// This controller.
    pub instance: InstanceId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its kinds.
    pub discovery: Arc<Discovery>,
    /// Objects that are there: applying them is an update.
    pub present: Arc<HashSet<ObjectRef>>,
    /// Files that were rendered before.
    pub cache: Arc<Mutex<RenderCache>>,
}

/// A rendered and judged candidate.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What the commit declares for the Sync.
    pub desired: Arc<DesiredState>,
    /// What kinds and policies object to.
    pub findings: Vec<Finding>,
}

/// Renders `verified` for the job's Sync and judges it.
///
/// # Errors
/// What keeps the set from being rendered: every mistake of every file.
pub(crate) fn prepare(job: &SyncJob, verified: &Verified) -> Result<Prepared, Vec<Finding>> {
    let (set, desired) = render(job, &verified.commit)?;
    let mut findings = kinds(job, &set, verified);
    let facts = Facts { discovery: &job.discovery, present: &job.present };
    findings.extend(verified.policies.judge(&set, &facts));
    FaultPoint::Prepared.pass();
    Ok(Prepared { desired: Arc::new(desired), findings })
}

/// Renders a commit that was accepted before, without judging it again: after a restart the cluster
/// is healed to it whatever today's policies say.
///
/// # Errors
/// When the mirror has lost it or it no longer renders.
pub(crate) fn resume(job: &SyncJob, commit: &AuthorizedCommit) -> Result<Arc<DesiredState>, Vec<Finding>> {
    render(job, commit).map(|(_, desired)| Arc::new(desired))
}

fn render(job: &SyncJob, commit: &AuthorizedCommit) -> Result<(RenderedSet, DesiredState), Vec<Finding>> {
    let mirror = Mirror::open(&job.mirror).map_err(|error| vec![git::GitError::from(error).finding()])?;
    let set = {
        // One Sync renders at a time in its own cache; a panic elsewhere left only whole entries.
        let mut cache = job.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.render(job, mirror.objects(), commit)?
    };
    let desired = DesiredState::new(commit.clone(), commit.tree(), job.sync.clone(), &job.instance, &set);
    match desired {
        Ok(desired) => Ok((set, desired)),
        Err(DesiredStateError::Annotations(findings)) => Err(findings),
        Err(error @ DesiredStateError::OtherTree { .. }) => Err(vec![unreadable(commit, &error.to_string())]),
    }
}

/// Kinds are judged a second time here, on the rendered identity, against every rule that covers a
/// file the object came from. Objects in writ's own namespace, or that bind its ServiceAccount, need
/// a rule that names their kind.
fn kinds(job: &SyncJob, set: &RenderedSet, verified: &Verified) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rendered in set.iter() {
        let reference = &rendered.object.reference;
        let scope = if reference.namespace.is_some() { Scope::Namespaced } else { Scope::Cluster };
        for source in &rendered.sources {
            let file = &verified.trust_file;
            let (kind, name) = (&reference.group_kind, &reference.name);
            let verdict = file.authorise_kind(&verified.commit.id(), &source.file, kind, name, Some(scope));
            let named = || file.rules_for(&source.file).any(|rule| rule.kinds.names(kind));
            if let Err(finding) = verdict {
                findings.push(finding);
            } else if touches_writ(job, rendered) && !named() {
                findings.push(own_ground(reference, &source.file));
            }
        }
    }
    findings
}

/// Whether the object lives in writ's namespace or gives rights to its ServiceAccount.
fn touches_writ(job: &SyncJob, rendered: &Rendered) -> bool {
    let own = Some(job.own_namespace.as_str());
    let subjects = rendered.object.value.get("subjects").and_then(serde_json::Value::as_array);
    let binds = subjects.into_iter().flatten().any(|subject| {
        let text = |field: &str| subject.get(field).and_then(serde_json::Value::as_str);
        match text("kind") {
            Some("ServiceAccount") => text("namespace").or(rendered.object.reference.namespace.as_deref()) == own,
            // Groups that every ServiceAccount of the namespace, or of the cluster, is in.
            Some("Group") => text("name").is_some_and(|name| {
                name == "system:serviceaccounts" || name.strip_prefix("system:serviceaccounts:") == own
            }),
            Some("User") => text("name")
                .and_then(|name| name.strip_prefix("system:serviceaccount:"))
                .and_then(|name| name.split_once(':'))
                .is_some_and(|(namespace, _)| Some(namespace) == own),
            _ => false,
        }
    });
    rendered.object.reference.namespace.as_deref() == own || binds
}

fn own_ground(reference: &ObjectRef, file: &RepoPath) -> Finding {
    let kind = &reference.group_kind;
    Finding {
        code: trust::TrustCode::W305.entry(),
        subject: manifest::Subject::Object { reference: reference.clone(), field: None },
        rule: None,
        found: format!(
            "{file} declares an object in writ's own namespace, or one that gives rights to its ServiceAccount"
        ),
        needed: "a rule for the path whose kinds name it by its group".to_owned(),
        fix: format!("have \"{}/{}\" added to kinds of a rule for {file}", kind.group, kind.kind),
    }
}

struct Facts<'a> {
    discovery: &'a Discovery,
    present: &'a HashSet<ObjectRef>,
}

impl policy::Facts for Facts<'_> {
    fn operation(&self, reference: &ObjectRef) -> Operation {
        if self.present.contains(reference) { Operation::Update } else { Operation::Create }
    }

    fn resource(&self, kind: &GroupKind) -> Option<String> {
        self.discovery.preferred(kind).map(|resource| resource.plural.clone())
    }
}

/// Files of one Sync that were rendered before, by the id of their blob: a commit that changes one
/// file of five thousand parses one.
#[derive(Debug, Default)]
pub(crate) struct RenderCache {
    files: BTreeMap<RepoPath, CachedFile>,
    /// What the files were rendered with; anything else invalidates them.
    options: Option<(Option<String>, String)>,
}

#[derive(Debug)]
struct CachedFile {
    blob: String,
    objects: Vec<Rendered>,
}

impl RenderCache {
    fn render(
        &mut self,
        job: &SyncJob,
        objects: &Objects,
        commit: &AuthorizedCommit,
    ) -> Result<RenderedSet, Vec<Finding>> {
        let read = |error: &HistoryError| vec![unreadable(commit, &error.to_string())];
        let options = (job.spec.target_namespace.clone(), job.sync.namespace.clone());
        if self.options.as_ref() != Some(&options) {
            self.files.clear();
            self.options = Some(options);
        }
        let entries: BTreeMap<RepoPath, String> = objects
            .entries(&commit.id(), &job.spec.path)
            .map_err(|error| read(&error))?
            .into_iter()
            .filter(|(path, _)| !is_ours(path))
            .map(|(path, entry)| (path, entry.id))
            .collect();
        self.files.retain(|path, cached| entries.get(path) == Some(&cached.blob));
        let mut changed = Vec::new();
        for (path, blob) in &entries {
            if !self.files.contains_key(path) {
                changed.push((path, blob, objects.blob(blob).map_err(|error| read(&error))?));
            }
        }
        let fresh = self.render_changed(job, &changed)?;
        for (path, blob, _) in &changed {
            self.files.insert((*path).clone(), CachedFile { blob: (*blob).clone(), objects: Vec::new() });
        }
        for rendered in fresh.into_objects() {
            let file = rendered.sources.first().map(|origin| origin.file.clone());
            if let Some(cached) = file.and_then(|file| self.files.get_mut(&file)) {
                cached.objects.push(rendered);
            }
        }
        let all = RenderedSet::new(self.files.values().flat_map(|file| file.objects.iter().cloned()));
        if all.is_err() {
            // Two files declare one object: neither may stay behind as if it had been accepted.
            self.files.clear();
        }
        all
    }

    fn render_changed(
        &self,
        job: &SyncJob,
        changed: &[(&RepoPath, &String, Vec<u8>)],
    ) -> Result<RenderedSet, Vec<Finding>> {
        let known = self.files.values().flat_map(|file| file.objects.iter().map(|rendered| &rendered.object.value));
        let scopes = Scopes { discovery: &job.discovery, defined: CrdScopes::of(known) };
        let options = RenderOptions {
            cluster: job.cluster.clone(),
            default_namespace: &job.sync.namespace,
            target_namespace: job.spec.target_namespace.as_deref(),
            scopes: &scopes,
            sensitive_kinds: &[],
        };
        render_plain(changed.iter().map(|(path, _, bytes)| (*path, bytes.as_slice())), &options)
    }
}

/// The folders with a meaning of their own declare nothing to apply.
fn is_ours(path: &RepoPath) -> bool {
    matches!(path.segments().next(), Some(".writ" | "policies" | "waivers"))
}

struct Scopes<'a> {
    discovery: &'a Discovery,
    defined: CrdScopes,
}

impl ScopeLookup for Scopes<'_> {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.discovery.scope(kind).or_else(|| self.defined.scope(kind)).or_else(|| manifest::BuiltinScopes.scope(kind))
    }
}

fn unreadable(commit: &AuthorizedCommit, why: &str) -> Finding {
    Finding {
        code: trust::TrustCode::W403.entry(),
        subject: manifest::Subject::Commit(commit.id().to_string()),
        rule: None,
        found: why.to_owned(),
        needed: "a mirror from which every file can be read".to_owned(),
        fix: "remove what is over the limit; a damaged mirror is fetched again when its folder is removed".to_owned(),
    }
}
