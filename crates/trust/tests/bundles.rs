//! What accounts sign in Sigstore bundles: approvals, heartbeats, orders and trust files. The verifier is a stand-in.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the modules of fixtures are shared")]

mod memory;
mod stand_in;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Digest;
use memory::{BASE, World, at, config_map, path, policy, put_policy};
use serde_json::json;
use stand_in::{BOB, GOOD, ISSUER, with_bob, world};
use trust::{
    BUNDLE_TYPE, CommitId, Heartbeat, KeylessIdentity, KeylessVerifier, MAX_BUNDLE_BYTES, OrderKind, PAYLOAD_TYPE,
    Rollback, Seen, SignedOrder, Start, TrustFile, Verifiers, Waivers, hear, rollback_signers,
};

/// A bundle of an account over a message, as the stand-in reads it.
fn bundle(message: &[u8], (issuer, identity): (&str, &str), second: i64, wrong: &str) -> String {
    let cms = format!("{issuer}\n{identity}\n{second}\n{}\n{wrong}\n", Digest::of(message));
    json!({"mediaType": BUNDLE_TYPE, "cms": cms}).to_string()
}

/// One around a statement.
fn bundled(payload: &[u8], account: (&str, &str), second: i64, wrong: &str) -> String {
    let mut whole: serde_json::Value = serde_json::from_str(&bundle(payload, account, second, wrong)).unwrap();
    whole["dsseEnvelope"] = json!({"payloadType": PAYLOAD_TYPE, "payload": STANDARD.encode(payload), "signatures": []});
    whole.to_string()
}

const TWO: [(&str, &str); 2] = [
    ("{role: security, threshold: 1}", "{role: security, threshold: 2}"),
    ("security: [alice, frank]", "security: [alice, bob]"),
];

/// Alice's change of a policy, which takes bob besides, and what bob approves of it.
fn pending(more: &str) -> (World, CommitId, Vec<u8>) {
    let mut world = world(more, &TWO);
    let step = world.put(world.introduction, "alice", "policies/limits.txt", "1");
    let approval = world.approval(step);
    (world, step, approval.payload())
}

fn found(world: &World, head: CommitId) -> String {
    let judgement = world.judge(&Start::Introduction, head);
    judgement.refusal().map_or_else(|| "ok".to_owned(), |one| format!("{}: {}", one.code.code, one.found))
}

#[test]
fn an_account_approves_or_does_not() {
    let bob = (ISSUER, BOB);
    let table = [
        ("", bob, BASE + 60, "", "ok"),
        (
            "",
            (ISSUER, "eve@example.com"),
            BASE + 60,
            "",
            "signed as eve@example.com of https://accounts.example.com, which",
        ),
        (
            "",
            ("https://other.example.com", BOB),
            BASE + 60,
            "",
            "signed as bob@example.com of https://other.example.com, wh",
        ),
        (
            "",
            (ISSUER, "Bob@example.com"),
            BASE + 60,
            "",
            "signed as Bob@example.com of https://accounts.example.com, which",
        ),
        ("", bob, BASE + 60, "chain", "another root"),
        ("", bob, BASE + 60, "online", "no log entry"),
        (
            ", notAfter: 2026-01-01T00:00:30Z",
            bob,
            BASE + 20,
            "",
            "key bob@example.com of https://accounts.example.com of bob end",
        ),
        (
            ", notBefore: 2026-01-01T00:00:30Z",
            bob,
            BASE + 20,
            "",
            "key bob@example.com of https://accounts.example.com of bob beg",
        ),
    ];
    for (more, account, second, wrong, expected) in table {
        let (mut world, step, payload) = pending(more);
        let text = bundled(&payload, account, second, wrong);
        world.memory.notes.insert(step, vec![text.into_bytes()]);
        let found = found(&world, step);
        let expected = if expected == "ok" {
            expected.to_owned()
        } else {
            format!("W303: 1 of 2 for policies/limits.txt (alice); {expected}")
        };
        assert!(found.starts_with(&expected), "{found:?} does not begin with {expected:?}");
    }
    // What is signed is what the envelope holds, and nothing is without its verifier.
    let (mut world, step, payload) = pending("");
    let other =
        bundled(&payload, bob, BASE + 60, "").replace(&Digest::of(&payload).to_string(), &Digest::of(b"x").to_string());
    world.memory.notes.insert(step, vec![other.into_bytes()]);
    assert!(found(&world, step).ends_with("the signature does not fit these bytes: other bytes"));
    world.memory.notes.insert(step, vec![bundled(&payload, bob, BASE + 60, "").into_bytes()]);
    world.keyless = None;
    assert!(found(&world, step).ends_with("a keyless signature, which nothing here verifies"));
}

#[test]
fn an_approval_is_one_of_one_change() {
    let (mut world, step, payload) = pending("");
    let moved = String::from_utf8(payload).unwrap().replace("refs/heads/main", "refs/heads/else");
    // Its subject is the same, and the digest of what is said is another.
    let text = |payload: &str| bundled(payload.as_bytes(), (ISSUER, BOB), BASE + 60, "").into_bytes();
    world.memory.notes.insert(step, vec![text(&moved)]);
    assert!(found(&world, step).contains("subject and predicate are about different things"));
    for junk in ["{}", "{\"mediaType\":\"x\"}", &json!({"mediaType": BUNDLE_TYPE}).to_string()] {
        world.memory.notes.insert(step, vec![junk.as_bytes().to_vec()]);
        assert!(found(&world, step).contains("not a DSSE envelope: "), "{}", found(&world, step));
    }
}

