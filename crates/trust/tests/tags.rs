//! The judgement of a signed tag as the tracked ref: it and its commit are judged.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{BASE, World, at, config_map, path, person, policy, put_policy};
use trust::{CommitId, Head, Judgement, Start, TrustFile, judge};

const REF: &str = "refs/tags/live";
const BRANCH: (&str, &str) = ("ref: refs/heads/main", "ref: refs/tags/live");

/// The trust file with a rule for tags.
fn released_by(rule: &str) -> (String, String) {
    let history = "history: {ancestry: firstParent}";
    (history.to_owned(), format!("  - {{name: releases, paths: [\"git:refs/tags/**\"], {rule}}}\n{history}"))
}

fn text(version: u64, rule: &str, edits: &[(&str, &str)]) -> String {
    let (from, to) = released_by(rule);
    policy(version, &[&[BRANCH, (&from, &to)], edits].concat())
}

const BY_SECURITY: &str = "anyOf: [{role: security, threshold: 1}]";

fn world(rule: &str) -> World {
    let mut world = World::with(&text(1, rule, &[]));
    world.root.r#ref = REF.to_owned();
    world
}

fn judged(world: &World, start: &Start, head: Head) -> Judgement {
    judge(&world.memory, &world.root, start, head, at(world.now))
}

/// `ok` or the code, from the introduction; what is refused is not accepted, nor is anything before it.
fn code(world: &World, head: Head) -> &'static str {
    let judgement = judged(world, &Start::Introduction, head);
    let accepted = judgement.accepted().map(|accepted| accepted.id());
    match judgement.refusal() {
        None => {
            assert_eq!(accepted, Some(head.commit));
            "ok"
        }
        Some(finding) => {
            assert_eq!(accepted, None);
            for words in [&finding.found, &finding.needed, &finding.fix] {
                assert!(!words.is_empty(), "{finding}");
            }
            finding.code.code
        }
    }
}

fn commit(world: &mut World) -> CommitId {
    world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2))
}

/// When tags are made.
const TIME: i64 = BASE + 600;

#[test]
fn a_tag_is_judged_and_its_commit_as_well() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    let good = world.memory.tag("live", one, "frank", TIME);
    let judgement = judged(&world, &Start::Introduction, good);
    assert_eq!(judgement.refusal(), None);
    assert_eq!(judgement.accepted().unwrap().id(), one);
    assert_eq!(judgement.accepted().unwrap().signer().unwrap().principal, "bob");
    let tag = judgement.tag().unwrap();
    assert_eq!((Some(tag.id), tag.name.as_str()), (good.tag, "live"));
    assert_eq!(tag.signer.as_ref().unwrap().principal, "frank");

    let by_bob = world.memory.tag("live", one, "bob", TIME);
    let judgement = judged(&world, &Start::Introduction, by_bob);
    let finding = judgement.refusal().unwrap();
    assert_eq!((finding.code.code, finding.rule.as_deref()), ("W302", Some("releases")));
    assert_eq!(finding.needed, "one of alice, frank");
    assert!(finding.fix.contains("tag --sign --force -m live live"), "{finding}");
    assert_eq!((judgement.accepted(), judgement.tag().unwrap().signer.is_some()), (None, true));

    let by_mallory = world.memory.tag("live", one, "mallory", TIME);
    assert_eq!(code(&world, by_mallory), "W202");
    // Whoever may release may not change what is released.
    let foreign = world.put(one, "frank", "apps/web.yaml", &config_map("web", 3));
    let tagged = world.memory.tag("live", foreign, "frank", TIME);
    assert_eq!(code(&world, tagged), "W302");
    let unsigned = world.push(one, None, |tree| _ = tree.remove(&path("apps/web.yaml")));
    let tagged = world.memory.tag("live", unsigned, "frank", TIME);
    assert_eq!(code(&world, tagged), "W301");
    let introduction = world.introduction;
    let tagged = world.memory.tag("live", introduction, "frank", TIME);
    assert_eq!(code(&world, tagged), "ok");
}

