//! The judgement of histories: every code, and the attacks that it is there for.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{BASE, Tree, World, code, config_map, path, person, policy, put_policy};
use trust::{BadEntry, HistoryError, MAX_CHANGED_PATHS, MAX_SIDE_COMMITS, MAX_STEP_OBJECTS, Start};

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

#[test]
fn signatures_and_authority() {
    let mut world = World::new();
    let start = world.introduction;
    let map = config_map("x", 1);
    let unsigned = world.push(start, None, |tree| _ = tree.insert(path("apps/x.yaml"), Vec::new()));
    assert_eq!(world.code(unsigned), "W301");
    let unknown = world.put(start, "mallory", "apps/x.yaml", &map);
    let judgement = world.judge(&Start::Introduction, unknown);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W202");
    // Not with the key that was just refused: with one that is listed, or once this one is.
    let wanted = format!(
        "git -c gpg.format=ssh -c user.signingkey=KEY_FILE commit --amend --no-edit --gpg-sign # sign with a key in force of alice, bob, carol, dave, erin, frank, relbot; or root principals have this one added there: {}",
        person("mallory").public()
    );
    assert_eq!(finding.fix, wanted);
    let outside = world.put(start, "alice", "apps/x.yaml", &map);
    let judgement = world.judge(&Start::Introduction, outside);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W302");
    assert_eq!(finding.rule.as_deref(), Some("apps"));
    assert_eq!(finding.found, "alice changed apps/x.yaml");
    assert_eq!(finding.needed, "one of bob, carol, relbot");
    let uncovered = world.put(start, "bob", "README", "x");
    assert_eq!(world.code(uncovered), "W302");
    let threshold = world.put(start, "alice", ".writ/notes", "x");
    assert_eq!(world.code(threshold), "W303");
    let deleted = world.push(start, Some("alice"), |tree| _ = tree.remove(&path("apps/web.yaml")));
    assert_eq!(world.code(deleted), "W302");
}

#[test]
fn a_signature_over_other_bytes_is_refused() {
    let mut world = World::new();
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let raw = String::from_utf8(world.memory.raw(&good).to_vec()).unwrap().replace("change 1", "change 9");
    let (tree, time) = (world.memory.tree(&good), world.memory.time(&good));
    let forged = world.memory.plant(raw.into_bytes(), &[world.introduction], tree.clone(), time);
    assert_eq!(world.code(forged), "W201");
    // An object that does not parse is refused in its turn; what is good before it stays good.
    let raw = format!("{}\0", String::from_utf8_lossy(world.memory.raw(&good)));
    let raw = raw.replacen(&format!("parent {}", world.introduction), &format!("parent {good}"), 1);
    let broken = world.memory.plant(raw.into_bytes(), &[good], tree, time);
    let judgement = world.judge(&Start::Introduction, broken);
    assert_eq!(judgement.refusal().unwrap().code.code, "W103");
    assert_eq!(judgement.accepted().unwrap().id(), good);
}

/// Attack 33.
#[test]
fn a_robot_never_counts_for_trust_and_policies() {
    let mut world = World::with(&policy(1, &[("security: [alice, frank]", "security: [alice, frank, relbot]")]));
    let bot = world.put(world.introduction, "relbot", "policies/a.txt", "x");
    assert_eq!(world.code(bot), "W306");
    let bot = world.put(world.introduction, "relbot", ".writ/x", "x");
    assert_eq!(world.code(bot), "W302");
}

/// Attack 28.
#[test]
fn a_forge_counts_for_nothing() {
    let mut world = World::with(&policy(
        1,
        &[
            ("kind: robot", "kind: forge"),
            ("threshold: 1}, {role: bots", "threshold: 1}, {role: mixed"),
            ("bots: [relbot]", "mixed: [relbot, carol]"),
        ],
    ));
    let button = world.put(world.introduction, "relbot", "apps/web.yaml", &config_map("web", 2));
    let judgement = world.judge(&Start::Introduction, button);
    let finding = judgement.refusal().unwrap();
    assert_eq!(
        (finding.code.code, finding.found.as_str()),
        ("W306", "relbot changed apps/web.yaml, for which forges do not count")
    );
    assert_eq!(finding.needed, "one of bob, carol");
}

