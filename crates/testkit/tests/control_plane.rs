//! The control plane, the permissions of `deploy/`, and processes, with the real Kubernetes of `cargo xtask controlplane`.

use std::time::Duration;

use testkit::{
    Component, ControlPlane, Profile, RequestFilter, RequestTotals, Rights, Tenant, WRIT_NAMESPACE,
    WRIT_SERVICE_ACCOUNT, deploy_folder, install, wait_until, writ_kubeconfig,
};

const WITHIN: Duration = Duration::from_secs(60);

/// A CRD of the group that `deploy/rbac.yaml` speaks of, enough to try permissions.
const SYNC_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: syncs.writ.dev}
spec:
  group: writ.dev
  scope: Namespaced
  names: {plural: syncs, singular: sync, kind: Sync}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn api_profile_serves_and_survives_kill_and_restart_of_each_component() {
    let plane = ControlPlane::start(Profile::Api).unwrap();
    plane.kubectl(&["create", "configmap", "kept", "--from-literal=a=1"]).unwrap();
    assert!(plane.kubectl(&["version"]).unwrap().contains("Server Version: v1."));
    let first = plane.pids().unwrap();
    assert_eq!(first.keys().copied().collect::<Vec<_>>(), [Component::Etcd, Component::ApiServer]);

    for component in [Component::ApiServer, Component::Etcd] {
        plane.kill(component).unwrap();
        assert!(!alive(first[&component]), "{component:?}");
        let error = plane.kill(component).unwrap_err().to_string();
        assert!(error.contains("is not running here"), "{error}");
        wait_until("the API server is not ready", WITHIN, || match plane.get("/readyz") {
            Err(_) => Ok(()),
            Ok(_) => Err("it is ready"),
        })
        .unwrap();
        plane.restart(component).unwrap();
        wait_until("the API server is ready", WITHIN, || plane.get("/readyz")).unwrap();
        assert_eq!(plane.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]).unwrap(), "1");
    }
    plane.pause(Component::Etcd).unwrap();
    wait_until("the API server misses its database", WITHIN, || match plane.get("/readyz") {
        Err(_) => Ok(()),
        Ok(_) => Err("it is ready"),
    })
    .unwrap();
    plane.resume(Component::Etcd).unwrap();
    wait_until("the API server is ready", WITHIN, || plane.get("/readyz")).unwrap();

    assert!(plane.restart(Component::Scheduler).unwrap_err().to_string().contains("not part of profile Api"));
    assert!(plane.log(Component::ApiServer).unwrap().contains("Serving securely"));

    // Another process of the run would attach like this.
    let attached = ControlPlane::attach(&plane.state_file()).unwrap();
    assert_eq!(attached.profile(), Profile::Api);
    assert_eq!(attached.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]).unwrap(), "1");
    let reader = attached.kubeconfig_for("reader", &["readers"]).unwrap();
    let who = plane.kubectl_as(&reader, &["auth", "whoami", "-o", "jsonpath={.status.userInfo}"]).unwrap();
    assert!(who.contains("\"username\":\"reader\"") && who.contains("\"readers\""), "{who}");
    assert!(attached.kill(Component::Etcd).unwrap_err().to_string().contains("shared control plane"));
    drop(attached);

    let (pids, directory) = (plane.pids().unwrap(), plane.state_file());
    plane.stop().unwrap();
    assert!(pids.values().all(|&pid| !alive(pid)));
    assert!(!directory.exists());
}