#[test]
fn a_name_for_a_commit_is_no_tag() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    let judgement = judged(&world, &Start::Introduction, Head::from(&one));
    let finding = judgement.refusal().unwrap();
    assert_eq!((finding.code.code, judgement.accepted()), ("W301", None));
    assert!(
        finding.fix.contains(&format!("tag --sign --force -m live live {one} && git push --force origin")),
        "{finding}"
    );
    // Also where nothing else is left to judge.
    assert_eq!(judged(&world, &Start::Accepted(one), Head::from(&one)).refusal().unwrap().code.code, "W301");
    let gone = Head { commit: one, tag: Some("ab".repeat(20).parse().unwrap()) };
    assert_eq!(code(&world, gone), "W403");
    // For a branch a tag is not looked at.
    let mut branch = World::new();
    let one = commit(&mut branch);
    let tagged = branch.memory.tag("live", one, "mallory", TIME);
    assert_eq!(code(&branch, tagged), "ok");
}

#[test]
fn a_tag_is_for_its_name_and_its_commit() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    let other = world.memory.tag("v1", one, "frank", TIME);
    assert_eq!(code(&world, other), "W404");
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    let tag = world.memory.tag("live", one, "frank", TIME);
    assert_eq!(code(&world, Head { commit: two, ..tag }), "W101");
}

#[test]
fn a_tag_never_goes_back() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    let two = world.put(one, "bob", "apps/web.yaml", &config_map("web", 3));
    let back = world.memory.tag("live", one, "frank", TIME);
    let start = Start::Accepted(two);
    assert_eq!(judged(&world, &start, back).refusal().unwrap().code.code, "W401");
    // A new tag of the same commit is judged again.
    let again = world.memory.tag("live", two, "frank", TIME + 1);
    assert_eq!(judged(&world, &start, again).refusal(), None);
    let stolen = world.memory.tag("live", two, "bob", TIME + 1);
    let judgement = judged(&world, &start, stolen);
    assert_eq!((judgement.refusal().unwrap().code.code, judgement.accepted()), ("W302", None));
}

#[test]
fn rules_for_tags_name_refs_and_hold_for_one_signature() {
    let two = "anyOf: [{role: security, threshold: 2}]";
    let findings = TrustFile::parse(text(1, two, &[]).as_bytes()).unwrap_err();
    assert!(findings.iter().any(|found| found.code.code == "W506" && found.found.contains("of which a tag has one")));

    let either = "anyOf: [{role: security, threshold: 2}, {role: bots, threshold: 1}]";
    let mut world = world(either);
    let one = commit(&mut world);
    let alone = world.memory.tag("live", one, "frank", TIME);
    let judgement = judged(&world, &Start::Introduction, alone);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W303");
    assert!(finding.found.contains("a tag has one signature") && finding.fix.contains("one of relbot"), "{finding}");
    let by_robot = world.memory.tag("live", one, "relbot", TIME);
    assert_eq!(code(&world, by_robot), "ok");

    // Default deny; a rule for files is none for tags.
    let mut world = World::with(&policy(1, &[BRANCH, ("\"apps/**\"", "\"apps/**\", \"*:refs/**\"")]));
    world.root.r#ref = REF.to_owned();
    let one = commit(&mut world);
    let tagged = world.memory.tag("live", one, "bob", TIME);
    let judgement = judged(&world, &Start::Introduction, tagged);
    let finding = judgement.refusal().unwrap();
    assert_eq!((finding.code.code, finding.rule.as_ref()), ("W302", None));
    assert!(finding.needed.contains("git:refs/tags/live"), "{finding}");
}

#[test]
fn all_rules_hold_and_forges_do_not_count() {
    let forge = ("relbot: {kind: robot", "relbot: {kind: forge");
    let bots = (", {role: bots, threshold: 1}], kinds: [\"!Cl", "], kinds: [\"!Cl");
    let member = ("security: [alice, frank]", "security: [alice, frank, relbot]");
    let mut world = World::with(&text(1, BY_SECURITY, &[forge, bots, member]));
    world.root.r#ref = REF.to_owned();
    let one = commit(&mut world);
    let by_forge = world.memory.tag("live", one, "relbot", TIME);
    assert_eq!(code(&world, by_forge), "W306");

    let narrow = "anyOf: [{role: security, threshold: 1}]}\n  - {name: live, paths: [\"git:refs/tags/l*\"], anyOf: [{role: root, threshold: 1}]";
    let mut world = self::world(narrow);
    let one = commit(&mut world);
    for (signer, expected) in [("frank", "W302"), ("dave", "W302"), ("alice", "ok")] {
        let tagged = world.memory.tag("live", one, signer, TIME);
        assert_eq!(code(&world, tagged), expected, "{signer}");
    }
}

