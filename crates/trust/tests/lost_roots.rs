//! Lost roots: an admin names other root keys and a later introduction, which descends from what was accepted.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod rollback_case;

use memory::{World, code, config_map, person, policy, put_policy};
use rollback_case::{Case, check};
use trust::{
    AuthorizedCommit, CommitId, Introduction, NAMESPACE_APPROVAL, NAMESPACE_ROLLBACK, RootKeys, Start, envelope,
    envelope_message,
};

/// What was accepted, and a commit on top of it by bob, whose trust file erin and frank vouch for: alice and dave, the
/// roots, have lost their keys.
struct Lost {
    world: World,
    accepted: AuthorizedCommit,
    anew: CommitId,
}

fn lost() -> Lost {
    let mut world = World::new();
    let one = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let accepted = world.judge(&Start::Introduction, one).accepted().unwrap().clone();
    let text = policy(2, &[("root: [alice, dave]", "root: [erin, frank]")]);
    let anew = world.push(one, Some("bob"), |tree| put_policy(tree, &text, &["erin", "frank"]));
    Lost { world, accepted, anew }
}

impl Lost {
    /// What the admin writes into the TrustRoot.
    fn introduce(&mut self, commit: CommitId) {
        self.world.root.introduction = Introduction {
            commit,
            payload_sha256: self.world.memory.payload(&commit),
            signer: person("bob").fingerprint(),
        };
        self.world.root.root_keys =
            RootKeys { threshold: 2, keys: vec![person("erin").public(), person("frank").public()] };
    }

    fn verdict(&self, head: CommitId) -> (&'static str, Option<CommitId>) {
        let judgement = self.world.judge(&Start::Resumed(self.accepted.clone()), head);
        let above = self.world.judge(&Start::Above(self.accepted.id()), head);
        assert_eq!((code(&above), above.accepted()), (code(&judgement), judgement.accepted()));
        (code(&judgement), judgement.accepted().map(AuthorizedCommit::id))
    }
}

