//! Keys of the real `gpg` beside SSH keys: approvals, revocations that work backwards, windows of the trust file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the modules of fixtures are shared")]

mod break_glass_case;
mod memory;
mod support;

use manifest::Digest;
use memory::{Tree, World, at, code, config_map, path, person, policy, put_policy};
use support::{Bench, gpg::Gpg};
use trust::{
    BreakGlass, CommitId, NAMESPACE_BREAK_GLASS, Seen, SignatureCache, Start, TrustFile, Verifiers, envelope,
    envelope_message, judge_break_glass, judge_with,
};

const FILE: &str = ".writ/keys/bob.asc";

/// Bob, whose primary key only certifies, and whose subkey signs.
struct Bob<'b> {
    gpg: Gpg<'b>,
    primary: String,
    subkey: String,
    certificate: Vec<u8>,
}

impl<'b> Bob<'b> {
    fn new(bench: &'b Bench) -> Self {
        Self::until(bench, "never")
    }

    /// Whose subkey ends then.
    fn until(bench: &'b Bench, expires: &str) -> Self {
        let gpg = Gpg::new(bench, "gpg");
        let primary = gpg.key("Bob <bob@example.com>", "ed25519", "cert", "never");
        let subkey = gpg.subkey(&primary, "ed25519", "sign", expires);
        let certificate = gpg.export(&primary);
        Self { gpg, primary, subkey, certificate }
    }

    fn sign(&self, message: &[u8]) -> String {
        String::from_utf8(self.gpg.sign(&self.subkey, &[], message)).unwrap()
    }

    /// The item of `keys` in the trust file, with more fields beside `openpgp`.
    fn key(&self, more: &str) -> String {
        let (fingerprint, sha256) = (&self.primary, Digest::of(&self.certificate));
        format!("{{openpgp: {{fingerprint: {fingerprint}, certFile: {FILE}, sha256: \"{sha256}\"}}{more}}}")
    }

    /// The trust file in which that is bob's key.
    fn policy(&self, version: u64, more: &str, edits: &[(&str, &str)]) -> String {
        let (ssh, pin) = (format!("{{ssh: \"{}\"}}", person("bob").public()), self.key(more));
        policy(version, &[&[(ssh.as_str(), pin.as_str())], edits].concat())
    }

    fn put(&self, tree: &mut Tree, text: &str) {
        put_policy(tree, text, &["alice", "dave"]);
        tree.insert(path(FILE), self.certificate.clone());
    }

    fn world(&self, more: &str, edits: &[(&str, &str)]) -> World {
        let mut tree = Tree::new();
        self.put(&mut tree, &self.policy(1, more, edits));
        tree.insert(path("apps/web.yaml"), config_map("web", 1).into_bytes());
        World::of(tree)
    }

    /// A commit of bob's that puts one file.
    fn commit(&self, world: &mut World, parent: CommitId, file: &str, text: &str) -> CommitId {
        let (mut tree, time) = (world.memory.tree(&parent), world.memory.time(&parent) + 60);
        tree.insert(path(file), text.as_bytes().to_vec());
        world.memory.store_signed(&[parent], tree, Some(|payload: &[u8]| self.sign(payload)), time)
    }

    /// A step of the root principals that brings this trust file.
    fn trust(&self, world: &mut World, parent: CommitId, text: &str) -> CommitId {
        let step = world.push(parent, Some("alice"), |tree| self.put(tree, text));
        assert_eq!(world.code(step), "ok");
        step
    }
}

fn revoking(key: &str, how: &str) -> String {
    format!("revoked: [{{key: \"{key}\", {how}, reason: stolen}}]")
}

/// What of the accepted head no longer holds; `holds` if it does.
fn broken(world: &World, start: &Start, head: CommitId) -> String {
    let judgement = world.judge(start, head);
    assert_eq!(code(&judgement), "ok");
    judgement.broken().map_or_else(|| "holds".to_owned(), |finding| format!("{} {}", finding.code.code, finding.found))
}