#[test]
fn an_approval_of_an_account_that_is_revoked_later_does_not_hold() {
    let (mut world, step, payload) = pending("");
    world.memory.notes.insert(step, vec![bundled(&payload, (ISSUER, BOB), BASE + 60, "").into_bytes()]);
    let account = KeylessIdentity { issuer: ISSUER.to_owned(), identity: BOB.to_owned() };
    let revoking = format!("revoked: [{{key: \"{}\", kind: hard, reason: taken over}}]", account.fingerprint());
    let text = with_bob(
        2,
        "",
        &[("security: [alice, frank]", "security: [alice, frank, bob]"), TWO[0], ("revoked: []", &revoking)],
    );
    let revoked = world.push(step, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, revoked);
    assert_eq!(judgement.refusal(), None);
    let broken = judgement.broken().unwrap();
    assert_eq!(broken.code.code, "W304");
    assert!(broken.found.contains("approved by bob: key keyless:"), "{}", broken.found);
}

#[test]
fn an_account_says_which_head_there_is() {
    let world = world("", &[]);
    let file = TrustFile::parse(with_bob(1, "", &[]).as_bytes()).unwrap();
    let heartbeat = Heartbeat {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        head: world.introduction,
        time: at(world.now),
    };
    let listen = |account, keyless: Option<&dyn KeylessVerifier>| {
        let text = bundled(&heartbeat.payload(), account, world.now, "").into_bytes();
        let heard = hear(&[text], &world.root, &file, at(world.now), Verifiers { known: None, keyless });
        heard.map(|heard| heard.principal)
    };
    assert_eq!(listen((ISSUER, BOB), Some(&GOOD)).unwrap(), "bob");
    assert!(listen((ISSUER, "eve"), Some(&GOOD)).unwrap_err().ends_with("belongs to no principal"));
    assert!(listen((ISSUER, BOB), None).unwrap_err().ends_with("which nothing here verifies"));
}

#[test]
fn an_account_signs_orders() {
    let mut world = world("", &[]);
    let to = world.put(world.introduction, "carol", "apps/web.yaml", &config_map("web", 2));
    let accepted = world.put(to, "carol", "apps/web.yaml", &config_map("web", 3));
    let order = SignedOrder {
        kind: OrderKind::Rollback { nonce: "n1".to_owned() },
        repo_id: world.root.repo_id.clone(),
        about: "shop/web".to_owned(),
        commit: to,
        payload_sha256: world.memory.payload(&to),
        reason: "errors since noon".to_owned(),
        not_after: at(world.now + 3_600),
    };
    let signed = |signature: String| {
        let rollback = Rollback {
            order: &order,
            signatures: &[signature],
            waivers: &Waivers::default(),
            sync: "shop/web",
            folder: &path("apps"),
            verified: &accepted,
            accepted: &accepted,
            in_force: &accepted,
            seen: Seen { first: at(world.now), now: at(world.now) },
        };
        let with = Verifiers { known: None, keyless: Some(&GOOD) };
        match rollback_signers(&world.memory, &world.root, &rollback, with) {
            Ok(signers) => signers.into_iter().collect::<Vec<_>>().join(" "),
            Err(finding) => finding.found.into(),
        }
    };
    let payload = order.payload();
    assert_eq!(signed(bundle(&payload, (ISSUER, BOB), world.now, "")), "bob");
    assert!(signed(bundle(b"x", (ISSUER, BOB), world.now, "")).ends_with("does not fit these bytes: other bytes"));
    assert!(signed(bundle(&payload, (ISSUER, "eve"), world.now, "")).ends_with("belongs to no principal"));
    assert!(signed(bundle(&payload, (ISSUER, BOB), world.now, "chain")).ends_with("another root"));
}

#[test]
fn an_account_signs_a_trust_file() {
    let edits = [("root: [alice, dave]", "root: [alice, dave, bob]")];
    let next = with_bob(2, "", &edits);
    let verdict = |name: &str, text: String| {
        let mut world = world("", &edits);
        let step = world.push(world.introduction, Some("alice"), |tree| {
            put_policy(tree, &next, &["alice"]);
            tree.insert(path(&format!(".writ/trust.yaml.sigs/{name}.sig")), text.into_bytes());
        });
        found(&world, step)
    };
    let by = |account, wrong| bundle(next.as_bytes(), account, BASE + 60, wrong);
    assert_eq!(verdict("bob", by((ISSUER, BOB), "")), "ok");
    for (name, text, expected) in [
        ("dave", by((ISSUER, BOB), ""), "dave.sig: signed by bob"),
        (
            "bob",
            by((ISSUER, "eve"), ""),
            "bob.sig: signed as eve of https://accounts.example.com, which belongs to no principal",
        ),
        ("bob", by((ISSUER, BOB), "online"), "bob.sig: no log entry"),
        (
            "bob",
            bundle(b"x", (ISSUER, BOB), BASE + 60, ""),
            "bob.sig: the signature does not fit these bytes: other bytes",
        ),
    ] {
        let found = verdict(name, text);
        assert!(found.starts_with("W504: ") && found.contains(expected), "{found}");
    }
    let long = format!("{}{}", by((ISSUER, BOB), ""), " ".repeat(MAX_BUNDLE_BYTES));
    assert!(verdict("bob", long).starts_with("W502: "));
}

/// Two principals with one account would be one person who counts twice.
#[test]
fn an_account_is_of_one_principal() {
    let carol = format!("ssh: \"{}\"", memory::person("carol").public());
    let account = format!("keyless: {{issuer: \"{ISSUER}\", identity: \"{BOB}\"}}");
    let refused = TrustFile::parse(with_bob(1, "", &[(&carol, &account)]).as_bytes()).unwrap_err();
    assert!(refused[0].found.contains("bob") && refused[0].found.contains("carol"), "{}", refused[0]);
    assert!(TrustFile::parse(policy(1, &[(&carol, &account)]).as_bytes()).is_ok());
}
