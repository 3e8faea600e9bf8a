//! Breaking the glass: who may order it, what it waives, and what it never does.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod break_glass_case;
mod memory;

use std::collections::BTreeMap;

use break_glass_case::{check, hard, logged, obeyed, order};
use memory::{Tree, World, at, config_map, path, person, policy, put_policy};
use trust::{
    Approval, BreakGlass, CommitId, CommitObject, Decision, LetThrough, NAMESPACE_APPROVAL, NAMESPACE_BREAK_GLASS,
    OrderKind, Seen, SignedOrder, Start, Verifiers, Waivers, envelope, envelope_message, judge_break_glass,
    judge_waiving, still_waived,
};

/// `ok` with who stands for it, or code and what was found, of an order that was edited before it was signed.
fn ordered(world: &World, head: CommitId, by: &[&str], edit: impl FnOnce(&mut SignedOrder)) -> String {
    let mut order = order(world, head);
    edit(&mut order);
    let signatures: Vec<String> =
        by.iter().map(|who| person(who).sign(NAMESPACE_BREAK_GLASS, &order.payload())).collect();
    let asked = BreakGlass {
        order: &order,
        signatures: &signatures,
        source: "shop/config",
        accepted: &world.introduction,
        head: &head,
        seen: Seen { first: at(world.now), now: at(world.now) },
    };
    match judge_break_glass(&world.memory, &world.root, &asked, Verifiers::default()) {
        Ok(signers) => format!("ok {}", signers.into_iter().collect::<Vec<_>>().join(" ")),
        Err(finding) => format!("{}: {}", finding.code.code, finding.found),
    }
}

/// The verdict on a head, with what was waived; the order is good if `head` says so.
fn waiving(world: &World, start: &Start, head: CommitId, waivers: &Waivers) -> String {
    let judgement =
        judge_waiving(&world.memory, &world.root, start, &head, at(world.now), Verifiers::default(), waivers);
    let code = memory::code(&judgement);
    let waived: Vec<&str> = judgement.waived().iter().map(|step| step.finding.code.code).collect();
    if judgement.refusal().is_some() && waivers.before.is_empty() {
        assert!(
            judgement.accepted().is_none_or(|accepted| world.code(accepted.id()) == "ok"),
            "a part was let through"
        );
    }
    format!("{code} {}", waived.join(" ")).trim_end().to_owned()
}

/// A good order about the head.
fn ordering(world: &World, head: CommitId, before: BTreeMap<CommitId, LetThrough>) -> Waivers {
    Waivers { before, head: Some(obeyed(world, head, world.introduction, &["alice", "dave"])) }
}

fn broken(world: &World, head: CommitId) -> String {
    let waivers = ordering(world, head, BTreeMap::new());
    waiving(world, &Start::Accepted(world.introduction), head, &waivers)
}

#[test]
fn who_may_change_trust_may_order_it() {
    let mut world = World::new();
    let head = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    check(&ordered(&world, head, &["alice", "dave"], |_| ()), "ok alice dave");
    check(
        &ordered(&world, head, &["alice", "alice"], |_| ()),
        "W702: to order it: 1 of 2 for .writ/trust.yaml (alice)",
    );
    check(&ordered(&world, head, &["bob", "carol"], |_| ()), "W702: to order it: bob, carol signed for");
    check(&ordered(&world, head, &["mallory"], |_| ()), "W702: to order it: nobody");
    check(&ordered(&world, head, &[], |_| ()), "W702: to order it: nobody");
}

#[test]
fn an_order_counts_for_one_commit_for_four_hours() {
    let mut world = World::new();
    let head = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let (now, first) = (world.now, world.introduction);
    let by = ["alice", "dave"];
    check(&ordered(&world, head, &by, |order| order.repo_id = "urn:writ:other".to_owned()), "W702: it is for urn");
    check(&ordered(&world, head, &by, |order| order.about = "shop/other".to_owned()), "W702: it is for shop/other");
    check(&ordered(&world, head, &by, |order| order.commit = first), "W702: it is not the head");
    let payload = world.memory.payload(&first);
    check(&ordered(&world, head, &by, |order| order.payload_sha256 = payload), "W702: its payload has sha256");
    check(&ordered(&world, head, &by, |order| order.not_after = at(now - 1)), "W702: it expired");
    check(&ordered(&world, head, &by, |order| order.not_after = at(now + 4 * 3_600)), "ok");
    check(&ordered(&world, head, &by, |order| order.not_after = at(now + 4 * 3_600 + 1)), "W702: it counts until");
    // An order of another kind with the same words is none.
    let signed = order(&world, head);
    let other = SignedOrder { kind: OrderKind::Rollback { nonce: "n".to_owned() }, ..signed.clone() };
    assert_ne!(signed.payload(), other.payload());
}

