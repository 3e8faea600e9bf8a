//! What was left out was never in force: a revocation is asked of the accepted steps alone, each from the one before it,
//! wherever a judgement begins.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod rollback_case;

use manifest::Digest;
use memory::{World, at, config_map, path, person, policy, put_policy};
use rollback_case::{Case, check};
use trust::{
    Approval, CommitId, Decision, Judgement, NAMESPACE_APPROVAL, NAMESPACE_ROLLBACK, SignatureCache, Start, envelope,
    envelope_message, judge_with,
};

const ROOT: (&str, &str) = ("root: [alice, dave]", "root: [alice, dave, erin]");

/// An approval of a step since another.
fn said(world: &World, from: CommitId, step: CommitId, decision: Decision, skipped: &[CommitId]) -> Approval {
    let skipped = skipped.iter().map(|id| world.memory.payload(id)).collect();
    Approval { from, decision, skipped, ..world.approval(step) }
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

/// Root principals whose keys stay good have these left out.
fn leave_out(world: &mut World, from: CommitId, bad: &[CommitId], fix: CommitId) {
    let order = said(world, from, fix, Decision::Skip, bad);
    say(world, fix, &order, &["alice", "erin"]);
    let judgement = world.judge(&Start::Introduction, fix);
    assert_eq!(memory::code(&judgement), "ok", "{:?}", judgement.refusal());
    assert_eq!(judgement.steps.last().unwrap().skipped, bad);
}

fn hard(who: &str) -> String {
    format!("{{key: \"{}\", kind: hard, reason: stolen}}", person(who).fingerprint())
}

/// A trust file on top that revokes this.
fn revoke(world: &mut World, parent: CommitId, edits: &[(&str, &str)], revoked: &str) -> CommitId {
    let revoked = format!("revoked: [{revoked}]");
    let text = policy(2, &[edits, &[("revoked: []", revoked.as_str())]].concat());
    world.push(parent, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]))
}

fn told(judgement: &Judgement) -> String {
    assert_eq!(memory::code(judgement), "ok", "{:?}", judgement.refusal());
    judgement.broken().map_or_else(|| "holds".to_owned(), |finding| format!("{}: {}", finding.code.code, finding.found))
}

/// What is said of the head: the same from the introduction, above what was accepted on the way, and after it, with and
/// without what was looked through before.
fn verdict(world: &World, way: &[CommitId], head: CommitId) -> String {
    let found = told(&world.judge(&Start::Introduction, head));
    let known = SignatureCache::default();
    for accepted in way.iter().chain([&head]) {
        let resumed = world.judge(&Start::Introduction, *accepted).accepted().unwrap().clone();
        for start in [Start::Above(*accepted), Start::Resumed(resumed)] {
            assert_eq!(told(&world.judge(&start, head)), found, "{start:?}");
            for to in [*accepted, head] {
                let judged = judge_with(&world.memory, &world.root, &start, &to, at(world.now), Some(&known));
                assert!(to != head || told(&judged) == found, "{start:?}");
            }
        }
    }
    found
}

/// A Sync of `apps` that is at one commit, while another is verified.
fn sync(world: World, to: CommitId, accepted: CommitId, verified: CommitId) -> Case {
    let (first_seen, folder, namespace) = (world.now, "apps", NAMESPACE_ROLLBACK);
    Case { world, folder, verified, accepted, in_force: accepted, to, first_seen, namespace, by: vec!["bob"] }
}

/// Who signs the step after it stands for all that is different from the last accepted one, and nobody else does.
#[test]
fn what_a_revoked_step_brought_with_what_was_left_out_does_not_hold() {
    let mut world = World::with(&policy(1, &[ROOT]));
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let bad =
        world.push(good, None, |tree| _ = tree.insert(path("apps/evil.yaml"), config_map("evil", 1).into_bytes()));
    let fix = world.put(bad, "carol", "apps/fix.yaml", &config_map("fix", 1));
    leave_out(&mut world, good, &[bad], fix);
    let revoked = revoke(&mut world, fix, &[ROOT], &hard("carol"));
    let found = verdict(&world, &[good, fix], revoked);
    assert!(found.contains("apps/evil.yaml (commit") && found.contains("apps/fix.yaml (commit"), "{found}");
    let mended = world.push(revoked, Some("bob"), |tree| _ = tree.remove(&path("apps/fix.yaml")));
    let found = verdict(&world, &[good, fix, revoked], mended);
    assert!(found.starts_with("W304") && found.contains("apps/evil.yaml"), "{found}");
    let gone = world.push(mended, Some("bob"), |tree| {
        tree.remove(&path("apps/evil.yaml"));
        tree.insert(path("apps/web.yaml"), config_map("web", 3).into_bytes());
    });
    assert_eq!(verdict(&world, &[good, fix, revoked, mended], gone), "holds");
    // Nor does a Sync go back to it, or stay at it.
    let mut case = sync(world, fix, gone, gone);
    check(&case.verdict(), "W304: it still holds what is revoked: apps/evil.yaml");
    check(&case.held(None), "W304: it still holds what is revoked: apps/evil.yaml");
    case.to = good;
    check(&case.verdict(), "ok bob");
    check(&case.held(None), "ok");
    // What was left out was accepted by nobody.
    case.to = bad;
    check(&case.held(None), "W304: it cannot be told");
}

