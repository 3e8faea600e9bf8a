//! The same signed commit as another object, which whoever may push can make without a key.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use manifest::Finding;
use memory::{World, config_map, person, policy};
use proptest::prelude::*;
use trust::{AuthorizedCommit, CommitId, Judgement, Start};

fn world() -> World {
    World::with(&policy(1, &[("{ancestry: firstParent}", "{ancestry: firstParent, dualSigned: true}")]))
}

fn put(world: &mut World, parent: CommitId, value: u32) -> CommitId {
    world.put(parent, "bob", "apps/web.yaml", &config_map("web", value))
}

fn put_first(world: &mut World) -> CommitId {
    put(world, world.introduction, 2)
}

/// The other object of a commit by bob.
fn other(world: &mut World, commit: CommitId) -> CommitId {
    world.with_second_signature(commit, "bob", "x")
}

fn refusal(judgement: &Judgement) -> Finding {
    judgement.refusal().cloned().unwrap()
}

fn resumed(world: &World, commit: CommitId) -> AuthorizedCommit {
    world.judge(&Start::Introduction, commit).accepted().unwrap().clone()
}

#[test]
fn the_other_object_of_what_was_accepted_is_named() {
    let mut world = world();
    let one = put_first(&mut world);
    let two = put(&mut world, one, 3);
    let twin = other(&mut world, one);
    assert_eq!(world.memory.payload(&one), world.memory.payload(&twin));
    // Before anything is accepted either is as good.
    assert_eq!((world.code(one), world.code(twin)), ("ok", "ok"));
    let finding = refusal(&world.judge(&Start::Accepted(one), twin));
    assert_eq!(finding.code.code, "W408");
    let payload = world.memory.payload(&one);
    let [short, first] = [one, world.introduction].map(|id| format!("{:.12}", id.to_string()));
    assert_eq!(
        finding.found,
        format!(
            "it is the same signed content (sha256 {payload}) as commit {short}, which was verified before, under another id"
        )
    );
    assert!(finding.fix.contains(&format!(" --onto {one} {twin} # then: git push --force-with-lease")), "{finding}");
    // What was accepted may be newer, and something may follow the other object.
    let later = put(&mut world, twin, 4);
    let finding = refusal(&world.judge(&Start::Accepted(two), later));
    assert_eq!(finding.code.code, "W408");
    assert!(finding.found.starts_with(&format!("commit {:.12} is the same", twin.to_string())), "{finding}");
    assert!(finding.fix.contains(&format!(" --onto {two} {twin} ")), "{finding}");
    // Without a common commit.
    let root = world.with_second_signature(world.introduction, "alice", "x");
    let finding = refusal(&world.judge(&Start::Accepted(two), root));
    assert!(finding.code.code == "W408" && finding.found.contains(&first), "{finding}");
}

#[test]
fn other_histories_are_told_as_before() {
    let mut world = world();
    let one = put_first(&mut world);
    let two = put(&mut world, one, 3);
    // The same change by the same person in another commit, an older one, one that is no commit.
    let again = put_first(&mut world);
    assert_eq!(refusal(&world.judge(&Start::Accepted(one), again)).code.code, "W401");
    assert_eq!(refusal(&world.judge(&Start::Accepted(two), one)).code.code, "W401");
    let (raw, tree, time) = (world.memory.raw(&one).to_vec(), world.memory.tree(&one), world.memory.time(&one));
    let loose = String::from_utf8(raw).unwrap().replacen("\n\n", "\ngpgsigX junk\n\n", 1).into_bytes();
    let loose = world.memory.plant(loose, &[world.introduction], tree, time);
    assert_eq!(refusal(&world.judge(&Start::Accepted(one), loose)).code.code, "W401");
}

/// Somebody who has the one merges the other, as `git pull` does.
#[test]
fn a_merge_of_both_objects_is_told_with_the_way_to_mend_it() {
    let mut world = world();
    let one = put_first(&mut world);
    let twin = other(&mut world, one);
    let (tree, time) = (world.memory.tree(&one), world.memory.time(&one) + 60);
    let merge = world.memory.store(&[one, twin], tree, Some(&person("bob")), time);
    assert_eq!(world.code(merge), "ok");
    assert_eq!(world.judge(&Start::Accepted(one), merge).refusal(), None);
    let finding = refusal(&world.judge(&Start::Accepted(twin), merge));
    assert_eq!(finding.code.code, "W408");
    let names = [one, twin].map(|id| format!("commit {:.12}", id.to_string()));
    assert!(names.iter().all(|name| finding.found.contains(name)), "{finding}");
    let mend = format!("git switch --detach {twin} && ");
    assert!(finding.fix.starts_with(&mend) && finding.fix.contains(" merge --no-ff "), "{finding}");
}

/// A cut of the history that is accepted.
fn portions() -> impl Strategy<Value = (usize, usize, usize)> {
    (1_usize..8).prop_flat_map(|length| (Just(length), 0..length, 0_usize..4))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The verdict is one of the two histories, whichever part of the accepted one was judged before: the other object is
    /// refused from where its original is accepted on, in the same words, and is as good as that before.
    #[test]
    fn the_verdict_does_not_depend_on_the_portions((length, at, after) in portions()) {
        let mut world = world();
        let mut line = vec![world.introduction];
        for value in 0..length {
            let parent = *line.last().unwrap();
            line.push(put(&mut world, parent, u32::try_from(value).unwrap() + 2));
        }
        let original = *line.get(at + 1).unwrap();
        let twin = other(&mut world, original);
        let mut head = twin;
        for value in 0..after {
            head = put(&mut world, head, u32::try_from(value).unwrap() + 100);
        }
        prop_assert_eq!(world.code(head), "ok");
        let mut told = None;
        for (place, floor) in line.iter().enumerate() {
            for start in [Start::Accepted(*floor), Start::Above(*floor), Start::Resumed(resumed(&world, *floor))] {
                let judgement = world.judge(&start, head);
                if place <= at {
                    prop_assert_eq!(judgement.refusal(), None);
                    prop_assert_eq!(judgement.accepted().map(AuthorizedCommit::id), Some(head));
                    continue;
                }
                let finding = refusal(&judgement);
                prop_assert_eq!(finding.code.code, "W408");
                prop_assert_eq!(told.get_or_insert_with(|| finding.found.clone()), &finding.found);
            }
        }
    }
}
