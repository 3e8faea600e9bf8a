//! Keyless keys of principals: the trust file, commits that they sign, what a verifier and its absence mean. The verifier
//! here is a stand-in; the real one is that of the crate `evidence`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod stand_in;

use manifest::Digest;
use memory::{BASE, Tree, World, at, code, config_map, path, person, policy, put_policy};
use stand_in::{BOB, GOOD, ISSUER, OTHER, StandIn, armor, with_bob, world};
use trust::{
    Approval, CommitId, CommitObject, Decision, KeyFingerprint, KeylessIdentity, KeylessVerifier, NAMESPACE_APPROVAL,
    SignatureCache, Start, TrustFile, Verifiers, envelope, envelope_message, judge_with, trust_digest,
};

/// A commit on top of another, signed as an account a minute later.
fn by(world: &mut World, parent: CommitId, (issuer, identity): (&str, &str), wrong: &str, file: &str) -> CommitId {
    let (mut tree, time) = (world.memory.tree(&parent), world.memory.time(&parent) + 60);
    tree.insert(path(file), config_map("web", u32::try_from(time - BASE).unwrap()).into_bytes());
    let sign = |payload: &[u8]| armor(&format!("{issuer}\n{identity}\n{time}\n{}\n{wrong}\n", Digest::of(payload)));
    world.memory.store_signed(&[parent], tree, Some(sign), time)
}

fn refusal(world: &World, head: CommitId) -> String {
    let judgement = world.judge(&Start::Introduction, head);
    judgement.refusal().map_or_else(|| "ok".to_owned(), |one| format!("{}: {} ({})", one.code.code, one.found, one.fix))
}

#[test]
fn a_principal_signs_commits_as_an_account() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let good = by(&mut world, start, (ISSUER, BOB), "", "apps/web.yaml");
    let judgement = world.judge(&Start::Introduction, good);
    assert_eq!(judgement.refusal(), None);
    let signer = judgement.accepted().unwrap().signer().unwrap();
    let account = KeylessIdentity { issuer: ISSUER.to_owned(), identity: BOB.to_owned() };
    assert_eq!((signer.principal.as_str(), signer.identity.as_deref()), ("bob", Some(&account)));
    assert_eq!(signer.key.to_string(), account.fingerprint().to_string());
    assert_eq!(signer.key.to_string().parse(), Ok(KeyFingerprint::Keyless(account.fingerprint())));
    // others' rules stay others'
    let outside = by(&mut world, start, (ISSUER, BOB), "", "policies/a.txt");
    assert_eq!(world.code(outside), "W302");
}

#[test]
fn what_is_wrong_with_a_keyless_signature_is_said_by_code() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let again = "git -c gpg.format=x509 -c gpg.x509.program=gitsign -c gitsign.rekorMode=offline commit --amend --no-edit --gpg-sign";
    let bob = (ISSUER, BOB);
    for (signer, wrong, expected) in [
        (
            bob,
            "online",
            format!("W205: no log entry ({again} # and from now on: git config gitsign.rekorMode offline)"),
        ),
        (bob, "chain", format!("W206: another root ({again} # sign with gitsign as one of bob)")),
        (bob, "rsa", "W203: an RSA key".to_owned()),
        (
            bob,
            "smime",
            "W208: S/MIME (git commit --amend --no-edit --gpg-sign # gpg.format as your key: ssh (alice, ".to_owned(),
        ),
        // letter by letter
        (
            (ISSUER, "Bob@example.com"),
            "",
            "W206: signed as Bob@example.com of https://accounts.example.com, which belongs to no principal".to_owned(),
        ),
        (
            ("https://accounts.example.com/", BOB),
            "",
            "W206: signed as bob@example.com of https://accounts.example.com/, ".to_owned(),
        ),
    ] {
        let commit = by(&mut world, start, signer, wrong, "apps/web.yaml");
        let found = refusal(&world, commit);
        assert!(found.starts_with(&expected), "{found}");
    }
    // the signature of another commit
    let good = by(&mut world, start, bob, "", "apps/web.yaml");
    let raw = String::from_utf8(world.memory.raw(&good).to_vec()).unwrap().replace("\nchange ", "\nchanged ");
    let (tree, time) = (world.memory.tree(&good), world.memory.time(&good));
    let moved = world.memory.plant(raw.into_bytes(), &[start], tree, time);
    assert!(refusal(&world, moved).starts_with("W201: the signature does not fit these bytes: other bytes"));
}

