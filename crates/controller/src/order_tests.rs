//! Orders that people sign outside of Git, over real commits, mirrors and logs: what the log proves of them after a restart.

use cluster::Discovery;
use jiff::Timestamp;
use plan::{Decision, Fidelity, Inputs, PlanOrigin, Question, VerdictInputs, decide};
use serde_json::json;
use testkit::{KeyType, PrincipalKind, TrustFile};
use trust::{CommitId, NAMESPACE_BREAK_GLASS, NAMESPACE_ROLLBACK, OrderKind, Seen, SignedOrder, Waivers};

use crate::{
    break_glass::GateOrder,
    floor::Floors,
    live::LiveTable,
    resume,
    rollback_gate::{self, RollbackJob, RollbackVerdict},
    rollbacks::RolledBack,
    source_gate::{SourceJob, SourceOutcome, Verified},
    source_tests::{World, id, trust},
    state::{Key, SyncState},
    sync_gate,
    sync_tests::{Shop, config_map, names, sync},
};

const NONCE: &str = "n1";

fn order(verified: &Verified) -> SignedOrder {
    let not_after = Timestamp::now() + std::time::Duration::from_secs(600);
    SignedOrder {
        kind: OrderKind::Rollback { nonce: NONCE.to_owned() },
        repo_id: "urn:shop".to_owned(),
        about: "shop/web".to_owned(),
        commit: verified.commit.id(),
        payload_sha256: verified.commit.payload_sha256(),
        reason: "errors".to_owned(),
        not_after,
    }
}

/// Two revisions that were accepted and applied.
fn two(shop: &mut Shop) -> (Verified, Verified) {
    let first = shop.change(&[("shop/a.yaml", config_map("a", "1"))]);
    shop.advance(&first, Discovery::default());
    shop.applied(&first.commit.id().to_string());
    let second = shop.change(&[("shop/b.yaml", config_map("b", "1"))]);
    shop.advance(&second, Discovery::default());
    shop.applied(&second.commit.id().to_string());
    (first, second)
}

/// Writes that the Sync goes back from `second` to `first`.
fn record(shop: &Shop, first: &Verified, second: &Verified) -> RolledBack {
    let job = shop.job(Discovery::default());
    let (desired, findings) = sync_gate::prepare_again(&job, &first.commit, second).unwrap();
    let verdict = VerdictInputs {
        trust_digest: second.commit.trust_digest(),
        policy_digest: second.policies.digest(),
        floor: None,
        time: Timestamp::now(),
        fidelity: Fidelity::Raw,
    };
    let live = LiveTable::default();
    let question = Question::Rollback { target: &desired, applied: None, partial: &[], interrupted: None };
    let inputs = Inputs {
        sync: &sync(),
        spec: &shop.spec,
        own_namespace: "writ-system",
        mode: trust::TrustMode::Enforce,
        question,
        live: &live,
        claims: &live,
        findings: &findings,
        verdict: &verdict,
    };
    let Decision::Apply(plan) = decide(&inputs) else { panic!("it is refused") };
    assert_eq!(plan.origin(), PlanOrigin::Rollback);
    let order = order(first);
    let rolled_back = RolledBack {
        over: second.commit.id(),
        request: "shop/back".to_owned(),
        nonce: NONCE.to_owned(),
        signers: vec!["sam".to_owned()],
        reason: "errors".to_owned(),
        since: Timestamp::now(),
        spec: shop.spec.digest().unwrap(),
        judged_by: second.commit.id(),
        instead_of: second.commit.id(),
        signatures: vec![shop.world.sre.sign(NAMESPACE_ROLLBACK, &order.payload()).unwrap()],
        order,
    };
    let spec = serde_json::to_value(&*shop.spec).unwrap();
    let (journal, root) = (&shop.world.journal, &shop.world.root);
    journal.rollback(Timestamp::now(), root, &first.commit, &plan, &rolled_back, &spec).unwrap();
    rolled_back
}