/// Also where the file that revokes pins it no longer: what it pinned is in the history.
#[test]
fn a_revocation_of_the_certificate_or_of_its_key_works_backwards() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let mut world = bob.world("", &[]);
    let start = world.introduction;
    let bobs = bob.commit(&mut world, start, "apps/web.yaml", &config_map("web", 2));
    assert_eq!(world.code(bobs), "ok");
    let carols = world.put(bobs, "carol", "apps/other.yaml", &config_map("other", 1));
    for key in [&bob.primary, &bob.subkey] {
        let hard = revoking(key, "kind: hard");
        let edits = [("revoked: []", hard.as_str())];
        for text in [bob.policy(2, "", &edits), policy(2, &edits)] {
            let revoked = bob.trust(&mut world, carols, &text);
            let expected = format!("apps/web.yaml (commit {:.12}: key {key} is revoked (stolen))", bobs.to_string());
            for start in [Start::Introduction, Start::Accepted(start)] {
                let found = broken(&world, &start, revoked);
                assert!(found.starts_with("W304") && found.contains(&expected), "{found}");
            }
            let anew = world.put(revoked, "carol", "apps/web.yaml", &config_map("web", 3));
            assert_eq!(broken(&world, &Start::Introduction, anew), "holds");
            let again = bob.commit(&mut world, revoked, "apps/web.yaml", &config_map("web", 4));
            assert_ne!(world.code(again), "ok");
        }
    }
    // A stranger's certificate takes nothing with it.
    let other = revoking(&bob.gpg.key("Eve", "ed25519", "sign", "never"), "kind: hard");
    let revoked = bob.trust(&mut world, carols, &bob.policy(2, "", &[("revoked: []", &other)]));
    assert_eq!(broken(&world, &Start::Introduction, revoked), "holds");
}

#[test]
fn a_soft_revocation_of_a_certificate_leaves_what_was_before_its_end() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let mut world = bob.world("", &[]);
    let start = world.introduction;
    let first = bob.commit(&mut world, start, "apps/a.txt", "1");
    let second = bob.commit(&mut world, first, "apps/b.txt", "1");
    let soft = |key: &str, after: CommitId| revoking(key, &format!("kind: soft, after: {after}"));
    for key in [&bob.primary, &bob.subkey] {
        let text = bob.policy(2, "", &[("revoked: []", &soft(key, second))]);
        let revoked = bob.trust(&mut world, second, &text);
        assert_eq!(broken(&world, &Start::Introduction, revoked), "holds");
        let later = bob.commit(&mut world, revoked, "apps/a.txt", "2");
        assert_eq!(world.code(later), "W304");
        let text = bob.policy(2, "", &[("revoked: []", &soft(key, first))]);
        let revoked = bob.trust(&mut world, second, &text);
        let found = broken(&world, &Start::Introduction, revoked);
        assert!(found.contains("apps/b.txt") && !found.contains("apps/a.txt"), "{found}");
    }
    // The harder of two decides, whichever is looked at first.
    let (primary, subkey) = (&bob.primary, &bob.subkey);
    for (one, other) in [(primary, subkey), (subkey, primary)] {
        let both = format!(
            "revoked: [{{key: \"{one}\", kind: soft, after: {second}}}, {{key: \"{other}\", kind: hard, reason: stolen}}]"
        );
        let revoked = bob.trust(&mut world, second, &bob.policy(2, "", &[("revoked: []", &both)]));
        let found = broken(&world, &Start::Introduction, revoked);
        assert!(found.contains("apps/a.txt") && found.contains("apps/b.txt"), "{found}");
    }
}

/// Carol merges what bob has made, which she may not do alone; bob merges what carol has made, which he may.
#[test]
fn merges_of_and_by_certificates_are_looked_at_as_those_of_keys() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let rule = "  - {name: web, paths: [\"web/**\"], anyOf: [{role: web, threshold: 1}]}\n  - {name: policies,";
    let edits = [
        ("ancestry: firstParent", "ancestry: firstParent, mergeCredit: transitive"),
        ("sre: [bob, carol]", "sre: [bob, carol], web: [bob, dave]"),
        ("  - {name: policies,", rule),
    ];
    let mut world = bob.world("", &edits);
    let start = world.introduction;
    let side = bob.commit(&mut world, start, "web/a.txt", "by bob");
    let main = world.put(start, "carol", "apps/b.txt", "by carol");
    let (mut tree, time) = (world.memory.tree(&main), world.memory.time(&main) + 60);
    tree.insert(path("web/a.txt"), b"by bob".to_vec());
    let by_carol = world.memory.store(&[main, side], tree, Some(&person("carol")), time);
    assert_eq!(world.code(by_carol), "ok");
    let hard = revoking(&bob.primary, "kind: hard");
    let text = bob.policy(2, "", &[&edits[..], &[("revoked: []", &hard)]].concat());
    let revoked = bob.trust(&mut world, by_carol, &text);
    let found = broken(&world, &Start::Introduction, revoked);
    assert!(found.contains("web/a.txt") && !found.contains("apps/b.txt"), "{found}");

    let side = world.put(start, "carol", "apps/a.txt", "by carol");
    let main = bob.commit(&mut world, start, "apps/b.txt", "by bob");
    let (mut tree, time) = (world.memory.tree(&main), world.memory.time(&main) + 60);
    tree.insert(path("apps/a.txt"), b"by carol".to_vec());
    let sign = Some(|payload: &[u8]| bob.sign(payload));
    let by_bob = world.memory.store_signed(&[main, side], tree, sign, time);
    assert_eq!(world.code(by_bob), "ok");
    let hard = revoking(&person("carol").fingerprint().to_string(), "kind: hard");
    let text = bob.policy(2, "", &[&edits[..], &[("revoked: []", &hard)]].concat());
    let revoked = bob.trust(&mut world, by_bob, &text);
    assert_eq!(broken(&world, &Start::Introduction, revoked), "holds");
}