#[test]
fn who_stands_for_a_change_is_waived() {
    let mut world = World::new();
    let by_alice = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(world.code(by_alice), "W302");
    assert_eq!(broken(&world, by_alice), "ok W302");
    let uncovered = world.put(world.introduction, "bob", "infra/net.txt", "1");
    assert_eq!(broken(&world, uncovered), "ok W302");
    // The head, and nothing that lies below it.
    let then = world.put(by_alice, "bob", "apps/web.yaml", &config_map("web", 3));
    let last = world.put(then, "dave", "apps/api.yaml", &config_map("api", 1));
    assert_eq!(broken(&world, last), "W302");
    let waivers = ordering(&world, last, logged(&world, by_alice, &["alice", "dave"]).before);
    assert_eq!(waiving(&world, &Start::Accepted(by_alice), last, &waivers), "ok W302");
    // What needs no order uses none.
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 9));
    assert_eq!(broken(&world, good), "ok");
    let mut world = World::with(&policy(1, &[("security: [alice, frank]", "security: [alice, frank, relbot]")]));
    let machine = world.put(world.introduction, "relbot", "policies/a.txt", "1");
    assert_eq!((world.code(machine), broken(&world, machine).as_str()), ("W306", "ok W306"));
}

#[test]
fn a_threshold_is_waived() {
    let mut world = World::with(&policy(
        1,
        &[("[{role: sre, threshold: 1}, {role: bots, threshold: 1}]", "[{role: sre, threshold: 2}]")],
    ));
    let head = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    assert_eq!((world.code(head), broken(&world, head).as_str()), ("W303", "ok W303"));
}

#[test]
fn nothing_else_is_waived() {
    let mut world = World::new();
    let change = |tree: &mut Tree| _ = tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
    let mut heads = vec![
        ("W301", world.push(world.introduction, None, change)),
        ("W202", world.push(world.introduction, Some("mallory"), change)),
    ];
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\n";
    heads.push(("W305", world.put(world.introduction, "bob", "apps/role.yaml", role)));
    // Told as it is without the order.
    heads.push(("W302", world.put(world.introduction, "alice", "apps/role.yaml", role)));
    heads.push((
        "W308",
        world.push(world.introduction, Some("alice"), |tree| {
            change(tree);
            _ = tree.insert(path("policies/a.txt"), b"1".to_vec());
        }),
    ));
    heads.push((
        "W504",
        world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &policy(2, &[]), &["bob"])),
    ));
    let past = world.memory.time(&world.introduction) - 3_600;
    let tree = world.memory.tree(&world.introduction);
    heads.push(("W406", world.memory.store(&[world.introduction], tree, Some(&person("alice")), past)));
    for (code, head) in heads {
        assert_eq!(broken(&world, head), code, "{head}");
    }
    let bob = person("bob").fingerprint();
    let revoked = policy(1, &[("revoked: []", &format!("revoked: [{{key: \"{bob}\", kind: hard}}]"))]);
    let mut world = World::with(&revoked);
    let head = world.put(world.introduction, "bob", "policies/a.txt", "1");
    assert_eq!(broken(&world, head), "W304");
    // Replayed from elsewhere.
    let aside = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 3));
    let other = world.put(world.introduction, "carol", "apps/web.yaml", &config_map("web", 4));
    let waivers = ordering(&world, aside, BTreeMap::new());
    assert_eq!(waiving(&world, &Start::Accepted(other), aside, &waivers), "W401");
}

/// One step that cannot be waived, and nothing before it is let through either.
#[test]
fn it_is_for_the_head_or_for_nothing() {
    let mut world = World::new();
    let unauthorised = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let unsigned =
        world.push(unauthorised, None, |tree| _ = tree.insert(path("apps/a.yaml"), config_map("a", 1).into_bytes()));
    assert_eq!(broken(&world, unsigned), "W302");
}