/// Attack 29, second half: who makes a change does not vouch for it.
#[test]
fn an_author_does_not_vouch_for_the_own_commit() {
    let rule = |threshold: u32| format!("{{role: root, threshold: {threshold}, distinctFromAuthor: true}}");
    let text = policy(1, &[("{role: root, threshold: 2}", &rule(1))]);
    let mut world = World::with(&text);
    let next = text.replace("version: 1\n", "version: 2\n");
    let mut by = |author: &str, signers: &[&str]| {
        let step = world.push(world.introduction, Some(author), |tree| put_policy(tree, &next, signers));
        world.code(step)
    };
    assert_eq!(by("alice", &["alice"]), "W504");
    assert_eq!(by("alice", &["alice", "dave"]), "ok");
    assert_eq!(by("alice", &["dave"]), "ok");
    // Whoever makes the commit need not be one of them.
    assert_eq!(by("bob", &["alice"]), "ok");
}

#[test]
fn an_override_replaces_its_rule_on_narrower_paths_alone() {
    let narrower = "history:";
    let rule = "  - {name: image, override: apps, paths: [\"apps/*/image.yaml\"], anyOf: [{role: security, threshold: 1}]}\nhistory:";
    let mut world = World::with(&policy(1, &[(narrower, rule)]));
    let mut by = |who: &str, file: &str| {
        let step = world.put(world.introduction, who, file, &config_map("web", 2));
        world.code(step)
    };
    assert_eq!(by("frank", "apps/shop/image.yaml"), "ok");
    assert_eq!(by("bob", "apps/shop/image.yaml"), "W302");
    assert_eq!(by("bob", "apps/shop/web.yaml"), "ok");
    assert_eq!(by("frank", "apps/shop/web.yaml"), "W302");
}

#[test]
fn what_is_declared_for_a_namespace_outside_the_rule_is_refused() {
    let mut world = World::with(&policy(
        1,
        &[("kinds: [\"!ClusterRole*\", \"namespaced\"]", "namespaces: [\"shop\", \"team-*\", \"!team-x\"]")],
    ));
    let mut of = |namespace: &str, kind: &str, name: &str| {
        let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\n");
        let step = world.put(world.introduction, "bob", "apps/x.yaml", &text);
        world.code(step)
    };
    assert_eq!(of(", namespace: shop", "ConfigMap", "a"), "ok");
    assert_eq!(of(", namespace: team-a", "ConfigMap", "a"), "ok");
    assert_eq!(of(", namespace: team-x", "ConfigMap", "a"), "W305");
    assert_eq!(of(", namespace: kube-system", "ConfigMap", "a"), "W305");
    // A Namespace is about itself; what has none yet is judged once it is rendered.
    assert_eq!(of("", "Namespace", "team-b"), "ok");
    assert_eq!(of("", "Namespace", "kube-system"), "W305");
    assert_eq!(of("", "ConfigMap", "a"), "ok");
}

#[test]
fn a_key_before_its_window_is_refused() {
    let bob = format!("ssh: \"{}\"", person("bob").public());
    let later = |when: &str| format!("{bob}, notBefore: {when}");
    for (when, wanted) in [("2026-01-01T00:01:00Z", "ok"), ("2026-01-01T00:01:01Z", "W204")] {
        let mut world = World::with(&policy(1, &[(&bob, &later(when))]));
        let step = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
        assert_eq!(world.code(step), wanted, "{when}");
    }
}

/// A file whose objects are all withdrawn and others declared is judged in the time that its objects take, not their
/// square: this test would run for many minutes. Above the limit nothing is compared at all.
#[test]
fn many_objects_of_one_file_are_judged_and_too_many_refused() {
    let list = |name: &str, count: usize| {
        let item = |i: usize| format!("- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}{i}}}}}\n");
        format!("apiVersion: v1\nkind: List\nitems:\n{}", (0..count).map(item).collect::<String>())
    };
    let mut world = World::new();
    let many = MAX_STEP_OBJECTS / 2;
    let before = world.put(world.introduction, "bob", "apps/x.yaml", &list("a", many));
    let renamed = world.put(before, "bob", "apps/x.yaml", &list("b", many));
    assert_eq!(code(&world.judge(&Start::Accepted(before), renamed)), "ok");
    let more = world.put(before, "bob", "apps/x.yaml", &list("b", many + 1));
    let judgement = world.judge(&Start::Accepted(before), more);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W403");
    assert_eq!(finding.fix, "commit the changed files in several commits, each with fewer objects");
}

