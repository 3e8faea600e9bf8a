//! Plans on a real API server.

use std::sync::atomic::Ordering;

use audit::Durability;
use cluster::{ApplyRefused, Current, Done};
use manifest::Digest;
use testkit::{RequestFilter, RequestTotals, Rights};

use crate::world::{DEADLINE, World, config_map, only_failure, plane};

fn current() -> Current {
    Current { trust_digest: Digest::of(b"trust"), policy_digest: Digest::of(b"policy") }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_creates_and_none_follows_when_nothing_changed() {
    // A kind that no other test here writes, so that the server's count is ours.
    let world = World::new(Rights::Cluster).await;
    let yaml: String = (0..3)
        .map(|i| {
            format!(
                "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: t{i}}}\ntemplate: {{spec: {{containers: [{{name: a, image: 'a:1'}}]}}}}\n---\n"
            )
        })
        .collect();
    let filter = RequestFilter { verb: Some("APPLY"), resource: Some("podtemplates"), ..RequestFilter::default() };
    let before = RequestTotals::of(plane()).unwrap();
    let (desired, report, outcomes) = world.roll_out(&yaml).await;
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.created, report.writes), (3, 3));
    assert_eq!(RequestTotals::of(plane()).unwrap().count_since(&before, &filter), 3);
    for outcome in &outcomes {
        let Ok(Done::Created { sighting, made: Some(made) }) = &outcome.result else { panic!("{outcome:?}") };
        assert_eq!(sighting.instance.as_deref(), Some(world.instance.as_str()));
        assert_eq!(sighting.applied_by_writ, cluster::AppliedByWrit::Yes);
        let baseline = String::from_utf8(made.baseline.clone()).unwrap();
        // The server's default is part of it, bookkeeping is not.
        assert_eq!(made.differences, []);
        assert!(baseline.contains("imagePullPolicy") && !baseline.contains("managedFields"), "{baseline}");
    }
    let again = world.advance(&desired, Some(&desired));
    assert!(again.changes().is_empty());
    let (report, _) = world.apply(again).await;
    assert_eq!(report.writes, 0);
    assert_eq!(RequestTotals::of(plane()).unwrap().count_since(&before, &filter), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_is_on_the_sync_before_the_objects() {
    let world = World::new(Rights::Namespace).await;
    let (_, report, _) = world.roll_out(&config_map("settings", "red")).await;
    assert!(report.is_complete(), "{:?}", report.failures);
    let sync = world.read_sync().await;
    assert_eq!(sync.annotation("applyset.kubernetes.io/contains-group-kinds"), Some("ConfigMap"));
    assert_eq!(sync.annotation("applyset.kubernetes.io/additional-namespaces"), Some(""));
    assert_eq!(sync.annotation("applyset.kubernetes.io/tooling"), Some("writ/v1alpha1"));
    let id = plan::ApplySetId::of(&world.sync);
    assert_eq!(sync.metadata.labels.unwrap()["applyset.kubernetes.io/id"], id.as_str());
    assert_eq!(sync.spec.drift.mode, plan::DriftMode::Revert);
    let version = sync.metadata.resource_version;
    // A change of a known kind does not touch the Sync.
    let (_, report, _) = world.roll_out(&config_map("other", "red")).await;
    assert!(report.is_complete());
    assert_eq!(world.read_sync().await.metadata.resource_version, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_manager_is_adopted_only_by_a_signed_order() {
    let world = World::new(Rights::Namespace).await;
    world.tenant.kubectl(&["create", "configmap", "settings", "--from-literal=color=blue"]).unwrap();
    let (_, report, _) = world.roll_out(&config_map("settings", "red")).await;
    let (code, text) = only_failure(&report);
    assert_eq!(code, "A102", "{text}");
    assert!(text.contains("kubectl-create owns data.color") && text.contains("writ.dev/adopt: force"), "{text}");
    let color = || world.tenant.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]).unwrap();
    assert_eq!(color(), "blue");
    let forced = config_map("settings", "red")
        .replace("{name: settings}", "{name: settings, annotations: {writ.dev/adopt: force}}");
    let (_, report, outcomes) = world.roll_out(&forced).await;
    assert!(report.is_complete(), "{:?}", report.failures);
    assert!(matches!(outcomes[0].result, Ok(Done::Configured { .. })));
    assert_eq!(color(), "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_applysets_object_is_never_taken() {
    let world = World::new(Rights::Namespace).await;
    // Also not that of another writ, with the same field manager, and not by force.
    world.tenant.apply(&config_map("settings", "blue")).unwrap();
    world
        .tenant
        .kubectl(&[
            "label",
            "configmap",
            "settings",
            "applyset.kubernetes.io/part-of=applyset-x-v1",
            "--field-manager=writ",
        ])
        .unwrap();
    let forced = config_map("settings", "red")
        .replace("{name: settings}", "{name: settings, annotations: {writ.dev/adopt: force}}");
    let (_, report, _) = world.roll_out(&format!("{forced}{}", config_map("free", "red"))).await;
    let (code, text) = only_failure(&report);
    assert_eq!(code, "A107", "{text}");
    assert!(text.contains("applyset-x-v1"), "{text}");
    assert_eq!(report.created, 1);
    assert_eq!(
        world.tenant.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]).unwrap(),
        "blue"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_follows_its_definition_in_one_plan() {
    let world = World::new(Rights::Cluster).await;
    let group = format!("{}.example.org", world.tenant.namespace());
    let yaml = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{size: 3}}\n---\n\
         apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\n\
         spec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}}\n  \
         versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, \
         properties: {{size: {{type: integer}}}}}}}}}}}}}}]\n"
    );
    let (_, report, _) = world.roll_out(&yaml).await;
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.created, report.kinds_changed), (2, true));
    let size = world.tenant.kubectl(&["get", &format!("widgets.{group}"), "w", "-o", "jsonpath={.spec.size}"]).unwrap();
    assert_eq!(size, "3");
}

