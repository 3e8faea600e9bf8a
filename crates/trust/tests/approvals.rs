//! Approvals: who else stands for a step, and what does not count.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Digest;
use memory::{World, at, code, path, person, policy, put_policy};
use proptest::prelude::*;
use trust::{Approval, CommitId, Decision, MAX_ENVELOPES, NAMESPACE_APPROVAL, Start, envelope, envelope_message};

const TWO: [(&str, &str); 1] = [("{role: security, threshold: 1}", "{role: security, threshold: 2}")];

/// A repository whose policies take two of alice, frank and kim, and alice's change of them.
fn pending() -> (World, CommitId) {
    let text = policy(1, &TWO).replace("security: [alice, frank]", "security: [alice, frank, erin]");
    let mut world = World::with(&text);
    let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
    (world, step)
}

fn signed(approval: &Approval, who: &str, namespace: &str) -> Vec<u8> {
    let payload = approval.payload();
    let signature = person(who).sign(namespace, &envelope_message(&payload));
    envelope(&payload, &[(who, &signature)]).into_bytes()
}

/// The verdict on alice's change with what `about` makes of the right approval, signed by `who`.
fn with(who: &str, edit: impl FnOnce(&mut Approval)) -> &'static str {
    let (mut world, step) = pending();
    let mut approval = world.approval(step);
    edit(&mut approval);
    world.memory.notes.insert(step, vec![signed(&approval, who, NAMESPACE_APPROVAL)]);
    world.code(step)
}

#[test]
fn two_principals_stand_for_a_change_that_takes_two() {
    let (mut world, step) = pending();
    let judgement = world.judge(&Start::Introduction, step);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W303");
    assert_eq!(finding.found, "1 of 2 for policies/limits.txt (alice)");
    assert_eq!(finding.needed, "1 more of erin, frank");
    let fix = "--key KEY_FILE && git push origin refs/notes/writ-approvals # as erin, frank";
    let fetch = "git fetch origin 'refs/notes/writ-approvals*:refs/notes/writ-approvals*'";
    assert_eq!(finding.fix, format!("{fetch} && writ trust approve {step} {fix}"));
    let approval = signed(&world.approval(step), "frank", NAMESPACE_APPROVAL);
    world.memory.notes.insert(step, vec![approval.clone()]);
    assert_eq!(world.code(step), "ok");
    // Also where the predecessor is taken as accepted, and with others' papers around it.
    assert_eq!(code(&world.judge(&Start::Accepted(world.introduction), step)), "ok");
    world.memory.notes.insert(step, vec![b"{}".to_vec(), approval, vec![b'x'; 70_000]]);
    assert_eq!(world.code(step), "ok");
}

/// What a gate keeps, so that the step can be judged again whatever becomes of the notes.
#[test]
fn what_made_a_step_accepted_is_told() {
    let (mut world, step) = pending();
    let good = signed(&world.approval(step), "frank", NAMESPACE_APPROVAL);
    let junk = signed(&world.approval(step), "mallory", NAMESPACE_APPROVAL);
    world.memory.notes.insert(step, vec![b"{}".to_vec(), junk, good.clone()]);
    // Where nobody else was needed, nothing is.
    let alone = world.put(step, "bob", "apps/web.yaml", &memory::config_map("web", 2));
    let approval = signed(&world.approval(alone), "carol", NAMESPACE_APPROVAL);
    world.memory.notes.insert(alone, vec![approval]);
    let judgement = world.judge(&Start::Introduction, alone);
    assert_eq!(judgement.approvals(), [(step, vec![good])]);
    world.memory.notes = judgement.approvals().iter().cloned().collect();
    assert_eq!(world.judge(&Start::Introduction, alone), judgement);
    // So is what approved a step that is only passed by: with a lost log nobody has kept it.
    let approvals = judgement.approvals().to_vec();
    let accepted = world.judge(&Start::Introduction, alone).accepted().unwrap().clone();
    let above = world.judge(&Start::Above(alone), alone);
    assert_eq!((above.approvals(), above.steps.len()), (&*approvals, 0));
    world.root.min_policy_version = 1;
    assert_eq!(world.judge(&Start::Resumed(accepted), alone).approvals(), approvals);
}

