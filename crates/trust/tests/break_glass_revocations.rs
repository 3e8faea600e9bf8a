//! Breaking the glass, and revocations: what was let through holds or not once a key is revoked, and how it is mended.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod break_glass_case;
mod memory;

use break_glass_case::{check, hard, logged};
use memory::{World, at, config_map, person, policy, put_policy};
use trust::{
    CommitId, CommitObject, NAMESPACE_APPROVAL, SignatureCache, Start, Verifiers, Waivers, envelope, envelope_message,
    judge_waiving, still_waived,
};

/// Whether what was let through by `by` still holds on top of a trust file of alice and erin that revokes `revoked`.
fn re_judged(by: &[&str], revoked: impl Fn(&World, CommitId) -> String) -> (World, Waivers, CommitId, String) {
    let roots = ("root: [alice, dave]", "root: [alice, dave, erin]");
    let mut world = World::with(&policy(1, &[roots]));
    let through = world.put(world.introduction, "frank", "apps/web.yaml", &config_map("web", 2));
    let waivers = logged(&world, through, by);
    let later = world.put(through, "bob", "apps/api.yaml", &config_map("api", 1));
    let revoked = format!("revoked: [{}]", revoked(&world, later));
    let text = policy(2, &[roots, ("revoked: []", &revoked)]);
    let head = world.push(later, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]));
    let verdict = holds(&world, &waivers, head);
    (world, waivers, head, verdict)
}

fn holds(world: &World, waivers: &Waivers, head: CommitId) -> String {
    holds_with(world, waivers, head, &SignatureCache::default())
}

/// The same, also for who looked through it before.
fn holds_with(world: &World, waivers: &Waivers, head: CommitId, known: &SignatureCache) -> String {
    let through = *waivers.before.keys().next().unwrap();
    let judged = |with: Verifiers<'_>| {
        let start = Start::Above(through);
        let judgement = judge_waiving(&world.memory, &world.root, &start, &head, at(world.now), with, waivers);
        assert_eq!(memory::code(&judgement), "ok", "the step is refused");
        let told = |finding: &manifest::Finding| format!("{}: {}", finding.code.code, finding.found);
        judgement.broken().map_or_else(|| "ok".to_owned(), told)
    };
    let found = judged(Verifiers::default());
    assert_eq!(judged(Some(known).into()), found, "what was looked through before");
    found
}

/// A key that is revoked later takes its signature out of the order, and with too few left what was let through is held.
#[test]
fn who_ordered_it_is_asked_again() {
    let (_, _, _, found) = re_judged(&["alice", "dave"], |_, _| hard("dave"));
    check(&found, "W304: it still holds what is revoked: apps/web.yaml (commit ");
    assert!(found.contains(": order shop/urgent no longer stands: signed by dave: key SHA256:"), "{found}");
    assert!(found.ends_with("is revoked (stolen); 1 of 2 for .writ/trust.yaml (alice))"), "{found}");
    let verdict = |by: &[&str], revoked: &dyn Fn(&World, CommitId) -> String| re_judged(by, revoked).3;
    // Enough are left, or somebody is revoked who signed nothing.
    check(&verdict(&["alice", "dave", "erin"], &|_, _| hard("dave")), "ok");
    check(&verdict(&["alice", "dave"], &|_, _| hard("carol")), "ok");
    // Good until a commit: the one that was let through and later ones, or one before it.
    let soft = |after: CommitId| format!("{{key: \"{}\", kind: soft, after: {after}}}", person("dave").fingerprint());
    check(&verdict(&["alice", "dave"], &|_, later| soft(later)), "ok");
    check(&verdict(&["alice", "dave"], &|world, _| soft(world.introduction)), "W304: it still holds");
    // Its content, whoever ordered it.
    let content = |world: &World, later: CommitId| {
        let through = CommitObject::parse(later, world.memory.raw(&later)).unwrap().parents[0];
        format!("{{payload: \"sha256:{}\", reason: bad}}", world.memory.payload(&through))
    };
    let found = verdict(&["alice", "dave"], &content);
    assert!(found.contains("its content is revoked (bad)"), "{found}");
}

/// What is held is mended as all else is: made anew, or approved by those who may make it, also while writ runs.
#[test]
fn what_an_order_let_through_is_mended_without_it() {
    let (mut world, waivers, head, _) = re_judged(&["alice", "dave"], |_, _| hard("dave"));
    let known = SignatureCache::default();
    let anew = world.put(head, "bob", "apps/web.yaml", &config_map("web", 3));
    check(&holds(&world, &waivers, anew), "ok");
    let through = *waivers.before.keys().next().unwrap();
    let approval = world.approval(through);
    let payload = approval.payload();
    check(&holds_with(&world, &waivers, head, &known), "W304");
    for (who, expected) in [("dave", "W304"), ("frank", "W304"), ("bob", "ok"), ("dave", "W304"), ("bob", "ok")] {
        let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
        world.memory.notes.insert(through, vec![envelope(&payload, &[(who, &signature)]).into_bytes()]);
        check(&holds_with(&world, &waivers, head, &known), expected);
    }
    // It goes on so, and there is an end of it when the file is made anew.
    let later = world.put(head, "bob", "apps/api.yaml", &config_map("api", 2));
    check(&holds_with(&world, &waivers, later, &known), "ok");
    world.memory.notes.clear();
    check(&holds_with(&world, &waivers, later, &known), "W304");
    let anew = world.put(later, "bob", "apps/web.yaml", &config_map("web", 4));
    check(&holds_with(&world, &waivers, anew, &known), "ok");
}

/// Whoever approved it is asked again, also where it is remembered that it was accepted, by the order, before that.
#[test]
fn an_approval_that_ended_it_may_be_withdrawn() {
    let (mut world, waivers, head, verdict) = re_judged(&["alice", "dave"], |_, _| hard("carol"));
    check(&verdict, "ok");
    let known = SignatureCache::default();
    check(&holds_with(&world, &waivers, head, &known), "ok");
    let (through, first) = (*waivers.before.keys().next().unwrap(), world.introduction);
    let left = |world: &World, later: CommitId| {
        let left = |with: Verifiers<'_>| {
            still_waived(&world.memory, &world.root, (&first, &through), &later, at(world.now), with, &waivers).unwrap()
        };
        let found = left(Verifiers::default());
        assert_eq!(left(Some(&known).into()), found, "what was looked through before");
        found.len()
    };
    assert_eq!(left(&world, head), 1);
    let payload = world.approval(through).payload();
    let signature = person("bob").sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(through, vec![envelope(&payload, &[("bob", &signature)]).into_bytes()]);
    assert_eq!(left(&world, head), 0);
    let revoked = format!("revoked: [{}, {}]", hard("carol"), hard("bob"));
    let edits =
        [("root: [alice, dave]", "root: [alice, dave, erin]"), ("sre: [bob, carol]", "sre: [bob, carol, frank]")];
    let text = policy(3, &[&edits[..], &[("revoked: []", revoked.as_str())]].concat());
    let later = world.push(head, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]));
    assert_eq!(left(&world, later), 1);
}

/// While the order stands nothing else is asked of who stood for the step.
#[test]
fn an_order_that_stands_needs_no_approval() {
    let (mut world, waivers, head, verdict) = re_judged(&["alice", "dave"], |_, _| hard("carol"));
    check(&verdict, "ok");
    let through = *waivers.before.keys().next().unwrap();
    let approval = world.approval(through);
    let payload = approval.payload();
    let signature = person("carol").sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(through, vec![envelope(&payload, &[("carol", &signature)]).into_bytes()]);
    check(&holds(&world, &waivers, head), "ok");
}
