//! Declared values and what is served of them: the same, or not.

#![expect(clippy::needless_pass_by_value, reason = "tables of values read better without references")]

use manifest::GroupKind;
use serde_json::{Value, json};

use crate::{Visibility, declared_differences};

/// The paths that differ.
#[track_caller]
fn paths(kind: &str, declared: &Value, live: &Value) -> Vec<String> {
    let (group, kind) = kind.split_once('/').unwrap();
    let kind = GroupKind::new(group, kind);
    declared_differences(declared, live, &kind, Visibility::Shown).into_iter().map(|diff| diff.path).collect()
}

#[track_caller]
fn same(kind: &str, declared: Value, live: Value) {
    assert_eq!(paths(kind, &declared, &live), [] as [String; 0], "{kind}: {declared} served as {live}");
}

#[track_caller]
fn differs(kind: &str, declared: Value, live: Value) {
    assert_ne!(paths(kind, &declared, &live), [] as [String; 0], "{kind}: {declared} served as {live}");
}

/// A Deployment with one container of these fields.
fn container(mut fields: Value) -> Value {
    fields["name"] = json!("web");
    pod(json!({"containers": [fields]}))
}

fn pod(spec: Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

const DEPLOYMENT: &str = "apps/Deployment";

#[test]
fn quantities_are_compared_by_value_where_quantities_stand() {
    let limits = |cpu: Value| container(json!({"resources": {"limits": {"cpu": cpu}}}));
    for (declared, live) in [
        (json!("1000m"), json!("1")),
        (json!(1), json!("1")),
        (json!(0.5), json!("500m")),
        (json!("0.5"), json!("500m")),
        (json!("0.5Gi"), json!("512Mi")),
        (json!("1e3"), json!("1k")),
        (json!("0.0001"), json!("1m")),
    ] {
        same(DEPLOYMENT, limits(declared), limits(live));
    }
    differs(DEPLOYMENT, limits(json!("1")), limits(json!("2")));
    differs(DEPLOYMENT, limits(json!("1m")), limits(json!("2m")));
    differs(DEPLOYMENT, limits(json!("1")), container(json!({"resources": {"limits": {}}})));
    let volume = |size: &str| pod(json!({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": size}}]}));
    same(DEPLOYMENT, volume("1024Mi"), volume("1Gi"));
    differs(DEPLOYMENT, volume("1Gi"), volume("1G"));
    let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    same("/PersistentVolumeClaim", claim("1024Mi"), claim("1Gi"));
    let quota = |cpu: &str| json!({"spec": {"hard": {"requests.cpu": cpu}}});
    same("/ResourceQuota", quota("1000m"), quota("1"));
    let metric =
        |value: &str| json!({"spec": {"metrics": [{"external": {"target": {"type": "Value", "value": value}}}]}});
    same("autoscaling/HorizontalPodAutoscaler", metric("1000m"), metric("1"));
    let range = |max: &str| json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": max}}]}});
    same("/LimitRange", range("0.5"), range("500m"));
}

#[test]
fn what_only_looks_like_a_quantity_is_text() {
    for (kind, declared, live) in [
        ("/ConfigMap", json!({"data": {"k": "1000m"}}), json!({"data": {"k": "1"}})),
        ("/ConfigMap", json!({"data": {"sizeLimit": "1.0"}}), json!({"data": {"sizeLimit": "1"}})),
        ("/ConfigMap", json!({"metadata": {"labels": {"v": "1.0"}}}), json!({"metadata": {"labels": {"v": "1"}}})),
        (DEPLOYMENT, container(json!({"image": "1.0"})), container(json!({"image": "1"}))),
        (
            DEPLOYMENT,
            container(json!({"env": [{"name": "A", "value": "1.0"}]})),
            container(json!({"env": [{"name": "A", "value": "1"}]})),
        ),
        (
            "example.com/Widget",
            json!({"spec": {"limits": {"cpu": "1"}}}),
            json!({"spec": {"limits": {"cpu": "1000m"}}}),
        ),
    ] {
        differs(kind, declared, live);
    }
}

#[test]
fn an_image_that_a_webhook_rewrites_differs() {
    let image = |image: &str| container(json!({"image": image}));
    assert_eq!(paths(DEPLOYMENT, &image("a:1"), &image("evil:1")), ["spec.template.spec.containers[name=web].image"]);
    differs(DEPLOYMENT, image("a:1"), container(json!({})));
    differs(DEPLOYMENT, image("a:1"), pod(json!({"containers": []})));
    differs(DEPLOYMENT, image("a:1"), json!({"spec": {}}));
}

#[test]
fn what_the_built_in_types_drop_when_it_is_empty_may_be_absent() {
    for (kind, declared, live) in [
        (
            DEPLOYMENT,
            container(json!({"env": [{"name": "A", "value": ""}]})),
            container(json!({"env": [{"name": "A"}]})),
        ),
        (DEPLOYMENT, container(json!({"args": [], "command": [], "stdin": false, "tty": false})), container(json!({}))),
        (DEPLOYMENT, container(json!({"resources": {"limits": {}}})), container(json!({"resources": {}}))),
        (
            DEPLOYMENT,
            container(json!({"volumeMounts": [{"mountPath": "/x", "name": "v", "readOnly": false, "subPath": ""}]})),
            container(json!({"volumeMounts": [{"mountPath": "/x", "name": "v"}]})),
        ),
        (
            DEPLOYMENT,
            container(json!({"readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 0, "timeoutSeconds": 0}})),
            container(json!({"readinessProbe": {"periodSeconds": 10, "timeoutSeconds": 1}})),
        ),
        (
            DEPLOYMENT,
            pod(json!({"hostNetwork": false, "nodeSelector": {}, "tolerations": [], "serviceAccountName": ""})),
            pod(json!({"hostNetwork": null})),
        ),
        (DEPLOYMENT, json!({"metadata": {"annotations": {}, "labels": null}}), json!({"metadata": {}})),
        (DEPLOYMENT, json!({"spec": {"replicas": null, "paused": false}}), json!({"spec": {"replicas": 1}})),
        ("/ConfigMap", json!({"data": {}}), json!({})),
        ("/Service", json!({"spec": {"selector": {}, "externalName": ""}}), json!({"spec": {}})),
        (
            "/Service",
            json!({"spec": {"clusterIP": "", "ports": [{"port": 80, "name": "", "nodePort": 0}]}}),
            json!({"spec": {"clusterIP": "10.0.0.9", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}}),
        ),
        (
            DEPLOYMENT,
            container(json!({"imagePullPolicy": "", "terminationMessagePath": ""})),
            container(json!({"imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log"})),
        ),
        ("/Secret", json!({"type": ""}), json!({"type": "Opaque"})),
        ("/PersistentVolume", json!({"spec": {"storageClassName": ""}}), json!({"spec": {}})),
        ("rbac.authorization.k8s.io/Role", json!({"rules": []}), json!({"rules": null})),
        (
            "rbac.authorization.k8s.io/RoleBinding",
            json!({"subjects": [{"kind": "ServiceAccount", "name": "a", "apiGroup": ""}]}),
            json!({"subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "shop"}]}),
        ),
        (
            "apiextensions.k8s.io/CustomResourceDefinition",
            json!({"spec": {"preserveUnknownFields": false, "conversion": null}}),
            json!({"spec": {"conversion": {"strategy": "None"}}}),
        ),
        ("example.com/Widget", json!({"metadata": {"annotations": {}}}), json!({"metadata": {}})),
        ("example.com/Widget", json!({"spec": {"x": null}}), json!({"spec": {}})),
    ] {
        same(kind, declared, live);
    }
}

#[test]
fn an_empty_value_that_says_something_may_not_be_absent() {
    for (kind, declared, live) in [
        // Its removal mounts another volume, or selects other pods.
        (
            DEPLOYMENT,
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
            pod(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})),
        ),
        (
            "networking.k8s.io/NetworkPolicy",
            json!({"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}}),
            json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}}),
        ),
        // The default is another one.
        (DEPLOYMENT, pod(json!({"automountServiceAccountToken": false})), pod(json!({}))),
        (
            DEPLOYMENT,
            container(json!({"securityContext": {"allowPrivilegeEscalation": false}})),
            container(json!({"securityContext": {}})),
        ),
        (DEPLOYMENT, json!({"spec": {"replicas": 0}}), json!({"spec": {"replicas": 1}})),
        ("/PersistentVolumeClaim", json!({"spec": {"storageClassName": ""}}), json!({"spec": {}})),
        // Entries with keys of the user's.
        ("/ConfigMap", json!({"data": {"value": ""}}), json!({"data": {}})),
        (DEPLOYMENT, json!({"metadata": {"labels": {"role": ""}}}), json!({"metadata": {"labels": {}}})),
        ("/Service", json!({"spec": {"selector": {"role": ""}}}), json!({"spec": {"selector": {}}})),
        // What is declared empty and is not.
        (DEPLOYMENT, pod(json!({"restartPolicy": "", "dnsPolicy": ""})), pod(json!({"restartPolicy": "Never"}))),
        ("/ConfigMap", json!({"data": {"protocol": ""}}), json!({"data": {"protocol": "TCP"}})),
        (DEPLOYMENT, pod(json!({"hostNetwork": false})), pod(json!({"hostNetwork": true}))),
        (DEPLOYMENT, container(json!({"args": []})), container(json!({"args": ["-x"]}))),
        (
            DEPLOYMENT,
            container(json!({"readinessProbe": {"periodSeconds": 0}})),
            container(json!({"readinessProbe": {"periodSeconds": 3600}})),
        ),
        // Custom resources are stored as they were sent.
        ("example.com/Widget", json!({"spec": {"paused": false}}), json!({"spec": {}})),
        ("example.com/Widget", json!({"spec": {"labels": {}}}), json!({"spec": {}})),
        ("example.com/Widget", json!({"spec": {"items": []}}), json!({"spec": {}})),
        ("example.com/Widget", json!({"spec": {"x": null}}), json!({"spec": {"x": 1}})),
        (
            "apiextensions.k8s.io/CustomResourceDefinition",
            json!({"spec": {"x": {"default": {"paused": false}}}}),
            json!({"spec": {"x": {"default": {}}}}),
        ),
    ] {
        differs(kind, declared, live);
    }
}

#[test]
fn order_counts_only_where_it_means_something() {
    same(
        DEPLOYMENT,
        container(json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})),
        container(json!({"env": [{"name": "B", "value": "2"}, {"name": "X"}, {"name": "A", "value": "1"}]})),
    );
    differs(DEPLOYMENT, container(json!({"args": ["a", "b"]})), container(json!({"args": ["b", "a"]})));
    let finalizers = |items: Value| json!({"metadata": {"finalizers": items}});
    same("/ConfigMap", finalizers(json!(["a", "b"])), finalizers(json!(["b", "c", "a"])));
    differs("/ConfigMap", finalizers(json!(["a", "b"])), finalizers(json!(["b"])));
    let actions = |items: Value| json!({"spec": {"validationActions": items}});
    let binding = "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding";
    same(binding, actions(json!(["Deny", "Audit"])), actions(json!(["Audit", "Deny"])));
    differs(binding, actions(json!(["Deny"])), actions(json!(["Warn"])));
}

#[test]
fn numbers_and_certificates_are_compared_by_value() {
    same("example.com/Widget", json!({"spec": {"x": 1.0}}), json!({"spec": {"x": 1}}));
    differs("example.com/Widget", json!({"spec": {"x": 1}}), json!({"spec": {"x": "1"}}));
    let port = |port: Value| json!({"spec": {"ports": [{"port": 80, "targetPort": port}]}});
    differs("/Service", port(json!(80)), port(json!("80")));
    let bundle = |text: &str| json!({"webhooks": [{"name": "a", "clientConfig": {"caBundle": text}}]});
    let webhooks = "admissionregistration.k8s.io/ValidatingWebhookConfiguration";
    same(webhooks, bundle("aGVs\nbG8=\n"), bundle("aGVsbG8="));
    same(webhooks, bundle(""), json!({"webhooks": [{"name": "a", "clientConfig": {}}]}));
    differs(webhooks, bundle("aGVsbG8="), bundle("aGVsbG9v"));
}

#[test]
fn what_kubernetes_itself_fills_in_is_known() {
    let role = |rules: Value| json!({"aggregationRule": {"clusterRoleSelectors": []}, "rules": rules});
    let kind = "rbac.authorization.k8s.io/ClusterRole";
    same(kind, role(json!([])), role(json!([{"verbs": ["get"]}])));
    differs(kind, json!({"rules": []}), json!({"rules": [{"verbs": ["get"]}]}));
    let added = |key: &str, seconds: u32| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let tolerations = |items: Value| json!({"spec": {"tolerations": items}});
    let ours = json!({"key": "gpu", "operator": "Exists"});
    let (ready, reachable) = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable");
    let live = tolerations(json!([ours, added(ready, 300), added(reachable, 300)]));
    same("/Pod", tolerations(json!([ours])), live.clone());
    same("/Pod", tolerations(json!([ours, added(ready, 300), added(reachable, 300)])), live);
    differs("/Pod", tolerations(json!([ours])), tolerations(json!([ours, added("other", 300)])));
    differs("/Pod", tolerations(json!([ours])), tolerations(json!([ours, added(ready, 9)])));
}