/// What anybody takes away and somebody else puts back is as the revoked step left it.
#[test]
fn what_was_left_out_makes_nothing_anew() {
    for is_left_out in [false, true] {
        let mut world = World::with(&policy(1, &[ROOT]));
        let evil = world.put(world.introduction, "carol", "apps/evil.yaml", &config_map("evil", 1));
        let mut last = evil;
        if is_left_out {
            let bad = world.push(evil, None, |tree| _ = tree.remove(&path("apps/evil.yaml")));
            last = world.put(bad, "bob", "apps/evil.yaml", &config_map("evil", 1));
            leave_out(&mut world, evil, &[bad], last);
        }
        let revoked = revoke(&mut world, last, &[ROOT], &hard("carol"));
        let found = verdict(&world, &[evil, last], revoked);
        assert!(found.starts_with("W304: it still holds what is revoked: apps/evil.yaml (commit"), "{found}");
        check(&sync(world, last, revoked, revoked).held(None), "W304: it still holds what is revoked: apps/evil.yaml");
    }
}

/// What approved the step is asked by the trust file that was in force, whatever became of it in what was left out.
#[test]
fn a_withdrawn_approval_of_what_mends_it_does_not_hold() {
    let rule = "  - {name: secure, paths: [\"secure/**\"], anyOf: [{role: ops, threshold: 2}]}\nhistory:";
    let ops = |text: &'static str| [ROOT, ("security: [alice, frank]", text), ("history:", rule)];
    let edits = ops("security: [alice, frank], ops: [bob, dave, frank]");
    // A trust file that was never in force, and does not know who approved.
    let without =
        policy(2, &ops("security: [alice, frank], ops: [bob, frank]")).replace("alice, dave, erin", "alice, erin");
    let without: Vec<&str> = without.split_inclusive('\n').filter(|line| !line.starts_with("  dave:")).collect();
    let good_text = policy(1, &edits);
    for bad_text in [good_text.clone() + "# as it was\n", without.concat(), "garbled".to_owned()] {
        for (approver, holds) in [("dave", false), ("frank", true)] {
            let mut world = World::with(&good_text);
            let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
            let bad = world.push(good, None, |tree| put_policy(tree, &bad_text, &["alice"]));
            let fix = world.push(bad, Some("bob"), |tree| {
                put_policy(tree, &good_text, &["alice", "dave"]);
                tree.insert(path("secure/x.yaml"), b"1".to_vec());
            });
            let approve = said(&world, good, fix, Decision::Approve, &[]);
            say(&mut world, fix, &approve, &[approver]);
            leave_out(&mut world, good, &[bad], fix);
            let revoked = revoke(&mut world, fix, &edits, &hard("dave"));
            let found = verdict(&world, &[good, fix], revoked);
            let expected = if holds { "holds" } else { "W304: it still holds what is revoked: secure/x.yaml (commit" };
            assert!(found.starts_with(expected), "{found}");
        }
    }
}

/// Whoever may write beside a commit can say of it what was never asked.
#[test]
fn what_a_revoked_key_says_of_a_step_that_needed_nobody_breaks_nothing() {
    let mut world = World::with(&policy(1, &[ROOT]));
    let introduction = world.introduction;
    let first = world.put(introduction, "bob", "apps/a.txt", "1");
    let second = world.put(first, "bob", "apps/b.txt", "1");
    let revoked = revoke(&mut world, second, &[ROOT], &hard("carol"));
    assert_eq!(verdict(&world, &[first, second], revoked), "holds");
    for decision in [Decision::Skip, Decision::Approve, Decision::Vouch] {
        let skipped: &[CommitId] = if decision == Decision::Skip { &[first] } else { &[] };
        for from in [introduction, first] {
            let approval = said(&world, from, second, decision, skipped);
            say(&mut world, second, &approval, &["carol", "dave"]);
        }
    }
    assert_eq!(verdict(&world, &[first, second], revoked), "holds");
}

/// Only who left exactly these out is asked for it.
#[test]
fn who_left_out_something_else_is_not_asked() {
    let judged = |exactly: &[&str], others: &[&str]| {
        let mut world = World::with(&policy(1, &[ROOT]));
        let good = world.put(world.introduction, "bob", "apps/a.txt", "1");
        let bad = world.push(good, None, |tree| _ = tree.insert(path("apps/b.txt"), b"1".to_vec()));
        let fix = world.put(bad, "bob", "apps/c.txt", "1");
        let order = said(&world, good, fix, Decision::Skip, &[bad]);
        say(&mut world, fix, &order, exactly);
        say(&mut world, fix, &Approval { skipped: vec![Digest::of(b"x")], ..order }, others);
        let revoked = revoke(&mut world, fix, &[ROOT], &hard("dave"));
        verdict(&world, &[good, fix], revoked)
    };
    let found = judged(&["alice", "dave"], &["alice", "erin"]);
    assert!(found.contains("apps/b.txt (commit") && found.contains("approved by dave"), "{found}");
    assert_eq!(judged(&["alice", "erin"], &["alice", "dave"]), "holds");
}

