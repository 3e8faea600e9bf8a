//! The judgement of histories: what is accepted, in which order, within which budgets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{BASE, Tree, World, code, config_map, path, person, policy, put_policy};
use trust::{BadEntry, HistoryError, MAX_CHANGED_PATHS, MAX_SIDE_COMMITS, Start, TrustLimits};

#[test]
fn a_good_history_is_accepted_step_by_step() {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let two = world.put(one, "relbot", "apps/web.yaml", &config_map("web", 3));
    let judgement = world.judge(&Start::Introduction, two);
    assert_eq!(judgement.refusal(), None);
    assert_eq!((judgement.from, judgement.steps.len()), (Some(world.introduction), 2));
    let accepted = judgement.accepted().unwrap();
    assert_eq!((accepted.id(), accepted.policy_version()), (two, 1));
    assert_eq!(accepted.signer().unwrap().principal, "relbot");
    assert_eq!(judgement.steps[0].signer.as_ref().unwrap().principal, "bob");
    assert_eq!(code(&world.judge(&Start::Introduction, world.introduction)), "ok");
    assert_eq!(code(&world.judge(&Start::Accepted(one), two)), "ok");
}

#[test]
fn the_first_refusal_ends_it_and_the_good_prefix_stays() {
    let mut world = World::new();
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let unsigned = world.push(good, None, |tree| _ = tree.insert(path("apps/x.yaml"), Vec::new()));
    let later = world.put(unsigned, "bob", "apps/web.yaml", &config_map("web", 4));
    let judgement = world.judge(&Start::Introduction, later);
    assert_eq!(judgement.refusal().unwrap().code.code, "W301");
    assert_eq!(judgement.steps.len(), 2);
    assert_eq!(judgement.steps[1].commit, unsigned);
    assert_eq!(judgement.accepted().unwrap().id(), good);
}

/// Attacks 1, 4 and 5.
#[test]
fn history_only_moves_forward() {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    let older = world.judge(&Start::Accepted(two), one);
    assert_eq!(code(&older), "W401");
    let short: String = two.to_string().chars().take(12).collect();
    let refusal = older.refusal().unwrap();
    assert_eq!(refusal.found, format!("older than commit {short}, which was verified before"));
    assert_eq!(refusal.needed, format!("a descendant of commit {short}"));
    assert!(refusal.fix.contains(&two.to_string()), "{}", refusal.fix);
    let rewritten = world.put(one, "bob", "apps/web.yaml", &config_map("web", 4));
    assert_eq!(code(&world.judge(&Start::Accepted(two), rewritten)), "W401");
    let tree = world.memory.tree(&two);
    let unrelated = world.memory.store(&[], tree.clone(), Some(&person("bob")), BASE + 600);
    assert_eq!(code(&world.judge(&Start::Accepted(two), unrelated)), "W401");
    // The mainline becomes the second parent.
    let foxtrot = world.memory.store(&[rewritten, two], tree, Some(&person("bob")), BASE + 600);
    assert_eq!(code(&world.judge(&Start::Accepted(two), foxtrot)), "W402");
    // A merge that brings content that is in neither parent answers for it by its own signer.
    let side = world.put(one, "bob", "apps/side.yaml", &config_map("side", 1));
    let mut tree = world.memory.tree(&two);
    tree.insert(path("policies/evil.txt"), Vec::new());
    let evil = world.memory.store(&[two, side], tree, Some(&person("bob")), BASE + 600);
    assert_eq!(code(&world.judge(&Start::Accepted(two), evil)), "W302");
}

/// A revision that is known to have been accepted, and not proven: nothing before it is given out as accepted.
#[test]
fn nothing_below_a_known_revision_is_accepted() {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    let three = world.put(two, "mallory", "apps/web.yaml", "x");
    assert_eq!(world.judge(&Start::Above(one), two).accepted().unwrap().id(), two);
    assert_eq!(world.judge(&Start::Above(two), three).accepted().unwrap().id(), two);
    let older = world.judge(&Start::Above(two), one);
    assert_eq!((code(&older), older.accepted()), ("W401", None));
    // Its steps are judged, not believed.
    assert_eq!(code(&world.judge(&Start::Above(three), three)), "W202");
}

