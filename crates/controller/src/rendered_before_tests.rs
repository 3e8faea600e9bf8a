//! What is still true of what was rendered before, and what is judged again: over real commits and mirrors.

use std::sync::Arc;

use cluster::Discovery;
use manifest::{ClusterId, GroupKind, ObjectRef};

use crate::{
    source_gate::Verified,
    sync_gate::{self, SyncJob},
    sync_tests::{Shop, config_map, definition, order},
};

/// The codes of a verdict that is reached with what was rendered before, and of one without.
fn both_ways(job: &SyncJob, verified: &Verified) -> [Vec<String>; 2] {
    let verdict = |job: &SyncJob| {
        let outcome = sync_gate::prepare(job, verified);
        let findings = outcome.map_or_else(|findings| findings, |prepared| prepared.findings);
        findings.iter().map(|finding| finding.code.code.to_owned()).collect()
    };
    let fresh = SyncJob { cache: Arc::default(), ..job.clone() };
    [verdict(job), verdict(&fresh)]
}

#[test]
fn a_definition_that_is_removed_is_missed_by_what_was_rendered_before() {
    let mut shop = Shop::new();
    let first = shop.change(&[("shop/crd.yaml", definition().to_owned()), ("shop/order.yaml", order("tea"))]);
    let job = shop.job(Discovery::default());
    assert_eq!(both_ways(&job, &first), [Vec::<String>::new(), Vec::new()]);
    shop.world.repo.remove("shop/crd.yaml").unwrap();
    let second = shop.change(&[]);
    assert_eq!(both_ways(&job, &second), [["M117"], ["M117"]]);
}

#[test]
fn limits_are_about_the_whole_set_whatever_was_rendered_before() {
    let mut shop = Shop::new();
    let job = shop.job(Discovery::default());
    let text = format!("# {}\n", "x".repeat((8 << 20) - 3));
    let first = shop.change(&[
        ("shop/a.yaml", config_map("a", "v")),
        ("shop/0.yaml", text.clone()),
        ("shop/1.yaml", text.clone()),
        // What declares nothing is not read.
        ("shop/notes.txt", text.clone()),
        ("shop/more.txt", text.clone()),
    ]);
    assert_eq!(both_ways(&job, &first), [Vec::<String>::new(), Vec::new()]);
    let second = shop.change(&[("shop/2.yaml", text.clone()), ("shop/3.yaml", text)]);
    assert_eq!(both_ways(&job, &second), [["M102"], ["M102"]]);
}

#[test]
fn another_policy_set_judges_what_was_rendered_before_again() {
    let mut shop = Shop::new();
    let job = shop.job(Discovery::default());
    shop.change(&[("shop/a.yaml", config_map("a", "bad"))]);
    let allows = shop.order_policy("CREATE, UPDATE", "worse");
    assert_eq!(both_ways(&job, &allows), [Vec::<String>::new(), Vec::new()]);
    let forbids = shop.order_policy("CREATE, UPDATE", "bad");
    assert_eq!(both_ways(&job, &forbids), [["W801"], ["W801"]]);
    // A finding is not kept, as little as a pass.
    assert_eq!(both_ways(&job, &allows), [Vec::<String>::new(), Vec::new()]);
    assert_eq!(both_ways(&job, &forbids), [["W801"], ["W801"]]);
}

#[test]
fn what_was_judged_as_a_create_is_judged_again_as_an_update() {
    let mut shop = Shop::new();
    shop.change(&[("shop/a.yaml", config_map("a", "bad"))]);
    let verified = shop.order_policy("UPDATE", "bad");
    let job = shop.job(Discovery::default());
    assert_eq!(both_ways(&job, &verified), [Vec::<String>::new(), Vec::new()]);
    let there = ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("", "ConfigMap"),
        namespace: Some("shop".to_owned()),
        name: "a".to_owned(),
    };
    let present = SyncJob { present: Arc::new([there].into()), ..job };
    assert_eq!(both_ways(&present, &verified), [["W801"], ["W801"]]);
}

#[test]
fn a_file_that_passed_is_not_judged_again_by_the_same() {
    let mut shop = Shop::new();
    let verified = shop.change(&[("shop/a.yaml", config_map("a", "v")), ("shop/b.yaml", config_map("b", "v"))]);
    let job = shop.job(Discovery::default());
    let first = sync_gate::prepare(&job, &verified).unwrap().desired;
    let second = sync_gate::prepare(&job, &verified).unwrap().desired;
    let shared = |(one, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(one, other);
    assert!(first.objects().zip(second.objects()).all(shared), "rendered again");
}