/// Whoever has two keys says it with each of them, and one may be revoked while the other is good; with the same key again it is
/// said already.
#[test]
fn what_is_said_with_another_key_is_kept_as_well() {
    let (one, other) = (person("frank"), person("frank's other key"));
    let both = format!("{{ssh: \"{}\"}}, {{ssh: \"{}\"}}", one.public(), other.public());
    let keys = (format!("{{ssh: \"{}\"}}", one.public()), both);
    let edits = [TWO[0], ("security: [alice, frank]", "security: [alice, frank, erin]"), (&*keys.0, &*keys.1)];
    let mut world = World::with(&policy(1, &edits));
    let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
    let mut approval = world.approval(step);
    let with = |approval: &Approval, who: &str| signed(approval, who, NAMESPACE_APPROVAL);
    let mut notes = vec![with(&approval, "frank")];
    approval.expires = at(world.now + 7_200);
    notes.extend([with(&approval, "frank"), with(&approval, "frank's other key")]);
    world.memory.notes.insert(step, notes.clone());
    let judgement = world.judge(&Start::Introduction, step);
    assert_eq!(judgement.approvals(), [(step, vec![notes[0].clone(), notes[2].clone()])]);
    // The notes are gone, and the one key is stolen.
    world.memory.notes = judgement.approvals().iter().cloned().collect();
    let stolen = format!("revoked: [{{key: \"{}\", kind: hard}}]", one.fingerprint());
    let text = policy(2, &[&edits[..], &[("revoked: []", stolen.as_str())]].concat());
    let last = world.push(step, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, last);
    assert_eq!((code(&judgement), judgement.broken()), ("ok", None));
}

/// Attack 29: one person with two keys, or the author again, is one.
#[test]
fn the_author_is_not_two() {
    assert_eq!(with("alice", |_| ()), "W303");
    assert_eq!(with("frank", |_| ()), "ok");
    // Bob's word counts elsewhere.
    assert_eq!(with("bob", |_| ()), "W303");
    assert_eq!(with("mallory", |_| ()), "W303");
}

/// Attack 30: an approval counts for what it was given for.
#[test]
fn an_approval_moved_to_something_else_does_not_count() {
    assert_eq!(with("frank", |approval| approval.repo_id = "urn:writ:other".to_owned()), "W307");
    assert_eq!(with("frank", |approval| approval.git_ref = "refs/heads/feature".to_owned()), "W307");
    assert_eq!(with("frank", |approval| approval.policy_version = 2), "W307");
    assert_eq!(with("frank", |approval| approval.expires = at(memory::BASE)), "W307");
    let (mut world, step) = pending();
    let other = world.put(world.introduction, "alice", "policies/limits.txt", "2");
    let approval = signed(&world.approval(other), "frank", NAMESPACE_APPROVAL);
    world.memory.notes.insert(step, vec![approval]);
    let judgement = world.judge(&Start::Introduction, step);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W307");
    assert!(finding.found.contains("approval of frank: to tree "), "{}", finding.found);
    // The same change on another predecessor is another step.
    let before = world.put(world.introduction, "bob", "apps/web.yaml", &memory::config_map("web", 2));
    let moved = world.put(before, "alice", "policies/limits.txt", "1");
    let stale = Approval { to_tree: world.approval(moved).to_tree, ..world.approval(step) };
    world.memory.notes.insert(moved, vec![signed(&stale, "frank", NAMESPACE_APPROVAL)]);
    assert_eq!(world.code(moved), "W307");
}

/// Attack 11: a signature for another purpose is none.
#[test]
fn a_signature_for_another_purpose_is_no_approval() {
    let (mut world, step) = pending();
    for namespace in ["git", "writ-trust@1", "file"] {
        let approval = signed(&world.approval(step), "frank", namespace);
        world.memory.notes.insert(step, vec![approval]);
        let judgement = world.judge(&Start::Introduction, step);
        let finding = judgement.refusal().unwrap();
        assert_eq!(finding.code.code, "W303");
        assert!(finding.found.contains("a signature for the namespace"), "{}", finding.found);
    }
}

