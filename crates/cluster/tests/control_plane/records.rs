//! Status, Events, Lease, credentials on a real API server.

use std::time::Duration;

use cluster::{
    EventWriter, Lease, LeaseError, Note, Regarding, Severity, StatusWriter, Written,
    crd::{ConditionStatus, SyncStatus, set_condition},
};
use jiff::{SignedDuration, Timestamp};
use testkit::Rights;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_when_it_changes() {
    let world = World::new(Rights::Namespace).await;
    let sync = world.read_sync().await;
    let mut status = SyncStatus { observed_generation: Some(1), objects: Some(3), ..SyncStatus::default() };
    set_condition(&mut status.conditions, "Ready", ConditionStatus::True, "Applied", "all", Some(1), Timestamp::now());
    let mut writer = StatusWriter::default();
    assert_eq!(writer.write(&world.cluster, &sync, &status).await.unwrap(), Written::Changed);
    assert_eq!(writer.write(&world.cluster, &sync, &status).await.unwrap(), Written::Unchanged);
    let read = world.read_sync().await;
    assert_eq!(read.status.as_ref(), Some(&status));
    status.objects = Some(4);
    assert_eq!(writer.write(&world.cluster, &sync, &status).await.unwrap(), Written::Changed);
    let table = world.tenant.kubectl(&["get", "wsync", "web"]).unwrap();
    assert!(table.contains("APPLIED") && table.contains("Applied") && table.contains("True"), "{table}");
    // Another one of the same name: its status is not that of the one that was deleted.
    world.tenant.kubectl(&["delete", "wsync", "web"]).unwrap();
    assert!(writer.write(&world.cluster, &sync, &SyncStatus::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_notes_are_one_event() {
    let world = World::new(Rights::Namespace).await;
    let regarding = Regarding {
        api_version: "writ.dev/v1alpha1".into(),
        kind: "Sync".into(),
        namespace: Some(world.sync.namespace.clone()),
        name: "web".into(),
        uid: None,
    };
    let note =
        Note { severity: Severity::Warning, reason: "Edited", action: "Revert", text: "x".repeat(3000), related: None };
    let mut writer = EventWriter::new("writ-0");
    let mut now = Timestamp::now();
    for _ in 0..5 {
        writer.write(&world.cluster, &regarding, &note, now).await.unwrap();
        now = now.checked_add(SignedDuration::from_secs(30)).unwrap();
    }
    let events = world
        .tenant
        .kubectl(&[
            "get",
            "events.events.k8s.io",
            "-o",
            "jsonpath={range .items[*]}{.reason} {.series.count} {.regarding.name}{\"\\n\"}{end}",
        ])
        .unwrap();
    // Five notes, half a minute apart: one Event, its count written at most once a minute.
    assert_eq!(events.trim(), "Edited 5 web");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_finds_the_lease_held() {
    let world = World::new(Rights::Namespace).await;
    let name = world.tenant.namespace();
    let lease =
        |identity: &str| Lease::new(world.cluster.clone(), "writ-system", name, identity, Duration::from_secs(15));
    let now = Timestamp::now();
    lease("writ-0").acquire(now).await.unwrap();
    lease("writ-0").acquire(now).await.unwrap();
    let refused = lease("writ-1").acquire(now).await.unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { holder, .. } if holder == "writ-0"), "{refused}");
    assert!(refused.finding().to_string().starts_with("A112 SecondInstance"), "{}", refused.finding());
    let later = now.checked_add(SignedDuration::from_secs(16)).unwrap();
    lease("writ-1").acquire(later).await.unwrap();
    assert!(lease("writ-0").acquire(later).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_read_and_masked() {
    let world = World::new(Rights::Namespace).await;
    let namespace = &world.sync.namespace;
    world.tenant.kubectl(&["create", "secret", "generic", "git", "--from-literal=password=hunter2"]).unwrap();
    let secret = world.cluster.secret(namespace, "git").await.unwrap().unwrap();
    assert_eq!(secret["password"].expose(), b"hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert!(world.cluster.secret(namespace, "none").await.unwrap().is_none());
}
