//! Merges: whose change it is that a merge brings, and what a merge may not do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{BASE, Tree, World, code, path, person, policy};
use trust::{CommitId, Start};

/// Where side signers stand for what a merge takes over, and only signed commits come along.
fn world(ancestry: &str) -> World {
    let history = format!("history: {{ancestry: {ancestry}, mergeCredit: transitive}}");
    World::with(&policy(1, &[("history: {ancestry: firstParent}", &history)]))
}

fn text(tree: &mut Tree, file: &str, text: &str) {
    tree.insert(path(file), text.as_bytes().to_vec());
}

/// A merge of `side` into `main` with this tree.
fn merge(world: &mut World, parents: &[CommitId], signer: &str, edit: impl FnOnce(&mut Tree)) -> CommitId {
    let mut tree = world.memory.tree(&parents[0]);
    edit(&mut tree);
    let time = parents.iter().map(|parent| world.memory.time(parent)).max().unwrap() + 60;
    world.memory.store(parents, tree, Some(&person(signer)), time)
}

/// Alice of security merges what bob of the SREs made: his signature stands for it.
#[test]
fn who_made_a_change_stands_for_it_when_it_is_merged_as_it_is() {
    for ancestry in ["allSigned", "firstParent"] {
        let mut world = world(ancestry);
        let base = world.introduction;
        let side = world.put(base, "bob", "apps/x.txt", "bob's");
        let later = world.put(side, "bob", "apps/y.txt", "bob's");
        let main = world.put(base, "frank", "policies/p.txt", "frank's");
        let clean = merge(&mut world, &[main, later], "alice", |tree| {
            text(tree, "apps/x.txt", "bob's");
            text(tree, "apps/y.txt", "bob's");
        });
        assert_eq!(world.code(clean), "ok", "{ancestry}");
        // Without the merge she may not.
        let alone = world.put(main, "alice", "apps/x.txt", "bob's");
        assert_eq!(world.code(alone), "W302");
    }
    // Where only the merger counts, neither may she with it.
    let mut world = World::new();
    let base = world.introduction;
    let side = world.put(base, "bob", "apps/x.txt", "bob's");
    let main = world.put(base, "frank", "policies/p.txt", "frank's");
    let clean = merge(&mut world, &[main, side], "alice", |tree| text(tree, "apps/x.txt", "bob's"));
    assert_eq!(world.code(clean), "W302");
}

/// Attack 15, by a side branch: nothing follows its commits that is older, so what they say of their time is not believed beyond
/// the merge.
#[test]
fn a_side_commit_is_seen_with_its_merge() {
    const DAY: i64 = 86_400;
    let bob = format!("{{ssh: \"{}\"", person("bob").public());
    let cases = [
        // A key that ended after a day: the side commit is of before, the merge as well, or the merge is not.
        ("notAfter: 2026-01-02", 60, 3_600, "ok", "ok"),
        ("notAfter: 2026-01-02", 60, DAY + 600, "W204", "W302"),
        // One that begins then: a commit is not made after what it is merged by.
        ("notBefore: 2026-01-02", DAY + 600, DAY + 700, "ok", "ok"),
        ("notBefore: 2026-01-02", DAY + 600, 3_600, "W204", "W302"),
    ];
    for (window, made, merged, all_signed, credit) in cases {
        for (ancestry, wanted) in [("allSigned", all_signed), ("firstParent", credit)] {
            let history = format!("history: {{ancestry: {ancestry}, mergeCredit: transitive}}");
            let edits = [("history: {ancestry: firstParent}", history.as_str()), (&bob, &format!("{bob}, {window}"))];
            let mut world = World::with(&policy(1, &edits));
            let base = world.introduction;
            let mut tree = world.memory.tree(&base);
            let main = world.memory.store(&[base], tree.clone(), Some(&person("frank")), BASE + 120);
            text(&mut tree, "apps/x.txt", "bob's");
            let side = world.memory.store(&[base], tree.clone(), Some(&person("bob")), BASE + made);
            let merge = world.memory.store(&[main, side], tree, Some(&person("alice")), BASE + merged);
            world.now = BASE + merged;
            // The same above the floor and without one.
            for start in [Start::Introduction, Start::Accepted(main)] {
                let judgement = world.judge(&start, merge);
                assert_eq!(code(&judgement), wanted, "{window} {made} {merged} {ancestry} {start:?}");
            }
        }
    }
}

/// Attack 5.
#[test]
fn what_a_merge_makes_up_itself_is_its_signers_alone() {
    let mut world = world("allSigned");
    let base = world.introduction;
    let side = world.put(base, "bob", "apps/x.txt", "bob's");
    let main = world.put(base, "frank", "policies/p.txt", "frank's");
    let evil = merge(&mut world, &[main, side], "alice", |tree| text(tree, "apps/x.txt", "alice's"));
    assert_eq!(world.code(evil), "W302");
    let more = merge(&mut world, &[main, side], "alice", |tree| {
        text(tree, "apps/x.txt", "bob's");
        text(tree, "apps/z.txt", "alice's");
    });
    assert_eq!(world.code(more), "W302");
}