#[test]
fn without_a_verifier_or_a_keyless_key_nothing_counts() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let commit = by(&mut world, start, (ISSUER, BOB), "", "apps/web.yaml");
    assert_eq!(world.code(commit), "ok");
    world.keyless = None;
    assert!(refusal(&world, commit).starts_with("W208: a keyless signature, which nothing here verifies"));
    let mut plain = World::new();
    plain.keyless = Some(&GOOD);
    let start = plain.introduction;
    let commit = by(&mut plain, start, (ISSUER, BOB), "", "apps/web.yaml");
    assert!(refusal(&plain, commit).starts_with("W208: an X.509 signature, and no principal has a keyless key"));
}

#[test]
fn the_time_of_the_log_counts_as_well() {
    let mut world = world(", notBefore: 2026-01-01T00:00:30Z, notAfter: 2026-01-01T01:00:00Z", &[]);
    let start = world.introduction;
    let sign = |world: &mut World, time: i64| {
        let mut tree = world.memory.tree(&start);
        tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
        let sign = |payload: &[u8]| armor(&format!("{ISSUER}\n{BOB}\n{time}\n{}\n\n", Digest::of(payload)));
        world.memory.store_signed(&[start], tree, Some(sign), BASE + 60)
    };
    let good = sign(&mut world, BASE + 61);
    assert_eq!(world.code(good), "ok");
    let late = sign(&mut world, BASE + 3_601);
    assert!(
        refusal(&world, late)
            .starts_with("W204: key bob@example.com of https://accounts.example.com of bob ended 2026-01-01T01:00:00Z")
    );
    let early = sign(&mut world, BASE);
    assert!(refusal(&world, early).starts_with("W204: "));
}

#[test]
fn a_revoked_account_is_refused_and_works_backwards() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let bobs = by(&mut world, start, (ISSUER, BOB), "", "apps/web.yaml");
    let account = KeylessIdentity { issuer: ISSUER.to_owned(), identity: BOB.to_owned() };
    let revoking = format!("revoked: [{{key: \"{}\", kind: hard, reason: taken over}}]", account.fingerprint());
    let text = with_bob(2, "", &[("revoked: []", &revoking)]);
    let revoked = world.push(bobs, Some("alice"), |tree: &mut Tree| put_policy(tree, &text, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, revoked);
    assert_eq!(code(&judgement), "ok");
    let broken = judgement.broken().unwrap();
    assert_eq!(broken.code.code, "W304");
    assert!(
        broken.found.contains(&format!("key {} is revoked (taken over)", account.fingerprint())),
        "{}",
        broken.found
    );
    let later = by(&mut world, revoked, (ISSUER, BOB), "", "apps/web.yaml");
    assert!(
        refusal(&world, later).starts_with("W304: signed as bob@example.com of https://accounts.example.com (keyless:")
    );
}

