//! Watches on a real API server.

use std::time::Instant;

use cluster::{Watch, WatchEvent, WatchTarget, Watched};
use testkit::{Component, ControlPlane, Profile, Rights};
use tokio::sync::mpsc;

use crate::world::{DEADLINE, World, config_map};

struct Events {
    receiver: mpsc::Receiver<Watched>,
    _watch: Watch,
}

impl Events {
    fn open(world: &World) -> Self {
        let (sender, receiver) = mpsc::channel(16);
        let resource = world.cluster.discovery().resource("v1", "ConfigMap").unwrap().clone();
        let target = WatchTarget::managed(resource, Some(world.sync.namespace.clone()), &world.instance);
        Self { receiver, _watch: world.cluster.watch(target, sender) }
    }

    async fn next(&mut self) -> WatchEvent {
        tokio::time::timeout(DEADLINE, self.receiver.recv()).await.unwrap().unwrap().event
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_deletions_and_stripped_labels_are_seen() {
    let world = World::new(Rights::Namespace).await;
    world.tenant.kubectl(&["create", "configmap", "foreign"]).unwrap();
    world.roll_out(&[config_map("one", "red"), config_map("two", "red")].concat()).await;
    let mut events = Events::open(&world);
    let mut listed = Vec::new();
    loop {
        match events.next().await {
            WatchEvent::Applied(sighting) => listed.push(sighting),
            WatchEvent::Synced => break,
            other => panic!("{other:?}"),
        }
    }
    listed.sort_by(|a, b| a.reference.cmp(&b.reference));
    assert_eq!(listed.iter().map(|seen| seen.reference.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);

    world.tenant.kubectl(&["patch", "configmap", "one", "-p", r#"{"data":{"color":"blue"}}"#]).unwrap();
    let WatchEvent::Applied(edited) = events.next().await else { panic!("no edit") };
    assert_eq!(edited.uid, listed[0].uid);
    assert_ne!(edited.content, listed[0].content);
    let live: serde_json::Value = serde_json::from_slice(edited.raw.json()).unwrap();
    assert_eq!(live["data"]["color"], "blue");

    // Put back by hand: the content is what it was, whatever the version.
    world.tenant.kubectl(&["patch", "configmap", "one", "-p", r#"{"data":{"color":"red"}}"#]).unwrap();
    let WatchEvent::Applied(back) = events.next().await else { panic!("no edit") };
    assert_eq!(back.content, listed[0].content);
    assert_ne!(back.resource_version, listed[0].resource_version);

    world.tenant.kubectl(&["delete", "configmap", "one"]).unwrap();
    let WatchEvent::Deleted { reference, uid, .. } = events.next().await else { panic!("no deletion") };
    assert_eq!((reference.name.as_str(), &uid), ("one", &listed[0].uid));

    world.tenant.kubectl(&["label", "configmap", "two", &format!("{}-", plan::INSTANCE_LABEL)]).unwrap();
    let WatchEvent::Deleted { reference, .. } = events.next().await else { panic!("no deletion") };
    assert_eq!(reference.name, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_apply_and_its_event_have_one_hash() {
    let world = World::new(Rights::Namespace).await;
    let (_, _, outcomes) = world.roll_out(&config_map("one", "red")).await;
    let Ok(cluster::Done::Created { sighting, .. }) = &outcomes[0].result else { panic!("{outcomes:?}") };
    let mut events = Events::open(&world);
    let WatchEvent::Applied(seen) = events.next().await else { panic!("no object") };
    assert_eq!((seen.content, &seen.resource_version), (sighting.content, &sighting.resource_version));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_killed_is_followed_on() {
    // Its own control plane, kept until the process ends.
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start(Profile::Api).unwrap()));
    testkit::install(plane, &cluster::crd::crds_yaml().unwrap()).unwrap();
    let world = World::on(plane, Rights::Namespace).await;
    world.roll_out(&config_map("one", "red")).await;
    let mut events = Events::open(&world);
    while events.next().await != WatchEvent::Synced {}
    plane.kill(Component::ApiServer).unwrap();
    plane.restart(Component::ApiServer).unwrap();
    world.tenant.kubectl(&["patch", "configmap", "one", "-p", r#"{"data":{"color":"blue"}}"#]).unwrap();
    loop {
        // It may list again, and say that it failed meanwhile; it must not miss the edit.
        if let WatchEvent::Applied(sighting) = events.next().await
            && String::from_utf8_lossy(sighting.raw.json()).contains("blue")
        {
            break;
        }
    }
    // And requests work on new connections.
    let forced = world.desired(&config_map("one", "green"));
    let (report, _) = world.apply(world.advance(&forced, Some(&forced))).await;
    assert!(report.is_complete(), "{:?}", report.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_makes_the_watch_wait() {
    let world = World::new(Rights::Namespace).await;
    let yaml: String = (0..40).map(|i| config_map(&format!("c{i}"), "red")).collect();
    world.roll_out(&yaml).await;
    let (sender, mut receiver) = mpsc::channel::<Watched>(1);
    let resource = world.cluster.discovery().resource("v1", "ConfigMap").unwrap().clone();
    let _watch = world.cluster.watch(WatchTarget::managed(resource, None, &world.instance), sender);
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < DEADLINE {
        match receiver.recv().await.unwrap().event {
            WatchEvent::Applied(_) => count += 1,
            WatchEvent::Synced => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 40);
}
