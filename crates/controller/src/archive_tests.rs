//! A mirror is lost: what was accepted is read from what is kept apart from it, over real commits, mirrors and logs.

use std::{collections::BTreeSet, fs};

use cluster::Discovery;
use git::{Mirror, Others, Wanted};
use manifest::Finding;

use crate::{
    archives::judging,
    floor::Floors,
    resume::{self, ResumedSync},
    source_gate::Verified,
    source_tests::code,
    sync_gate,
    sync_tests::{Shop, config_map, names},
};

/// What the controller keeps once `verified` is accepted by source and Sync.
fn keep(shop: &Shop, verified: &Verified) {
    let mut folders = judging();
    folders.insert(shop.spec.path.clone());
    let wanted = Wanted::from([(verified.commit.id(), folders)]);
    let mirror = Mirror::open(&shop.world.mirror("a")).unwrap();
    shop.world.archive("a").keep(Some(mirror.objects()), &wanted, Others::Go).unwrap();
}

fn lose_mirrors(shop: &Shop) {
    fs::remove_dir_all(shop.world.mirror("a").parent().unwrap()).unwrap();
}

fn resume(shop: &Shop, known: Option<&str>) -> Result<ResumedSync, Finding> {
    let question = resume::SyncQuestion { known: known.map(str::to_owned), ..shop.question() };
    resume::sync(&shop.world.journal, &shop.job(Discovery::default()), &question)
}

fn values(resumed: &ResumedSync) -> Vec<String> {
    let accepted = resumed.accepted.as_ref().into_iter().flat_map(|state| state.iter());
    accepted.map(|object| object.value().unwrap()["data"]["value"].to_string()).collect()
}

/// A Sync that accepted one revision after the other, with a policy in force.
fn accepted() -> (Shop, Verified, Verified) {
    let mut shop = Shop::new();
    shop.order_policy("CREATE, UPDATE", "bad");
    let first = shop.change(&[("shop/a.yaml", config_map("a", "old"))]);
    shop.advance(&first, Discovery::default());
    let second = shop.change(&[("shop/a.yaml", config_map("a", "new"))]);
    shop.advance(&second, Discovery::default());
    shop.applied(&second.commit.id().to_string());
    (shop, first, second)
}

#[test]
fn what_was_accepted_is_resumed_without_mirror_and_server() {
    let (shop, first, second) = accepted();
    keep(&shop, &second);
    lose_mirrors(&shop);
    let source = shop.world.resume("a", None).unwrap();
    assert_eq!(source.problem, None);
    let verified = source.verified.unwrap();
    assert_eq!(verified.commit, second.commit);
    assert_eq!(verified.policies.digest(), second.policies.digest());
    assert_eq!(verified.trust_file.digest(), second.trust_file.digest());
    // Also when the status was not written since: the log says which one is older.
    for known in [None, Some(second.commit.id().to_string()), Some(first.commit.id().to_string())] {
        let resumed = resume(&shop, known.as_deref()).unwrap();
        assert_eq!((names(resumed.accepted.as_ref()), values(&resumed)), (vec!["a"], vec!["\"new\"".to_owned()]));
        assert_eq!(names(resumed.applied.as_ref()), ["a"]);
        assert_eq!(resumed.missing, []);
    }
    // It is judged as before, and the candidate is what it was.
    let prepared = sync_gate::prepare(&shop.job(Discovery::default()), &verified).unwrap();
    assert_eq!((names(Some(&prepared.desired)), prepared.findings), (vec!["a"], Vec::new()));
    // Nothing is judged by what is kept: a head on top of it is held.
    let floors = Floors { log: source.floor, ..Floors::default() };
    shop.world.repo.git(&["checkout", "--quiet", "--orphan", "other"]).unwrap();
    shop.world.config("another history");
    assert_eq!(code(&shop.world.judge(floors)), "W403");
}

#[test]
fn what_is_not_kept_is_lost_with_the_mirror() {
    let (shop, first, second) = accepted();
    keep(&shop, &first);
    lose_mirrors(&shop);
    let source = shop.world.resume("a", None).unwrap();
    assert!(source.verified.is_none());
    assert_eq!(source.problem.unwrap().code.code, "W403");
    assert_eq!(source.floor.unwrap(), second.commit);
    assert_eq!(resume(&shop, None).unwrap_err().code.code, "W403");
}

#[test]
fn what_is_kept_and_damaged_is_not_used() {
    let (shop, _, second) = accepted();
    keep(&shop, &second);
    lose_mirrors(&shop);
    let file = shop.world.archive("a").folder().join("objects");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.windows(5).position(|bytes| bytes == b"\"new\"").unwrap();
    bytes[place + 1..place + 4].copy_from_slice(b"bad");
    fs::write(&file, bytes).unwrap();
    assert_eq!(resume(&shop, None).unwrap_err().code.code, "W403");
}

#[test]
fn a_mirror_that_is_there_is_what_is_read() {
    let (shop, _, second) = accepted();
    keep(&shop, &second);
    let folder = shop.world.archive("a").folder().to_owned();
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(resume(&shop, None).unwrap().missing, []);
    assert_eq!(shop.world.resume("a", None).unwrap().verified.unwrap().commit, second.commit);
    assert!(shop.world.archive("a").open(&second.commit.id(), &BTreeSet::new()).is_err());
}
