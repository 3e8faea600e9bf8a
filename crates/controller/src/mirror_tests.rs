//! Mirrors that cannot be read, or are too large.

use std::path::Path;

use git::Mirror;
use trust::History as _;

use crate::source_tests::World;

#[test]
fn a_mirror_that_cannot_be_read_is_told() {
    let world = World::new();
    let first = world.accept(None);
    let objects = Mirror::open(&world.mirror("a")).unwrap();
    assert!(objects.objects().commit(&first.id()).unwrap().is_some());
    std::fs::write(Path::new(&world.mirror("a")).join("config"), "[core]\n").unwrap();
    let resumed = world.resume("a", None).unwrap();
    assert_eq!(resumed.problem.unwrap().code.code, "W604");
    assert!(resumed.verified.is_none());
}

/// A mirror that is too large by the TrustRoot is told with the field; by what is built in, without.
#[test]
fn a_limit_of_the_trust_root_is_named_where_it_stops_a_fetch() {
    let mut root = (*World::new().root).clone();
    let error = git::GitError::Exchange {
        url: "https://127.0.0.1/config.git".to_owned(),
        source: git::ExchangeError::MirrorBytes { mirror: "/m".to_owned(), limit: 7 },
    };
    assert!(!crate::source_gate::not_fetched(&error, &root).to_string().contains("limits."));
    let mut options = git::RemoteOptions::default();
    let built_in = options.limits.mirror_bytes;
    crate::source_remote::limit(&mut options, &root);
    assert_eq!(options.limits.mirror_bytes, built_in);
    root.limits = Some(trust::TrustLimits { steps: None, changed_paths: None, repository_bytes: Some(7) });
    crate::source_remote::limit(&mut options, &root);
    assert_eq!(options.limits.mirror_bytes, 7);
    let told = crate::source_gate::not_fetched(&error, &root);
    assert!(
        told.needed.starts_with("at most 7 bytes")
            && told.needed.ends_with("(limits.repositoryBytes of the TrustRoot)")
    );
    assert!(told.fix.ends_with("; or have limits.repositoryBytes of the TrustRoot raised"), "{}", told.fix);
}