/// Attack 4: a merge that keeps the side's older value over what the mainline changed since.
#[test]
fn a_merge_does_not_take_back_what_the_mainline_changed() {
    let mut world = world("allSigned");
    let base = world.put(world.introduction, "bob", "apps/x.txt", "old");
    let main = world.put(base, "carol", "apps/x.txt", "new");
    let side = world.put(base, "bob", "apps/y.txt", "bob's");
    let back = merge(&mut world, &[main, side], "alice", |tree| {
        text(tree, "apps/y.txt", "bob's");
        text(tree, "apps/x.txt", "old");
    });
    assert_eq!(world.code(back), "W302");
    // The side merged the mainline, and kept its own older value.
    let kept = merge(&mut world, &[side, main], "bob", |_tree| ());
    let over = merge(&mut world, &[main, kept], "alice", |tree| {
        text(tree, "apps/y.txt", "bob's");
        text(tree, "apps/x.txt", "old");
    });
    assert_eq!(world.code(over), "W302");
    // `-s ours` on the mainline changes nothing there.
    let ours = merge(&mut world, &[main, side], "alice", |_tree| ());
    assert_eq!(world.code(ours), "ok");
}

#[test]
fn a_side_that_took_in_the_mainline_meanwhile_is_judged_from_there() {
    let mut world = world("allSigned");
    let base = world.put(world.introduction, "bob", "apps/x.txt", "old");
    let side = world.put(base, "bob", "apps/y.txt", "bob's");
    let main = world.put(base, "carol", "apps/x.txt", "new");
    let taken = merge(&mut world, &[side, main], "bob", |tree| text(tree, "apps/x.txt", "new"));
    let side = world.put(taken, "bob", "apps/x.txt", "newer");
    let merged = merge(&mut world, &[main, side], "alice", |tree| {
        text(tree, "apps/y.txt", "bob's");
        text(tree, "apps/x.txt", "newer");
    });
    assert_eq!(world.code(merged), "ok");
}

/// Attack 7: a side commit is judged by the policy of the mainline that takes it, wherever it branched off.
#[test]
fn a_signer_who_was_removed_meanwhile_stands_for_nothing() {
    let mut world = world("firstParent");
    let base = world.introduction;
    let side = world.put(base, "bob", "apps/x.txt", "bob's");
    let history = "history: {ancestry: firstParent, mergeCredit: transitive}";
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard}}]", person("bob").fingerprint());
    let next = policy(2, &[("history: {ancestry: firstParent}", history), ("revoked: []", &revoked)]);
    let main = world.push(base, Some("alice"), |tree| memory::put_policy(tree, &next, &["alice", "dave"]));
    assert_eq!(world.code(main), "ok");
    let merged = merge(&mut world, &[main, side], "alice", |tree| text(tree, "apps/x.txt", "bob's"));
    assert_eq!(world.code(merged), "W302");
    let carol = merge(&mut world, &[main, side], "carol", |tree| text(tree, "apps/x.txt", "bob's"));
    assert_eq!(world.code(carol), "ok");
}

/// Whose signature stood for what a merge took over is revoked later.
#[test]
fn a_side_signer_who_is_revoked_stands_for_nothing_that_was_merged() {
    let broken = |merger: &str| {
        let mut world = world("allSigned");
        let base = world.introduction;
        let side = world.put(base, "bob", "apps/x.txt", "bob's");
        let merged = merge(&mut world, &[base, side], merger, |tree| text(tree, "apps/x.txt", "bob's"));
        let history = "history: {ancestry: allSigned, mergeCredit: transitive}";
        let revoked = format!("revoked: [{{key: \"{}\", kind: hard}}]", person("bob").fingerprint());
        let next = policy(2, &[("history: {ancestry: firstParent}", history), ("revoked: []", &revoked)]);
        let head = world.push(merged, Some("alice"), |tree| memory::put_policy(tree, &next, &["alice", "dave"]));
        let judgement = world.judge(&Start::Introduction, head);
        assert_eq!(judgement.accepted().unwrap().id(), head);
        judgement.broken().map(|finding| finding.found.clone())
    };
    assert!(broken("alice").unwrap().contains("apps/x.txt"));
    // Carol may change it alone, and answers for it.
    assert_eq!(broken("carol"), None);
}

/// A forge merges what people made: it stands for nothing, they do.
#[test]
fn a_forge_carries_merges() {
    let edits = [
        ("kind: robot", "kind: forge"),
        ("anyOf: [{role: sre, threshold: 1}, {role: bots, threshold: 1}]", "anyOf: [{role: sre, threshold: 1}]"),
        ("history: {ancestry: firstParent}", "history: {ancestry: allSigned, mergeCredit: transitive}"),
    ];
    let mut world = World::with(&policy(1, &edits));
    let side = world.put(world.introduction, "bob", "apps/x.txt", "bob's");
    let base = world.introduction;
    let merged = merge(&mut world, &[base, side], "relbot", |tree| text(tree, "apps/x.txt", "bob's"));
    assert_eq!(world.code(merged), "ok");
    // What it squashes into one commit of its own has lost who made it.
    let squashed = world.put(base, "relbot", "apps/x.txt", "bob's");
    assert_eq!(world.code(squashed), "W302");
}

