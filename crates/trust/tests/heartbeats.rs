//! Heartbeats: who may say which head the branch has, and what does not count.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, at, person, policy};
use proptest::prelude::*;
use trust::{
    Heard, Heartbeat, NAMESPACE_APPROVAL, NAMESPACE_HEARTBEAT, TrustFile, Verifiers, envelope, envelope_message, hear,
};

/// The time of a heartbeat, and of listening.
const NOW: i64 = 1_800_000_000;

fn file() -> TrustFile {
    TrustFile::parse(policy(1, &[]).as_bytes()).unwrap()
}

fn of(world: &World, time: i64) -> Heartbeat {
    Heartbeat {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        head: world.introduction,
        time: at(time),
    }
}

fn signed(heartbeat: &Heartbeat, who: &str, namespace: &str) -> Vec<u8> {
    let payload = heartbeat.payload();
    let signature = person(who).sign(namespace, &envelope_message(&payload));
    envelope(&payload, &[(who, &signature)]).into_bytes()
}

fn heard(world: &World, envelopes: &[Vec<u8>]) -> Result<Heard, String> {
    hear(envelopes, &world.root, &file(), at(NOW), Verifiers::default())
}

/// What comes of one heartbeat with this edit, signed by `who`.
fn with(who: &str, edit: impl FnOnce(&mut Heartbeat)) -> Result<String, String> {
    let world = World::new();
    let mut heartbeat = of(&world, NOW);
    edit(&mut heartbeat);
    heard(&world, &[signed(&heartbeat, who, NAMESPACE_HEARTBEAT)]).map(|heard| heard.principal)
}

#[test]
fn people_and_machines_speak_and_forges_and_strangers_do_not() {
    assert_eq!(with("alice", |_| ()).as_deref(), Ok("alice"));
    assert_eq!(with("bob", |_| ()).as_deref(), Ok("bob"));
    assert_eq!(with("relbot", |_| ()).as_deref(), Ok("relbot"));
    assert!(with("mallory", |_| ()).unwrap_err().ends_with("belongs to no principal"));
    let no_role = [(", bots: [relbot]", ""), (", {role: bots, threshold: 1}", "")];
    let text = policy(1, &[&[("relbot: {kind: robot", "relbot: {kind: forge")], &no_role[..]].concat());
    let world = World::new();
    let envelopes = [signed(&of(&world, NOW), "relbot", NAMESPACE_HEARTBEAT)];
    let forges = TrustFile::parse(text.as_bytes()).unwrap();
    let refused = hear(&envelopes, &world.root, &forges, at(NOW), Verifiers::default());
    assert_eq!(refused.unwrap_err(), "relbot is a forge, which counts for nothing");
}

#[test]
fn the_newest_counts_among_what_else_lies_there() {
    let world = World::new();
    let beat = |time, who| signed(&of(&world, time), who, NAMESPACE_HEARTBEAT);
    let envelopes =
        [b"{}".to_vec(), beat(NOW - 60, "alice"), beat(NOW, "bob"), beat(NOW - 90, "bob"), beat(NOW + 1_000, "bob")];
    let newest = heard(&world, &envelopes).unwrap();
    assert_eq!((newest.heartbeat, newest.principal.as_str()), (of(&world, NOW), "bob"));
    assert_eq!(heard(&world, &[]), Err(String::new()));
}

#[test]
fn what_is_for_something_else_does_not_count() {
    assert!(with("alice", |beat| beat.git_ref = "refs/heads/dev".to_owned()).unwrap_err().contains("refs/heads/dev"));
    assert!(with("alice", |beat| beat.repo_id = "urn:other".to_owned()).unwrap_err().contains("urn:other"));
    // Clocks differ by some minutes, not by more.
    assert!(with("alice", |beat| beat.time = at(NOW + 300)).is_ok());
    assert!(with("alice", |beat| beat.time = at(NOW + 301)).unwrap_err().contains("has not come"));
    assert!(with("alice", |beat| beat.time = at(NOW - 86_400 * 400)).is_ok(), "its age is for others to judge");
    let world = World::new();
    for namespace in [NAMESPACE_APPROVAL, "git", "file"] {
        let other = signed(&of(&world, NOW), "alice", namespace);
        assert!(heard(&world, &[other]).is_err(), "{namespace}");
    }
    // Another payload under the same signature.
    let good = signed(&of(&world, NOW - 60), "alice", NAMESPACE_HEARTBEAT);
    let text = String::from_utf8(good).unwrap();
    let (old, new) = (of(&world, NOW - 60).payload(), of(&world, NOW).payload());
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let forged = text.replace(&encode(&old), &encode(&new));
    assert_ne!(forged, text);
    assert!(heard(&world, &[forged.into_bytes()]).is_err());
}

proptest! {
    #[test]
    fn whatever_lies_there_is_no_heartbeat(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(heard(&World::new(), &[bytes]).is_err());
    }
}
