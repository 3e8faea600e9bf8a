//! One tenant on the shared control plane, with a log of its own and plans made by `plan::decide`.

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    sync::atomic::AtomicBool,
    time::Duration,
};

use audit::{Durability, Entry, EntryKind, Log};
use cluster::{
    Access, ApplyOptions, ApplyRefused, ApplyReport, Cluster, Current, Done, Failure, Outcome, ParentInventory, crd,
};
use jiff::Timestamp;
use manifest::{Digest, DigestKey, ObjectRef, RenderOptions, RepoPath, render_plain};
use plan::{
    ApprovedPlan, Claims, Decision, DesiredState, DriftSeen, Fidelity, Inputs, InstanceId, Lifecycle, Live, LiveStates,
    Manager, Presence, PruneTrailer, Question, SyncRef, SyncSpec, VerdictInputs, decide,
};
use testkit::{ControlPlane, Profile, Rights, Tenant};
use tokio::sync::mpsc;
use trust::{AuthorizedCommit, LogKey, LogProof, TrustRootSpec};

/// How long anything may take that is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const COMMIT: &str = "1111111111111111111111111111111111111111";
const TREE: &str = "2222222222222222222222222222222222222222";

pub(crate) fn plane() -> &'static ControlPlane {
    let plane = ControlPlane::shared(Profile::Api).unwrap();
    testkit::install(plane, &crd::crds_yaml().unwrap()).unwrap();
    plane
}

pub(crate) struct World {
    pub(crate) tenant: Tenant<'static>,
    pub(crate) cluster: Cluster,
    pub(crate) sync: SyncRef,
    pub(crate) instance: InstanceId,
    pub(crate) inventory: RefCell<ParentInventory>,
    /// Set when nothing more may be sent.
    pub(crate) halt: AtomicBool,
    live: RefCell<BTreeMap<ObjectRef, There>>,
    log: Log,
    key: String,
    _dir: tempfile::TempDir,
}

/// An object as it was applied.
struct There {
    uid: String,
    resource_version: String,
    applied: Option<Digest>,
}

struct Seen<'a>(Ref<'a, BTreeMap<ObjectRef, There>>);

impl LiveStates for Seen<'_> {
    fn is_written(&self, _reference: &ObjectRef) -> bool {
        false
    }

    fn was_applied(&self, reference: &ObjectRef) -> bool {
        self.0.get(reference).is_some_and(|there| there.applied.is_some())
    }

    fn live(&self, reference: &ObjectRef) -> Live<'_> {
        self.0.get(reference).map_or(Live::Absent, |there| {
            Live::Present(Presence {
                uid: &there.uid,
                resource_version: &there.resource_version,
                applied: there.applied,
                manager: Manager::Writ,
                lifecycle: Lifecycle::Stable,
                drift: &[],
                seen: DriftSeen::Event,
            })
        })
    }
}

impl Claims for Seen<'_> {
    fn owner(&self, _reference: &ObjectRef) -> Option<&SyncRef> {
        None
    }
}

impl World {
    pub(crate) async fn new(rights: Rights) -> Self {
        Self::on(plane(), rights).await
    }

    pub(crate) async fn on(plane: &'static ControlPlane, rights: Rights) -> Self {
        let tenant = Tenant::create(plane, rights).unwrap();
        let cluster = Cluster::connect(Access::Kubeconfig(&testkit::writ_kubeconfig(plane).unwrap())).await.unwrap();
        let sync = SyncRef { namespace: tenant.namespace().to_owned(), name: "web".to_owned() };
        tenant
            .apply(&format!(
                "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata: {{name: web}}\nspec: {}\n",
                serde_json::to_string(&Self::spec_of(&tenant)).unwrap()
            ))
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let key = audit::LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let log = Log::open(dir.path(), key, "writ.test/log").unwrap();
        let instance = InstanceId::new(tenant.instance()).unwrap();
        let world = Self {
            tenant,
            cluster,
            sync,
            instance,
            inventory: RefCell::default(),
            halt: AtomicBool::new(false),
            live: RefCell::default(),
            log,
            key: public,
            _dir: dir,
        };
        *world.inventory.borrow_mut() = ParentInventory::of(&world.read_sync().await);
        world
    }

    fn spec_of(tenant: &Tenant<'_>) -> SyncSpec {
        serde_json::from_value(serde_json::json!({
            "sourceRef": {"name": "repo"}, "drift": {"mode": "Revert"}, "serviceAccountName": tenant.service_account(),
        }))
        .unwrap()
    }

    pub(crate) async fn read_sync(&self) -> crd::Sync {
        let resource = <SyncSpec as crd::CustomSpec>::resource();
        let seen = self.cluster.object(&resource, Some(&self.sync.namespace), "web").await.unwrap().unwrap();
        crd::Sync::read(seen.raw.json()).unwrap()
    }

    fn root() -> TrustRootSpec {
        serde_json::from_value(serde_json::json!({
            "repoId": "shop", "ref": "refs/heads/main",
            "introduction": {"commit": COMMIT, "payloadSha256": Digest::of(b""), "signer": format!("SHA256:{}", "A".repeat(43))},
            "rootKeys": {"threshold": 1, "keys": ["none"]},
        }))
        .unwrap()
    }

