//! Resuming from a log entry: the proof is checked from bytes, and nothing but an accepted commit comes out.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use memory::{BASE, World, code, person};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use trust::{AuthorizedCommit, CommitId, LogKey, LogProof, ResumeError, Start};

const ORIGIN: &str = "writ.test/log";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key_id(name: &str, pair: &Ed25519KeyPair) -> Vec<u8> {
    Sha256::digest([name.as_bytes(), b"\n\x01", pair.public_key().as_ref()].concat())[..4].to_vec()
}

fn vkey(name: &str, pair: &Ed25519KeyPair) -> String {
    let key = [&[1], pair.public_key().as_ref()].concat();
    format!("{name}+{}+{}", hex::encode(key_id(name, pair)), STANDARD.encode(key))
}

/// The tree hash by its definition (RFC 9162 §2.1.1).
fn root_of(leaves: &[Vec<u8>]) -> [u8; 32] {
    match leaves {
        [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).into(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::digest([&[1][..], &root_of(left), &root_of(right)].concat()).into()
        }
    }
}

/// The path by its definition (RFC 9162 §2.1.3.1).
fn path_of(index: usize, leaves: &[Vec<u8>]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (path_of(index, left), root_of(right))
    } else {
        (path_of(index - left.len(), right), root_of(left))
    };
    path.push(sibling);
    path
}