/// Only what would be applied as a definition tells the scope of a kind.
#[test]
fn a_scope_is_taught_by_definitions_alone() {
    let definition = |scope: &str| {
        format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: gates.x.io}}, \
             spec: {{group: x.io, names: {{kind: Gate}}, scope: {scope}}}}}"
        )
    };
    let judged = |files: &[(&str, String)]| {
        let mut tree = World::new().memory.tree(&World::new().introduction);
        for (file, text) in files {
            tree.insert(path(file), text.clone().into_bytes());
        }
        let mut world = World::of(tree);
        let gate = "apiVersion: x.io/v1\nkind: Gate\nmetadata: {name: g}\n";
        let gate = world.put(world.introduction, "bob", "apps/gate.yaml", gate);
        world.code(gate)
    };
    let namespaced = definition("Namespaced");
    let of = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: m}}\nitems: [{namespaced}]\n");
    assert_eq!(judged(&[]), "W305");
    assert_eq!(judged(&[("crds/gate.yaml", namespaced.clone())]), "ok");
    assert_eq!(judged(&[("crds/gate.yaml", of("List"))]), "ok");
    assert_eq!(judged(&[("apps/map.yaml", of("ConfigMap"))]), "W305");
    // Which of two is applied last is not known.
    assert_eq!(judged(&[("crds/a.yaml", definition("Cluster")), ("crds/b.yaml", namespaced.clone())]), "W305");
}

/// Attack 34.
#[test]
fn kinds_are_judged_by_what_files_declare_and_withdraw() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n";
    let mut world = World::new();
    let start = world.introduction;
    let escape = world.put(start, "bob", "apps/x.yaml", &format!("{}---\n{role}", config_map("a", 1)));
    let judgement = world.judge(&Start::Introduction, escape);
    assert_eq!(judgement.refusal().unwrap().code.code, "W305");
    assert_eq!(judgement.refusal().unwrap().rule.as_deref(), Some("apps"));
    let unknown = world.put(start, "bob", "apps/x.yaml", "apiVersion: x.io/v1\nkind: Gadget\nmetadata: {name: x}\n");
    assert_eq!(world.code(unknown), "W305");
    let own =
        world.put(start, "bob", "apps/x.yaml", "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata: {name: x}\n");
    assert_eq!(world.code(own), "W305");
    let note = world.put(start, "bob", "apps/README.md", role);
    assert_eq!(world.code(note), "ok");
    let broken = world.put(start, "bob", "apps/x.yaml", "a: [");
    assert!(world.code(broken).starts_with("M1"), "{}", world.code(broken));

    let mut tree = world.memory.tree(&start);
    tree.insert(path("apps/roles.yaml"), role.into());
    tree.insert(path("apps/broken.yaml"), b"a: [".to_vec());
    let mut world = World::of(tree);
    let start = world.introduction;
    let withdrawn = world.push(start, Some("bob"), |tree| _ = tree.remove(&path("apps/roles.yaml")));
    assert_eq!(world.code(withdrawn), "W305");
    let emptied = world.put(start, "bob", "apps/roles.yaml", &config_map("a", 1));
    assert_eq!(world.code(emptied), "W305");
    let mended = world.put(start, "bob", "apps/broken.yaml", &config_map("b", 1));
    assert_eq!(world.code(mended), "ok");
}

#[test]
fn the_scope_of_a_kind_comes_from_a_definition_in_the_same_tree() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
        metadata: {name: gadgets.x.io}\nspec: {group: x.io, scope: SCOPE, names: {kind: Gadget, plural: gadgets}}\n";
    for (scope, verdict) in [("Namespaced", "ok"), ("Cluster", "W305")] {
        let mut tree = World::new().memory.tree(&World::new().introduction);
        tree.insert(path("crds/gadget.yaml"), definition.replace("SCOPE", scope).into_bytes());
        let mut world = World::of(tree);
        let gadget = "apiVersion: x.io/v1\nkind: Gadget\nmetadata: {name: x}\n";
        let head = world.put(world.introduction, "bob", "apps/x.yaml", gadget);
        assert_eq!(world.code(head), verdict, "{scope}");
    }
}

#[test]
fn policies_change_in_steps_of_their_own() {
    let mut world = World::with(&policy(1, &[("security: [alice, frank]", "security: [alice, frank, bob]")]));
    let start = world.introduction;
    let both = world.push(start, Some("bob"), |tree| {
        tree.insert(path("policies/a.txt"), Vec::new());
        tree.insert(path("apps/a.yaml"), Vec::new());
    });
    assert_eq!(world.code(both), "W308");
    let alone = world.put(start, "bob", "policies/a.txt", "x");
    assert_eq!(world.code(alone), "ok");
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
