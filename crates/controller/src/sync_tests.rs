//! What a Sync declares at a commit, and what the log knows of it: over real commits, mirrors and logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cluster::{ClusterCode, Discovery, Resource};
use jiff::Timestamp;
use manifest::{ClusterId, DigestKey, Finding, Scope};
use plan::{
    Decision, DesiredState, Fidelity, Inputs, InstanceId, PruneTrailer, Question, SyncRef, SyncSpec, VerdictInputs,
    decide,
};
use testkit::{SigningKey, TrustFile};
use trust::{AuthorizedCommit, CommitId};

use crate::{
    code::ControllerCode,
    floor::Floors,
    journal::RolloutResult,
    live::LiveTable,
    prune_trailer::{self, Asked},
    removal::Dropped,
    resources::finding,
    resume::{self, ResumedSync, SyncQuestion},
    source_gate::{SourceOutcome, Verified},
    source_tests::{World, trust},
    state::{Key, SyncState},
    sync_gate::{self, SyncJob},
};

/// A repository whose folder `shop/` may declare any kind, and a Sync for it.
pub(crate) struct Shop {
    pub(crate) world: World,
    floor: Option<AuthorizedCommit>,
    pub(crate) spec: Arc<SyncSpec>,
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: \"{value}\"\n")
}

pub(crate) fn order(name: &str) -> String {
    format!("apiVersion: shop.example/v1\nkind: Order\nmetadata:\n  name: {name}\nspec:\n  item: tea\n")
}

pub(crate) fn definition() -> &'static str {
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: orders.shop.example\nspec:\n  \
     group: shop.example\n  scope: Namespaced\n  names: {kind: Order, plural: orders}\n  versions: []\n"
}

/// A policy over ConfigMaps for these operations: their value must not be this one.
fn policy(operations: &str, forbidden: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata:\n  name: values\nspec:\n  \
         failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n      - apiGroups: [\"\"]\n        apiVersions: [v1]\n        \
         operations: [{operations}]\n        resources: [configmaps]\n  validations:\n    - expression: \"object.data.value != '{forbidden}'\"\n      \
         message: not this one\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\n\
         metadata:\n  name: values\nspec:\n  policyName: values\n  validationActions: [Deny]\n"
    )
}

fn serves_orders() -> Discovery {
    let resource = Resource {
        group: "shop.example".to_owned(),
        version: "v1".to_owned(),
        kind: "Order".to_owned(),
        plural: "orders".to_owned(),
        scope: Scope::Namespaced,
    };
    std::iter::once(resource).collect()
}

pub(crate) fn sync() -> SyncRef {
    SyncRef { namespace: "shop".to_owned(), name: "web".to_owned() }
}

fn spec(drift: &str) -> Arc<SyncSpec> {
    let spec = serde_json::json!({
        "sourceRef": {"name": "a"}, "path": "shop", "serviceAccountName": "deployer", "drift": {"mode": drift},
    });
    Arc::new(serde_json::from_value(spec).unwrap())
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.code).collect()
}

pub(crate) fn names(state: Option<&Arc<DesiredState>>) -> Vec<&str> {
    state.into_iter().flat_map(|state| state.iter()).map(|object| object.reference.name.as_str()).collect()
}