#[test]
fn what_is_missing_refused_or_too_much_is_a_refusal() {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    world.memory.missing.insert(one);
    assert_eq!(code(&world.judge(&Start::Accepted(world.introduction), two)), "W403");
    world.memory.missing.clear();
    // Attacks 18 to 21.
    let entry = |reason| HistoryError::BadEntry { commit: two, path: "apps/x".to_owned(), reason };
    for (error, wanted) in [
        (entry(BadEntry::Symlink), "W105"),
        (entry(BadEntry::Submodule), "W105"),
        (entry(BadEntry::Mode), "W105"),
        (entry(BadEntry::Name), "W104"),
        (entry(BadEntry::Order { after: "X".to_owned() }), "W104"),
        (entry(BadEntry::Collision { with: "X".to_owned() }), "W104"),
        (HistoryError::Missing { object: "tree".to_owned() }, "W403"),
        (HistoryError::Limit { what: "entries".to_owned(), limit: 1 }, "W403"),
        (HistoryError::Malformed { object: "tree".to_owned() }, "W403"),
        (HistoryError::Read { reason: "broken".to_owned() }, "W403"),
    ] {
        // What cannot be read refuses as well, but is no verdict.
        let unreadable = matches!(error, HistoryError::Read { .. });
        world.memory.broken.insert(two, error);
        let judgement = world.judge(&Start::Introduction, two);
        assert_eq!(code(&judgement), wanted);
        assert_eq!(judgement.unreadable().is_some(), unreadable, "{judgement:?}");
    }
}

#[test]
fn budgets_end_in_a_refusal() {
    let mut world = World::new();
    let start = world.introduction;
    let tree = world.memory.tree(&start);
    let mut tip = start;
    for _ in 0..=MAX_SIDE_COMMITS {
        tip = world.memory.store(&[tip], Tree::new(), None, BASE);
    }
    let merge = world.memory.store(&[start, tip], tree, Some(&person("bob")), BASE);
    assert_eq!(world.code(merge), "W403");
    let many = world.push(start, Some("bob"), |tree| {
        tree.extend((0..=MAX_CHANGED_PATHS).map(|number| (path(&format!("apps/{number}.txt")), Vec::new())));
    });
    assert_eq!(world.code(many), "W403");
}

/// Of what is not accepted yet, step by step: the same in one judgement as in several, and never of what was accepted.
#[test]
fn a_tighter_limit_of_changed_paths_is_for_what_comes() {
    let mut world = World::new();
    let names = |from: usize, count: usize| {
        move |tree: &mut Tree| {
            tree.extend((from..from + count).map(|number| (path(&format!("apps/{number}.txt")), Vec::new())));
        }
    };
    let (start, bob) = (world.introduction, Some("bob"));
    let large = world.push(start, bob, names(0, 4));
    let small = world.push(large, bob, names(4, 3));
    let larger = world.push(small, bob, names(7, 4));
    let found = |world: &World, from: &Start, head| world.judge(from, head).refusal().map(ToString::to_string);
    for from in [Start::Introduction, Start::Accepted(small)] {
        assert_eq!(found(&world, &from, larger), None);
    }
    world.root.limits = Some(TrustLimits { steps: None, changed_paths: Some(3), repository_bytes: None });
    assert_eq!(found(&world, &Start::Accepted(large), small), None);
    for floor in [large, small] {
        // Trust has changed: all is judged again from the introduction, and what was accepted is over the limit.
        assert_eq!(found(&world, &Start::Above(floor), floor), None);
    }
    let refused = found(&world, &Start::Introduction, larger).unwrap();
    assert!(refused.contains("4 paths are changed in one step; needed: at most 3 (limits.changedPaths"), "{refused}");
    assert!(refused.contains(large.to_string().get(..12).unwrap()), "{refused}");
    for from in [Start::Above(large), Start::Above(small), Start::Accepted(large), Start::Accepted(small)] {
        let refused = found(&world, &from, larger).unwrap();
        assert!(
            refused.contains("W403") && refused.contains(larger.to_string().get(..12).unwrap()),
            "{from:?}: {refused}"
        );
    }
}

#[test]
fn side_branches_are_judged_by_the_mainline() {
    for (ancestry, verdict) in [("firstParent", "ok"), ("allSigned", "W301")] {
        let text = policy(1, &[("ancestry: firstParent", &format!("ancestry: {ancestry}"))]);
        let mut world = World::with(&text);
        let start = world.introduction;
        let side = world.push(start, None, |tree| _ = tree.insert(path("apps/s.txt"), Vec::new()));
        let tree = world.memory.tree(&side);
        let merge = world.memory.store(&[start, side], tree, Some(&person("bob")), BASE + 300);
        assert_eq!(world.code(merge), verdict, "{ancestry}");
    }
    // Attack 7: a signer who was removed branches from where they were still named.
    let mut world = World::with(&policy(1, &[("ancestry: firstParent", "ancestry: allSigned")]));
    let old = world.put(world.introduction, "carol", "apps/old.txt", "x");
    let main = world.push(world.introduction, Some("alice"), |tree| {
        let text = policy(2, &[("ancestry: firstParent", "ancestry: allSigned"), ("sre: [bob, carol]", "sre: [bob]")]);
        put_policy(tree, &text, &["alice", "dave"]);
    });
    assert_eq!(world.code(main), "ok");
    let mut tree = world.memory.tree(&main);
    tree.insert(path("apps/old.txt"), b"x".to_vec());
    let merge = world.memory.store(&[main, old], tree, Some(&person("bob")), BASE + 300);
    assert_eq!(world.code(merge), "W302");
    // Side commits are always read strictly.
    let mut world = World::new();
    let start = world.introduction;
    let broken = world.memory.plant(b"tree x\n".to_vec(), &[start], world.memory.tree(&start), BASE);
    let merge = world.memory.store(&[start, broken], world.memory.tree(&start), Some(&person("bob")), BASE + 300);
    assert_eq!(world.code(merge), "W101");
}