/// A key that was good until a commit that was left out was good for the step before it, and no longer for the one after.
#[test]
fn a_soft_revocation_may_end_at_what_was_left_out() {
    let mut world = World::with(&policy(1, &[ROOT]));
    let good = world.put(world.introduction, "carol", "apps/a.txt", "1");
    let bad = world.push(good, None, |tree| _ = tree.insert(path("apps/b.txt"), b"1".to_vec()));
    let fix = world.put(bad, "carol", "apps/c.txt", "1");
    leave_out(&mut world, good, &[bad], fix);
    let soft = format!("{{key: \"{}\", kind: soft, after: {bad}}}", person("carol").fingerprint());
    let revoked = revoke(&mut world, fix, &[ROOT], &soft);
    let found = verdict(&world, &[good, fix], revoked);
    assert!(found.contains("apps/b.txt (commit") && found.contains("apps/c.txt (commit"), "{found}");
    assert!(!found.contains("apps/a.txt"), "{found}");
}

/// Where it is gone who left it out, it cannot be told what is left of what is revoked.
#[test]
fn what_left_it_out_must_not_be_lost() {
    let mut world = World::with(&policy(1, &[ROOT]));
    let good = world.put(world.introduction, "bob", "apps/a.txt", "1");
    let bad = world.push(good, None, |tree| _ = tree.insert(path("apps/b.txt"), b"1".to_vec()));
    let fix = world.put(bad, "bob", "apps/c.txt", "1");
    leave_out(&mut world, good, &[bad], fix);
    let accepted = world.judge(&Start::Introduction, fix).accepted().unwrap().clone();
    let notes = world.memory.notes.remove(&fix).unwrap();
    let resumed = |world: &World, head| told(&world.judge(&Start::Resumed(accepted.clone()), head));
    let after = world.put(fix, "bob", "apps/d.txt", "1");
    assert_eq!(resumed(&world, after), "holds", "nothing is revoked");
    let revoked = revoke(&mut world, after, &[ROOT], &hard("frank"));
    let found = resumed(&world, revoked);
    assert!(found.starts_with("W304: it cannot be told") && found.contains("(W301: "), "{found}");
    world.memory.notes.insert(fix, notes);
    assert_eq!(resumed(&world, revoked), "holds");
}

/// Somebody who removes what approved a step, while it is remembered that it was accepted, does not keep it in force.
#[test]
fn what_is_gone_approves_nothing_although_the_step_is_known() {
    let two = [ROOT, ("{role: security, threshold: 1}", "{role: security, threshold: 2}")];
    let edits = [&two[..], &[("security: [alice, frank]", "security: [alice, dave, frank]")]].concat();
    for (gone, is_skip) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut world = World::with(&policy(1, &edits));
        let good = world.put(world.introduction, "bob", "apps/a.txt", "1");
        let step = if is_skip {
            let bad = world.push(good, None, |tree| _ = tree.insert(path("apps/b.txt"), b"1".to_vec()));
            let fix = world.put(bad, "bob", "apps/c.txt", "1");
            let order = said(&world, good, fix, Decision::Skip, &[bad]);
            say(&mut world, fix, &order, &["alice", "dave"]);
            fix
        } else {
            let step = world.put(good, "alice", "policies/limits.txt", "1");
            let approval = said(&world, good, step, Decision::Approve, &[]);
            say(&mut world, step, &approval, &["dave"]);
            step
        };
        let accepted = world.judge(&Start::Introduction, step).accepted().unwrap().clone();
        let (known, start) = (SignatureCache::default(), Start::Resumed(accepted));
        let judged = |world: &World, head| {
            told(&judge_with(&world.memory, &world.root, &start, &head, at(world.now), Some(&known)))
        };
        let carol = revoke(&mut world, step, &edits, &hard("carol"));
        assert_eq!(judged(&world, carol), "holds");
        if gone {
            world.memory.notes.clear();
        }
        let both = format!("revoked: [{}, {}]", hard("carol"), hard("dave"));
        let text = policy(3, &[&edits[..], &[("revoked: []", both.as_str())]].concat());
        let dave = world.push(carol, Some("alice"), |tree| put_policy(tree, &text, &["alice", "erin"]));
        let found = judged(&world, dave);
        let lost = if is_skip { "apps/b.txt" } else { "policies/limits.txt" };
        let why = if gone { "what approved it is gone" } else { "approved by dave: key" };
        assert!(found.starts_with("W304: it still holds") && found.contains(lost) && found.contains(why), "{found}");
        assert!(told(&world.judge(&start, dave)).starts_with("W304"), "without what is known");
    }
}
