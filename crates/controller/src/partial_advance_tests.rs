//! Refused pushes of a repository whose trust file takes good commits one by one (`history.partialAdvance`).

use testkit::TrustFile;
use trust::AuthorizedCommit;

use crate::{
    floor::Floors,
    source_gate::SourceOutcome,
    source_run::Recorded,
    source_tests::{World, code, id, trust},
};

const BROKEN: &str = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\n\
     spec:\n  validations: [{expression: \"object.data.value !=\"}]\n";

/// A world in which good commits are taken one by one, and its floor.
fn partial() -> (World, Floors) {
    let world = World::new();
    let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &world.sre).version(2).partial_advance();
    trust(&world.repo, &file, &world.root_key);
    let floor = world.accept(None);
    (world, floors(&floor))
}

fn floors(log: &AuthorizedCommit) -> Floors {
    Floors { log: Some(log.clone()), ..Floors::default() }
}

fn unsigned(world: &World) -> String {
    world.repo.write("apps/b.yaml", "a: 1").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap()
}

fn policies(world: &World, text: &str) -> String {
    world.repo.write("policies/p.yaml", text).unwrap();
    world.repo.commit_signed(&world.root_key, "policies").unwrap()
}

/// Code and commit of the refusal, and the commit that is accepted all the same.
fn refused(outcome: &SourceOutcome) -> (&str, String, Option<String>) {
    let SourceOutcome::Refused { commit, prefix, .. } = outcome else { panic!("{outcome:?}") };
    (code(outcome), commit.to_string(), prefix.as_ref().map(|verified| verified.commit.id().to_string()))
}

#[test]
fn a_refused_push_advances_to_its_last_good_step() {
    let (world, floors_before) = partial();
    world.config("one");
    let good = world.config("two").to_string();
    let bad = unsigned(&world);
    world.config("after the bad one");
    let outcome = world.judge(floors_before.clone());
    assert_eq!(refused(&outcome), ("W301", bad.clone(), Some(good.clone())));
    // What is accepted is in the log, and the same push again has nothing more to give.
    let SourceOutcome::Refused { prefix: Some(verified), .. } = outcome else { panic!("nothing is accepted") };
    assert!(matches!(world.record("a", floors_before, &verified), Recorded::Done(Ok(()))));
    let floor = world.resume("a", None).unwrap().floor.unwrap();
    assert_eq!(floor.id(), id(&good));
    assert_eq!(refused(&world.judge(floors(&floor))), ("W301", bad, None));
    // The branch mends it from there.
    world.repo.reset(&good).unwrap();
    let mended = world.config("three");
    let outcome = world.judge(floors(&floor));
    assert!(matches!(&outcome, SourceOutcome::Accepted { verified, .. } if verified.commit.id() == mended));
}

#[test]
fn the_file_before_the_refused_commit_decides() {
    let (world, before) = partial();
    world.config("one");
    let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &world.sre).version(3);
    let whole = trust(&world.repo, &file, &world.root_key);
    let floor = world.accept(before.log.as_ref());
    assert_eq!(floor.id(), id(&whole));
    world.config("two");
    let bad = unsigned(&world);
    assert_eq!(refused(&world.judge(floors(&floor))), ("W301", bad, None));
}

#[test]
fn without_a_floor_good_steps_are_taken_too_and_a_foreign_head_brings_none() {
    let (world, before) = partial();
    let good = world.config("one").to_string();
    let bad = unsigned(&world);
    assert_eq!(refused(&world.judge(Floors::default())), ("W301", bad, Some(good.clone())));
    world.repo.reset(&good).unwrap();
    let floor = world.accept(before.log.as_ref());
    world.repo.reset(&before.log.unwrap().id().to_string()).unwrap();
    let fork = world.config("fork").to_string();
    assert_eq!(refused(&world.judge(floors(&floor))), ("W401", fork, None));
}

#[test]
fn an_advance_ends_before_policies_that_do_not_compile() {
    let (world, before) = partial();
    let good = world.config("one").to_string();
    let broken = policies(&world, BROKEN);
    let after = world.config("two").to_string();
    assert_eq!(refused(&world.judge(before.clone())), ("W802", broken.clone(), Some(good.clone())));
    // The earlier commit is what is told, also if a later one is refused for itself.
    unsigned(&world);
    assert_eq!(refused(&world.judge(before.clone())), ("W802", broken, Some(good)));
    // With nothing good before it, nothing is accepted.
    world.repo.reset(&after).unwrap();
    let floor = before.log.unwrap();
    world.repo.reset(&floor.id().to_string()).unwrap();
    let broken = policies(&world, BROKEN);
    assert_eq!(refused(&world.judge(floors(&floor))), ("W802", broken, None));
}
