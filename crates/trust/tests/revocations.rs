//! Revocations: what they refuse from now on, and what of the accepted state no longer holds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, at, code, config_map, path, person, policy, put_policy};
use trust::{
    Approval, CommitId, CommitObject, Decision, HistoryError, NAMESPACE_APPROVAL, SignatureCache, Start, envelope,
    envelope_message, judge_with,
};

/// A trust file that revokes, with the version after `version`.
fn revoking(version: u64, items: &str) -> String {
    policy(version, &[("revoked: []", &format!("revoked: [{items}]"))])
}

fn hard(name: &str) -> String {
    format!("{{key: \"{}\", kind: hard, reason: stolen}}", person(name).fingerprint())
}

fn soft(name: &str, after: CommitId) -> String {
    format!("{{key: \"{}\", kind: soft, after: {after}, reason: left}}", person(name).fingerprint())
}

/// A step of the root principals that brings this trust file.
fn trust(world: &mut World, parent: CommitId, text: &str) -> CommitId {
    let step = world.push(parent, Some("alice"), |tree| put_policy(tree, text, &["alice", "dave"]));
    assert_eq!(world.code(step), "ok");
    step
}

/// What of the accepted head no longer holds; `holds` if it does.
fn broken(world: &World, head: CommitId) -> String {
    let judgement = world.judge(&Start::Introduction, head);
    assert_eq!(code(&judgement), "ok");
    judgement.broken().map_or_else(|| "holds".to_owned(), |finding| format!("{} {}", finding.code.code, finding.found))
}

#[test]
fn what_a_revoked_key_brought_does_not_hold_until_it_is_made_anew() {
    let mut world = World::new();
    let bobs = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let carols = world.put(bobs, "carol", "apps/other.yaml", &config_map("other", 1));
    let revoked = trust(&mut world, carols, &revoking(2, &hard("bob")));
    let judgement = world.judge(&Start::Introduction, revoked);
    // The step counts, so that the key does not.
    assert_eq!(judgement.accepted().unwrap().id(), revoked);
    let finding = judgement.broken().unwrap();
    let id = bobs.to_string();
    let key = person("bob").fingerprint();
    assert_eq!(finding.code.code, "W304");
    assert_eq!(
        finding.found,
        format!(
            "it still holds what is revoked: apps/web.yaml (commit {}: key {key} is revoked (stolen))",
            id.get(..12).unwrap()
        )
    );
    let by_bob = world.put(revoked, "bob", "apps/web.yaml", &config_map("web", 3));
    assert_eq!(world.code(by_bob), "W304");
    // The same from any start, also where the revocation was known before.
    for start in [Start::Above(carols), Start::Resumed(judgement.accepted().unwrap().clone())] {
        assert!(world.judge(&start, revoked).broken().is_some(), "{start:?}");
    }
    let elsewhere = world.put(revoked, "carol", "apps/other.yaml", &config_map("other", 2));
    assert!(broken(&world, elsewhere).starts_with("W304"));
    let resumed = Start::Resumed(judgement.accepted().unwrap().clone());
    assert!(world.judge(&resumed, elsewhere).broken().is_some());
    // Another value, the same value again by somebody in force, or none.
    let anew = world.put(revoked, "carol", "apps/web.yaml", &config_map("web", 3));
    assert_eq!(broken(&world, anew), "holds");
    let back = world.put(anew, "carol", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(broken(&world, back), "holds");
    let gone = world.push(revoked, Some("carol"), |tree| _ = tree.remove(&path("apps/web.yaml")));
    assert_eq!(broken(&world, gone), "holds");
}

#[test]
fn what_was_made_anew_before_the_revocation_holds() {
    let mut world = World::new();
    let bobs = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let carols = world.put(bobs, "carol", "apps/web.yaml", &config_map("web", 3));
    let revoked = trust(&mut world, carols, &revoking(2, &hard("bob")));
    assert_eq!(broken(&world, revoked), "holds");
    // Bob, then again the same value by carol and by bob: his is the last.
    let mut world = World::new();
    let bobs = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let carols = world.put(bobs, "carol", "apps/web.yaml", &config_map("web", 3));
    let again = world.put(carols, "bob", "apps/web.yaml", &config_map("web", 2));
    let revoked = trust(&mut world, again, &revoking(2, &hard("bob")));
    assert!(broken(&world, revoked).starts_with("W304"));
}

#[test]
fn a_removal_by_a_revoked_key_does_not_hold_either() {
    let mut world = World::new();
    let gone = world.push(world.introduction, Some("bob"), |tree| _ = tree.remove(&path("apps/web.yaml")));
    let revoked = trust(&mut world, gone, &revoking(2, &hard("bob")));
    assert!(broken(&world, revoked).contains("apps/web.yaml"));
    let back = world.put(revoked, "carol", "apps/web.yaml", &config_map("web", 1));
    assert_eq!(broken(&world, back), "holds");
}

#[test]
fn a_soft_revocation_leaves_what_was_before_its_end() {
    let mut world = World::new();
    let first = world.put(world.introduction, "bob", "apps/a.txt", "1");
    let second = world.put(first, "bob", "apps/b.txt", "1");
    let revoked = trust(&mut world, second, &revoking(2, &soft("bob", second)));
    assert_eq!(broken(&world, revoked), "holds");
    let by_bob = world.put(revoked, "bob", "apps/a.txt", "2");
    assert_eq!(world.code(by_bob), "W304");
    let earlier = trust(&mut world, second, &revoking(2, &soft("bob", first)));
    let found = broken(&world, earlier);
    assert!(found.contains("apps/b.txt") && !found.contains("apps/a.txt"), "{found}");
    let none = soft("bob", world.introduction);
    let all = trust(&mut world, second, &revoking(2, &none));
    assert!(broken(&world, all).contains("apps/a.txt"));
}

#[test]
fn a_payload_that_is_revoked_does_not_hold() {
    let mut world = World::new();
    let bad = world.put(world.introduction, "bob", "apps/a.txt", "bad");
    let payload = world.memory.payload(&bad);
    let revoked = trust(&mut world, bad, &revoking(2, &format!("{{payload: \"sha256:{payload}\", reason: bad}}")));
    assert!(broken(&world, revoked).contains("its content is revoked (bad)"));
    let mended = world.put(revoked, "bob", "apps/a.txt", "good");
    assert_eq!(broken(&world, mended), "holds");
}

#[test]
fn people_who_may_change_it_vouch_for_it() {
    let vouch = |who: &[&str], decision: Decision| {
        let mut world = World::new();
        let bobs = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
        let revoked = trust(&mut world, bobs, &revoking(2, &hard("bob")));
        let object = CommitObject::parse(revoked, world.memory.raw(&revoked)).unwrap();
        let approval = Approval {
            repo_id: world.root.repo_id.clone(),
            git_ref: world.root.r#ref.clone(),
            from: bobs,
            to_tree: object.tree,
            policy_version: 2,
            expires: at(world.now + 3_600),
            decision,
            skipped: Vec::new(),
        };
        let payload = approval.payload();
        let sign = |who: &&str| {
            let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
            envelope(&payload, &[(who, &signature)]).into_bytes()
        };
        world.memory.notes.insert(revoked, who.iter().map(sign).collect());
        broken(&world, revoked)
    };
    assert_eq!(vouch(&["carol"], Decision::Vouch), "holds");
    // An approval of the change says nothing of what was there before, and bob's word nothing at all.
    assert!(vouch(&["carol"], Decision::Approve).starts_with("W304"));
    assert!(vouch(&["bob"], Decision::Vouch).starts_with("W304"));
    assert!(vouch(&["frank"], Decision::Vouch).starts_with("W304"));
}

/// Puts an approval of a step beside it, of the whole change since `from`.
fn approve(world: &mut World, step: CommitId, from: CommitId, policy_version: u64, names: &[&str]) {
    let object = CommitObject::parse(step, world.memory.raw(&step)).unwrap();
    let payload = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from,
        to_tree: object.tree,
        policy_version,
        expires: at(world.now + 3_600),
        decision: Decision::Approve,
        skipped: Vec::new(),
    }
    .payload();
    let sign = |name: &&str| {
        let signature = person(name).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
        envelope(&payload, &[(name, &signature)]).into_bytes()
    };
    world.memory.notes.insert(step, names.iter().map(sign).collect());
}

