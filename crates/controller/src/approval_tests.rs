//! Approvals over real commits and mirrors: what made a step accepted outlives the notes of the server.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use testkit::{Account, Blob, PrincipalKind, Sigstore, TrustFile};
use trust::{Approval, CommitId, CommitObject, Decision, KeylessTrust, NAMESPACE_APPROVAL, envelope, envelope_message};

use crate::{
    floor::Floors,
    source_tests::{World, code, trust},
};

/// Sam's change of `apps/`, where two people are asked for.
fn pending(world: &World) -> CommitId {
    let (root, sre) = (&world.root_key, &world.sre);
    let file = two(world).role("sre", &[root.principal(), sre.principal()]);
    trust(&world.repo, &file.rule("apps", &["apps/**"], &[("sre", 2)], &[]), root);
    world.config("2")
}

/// Version 2 of the trust file, which root may change.
fn two(world: &World) -> TrustFile {
    let (root, sre) = (&world.root_key, &world.sre);
    TrustFile::new("urn:shop")
        .version(2)
        .principal(root.principal(), PrincipalKind::Human, &[root])
        .principal(sre.principal(), PrincipalKind::Human, &[sre])
        .role("root", &[root.principal()])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
}

/// What an approval of a commit says.
fn approval(world: &World, commit: CommitId) -> Vec<u8> {
    let raw = world.repo.read_object("commit", &commit.to_string()).unwrap();
    let object = CommitObject::parse(commit, &raw).unwrap();
    let approval = Approval {
        repo_id: world.root.repo_id.clone(),
        git_ref: world.root.r#ref.clone(),
        from: object.parents.first().copied().unwrap(),
        to_tree: object.tree,
        policy_version: 2,
        expires: Timestamp::now() + SignedDuration::from_hours(1),
        decision: Decision::Approve,
        skipped: Vec::new(),
    };
    approval.payload()
}

/// The note of the other one of the two.
fn approve(world: &World, commit: CommitId) {
    let payload = approval(world, commit);
    let signature = world.root_key.sign(NAMESPACE_APPROVAL, &envelope_message(&payload)).unwrap();
    note(world, commit, &envelope(&payload, &[(world.root_key.principal(), &signature)]));
}

/// A note of a commit, as the server has it.
fn note(world: &World, commit: CommitId, text: &str) {
    world.repo.git(&["notes", "--ref", "writ-approvals", "add", "-m", text, &commit.to_string()]).unwrap();
    world.fetch("a@notes", "refs/notes/writ-approvals");
}

#[test]
fn an_accepted_step_is_judged_again_without_the_notes_of_the_server() {
    let mut world = World::new();
    let commit = pending(&world);
    let judge = |world: &World| code(&world.judge(Floors::default())).to_owned();
    assert_eq!(judge(&world), "W303");
    approve(&world, commit);
    assert_eq!(judge(&world), "ok");
    // Nothing of the refs is left, and the TrustRoot is another one.
    std::fs::remove_dir_all(world.mirror("a@notes")).unwrap();
    Arc::make_mut(&mut world.root).min_policy_version = 1;
    assert_eq!(judge(&world), "ok");
    std::fs::remove_dir_all(world.mirror("a@kept")).unwrap();
    assert_eq!(judge(&world), "W303");
}

/// The other one has an account and signs with cosign. Where its Sigstore is not trusted any more, what it approved is not accepted.
#[test]
fn an_account_approves_with_a_bundle_by_the_sigstore_of_the_trust_root() {
    let mut world = World::new();
    let account =
        Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() };
    let file = two(&world).keyless("carol", &account).role("sre", &[world.sre.principal(), "carol"]);
    trust(&world.repo, &file.rule("apps", &["apps/**"], &[("sre", 2)], &[]), &world.root_key);
    let commit = world.config("2");
    let [own, other] = [(); 2].map(|()| Sigstore::generate(Timestamp::now() - SignedDuration::from_hours(1)).unwrap());
    let by = |world: &mut World, sigstore: &Sigstore| {
        let keyless = KeylessTrust { trusted_root: Some(sigstore.trusted_root().unwrap()), refresh: None };
        Arc::make_mut(&mut world.root).keyless = Some(keyless);
        code(&world.judge(Floors::default())).to_owned()
    };
    assert_eq!(by(&mut world, &own), "W303");
    let payload = approval(&world, commit);
    // The log counts whole seconds, and none of the future.
    let signed = Timestamp::now() - SignedDuration::from_secs(5);
    let bundle = own.bundle(Blob::Statement(&payload), &account, signed, &[]).unwrap();
    note(&world, commit, &bundle);
    assert_eq!(by(&mut world, &own), "ok");
    // Also when the notes are gone, as with any approval.
    std::fs::remove_dir_all(world.mirror("a@notes")).unwrap();
    assert_eq!(by(&mut world, &own), "ok");
    assert_eq!(by(&mut world, &other), "W303");
}