#[test]
fn time_goes_forward_and_keys_end() {
    let mut world = World::new();
    let tree = world.memory.tree(&world.introduction);
    let bob = person("bob");
    for (time, wanted) in [(BASE - 300, "ok"), (BASE - 301, "W406"), (BASE + 86_700, "ok"), (BASE + 86_701, "W406")] {
        let head = world.memory.store(&[world.introduction], tree.clone(), Some(&bob), time);
        assert_eq!(world.code(head), wanted, "{time}");
    }
    let key = format!("{{ssh: \"{}\"}}", bob.public());
    let ends = format!("{{ssh: \"{}\", notAfter: 2026-01-02}}", bob.public());
    let mut world = World::with(&policy(1, &[(&key, &ends)]));
    world.now = BASE + 864_000;
    let in_time = world.put(world.introduction, "bob", "apps/a.txt", "x");
    let tree = world.memory.tree(&world.introduction);
    let late = world.memory.store(&[world.introduction], tree, Some(&bob), BASE + 86_401);
    assert_eq!(world.code(late), "W204");
    // Without a floor the committer time decides; above one, when it is first seen.
    assert_eq!(world.code(in_time), "ok");
    assert_eq!(code(&world.judge(&Start::Accepted(world.introduction), in_time)), "W204");
    world.root.resume_from = Some(in_time);
    assert_eq!(world.code(in_time), "ok");
    world.root.resume_from = Some(world.introduction);
    assert_eq!(world.code(in_time), "W204");
    world.root.resume_from = Some(late);
    assert_eq!(world.code(in_time), "W401");
}

/// Attack 15 in small steps: each is within the skew of the one before it.
#[test]
fn the_skew_of_clocks_does_not_add_up() {
    let mut world = World::new();
    let tree = world.memory.tree(&world.introduction);
    let mut back = |parent, time| world.memory.store(&[parent], tree.clone(), Some(&person("bob")), BASE + time);
    let newest = back(world.introduction, 1_000);
    let within = back(newest, 701);
    let beyond = back(within, 402);
    let again = back(within, 700);
    assert_eq!(world.code(again), "ok");
    let judged = world.judge(&Start::Introduction, beyond);
    assert_eq!(code(&judged), "W406");
    assert_eq!(judged.refusal().unwrap().needed, "not before 2026-01-01T00:16:40Z");
    for floor in [newest, within] {
        let start = Start::Resumed(world.judge(&Start::Introduction, floor).accepted().unwrap().clone());
        assert_eq!(code(&world.judge(&start, beyond)), "W406");
        assert_eq!(code(&world.judge(&start, again)), "ok");
    }
}

/// Attack 25: what was accepted is judged again when trust changes.
#[test]
fn a_changed_root_has_everything_judged_again() {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    let accepted = world.judge(&Start::Introduction, one).accepted().unwrap().clone();
    let start = Start::Resumed(accepted.clone());
    let same = world.judge(&start, one);
    assert_eq!((same.steps.len(), same.accepted()), (0, Some(&accepted)));
    assert_eq!(world.judge(&start, two).steps.len(), 1);
    world.root.min_policy_version = 1;
    // From the introduction, and only what is above the floor is listed.
    let again = world.judge(&start, two);
    assert_eq!((again.from, again.steps.len()), (Some(one), 1));
    assert_ne!(again.accepted().unwrap().trust_digest(), accepted.trust_digest());
    // What is refused above the floor falls back to the floor, what is refused below it to nothing.
    let three = world.put(two, "mallory", "apps/web.yaml", "x");
    let above = Start::Resumed(world.judge(&start, two).accepted().unwrap().clone());
    world.root.min_policy_version = 0;
    assert_eq!(world.judge(&above, three).accepted().unwrap().id(), two);
    world.memory.broken.insert(two, HistoryError::Read { reason: "broken".to_owned() });
    assert_eq!(world.judge(&above, three).accepted(), None);
    world.memory.broken.clear();
    world.root.introduction.signer = person("bob").fingerprint();
    let judgement = world.judge(&start, two);
    assert_eq!(code(&judgement), "W202");
    assert!(judgement.accepted().is_none());
}