/// The revocation counts, and is in force at once; what the order lets through holds no longer, and is let through unsaid
/// nowhere.
#[test]
fn a_head_that_is_broken_is_not_let_through() {
    let mut world = World::new();
    let stolen = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let bob = person("bob").fingerprint();
    let text = policy(2, &[("revoked: []", &format!("revoked: [{{key: \"{bob}\", kind: hard}}]"))]);
    let revoked = world.push(stolen, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    let urgent = world.put(revoked, "alice", "apps/api.yaml", &config_map("api", 1));
    let start = Start::Accepted(world.introduction);
    let judge = |head: CommitId, ordered: bool| {
        let waivers = if ordered { ordering(&world, head, BTreeMap::new()) } else { Waivers::default() };
        judge_waiving(&world.memory, &world.root, &start, &head, at(world.now), Verifiers::default(), &waivers)
    };
    for ordered in [false, true] {
        let judgement = judge(urgent, ordered);
        assert_eq!(memory::code(&judgement), "W302");
        assert_eq!(judgement.accepted().map(|accepted| accepted.id()), Some(revoked));
        assert!(judgement.waived().is_empty());
    }
    // Without anything to waive the order changes nothing.
    let judgement = judge(revoked, true);
    assert_eq!(judgement.accepted().map(|accepted| accepted.id()), Some(revoked));
    assert!(judgement.refusal().is_none() && judgement.broken().is_some());
}

/// What was let through stays so when everything is judged again, and what follows is judged as ever.
#[test]
fn what_the_log_has_is_not_refused_later() {
    let mut world = World::new();
    let through = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let good = world.put(through, "bob", "apps/web.yaml", &config_map("web", 3));
    let bad = world.put(good, "alice", "apps/web.yaml", &config_map("web", 4));
    let waivers = logged(&world, through, &["alice", "dave"]);
    for (head, verdict) in [(through, "ok"), (good, "ok"), (bad, "W302")] {
        assert_eq!(waiving(&world, &Start::Above(through), head, &waivers), verdict);
    }
    assert_eq!(waiving(&world, &Start::Above(through), good, &Waivers::default()), "W302");
    // Above what the log has as accepted it counts for nothing.
    assert_eq!(waiving(&world, &Start::Accepted(world.introduction), through, &waivers), "W302");
}

#[test]
fn it_is_over_when_all_of_it_was_made_anew() {
    let mut world = World::new();
    let from = world.introduction;
    let through = world.push(from, Some("alice"), |tree| {
        _ = tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
        _ = tree.insert(path("apps/api.yaml"), config_map("api", 2).into_bytes());
    });
    let left = |world: &World, later: CommitId| -> Vec<String> {
        let left = still_waived(
            &world.memory,
            &world.root,
            (&from, &through),
            &later,
            at(world.now),
            Verifiers::default(),
            &Waivers::default(),
        )
        .unwrap();
        left.iter().map(ToString::to_string).collect()
    };
    assert_eq!(left(&world, through), ["apps/api.yaml", "apps/web.yaml"]);
    let one = world.put(through, "bob", "apps/web.yaml", &config_map("web", 3));
    assert_eq!(left(&world, one), ["apps/api.yaml"]);
    let removed = world.push(one, Some("bob"), |tree| _ = tree.remove(&path("apps/api.yaml")).unwrap());
    assert!(left(&world, removed).is_empty());
    let elsewhere = world.put(through, "alice", "policies/a.txt", "1");
    assert_eq!(left(&world, elsewhere), ["apps/api.yaml", "apps/web.yaml"]);
    // Those who may stand for it.
    let object = CommitObject::parse(through, world.memory.raw(&through)).unwrap();
    let approval = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from,
        to_tree: object.tree,
        policy_version: 1,
        expires: at(world.now + 60),
        decision: Decision::Approve,
        skipped: Vec::new(),
    };
    let payload = approval.payload();
    let signature = person("bob").sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(through, vec![envelope(&payload, &[("bob", &signature)]).into_bytes()]);
    assert!(left(&world, elsewhere).is_empty());
    // Whoever has taken their key by now says nothing that counts.
    let stolen = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", person("bob").fingerprint());
    let text = policy(2, &[("revoked: []", stolen.as_str())]);
    let revoked = world.push(elsewhere, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    assert_eq!(left(&world, revoked), ["apps/api.yaml", "apps/web.yaml"]);
}

/// What was left out before a step is not what an order lets through.
#[test]
fn a_step_over_what_was_left_out_is_let_through_as_itself() {
    let mut world = World::new();
    let good = world.introduction;
    let bad =
        world.push(good, None, |tree| _ = tree.insert(path("apps/evil.yaml"), config_map("evil", 1).into_bytes()));
    let fix = world.put(bad, "frank", "apps/web.yaml", &config_map("web", 2));
    let skip = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from: good,
        to_tree: CommitObject::parse(fix, world.memory.raw(&fix)).unwrap().tree,
        policy_version: 1,
        expires: at(world.now + 60),
        decision: Decision::Skip,
        skipped: vec![world.memory.payload(&bad)],
    };
    let payload = skip.payload();
    let sign = |who: &str| person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    let signed = envelope(&payload, &[("alice", &sign("alice")), ("dave", &sign("dave"))]);
    world.memory.notes.insert(fix, vec![signed.into_bytes()]);
    let (waivers, start, with) = (ordering(&world, fix, BTreeMap::new()), Start::Accepted(good), Verifiers::default());
    let judgement = judge_waiving(&world.memory, &world.root, &start, &fix, at(world.now), with, &waivers);
    assert_eq!(memory::code(&judgement), "ok", "{:?}", judgement.refusal());
    let waived: Vec<_> = judgement.waived().iter().map(|step| (step.commit, step.predecessor)).collect();
    assert_eq!(waived, [(fix, good)]);
}

