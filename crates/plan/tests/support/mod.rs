//! Questions to `decide`, written as YAML, and its answers, read as lines.

#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

// The repository in memory with really signed commits: an authorised commit has no other source.
#[path = "../../../trust/tests/memory/mod.rs"]
mod memory;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use manifest::{
    BuiltinScopes, ClusterId, Digest, DigestKey, Finding, GroupKind, ObjectRef, RenderOptions, RenderedSet, RepoPath,
    Scope, ScopeLookup, render_plain,
};
use plan::{
    Action, ApprovedPlan, Claims, Conflicts, Decision, DesiredState, DesiredStateError, DriftSeen, Fidelity,
    FieldClass, FieldDiff, Inputs, InstanceId, Lifecycle, Live, LiveStates, Manager, Presence, PruneTrailer, Question,
    SyncRef, SyncSpec, VerdictInputs, decide,
};
use trust::{AuthorizedCommit, Start, TrustMode};

/// Two commits, one after the other, both judged.
pub fn commits() -> &'static [AuthorizedCommit; 2] {
    static COMMITS: OnceLock<[AuthorizedCommit; 2]> = OnceLock::new();
    COMMITS.get_or_init(|| {
        let mut world = memory::World::new();
        let next = world.put(world.introduction, "bob", "apps/web.yaml", &memory::config_map("web", 2));
        [world.introduction, next].map(|id| world.judge(&Start::Introduction, id).accepted().unwrap().clone())
    })
}

pub fn sync() -> SyncRef {
    SyncRef { namespace: "shop".into(), name: "web".into() }
}

pub fn instance() -> InstanceId {
    InstanceId::new("prod").unwrap()
}

struct Scopes;

impl ScopeLookup for Scopes {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        let ours = || match (kind.group.as_str(), kind.kind.as_str()) {
            ("writ.dev", "TrustRoot") => Some(Scope::Cluster),
            ("shop.example", _) => Some(Scope::Namespaced),
            _ => None,
        };
        BuiltinScopes.scope(kind).or_else(ours)
    }
}

pub fn rendered(yaml: &str) -> RenderedSet {
    let file: RepoPath = "apps/web.yaml".parse().unwrap();
    let options = RenderOptions {
        cluster: ClusterId::new("c"),
        default_namespace: "shop",
        target_namespace: None,
        scopes: &Scopes,
        sensitive_kinds: &[],
    };
    render_plain([(&file, yaml.as_bytes())], &options).unwrap()
}

pub fn digest_key() -> DigestKey {
    DigestKey::derive(b"of the tests", "digests")
}

pub fn try_state(revision: usize, sync: SyncRef, yaml: &str) -> Result<DesiredState, DesiredStateError> {
    let commit = commits()[revision].clone();
    let tree = commit.tree();
    DesiredState::new(commit, tree, sync, &instance(), &digest_key(), &rendered(yaml))
}

pub fn state(revision: usize, yaml: &str) -> DesiredState {
    try_state(revision, sync(), yaml).unwrap()
}

pub fn config(name: &str, value: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: \"{value}\"}}\n")
}

pub fn configs(names: impl IntoIterator<Item = u32>) -> String {
    names.into_iter().map(|name| config(&format!("c{name:03}"), "1")).collect()
}

/// The cluster as a table; what is not in it is `otherwise`.
pub struct Cluster {
    pub objects: BTreeMap<ObjectRef, Live<'static>>,
    pub owners: BTreeMap<ObjectRef, SyncRef>,
    pub written: BTreeSet<ObjectRef>,
    pub otherwise: Live<'static>,
}

impl LiveStates for Cluster {
    fn live(&self, reference: &ObjectRef) -> Live<'_> {
        *self.objects.get(reference).unwrap_or(&self.otherwise)
    }

    fn is_written(&self, reference: &ObjectRef) -> bool {
        self.written.contains(reference)
    }

    fn was_applied(&self, reference: &ObjectRef) -> bool {
        matches!(self.live(reference), Live::Present(presence) if presence.applied.is_some())
    }
}