#[test]
fn full_profile_runs_controllers_and_the_scheduler() {
    let plane = ControlPlane::start(Profile::Full).unwrap();
    plane.kubectl(&["create", "namespace", "work"]).unwrap();
    plane.kubectl(&["create", "deployment", "web", "--image=web", "--replicas=2", "-n", "work"]).unwrap();
    wait_until("the controllers make the pods and the scheduler judges them", WITHIN, || {
        let path = "jsonpath={.items[*].status.conditions[?(@.type==\"PodScheduled\")].reason}";
        match plane.kubectl(&["get", "pods", "-n", "work", "-o", path]) {
            Ok(reasons) if reasons == "Unschedulable Unschedulable" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    plane.kill(Component::Scheduler).unwrap();
    plane.restart(Component::Scheduler).unwrap();
    plane.restart(Component::ControllerManager).unwrap();
    plane.kubectl(&["delete", "namespace", "work", "--timeout=60s"]).unwrap();
}

#[test]
fn writ_may_watch_and_impersonate_its_tenants_and_nothing_else() {
    let plane = ControlPlane::shared(Profile::Api).unwrap();
    install(plane, SYNC_CRD).unwrap();
    install(plane, SYNC_CRD).unwrap();
    let tenant = Tenant::create(plane, Rights::Namespace).unwrap();
    let other = Tenant::create(plane, Rights::Namespace).unwrap();
    plane.kubectl(&["create", "serviceaccount", "neighbour", "-n", tenant.namespace()]).unwrap();
    let writ = writ_kubeconfig(plane).unwrap();
    let user = format!("system:serviceaccount:{WRIT_NAMESPACE}:{WRIT_SERVICE_ACCOUNT}");
    let who = plane.kubectl_as(&writ, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).unwrap();
    assert_eq!(who, user);

    let namespace = tenant.namespace();
    let can = |arguments: &[&str]| {
        let mut all = vec!["auth", "can-i", "-q", "-n", namespace];
        all.extend_from_slice(arguments);
        plane.kubectl_as(&writ, &all).is_ok()
    };
    for allowed in [
        &["list", "deployments.apps"][..],
        &["watch", "secrets"],
        &["watch", "syncs.writ.dev"],
        &["get", "syncs.writ.dev"],
        &["patch", "syncs.writ.dev"],
        &["patch", "syncs.writ.dev", "--subresource=status"],
        &["create", "events"],
        &["create", "events.events.k8s.io"],
        &["impersonate", "serviceaccounts/deployer"],
        &["create", "leases.coordination.k8s.io", "-n", WRIT_NAMESPACE],
    ] {
        assert!(can(allowed), "{allowed:?}");
    }
    for refused in [
        &["create", "deployments.apps"][..],
        &["patch", "deployments.apps"],
        &["delete", "configmaps"],
        &["create", "syncs.writ.dev"],
        &["delete", "syncs.writ.dev"],
        &["patch", "trustroots.writ.dev"],
        &["patch", "gitsources.writ.dev"],
        &["get", "pods", "--subresource=exec"],
        &["create", "pods", "--subresource=exec"],
        &["get", "nodes", "--subresource=proxy"],
        &["create", "serviceaccounts", "--subresource=token"],
        &["impersonate", "serviceaccounts/neighbour"],
        &["impersonate", "users"],
        &["impersonate", "groups"],
        &["patch", "clusterrolebindings.rbac.authorization.k8s.io"],
        &["create", "leases.coordination.k8s.io"],
    ] {
        assert!(!can(refused), "{refused:?}");
    }

    let deploy = ["create", "deployment", "web", "--image=web", "-n", namespace];
    let error = plane.kubectl_as(&writ, &deploy).unwrap_err().to_string();
    assert!(error.contains("cannot create resource \"deployments\""), "{error}");
    let as_tenant = |account_namespace: &str, into: &str| {
        let account = format!("--as=system:serviceaccount:{account_namespace}:{}", tenant.service_account());
        plane.kubectl_as(&writ, &[&account, "create", "deployment", "web", "--image=web", "-n", into])
    };
    as_tenant(namespace, namespace).unwrap();
    let error = as_tenant(namespace, other.namespace()).unwrap_err().to_string();
    assert!(error.contains("cannot create resource \"deployments\""), "{error}");
    other.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: own}}").unwrap();
    assert_eq!(other.kubectl(&["get", "configmap", "own", "-o", "name"]).unwrap(), "configmap/own\n");
    assert_eq!(tenant.kubectl(&["get", "deployments", "-o", "name"]).unwrap(), "deployment.apps/web\n");
    assert_eq!(other.kubectl(&["get", "deployments", "-o", "name"]).unwrap(), "");
}

#[test]
fn a_tenant_with_rights_in_the_cluster_can_bring_crds() {
    let plane = ControlPlane::shared(Profile::Api).unwrap();
    install(plane, SYNC_CRD).unwrap();
    for (rights, expected) in [(Rights::Namespace, false), (Rights::Cluster, true)] {
        let tenant = Tenant::create(plane, rights).unwrap();
        let kubeconfig = tenant.kubeconfig().unwrap();
        let question = ["auth", "can-i", "-q", "create", "customresourcedefinitions.apiextensions.k8s.io"];
        assert_eq!(plane.kubectl_as(&kubeconfig, &question).is_ok(), expected, "{rights:?}");
    }
}

#[test]
fn every_file_of_deploy_is_accepted_by_the_server() {
    let plane = ControlPlane::shared(Profile::Api).unwrap();
    install(plane, SYNC_CRD).unwrap();
    for entry in std::fs::read_dir(deploy_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            plane
                .kubectl(&[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--dry-run=server",
                    "-f",
                    path.to_str().unwrap(),
                ])
                .unwrap();
        }
    }
}

#[test]
fn requests_are_counted_by_the_server() {
    let plane = ControlPlane::start_with(Profile::Api, &["--event-ttl=2h"]).unwrap();
    let before = RequestTotals::of(&plane).unwrap();
    plane
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: default}, data: {a: '1'}}")
        .unwrap();
    let after = RequestTotals::of(&plane).unwrap();
    let applied = RequestFilter { verb: Some("APPLY"), resource: Some("configmaps"), ..Default::default() };
    assert_eq!(after.count_since(&before, &applied), 1);
    assert_eq!(after.count_since(&before, &RequestFilter { code: Some(201), ..applied }), 1);
    assert_eq!(after.count_since(&before, &RequestFilter { dry_run: Some(true), ..applied }), 0);
    assert_eq!(after.count_since(&after, &RequestFilter::default()), 0);
}

#[test]
fn an_api_server_that_does_not_start_shows_its_log() {
    let Err(error) = ControlPlane::start_with(Profile::Api, &["--no-such-flag"]) else { panic!("it started") };
    assert!(format!("{error:#}").contains("unknown flag: --no-such-flag"), "{error:#}");
}