const TWO: [(&str, &str); 2] =
    [("{role: security, threshold: 1}", "{role: security, threshold: 2}"), ("[alice, frank]", "[alice, bob, frank]")];

/// Who may order it has an OpenPGP key, and is told how to sign with that.
#[test]
fn an_order_that_lacks_somebody_says_how_he_signs() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let mut world = bob.world("", &[("root: [alice, dave]", "root: [alice, dave, bob]")]);
    let head = world.put(world.introduction, "alice", "apps/web.yaml", &config_map("web", 2));
    let order = break_glass_case::order(&world, head);
    let signatures = [person("alice").sign(NAMESPACE_BREAK_GLASS, &order.payload())];
    let asked = BreakGlass {
        order: &order,
        signatures: &signatures,
        source: "shop/config",
        accepted: &world.introduction,
        head: &head,
        seen: Seen { first: at(world.now), now: at(world.now) },
    };
    let refused = judge_break_glass(&world.memory, &world.root, &asked, Verifiers::default()).unwrap_err();
    let by = "# by 1 more of bob, dave; or --openpgp FINGERPRINT (bob)";
    assert_eq!(refused.fix, format!("writ break-glass --add FILE --key KEY_FILE {by}"));
}

/// The verdict on alice's change of a policy that takes two, with an approval that is signed like this.
fn approved(bob: &Bob<'_>, edits: &[(&str, &str)], sign: impl FnOnce(&[u8]) -> String) -> (&'static str, String) {
    let mut world = bob.world("", &[&TWO, edits].concat());
    let step = approve(&mut world, sign);
    let judgement = world.judge(&Start::Introduction, step);
    (code(&judgement), judgement.refusal().map_or_else(String::new, |finding| finding.found.to_string()))
}

/// Alice's change of a policy, and bob's approval beside it.
fn approve(world: &mut World, sign: impl FnOnce(&[u8]) -> String) -> CommitId {
    let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
    let approval = world.approval(step);
    let payload = approval.payload();
    let text = envelope(&payload, &[("bob", &sign(&envelope_message(&payload)))]);
    world.memory.notes.insert(step, vec![text.into_bytes()]);
    step
}

#[test]
fn approvals_are_signed_by_certificates() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    assert_eq!(approved(&bob, &[], |message| bob.sign(message)), ("ok", String::new()));
    // The plain payload is not what is signed, and a signature over something else is none.
    let (code, found) = approved(&bob, &[], |_message| bob.sign(b"{}"));
    assert_eq!(code, "W303");
    assert!(found.ends_with(&format!("the signature by {} does not fit these bytes", bob.subkey)), "{found}");
    // A certificate of nobody, though it says that it is bob's.
    let other = bob.gpg.key("Bob <bob@example.com> (new)", "ed25519", "sign", "never");
    let by_other = |message: &[u8]| String::from_utf8(bob.gpg.sign(&other, &[], message)).unwrap();
    let (code, found) = approved(&bob, &[], by_other);
    assert_eq!(code, "W303");
    assert!(found.ends_with("which belongs to no certificate"), "{found}");
    // Over a digest that does not count, and by a key that had ended when the approval was looked at.
    let weak =
        |message: &[u8]| String::from_utf8(bob.gpg.sign(&bob.subkey, &["--digest-algo", "SHA1"], message)).unwrap();
    let (code, found) = approved(&bob, &[], weak);
    assert!(code == "W303" && found.ends_with("a signature over SHA-1"), "{code} {found}");
    let elsewhere = Bench::new();
    let ended = Bob::until(&elsewhere, "2025-12-01");
    let early =
        |message: &[u8]| String::from_utf8(ended.gpg.sign_at("20251101T000000", &ended.subkey, &[], message)).unwrap();
    let (code, found) = approved(&ended, &[], early);
    assert!(code == "W303" && found.contains("ended 2025-12-01"), "{code} {found}");
    // Revoked by the trust file.
    for key in [&bob.primary, &bob.subkey] {
        let hard = revoking(key, "kind: hard");
        let (code, found) = approved(&bob, &[("revoked: []", &hard)], |message| bob.sign(message));
        assert_eq!(code, "W303");
        assert!(found.ends_with(&format!("signed with key {key}, which is revoked (stolen)")), "{found}");
    }
}