impl Claims for Cluster {
    fn owner(&self, reference: &ObjectRef) -> Option<&SyncRef> {
        self.owners.get(reference)
    }
}

/// One question, with everything that it is answered from.
pub struct Case {
    pub spec: SyncSpec,
    pub sync: SyncRef,
    pub cluster: Cluster,
    pub findings: Vec<Finding>,
    pub partial: Vec<Arc<DesiredState>>,
    pub interrupted: Option<Arc<DesiredState>>,
    pub trailer: Option<u64>,
    pub mode: TrustMode,
}

impl Case {
    /// A Sync with this drift mode in an empty cluster.
    pub fn new(mode: &str) -> Self {
        let spec =
            format!(r#"{{"sourceRef":{{"name":"a"}},"serviceAccountName":"deployer","drift":{{"mode":"{mode}"}}}}"#);
        Self {
            spec: serde_json::from_str(&spec).unwrap(),
            sync: sync(),
            cluster: Cluster {
                objects: BTreeMap::new(),
                owners: BTreeMap::new(),
                written: BTreeSet::new(),
                otherwise: Live::Absent,
            },
            findings: Vec::new(),
            partial: Vec::new(),
            interrupted: None,
            trailer: None,
            mode: TrustMode::Enforce,
        }
    }

    /// Puts every object of `state` there, applied as declared.
    pub fn with(mut self, state: &DesiredState) -> Self {
        for object in state.iter() {
            self.cluster.objects.insert(object.reference.clone(), Live::Present(presence(Some(object.digest))));
        }
        self
    }

    pub fn edit(mut self, text: &str, edit: impl FnOnce(&mut Presence<'static>)) -> Self {
        let live = self.cluster.objects.iter_mut().find(|(reference, _)| reference.to_string() == text).unwrap().1;
        let Live::Present(presence) = live else { unreachable!("{text} is not there") };
        edit(presence);
        self
    }

    pub fn set(mut self, text: &str, live: Live<'static>) -> Self {
        *self.cluster.objects.iter_mut().find(|(reference, _)| reference.to_string() == text).unwrap().1 = live;
        self
    }

    pub fn ask(&self, question: Question<'_>) -> Decision {
        decide(&Inputs {
            sync: &self.sync,
            spec: &self.spec,
            own_namespace: "writ-system",
            mode: self.mode,
            question,
            live: &self.cluster,
            claims: &self.cluster,
            findings: &self.findings,
            verdict: &VerdictInputs {
                trust_digest: Digest::of(b"trust"),
                policy_digest: Digest::of(b"policy"),
                floor: None,
                time: "2026-01-01T00:00:00Z".parse().unwrap(),
                fidelity: Fidelity::Raw,
            },
        })
    }

    pub fn advance(&self, candidate: &DesiredState, applied: Option<&DesiredState>) -> Decision {
        let trailer = PruneTrailer(self.trailer);
        let interrupted = self.interrupted.as_deref();
        self.ask(Question::Advance { candidate, applied, partial: &self.partial, interrupted, trailer })
    }

    pub fn roll_back(&self, target: &DesiredState, applied: Option<&DesiredState>) -> Decision {
        let interrupted = self.interrupted.as_deref();
        self.ask(Question::Rollback { target, applied, partial: &self.partial, interrupted })
    }

    /// All of it was applied.
    pub fn drift(&self, accepted: &DesiredState) -> Decision {
        self.drift_since(accepted, Some(accepted))
    }

    /// Only what `applied` declares was applied, and what is known to be there.
    pub fn drift_since(&self, accepted: &DesiredState, applied: Option<&DesiredState>) -> Decision {
        let objects: Vec<ObjectRef> = accepted.iter().map(|object| object.reference.clone()).collect();
        let interrupted = self.interrupted.as_deref();
        self.ask(Question::Drift { accepted, applied, interrupted, objects: &objects })
    }
}

pub fn presence(applied: Option<Digest>) -> Presence<'static> {
    Presence {
        uid: "u1",
        resource_version: "7",
        applied,
        manager: Manager::Writ,
        lifecycle: Lifecycle::Stable,
        drift: &[],
        seen: DriftSeen::Event,
    }
}

/// Differences of a test, which live as long as it does.
pub fn drift<const N: usize>(differences: [FieldDiff; N]) -> &'static [FieldDiff] {
    Box::leak(Box::new(differences))
}

