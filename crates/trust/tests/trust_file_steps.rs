//! The judgement of steps that change the trust file, and of the introduction.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{BASE, Tree, World, code, path, person, policy, put_policy};
use trust::Start;

#[test]
fn an_expired_trust_file_lets_only_itself_change() {
    let mut world = World::with(&policy(1, &[("expires: 2027-06-01", "expires: 2026-01-01")]));
    world.now = BASE + 30 * 86_400;
    let head = world.put(world.introduction, "bob", "apps/a.txt", "x");
    assert_eq!(world.code(head), "ok");
    assert_eq!(code(&world.judge(&Start::Accepted(world.introduction), head)), "W508");
    let renewed =
        world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &policy(2, &[]), &["alice", "dave"]));
    assert_eq!(code(&world.judge(&Start::Accepted(world.introduction), renewed)), "ok");
}

#[test]
fn revocations_hold_and_are_never_taken_back() {
    let revoke_bob = format!("revoked:\n  - {{key: \"{}\", kind: hard, reason: lost}}\n", person("bob").fingerprint());
    let mut world = World::with(&policy(1, &[("revoked: []\n", &revoke_bob)]));
    let head = world.put(world.introduction, "bob", "apps/a.txt", "x");
    assert_eq!(world.code(head), "W304");
    // Attack 8.
    let stripped =
        world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &policy(2, &[]), &["alice", "dave"]));
    assert_eq!(world.code(stripped), "W505");
    let removed = world.push(world.introduction, Some("alice"), |tree| _ = tree.remove(&path(".writ/trust.yaml")));
    assert_eq!(world.code(removed), "W501");

    let mut world = World::new();
    let bad = world.put(world.introduction, "bob", "apps/a.txt", "x");
    let payload = format!("revoked: [{{payload: \"sha256:{}\", reason: bad change}}]", world.memory.payload(&bad));
    let mut tree = world.memory.tree(&world.introduction);
    put_policy(&mut tree, &policy(1, &[("revoked: []", &payload)]), &["alice", "dave"]);
    let pinned = World::of(tree);
    // The same bytes under a policy that revokes them.
    world.memory.store(&[], pinned.memory.tree(&pinned.introduction), Some(&person("alice")), BASE);
    let revoking = world.push(world.introduction, Some("alice"), |tree| {
        put_policy(tree, &policy(2, &[("revoked: []", &payload)]), &["alice", "dave"]);
    });
    let merged = world.memory.tree(&revoking);
    let merge = world.memory.store(&[revoking, bad], merged, Some(&person("bob")), BASE + 300);
    assert_eq!(world.code(merge), "W304");
}

/// Attack 6, in both shapes, and everything a new trust file must bring.
#[test]
fn a_trust_file_needs_the_people_before_it() {
    let mut world = World::new();
    let start = world.introduction;
    let brings = |world: &mut World, text: &str, signers: &[&str], signer: &str| {
        let head = world.push(start, Some(signer), |tree| put_policy(tree, text, signers));
        world.code(head)
    };
    let grant = policy(2, &[("sre: [bob, carol]", "sre: [bob, carol, alice]")]);
    assert_eq!(brings(&mut world, &grant, &["alice", "dave"], "alice"), "ok");
    assert_eq!(brings(&mut world, &grant, &["alice", "dave"], "relbot"), "ok");
    assert_eq!(brings(&mut world, &grant, &["alice"], "dave"), "W504");
    assert_eq!(brings(&mut world, &grant, &[], "alice"), "W504");
    assert_eq!(brings(&mut world, &grant, &["alice", "bob"], "alice"), "W504");
    assert_eq!(brings(&mut world, &policy(3, &[]), &["alice", "dave"], "alice"), "W503");
    assert_eq!(
        brings(
            &mut world,
            &policy(1, &[("kinds: [\"!ClusterRole*\", \"namespaced\"]", "kinds: [\"*/*\"]")]),
            &["alice", "dave"],
            "alice"
        ),
        "W503"
    );
    assert_eq!(brings(&mut world, &policy(2, &[("urn:writ:test", "urn:x")]), &["alice", "dave"], "alice"), "W507");
    assert_eq!(brings(&mut world, &policy(2, &[("heads/main", "heads/dev")]), &["alice", "dave"], "alice"), "W507");
    assert_eq!(brings(&mut world, "a: [", &["alice", "dave"], "alice"), "W502");
    assert_eq!(
        brings(
            &mut world,
            &policy(2, &[("role: root, threshold: 2", "role: root, threshold: 3")]),
            &["alice", "dave"],
            "alice"
        ),
        "W506"
    );
    // Rotation: the new people must sign as well, the old ones must have.
    let rotated = policy(2, &[("root: [alice, dave]", "root: [erin, frank]")]);
    assert_eq!(brings(&mut world, &rotated, &["alice", "dave"], "alice"), "W504");
    assert_eq!(brings(&mut world, &rotated, &["erin", "frank"], "erin"), "W504");
    assert_eq!(brings(&mut world, &rotated, &["alice", "dave", "erin", "frank"], "alice"), "ok");

    // Changed and used in one commit: judged by the policy before.
    let both = world.push(start, Some("alice"), |tree| {
        put_policy(tree, &grant, &["alice", "dave"]);
        tree.insert(path("apps/a.txt"), Vec::new());
    });
    assert_eq!(world.code(both), "W302");
    // Granted by bob to himself, then used.
    let own = policy(2, &[("root: [alice, dave]", "root: [bob, carol]")]);
    let granted = world.push(start, Some("bob"), |tree| put_policy(tree, &own, &["bob", "carol"]));
    let used = world.put(granted, "bob", ".writ/x", "x");
    let judgement = world.judge(&Start::Introduction, used);
    assert_eq!(judgement.refusal().unwrap().code.code, "W504");
    assert_eq!(judgement.accepted().unwrap().id(), start);
    // A grant is good from the next step on.
    let granted = world.push(start, Some("alice"), |tree| put_policy(tree, &grant, &["alice", "dave"]));
    let used = world.put(granted, "alice", "apps/a.txt", "x");
    assert_eq!(world.code(used), "ok");
}