/// As when the TrustRoot was set to mode Audit after the plan was made.
#[tokio::test(flavor = "multi_thread")]
async fn once_halted_nothing_is_sent() {
    let world = World::new(Rights::Namespace).await;
    world.halt.store(true, Ordering::Release);
    let inventory = world.inventory.borrow().clone();
    let desired = world.desired(&(config_map("one", "red") + &config_map("two", "red")));
    let (report, outcomes) = world.apply(world.advance(&desired, None)).await;
    assert_eq!((report.writes, report.created, report.withheld, report.is_complete()), (0, 0, 2, false));
    assert!(outcomes.iter().all(|outcome| matches!(outcome.result, Ok(Done::Withheld))), "{outcomes:?}");
    assert_eq!(world.tenant.kubectl(&["get", "configmap", "one", "--ignore-not-found", "-o", "name"]).unwrap(), "");
    assert_eq!(*world.inventory.borrow(), inventory);
    world.halt.store(false, Ordering::Release);
    let (report, _) = world.apply(world.advance(&desired, None)).await;
    assert_eq!((report.created, report.is_complete()), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_object_among_good_ones_is_named_and_nothing_is_pruned() {
    let world = World::new(Rights::Namespace).await;
    let (first, report, _) = world.roll_out(&config_map("old", "red")).await;
    assert!(report.is_complete());
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 70000}]}\n---\n\
               apiVersion: v1\nkind: ConfigMap\nmetadata: {name: typo}\ndatas: {a: b}\n---\n\
               apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: fine}\n---\n";
    let desired = world.desired(&format!("{bad}{}", config_map("good", "red")));
    let (report, _) = world.apply(world.advance(&desired, Some(&first))).await;
    assert_eq!((report.created, report.pruned, report.withheld), (2, 0, 1), "{:?}", report.failures);
    let texts: Vec<String> = report.failures.iter().map(|(_, failure)| failure.finding.to_string()).collect();
    assert!(texts.iter().all(|text| text.starts_with("A101")), "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("spec.ports[0].port")), "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("datas")), "{texts:#?}");
    world.tenant.kubectl(&["get", "configmap", "old"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_applied_and_never_quoted() {
    let world = World::new(Rights::Namespace).await;
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n---\n\
                apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\ntype: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: hunter2}\n";
    let (_, report, outcomes) = world.roll_out(yaml).await;
    assert_eq!(report.created, 1);
    let (code, text) = only_failure(&report);
    assert_eq!(code, "A101", "{text}");
    for canary in ["hunter2", "aHVudGVyMg"] {
        assert!(!text.contains(canary) && !format!("{report:?}{outcomes:?}").contains(canary), "{text}");
    }
    assert!(outcomes.iter().all(|outcome| !matches!(outcome.result, Ok(Done::Created { made: Some(_), .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_limited_to_what_the_service_account_may_do() {
    let world = World::new(Rights::Namespace).await;
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}}}\nrules: []\n",
        world.tenant.namespace()
    );
    let (_, report, _) = world.roll_out(&yaml).await;
    let (code, text) = only_failure(&report);
    assert_eq!(code, "A105", "{text}");
    assert!(
        text.contains(&format!(
            "system:serviceaccount:{}:deployer may not patch clusterroles",
            world.tenant.namespace()
        )),
        "{text}"
    );
    assert!(text.contains("kubectl create clusterrole"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grant_to_act_as_a_service_account_is_for_writ_and_works() {
    let world = World::new(Rights::Namespace).await;
    let (namespace, writ) = (world.tenant.namespace(), testkit::writ_kubeconfig(plane()).unwrap());
    let may_act = |expected: &str| {
        let question = ["auth", "can-i", "impersonate", "serviceaccounts/deployer", "-n", namespace];
        testkit::wait_until("the permission", DEADLINE, || {
            // kubectl fails when the answer is no.
            let answer = plane().kubectl_as(&writ, &question).map_or("no", |_| "yes");
            if answer == expected { Ok(()) } else { Err(answer) }
        })
        .unwrap();
    };
    world.tenant.kubectl(&["delete", "rolebinding", "writ-impersonates-deployer"]).unwrap();
    may_act("no");
    let (_, report, _) = world.roll_out(&config_map("a", "red")).await;
    let (code, text) = only_failure(&report);
    assert_eq!(code, "A105", "{text}");
    assert!(text.contains(&format!("writ may not act as system:serviceaccount:{namespace}:deployer")), "{text}");
    let (_, grant) = text.split_once("Fix: ").unwrap();
    for command in grant.split(" && ") {
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        plane().kubectl(&arguments).unwrap();
    }
    may_act("yes");
    assert!(world.roll_out(&config_map("a", "red")).await.1.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_deletes_what_was_judged_and_nothing_else() {
    let world = World::new(Rights::Namespace).await;
    let all: String = ["kept", "gone", "edited", "given"].map(|name| config_map(name, "red")).concat();
    let (first, report, _) = world.roll_out(&all).await;
    assert!(report.is_complete());
    let desired = world.desired(&config_map("kept", "red"));
    let plan = world.advance(&desired, Some(&first));
    assert_eq!(plan.counts().pruned, 3);
    // Between judgement and deletion: one is edited.
    world.tenant.kubectl(&["patch", "configmap", "edited", "-p", r#"{"data":{"color":"blue"}}"#]).unwrap();
    let (report, _) = world.apply(plan).await;
    assert_eq!(report.pruned, 2, "{:?}", report.failures);
    assert_eq!(only_failure(&report).0, "A104");
    let names = world.tenant.kubectl(&["get", "configmaps", "-o", "name"]).unwrap();
    assert!(names.contains("configmap/edited") && names.contains("configmap/kept"), "{names}");
    assert!(!names.contains("configmap/gone"), "{names}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripped_object_is_not_pruned() {
    let world = World::new(Rights::Namespace).await;
    let (first, ..) = world.roll_out(&[config_map("kept", "red"), config_map("given", "red")].concat()).await;
    world.tenant.kubectl(&["label", "configmap", "given", "applyset.kubernetes.io/part-of-"]).unwrap();
    // As if the watch had delivered the newest version before the decision.
    let given = first.iter().find(|object| object.reference.name == "given").unwrap().reference.clone();
    let version =
        world.tenant.kubectl(&["get", "configmap", "given", "-o", "jsonpath={.metadata.resourceVersion}"]).unwrap();
    world.see_version(&given, &version);
    let desired = world.desired(&config_map("kept", "red"));
    let (report, _) = world.apply(world.advance(&desired, Some(&first))).await;
    assert_eq!(only_failure(&report).0, "A108");
    world.tenant.kubectl(&["get", "configmap", "given"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_is_one_request_and_tells_deleted_from_stripped() {
    let world = World::new(Rights::Namespace).await;
    let (desired, _, outcomes) = world.roll_out(&config_map("settings", "red")).await;
    let Ok(Done::Created { sighting, .. }) = &outcomes[0].result else { panic!("{outcomes:?}") };
    let object = sighting.reference.clone();
    let label = format!("{}-", plan::INSTANCE_LABEL);
    world.tenant.kubectl(&["label", "configmap", "settings", &label]).unwrap();
    world.forget(&object);
    let plan = world.drift(&desired, &object);
    let receipt = world.receipt(Some(plan.digest()), Durability::Grouped);
    let (report, outcomes) = world.try_apply(plan, receipt, current()).await.unwrap();
    assert_eq!(report.writes, 1);
    let Ok(Done::Configured { sighting: reverted }) = &outcomes[0].result else { panic!("{outcomes:?}") };
    assert_eq!((&reverted.uid, reverted.instance.as_deref()), (&sighting.uid, Some(world.instance.as_str())));

    world.tenant.kubectl(&["delete", "configmap", "settings"]).unwrap();
    world.forget(&object);
    let (report, outcomes) = world.apply(world.drift(&desired, &object)).await;
    assert_eq!(report.writes, 1);
    assert!(matches!(&outcomes[0].result, Ok(Done::Created { sighting: new, .. }) if new.uid != sighting.uid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_its_receipt_is_not_applied() {
    let world = World::new(Rights::Namespace).await;
    let desired = world.desired(&config_map("settings", "red"));
    let plan = || world.advance(&desired, None);
    let digest = Some(plan().digest());
    let other = Current { trust_digest: Digest::of(b"other"), ..current() };
    let changed = Current { policy_digest: Digest::of(b"other"), ..current() };
    let synced = |digest| world.receipt(digest, Durability::Synced);
    let refused = [
        world.try_apply(plan(), synced(None), current()).await.unwrap_err(),
        world.try_apply(plan(), synced(Some(Digest::of(b"x"))), current()).await.unwrap_err(),
        world.try_apply(plan(), synced(digest), other).await.unwrap_err(),
        world.try_apply(plan(), synced(digest), changed).await.unwrap_err(),
        world.try_apply(plan(), world.receipt(digest, Durability::Grouped), current()).await.unwrap_err(),
    ];
    assert!(
        matches!(refused[0], ApplyRefused::OtherPlan { .. }) && matches!(refused[1], ApplyRefused::OtherPlan { .. })
    );
    assert!(matches!(refused[2], ApplyRefused::Superseded { what: "trust", .. }));
    assert!(matches!(refused[3], ApplyRefused::Superseded { what: "policy", .. }));
    assert!(matches!(refused[4], ApplyRefused::NotSynced { .. }));
    assert!(world.tenant.kubectl(&["get", "configmap", "settings"]).is_err());
}
