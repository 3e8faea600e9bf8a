//! What a start knows of a source, and what it costs: over real commits and a real log.

use std::sync::Arc;

use git::Mirror;
use jiff::Timestamp;
use testkit::{KeyType, TrustFile};

use crate::{
    archives::Stores,
    break_glass::Overrides,
    floor::Floors,
    resume::{self, Under},
    source_gate::SourceOutcome,
    source_run::Recorded,
    source_tests::{World, code, key, spec, trust},
};

#[test]
fn a_lost_mirror_is_read_again_although_the_head_is_refused() {
    let world = World::new();
    let first = world.accept(None);
    std::fs::remove_dir_all(world.mirror("a")).unwrap();
    let resumed = world.resume("a", Some(&first.id().to_string())).unwrap();
    assert!(resumed.verified.is_none());
    let floor = resumed.floor.unwrap();
    assert_eq!(resumed.problem.unwrap().code.code, "W403");
    world.repo.write("apps/b.yaml", "a: 1").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    let outcome = world.judge(Floors { log: Some(floor.clone()), ..Floors::default() });
    assert_eq!(code(&outcome), "W301");
    let restored = resume::read_floor(
        Stores { mirror: &world.mirror("a"), archive: None },
        Under { root: &world.root, signatures: &world.signatures },
        &floor,
        &Overrides::default(),
        Timestamp::now(),
    )
    .unwrap();
    assert_eq!(restored.commit.id(), first.id());
    let pins = Mirror::open(&world.mirror("a")).unwrap().pins().unwrap();
    assert!(pins.iter().any(|(_, pinned)| *pinned == first.id()), "{pins:?}");
}

#[test]
fn a_restart_is_no_acceptance_and_knows_what_was_obeyed() {
    let world = World::new();
    let first = world.accept(None);
    let before = world.journal.log().len();
    let floors = Floors { log: Some(first), ..Floors::default() };
    let SourceOutcome::Accepted { verified, .. } = world.judge(floors.clone()) else { panic!("not accepted") };
    assert!(matches!(world.record("a", floors.clone(), &verified), Recorded::Done(Ok(()))));
    assert_eq!(world.journal.log().len(), before);
    let obeyed = resume::obeyed_source(&world.journal, &key("a")).unwrap().unwrap();
    assert_eq!((&obeyed.spec, &obeyed.root), (&spec(), &*world.root));
    // A source that reaches the same revision for the first time is recorded with its own spec.
    assert!(resume::obeyed_source(&world.journal, &key("b")).unwrap().is_none());
    world.fetch("b", "HEAD");
    assert!(matches!(world.record("b", floors, &verified), Recorded::Done(Ok(()))));
    assert_eq!(resume::obeyed_source(&world.journal, &key("b")).unwrap().unwrap().spec, spec());
}

/// Where something is revoked every accepted step is looked at, and with it its signatures: once, and not again by the gate.
#[test]
fn a_start_verifies_the_history_once() {
    let mut world = World::new();
    let stolen = world.keys.generate("kim", KeyType::Ed25519).unwrap().fingerprint().unwrap();
    let team = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &world.sre).version(2);
    trust(&world.repo, &team.revoke_key(&stolen, "stolen"), &world.root_key);
    for number in 0..5 {
        world.config(&format!("value {number}"));
    }
    let head = world.accept(None);

    // Another process, which knows of no signature.
    world.signatures = Arc::default();
    let resumed = world.resume("a", None).unwrap();
    assert_eq!(resumed.verified.unwrap().broken, None);
    let once = world.signatures.verified();
    assert!(once >= 6, "{once} signatures of 7 commits");
    let floors = Floors { log: resumed.floor, ..Floors::default() };
    assert_eq!(floors.log.as_ref().map(trust::AuthorizedCommit::id), Some(head.id()));
    assert_eq!((code(&world.judge(floors.clone())), world.signatures.verified()), ("ok", once));
    // The signature of a commit that is new, and no other.
    world.config("new");
    assert_eq!((code(&world.judge(floors)), world.signatures.verified()), ("ok", once + 1));
    // So it is when the log is asked once more.
    world.resume("a", None).unwrap();
    assert_eq!(world.signatures.verified(), once + 1);
}
