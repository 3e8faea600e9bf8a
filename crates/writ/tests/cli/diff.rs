//! `writ diff`: files in, changes out.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{expect, json as parsed};

const DESIRED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - name: app
        image: cart:1
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: cart, namespace: shop}
spec:
  minReplicas: 2
  maxReplicas: 6
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: cart}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {password: hunter2}
";

/// A List as `kubectl get -o json` prints it, with the defaults of the server, changed by `edit`.
fn live(edit: impl FnOnce(&mut Value)) -> String {
    let mut list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "cart", "namespace": "shop", "uid": "u", "generation": 3,
                "labels": {"writ.dev/instance": "writ", "applyset.kubernetes.io/part-of": "applyset-x"},
                "annotations": {"deployment.kubernetes.io/revision": "3"}},
            "spec": {"replicas": 4, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": {"app": "cart"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {
                    "containers": [{"name": "app", "image": "cart:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30}}},
            "status": {"replicas": 4}},
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"minReplicas": 2, "maxReplicas": 6, "metrics": [{"type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}}},
        {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "db", "namespace": "shop"},
            "data": {"password": "aHVudGVyMg=="}}
    ]});
    edit(list.pointer_mut("/items").unwrap());
    list.to_string()
}

struct Files(TempDir);

impl Files {
    fn new(desired: &str, live: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("desired.yaml"), desired).unwrap();
        fs::write(folder.path().join("live.json"), live).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn diff(&self, code: i32, more: &[&str]) -> testkit::Finished {
        let (desired, live) = (self.path("desired.yaml"), self.path("live.json"));
        expect(code, &[&["diff", "--desired", &desired, "--live", &live], more].concat())
    }

    fn changes(&self, code: i32) -> Vec<Value> {
        let document = parsed(&self.diff(code, &["-o", "json"]));
        assert_eq!(document.get("schema").unwrap(), "writ.dev/diff/v1alpha1");
        document.get("changes").unwrap().as_array().unwrap().clone()
    }
}

#[test]
fn what_ordinary_operation_changes_is_explained_and_no_drift() {
    let changes = Files::new(DESIRED, &live(|_| {})).changes(0);
    let explained: Vec<_> = changes
        .iter()
        .map(|change| (change["path"].as_str().unwrap(), change["explainedBy"].as_str().unwrap()))
        .collect();
    assert_eq!(
        explained,
        [
            ("/metadata/annotations/deployment.kubernetes.io~1revision", "deployment-revision"),
            ("/spec/replicas", "horizontal-pod-autoscaler"),
        ]
    );
}

#[test]
fn each_change_has_its_path_values_class_severity_and_kind() {
    let files = Files::new(
        DESIRED,
        &live(|items| {
            let container = &mut items[0]["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!("evil:1");
            container["env"] = json!([{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]);
            items[2]["data"]["password"] = json!("c3RvbGVu");
            items.as_array_mut().unwrap().remove(1);
        }),
    );
    let changes = files.changes(1);
    let at = "/spec/template/spec/containers/0";
    let change = |path: &str| changes.iter().find(|change| change["path"] == path).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(
        *change(&format!("{at}/image")),
        json!({"object": "Deployment.apps shop/cart", "path": format!("{at}/image"),
            "field": "spec.template.spec.containers[name=app].image", "desired": "cart:1", "live": "evil:1",
            "class": "image", "severity": "critical", "kind": "edited", "explainedBy": null})
    );
    let added = change(&format!("{at}/env/0"));
    assert_eq!((&added["kind"], &added["class"], &added["desired"]), (&json!("added"), &json!("env"), &Value::Null));
    let deleted = change("");
    assert_eq!(deleted["object"], "HorizontalPodAutoscaler.autoscaling shop/cart");
    assert_eq!(deleted["kind"], "deleted");
    let secret = change("/data/password");
    assert_eq!((&secret["desired"], &secret["live"]), (&json!("***"), &json!("***")));
    let human = files.diff(1, &[]).stdout;
    for part in [
        "Deployment.apps shop/cart\n",
        "critical  edited   spec.template.spec.containers[name=app].image (image)",
        "objects: 3 · drifted: 3 · changes: 4 · explained: 2",
    ] {
        assert!(human.contains(part), "{part} in {human}");
    }
    for output in [human, files.diff(1, &["-o", "yaml"]).stdout, files.diff(1, &["-o", "json"]).stdout] {
        for value in ["hunter2", "aHVudGVyMg", "c3RvbGVu"] {
            assert!(!output.contains(value), "{value} in {output}");
        }
    }
}

#[test]
fn names_made_to_trick_a_terminal_are_escaped() {
    let files = Files::new(
        DESIRED,
        &live(|items| items[0]["metadata"]["annotations"]["\u{1b}[2Jx"] = json!("\u{1b}]0;owned\u{7}")),
    );
    let human = files.diff(1, &[]).stdout;
    assert!(!human.contains('\u{1b}') && !human.contains('\u{7}'), "{human:?}");
}

#[test]
fn no_verdict_without_two_files_that_can_be_read() {
    let broken = Files::new("a: [", &live(|_| {}));
    let finished = broken.diff(2, &[]);
    assert!(finished.stderr.contains("desired.yaml"), "{}", finished.stderr);
    let empty = Files::new("# nothing\n", &live(|_| {})).diff(2, &[]);
    assert!(empty.stderr.contains("declares no object"), "{}", empty.stderr);
    let files = Files::new(DESIRED, "{");
    assert!(files.diff(2, &[]).stderr.contains("live.json"));
    let elsewhere = live(|items| items[1]["apiVersion"] = json!("autoscaling/v1"));
    assert!(Files::new(DESIRED, &elsewhere).diff(2, &[]).stderr.contains("get it in that version"));
    let missing = files.path("none.yaml");
    expect(2, &["diff", "--desired", &missing, "--live", &files.path("live.json")]);
    expect(64, &["diff", "--desired", &missing]);
}

#[test]
fn a_manifest_without_a_namespace_is_looked_for_where_the_live_objects_are() {
    let desired = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": "v"}});
    let files = Files::new(desired, &map.to_string());
    assert_eq!(files.changes(0), [] as [Value; 0]);
    // JSON in a file of any name.
    fs::copy(files.path("live.json"), files.path("live")).unwrap();
    expect(0, &["diff", "--desired", &files.path("desired.yaml"), "--live", &files.path("live")]);
    let elsewhere = parsed(&files.diff(1, &["-n", "other", "-o", "json"]));
    assert_eq!(elsewhere["changes"][0]["kind"], "deleted");
}
