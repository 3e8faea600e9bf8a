//! Lost roots, over real commits and a real log: an admin lets trust start anew after the floor.

use std::sync::Arc;

use testkit::{KeyType, Keys, TrustFile};
use trust::{CommitObject, Introduction, RootKeys, TrustRootSpec};

use crate::{
    floor::Floors,
    source_gate::SourceOutcome,
    source_run::Recorded,
    source_tests::{World, code, id, trust},
};

#[test]
fn the_entry_names_both_trust_roots_and_a_refused_commit_pushes_nothing_away() {
    let mut world = World::new();
    let first = world.accept(None);
    let floors = Floors { log: Some(first), ..Floors::default() };
    let keys = Keys::new().unwrap();
    let rhea = keys.generate("rhea", KeyType::Ed25519).unwrap();
    let file = TrustFile::team("urn:shop", &rhea, &rhea, &world.sre).version(2);
    world.repo.remove(".writ/trust.yaml.sigs").unwrap();
    let begin = id(&trust(&world.repo, &file, &rhea));
    assert_eq!(code(&world.judge(floors.clone())), "W202");
    let before = manifest::Digest::of(&world.root.canonical()).to_string();
    let object = CommitObject::parse(begin, &world.repo.read_object("commit", &begin.to_string()).unwrap()).unwrap();
    let introduction = Introduction {
        commit: begin,
        payload_sha256: object.payload_sha256,
        signer: rhea.fingerprint().unwrap().parse().unwrap(),
    };
    let root_keys = RootKeys { threshold: 1, keys: vec![rhea.public().to_owned()] };
    world.root = Arc::new(TrustRootSpec { introduction, root_keys, ..(*world.root).clone() });
    // Whoever may push, and has no key, cannot keep the new trust from being in force.
    world.repo.write("apps/b.yaml", "a: 1").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    let outcome = world.judge(floors.clone());
    assert_eq!(code(&outcome), "W301");
    let SourceOutcome::Refused { prefix: Some(verified), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(verified.commit.id(), begin);
    assert!(matches!(world.record("a", floors, &verified), Recorded::Done(Ok(()))));
    let log = world.journal.log();
    let entries: Vec<_> = log.entries(0..log.len()).collect::<Result<_, _>>().unwrap();
    let [earlier, newest] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(!earlier.entry.digests.contains_key("trustRoot"));
    let after = manifest::Digest::of(&world.root.canonical()).to_string();
    assert_eq!((&newest.entry.digests["trustRootBefore"], &newest.entry.digests["trustRoot"]), (&before, &after));
    // The floor is kept, and the same again is no news.
    let resumed = world.resume("a", None).unwrap();
    assert_eq!((resumed.floor.unwrap().id(), resumed.verified.unwrap().commit.id()), (begin, begin));
}