#[test]
fn what_was_approved_with_a_revoked_key_does_not_hold() {
    let two = [
        ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
        ("security: [alice, frank]", "security: [alice, erin, frank]"),
    ];
    // Who approves alice's change, what is revoked, and what of it holds.
    let judged = |edits: &[(&str, &str)], approvers: &[&str], revoked: &dyn Fn(CommitId, CommitId) -> String| {
        let mut world = World::with(&policy(1, edits));
        let introduction = world.introduction;
        let step = world.put(introduction, "alice", "policies/limits.txt", "1");
        approve(&mut world, step, introduction, 1, approvers);
        assert_eq!(world.code(step), "ok");
        let items = format!("revoked: [{}]", revoked(introduction, step));
        let text = policy(2, &[edits, &[("revoked: []", items.as_str())]].concat());
        let last = trust(&mut world, step, &text);
        let found = broken(&world, last);
        if found != "holds" {
            assert!(found.contains("policies/limits.txt") && found.contains("approved by frank: key"), "{found}");
            let anew = world.put(last, "alice", "policies/limits.txt", "2");
            approve(&mut world, anew, last, 2, &["erin"]);
            assert_eq!(broken(&world, anew), "holds");
        }
        found
    };
    let stolen = |_: CommitId, _: CommitId| hard("frank");
    assert!(judged(&two, &["frank"], &stolen).starts_with("W304"));
    // Enough others, or nobody else was needed.
    assert_eq!(judged(&two, &["frank", "erin"], &stolen), "holds");
    assert_eq!(judged(&[], &["frank"], &stolen), "holds");
    assert_eq!(judged(&two, &["erin"], &stolen), "holds");
    // Up to the step, or only before it.
    assert_eq!(judged(&two, &["frank"], &|_, step| soft("frank", step)), "holds");
    assert!(judged(&two, &["frank"], &|before, _| soft("frank", before)).starts_with("W304"));
}