/// The verdict on a tag of the introduction that bob's account signed.
fn tag(world: &mut World, wrong: &str, keyless: Option<&dyn KeylessVerifier>) -> String {
    let time = world.now;
    let payload = format!(
        "object {}\ntype commit\ntag v1\ntagger A <a@example.com> {time} +0000\n\nrelease\n",
        world.introduction
    );
    let armour = armor(&format!("{ISSUER}\n{BOB}\n{time}\n{}\n{wrong}\n", Digest::of(payload.as_bytes())));
    let head = world.memory.plant_tag(format!("{payload}{armour}").into_bytes(), world.introduction);
    let with = Verifiers { known: None, keyless };
    let judgement = judge_with(&world.memory, &world.root, &Start::Introduction, head, at(world.now), with);
    match judgement.refusal() {
        None => format!("ok: {}", judgement.tag().unwrap().signer.as_ref().unwrap().principal),
        Some(one) => format!("{}: {} ({})", one.code.code, one.found, one.fix),
    }
}

#[test]
fn an_account_signs_tags_as_it_signs_commits() {
    let rule = "  - {name: releases, paths: [\"git:refs/tags/**\"], anyOf: [{role: sre, threshold: 1}]}\n";
    let history = "history: {ancestry: firstParent}";
    let edits = [("ref: refs/heads/main", "ref: refs/tags/v1"), (history, &format!("{rule}{history}"))];
    let mut world = World::with(&with_bob(1, "", &edits));
    world.root.r#ref = "refs/tags/v1".to_owned();
    assert_eq!(tag(&mut world, "", Some(&GOOD)), "ok: bob");
    let again =
        "git -c gpg.format=x509 -c gpg.x509.program=gitsign -c gitsign.rekorMode=offline tag --sign --force -m v1 v1 ";
    for (wrong, expected) in
        [("online", "W205: no log entry"), ("chain", "W206: another root"), ("rsa", "W203: an RSA key")]
    {
        let verdict = tag(&mut world, wrong, Some(&GOOD));
        assert!(verdict.starts_with(expected) && verdict.contains(again), "{verdict}");
        assert!(verdict.ends_with("sign with gitsign as one of bob)"), "{verdict}");
    }
    assert!(tag(&mut world, "", None).starts_with("W208: a keyless signature, which nothing here verifies"));
    let mut plain = World::with(&policy(1, &edits));
    plain.root.r#ref = "refs/tags/v1".to_owned();
    let verdict = tag(&mut plain, "", Some(&GOOD));
    assert!(verdict.starts_with("W208: an X.509 signature, and no principal has a keyless key"), "{verdict}");
}

#[test]
fn who_signed_a_commit_can_be_asked() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let file = TrustFile::parse(with_bob(1, "", &[]).as_bytes()).unwrap();
    let with = |keyless| Verifiers { known: None, keyless };
    for (account, wrong, expected) in
        [((ISSUER, BOB), "", Some("bob")), ((ISSUER, BOB), "chain", None), (("https://other", BOB), "", None)]
    {
        let commit = by(&mut world, start, account, wrong, "apps/web.yaml");
        let object = CommitObject::parse(commit, world.memory.raw(&commit)).unwrap();
        assert_eq!(file.signer_of_commit(&object, with(Some(&GOOD))), expected);
        assert_eq!(file.signer_of_commit(&object, with(None)), None);
    }
}