#[test]
fn a_trust_signature_is_not_a_commit_signature() {
    let mut world = World::new();
    let text = policy(2, &[]);
    let head = world.push(world.introduction, Some("alice"), |tree| {
        put_policy(tree, &text, &["alice"]);
        let wrong = person("dave").sign("git", text.as_bytes());
        tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), wrong.into_bytes());
    });
    let judgement = world.judge(&Start::Introduction, head);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W504");
    assert!(finding.found.contains("dave.sig"), "{}", finding.found);
    // One person under two names is one person.
    let head = world.push(world.introduction, Some("alice"), |tree| {
        put_policy(tree, &text, &["alice"]);
        let again = person("alice").sign("writ-trust@1", text.as_bytes());
        tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), again.into_bytes());
    });
    assert_eq!(world.code(head), "W504");
    // The exact bytes, or nothing.
    let head = world.push(world.introduction, Some("alice"), |tree| {
        put_policy(tree, &text, &["alice", "dave"]);
        tree.insert(path(".writ/trust.yaml"), format!("{text}# one more line\n").into_bytes());
    });
    assert_eq!(world.code(head), "W504");
    let head = world.push(world.introduction, Some("alice"), |tree| {
        put_policy(tree, &text, &["alice", "dave"]);
        tree.insert(path(".writ/trust.yaml.sigs/erin.gpg"), Vec::new());
    });
    assert_eq!(world.code(head), "W502");
}

#[test]
fn the_introduction_is_pinned_three_ways() {
    let pristine = World::new();
    let check = |edit: &dyn Fn(&mut World)| {
        let mut world = World::new();
        edit(&mut world);
        let judgement = world.judge(&Start::Introduction, pristine.introduction);
        assert!(judgement.accepted().is_none());
        assert_eq!(judgement.from.is_some(), world.root.min_policy_version > 0);
        code(&judgement)
    };
    assert_eq!(check(&|world| world.root.introduction.payload_sha256 = manifest::Digest::of(b"x")), "W106");
    assert_eq!(check(&|world| world.root.introduction.signer = person("bob").fingerprint()), "W202");
    assert_eq!(check(&|world| world.root.root_keys.keys[1] = person("erin").public()), "W504");
    assert_eq!(check(&|world| world.root.repo_id = "urn:x".to_owned()), "W507");
    assert_eq!(check(&|world| world.root.min_policy_version = 2), "W503");
    assert_eq!(check(&|world| _ = world.memory.missing.insert(world.introduction)), "W403");
}

