//! A refused commit that stays in the branch: root principals have it left out, and what comes after is one step with it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use manifest::Digest;
use memory::{World, at, path, person, policy, put_policy};
use trust::{Approval, CommitId, Decision, NAMESPACE_APPROVAL, Start, envelope, envelope_message};

/// A good commit, two that are refused, and one by bob that mends it: `left` is what is still different then.
fn stuck(left: &str) -> (World, CommitId, Vec<CommitId>, CommitId) {
    stuck_in(World::new(), left)
}

fn stuck_in(mut world: World, left: &str) -> (World, CommitId, Vec<CommitId>, CommitId) {
    let good = world.put(world.introduction, "bob", "apps/a.txt", "good");
    let unsigned = world.push(good, None, |tree| {
        tree.insert(path("apps/a.txt"), b"bad".to_vec());
        tree.insert(path("policies/p.txt"), b"bad".to_vec());
    });
    let later = world.put(unsigned, "bob", "apps/b.txt", "more");
    let fix = world.push(later, Some("bob"), |tree| {
        tree.insert(path("apps/a.txt"), b"mended".to_vec());
        if left.is_empty() {
            tree.remove(&path("policies/p.txt"));
        } else {
            tree.insert(path("policies/p.txt"), left.as_bytes().to_vec());
        }
    });
    assert_eq!(world.code(fix), "W301");
    (world, good, vec![unsigned, later], fix)
}

fn skip(world: &World, from: CommitId, skipped: Vec<Digest>, fix: CommitId) -> Approval {
    Approval { from, decision: Decision::Skip, skipped, ..world.approval(fix) }
}

/// Puts what these people say beside a commit.
fn say(world: &mut World, commit: CommitId, approval: &Approval, who: &[&str]) {
    let payload = approval.payload();
    let sign = |who: &&str| {
        let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
        envelope(&payload, &[(who, &signature)]).into_bytes()
    };
    world.memory.notes.entry(commit).or_default().extend(who.iter().map(sign));
}

#[test]
fn root_principals_have_refused_commits_left_out() {
    let (mut world, good, bad, fix) = stuck("");
    let payloads: Vec<Digest> = bad.iter().map(|id| world.memory.payload(id)).collect();
    let order = skip(&world, good, payloads, fix);
    say(&mut world, fix, &order, &["alice"]);
    assert_eq!(world.code(fix), "W301");
    say(&mut world, fix, &order, &["dave"]);
    let judgement = world.judge(&Start::Introduction, fix);
    assert_eq!(judgement.refusal(), None);
    assert_eq!(judgement.accepted().unwrap().id(), fix);
    let steps: Vec<CommitId> = judgement.steps.iter().map(|step| step.commit).collect();
    assert_eq!((steps, &judgement.steps[1].skipped), (vec![good, fix], &bad));
    assert_eq!(judgement.approvals(), [(fix, world.memory.notes[&fix].clone())], "what is kept to judge it again");
    // From any start, and with more on top.
    assert_eq!(memory::code(&world.judge(&Start::Accepted(good), fix)), "ok");
    let more = world.put(fix, "carol", "apps/c.txt", "x");
    assert_eq!(world.code(more), "ok");
    // Nothing of what is left out can be taken for accepted.
    for id in &bad {
        assert_ne!(world.code(*id), "ok");
        let left_out = world.judge(&Start::Above(*id), fix);
        assert!(left_out.accepted().is_none());
        // What an admin vouched for is left out: another admin's word is needed, and that is said.
        let finding = left_out.refusal().unwrap();
        assert_eq!((finding.code.code, finding.fix.contains(&fix.to_string())), ("W407", true), "{finding}");
    }
    assert_eq!(memory::code(&world.judge(&Start::Above(fix), more)), "ok");
}

#[test]
fn what_is_still_different_answers_to_its_rules() {
    let (mut world, good, bad, fix) = stuck("kept");
    let payloads: Vec<Digest> = bad.iter().map(|id| world.memory.payload(id)).collect();
    let order = skip(&world, good, payloads, fix);
    say(&mut world, fix, &order, &["alice", "dave"]);
    // Both apps and policies are different from the last good commit.
    assert_eq!(world.code(fix), "W308");
}