fn checkpoint(origin: &str, size: usize, root: [u8; 32], name: &str, pair: &Ed25519KeyPair) -> String {
    let body = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
    let signature = [key_id(name, pair), pair.sign(body.as_bytes()).as_ref().to_vec()].concat();
    format!("{body}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
}

/// The entry that accepts the introduction of a world.
fn entry(world: &World, kind: &str) -> Vec<u8> {
    entry_of(world, world.introduction, kind)
}

/// The entry that accepts a commit.
fn entry_of(world: &World, commit: CommitId, kind: &str) -> Vec<u8> {
    let judgement = world.judge(&Start::Introduction, commit);
    let fields = judgement.accepted().unwrap().log_fields(&world.root);
    let value = serde_json::json!({
        "schema": "writ.dev/audit/v1alpha1", "kind": kind, "time": "2026-01-01T00:00:00Z", "codes": [],
        "subject": fields.subject, "counts": fields.counts, "digests": fields.digests,
    });
    manifest::canonical_json(&value)
}

fn proof(entry: Vec<u8>, index: usize, size: usize) -> LogProof {
    let mut leaves: Vec<Vec<u8>> = (0..size).map(|number| format!("entry {number}").into_bytes()).collect();
    leaves[index].clone_from(&entry);
    LogProof {
        entry,
        index: index as u64,
        hashes: path_of(index, &leaves),
        checkpoint: checkpoint(ORIGIN, size, root_of(&leaves), ORIGIN, &pair(1)),
    }
}

fn key() -> LogKey {
    LogKey::parse(&vkey(ORIGIN, &pair(1))).unwrap()
}

/// How late it was on the line up to a commit is proven with it; an entry that does not say so knows the commit's own time.
#[test]
fn the_time_comes_back_as_well() {
    let mut world = World::new();
    let tree = world.memory.tree(&world.introduction);
    let mut put = |parent, time| world.memory.store(&[parent], tree.clone(), Some(&person("bob")), BASE + time);
    let newest = put(world.introduction, 1_000);
    let floor = put(newest, 800);
    let head = put(floor, 600);
    let with = entry_of(&world, floor, "advance");
    let field = r#","latestCommitTime":"2026-01-01T00:16:40Z""#;
    let text = String::from_utf8(with.clone()).unwrap();
    assert!(text.contains(field), "{text}");
    let without = text.replace(field, "").into_bytes();
    for (entry, wanted) in [(with, "W406"), (without, "ok")] {
        let resumed = AuthorizedCommit::resume(&proof(entry, 2, 5), &key(), &world.root).unwrap();
        assert_eq!(code(&world.judge(&Start::Resumed(resumed), head)), wanted);
    }
    let malformed = text.replace("2026-01-01T00:16:40Z", "noon").into_bytes();
    let resumed = AuthorizedCommit::resume(&proof(malformed, 2, 5), &key(), &world.root);
    assert!(matches!(resumed, Err(ResumeError::Entry(_))), "{resumed:?}");
}

#[test]
fn what_was_accepted_comes_back_as_it_was() {
    let world = World::new();
    let judged = world.judge(&Start::Introduction, world.introduction);
    let resumed = AuthorizedCommit::resume(&proof(entry(&world, "advance"), 2, 5), &key(), &world.root).unwrap();
    assert_eq!(Some(&resumed), judged.accepted());
    let again = world.judge(&Start::Resumed(resumed), world.introduction);
    assert_eq!((again.refusal(), again.steps.len()), (None, 0));
}

#[test]
fn the_authority_of_the_signer_comes_back() {
    let world = World::new();
    let text = String::from_utf8(entry(&world, "advance")).unwrap();
    let resume = |text: String| AuthorizedCommit::resume(&proof(text.into_bytes(), 0, 3), &key(), &world.root);
    let ca = person("ca").fingerprint();
    let with = |ca: &str| text.replace("\"subject\":{", &format!("\"subject\":{{\"ca\":\"{ca}\","));
    let resumed = resume(with(&ca.to_string())).unwrap();
    assert_eq!(resumed.signer().unwrap().ca.as_deref(), Some(&ca));
    assert_eq!(resumed.log_fields(&world.root).subject["ca"], ca.to_string());
    assert!(matches!(resume(with("x")), Err(ResumeError::Entry(_))));
    let nobody = with(&ca.to_string()).replace("\"key\"", "\"keyed\"").replace("\"principal\"", "\"principle\"");
    assert!(matches!(resume(nobody), Err(ResumeError::Entry(_))));
}

#[test]
fn only_an_advance_of_this_repository_counts() {
    let mut world = World::new();
    let refused = |entry: Vec<u8>, world: &World| {
        matches!(AuthorizedCommit::resume(&proof(entry, 0, 3), &key(), &world.root), Err(ResumeError::Entry(_)))
    };
    assert!(refused(entry(&world, "refuse"), &world));
    assert!(refused([entry(&world, "advance"), b"\n".to_vec()].concat(), &world));
    let text = String::from_utf8(entry(&world, "advance")).unwrap();
    assert!(refused(text.replace("v1alpha1", "v1").into_bytes(), &world));
    assert!(refused(text.replace("policyVersion", "policy").into_bytes(), &world));
    assert!(refused(text.replace("{\"codes\"", "{\"a\":1,\"codes\"").into_bytes(), &world));
    assert!(refused(vec![b' '; 17 * 1024], &world));
    let good = entry(&world, "advance");
    world.root.repo_id = "urn:other".to_owned();
    assert!(refused(good, &world));
}

#[test]
fn keys_origins_and_signatures_are_checked() {
    let world = World::new();
    let good = proof(entry(&world, "advance"), 1, 3);
    let resume = |proof: &LogProof, key: &LogKey| AuthorizedCommit::resume(proof, key, &world.root);
    let root = STANDARD.decode(good.checkpoint.lines().nth(2).unwrap()).unwrap().try_into().unwrap();
    let with = |checkpoint: String| LogProof { checkpoint, ..good.clone() };
    let other = LogKey::parse(&vkey(ORIGIN, &pair(2))).unwrap();
    assert!(matches!(resume(&good, &other), Err(ResumeError::Signature(_))));
    let foreign = with(checkpoint("other.test/log", 3, root, ORIGIN, &pair(1)));
    assert!(matches!(resume(&foreign, &key()), Err(ResumeError::Origin { .. })));
    let renamed = with(checkpoint(ORIGIN, 3, root, "other.test/log", &pair(1)));
    assert!(matches!(resume(&renamed, &key()), Err(ResumeError::Signature(_))));
    let resized = with(good.checkpoint.replacen("\n3\n", "\n4\n", 1));
    assert!(matches!(resume(&resized, &key()), Err(ResumeError::Signature(_))));
    let unsigned = with(good.checkpoint.split_once("\n\n").unwrap().0.to_owned());
    assert!(matches!(resume(&unsigned, &key()), Err(ResumeError::Checkpoint(_))));
    let cosigned = checkpoint(ORIGIN, 3, root, "witness.test", &pair(3));
    let line = cosigned.lines().last().unwrap();
    assert!(resume(&with(format!("{}{line}\n", good.checkpoint)), &key()).is_ok());
    for text in
        ["", "a+b", "a+00000000+AAAA", &vkey("two words", &pair(1)), &vkey(ORIGIN, &pair(1)).replace("log+", "log2+")]
    {
        assert!(matches!(LogKey::parse(text), Err(ResumeError::Key(_))), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_path_holds_for_its_entry_alone(size in 1_usize..40, place in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        let world = World::new();
        let index = place.index(size);
        let good = proof(entry(&world, "advance"), index, size);
        let resume = |proof: &LogProof| AuthorizedCommit::resume(proof, &key(), &world.root);
        prop_assert!(resume(&good).is_ok());
        let inclusion = |proof: LogProof| matches!(resume(&proof), Err(ResumeError::Inclusion { .. }));
        for other in (0..size as u64 + 2).filter(|other| *other != good.index) {
            let moved = LogProof { index: other, ..good.clone() };
            prop_assert!(inclusion(moved));
        }
        let mut longer = good.clone();
        longer.hashes.push([0; 32]);
        prop_assert!(inclusion(longer));
        if !good.hashes.is_empty() {
            let mut shorter = good.clone();
            shorter.hashes.pop();
            prop_assert!(inclusion(shorter));
            let mut flipped = good.clone();
            let at = flip.index(flipped.hashes.len());
            flipped.hashes[at][7] ^= 1;
            prop_assert!(inclusion(flipped));
        }
        let mut entry = good.entry.clone();
        let at = flip.index(entry.len());
        entry[at] ^= 1;
        let changed = LogProof { entry, ..good };
        prop_assert!(inclusion(changed));
    }
}