/// A key that has ended signs nothing any more, so it brings no threshold within reach.
#[test]
fn a_key_that_has_ended_locks_as_a_revoked_one_does() {
    let until = |version: u64, end: &str| {
        let dave = person("dave").public();
        policy(version, &[(&format!("{{ssh: \"{dave}\"}}"), &format!("{{ssh: \"{dave}\", notAfter: {end}}}"))])
    };
    // Seen a day after the introduction: the signature of a key that ends that day is good, and the threshold of two
    // is within reach; a minute earlier neither is.
    let seen = ["2026-01-02T00:00:00Z", "2026-01-01T23:59:00Z"];
    for (end, wanted) in seen.into_iter().zip(["ok", "W506"]) {
        let mut world = World::new();
        let signers = ["alice", "dave"];
        let head = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &until(2, end), &signers));
        let judgement = world.judge(&Start::Accepted(world.introduction), head);
        assert_eq!(code(&judgement), wanted, "{end}: {judgement:?}");
        if let Some(finding) = judgement.refusal() {
            assert!(finding.found.contains("in which 1 can sign at 2026-01-02T00:00:00Z"), "{}", finding.found);
        }
    }
    for (end, wanted) in [("2026-01-01T00:00:00Z", "ok"), ("2025-12-31T23:59:59Z", "W506")] {
        let world = World::with(&until(1, end));
        assert_eq!(world.code(world.introduction), wanted, "introduced {end}");
    }
}

/// What is no signature is not kept: the first file above what one can have is named, before any right is looked at.
#[test]
fn a_signature_file_that_is_too_large_is_refused() {
    for (bytes, wanted) in [(trust::MAX_ARMOR_BYTES, "W504"), (trust::MAX_ARMOR_BYTES + 1, "W502")] {
        let mut world = World::new();
        let head = world.push(world.introduction, Some("alice"), |tree| {
            put_policy(tree, &policy(2, &[]), &["alice"]);
            tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), vec![b'x'; bytes]);
        });
        let judgement = world.judge(&Start::Introduction, head);
        assert_eq!(code(&judgement), wanted, "{bytes}");
        let named = judgement.refusal().unwrap().subject.to_string() == ".writ/trust.yaml.sigs/dave.sig";
        assert_eq!(named, wanted == "W502", "{bytes}");
    }
}

/// Attack 29: whoever has several keys is one person, and a machine is none.
#[test]
fn people_vouch_for_the_introduction_not_keys() {
    let more = |kind: &str| {
        let keys = |names: [&str; 2]| names.map(|name| format!("{{ssh: \"{}\"}}", person(name).public())).join(", ");
        let of_alice = keys(["alice", "alice at home"]);
        let alice = format!("alice: {{kind: human, keys: [{of_alice}]}}");
        let before = format!("alice: {{kind: human, keys: [{{ssh: \"{}\"}}]}}", person("alice").public());
        policy(1, &[(&before, &alice), ("dave: {kind: human", &format!("dave: {{kind: {kind}"))])
    };
    let judged = |text: &str, roots: [&str; 2], files: &[(&str, &str)]| {
        let mut tree = Tree::new();
        put_policy(&mut tree, text, &[]);
        for (file, signer) in files {
            let signature = person(signer).sign("writ-trust@1", text.as_bytes());
            tree.insert(path(&format!(".writ/trust.yaml.sigs/{file}.sig")), signature.into_bytes());
        }
        let mut world = World::of(tree);
        world.root.root_keys.keys = roots.map(|name| person(name).public()).to_vec();
        world.code(world.introduction)
    };
    let home = "alice at home";
    assert_eq!(judged(&more("human"), ["alice", "dave"], &[("alice", "alice"), ("dave", "dave")]), "ok");
    assert_eq!(judged(&more("human"), ["alice", home], &[("alice", "alice"), ("dave", home)]), "W504");
    // The file asks for one person only, the root keys for two.
    let one = more("human").replace("role: root, threshold: 2", "role: root, threshold: 1");
    assert_eq!(judged(&one, ["alice", "dave"], &[("alice", "alice"), ("dave", "dave")]), "ok");
    assert_eq!(judged(&one, ["alice", home], &[("alice", "alice"), ("dave", home)]), "W504");
    let machine = more("robot").replace("role: root, threshold: 2", "role: root, threshold: 1");
    assert_eq!(judged(&machine, ["alice", "dave"], &[("alice", "alice"), ("dave", "dave")]), "W504");
    // Root keys alone do not vouch: the file has to be signed as it demands of its successors.
    assert_eq!(judged(&one, ["alice", "erin"], &[("erin", "erin"), ("frank", "alice")]), "W504");
}