    /// A commit that the log says was accepted.
    fn commit(&self) -> AuthorizedCommit {
        let mut entry = Entry::new(EntryKind::Advance, "2026-01-01T00:00:00Z");
        for (name, value) in [("repoId", "shop"), ("commit", COMMIT), ("tree", TREE)] {
            entry.subject.insert(name.into(), value.into());
        }
        entry.subject.insert("payloadSha256".into(), Digest::of(b"").to_string());
        entry.counts.insert("policyVersion".into(), 1);
        entry.digests.insert("trust".into(), Digest::of(b"trust").to_string());
        let receipt = self.log.append(&entry, None, None, Durability::Synced).unwrap();
        let proof = self.log.prove(receipt.index()).unwrap();
        let proof = LogProof {
            entry: proof.entry,
            index: proof.index,
            hashes: proof.hashes.iter().map(|hash| hash.0).collect(),
            checkpoint: proof.checkpoint.note().to_owned(),
        };
        AuthorizedCommit::resume(&proof, &LogKey::parse(&self.key).unwrap(), &Self::root()).unwrap()
    }

    pub(crate) fn desired(&self, yaml: &str) -> DesiredState {
        let path: RepoPath = "all.yaml".parse().unwrap();
        let discovery = self.cluster.discovery();
        let options = RenderOptions {
            cluster: self.cluster.id().clone(),
            default_namespace: &self.sync.namespace,
            target_namespace: None,
            scopes: &*discovery,
            sensitive_kinds: &[],
        };
        let set = render_plain([(&path, yaml.as_bytes())], &options).unwrap();
        let commit = self.commit();
        let tree = commit.tree();
        let key = DigestKey::derive(b"of the tests", "digests");
        DesiredState::new(commit, tree, self.sync.clone(), &self.instance, &key, &set).unwrap()
    }

    fn decide(&self, question: Question<'_>) -> ApprovedPlan {
        let verdict = VerdictInputs {
            trust_digest: Digest::of(b"trust"),
            policy_digest: Digest::of(b"policy"),
            floor: None,
            time: Timestamp::now(),
            fidelity: Fidelity::Raw,
        };
        let seen = Seen(self.live.borrow());
        let inputs = Inputs {
            sync: &self.sync,
            spec: &Self::spec_of(&self.tenant),
            own_namespace: "writ-system",
            mode: trust::TrustMode::Enforce,
            question,
            live: &seen,
            claims: &seen,
            findings: &[],
            verdict: &verdict,
        };
        match decide(&inputs) {
            Decision::Apply(plan) | Decision::Revert(plan) => plan,
            other => panic!("no plan: {other:?}"),
        }
    }

    pub(crate) fn advance(&self, candidate: &DesiredState, applied: Option<&DesiredState>) -> ApprovedPlan {
        let trailer =
            applied.map_or(0, |applied| applied.iter().filter(|o| candidate.get(&o.reference).is_none()).count());
        self.decide(Question::Advance {
            candidate,
            applied,
            partial: &[],
            interrupted: None,
            trailer: PruneTrailer(Some(trailer as u64)),
        })
    }

    pub(crate) fn drift(&self, accepted: &DesiredState, object: &ObjectRef) -> ApprovedPlan {
        self.decide(Question::Drift {
            accepted,
            applied: Some(accepted),
            interrupted: None,
            objects: std::slice::from_ref(object),
        })
    }

    /// Notes that an object is not there any more.
    pub(crate) fn forget(&self, object: &ObjectRef) {
        self.live.borrow_mut().remove(object);
    }

    /// Notes that an object was seen at a newer version.
    pub(crate) fn see_version(&self, object: &ObjectRef, version: &str) {
        let mut live = self.live.borrow_mut();
        version.clone_into(&mut live.get_mut(object).unwrap().resource_version);
    }

    pub(crate) fn receipt(&self, plan: Option<Digest>, durability: Durability) -> audit::Receipt {
        let entry = Entry::new(EntryKind::Outcome, "2026-01-01T00:00:00Z");
        self.log.append(&entry, None, plan.map(|plan| *plan.as_bytes()), durability).unwrap()
    }

    pub(crate) async fn try_apply(
        &self,
        plan: ApprovedPlan,
        receipt: audit::Receipt,
        current: Current,
    ) -> Result<(ApplyReport, Vec<Outcome>), ApplyRefused> {
        let (sender, mut receiver) = mpsc::channel::<Outcome>(1024);
        let mut inventory = self.inventory.borrow().clone();
        let options = ApplyOptions { timeout: DEADLINE, halt: Some(&self.halt) };
        let report = self.cluster.apply(plan, receipt, &current, &mut inventory, options, &sender).await?;
        *self.inventory.borrow_mut() = inventory;
        drop(sender);
        let mut outcomes = Vec::new();
        while let Some(outcome) = receiver.recv().await {
            if let Ok(Done::Created { sighting, .. } | Done::Configured { sighting }) = &outcome.result {
                let there = There {
                    uid: sighting.uid.clone(),
                    resource_version: sighting.resource_version.clone(),
                    applied: outcome.body,
                };
                self.live.borrow_mut().insert(outcome.reference.clone(), there);
            }
            outcomes.push(outcome);
        }
        Ok((report, outcomes))
    }

    pub(crate) async fn apply(&self, plan: ApprovedPlan) -> (ApplyReport, Vec<Outcome>) {
        let receipt = self.receipt(Some(plan.digest()), Durability::Synced);
        let current = Current { trust_digest: Digest::of(b"trust"), policy_digest: Digest::of(b"policy") };
        self.try_apply(plan, receipt, current).await.unwrap()
    }

    /// Applies a first revision.
    pub(crate) async fn roll_out(&self, yaml: &str) -> (DesiredState, ApplyReport, Vec<Outcome>) {
        let desired = self.desired(yaml);
        let (report, outcomes) = self.apply(self.advance(&desired, None)).await;
        (desired, report, outcomes)
    }
}

/// The one failure of a report, with its code.
pub(crate) fn only_failure(report: &ApplyReport) -> (&'static str, String) {
    let [(_, Failure { finding, .. })] = report.failures.as_slice() else {
        panic!("not one failure: {:?}", report.failures);
    };
    (finding.code.code, finding.to_string())
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{color: {value}}}\n---\n")
}