/// The maths is remembered, of commits and of approvals; whether the key is in force is not.
#[test]
fn a_second_judgement_does_no_maths_and_asks_again_for_the_times() {
    let bench = Bench::new();
    let bob = Bob::until(&bench, "2026-01-03");
    let mut world = bob.world("", &TWO);
    let judge = |world: &World, start: &Start, head: CommitId, cache: &SignatureCache| {
        let before = cache.verified();
        let judgement = judge_with(&world.memory, &world.root, start, &head, at(world.now), Some(cache));
        assert_eq!(judgement, world.judge(start, head));
        (code(&judgement), cache.verified() - before)
    };
    world.now = memory::BASE + 3_600;
    let start = Start::Accepted(world.introduction);
    let cache = SignatureCache::default();
    let (approved, introduction) = (approve(&mut world, |message| bob.sign(message)), world.introduction);
    assert_eq!(judge(&world, &start, approved, &cache), ("ok", 2), "alice's commit and bob's approval");
    assert_eq!(judge(&world, &start, approved, &cache), ("ok", 0));
    let commit = bob.commit(&mut world, introduction, "apps/web.yaml", &config_map("web", 2));
    assert_eq!(judge(&world, &start, commit, &cache), ("ok", 1));
    assert_eq!(judge(&world, &start, commit, &cache), ("ok", 0));
    // One signature over what another one is good for.
    let forged = bob.sign(b"something else");
    let raw = String::from_utf8(world.memory.raw(&commit).to_vec()).unwrap();
    let (before, after) = (raw.find("gpgsig ").unwrap(), raw.find("\n\n").unwrap());
    let header = format!("gpgsig {}", forged.trim_end().replace('\n', "\n "));
    let (head, rest) = (raw.split_at(before).0, raw.split_at(after).1);
    let raw = [head, &header, rest].concat().into_bytes();
    let (tree, time) = (world.memory.tree(&commit), world.memory.time(&commit));
    let forged = world.memory.plant(raw, &[introduction], tree, time);
    assert_eq!(judge(&world, &start, forged, &cache), ("W201", 1));
    // The subkey has ended.
    world.now = memory::BASE + 10 * 86_400;
    assert_eq!(judge(&world, &start, commit, &cache), ("W204", 0));
    assert_eq!(judge(&world, &start, approved, &cache), ("W303", 0));
    // Until then it is the same again.
    world.now = memory::BASE + 3_600;
    assert_eq!(judge(&world, &start, commit, &cache), ("ok", 0));
}

/// Whoever makes a commit does not vouch for what is in it, where somebody else is asked for.
#[test]
fn the_author_of_a_trust_file_is_the_holder_of_the_certificate() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let edits = [
        ("root: [alice, dave]", "root: [alice, bob, dave]"),
        ("{role: root, threshold: 2}", "{role: root, threshold: 1, distinctFromAuthor: true}"),
    ];
    let text = bob.policy(2, "", &edits);
    let judged = |by_bob: bool, others: &[&str]| {
        let mut tree = Tree::new();
        bob.put(&mut tree, &bob.policy(1, "", &edits));
        let mut world = World::of(tree);
        let (mut tree, start) = (world.memory.tree(&world.introduction), world.introduction);
        put_policy(&mut tree, &text, others);
        tree.insert(path(FILE), bob.certificate.clone());
        if by_bob {
            tree.insert(path(".writ/trust.yaml.sigs/bob.asc"), bob.sign(text.as_bytes()).into_bytes());
        }
        let sign = Some(|payload: &[u8]| bob.sign(payload));
        let commit = world.memory.store_signed(&[start], tree, sign, memory::BASE + 60);
        world.code(commit)
    };
    assert_eq!(judged(true, &[]), "W504");
    assert_eq!(judged(true, &["alice"]), "ok");
    assert_eq!(judged(false, &["alice"]), "ok");
}

