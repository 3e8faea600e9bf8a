//! The sync gate's facts: a Sync's folder at a verified commit, rendered and judged. Blocking; runs
//! on a thread of its own. What to do with them is `plan::decide`'s.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cluster::Discovery;
use git::{Archive, Mirror, Objects};
use manifest::{
    ClusterId, CrdScopes, DigestKey, Finding, GroupKind, ObjectRef, Rendered, RenderedSet, RepoPath, Scope, ScopeLookup,
};
use plan::{DesiredState, DesiredStateError, InstanceId, PruneTrailer, SyncRef, SyncSpec};
use policy::Operation;
use trust::{AuthorizedCommit, CommitId, DeclaredObject, TrustRootSpec};

use crate::{
    fault::FaultPoint,
    prune_trailer::{self, Asked},
    render_cache::{RenderCache, is_ours},
    source_gate::Verified,
};

/// What one run of the gate needs.
#[derive(Debug, Clone)]
pub(crate) struct SyncJob {
    /// The mirror's directory.
    pub mirror: PathBuf,
    /// What is in force of the source, apart from it.
    pub(crate) archive: Archive,
    /// The Sync.
    pub sync: SyncRef,
    /// Its obeyed spec.
    pub spec: Arc<SyncSpec>,
    /// writ's own namespace.
    pub(crate) own_namespace: String,
    /// This controller.
    pub instance: InstanceId,
    /// For the digests of sensitive objects.
    pub(crate) digest_key: DigestKey,
    /// The TrustRoot of its source.
    pub(crate) root: Option<Arc<TrustRootSpec>>,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its kinds.
    pub discovery: Arc<Discovery>,
    /// Objects that are there: applying them is an update.
    pub present: Arc<HashSet<ObjectRef>>,
    /// The revision that was applied last: commits since then may speak of pruning.
    pub(crate) since: Option<CommitId>,
    /// The commit that the Sync was rolled back from: what declares the same for it changes nothing.
    pub(crate) rolled_back_from: Option<CommitId>,
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
    /// What its commits say about pruning.
    pub(crate) trailer: PruneTrailer,
}

/// Renders `verified` for the job's Sync and judges it.
///
/// # Errors
/// What keeps the set from being rendered: every mistake of every file. What a revocation keeps from being rolled out.
pub(crate) fn prepare(job: &SyncJob, verified: &Verified) -> Result<Prepared, Vec<Finding>> {
    if let Some(broken) = &verified.broken {
        return Err(vec![broken.clone()]);
    }
    let (desired, findings) = render(job, &verified.commit, Some(verified))?;
    let trailer = trailer(job, verified)?;
    FaultPoint::Prepared.pass();
    Ok(Prepared { desired: Arc::new(desired), findings, trailer })
}

/// Whether the Sync was rolled back, and what it would apply is as it was in the commit that it was rolled back from.
///
/// # Errors
/// When the mirror cannot be read.
pub(crate) fn is_kept(job: &SyncJob, verified: &Verified) -> Result<bool, Vec<Finding>> {
    let Some(from) = &job.rolled_back_from else { return Ok(false) };
    let head = verified.commit.id();
    let mirror = Mirror::open(&job.mirror).map_err(|error| vec![git::GitError::from(error).finding()])?;
    let changes = mirror.objects().changes_below(Some(from), &head, &job.spec.path);
    let changes = changes.map_err(|error| vec![crate::floor::unreadable(&head, &error)])?;
    Ok(changes.iter().all(|change| is_ours(&change.path)))
}

/// Renders a commit that was accepted before, and judges it by what is verified now.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_again(
    job: &SyncJob,
    commit: &AuthorizedCommit,
    verified: &Verified,
) -> Result<(Arc<DesiredState>, Vec<Finding>), Vec<Finding>> {
    render(job, commit, Some(verified)).map(|(desired, findings)| (Arc::new(desired), findings))
}

fn trailer(job: &SyncJob, verified: &Verified) -> Result<PruneTrailer, Vec<Finding>> {
    let mirror = Mirror::open(&job.mirror).map_err(|error| vec![git::GitError::from(error).finding()])?;
    let (trust, head) = (&verified.trust_file, verified.commit.id());
    let (root, since) = (job.root.as_deref(), job.since.as_ref());
    let asked = Asked { trust, root, since, head: &head, folder: &job.spec.path };
    prune_trailer::said(mirror.objects(), asked).map_err(|error| vec![crate::floor::unreadable(&head, &error)])
}

/// Renders a commit that was accepted before, without judging it again: after a restart the cluster
/// is healed to it whatever today's policies say. What does not render any more, such as an object
/// whose kind is no longer served, is left out, and said.
///
/// # Errors
/// When the mirror has lost it.
pub(crate) fn resume(
    job: &SyncJob,
    commit: &AuthorizedCommit,
) -> Result<(Arc<DesiredState>, Vec<Finding>), Vec<Finding>> {
    render(job, commit, None).map(|(desired, missing)| (Arc::new(desired), missing))
}