impl Shop {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let shop = |key: &SigningKey| {
            let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &world.sre).version(2);
            trust(&world.repo, &file.rule("shop", &["shop/**"], &[("sre", 1)], &[]), key);
        };
        shop(&world.root_key);
        Self { world, floor: None, spec: spec("Revert") }
    }

    /// Commits what was written and lets the source gate accept it.
    fn accept(&mut self, signer: &SigningKey) -> Verified {
        self.world.repo.commit_signed(signer, "change").unwrap();
        let floors = Floors { log: self.floor.clone(), ..Floors::default() };
        let outcome = self.world.judge(floors.clone());
        let SourceOutcome::Accepted { verified, .. } = outcome else { panic!("{outcome:?}") };
        self.world.record("a", floors, &verified);
        self.floor = Some(verified.commit.clone());
        *verified
    }

    pub(crate) fn change(&mut self, files: &[(&str, String)]) -> Verified {
        for (path, text) in files {
            self.world.repo.write(path, text).unwrap();
        }
        let sre = self.world.sre.clone();
        self.accept(&sre)
    }

    pub(crate) fn order_policy(&mut self, operations: &str, forbidden: &str) -> Verified {
        self.world.repo.write("policies/values.yaml", policy(operations, forbidden)).unwrap();
        let key = self.world.root_key.clone();
        self.accept(&key)
    }

    /// With nothing rendered before.
    pub(crate) fn job(&self, discovery: Discovery) -> SyncJob {
        SyncJob {
            mirror: self.world.mirror("a"),
            archive: self.world.archive("a"),
            root: None,
            sync: sync(),
            spec: self.spec.clone(),
            own_namespace: "writ-system".to_owned(),
            instance: InstanceId::new("writ").unwrap(),
            digest_key: DigestKey::derive(b"of the tests", "digests"),
            cluster: ClusterId::new("c"),
            discovery: Arc::new(discovery),
            present: Arc::default(),
            since: None,
            rolled_back_from: None,
            cache: Arc::default(),
        }
    }

    /// Records `verified` as the Sync's accepted revision.
    pub(crate) fn advance(&self, verified: &Verified, discovery: Discovery) {
        let prepared = sync_gate::prepare(&self.job(discovery), verified).unwrap();
        let inputs = VerdictInputs {
            trust_digest: verified.commit.trust_digest(),
            policy_digest: verified.policies.digest(),
            floor: None,
            time: Timestamp::now(),
            fidelity: Fidelity::Raw,
        };
        let live = LiveTable::default();
        let decision = decide(&Inputs {
            sync: &sync(),
            spec: &self.spec,
            own_namespace: "writ-system",
            mode: trust::TrustMode::Enforce,
            question: Question::Advance {
                candidate: &prepared.desired,
                applied: None,
                partial: &[],
                interrupted: None,
                trailer: PruneTrailer::default(),
            },
            live: &live,
            claims: &live,
            findings: &prepared.findings,
            verdict: &inputs,
        });
        let Decision::Apply(plan) = decision else { panic!("{decision:?}") };
        let spec = serde_json::to_value(&*self.spec).unwrap();
        self.world.journal.advance(Timestamp::now(), &self.world.root, &verified.commit, &plan, &spec).unwrap();
    }

    pub(crate) fn applied(&self, revision: &str) {
        let journal = &self.world.journal;
        journal.outcome(Timestamp::now(), &sync(), revision, RolloutResult::Applied, &[]).unwrap();
    }

    pub(crate) fn question(&self) -> SyncQuestion {
        let source = Key { namespace: "shop".to_owned(), name: "a".to_owned() };
        let verified = self.floor.as_ref().map(AuthorizedCommit::id);
        SyncQuestion {
            root: Some(self.world.root.clone()),
            root_name: Some("prod".to_owned()),
            source,
            known: None,
            verified,
        }
    }

    pub(crate) fn resume(&self, discovery: Discovery, question: &SyncQuestion) -> ResumedSync {
        resume::sync(&self.world.journal, &self.job(discovery), question).unwrap()
    }
}

#[test]
fn what_still_renders_is_resumed_and_the_rest_is_said() {
    let mut shop = Shop::new();
    let mixed = format!("{}---\n{}", config_map("b", "v"), order("tea"));
    let files =
        [("shop/a.yaml", config_map("a", "v")), ("shop/mixed.yaml", mixed), ("shop/z.yaml", config_map("z", "v"))];
    let verified = shop.change(&files);
    let commit = verified.commit.id().to_string();
    shop.advance(&verified, serves_orders());
    shop.applied(&commit);
    let question = shop.question();
    let whole = shop.resume(serves_orders(), &question);
    assert_eq!(names(whole.accepted.as_ref()), ["a", "b", "z", "tea"]);
    assert!(whole.missing.is_empty(), "{:?}", whole.missing);
    // Somebody deleted the definition while nobody watched.
    let part = shop.resume(Discovery::default(), &question);
    assert_eq!(names(part.accepted.as_ref()), ["a", "b", "z"]);
    assert_eq!(names(part.applied.as_ref()), ["a", "b", "z"]);
    assert_eq!(codes(&part.missing), ["M117"]);
    assert!(part.missing[0].to_string().contains("Order.shop.example"), "{}", part.missing[0]);
    // What was left out then is not taken for rendered.
    let job = shop.job(Discovery::default());
    sync_gate::resume(&job, &verified.commit).unwrap();
    assert_eq!(codes(&sync_gate::prepare(&job, &verified).unwrap_err()), ["M117"]);
    let back = SyncJob { discovery: Arc::new(serves_orders()), ..job };
    assert_eq!(sync_gate::prepare(&back, &verified).unwrap().desired.len(), 4);
}