#[test]
fn a_key_that_is_revoked_or_has_ended_approves_nothing() {
    let frank = person("frank");
    let text = policy(1, &TWO).replace("security: [alice, frank]", "security: [alice, frank, erin]");
    let ended = text.replace(
        &format!("ssh: \"{}\"", frank.public()),
        &format!("ssh: \"{}\", notAfter: 2026-01-01T00:00:30Z", frank.public()),
    );
    let revoked = text.replace("revoked: []", &format!("revoked: [{{key: \"{}\", kind: hard}}]", frank.fingerprint()));
    for (text, reason) in [(ended, "of frank ended"), (revoked, "which is revoked (no reason given)")] {
        let mut world = World::with(&text);
        let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
        let approval = signed(&world.approval(step), "frank", NAMESPACE_APPROVAL);
        world.memory.notes.insert(step, vec![approval]);
        let judgement = world.judge(&Start::Introduction, step);
        let finding = judgement.refusal().unwrap();
        assert_eq!(finding.code.code, "W303");
        assert!(finding.found.contains(reason), "{}", finding.found);
    }
}

/// A change of the trust file needs signatures over it, whatever was approved.
#[test]
fn approvals_do_not_sign_a_trust_file() {
    let mut world = World::new();
    let step = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &policy(2, &[]), &["alice"]));
    let approval = signed(&world.approval(step), "dave", NAMESPACE_APPROVAL);
    world.memory.notes.insert(step, vec![approval]);
    assert_eq!(world.code(step), "W504");
    // Other files below .writ/ take it.
    let keys =
        world.push(world.introduction, Some("alice"), |tree| _ = tree.insert(path(".writ/keys/x.asc"), b"x".to_vec()));
    assert_eq!(world.code(keys), "W303");
    let approval = signed(&world.approval(keys), "dave", NAMESPACE_APPROVAL);
    world.memory.notes.insert(keys, vec![approval]);
    assert_eq!(world.code(keys), "ok");
}

#[test]
fn other_forms_are_told_and_count_for_nothing() {
    let (mut world, step) = pending();
    let good = world.approval(step);
    let payload = String::from_utf8(good.payload()).unwrap();
    let seal = |payload: &str| {
        let signature = person("frank").sign(NAMESPACE_APPROVAL, &envelope_message(payload.as_bytes()));
        envelope(payload.as_bytes(), &[("frank", &signature)])
    };
    let sealed = seal(&payload);
    let forms = [
        ("[]".to_owned(), "not a DSSE envelope"),
        (sealed.replace("in-toto+json", "json"), "another type of payload"),
        (sealed.replace("{\"payloadType", "{\"x\":1,\"payloadType"), "unknown field `x`"),
        (seal(&payload.replace("\"approve\"", "\"reject\"")), "unknown variant `reject`"),
        (seal(&payload.replace("approval/v1", "other/v1")), "another type"),
        (seal(&payload.replace("{\"_type\"", "{\"_type\":\"x\",\"_type\"")), "duplicate field `_type`"),
        (seal(&payload.replacen(&good.to_tree.to_string(), &"0".repeat(40), 1)), "about different things"),
        (envelope(payload.as_bytes(), &[]), "no signature, or too many"),
    ];
    for (form, reason) in forms {
        world.memory.notes.insert(step, vec![form.clone().into_bytes()]);
        let judgement = world.judge(&Start::Introduction, step);
        let finding = judgement.refusal().unwrap();
        assert_eq!(finding.code.code, "W303", "{form}");
        assert!(finding.found.contains(reason), "{}", finding.found);
    }
}

