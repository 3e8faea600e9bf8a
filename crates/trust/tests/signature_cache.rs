//! Signatures that are remembered: a second judgement costs none, and ends as a first one would.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, at, code, config_map, path, person, policy, put_policy};
use trust::{
    Approval, CommitId, CommitObject, Decision, Judgement, NAMESPACE_APPROVAL, SignatureCache, Start, envelope,
    envelope_message, judge_with,
};

fn judge(world: &World, cache: &SignatureCache, start: &Start, head: CommitId) -> Judgement {
    judge_with(&world.memory, &world.root, start, &head, at(world.now), Some(cache))
}

/// The code from the introduction, and how many signatures it took. Without memory it is the same code.
fn code_and_cost(world: &World, cache: &SignatureCache, head: CommitId) -> (&'static str, u64) {
    let before = cache.verified();
    let judgement = judge(world, cache, &Start::Introduction, head);
    assert_eq!(judgement, world.judge(&Start::Introduction, head));
    (code(&judgement), cache.verified() - before)
}

/// A history with everything that is signed: commits, side commits, two trust files, an approval.
fn history() -> (World, CommitId) {
    let two = [
        ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
        ("ancestry: firstParent", "ancestry: allSigned, mergeCredit: transitive"),
    ];
    let mut world = World::with(&policy(1, &two));
    let main = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let side = world.put(world.introduction, "carol", "apps/other.yaml", &config_map("other", 1));
    let mut tree = world.memory.tree(&main);
    tree.extend(world.memory.tree(&side).into_iter().filter(|(file, _)| *file == path("apps/other.yaml")));
    let time = world.memory.time(&main) + 60;
    let merge = world.memory.store(&[main, side], tree, Some(&person("bob")), time);
    let text = policy(2, &two);
    let trust = world.push(merge, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    let step = world.put(trust, "alice", "policies/limits.txt", "1");
    let object = CommitObject::parse(step, world.memory.raw(&step)).unwrap();
    let payload = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from: trust,
        to_tree: object.tree,
        policy_version: 2,
        expires: at(world.now + 3_600),
        decision: Decision::Approve,
        skipped: Vec::new(),
    }
    .payload();
    let signature = person("frank").sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(step, vec![envelope(&payload, &[("frank", &signature)]).into_bytes()]);
    (world, step)
}

#[test]
fn a_warm_judgement_costs_no_signature() {
    let (world, head) = history();
    let cache = SignatureCache::default();
    let (code, cost) = code_and_cost(&world, &cache, head);
    assert_eq!(code, "ok");
    // Six commits; two trust files signed by two people, each under two settings: its own, and those of the TrustRoot or of the
    // policy before it; an approval.
    assert_eq!(cost, 6 + 2 * 2 * 2 + 1);
    assert_eq!(code_and_cost(&world, &cache, head), ("ok", 0));
    // From any start, too.
    let resumed = judge(&world, &cache, &Start::Accepted(world.introduction), head);
    assert_eq!(memory::code(&resumed), "ok");
    assert_eq!(code_and_cost(&world, &cache, head), ("ok", 0));
}

#[test]
fn under_another_trust_file_everything_is_verified_anew() {
    let mut world = World::new();
    let first = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let cache = SignatureCache::default();
    assert_eq!(code_and_cost(&world, &cache, first).0, "ok");
    // The same commit, brought along by a merge, is judged by the policy of another mainline.
    let loose = policy(2, &[("history: {ancestry: firstParent}", "history: {ancestry: allSigned}")]);
    let other = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &loose, &["alice", "dave"]));
    let mut tree = world.memory.tree(&other);
    tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
    let time = world.memory.time(&other) + 60;
    let merge = world.memory.store(&[other, first], tree, Some(&person("bob")), time);
    let before = cache.verified();
    assert_eq!(code(&judge(&world, &cache, &Start::Accepted(other), merge)), "ok");
    assert_eq!(cache.verified() - before, 2, "the merge, and bob's commit again");
}

#[test]
fn a_bad_signature_over_a_known_payload_is_refused() {
    let mut world = World::new();
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let other = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 3));
    let cache = SignatureCache::default();
    for commit in [good, other] {
        assert_eq!(code_and_cost(&world, &cache, commit).0, "ok");
    }
    // The payload of one with the signature of the other; both were good.
    let header = |commit: &CommitId| {
        let raw = String::from_utf8(world.memory.raw(commit).to_vec()).unwrap();
        let from = raw.find("gpgsig ").unwrap();
        let to = from + raw.get(from..).unwrap().find("\n\n").unwrap();
        raw.get(from..to).unwrap().to_owned()
    };
    let raw = String::from_utf8(world.memory.raw(&good).to_vec()).unwrap().replace(&header(&good), &header(&other));
    let (tree, time) = (world.memory.tree(&good), world.memory.time(&good));
    let forged = world.memory.plant(raw.into_bytes(), &[world.introduction], tree, time);
    assert_eq!(world.memory.payload(&forged), world.memory.payload(&good));
    assert_eq!(code_and_cost(&world, &cache, forged), ("W201", 1));
    assert_eq!(code_and_cost(&world, &cache, forged), ("W201", 1));
}

#[test]
fn time_and_revocation_are_judged_whatever_is_remembered() {
    let bob = person("bob").public();
    let key = format!("{{ssh: \"{bob}\"}}");
    let mut world = World::with(&policy(1, &[(&key, &format!("{{ssh: \"{bob}\", notAfter: 2026-01-02}}"))]));
    let step = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let cache = SignatureCache::default();
    let start = Start::Accepted(world.introduction);
    world.now = memory::BASE + 3_600;
    assert_eq!(code(&judge(&world, &cache, &start, step)), "ok");
    let verified = cache.verified();
    world.now = memory::BASE + 10 * 86_400;
    assert_eq!(code(&judge(&world, &cache, &start, step)), "W204");
    assert_eq!(cache.verified(), verified);
    // A key that is revoked by now.
    let mut world = World::new();
    let step = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(code_and_cost(&world, &cache, step).0, "ok");
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", person("bob").fingerprint());
    let text = policy(2, &[("revoked: []", &revoked)]);
    let trust = world.push(step, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    for _ in 0..2 {
        let judgement = judge(&world, &cache, &Start::Introduction, trust);
        assert_eq!(judgement.broken().map(|finding| finding.code.code), Some("W304"));
        assert_eq!(judgement, world.judge(&Start::Introduction, trust));
    }
}