#[test]
fn a_definition_in_a_file_with_something_unknown_counts_all_the_same() {
    let mut shop = Shop::new();
    let unknown = order("x").replace("shop.example", "nowhere.example").replace("Order", "Thing");
    let things = serves_orders()
        .iter()
        .map(|order| Resource { group: "nowhere.example".into(), kind: "Thing".into(), ..order.clone() })
        .collect();
    let files = [
        ("shop/a.yaml", format!("{}---\n{unknown}---\n{}", definition(), order("one"))),
        ("shop/b.yaml", order("two")),
    ];
    let verified = shop.change(&files);
    shop.advance(&verified, things);
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["orders.shop.example", "one", "two"]);
    assert_eq!(codes(&resumed.missing), ["M117"]);
}

#[test]
fn a_sync_whose_source_is_gone_is_resumed_from_the_log_alone() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&verified, Discovery::default());
    let gone = SyncQuestion { root: None, root_name: None, verified: None, ..shop.question() };
    let resumed = shop.resume(Discovery::default(), &gone);
    assert_eq!(names(resumed.accepted.as_ref()), ["a"]);
    assert_eq!(resumed.root_name.as_deref(), Some("main"), "whose mode is in force");
    let current = resumed.current.unwrap();
    assert_eq!(current.trust_digest, verified.commit.trust_digest());
    assert_eq!(current.policy_digest, verified.policies.digest());
    assert_eq!(resumed.spec, shop.spec.digest().ok());
    assert_eq!(resume::obeyed_spec(&shop.world.journal, &sync()).unwrap().as_ref(), Some(&*shop.spec));
    // A TrustRoot that is about another repository now takes nothing back.
    let mut root = (*shop.world.root).clone();
    root.repo_id = "urn:other".to_owned();
    let question = SyncQuestion { root: Some(Arc::new(root)), ..shop.question() };
    assert_eq!(names(shop.resume(Discovery::default(), &question).accepted.as_ref()), ["a"]);
}

#[test]
fn a_sync_that_ended_begins_anew() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&verified, Discovery::default());
    shop.applied(&verified.commit.id().to_string());
    shop.world.journal.ended(Timestamp::now(), &sync()).unwrap();
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert!(resumed.accepted.is_none() && resumed.applied.is_none());
    assert!(resume::obeyed_spec(&shop.world.journal, &sync()).unwrap().is_none());
    let newer = shop.change(&[("shop/a.yaml", config_map("a", "newer"))]);
    shop.advance(&newer, Discovery::default());
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a"]);
    // What was applied in its earlier life is not its own to prune.
    assert!(resumed.applied.is_none());
    shop.applied(&newer.commit.id().to_string());
    assert!(shop.resume(Discovery::default(), &shop.question()).applied.is_some());
}

#[test]
fn an_advance_that_was_not_acted_on_is_not_in_force() {
    let mut shop = Shop::new();
    let first = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&first, Discovery::default());
    shop.applied(&first.commit.id().to_string());
    let second = shop.change(&[("shop/b.yaml", config_map("b", "v"))]);
    shop.advance(&second, Discovery::default());
    assert_eq!(names(shop.resume(Discovery::default(), &shop.question()).accepted.as_ref()), ["a", "b"]);
    let journal = &shop.world.journal;
    journal.superseded(Timestamp::now(), &sync(), &second.commit.id().to_string()).unwrap();
    assert_eq!(names(shop.resume(Discovery::default(), &shop.question()).accepted.as_ref()), ["a"]);
}

/// A crash before the log says that an advance was not acted on: it is taken for accepted, but never for a verdict of today.
#[test]
fn an_advance_that_policy_overtook_is_judged_again_after_a_crash() {
    let mut shop = Shop::new();
    let first = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&first, Discovery::default());
    shop.applied(&first.commit.id().to_string());
    let second = shop.change(&[("shop/b.yaml", config_map("b", "bad"))]);
    shop.advance(&second, Discovery::default());
    let newest = shop.order_policy("CREATE, UPDATE", "bad");
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a", "b"]);
    assert_eq!(names(resumed.applied.as_ref()), ["a"]);
    // Not what is in force: the candidate is judged again, and its plan is another one.
    assert_eq!(resumed.current.unwrap().policy_digest, second.policies.digest());
    assert_ne!(newest.policies.digest(), second.policies.digest());
    let judged = sync_gate::prepare(&shop.job(Discovery::default()), &newest).unwrap();
    assert_eq!(codes(&judged.findings), ["W801"]);
}