#[test]
fn trust_starts_anew_after_what_was_accepted() {
    let mut lost = lost();
    let floor = lost.accepted.id();
    assert_eq!(code(&lost.world.judge(&Start::Resumed(lost.accepted.clone()), lost.anew)), "W504");
    lost.introduce(lost.anew);
    assert_eq!(lost.verdict(lost.anew), ("ok", Some(lost.anew)));
    // Later commits are judged from there, by the new file.
    let next = lost.world.put(lost.anew, "bob", "apps/web.yaml", &config_map("web", 3));
    assert_eq!(lost.verdict(next), ("ok", Some(next)));
    let stranger = lost.world.put(next, "mallory", "apps/web.yaml", "x");
    assert_eq!(lost.verdict(stranger), ("W202", Some(next)));
    let text = policy(3, &[("root: [alice, dave]", "root: [erin, frank]")]);
    let old_roots = lost.world.push(next, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    assert_ne!(lost.verdict(old_roots).0, "ok");
    // The floor is kept: a head without the introduction, or older than what was accepted, is none.
    assert_eq!(lost.verdict(floor), ("W401", None));
    assert_eq!(lost.verdict(lost.world.introduction), ("W401", None));
}

#[test]
fn an_introduction_on_another_line_lifts_no_floor() {
    let mut lost = lost();
    let text = policy(2, &[("root: [alice, dave]", "root: [erin, frank]")]);
    // From before what was accepted.
    let introduction = lost.world.introduction;
    let aside = lost.world.push(introduction, Some("bob"), |tree| put_policy(tree, &text, &["erin", "frank"]));
    lost.introduce(aside);
    let head = lost.world.put(aside, "bob", "apps/web.yaml", &config_map("web", 3));
    assert_eq!(lost.verdict(aside), ("W401", None));
    assert_eq!(lost.verdict(head), ("W401", None));
}

#[test]
fn the_new_root_keys_must_have_vouched_for_the_new_file() {
    let mut lost = lost();
    lost.introduce(lost.anew);
    lost.world.root.root_keys.keys = vec![person("alice").public(), person("dave").public()];
    assert_eq!(lost.verdict(lost.anew), ("W504", None));
    lost.introduce(lost.anew);
    lost.world.root.introduction.signer = person("frank").fingerprint();
    assert_eq!(lost.verdict(lost.anew), ("W202", None));
}

/// What was accepted before trust started anew may be gone back to, and held, as what came after it: by the revocations of
/// the new file, whoever they are about.
#[test]
fn a_sync_goes_back_behind_where_trust_starts_anew() {
    let mut world = World::new();
    let from = world.introduction;
    // In no form that is ever accepted, and left out once.
    let raw = format!("tree x\nparent {from}\n\n").into_bytes();
    let odd = world.memory.plant(raw, &[from], world.memory.tree(&from), memory::BASE);
    let first = world.put(odd, "bob", "apps/web.yaml", &config_map("web", 2));
    let approved = world.put(first, "frank", "apps/api.yaml", &config_map("api", 2));
    let approval = world.approval(approved).payload();
    let signature = person("carol").sign(NAMESPACE_APPROVAL, &envelope_message(&approval));
    world.memory.notes.insert(approved, vec![envelope(&approval, &[("carol", &signature)]).into_bytes()]);
    let last = world.put(approved, "bob", "apps/web.yaml", &config_map("web", 3));
    let roots = ("root: [alice, dave]", "root: [erin, frank]");
    let anew = world.push(last, Some("bob"), |tree| put_policy(tree, &policy(2, &[roots]), &["erin", "frank"]));
    let mut lost = Lost { accepted: world.judge(&Start::Introduction, from).accepted().unwrap().clone(), world, anew };
    lost.introduce(anew);
    let mut world = lost.world;
    let accepted = world.put(anew, "relbot", "apps/web.yaml", &config_map("web", 4));
    let hard = |who: &str| format!("{{key: \"{}\", kind: hard}}", person(who).fingerprint());
    let soft = |after| format!("{{key: \"{}\", kind: soft, after: {after}}}", person("bob").fingerprint());
    let still = "W304: it still holds what is revoked: apps/web.yaml (commit ";
    let (of_carol, none) = ("W304: it still holds what is revoked: apps/api.yaml (commit ", String::new());
    for (revoked, expected) in [
        (none, ["ok"; 3]),
        (hard("dave"), ["ok"; 3]),
        (hard("bob"), [still; 3]),
        (soft(from), [still; 3]),
        (soft(first), ["ok", "ok", still]),
        (soft(last), ["ok"; 3]),
        (hard("carol"), ["ok", of_carol, of_carol]),
    ] {
        let text = policy(3, &[roots, ("revoked: []", &format!("revoked: [{revoked}]"))]);
        let verified = world.push(accepted, Some("erin"), |tree| put_policy(tree, &text, &["erin", "frank"]));
        let (folder, namespace, first_seen) = ("apps", NAMESPACE_ROLLBACK, world.now);
        let mut case = Case {
            world,
            folder,
            verified,
            accepted,
            in_force: accepted,
            to: first,
            first_seen,
            namespace,
            by: vec!["relbot"],
        };
        for (to, expected) in [first, approved, last].into_iter().zip(expected) {
            case.to = to;
            check(&format!("{revoked}: {}", case.held(None)), &format!("{revoked}: {expected}"));
            let ordered = if expected == "ok" { "ok relbot" } else { expected };
            check(&format!("{revoked}: {}", case.verdict()), &format!("{revoked}: {ordered}"));
        }
        // What its order was judged by was before it as well.
        (case.to, case.accepted, case.in_force, case.verified) = (first, last, last, last);
        let order = case.obeyed();
        case.verified = verified;
        check(&format!("{revoked}: {}", case.held(Some(&order))), &format!("{revoked}: {}", expected[0]));
        world = case.world;
    }
}