/// What falls with a withdrawn approval is what the signer may not change alone, so who that is must be known.
#[test]
fn a_withdrawn_approval_takes_no_more_than_the_account_lacks() {
    let rule = "  - {name: pairs, paths: [\"db/**\"], anyOf: [{role: sre, threshold: 2}]}\n";
    let history = "history: {ancestry: firstParent}";
    let pairs = format!("{rule}{history}");
    let mut world = world("", &[(history, &pairs)]);
    let (start, time) = (world.introduction, BASE + 60);
    let mut tree = world.memory.tree(&start);
    for file in ["apps/web.yaml", "db/web.yaml"] {
        tree.insert(path(file), config_map("web", 2).into_bytes());
    }
    let sign = |payload: &[u8]| armor(&format!("{ISSUER}\n{BOB}\n{time}\n{}\n\n", Digest::of(payload)));
    let step = world.memory.store_signed(&[start], tree, Some(sign), time);
    let approval = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from: start,
        to_tree: CommitObject::parse(step, world.memory.raw(&step)).unwrap().tree,
        policy_version: 1,
        expires: at(world.now + 3_600),
        decision: Decision::Approve,
        skipped: Vec::new(),
    };
    let payload = approval.payload();
    let signature = person("carol").sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.insert(step, vec![envelope(&payload, &[("carol", &signature)]).into_bytes()]);
    assert_eq!(world.code(step), "ok");
    let revoking = format!("revoked: [{{key: \"{}\", kind: hard}}]", person("carol").fingerprint());
    let more = ("sre: [bob, carol]", "sre: [bob, carol, frank]");
    let text = with_bob(2, "", &[(history, &pairs), more, ("revoked: []", &revoking)]);
    let revoked = world.push(step, Some("alice"), |tree: &mut Tree| put_policy(tree, &text, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, revoked);
    assert_eq!(code(&judgement), "ok");
    let found = &judgement.broken().unwrap().found;
    assert!(found.contains("db/web.yaml") && !found.contains("apps/web.yaml"), "{found}");
}

#[test]
fn another_trust_root_is_another_trust_digest_where_it_decides() {
    let world = World::new();
    let digest = |text: &str, verifier: Option<&'static dyn KeylessVerifier>| {
        trust_digest(&world.root, &TrustFile::parse(text.as_bytes()).unwrap(), verifier.map(KeylessVerifier::basis))
    };
    let text = with_bob(1, "", &[]);
    assert_ne!(digest(&text, Some(&GOOD)), digest(&text, Some(&OTHER)));
    assert_ne!(digest(&text, Some(&GOOD)), digest(&text, None));
    let plain = policy(1, &[]);
    assert_eq!(digest(&plain, Some(&GOOD)), digest(&plain, None));
}

#[test]
fn what_was_verified_is_known_under_the_same_trust_root_alone() {
    let mut world = world("", &[]);
    let start = world.introduction;
    let good = by(&mut world, start, (ISSUER, BOB), "", "apps/web.yaml");
    let bad = by(&mut world, good, (ISSUER, BOB), "chain", "apps/web.yaml");
    let cache = SignatureCache::default();
    let judge = |keyless: &'static StandIn, head| {
        let (before, with) = (cache.verified(), Verifiers { known: Some(&cache), keyless: Some(keyless) });
        let verdict = judge_with(&world.memory, &world.root, &Start::Accepted(start), &head, at(world.now), with);
        (code(&verdict), cache.verified() - before)
    };
    assert_eq!(judge(&GOOD, good), ("ok", 1));
    assert_eq!(judge(&GOOD, good), ("ok", 0));
    assert_eq!(judge(&OTHER, good), ("ok", 1));
    assert_eq!(judge(&GOOD, bad), ("W206", 1));
    assert_eq!(judge(&GOOD, bad), ("W206", 1), "what was refused is not remembered");
}