#[test]
fn only_exactly_what_is_named_is_left_out() {
    let (world, good, bad, fix) = stuck("");
    let payloads: Vec<Digest> = bad.iter().map(|id| world.memory.payload(id)).collect();
    let with = |edit: &dyn Fn(&mut Approval), who: &[&str]| {
        let (mut world, ..) = stuck("");
        let mut order = skip(&world, good, payloads.clone(), fix);
        edit(&mut order);
        say(&mut world, fix, &order, who);
        world.code(fix)
    };
    let root = ["alice", "dave"];
    assert_eq!(with(&|_| (), &root), "ok");
    assert_eq!(with(&|_| (), &["bob", "carol", "frank"]), "W301");
    assert_eq!(with(&|order| _ = order.skipped.pop(), &root), "W301");
    assert_eq!(with(&|order| order.skipped.push(Digest::of(b"x")), &root), "W301");
    assert_eq!(with(&|order| order.skipped.reverse(), &root), "W301");
    assert_eq!(with(&|order| order.from = bad[0], &root), "W301");
    assert_eq!(with(&|order| order.repo_id = "urn:other".to_owned(), &root), "W301");
    assert_eq!(with(&|order| order.expires = at(memory::BASE), &root), "W301");
    // An approval is no order to leave something out, and the other way round.
    assert_eq!(with(&|order| order.decision = Decision::Approve, &root), "W301");
    drop(world);
}

/// What was to mend it is refused itself, although it was said that it does: a later one mends both.
#[test]
fn what_mends_it_badly_is_mended_in_its_turn() {
    let (mut world, good, mut bad, fix) = stuck("kept");
    let leave_out = |world: &mut World, bad: &[CommitId], fix: CommitId| {
        let payloads = bad.iter().map(|id| world.memory.payload(id)).collect();
        let order = skip(world, good, payloads, fix);
        say(world, fix, &order, &["alice", "dave"]);
    };
    leave_out(&mut world, &bad, fix);
    let on_top = world.push(fix, Some("bob"), |tree| _ = tree.remove(&path("policies/p.txt")));
    for head in [fix, on_top] {
        let judgement = world.judge(&Start::Introduction, head);
        let last = judgement.steps.last().unwrap();
        // The one that was to mend it is told.
        assert_eq!((memory::code(&judgement), last.commit), ("W308", fix));
        assert_eq!(judgement.accepted().unwrap().id(), good);
    }
    bad.push(fix);
    leave_out(&mut world, &bad, on_top);
    let judgement = world.judge(&Start::Introduction, on_top);
    assert_eq!((memory::code(&judgement), &judgement.steps.last().unwrap().skipped), ("ok", &bad));
    assert_ne!(world.code(fix), "ok");
}

/// Whoever had them left out must be believed later as well.
#[test]
fn what_is_left_out_by_a_revoked_key_does_not_hold() {
    let root = [("root: [alice, dave]", "root: [alice, dave, erin]")];
    for (who, holds) in [(["alice", "dave"].as_slice(), false), (&["alice", "dave", "erin"], true)] {
        let (mut world, good, bad, fix) = stuck_in(World::with(&policy(1, &root)), "");
        let payloads = bad.iter().map(|id| world.memory.payload(id)).collect();
        let order = skip(&world, good, payloads, fix);
        say(&mut world, fix, &order, who);
        let hard = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", person("dave").fingerprint());
        let text = policy(2, &[root[0], ("revoked: []", &hard)]);
        let revoked = world.push(fix, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]));
        let judgement = world.judge(&Start::Introduction, revoked);
        assert_eq!(memory::code(&judgement), "ok");
        assert_eq!(judgement.broken().is_none(), holds, "{:?}", judgement.broken());
        if let Some(finding) = judgement.broken() {
            assert!(finding.found.contains("apps/a.txt (commit") && finding.found.contains("approved by dave"));
        }
    }
}