#[test]
fn what_was_removed_is_remembered_until_it_is_finished() {
    let shop = Shop::new();
    let journal = &shop.world.journal;
    assert!(resume::removals(journal).unwrap().is_empty());
    let dropped = Dropped { by: sync(), since: "ab".repeat(20) };
    let second = SyncRef { namespace: "shop".to_owned(), name: "second".to_owned() };
    let removals = BTreeMap::from([(second, dropped)]);
    journal.removals(Timestamp::now(), &removals).unwrap();
    assert_eq!(resume::removals(journal).unwrap(), removals);
    journal.removals(Timestamp::now(), &BTreeMap::new()).unwrap();
    assert!(resume::removals(journal).unwrap().is_empty());
}

/// The commits since a revision, newest first: who speaks of pruning, and about what.
#[test]
fn a_trailer_counts_if_its_commit_may_speak_for_the_folder() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    let base = verified.commit.id();
    let commit = |key: &SigningKey, file: Option<(&str, String)>, message: &str| {
        if let Some((path, text)) = file {
            shop.world.repo.write(path, text).unwrap();
        }
        shop.world.repo.commit_signed(key, message).unwrap();
        let outcome = shop.world.judge(Floors { log: shop.floor.clone(), ..Floors::default() });
        let SourceOutcome::Accepted { verified, .. } = outcome else { panic!("{outcome:?}") };
        verified.commit.id()
    };
    let (sre, root) = (&shop.world.sre, &shop.world.root_key);
    let pruned = commit(sre, Some(("shop/b.yaml", config_map("b", "v"))), "fewer\n\nWrit-Prune: 3");
    let later = commit(sre, Some(("shop/c.yaml", config_map("c", "v"))), "a typo");
    let elsewhere = commit(root, Some(("policies/values.yaml", policy("CREATE", "bad"))), "x\n\nWrit-Prune: 9");
    let empty = commit(sre, None, "say how many\n\nWrit-Prune: 4");
    // May change policies and nothing of the folder.
    let stranger = commit(
        root,
        None,
        "say another number

Writ-Prune: 5",
    );
    let mirror = git::Mirror::open(&shop.world.mirror("a")).unwrap();
    let said = |since: Option<&CommitId>, head: &CommitId| {
        let asked = Asked { trust: &verified.trust_file, root: None, since, head, folder: &shop.spec.path };
        prune_trailer::said(mirror.objects(), asked).unwrap().0
    };
    assert_eq!(said(Some(&base), &later), Some(3), "two pushes before one poll");
    assert_eq!(said(Some(&base), &elsewhere), Some(3), "another folder's commit says nothing about this one");
    assert_eq!(said(Some(&pruned), &elsewhere), None, "what was applied already is not asked");
    assert_eq!(said(Some(&base), &empty), Some(4), "the newest counts");
    assert_eq!(said(Some(&base), &stranger), Some(4), "an empty commit of somebody else says nothing");
    assert_eq!(said(Some(&empty), &stranger), None, "also if nothing has changed since");
    assert_eq!(said(Some(&elsewhere), &empty), Some(4), "who may change every file may say it");
    assert_eq!((said(None, &later), said(None, &pruned)), (None, Some(3)), "a first roll-out");
    assert_eq!((said(None, &stranger), said(None, &empty)), (None, Some(4)), "a first roll-out of an empty commit");
}

/// Every name by which writ's own ServiceAccount, or a group that it is in, can be given a right.
#[test]
fn giving_rights_to_writ_needs_a_rule_that_names_the_kind() {
    let mut shop = Shop::new();
    for (subject, wanted) in [
        ("{kind: ServiceAccount, name: writ, namespace: writ-system}", true),
        ("{kind: User, name: \"system:serviceaccount:writ-system:writ\"}", true),
        ("{kind: Group, name: \"system:serviceaccounts:writ-system\"}", true),
        ("{kind: Group, name: \"system:serviceaccounts\"}", true),
        ("{kind: Group, name: \"system:authenticated\"}", true),
        ("{kind: Group, name: \"system:serviceaccounts:shop\"}", false),
        ("{kind: ServiceAccount, name: web, namespace: shop}", false),
    ] {
        let binding = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: all}}\nroleRef: {{apiGroup: \
             rbac.authorization.k8s.io, kind: Role, name: all}}\nsubjects: [{subject}]\n"
        );
        let verified = shop.change(&[("shop/binding.yaml", binding)]);
        let prepared = sync_gate::prepare(&shop.job(Discovery::default()), &verified).unwrap();
        assert_eq!(codes(&prepared.findings) == ["W305"], wanted, "{subject}: {:?}", prepared.findings);
    }
}