/// Anybody who may push can put anything in front of what is good: junk, what is said of something else, what nobody signed who
/// is known, and what one who is known says over and over.
#[test]
fn nothing_in_front_of_a_good_approval_hides_it() {
    let (mut world, step) = pending();
    let approval = world.approval(step);
    let good = signed(&approval, "frank", NAMESPACE_APPROVAL);
    let many = |one: &dyn Fn(usize) -> Vec<u8>| (0..2 * MAX_ENVELOPES).map(one).collect::<Vec<_>>();
    let later = |number: usize| at(world.now + 3_600 + i64::try_from(number).unwrap());
    let junk = many(&|number| format!("{{\"x\":{number}}}").into_bytes());
    let elsewhere = many(&|number| {
        let approval = Approval { git_ref: format!("refs/heads/{number}"), ..approval.clone() };
        signed(&approval, "frank", NAMESPACE_APPROVAL)
    });
    let unknown =
        many(&|number| signed(&Approval { expires: later(number), ..approval.clone() }, "mallory", NAMESPACE_APPROVAL));
    let again = many(&|number| {
        let skipped = vec![Digest::of(&number.to_be_bytes())];
        let approval = Approval { decision: Decision::Skip, skipped, ..approval.clone() };
        signed(&approval, "relbot", NAMESPACE_APPROVAL)
    });
    for before in [junk, elsewhere, unknown, again] {
        world.memory.notes.insert(step, before.clone());
        let judgement = world.judge(&Start::Introduction, step);
        assert_ne!(code(&judgement), "ok");
        assert!(judgement.refusal().unwrap().found.ends_with(" more"), "{judgement:?}");
        world.memory.notes.insert(step, [before, vec![good.clone()]].concat());
        let judgement = world.judge(&Start::Introduction, step);
        assert_eq!(code(&judgement), "ok");
        // What is kept is only what counts.
        assert!(judgement.approvals()[0].1.len() <= 5 && judgement.approvals()[0].1.contains(&good));
    }
}

proptest! {
    /// No byte of a good approval can be changed.
    #[test]
    fn a_changed_approval_never_counts(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut world, step) = pending();
        let good = signed(&world.approval(step), "frank", NAMESPACE_APPROVAL);
        let mut bytes = good;
        // The hint of whose key it is decides nothing.
        let text = String::from_utf8(bytes.clone()).unwrap();
        let hint = text.find("frank").unwrap();
        let at = place.index(bytes.len());
        prop_assume!(!(hint..hint + 5).contains(&at));
        bytes[at] ^= 1 << bit;
        world.memory.notes.insert(step, vec![bytes]);
        prop_assert_ne!(world.code(step), "ok");
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,300}") {
        let (mut world, step) = pending();
        let payload = STANDARD.encode(&bytes);
        let wrapped = format!("{{\"payloadType\":\"application/vnd.in-toto+json\",\"payload\":\"{payload}\",\"signatures\":[{{\"sig\":\"{payload}\"}}]}}");
        world.memory.notes.insert(step, vec![bytes, text.into_bytes(), wrapped.into_bytes()]);
        prop_assert_eq!(world.code(step), "W303");
    }
}

/// Attack 28: what a forge signed may be of anybody, so who approves it may be who made it, and one more is needed where the
/// author does not count.
#[test]
fn one_more_stands_for_what_a_forge_has_signed() {
    let edits = [
        ("kind: robot", "kind: forge"),
        ("{role: security, threshold: 1}", "{role: security, threshold: 1, distinctFromAuthor: true}"),
        ("{role: bots, threshold: 1}", "{role: sre, threshold: 1}"),
        ("bots: [relbot]", "bots: [erin]"),
    ];
    let mut world = World::with(&policy(1, &edits));
    for (author, approvers, wanted) in [
        ("relbot", &["frank"][..], "W302"),
        ("relbot", &["frank", "alice"], "ok"),
        ("bob", &["frank"], "ok"),
        ("frank", &["frank"], "W302"),
    ] {
        let step = world.put(world.introduction, author, "policies/limits.txt", "1");
        let approval = world.approval(step);
        let notes = approvers.iter().map(|who| signed(&approval, who, NAMESPACE_APPROVAL)).collect();
        world.memory.notes.insert(step, notes);
        let judgement = world.judge(&Start::Introduction, step);
        assert_eq!(code(&judgement), wanted, "{author} {approvers:?}");
        let told = judgement.refusal().map_or("", |finding| finding.needed.as_str());
        assert_eq!(
            told.contains("a forge does not say who did: one more is needed"),
            author == "relbot" && wanted != "ok"
        );
    }
}
