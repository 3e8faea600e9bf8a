//! Commits with a signature for each object format are accepted where the trust file before them says so
//! (`history.dualSigned`), and nowhere else.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, path, policy, put_policy};
use trust::{CommitId, Start};

const ALLOWED: (&str, &str) = ("{ancestry: firstParent}", "{ancestry: firstParent, dualSigned: true}");

/// A change by bob, signed for both object formats.
fn dual(world: &mut World, parent: Option<CommitId>) -> CommitId {
    let parent = parent.unwrap_or(world.introduction);
    let once = world.put(parent, "bob", "apps/web.yaml", &memory::config_map("web", 2));
    world.with_second_signature(once, "bob", "the commit in the other form")
}

#[test]
fn a_second_signature_is_refused_by_default() {
    let mut world = World::new();
    let head = dual(&mut world, None);
    let judgement = world.judge(&Start::Introduction, head);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W209");
    assert!(finding.needed.contains("`history: {dualSigned: true}` in the trust file before it"), "{finding}");
    let again = "git -c gpg.format=ssh -c user.signingkey=\"$(git config user.signingkey || echo ~/.ssh/id_ed25519.pub)\" \
                 commit --amend --no-edit --gpg-sign # in a clone without extensions.compatObjectFormat; or root \
                 principals have history.dualSigned: true put into .writ/trust.yaml";
    assert!(finding.fix.starts_with(again), "{finding}");
    // Below the head too, and with what follows signed once.
    let later = world.put(head, "bob", "apps/web.yaml", "x: 1\n");
    let judgement = world.judge(&Start::Introduction, later);
    assert_eq!((judgement.refusal().unwrap().code.code, judgement.steps.len()), ("W209", 1));
}

#[test]
fn a_second_signature_is_allowed_by_the_file_before_it() {
    let mut world = World::with(&policy(1, &[ALLOWED]));
    let head = dual(&mut world, None);
    assert_eq!(world.code(head), "ok");
    // The first one must hold all the same.
    let mallory = world.put(world.introduction, "mallory", "apps/web.yaml", "x: 1\n");
    let mallory = world.with_second_signature(mallory, "mallory", "x");
    assert_eq!(world.code(mallory), "W202");
}

/// A commit does not bring its own permission, and taking it back does not touch what was accepted.
#[test]
fn the_step_that_allows_it_is_signed_once() {
    let mut world = World::new();
    let brings = |world: &mut World, parent: Option<CommitId>, version, edits: &[(&str, &str)]| {
        let text = policy(version, edits);
        let parent = parent.unwrap_or(world.introduction);
        world.push(parent, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]))
    };
    let once = brings(&mut world, None, 2, &[ALLOWED]);
    assert_eq!(world.code(once), "ok");
    let twice = world.with_second_signature(once, "alice", "x");
    assert_eq!(world.code(twice), "W209");
    let head = dual(&mut world, Some(once));
    assert_eq!(world.code(head), "ok");
    let back = brings(&mut world, Some(head), 3, &[]);
    let back = world.with_second_signature(back, "alice", "y");
    assert_eq!(world.code(back), "ok");
    let again = dual(&mut world, Some(back));
    assert_eq!(world.code(again), "W209");
}

/// Side commits whose signature counts are asked as well; those that nobody asks who signed are not.
#[test]
fn side_commits_are_signed_once_where_they_are_asked() {
    for (history, wanted) in [
        ("{ancestry: allSigned}", "W209"),
        ("{ancestry: allSigned, dualSigned: true}", "ok"),
        ("{ancestry: firstParent}", "ok"),
    ] {
        let mut world = World::with(&policy(1, &[("{ancestry: firstParent}", history)]));
        let main = world.put(world.introduction, "bob", "apps/a.yaml", "a: 1\n");
        let side = dual(&mut world, None);
        let mut tree = world.memory.tree(&main);
        tree.insert(path("apps/web.yaml"), world.memory.tree(&side)[&path("apps/web.yaml")].clone());
        let time = world.memory.time(&main) + 60;
        let merge = world.memory.store(&[main, side], tree, Some(&memory::person("bob")), time);
        assert_eq!(world.code(merge), wanted, "{history}");
    }
    // Credit is not given to one that would be refused.
    let transitive = "{ancestry: firstParent, mergeCredit: transitive}";
    let mut world = World::with(&policy(1, &[("{ancestry: firstParent}", transitive)]));
    let once = world.put(world.introduction, "bob", "apps/web.yaml", "w: 1\n");
    let twice = world.with_second_signature(once, "bob", "x");
    let main = world.put(world.introduction, "bob", "apps/a.yaml", "a: 1\n");
    for (side, wanted) in [(once, "ok"), (twice, "W302")] {
        let mut tree = world.memory.tree(&main);
        tree.insert(path("apps/web.yaml"), b"w: 1\n".to_vec());
        let time = world.memory.time(&main) + 60;
        let merge = world.memory.store(&[main, side], tree, Some(&memory::person("alice")), time);
        assert_eq!(world.code(merge), wanted);
    }
}

/// The introduction is pinned by id and judged by its own file.
#[test]
fn an_introduction_is_asked_as_well() {
    for (edits, wanted) in [(&[][..], "W209"), (&[ALLOWED][..], "ok")] {
        let mut world = World::with(&policy(1, edits));
        let twice = world.with_second_signature(world.introduction, "alice", "x");
        world.root.introduction.commit = twice;
        assert_eq!(world.code(twice), wanted);
    }
}