/// Somebody in force approves it, and it holds, also for who looked through it before; what said so is asked each time.
#[test]
fn what_lost_its_approval_is_approved_anew() {
    let two = [
        ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
        ("security: [alice, frank]", "security: [alice, dave, erin, frank]"),
    ];
    // A key that was good until after the step, and one that was only before it.
    for is_spared in [true, false] {
        let mut world = World::with(&policy(1, &two));
        let (introduction, known) = (world.introduction, SignatureCache::default());
        let step = world.put(introduction, "alice", "policies/limits.txt", "1");
        approve(&mut world, step, introduction, 1, &["erin"]);
        let other = world.put(step, "bob", "apps/a.txt", "1");
        let frank = soft("frank", if is_spared { step } else { introduction });
        let revoked = format!("revoked: [{frank}, {}]", hard("erin"));
        let last = trust(&mut world, other, &policy(2, &[&two[..], &[("revoked: []", &revoked)]].concat()));
        let later = world.put(last, "bob", "apps/a.txt", "2");
        let judged = |world: &World, head: CommitId| {
            let (start, now) = (Start::Introduction, at(world.now));
            let judgement = judge_with(&world.memory, &world.root, &start, &head, now, Some(&known));
            assert_eq!(judgement, world.judge(&start, head));
            assert_eq!(code(&judgement), "ok");
            judgement.broken().map_or("holds", |finding| finding.code.code)
        };
        let with_frank = if is_spared { "holds" } else { "W304" };
        for (approvers, expected) in [
            (&["erin"][..], "W304"),
            (&["erin", "frank"], with_frank),
            (&["erin"], "W304"),
            (&["frank", "erin"], with_frank),
        ] {
            approve(&mut world, step, introduction, 1, approvers);
            assert_eq!((judged(&world, last), judged(&world, later)), (expected, expected), "{approvers:?}");
        }
    }
}

/// Whoever may write beside a commit can make it unreadable, and keeps no withdrawn approval in force by that.
#[test]
fn what_cannot_be_read_counts_as_withdrawn() {
    let two = [
        ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
        ("security: [alice, frank]", "security: [alice, erin, frank]"),
    ];
    let judged = |edits: &[(&str, &str)], error: HistoryError| {
        let mut world = World::with(&policy(1, edits));
        let introduction = world.introduction;
        let step = world.put(introduction, "alice", "policies/limits.txt", "1");
        approve(&mut world, step, introduction, 1, &["frank"]);
        let accepted = world.judge(&Start::Introduction, step).accepted().unwrap().clone();
        let text = policy(2, &[edits, &[("revoked: []", &format!("revoked: [{}]", hard("frank")))]].concat());
        let last = trust(&mut world, step, &text);
        world.memory.unreadable_notes.insert(step, error);
        let judgement = world.judge(&Start::Resumed(accepted), last);
        assert_eq!(code(&judgement), "ok", "the revocation counts");
        judgement.broken().map_or_else(|| "holds".to_owned(), ToString::to_string)
    };
    let limit = HistoryError::Limit { what: "bytes of a note".to_owned(), limit: 1 };
    for error in [limit, HistoryError::Read { reason: "a disk".to_owned() }] {
        assert_eq!(judged(&[], error.clone()), "holds", "who signed it stands for it alone");
        let found = judged(&two, error);
        assert!(found.starts_with("W304") && found.contains("what approved it cannot be read"), "{found}");
    }
}

/// Attack 8.
#[test]
fn revocations_are_never_taken_back() {
    let mut world = World::new();
    let bobs = world.put(world.introduction, "bob", "apps/a.txt", "1");
    let revoked = trust(&mut world, bobs, &revoking(2, &soft("bob", bobs)));
    let mut next = |items: &str| {
        let step = world.push(revoked, Some("alice"), |tree| put_policy(tree, &revoking(3, items), &["alice", "dave"]));
        world.code(step)
    };
    let introduction = World::new().introduction;
    assert_eq!(next(""), "W505");
    assert_eq!(next(&soft("bob", introduction)), "W505");
    assert_eq!(next(&soft("bob", bobs)), "ok");
    assert_eq!(next(&hard("bob")), "ok");
    let mut world = World::new();
    let revoked = trust(&mut world, introduction, &revoking(2, &hard("bob")));
    let loosened = revoking(3, &soft("bob", introduction));
    let step = world.push(revoked, Some("alice"), |tree| put_policy(tree, &loosened, &["alice", "dave"]));
    assert_eq!(world.code(step), "W505");
}

#[test]
fn the_end_of_a_soft_revocation_is_a_commit_of_the_history() {
    let mut world = World::new();
    let side = world.put(world.introduction, "carol", "apps/a.txt", "1");
    let text = revoking(2, &soft("bob", side));
    let step = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, step);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W502");
    assert!(finding.found.contains("which is not in the history before this file"), "{}", finding.found);
}