#[test]
fn a_rollback_is_resumed_with_its_order() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let order = record(&shop, &first, &second);
    // The status may still show the revision before, of which the log knows.
    for known in [None, Some(second.commit.id().to_string()), Some(first.commit.id().to_string())] {
        let question = resume::SyncQuestion { known, ..shop.question() };
        let resumed = shop.resume(Discovery::default(), &question);
        assert_eq!(names(resumed.accepted.as_ref()), ["a"]);
        assert_eq!(names(resumed.applied.as_ref()), ["a", "b"]);
        assert_eq!(resumed.rolled_back.as_ref(), Some(&order));
        assert_eq!(resumed.spec, shop.spec.digest().ok());
    }
    // A newer acceptance ends it.
    let third = shop.change(&[("shop/c.yaml", config_map("c", "1"))]);
    shop.advance(&third, Discovery::default());
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a", "b", "c"]);
    assert_eq!(resumed.rolled_back, None);
    assert_eq!(
        resumed.partial.iter().map(|state| state.commit().id()).collect::<Vec<_>>().first(),
        Some(&first.commit.id())
    );
}

/// Trust or policy moved on before it was acted on.
#[test]
fn a_rollback_that_was_not_acted_on_is_not_resumed() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    record(&shop, &first, &second);
    shop.world.journal.superseded(Timestamp::now(), &sync(), &first.commit.id().to_string()).unwrap();
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a", "b"]);
    assert_eq!(resumed.rolled_back, None);
}

/// The revision that it goes back to is the one that was applied last: what was begun since has to be undone.
#[test]
fn a_rollback_of_an_incomplete_roll_out_is_finished_after_a_restart() {
    let mut shop = Shop::new();
    let first = shop.change(&[("shop/a.yaml", config_map("a", "1"))]);
    shop.advance(&first, Discovery::default());
    shop.applied(&first.commit.id().to_string());
    let second = shop.change(&[("shop/b.yaml", config_map("b", "1"))]);
    shop.advance(&second, Discovery::default());
    record(&shop, &first, &second);
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a"]);
    assert!(resumed.applied.is_none() && resumed.interrupted.is_some());
    assert_eq!(resumed.partial.iter().map(|state| state.len()).collect::<Vec<_>>(), [2]);
    shop.applied(&first.commit.id().to_string());
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.applied.as_ref()), ["a"]);
}

#[test]
fn what_changes_nothing_in_the_folder_is_kept() {
    let mut shop = Shop::new();
    let (_, second) = two(&mut shop);
    let is_kept = |shop: &Shop, from: Option<CommitId>, verified: &Verified| {
        let job = sync_gate::SyncJob { rolled_back_from: from, ..shop.job(Discovery::default()) };
        sync_gate::is_kept(&job, verified).unwrap()
    };
    let from = Some(second.commit.id());
    assert!(!is_kept(&shop, None, &second) && is_kept(&shop, from, &second));
    let elsewhere = shop.change(&[("apps/x.yaml", config_map("x", "1"))]);
    assert!(is_kept(&shop, from, &elsewhere));
    let below = shop.change(&[("shop/deep/x.yaml", config_map("x", "1"))]);
    assert!(!is_kept(&shop, from, &below));
}