#[test]
fn thresholds_are_within_reach_of_people_with_certificates_and_of_no_forge() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let parsed = |edits: &[(&str, &str)]| {
        let all = [&[("root: [alice, dave]", "root: [alice, bob]")], edits].concat();
        let findings = TrustFile::parse(bob.policy(1, "", &all).as_bytes()).err().unwrap_or_default();
        findings.first().map_or("ok", |finding| finding.code.code)
    };
    assert_eq!(parsed(&[]), "ok");
    assert_eq!(parsed(&[("bob: {kind: human", "bob: {kind: forge")]), "W506");
    let hard = revoking(&bob.primary, "kind: hard");
    assert_eq!(parsed(&[("revoked: []", &hard)]), "W506");
    // Somebody else than the two who count has to make the commit: by whatever key.
    let distinct = ("{role: root, threshold: 2}", "{role: root, threshold: 2, distinctFromAuthor: true}");
    let alone = ("root: [alice, bob]", "root: [alice, dave]");
    assert_eq!(parsed(&[alone, distinct]), "ok");
}

/// `notBefore` and `notAfter` beside `openpgp`.
#[test]
fn windows_of_pinned_certificates() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let judged = |more: &str| {
        let mut world = bob.world(more, &[]);
        let start = world.introduction;
        let commit = bob.commit(&mut world, start, "apps/web.yaml", &config_map("web", 2));
        world.code(commit)
    };
    // gpg signs at midnight, the commit is a minute later.
    assert_eq!(judged(", notBefore: 2026-01-01T00:00:00Z, notAfter: 2026-01-01T00:01:00Z"), "ok");
    assert_eq!(judged(", notBefore: 2026-01-01T00:00:01Z"), "W204");
    assert_eq!(judged(", notAfter: 2026-01-01T00:00:59Z"), "W204");
    let wrong = |more: &str| {
        let findings = TrustFile::parse(bob.policy(1, more, &[]).as_bytes()).unwrap_err();
        findings.iter().map(|finding| finding.found.to_string()).collect::<Vec<_>>().join("; ")
    };
    assert!(wrong(", notBefore: 2026-01-02, notAfter: 2026-01-01").contains("ends before it begins"));
    assert!(wrong(", userPresence: required").contains("userPresence is set for a key of type openpgp"));
}

/// A tag by gpg as the tracked ref: by a key in force of somebody who may release.
#[test]
fn a_tag_that_gpg_signs_is_judged_like_any_other() {
    let bench = Bench::new();
    let bob = Bob::new(&bench);
    let rule = "  - {name: tags, paths: [\"git:refs/tags/**\"], anyOf: [{role: sre, threshold: 1}]}\nhistory: {";
    let tracked = ("ref: refs/heads/main", "ref: refs/tags/live");
    let mut world = bob.world("", &[tracked, ("history: {", rule)]);
    world.root.r#ref = "refs/tags/live".to_owned();
    let start = world.introduction;
    let commit = world.put(start, "carol", "apps/web.yaml", &config_map("web", 2));
    let tag = |world: &mut World, message: &str, sign: &dyn Fn(&[u8]) -> String| {
        let payload = format!(
            "object {commit}\ntype commit\ntag live\ntagger B <b@example.com> {} +0000\n\n{message}\n",
            memory::BASE + 120
        );
        let signature = sign(payload.as_bytes());
        world.memory.plant_tag(format!("{payload}{signature}").into_bytes(), commit)
    };
    let judged =
        |world: &World, head| trust::judge(&world.memory, &world.root, &Start::Introduction, head, at(world.now));
    let good = tag(&mut world, "release", &|payload| bob.sign(payload));
    let judgement = judged(&world, good);
    assert_eq!(judgement.refusal(), None);
    assert_eq!(judgement.tag().unwrap().signer.as_ref().unwrap().principal, "bob");
    let forged = tag(&mut world, "another", &|_payload| bob.sign(b"something else"));
    assert_eq!(judged(&world, forged).refusal().unwrap().code.code, "W201");
    let stranger = bob.gpg.key("Mallory <m@example.com>", "ed25519", "sign", "never");
    let foreign =
        tag(&mut world, "release", &|payload| String::from_utf8(bob.gpg.sign(&stranger, &[], payload)).unwrap());
    let judgement = judged(&world, foreign);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W202");
    assert!(finding.fix.starts_with("git -c gpg.format=openpgp tag --sign --force -m live live"), "{finding}");
}
