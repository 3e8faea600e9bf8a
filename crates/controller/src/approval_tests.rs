//! Approvals over real commits and mirrors: what made a step accepted outlives the notes of the server.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use testkit::{PrincipalKind, TrustFile};
use trust::{Approval, CommitId, CommitObject, Decision, NAMESPACE_APPROVAL, envelope, envelope_message};

use crate::{
    floor::Floors,
    source_tests::{World, code, trust},
};

/// Sam's change of `apps/`, where two people are asked for.
fn pending(world: &World) -> CommitId {
    let (root, sre) = (&world.root_key, &world.sre);
    let file = TrustFile::new("urn:shop")
        .version(2)
        .principal(root.principal(), PrincipalKind::Human, &[root])
        .principal(sre.principal(), PrincipalKind::Human, &[sre])
        .role("root", &[root.principal()])
        .role("sre", &[root.principal(), sre.principal()])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .rule("apps", &["apps/**"], &[("sre", 2)], &[]);
    trust(&world.repo, &file, root);
    world.config("2")
}

/// The note of the other one of the two.
fn approve(world: &World, commit: CommitId) {
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
    let payload = approval.payload();
    let signature = world.root_key.sign(NAMESPACE_APPROVAL, &envelope_message(&payload)).unwrap();
    let note = envelope(&payload, &[(world.root_key.principal(), &signature)]);
    world.repo.git(&["notes", "--ref", "writ-approvals", "add", "-m", &note, &commit.to_string()]).unwrap();
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