#[test]
fn mistakes_have_a_line_and_a_column() {
    let ssh = format!("{{ssh: \"{}\"}}", person("bob").public());
    let mistakes = |item: &str, edits: &[(&str, &str)]| -> Vec<String> {
        let text = policy(1, &[&[(ssh.as_str(), item)], edits].concat());
        let Err(findings) = TrustFile::parse(text.as_bytes()) else { return Vec::new() };
        findings.iter().map(|finding| format!("{} {}", finding.subject, finding.found)).collect()
    };
    let good = format!("{{keyless: {{issuer: \"{ISSUER}\", identity: {BOB}}}}}");
    assert_eq!(mistakes(&good, &[]), [] as [&str; 0]);
    let long = format!("{{keyless: {{issuer: \"{ISSUER}\", identity: {}}}}}", "x".repeat(1025));
    for (item, place, expected) in [
        ("{keyless: {issuer: \"https://a.example\"}}", "9:39", "a key of principal bob has no identity"),
        ("{keyless: {identity: a}}", "9:39", "a key of principal bob has no issuer"),
        (
            "{keyless: {issuer: \"http://a.example\", identity: a}}",
            "9:48",
            "issuer \"http://a.example\" in a key of principal bob",
        ),
        ("{keyless: {issuer: \"https://\", identity: a}}", "9:48", "issuer \"https://\" in a key of principal bob"),
        (
            "{keyless: {issuer: \"https://*.example\", identity: a}}",
            "9:48",
            "issuer \"https://*.example\" in a key of principal bob",
        ),
        (
            "{keyless: {issuer: \"https://a.example\", identity: \"*@a.example\"}}",
            "9:79",
            "identity \"*@a.example\" in a key of principal bob",
        ),
        (
            "{keyless: {issuer: \"https://a.example\", identity: a, pattern: b}}",
            "9:82",
            "a key of principal bob has the unknown field \"pattern\"",
        ),
        (
            "{keyless: {issuer: \"https://a.example\", identity: a}, ssh: x}",
            "9:29",
            "a key of principal bob is of 2 formats",
        ),
        (
            "{keyless: {issuer: \"https://a.example\", identity: a}, userPresence: required}",
            "9:97",
            "userPresence is set for a key of type keyless, which proves nothing about its user",
        ),
        (long.as_str(), "9:", "identity \"xxxx"),
    ] {
        let found = mistakes(item, &[]);
        let hit =
            found.iter().any(|one| one.starts_with(&format!(".writ/trust.yaml:{place}")) && one.contains(expected));
        assert!(hit, "{item}: {found:#?}");
    }
    // the account of somebody else
    let carol = format!("{{ssh: \"{}\"}}", person("carol").public());
    let found = mistakes(&good, &[(carol.as_str(), good.as_str())]);
    assert!(found.iter().any(|one| one.contains("of principal carol is there already, for bob")), "{found:#?}");
    // not allowed
    let allowed = mistakes(&good, &[("revoked: []", "revoked: []\ncrypto: {allow: [ed25519]}")]);
    assert!(allowed.iter().any(|one| one.contains("a key of principal bob is keyless, which `crypto` does not allow")));
    let allowed = mistakes(&good, &[("revoked: []", "revoked: []\ncrypto: {allow: [ed25519, gitsign-offline]}")]);
    assert_eq!(allowed, [] as [&str; 0]);
}

/// Approvals and trust files are signed with other keys: of those who have accounts alone, one counts, as the author.
#[test]
fn accounts_reach_thresholds_as_keys_do() {
    let account = |name: &str| format!("{{keyless: {{issuer: \"{ISSUER}\", identity: {name}@example.com}}}}");
    let ssh = |name: &str| format!("{{ssh: \"{}\"}}", person(name).public());
    let (bob, carol, bobs, carols) = (ssh("bob"), ssh("carol"), account("bob"), account("carol"));
    let accounts = [(bob.as_str(), bobs.as_str()), (carol.as_str(), carols.as_str())];
    let codes = |accounts: &[(&str, &str)], item: &str| -> Vec<&'static str> {
        let item = format!("{{role: sre, {item}}}");
        let text = policy(1, &[accounts, &[("{role: sre, threshold: 1}", item.as_str())]].concat());
        TrustFile::parse(text.as_bytes()).err().unwrap_or_default().iter().map(|finding| finding.code.code).collect()
    };
    let none = [] as [&str; 0];
    assert_eq!(codes(&accounts, "threshold: 1"), none);
    assert_eq!(codes(&accounts, "threshold: 2"), none);
    assert_eq!(codes(&accounts, "threshold: 3"), ["W506"]);
    assert_eq!(codes(&accounts[..1], "threshold: 2"), none);
    assert_eq!(codes(&accounts, "threshold: 1, distinctFromAuthor: true"), none);
    assert_eq!(codes(&accounts[..1], "threshold: 1, distinctFromAuthor: true"), none);
}