/// What the log has is an order that can be verified; another one waives nothing.
#[test]
fn what_the_log_has_is_verified() {
    let mut world = World::new();
    let through = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let head = world.put(through, "bob", "apps/web.yaml", &config_map("web", 3));
    for (by, expected) in [(&["alice", "dave"][..], "ok"), (&["alice", "bob"], "W302"), (&[], "W302")] {
        let waivers = logged(&world, through, by);
        assert_eq!(waiving(&world, &Start::Above(through), head, &waivers), expected, "{by:?}");
    }
}

/// Whoever is revoked on the way to the head lets nothing through any more.
#[test]
fn an_order_is_judged_with_what_its_head_stands_on() {
    let roots = ("root: [alice, dave]", "root: [alice, dave, erin]");
    let mut world = World::with(&policy(1, &[roots]));
    let revoked = format!("revoked: [{}]", hard("dave"));
    let text = policy(2, &[roots, ("revoked: []", &revoked)]);
    let on = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]));
    let head = world.put(on, "frank", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(broken(&world, head), "W302");
    let waivers =
        Waivers { before: BTreeMap::new(), head: Some(obeyed(&world, head, world.introduction, &["alice", "erin"])) };
    assert_eq!(waiving(&world, &Start::Accepted(world.introduction), head, &waivers), "ok W302");
}

/// What can be told of an order without verifying anything: what cannot be good, and never that it is.
#[test]
fn an_order_that_cannot_be_good_is_told_by_what_it_says() {
    let mut world = World::new();
    let head = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let trust = trust::TrustFile::of_commit(&world.memory, &world.introduction).unwrap();
    let seen = Seen { first: at(world.now), now: at(world.now) };
    let could = |by: &[&str], edit: &dyn Fn(&mut SignedOrder)| {
        let mut order = order(&world, head);
        edit(&mut order);
        let signatures: Vec<String> =
            by.iter().map(|who| person(who).sign(NAMESPACE_BREAK_GLASS, &order.payload())).collect();
        order.could_be_good(&signatures, &trust, "urn:writ:test", seen)
    };
    assert!(could(&["alice", "dave"], &|_| ()) && could(&["mallory", "dave", "alice"], &|_| ()));
    for by in [&[][..], &["mallory"], &["alice"], &["alice", "alice"], &["bob", "carol"]] {
        assert!(!could(by, &|_| ()), "{by:?}");
    }
    let by = ["alice", "dave"];
    assert!(!could(&by, &|order| order.repo_id = "urn:writ:other".to_owned()));
    assert!(!could(&by, &|order| order.not_after = at(world.now + 5 * 3_600)));
    // Whoever names their keys without having them is not told from them.
    let others: Vec<String> = by.iter().map(|who| person(who).sign(NAMESPACE_APPROVAL, b"other")).collect();
    assert!(order(&world, head).could_be_good(&others, &trust, "urn:writ:test", seen));
    let junk = ["{}", "-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----", ""].map(str::to_owned);
    assert!(!order(&world, head).could_be_good(&junk, &trust, "urn:writ:test", seen));
}

/// A key counts for nothing before its window begins, and for an order that is made anew in it.
#[test]
fn an_order_is_signed_with_keys_that_are_in_force() {
    let erin = person("erin").public();
    let begins = |when: i64| {
        let keys = (format!("ssh: \"{erin}\""), format!("ssh: \"{erin}\", notBefore: \"{}\"", at(when)));
        let mut world =
            World::with(&policy(1, &[(&keys.0, &keys.1), ("root: [alice, dave]", "root: [alice, dave, erin]")]));
        let head = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
        ordered(&world, head, &["alice", "erin"], |_| ())
    };
    let now = World::new().now;
    check(&begins(now), "ok alice erin");
    let early = begins(now + 1);
    check(&early, "W702: to order it: 1 of 2 for .writ/trust.yaml (alice)");
    assert!(early.contains(" of erin begins "), "{early}");
}