pub fn field(path: &str, before: &str, after: Option<&str>) -> FieldDiff {
    FieldDiff { path: path.into(), before: Some(before.into()), after: after.map(Into::into), class: FieldClass::Other }
}

/// The plan of an answer that has one.
pub fn plan_of(decision: Decision) -> ApprovedPlan {
    match decision {
        Decision::Apply(plan) | Decision::Revert(plan) => plan,
        other => unreachable!("no plan: {other:?}"),
    }
}

/// An answer as a person would tell it.
pub fn lines(decision: &Decision) -> Vec<String> {
    let finding = |finding: &Finding| {
        format!("{} {}: {}; needed: {}", finding.code.code, finding.subject, finding.found, finding.needed)
    };
    match decision {
        Decision::Apply(plan) => told("apply", plan),
        Decision::Revert(plan) => told("revert", plan),
        Decision::Report(proposal) => vec![format!("report {}: {:?}", proposal.origin.name(), proposal.counts)],
        Decision::Flag(reports, waiting) => {
            let reports = reports.iter().map(|report| finding(&report.finding));
            let waiting = waiting.iter().map(|waiting| finding(&waiting.finding));
            std::iter::once("flag".to_owned()).chain(reports).chain(waiting).collect()
        }
        Decision::Wait(waiting) => {
            let waiting = waiting.iter().map(|waiting| finding(&waiting.finding));
            std::iter::once("wait".to_owned()).chain(waiting).collect()
        }
        Decision::Refuse(refusal) => {
            std::iter::once("refuse".to_owned()).chain(refusal.findings.iter().map(finding)).collect()
        }
        Decision::Settled => vec!["settled".to_owned()],
    }
}

fn told(word: &str, plan: &ApprovedPlan) -> Vec<String> {
    assert_eq!(plan::lint(plan), [] as [String; 0]);
    let counts = plan.counts();
    let counts: Vec<String> = [
        (counts.created, "created"),
        (counts.configured, "configured"),
        (counts.reverted, "reverted"),
        (counts.pruned, "pruned"),
        (counts.unchanged, "unchanged"),
        (counts.waiting, "waiting"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format!("{count} {name}"))
    .collect();
    let mut lines = vec![format!("{word}: {}", counts.join(", "))];
    for change in plan.changes() {
        let note = match &change.action {
            Action::Create { conflicts: Conflicts::Refuse } => " unforced".to_owned(),
            Action::Create { conflicts: Conflicts::Force } => " forced".to_owned(),
            Action::Prune { uid, resource_version } => format!(" {uid}@{resource_version}"),
            Action::Configure | Action::Revert => String::new(),
        };
        lines.push(format!("{} {} {}{note}", change.wave.name(), change.action.name(), change.reference));
        for difference in &change.differences {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
            lines.push(format!("  {}: {} → {}", difference.path, side(&difference.before), side(&difference.after)));
        }
    }
    for report in plan.reports() {
        lines.push(format!("{} {}: {}", report.finding.code.code, report.finding.subject, report.finding.found));
    }
    lines
}

/// The objects of a state, shared.
pub fn shared(state: &DesiredState) -> Vec<Arc<plan::DesiredObject>> {
    state.objects().cloned().collect()
}