/// What policies and revocations of today say of what a Sync is held to, by codes.
#[test]
fn what_a_sync_is_held_to_is_judged_by_today() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let order = record(&shop, &first, &second);
    let verdict = |shop: &Shop, verified: &Verified| {
        let (target, root, order) = (first.commit.clone(), shop.world.root.clone(), order.clone());
        let job = sync_gate::SyncJob { rolled_back_from: Some(second.commit.id()), ..shop.job(Discovery::default()) };
        assert!(sync_gate::is_kept(&job, verified).unwrap());
        let (known, waivers) = (std::sync::Arc::default(), Waivers::default());
        let kept = rollback_gate::Kept { target, root, known, order, waivers };
        let (state, findings) = match rollback_gate::kept_verdict(&job, verified, Some(&kept)) {
            Ok(prepared) => (Some(prepared.desired), prepared.findings),
            Err(findings) => (None, findings),
        };
        let told = findings.iter().map(|finding| match finding.code.code {
            "W304" => format!("W304 {}", finding.found),
            code => code.to_owned(),
        });
        format!("{} {}", names(state.as_ref()).join(" "), told.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(verdict(&shop, &second), "a ");
    let allowed = shop.order_policy("CREATE, UPDATE", "2");
    assert_eq!(verdict(&shop, &allowed), "a ");
    let forbidden = shop.order_policy("CREATE, UPDATE", "1");
    assert_eq!(verdict(&shop, &forbidden), "a W801");
    let allowed = shop.order_policy("CREATE, UPDATE", "2");
    // The key that brought it and ordered it is revoked. What it did while it was good stays good, the order or its commit
    // alone as well.
    let kim = shop.world.keys.generate("kim", KeyType::Ed25519).unwrap();
    let team = TrustFile::team("urn:shop", &shop.world.root_key, &shop.world.root_key, &kim).version(3);
    let team = team.rule("shop", &["shop/**"], &[("sre", 1)], &[]);
    let (sre, from) = (shop.world.sre.fingerprint().unwrap(), allowed.commit.id().to_string());
    let (before, last) = (second.commit.id().to_string(), from.clone());
    for (file, expected) in [
        (team.clone().revoke_key_after(&sre, &last), "a "),
        (team.clone().revoke_key_after(&sre, &before), " W304 order shop/back no longer stands: signed by sam: key "),
        (team.revoke_key(&sre, "stolen"), " W304 it still holds what is revoked: shop/a.yaml "),
    ] {
        shop.world.repo.reset(&from).unwrap();
        trust(&shop.world.repo, &file, &shop.world.root_key);
        let revoked = match shop.world.judge(Floors { log: Some(allowed.commit.clone()), ..Floors::default() }) {
            SourceOutcome::Accepted { verified, .. } => verified,
            SourceOutcome::Refused { prefix: Some(prefix), .. } => prefix,
            other => panic!("{other:?}"),
        };
        let found = verdict(&shop, &revoked);
        assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
    }
}

/// A candidate that is refused leaves the Sync where it is: what is to be said against that is said with it.
#[test]
fn a_refused_candidate_does_not_hide_an_order_that_fell() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let order = record(&shop, &first, &second);
    let forbidden = shop.order_policy("CREATE, UPDATE", "1");
    let kim = shop.world.keys.generate("kim", KeyType::Ed25519).unwrap();
    let team = TrustFile::team("urn:shop", &shop.world.root_key, &shop.world.root_key, &kim).version(3);
    let team = team.rule("shop", &["shop/**"], &[("sre", 1)], &[]);
    let before = second.commit.id().to_string();
    let file = team.revoke_key_after(&shop.world.sre.fingerprint().unwrap(), &before);
    trust(&shop.world.repo, &file, &shop.world.root_key);
    let outcome = shop.world.judge(Floors { log: Some(forbidden.commit), ..Floors::default() });
    let SourceOutcome::Accepted { verified, .. } = outcome else { panic!("{outcome:?}") };
    let job = shop.job(Discovery::default());
    let codes = |kept: Option<&rollback_gate::Kept>| -> Vec<&str> {
        let prepared = rollback_gate::candidate_verdict(&job, &verified, kept).unwrap();
        prepared.findings.iter().map(|finding| finding.code.code).collect()
    };
    let kept = rollback_gate::Kept {
        target: first.commit,
        root: shop.world.root.clone(),
        known: std::sync::Arc::default(),
        order,
        waivers: Waivers::default(),
    };
    let alone = codes(None);
    assert!(!alone.is_empty() && alone.iter().all(|code| *code == "W801"), "{alone:?}");
    assert_eq!(codes(Some(&kept)), [alone, vec!["W304"]].concat());
}

/// The order goes with the plan that it is written with: the next advance is one, whatever became of the order.
#[test]
fn an_advance_ends_a_rollback() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let order = record(&shop, &first, &second);
    let job = shop.job(Discovery::default());
    let states = [&first, &second].map(|one| sync_gate::prepare_again(&job, &one.commit, &second).unwrap().0);
    let resource = json!({
        "apiVersion": "writ.dev/v1alpha1", "kind": "Sync", "metadata": {"namespace": "shop", "name": "web"},
        "spec": *shop.spec,
    });
    let mut state = SyncState::new(serde_json::from_value(resource).unwrap());
    let entry = (manifest::Digest::of(b""), 1);
    let mut accept = |desired, order: Option<&RolledBack>| {
        state.accept(desired, entry, order.cloned());
        (state.accepted.as_ref().map(|accepted| accepted.commit().id()), state.rolled_back.clone())
    };
    let (old, new) = (first.commit.id(), second.commit.id());
    assert_eq!(accept(&states[1], None), (Some(new), None));
    assert_eq!(accept(&states[0], Some(&order)), (Some(old), Some(order.clone())));
    assert_eq!(accept(&states[1], None), (Some(new), None));
    assert_eq!(state.partial.len(), 2);
}

