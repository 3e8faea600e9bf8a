//! `cargo xtask demo --kubeconfig`: on a cluster that is somebody else's.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::Path;
use std::process::{Command, Output};

use testkit::{ControlPlane, Profile, permissions};

fn demo(kubeconfig: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["demo", "--kubeconfig"]).arg(kubeconfig);
    // A run of all tests has built it already, with their features; built once more for itself alone it takes minutes.
    if Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/writ").exists() {
        command.arg("--built");
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everything cluster-wide that the demo could leave behind, by name.
fn there(plane: &ControlPlane) -> String {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings";
    plane.kubectl(&["get", kinds, "-o", "name"]).unwrap()
}

#[test]
fn the_demo_plays_on_a_cluster_of_the_users_and_leaves_nothing_behind() {
    let plane = ControlPlane::start(Profile::Full).unwrap();
    let before = there(&plane);

    // Who may not do what it takes is told what is missing, and nothing is made.
    let nobody = plane.kubeconfig_for("nobody", &[]).unwrap();
    let output = demo(&nobody);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for part in ["create namespaces", "delete customresourcedefinitions", "do everything", "cluster admin"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    assert_eq!(there(&plane), before);

    let output = demo(&plane.admin_kubeconfig());
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Everything went as promised"), "{}", said(&output));
    assert_eq!(there(&plane), before, "{}", said(&output));

    // Where writ is installed, it stays as it is; what would remove the leftovers of a demo is told.
    plane.apply(&permissions().unwrap()).unwrap();
    plane.kubectl(&["create", "namespace", "writ-demo-4711"]).unwrap();
    plane.kubectl(&["create", "namespace", "writ-demo-of-others"]).unwrap();
    plane
        .kubectl(&["create", "clusterrolebinding", "writ-demo-4712-cluster", "--clusterrole=view", "--user=x"])
        .unwrap();
    let installed = there(&plane);
    let output = demo(&plane.admin_kubeconfig());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("namespace/writ-system"), "{}", said(&output));
    let removal = "kubectl delete --ignore-not-found namespace/writ-demo-4711 clusterrolebinding/writ-demo-4711-cluster \
                   namespace/writ-demo-4712 clusterrolebinding/writ-demo-4712-cluster crd/orders";
    assert!(said(&output).contains(removal), "{}", said(&output));
    assert!(
        said(&output).contains("kubectl delete --ignore-not-found -f deploy/crds/writ.dev.yaml"),
        "{}",
        said(&output)
    );
    assert_eq!(there(&plane), installed);
}
