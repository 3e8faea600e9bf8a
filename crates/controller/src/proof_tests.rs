use cluster::Resource;
use manifest::{ClusterId, GroupKind, Scope};

use super::*;

fn target(kind: &str) -> Arc<WatchTarget> {
    let (group, version, plural) = (String::new(), "v1".into(), kind.to_lowercase());
    Arc::new(WatchTarget::all(Resource { group, version, kind: kind.into(), plural, scope: Scope::Namespaced }))
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        cluster: ClusterId::new("c"),
        group_kind: GroupKind::new("", "ConfigMap"),
        namespace: Some("shop".into()),
        name: name.into(),
    }
}

#[test]
fn kinds_are_listed_one_at_a_time_every_ten_minutes() {
    let (mut proofs, start) = (Proofs::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let both = [target("ConfigMap"), target("Secret")];
    // A watch that has just listed needs no proof.
    assert_eq!(proofs.next(&both[..1], at(0)), None);
    assert_eq!(proofs.next(&both, at(5)), None);
    assert_eq!(proofs.next(&both, at(600)), Some(both[0].clone()));
    proofs.begin(both[0].clone(), None, at(600));
    assert_eq!(proofs.next(&both, at(605)), None, "one is under way");
    assert!(proofs.complete(&both[1], at(606)).is_none());
    assert!(proofs.complete(&both[0], at(606)).is_some());
    assert_eq!(proofs.next(&both, at(606)), Some(both[1].clone()));
    assert_eq!(proofs.oldest(at(606)), Some(Duration::from_secs(601)));
    // One that fails waits for its next turn as well.
    proofs.begin(both[1].clone(), None, at(606));
    assert!(!proofs.give_up(at(905)) && proofs.give_up(at(906)));
    assert_eq!(proofs.next(&both, at(1_199)), None);
    assert_eq!(proofs.next(&both, at(1_200)), Some(both[0].clone()));
}

#[test]
fn a_list_says_nothing_about_what_was_told_since_it_began() {
    let (mut proofs, now, config_maps) = (Proofs::default(), Instant::now(), target("ConfigMap"));
    proofs.begin(config_maps.clone(), None, now);
    proofs.mention(&object("answered"));
    proofs.streamed(&object("deleted"), None);
    assert!(!proofs.takes(&config_maps, &object("answered")));
    assert!(!proofs.takes(&config_maps, &object("deleted")));
    assert!(proofs.takes(&config_maps, &object("old")));
    assert!(!proofs.takes(&target("ConfigMap"), &object("of another watch")));
    let mentioned = proofs.complete(&config_maps, now).unwrap();
    assert_eq!(mentioned, ["answered", "deleted", "old"].map(object).into());
    // Nothing is under way.
    assert!(!proofs.takes(&config_maps, &object("late")));
}

#[test]
fn an_event_that_is_late_is_not_missed() {
    let (mut proofs, start, config_maps) = (Proofs::default(), Instant::now(), target("ConfigMap"));
    for (name, version) in [("late", Some("7")), ("skipped", Some("7")), ("gone", None), ("gone late", None)] {
        proofs.suspect(&config_maps, &object(name), version, start);
    }
    proofs.streamed(&object("late"), Some("7"));
    // Of the revert that the list caused.
    proofs.streamed(&object("skipped"), Some("8"));
    proofs.streamed(&object("gone late"), None);
    assert!(proofs.missed(start + Duration::from_secs(29)).is_empty());
    assert_eq!(proofs.missed(start + LATE), [object("gone"), object("skipped")]);
    assert!(proofs.missed(start + LATE).is_empty());
}

#[test]
fn a_watch_that_lists_anew_needs_no_proof() {
    let (mut proofs, start, config_maps) = (Proofs::default(), Instant::now(), target("ConfigMap"));
    proofs.begin(config_maps.clone(), None, start);
    proofs.suspect(&config_maps, &object("a"), None, start);
    assert!(proofs.stop(&config_maps));
    assert!(proofs.missed(start + LATE).is_empty());
    assert!(proofs.complete(&config_maps, start).is_none());
    // Closed and opened again, it is another watch.
    proofs.begin(config_maps, None, start);
    let again = [target("ConfigMap")];
    assert_eq!(proofs.next(&again, start), None);
    assert!(proofs.running.is_none());
    assert_eq!(proofs.next(&again, start + PROVE_EVERY), Some(again[0].clone()));
}