/// What is said of an order that nobody signed, about a Sync whose newest revision is `second`.
fn judged(shop: &Shop, second: &Verified, order: &SignedOrder) -> String {
    let now = Timestamp::now();
    let job = RollbackJob {
        sync: shop.job(Discovery::default()),
        journal: shop.world.journal.clone(),
        root: shop.world.root.clone(),
        known: std::sync::Arc::default(),
        verified: std::sync::Arc::new(second.clone()),
        accepted: second.commit.id(),
        in_force: second.commit.id(),
        order: order.clone(),
        nonce: NONCE.to_owned(),
        signatures: Vec::new(),
        seen: Seen { first: now, now },
        waivers: Waivers::default(),
    };
    match rollback_gate::judge(&job) {
        RollbackVerdict::Good(good) => format!("good {:?}", good.signers),
        RollbackVerdict::Used => "used".to_owned(),
        RollbackVerdict::Void(finding) => format!("void {}: {}", finding.code.code, finding.found),
        RollbackVerdict::Refused(findings) => format!("{}: {}", findings[0].code.code, findings[0].found),
    }
}

/// As it was recorded: its end is in what was signed.
fn as_recorded(recorded: &RolledBack, first: &Verified) -> SignedOrder {
    SignedOrder { not_after: recorded.order.not_after, ..order(first) }
}

/// Written, and overtaken before anything was done: it is still to be obeyed. What was begun before that stays begun.
#[test]
fn an_order_that_was_not_acted_on_is_not_spent() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let superseded = |shop: &Shop| {
        shop.world.journal.superseded(Timestamp::now(), &sync(), &first.commit.id().to_string()).unwrap();
    };
    let order = as_recorded(&record(&shop, &first, &second), &first);
    assert_eq!(judged(&shop, &second, &order), "used");
    superseded(&shop);
    assert_eq!(judged(&shop, &second, &order), "void W302: to order it: nobody signed it");
    // Obeyed, and then its second plan is overtaken.
    let order = as_recorded(&record(&shop, &first, &second), &first);
    assert_eq!(judged(&shop, &second, &order), "used");
    record(&shop, &first, &second);
    superseded(&shop);
    assert_eq!(judged(&shop, &second, &order), "used");
    let resumed = shop.resume(Discovery::default(), &shop.question());
    assert_eq!(names(resumed.accepted.as_ref()), ["a"]);
}

#[test]
fn an_order_works_once() {
    let mut shop = Shop::new();
    let (first, second) = two(&mut shop);
    let judge = |shop: &Shop, order: &SignedOrder| judged(shop, &second, order);
    let unsigned = judge(&shop, &order(&first));
    assert!(unsigned == "void W302: to order it: nobody signed it", "{unsigned}");
    let recorded = record(&shop, &first, &second);
    let same = as_recorded(&recorded, &first);
    assert_eq!(judge(&shop, &same), "used");
    let other = judge(&shop, &SignedOrder { reason: "another".to_owned(), ..same });
    assert!(other.starts_with("void W703: its nonce was used by another order (log entry "), "{other}");
    assert_eq!(json!(recorded)["over"], second.commit.id().to_string());
}

/// A job with an order of the root principal to let `head` through.
fn breaking_glass(world: &World, floors: Floors, head: CommitId) -> SourceJob {
    let object = world.repo.read_object("commit", &head.to_string()).unwrap();
    let now = Timestamp::now();
    let order = SignedOrder {
        kind: OrderKind::BreakGlass,
        about: "shop/a".to_owned(),
        repo_id: "urn:shop".to_owned(),
        commit: head,
        payload_sha256: trust::CommitObject::parse(head, &object).unwrap().payload_sha256,
        reason: "the shop is down".to_owned(),
        not_after: now + std::time::Duration::from_secs(600),
    };
    let signature = world.root_key.sign(NAMESPACE_BREAK_GLASS, &order.payload()).unwrap();
    let key = Key { namespace: "shop".to_owned(), name: "urgent".to_owned() };
    let order = GateOrder { key, order, signatures: vec![signature], first_seen: now };
    SourceJob { orders: vec![order], ..world.job("a", floors) }
}

