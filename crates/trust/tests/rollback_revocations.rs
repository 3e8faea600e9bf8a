//! Rollbacks and revocations: what may come back once a key is revoked, and who ordered it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod rollback_case;

use memory::{at, config_map, person, policy, put_policy};
use rollback_case::{Case, case, check};
use trust::{Approval, CommitId, CommitObject, Decision, NAMESPACE_APPROVAL, envelope, envelope_message};

/// What a Sync went back to is asked as what is newest: the revocations of today count.
#[test]
fn what_is_gone_back_to_holds_or_not() {
    let mut case = case(&[]);
    let accepted = case.world.put(case.to, "carol", "apps/web.yaml", &config_map("web", 3));
    let (bob, carol) = (person("bob").fingerprint(), person("carol").fingerprint());
    let payload = case.world.memory.payload(&case.to);
    for (revoked, expected) in [
        (String::new(), "ok"),
        (format!("{{key: \"{carol}\", kind: hard}}"), "ok"),
        (format!("{{key: \"{bob}\", kind: hard}}"), "W304: it still holds what is revoked: apps/web.yaml"),
        (format!("{{payload: \"sha256:{payload}\", reason: bad}}"), "W304: its content (sha256"),
    ] {
        let text = policy(2, &[("revoked: []", &format!("revoked: [{revoked}]"))]);
        let verified = case.world.push(accepted, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        case.verified = verified;
        check(&case.held(None), expected);
    }
}

const TWO: (&str, &str) = (
    "[{role: sre, threshold: 1}, {role: bots, threshold: 1}]",
    "[{role: sre, threshold: 2}, {role: bots, threshold: 1}]",
);
const THREE: (&str, &str) = ("sre: [bob, carol]", "sre: [bob, carol, erin, frank]");

/// Which commits may be gone back to once a key is revoked: what it brought while it was good, and nothing else.
#[test]
fn what_a_key_brought_while_it_was_good_may_come_back() {
    let bob = person("bob").fingerprint();
    // `apps/web.yaml` is by bob: 2, 3, 4; then by carol.
    let world = || {
        let mut case = case(&[]);
        let commits =
            [case.to, case.accepted, case.world.put(case.accepted, "bob", "apps/web.yaml", &config_map("web", 4))];
        case.accepted = case.world.put(commits[2], "carol", "apps/web.yaml", &config_map("web", 5));
        (case.verified, case.in_force, case.by) = (case.accepted, case.accepted, vec!["carol"]);
        (case, commits)
    };
    let payload = |case: &Case, commit: &CommitId| {
        format!("{{payload: \"sha256:{}\", reason: bad}}", case.world.memory.payload(commit))
    };
    let soft = |after: &CommitId| format!("{{key: \"{bob}\", kind: soft, after: {after}}}");
    let still = "W304: it still holds what is revoked: apps/web.yaml";
    let table: [(&str, [&str; 3]); 6] = [
        ("nothing", ["ok", "ok", "ok"]),
        ("soft after the second", ["ok", "ok", still]),
        ("soft after the third", ["ok", "ok", "ok"]),
        ("soft before all", [still, still, still]),
        ("hard", [still, still, still]),
        ("payload of the second", ["ok", "W304: its content (sha256", "ok"]),
    ];
    for (what, expected) in table {
        let (mut case, commits) = world();
        let revoked = match what {
            "soft after the second" => soft(&commits[1]),
            "soft after the third" => soft(&commits[2]),
            "soft before all" => soft(&case.world.introduction),
            "hard" => format!("{{key: \"{bob}\", kind: hard}}"),
            "payload of the second" => payload(&case, &commits[1]),
            _ => String::new(),
        };
        case.revoke(2, &[], &revoked);
        for (to, expected) in commits.into_iter().zip(expected) {
            case.to = to;
            check(&format!("{what}: {}", case.verdict()), &format!("{what}: {expected}"));
            check(&format!("{what}: {}", case.held(None)), &format!("{what}: {expected}"));
        }
    }
}

/// What is asked is the folder of the Sync, what the commit changed itself, and the policies that judge.
#[test]
fn what_other_folders_hold_is_not_asked() {
    let (bob, frank) = (person("bob").fingerprint(), person("frank").fingerprint());
    let rule = ("history:", "  - {name: docs, paths: [\"docs/**\"], anyOf: [{role: sre, threshold: 1}]}\nhistory:");
    let mut case = case(&[rule]);
    let anew = case.world.put(case.accepted, "carol", "apps/web.yaml", &config_map("web", 9));
    let docs = case.world.put(anew, "bob", "docs/notes.txt", "1");
    let policies = case.world.put(docs, "frank", "policies/limits.txt", "1");
    case.to = case.world.put(policies, "carol", "apps/web.yaml", &config_map("web", 4));
    case.accepted = case.world.put(case.to, "carol", "apps/web.yaml", &config_map("web", 5));
    (case.verified, case.in_force, case.by) = (case.accepted, case.accepted, vec!["carol"]);
    let hard = |key| format!("{{key: \"{key}\", kind: hard}}");
    case.revoke(2, &[rule], &hard(bob));
    check(&case.verdict(), "ok");
    check(&case.held(None), "ok");
    case.folder = "docs";
    check(&case.held(None), "W304: it still holds what is revoked: docs/notes.txt");
    case.folder = "";
    check(&case.verdict(), "W304: it still holds what is revoked: docs/notes.txt");
    // The commit itself, whatever it changed.
    case.folder = "apps";
    let to = std::mem::replace(&mut case.to, docs);
    check(&case.verdict(), "W304: it still holds what is revoked: docs/notes.txt");
    case.to = to;
    case.revoke(3, &[rule], &format!("{}, {}", hard(bob), hard(frank)));
    check(&case.verdict(), "W304: it still holds what is revoked: policies/limits.txt");
    check(&case.held(None), "W304: it still holds what is revoked: policies/limits.txt");
}

/// Those who ordered it are asked for again when trust changes, as those are who signed and approved commits.
#[test]
fn who_ordered_it_is_asked_again() {
    let (bob, carol, erin) = (person("bob").fingerprint(), person("carol").fingerprint(), person("erin").fingerprint());
    let edits = [TWO, THREE];
    let ordered = |by: &[&'static str]| {
        let mut case = case(&edits);
        case.to = case.world.introduction;
        // What the machine brought is nobody's who signs here.
        let first = case.world.put(case.to, "relbot", "apps/web.yaml", &config_map("web", 7));
        case.accepted = case.world.put(first, "relbot", "apps/web.yaml", &config_map("web", 8));
        (case.verified, case.in_force, case.by) = (case.accepted, case.accepted, by.to_vec());
        check(&case.verdict(), "ok");
        let order = case.obeyed();
        check(&case.held(Some(&order)), "ok");
        (case, order)
    };
    let hard = |key| format!("{{key: \"{key}\", kind: hard, reason: stolen}}");
    let soft = |key, after: CommitId| format!("{{key: \"{key}\", kind: soft, after: {after}}}");
    // One of two who are needed; of three one is too many; another signed nothing.
    let (mut case, order) = ordered(&["bob", "carol"]);
    case.revoke(2, &edits, &hard(bob));
    let found = case.held(Some(&order));
    check(&found, "W304: order shop/back no longer stands: signed by bob: key SHA256:");
    assert!(found.ends_with("is revoked (stolen); 1 of 2 for apps/web.yaml (carol)"), "{found}");
    check(&case.held(None), "ok");
    let (mut case, order) = ordered(&["bob", "carol", "erin"]);
    case.revoke(2, &edits, &hard(bob));
    check(&case.held(Some(&order)), "ok");
    case.revoke(3, &edits, &format!("{}, {}", hard(bob), hard(carol)));
    check(&case.held(Some(&order)), "W304: order shop/back no longer stands");
    let (mut case, order) = ordered(&["bob", "carol"]);
    case.revoke(2, &edits, &hard(erin));
    check(&case.held(Some(&order)), "ok");
    // A key that was good until a commit after the order, and one that was until the commit before it.
    let (mut case, order) = ordered(&["bob", "carol"]);
    let (before, last) =
        (case.verified, case.world.put(case.verified, "relbot", "apps/web.yaml", &config_map("web", 9)));
    case.verified = last;
    case.revoke(2, &edits, &soft(bob, last));
    check(&case.held(Some(&order)), "ok");
    case.verified = last;
    case.revoke(2, &edits, &soft(bob, before));
    check(&case.held(Some(&order)), "W304: order shop/back no longer stands");
    // Nobody who signed it is left; the others may order the same anew.
    let (mut case, order) = ordered(&["bob", "carol"]);
    case.revoke(2, &edits, &format!("{}, {}", hard(bob), hard(carol)));
    let found = case.held(Some(&order));
    assert!(found.ends_with("nobody is left who signed it"), "{found}");
    let (mut case, _) = ordered(&["bob", "carol"]);
    case.revoke(2, &edits, &hard(bob));
    (case.in_force, case.by) = (case.to, vec!["carol", "erin"]);
    check(&case.verdict(), "ok carol erin");
    let anew = case.obeyed();
    check(&case.held(Some(&anew)), "ok");
}

/// A window that ends later ends nothing, and a payload that is revoked is revoked whoever ordered it.
#[test]
fn an_order_is_kept_to_its_time_and_not_above_its_commit() {
    let mut case = case(&[]);
    case.accepted = case.world.put(case.accepted, "carol", "apps/web.yaml", &config_map("web", 4));
    (case.verified, case.in_force) = (case.accepted, case.accepted);
    let order = case.obeyed();
    let later = at(case.world.now + 60);
    case.world.now += 3_600;
    let public = person("bob").public();
    let ended = (format!("ssh: \"{public}\""), format!("ssh: \"{public}\", notAfter: {later}"));
    case.revoke(2, &[(&ended.0, &ended.1)], "");
    check(&case.held(Some(&order)), "ok");
    let payload = case.world.memory.payload(&case.to);
    case.revoke(3, &[(&ended.0, &ended.1)], &format!("{{payload: \"sha256:{payload}\", reason: bad}}"));
    check(&case.held(Some(&order)), "W304: its content (sha256");
}

/// Who may change the files may vouch for an older commit, by the trust file of today and at the time of today.
#[test]
fn people_of_today_vouch_for_what_is_gone_back_to() {
    let begins = at(memory::BASE + 3_600);
    let erin = format!("ssh: \"{}\"", person("erin").public());
    let late = (erin.as_str(), &*format!("{erin}, notBefore: {begins}"));
    let edits = [late, ("sre: [bob, carol]", "sre: [bob, carol, erin]")];
    let mut case = case(&[]);
    case.accepted = case.world.put(case.accepted, "carol", "apps/web.yaml", &config_map("web", 4));
    (case.in_force, case.verified, case.by) = (case.accepted, case.accepted, vec!["carol"]);
    case.revoke(2, &edits, &format!("{{key: \"{}\", kind: hard}}", person("bob").fingerprint()));
    let (to, verified) = (case.to, case.verified);
    let order = case.order();
    let finding = case.judged(&order, &[person("carol").sign(case.namespace, &order.payload())]).unwrap_err();
    assert_eq!(finding.code.code, "W304");
    assert!(
        finding.fix.contains(&format!("writ trust approve {to} --vouch --trust {verified} --key")),
        "{}",
        finding.fix
    );
    let object = CommitObject::parse(to, case.world.memory.raw(&to)).unwrap();
    let vouch = |case: &mut Case, who: &str, policy_version: u64| {
        let payload = Approval {
            repo_id: case.world.root.repo_id.clone(),
            git_ref: case.world.root.r#ref.clone(),
            from: object.parents[0],
            to_tree: object.tree,
            policy_version,
            expires: at(case.world.now + 3_600),
            decision: Decision::Vouch,
            skipped: Vec::new(),
        }
        .payload();
        let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
        let note = envelope(&payload, &[(who, &signature)]).into_bytes();
        case.world.memory.notes.insert(to, vec![note]);
        (case.verdict(), case.held(None))
    };
    // Carol by the trust file of then, bob who is revoked, frank who may not change it.
    for (who, version) in [("carol", 1), ("bob", 2), ("frank", 2)] {
        let (verdict, held) = vouch(&mut case, who, version);
        check(&verdict, "W304: it still holds what is revoked: apps/web.yaml");
        check(&held, "W304: it still holds what is revoked: apps/web.yaml");
    }
    for who in ["carol", "erin"] {
        assert_eq!(vouch(&mut case, who, 2), ("ok carol".to_owned(), "ok".to_owned()));
    }
}