/// Two people without any other tool: one makes the change, one merges it.
#[test]
fn author_and_merger_are_two() {
    let edits = [
        ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
        ("history: {ancestry: firstParent}", "history: {ancestry: allSigned, mergeCredit: transitive}"),
    ];
    let mut world = World::with(&policy(1, &edits));
    let base = world.introduction;
    let side = world.put(base, "alice", "policies/p.txt", "1");
    let by = |world: &mut World, who: &str| {
        let merged = merge(world, &[base, side], who, |tree| text(tree, "policies/p.txt", "1"));
        world.code(merged)
    };
    assert_eq!(by(&mut world, "frank"), "ok");
    assert_eq!(by(&mut world, "alice"), "W303");
    assert_eq!(by(&mut world, "bob"), "W303");
    // Whose word never counts there may not even make it.
    let side = world.put(base, "bob", "policies/p.txt", "1");
    let merged = merge(&mut world, &[base, side], "frank", |tree| text(tree, "policies/p.txt", "1"));
    assert_eq!(world.code(merged), "W302");
}

/// Attack 2: a signed head of another branch, or of a fork, is not the mainline.
#[test]
fn a_commit_for_another_ref_is_not_taken_for_this_one() {
    for (binding, wanted) in [("trailer", "W404"), ("attestation", "W404")] {
        let history = format!("history: {{ancestry: firstParent, refBinding: {binding}}}");
        let mut world = World::with(&policy(1, &[("history: {ancestry: firstParent}", &history)]));
        let feature = world.put(world.introduction, "bob", "apps/x.txt", "bob's");
        let judgement = world.judge(&Start::Introduction, feature);
        let finding = judgement.refusal().unwrap();
        assert_eq!(finding.code.code, wanted);
        assert!(finding.fix.contains("--trailer 'Writ-Ref: urn:writ:test refs/heads/main'"), "{}", finding.fix);
        for (message, wanted) in [
            ("change\n\nWrit-Ref: urn:writ:test refs/heads/main\n", "ok"),
            ("change\n\nSigned-off-by: B <b@example.com>\nWrit-Ref: urn:writ:test refs/heads/main\n\n", "ok"),
            ("change\n\nWrit-Ref: urn:writ:test refs/heads/other\nWrit-Ref: urn:writ:test refs/heads/main\n", "ok"),
            ("change\n\nWrit-Ref: urn:writ:test refs/heads/feature\n", "W404"),
            ("change\n\nWrit-Ref: urn:writ:other refs/heads/main\n", "W404"),
            ("change\n\nWrit-Ref: urn:writ:test refs/heads/main\n\nmore text\n", "W404"),
            ("change\n\nnot Writ-Ref: urn:writ:test refs/heads/main\n", "W404"),
        ] {
            let commit = world.say(world.introduction, "bob", message, |tree| text(tree, "apps/x.txt", "bob's"));
            assert_eq!(world.code(commit), wanted, "{message:?}");
        }
    }
}

/// Attacks 28 and 29: whoever made a change is its author whoever merges it. The button of a forge is pressed by anybody, so
/// with one of its commits nobody can say that it is not the own one.
#[test]
fn the_author_is_who_made_the_change_not_who_merged_it() {
    let rule = "anyOf: [{role: sre, threshold: 1, distinctFromAuthor: true}]";
    let edits = [
        ("kind: robot", "kind: forge"),
        ("anyOf: [{role: sre, threshold: 1}, {role: bots, threshold: 1}]", rule),
        ("history: {ancestry: firstParent}", "history: {ancestry: allSigned, mergeCredit: transitive}"),
    ];
    let mut world = World::with(&policy(1, &edits));
    let base = world.introduction;
    let by = |world: &mut World, maker: &str, merger: &str| {
        let side = world.put(base, maker, "apps/x.txt", maker);
        let merged = merge(world, &[base, side], merger, |tree| text(tree, "apps/x.txt", maker));
        world.code(merged)
    };
    // Bob presses the button himself, or somebody who may not stand for it merges.
    assert_eq!(by(&mut world, "bob", "relbot"), "W302");
    assert_eq!(by(&mut world, "bob", "frank"), "W302");
    assert_eq!(by(&mut world, "bob", "bob"), "W302");
    // Somebody of the role looked at it, and made it a part of the mainline.
    assert_eq!(by(&mut world, "bob", "carol"), "ok");
    assert_eq!(by(&mut world, "frank", "carol"), "ok");
    // What was edited through the forge may be of whoever merges it.
    assert_eq!(by(&mut world, "relbot", "carol"), "W302");
    // What the merger made up is the merger's.
    let side = world.put(base, "bob", "apps/x.txt", "bob's");
    let evil = merge(&mut world, &[base, side], "carol", |tree| text(tree, "apps/x.txt", "carol's"));
    assert_eq!(world.code(evil), "W302");
}
