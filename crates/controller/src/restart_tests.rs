//! What a start costs, over real commits and a real log.

use std::sync::Arc;

use testkit::{KeyType, TrustFile};

use crate::{
    floor::Floors,
    source_tests::{World, code, trust},
};

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
