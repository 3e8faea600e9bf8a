//! The judgement of steps: who signed them, and whose word counts for which path.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, config_map, path, person, policy, put_policy};
use trust::Start;

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
fn a_key_before_its_window_is_refused() {
    let bob = format!("ssh: \"{}\"", person("bob").public());
    let later = |when: &str| format!("{bob}, notBefore: {when}");
    for (when, wanted) in [("2026-01-01T00:01:00Z", "ok"), ("2026-01-01T00:01:01Z", "W204")] {
        let mut world = World::with(&policy(1, &[(&bob, &later(when))]));
        let step = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
        assert_eq!(world.code(step), wanted, "{when}");
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