/// What is given out of a refused push is in force and on the log as accepted: nothing that an order let through may be.
#[test]
fn what_an_order_lets_through_is_no_part_of_a_refused_push() {
    let world = World::new();
    world.config("stolen");
    let before = world.accept(None);
    let floors = Floors { log: Some(before), ..Floors::default() };
    let urgent = || {
        world.repo.write("apps/b.yaml", config_map("b", "1")).unwrap();
        id(&world.repo.commit_signed(&world.root_key, "urgent").unwrap())
    };
    // The order is good.
    let head = urgent();
    let outcome = world.run(&breaking_glass(&world, floors.clone(), head));
    let SourceOutcome::Accepted { by_order: Some(order), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((order.commit, order.steps.len()), (head, 1));
    // The same on top of a revocation after which the head holds no longer.
    world.repo.reset(&floors.log.as_ref().unwrap().id().to_string()).unwrap();
    let kim = world.keys.generate("kim", KeyType::Ed25519).unwrap();
    let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &kim).version(2);
    let file = file.revoke_key(&world.sre.fingerprint().unwrap(), "stolen");
    let revoked = id(&trust(&world.repo, &file, &world.root_key));
    let head = urgent();
    let outcome = world.run(&breaking_glass(&world, floors, head));
    let SourceOutcome::Refused { prefix: Some(prefix), findings, commit, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((findings[0].code.code, commit, prefix.commit.id()), ("W302", head, revoked));
    assert_eq!(prefix.broken.unwrap().code.code, "W304");
}

/// The log is the only truth about an order: also after a restart, and long after its object was deleted, it says who signed.
#[test]
fn who_ordered_is_asked_again_after_a_restart() {
    let world = World::new();
    let ann = world.keys.generate("ann", KeyType::Ed25519).unwrap();
    let team = |version| {
        [&world.root_key, &world.sre, &ann]
            .into_iter()
            .fold(TrustFile::new("urn:shop"), |file, key| file.principal(key.principal(), PrincipalKind::Human, &[key]))
            .version(version)
            .role("root", &["root", "ann"])
            .role("sre", &["sam"])
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .rule("policies", &["policies/**", "waivers/**"], &[("root", 1)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &[])
    };
    trust(&world.repo, &team(2), &world.root_key);
    let before = world.accept(None);
    let record = |floor: &trust::AuthorizedCommit, outcome: SourceOutcome| {
        let floors = Floors { log: Some(floor.clone()), ..Floors::default() };
        let (verified, by_order) = match outcome {
            SourceOutcome::Accepted { verified, by_order, .. } => (verified, by_order),
            SourceOutcome::Refused { prefix: Some(prefix), .. } => (prefix, None),
            other => panic!("{other:?}"),
        };
        if let Some(by_order) = &by_order {
            world.journal.overridden(Timestamp::now(), "shop/a", &world.root, by_order).unwrap();
        }
        world.record("a", floors, &verified);
        verified.commit.clone()
    };
    world.repo.write("apps/b.yaml", config_map("b", "1")).unwrap();
    let head = id(&world.repo.commit_signed(&world.root_key, "urgent").unwrap());
    let mut job = breaking_glass(&world, Floors { log: Some(before.clone()), ..Floors::default() }, head);
    for order in &mut job.orders {
        order.signatures = vec![ann.sign(NAMESPACE_BREAK_GLASS, &order.order.payload()).unwrap()];
    }
    let through = record(&before, world.run(&job));
    // Nothing is known but the log.
    let resumed = world.resume("a", None).unwrap();
    assert_eq!(resumed.verified.unwrap().broken, None);
    let overrides = resumed.overrides;
    assert_eq!(overrides.let_through.keys().collect::<Vec<_>>(), [&head]);
    trust(&world.repo, &team(3).revoke_key(&ann.fingerprint().unwrap(), "stolen"), &world.root_key);
    let floors = Floors { log: Some(through.clone()), ..Floors::default() };
    let outcome = world.run(&SourceJob { overrides, ..world.job("a", floors) });
    let SourceOutcome::Refused { findings, .. } = &outcome else { panic!("{outcome:?}") };
    let told = |finding: &manifest::Finding| {
        let found = &finding.found;
        assert_eq!(finding.code.code, "W304");
        assert!(
            found.contains("apps/b.yaml (commit ")
                && found.contains(": order shop/urgent no longer stands: signed by ann: key "),
            "{found}"
        );
    };
    told(&findings[0]);
    record(&through, outcome);
    told(&world.resume("a", None).unwrap().verified.unwrap().broken.unwrap());
}