#[test]
fn somebody_else_than_the_author_releases() {
    let mut world = world("anyOf: [{role: sre, threshold: 1, distinctFromAuthor: true}]");
    let one = commit(&mut world);
    for (signer, expected) in [("bob", "W303"), ("carol", "ok")] {
        let tagged = world.memory.tag("live", one, signer, TIME);
        assert_eq!(code(&world, tagged), expected, "{signer}");
        let judgement = judged(&world, &Start::Accepted(one), tagged);
        assert_eq!(judgement.refusal().map_or("ok", |finding| finding.code.code), expected, "{signer}");
    }
}

#[test]
fn times_windows_and_revocations_of_the_commits_trust_file() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    for (time, expected) in [(BASE - 3_600, "W406"), (BASE, "ok"), (world.now + 3_600, "W406")] {
        let tagged = world.memory.tag("live", one, "frank", time);
        assert_eq!(code(&world, tagged), expected, "{time}");
    }
    let later = |world: &mut World, edit: (&str, &str)| {
        let text = text(2, BY_SECURITY, &[edit]);
        let parent = world.introduction;
        world.push(parent, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]))
    };
    let key = person("frank").fingerprint();
    let revoked = format!("revoked: [{{key: \"{key}\", kind: hard, reason: stolen}}]");
    let without = later(&mut world, ("revoked: []", &revoked));
    let tagged = world.memory.tag("live", without, "frank", TIME);
    assert_eq!(code(&world, tagged), "W304");

    let window = format!("{{ssh: \"{}\"}}", person("frank").public());
    let ended = window.replace('}', ", notAfter: 2026-01-01T12:00:00Z}");
    let ending = later(&mut world, (&window, &ended));
    world.now = BASE + 86_400;
    let tagged = world.memory.tag("live", ending, "frank", TIME);
    let first_sight = judged(&world, &Start::Accepted(world.introduction), tagged);
    assert_eq!(first_sight.refusal().unwrap().code.code, "W204", "a clock that is set back");
    assert_eq!(judged(&world, &Start::Accepted(ending), tagged).refusal(), None, "it was accepted before");
}

#[test]
fn a_signature_over_something_else_is_refused() {
    let mut world = world(BY_SECURITY);
    let one = commit(&mut world);
    let good = world.memory.tag("live", one, "frank", TIME);
    let raw = String::from_utf8(world.memory.tags[&good.tag.unwrap()].clone()).unwrap();
    for (from, to, expected) in [
        ("release\n", "another\n", "W201"),
        ("release\n", "release\n\nmore\n", "W201"),
        ("A <a@example.com>", "B <a@example.com>", "W201"),
        ("SIGNATURE-----\n", "SIGNATURE-----\n\n", "W101"),
        ("\ntagger", "\ngpgsig x\ntagger", "W102"),
    ] {
        let forged = world.memory.plant_tag(raw.replacen(from, to, 1).into_bytes(), one);
        assert_eq!(code(&world, forged), expected, "{from:?}");
    }
    let payload = raw.split("-----BEGIN").next().unwrap();
    let other = person("frank").sign("file", payload.as_bytes());
    let forged = world.memory.plant_tag(format!("{payload}{other}").into_bytes(), one);
    assert_eq!(code(&world, forged), "W207");
    let openpgp = format!("{payload}-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n");
    let forged = world.memory.plant_tag(openpgp.into_bytes(), one);
    assert_eq!(code(&world, forged), "W208");
    let x509 = format!("{payload}-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----\n");
    let forged = world.memory.plant_tag(x509.into_bytes(), one);
    assert_eq!(code(&world, forged), "W208");
}

#[test]
fn commits_are_bound_to_the_tag_as_to_a_branch() {
    let bound = "history: {ancestry: firstParent, refBinding: trailer}";
    let (from, to) = released_by(BY_SECURITY);
    let mut world = World::with(&policy(1, &[BRANCH, (&from, &to.replace(&from, bound))]));
    world.root.r#ref = REF.to_owned();
    let start = world.introduction;
    for (message, expected) in [
        ("x\n", "W404"),
        ("x\n\nWrit-Ref: urn:writ:test refs/heads/main\n", "W404"),
        ("x\n\nWrit-Ref: urn:writ:test refs/tags/live\n", "ok"),
    ] {
        let one = world.say(start, "bob", message, |tree| _ = tree.insert(path("apps/x.yaml"), Vec::new()));
        let tagged = world.memory.tag("live", one, "frank", TIME);
        assert_eq!(code(&world, tagged), expected, "{message:?}");
    }
}