/// Renders a commit from the mirror or, if that has lost it, from what is kept of what is in force.
fn render(
    job: &SyncJob,
    commit: &AuthorizedCommit,
    verified: Option<&Verified>,
) -> Result<(DesiredState, Vec<Finding>), Vec<Finding>> {
    let mirror = Mirror::open(&job.mirror).map_err(|error| vec![git::GitError::from(error).finding()]);
    let findings = match mirror.and_then(|mirror| render_from(job, mirror.objects(), commit, verified)) {
        Err(findings) if findings.iter().any(is_lost) => findings,
        rendered => return rendered,
    };
    match job.archive.open(&commit.id(), &BTreeSet::from([job.spec.path.clone()])) {
        Ok(objects) => {
            tracing::warn!(sync = %job.sync, commit = %commit.id(), "the mirror has lost what was accepted; it is read from what is kept");
            render_from(job, &objects, commit, verified)
        }
        Err(error) => {
            tracing::debug!(sync = %job.sync, commit = %commit.id(), "it is not kept apart from the mirror either: {error}");
            Err(findings)
        }
    }
}

/// Whether something cannot be read, which may be elsewhere.
fn is_lost(finding: &Finding) -> bool {
    let codes = [trust::TrustCode::W403.entry(), git::GitCode::W604.entry(), git::GitCode::W610.entry()];
    codes.contains(&finding.code)
}

fn render_from(
    job: &SyncJob,
    objects: &Objects,
    commit: &AuthorizedCommit,
    verified: Option<&Verified>,
) -> Result<(DesiredState, Vec<Finding>), Vec<Finding>> {
    let (objects, findings) = {
        // One Sync renders at a time in its own cache; a panic elsewhere left only whole entries.
        let mut cache = job.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.render(job, objects, commit, verified)?
    };
    match DesiredState::assemble(commit.clone(), commit.tree(), job.sync.clone(), objects) {
        Ok(desired) => Ok((desired, findings)),
        Err(DesiredStateError::Annotations(findings)) => Err(findings),
        Err(error @ DesiredStateError::OtherTree { .. }) => Err(vec![unreadable(commit, &error.to_string())]),
    }
}

/// Kinds are judged a second time here, on the rendered identity, against every rule that covers a
/// file the object came from. Objects in writ's own namespace, or that bind its ServiceAccount, need
/// a rule that names their kind.
pub(crate) fn kinds(job: &SyncJob, set: &RenderedSet, verified: &Verified) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rendered in set.iter() {
        let reference = &rendered.object.reference;
        let scope = if reference.namespace.is_some() { Scope::Namespaced } else { Scope::Cluster };
        for source in &rendered.sources {
            let file = &verified.trust_file;
            let (kind, name) = (&reference.group_kind, &reference.name);
            let object = DeclaredObject { kind, namespace: reference.namespace.as_deref(), name, scope: Some(scope) };
            let verdict = file.authorise_kind(&verified.commit.id(), &source.file, &object);
            let named = || file.rules_for(&source.file).iter().any(|rule| rule.kinds.names(kind));
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
                matches!(name, "system:serviceaccounts" | "system:authenticated")
                    || name.strip_prefix("system:serviceaccounts:") == own
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
        )
        .into(),
        needed: "a rule for the path whose kinds name it by its group".into(),
        fix: format!("have \"{}/{}\" added to kinds of a rule for {file}", kind.group, kind.kind).into(),
    }
}

/// What policies ask about an object.
pub(crate) struct Facts<'a> {
    pub discovery: &'a Discovery,
    pub present: &'a HashSet<ObjectRef>,
}

impl policy::Facts for Facts<'_> {
    fn operation(&self, reference: &ObjectRef) -> Operation {
        if self.present.contains(reference) { Operation::Update } else { Operation::Create }
    }

    fn resource(&self, kind: &GroupKind) -> Option<String> {
        self.discovery.preferred(kind).map(|resource| resource.plural.clone())
    }
}

/// Which kinds have namespaces: what the cluster serves, what the files define, what Kubernetes brings.
pub(crate) struct Scopes<'a> {
    pub discovery: &'a Discovery,
    pub defined: CrdScopes,
}

impl ScopeLookup for Scopes<'_> {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.discovery.scope(kind).or_else(|| self.defined.scope(kind)).or_else(|| manifest::BuiltinScopes.scope(kind))
    }
}

pub(crate) fn unreadable(commit: &AuthorizedCommit, why: &str) -> Finding {
    Finding {
        code: trust::TrustCode::W403.entry(),
        subject: manifest::Subject::Commit(commit.id().to_string()),
        rule: None,
        found: why.into(),
        needed: "a mirror from which every file can be read".into(),
        fix: "remove what is over the limit; a damaged mirror is fetched again when its folder is removed".into(),
    }
}