/// What would be too much is not read to its end, and what declares nothing is not read at all.
#[test]
fn a_set_ends_at_the_first_file_that_is_too_much() {
    let mut shop = Shop::new();
    let large = |letter: &str| format!("{}# {}\n", config_map(letter, "v"), letter.repeat(7 << 20));
    // Above what is read of one blob; it does not keep the folder from being rendered.
    shop.world.repo.write("shop/a.tar", vec![0_u8; 17 << 20]).unwrap();
    let files = ["a", "b", "c", "d"].map(|name| (format!("shop/{name}.yaml"), large(name)));
    for (path, text) in &files {
        shop.world.repo.write(path, text).unwrap();
    }
    let fits = shop.change(&[]);
    let job = shop.job(Discovery::default());
    assert_eq!(sync_gate::prepare(&job, &fits).unwrap().desired.iter().count(), 4);
    let more = shop.change(&[("shop/e.yaml", large("e")), ("shop/f.yaml", config_map("f", "v"))]);
    let found = sync_gate::prepare(&job, &more).unwrap_err();
    assert_eq!(codes(&found), ["M102"]);
    assert_eq!(found[0].found, "more than 33554432 bytes");
}

#[test]
fn an_applied_revision_that_is_lost_keeps_nothing_from_being_healed() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&verified, Discovery::default());
    shop.applied(&"de".repeat(20));
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!((names(resumed.accepted.as_ref()), resumed.applied.is_none()), (vec!["a"], true));
    assert_eq!(codes(&resumed.missing), ["W407"]);
}

#[test]
fn what_unfinished_revisions_brought_is_remembered_over_a_restart() {
    let mut shop = Shop::new();
    let first = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&first, Discovery::default());
    shop.applied(&first.commit.id().to_string());
    // Neither this one nor the next is ever completed.
    let second = shop.change(&[("shop/b.yaml", config_map("b", "v"))]);
    shop.advance(&second, Discovery::default());
    shop.world.repo.remove("shop/b.yaml").unwrap();
    let third = shop.change(&[("shop/c.yaml", config_map("c", "v"))]);
    shop.advance(&third, Discovery::default());
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a", "c"]);
    assert_eq!(names(resumed.applied.as_ref()), ["a"]);
    let partial: Vec<_> = resumed.partial.iter().map(|state| names(Some(state))).collect();
    assert_eq!(partial, [["a", "b"]]);
    shop.applied(&third.commit.id().to_string());
    assert!(shop.resume(Discovery::default(), &shop.question()).partial.is_empty());
}

/// While a roll-out counts as interrupted, what bears our marks is taken for ours. That ends when it met what is not.
#[test]
fn a_roll_out_that_met_other_owners_is_no_longer_taken_for_interrupted() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v"))]);
    shop.advance(&verified, Discovery::default());
    let begun = shop.resume(Discovery::default(), &shop.question()).interrupted.expect("its outcome is not in the log");
    let failed = |code: ClusterCode| {
        let failure = finding(ControllerCode::A142, "ConfigMap shop/a", "it failed", "an object of ours");
        vec![Finding { code: code.entry(), ..failure }]
    };
    let after = |failures: &[Finding], complete| {
        let resource = serde_json::json!({
            "apiVersion": "writ.dev/v1alpha1", "kind": "Sync", "metadata": {"namespace": "shop", "name": "web"},
            "spec": *shop.spec,
        });
        let mut state = SyncState::new(serde_json::from_value(resource).unwrap());
        state.interrupted = Some(begun.clone());
        let repeated = state.rolled_out(failures, BTreeSet::new(), complete);
        assert!(!repeated && state.failures == failures, "{failures:?}");
        assert!(failures.is_empty() || state.rolled_out(failures, BTreeSet::new(), complete));
        (state.interrupted.is_some(), state.attempts)
    };
    assert_eq!(after(&failed(ClusterCode::A110), false), (true, 2));
    assert_eq!(after(&failed(ClusterCode::A102), false), (false, 2));
    assert_eq!(after(&failed(ClusterCode::A107), false), (false, 2));
    assert_eq!(after(&[], true), (false, 0));
}
