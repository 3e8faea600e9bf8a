use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

const UID: &str = "0b3c6a57-4c4f-4b5e-9d55-0a1b2c3d4e5f";

fn role(kind: &str, fields: &Value) -> Fixture {
    let mut object =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "monitoring"}});
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    of("aggregated-cluster-role", object)
}

fn roles() -> Vec<Fixture> {
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let selects = json!({"clusterRoleSelectors": [{"matchLabels": {"aggregate": "true"}}]});
    vec![
        role("ClusterRole", &json!({"aggregationRule": selects}))
            .explains(&["rules"], json!([rule]))
            .misses(&["aggregationRule", "clusterRoleSelectors"], json!([{"matchLabels": {}}]))
            .misses(&["metadata", "labels", "rules"], "x"),
        role("ClusterRole", &json!({"aggregationRule": selects, "rules": []})).explains(&["rules"], rule.clone()),
        role("ClusterRole", &json!({"aggregationRule": selects, "rules": [rule]})).misses(&["rules"], rule.clone()),
        role("ClusterRole", &json!({"aggregationRule": null})).misses(&["rules"], json!([rule])),
        role("ClusterRole", &json!({})).misses(&["rules"], json!([rule])),
        role("Role", &json!({"aggregationRule": selects})).misses(&["rules"], json!([rule])),
    ]
}

fn namespaces() -> Vec<Fixture> {
    let label = &["metadata", "labels", "kubernetes.io/metadata.name"];
    let object = |kind| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "shop"}});
    vec![
        of("namespace-lifecycle", object("Namespace"))
            .explains(label, "shop")
            .explains(&["spec", "finalizers"], json!(["kubernetes"]))
            .explains(&["spec", "finalizers"], "kubernetes")
            .misses(label, "bank")
            .misses_edit(label, "bank", "shop")
            .misses(&["metadata", "labels", "pod-security.kubernetes.io/enforce"], "privileged")
            .misses(&["spec", "finalizers"], json!(["kubernetes", "example.org/hold"]))
            .misses(&["spec", "finalizers"], json!([])),
        of("namespace-lifecycle", object("ConfigMap")).misses(label, "shop"),
    ]
}

fn accounts() -> Vec<Fixture> {
    let item = |name: &str| json!({"name": name});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "a"}});
    let secret = |kind: &str, more: Value| {
        let metadata = json!({"name": "web-token", "namespace": "shop"});
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": more});
        of("service-account-tokens", object)
    };
    let made = "kubernetes.io/service-account-token";
    let base64 = |text: &str| STANDARD.encode(text);
    let uid = &["metadata", "annotations", "kubernetes.io/service-account.uid"];
    let day = &["metadata", "labels", "kubernetes.io/legacy-token-last-used"];
    vec![
        of("service-account-tokens", account)
            .explains(&["secrets"], item("web-token-x2k9z"))
            .explains(&["secrets"], json!([item("web-token-x2k9z"), item("web-dockercfg-bcdfg")]))
            .explains(&["imagePullSecrets"], item("web-dockercfg-bcdfg"))
            .misses(&["imagePullSecrets"], item("web-token-x2k9z"))
            .misses(&["imagePullSecrets"], item("intruder"))
            .misses(&["secrets"], item("api-token-x2k9z"))
            .misses(&["secrets"], "web-token-x2k9z")
            .misses(&["secrets"], item("web-token-admin"))
            .misses(&["secrets"], json!([item("web-token-x2k9z"), item("intruder")]))
            .misses(&["secrets"], json!({"name": "web-token-x2k9z", "namespace": "kube-system"}))
            .misses(&["automountServiceAccountToken"], true),
        secret(made, json!({}))
            .explains(&["data", "token"], base64("aa.bb-_.cc"))
            .explains_edit(&["data", "token"], "", base64("aa.bb.cc"))
            .explains(&["data", "ca.crt"], base64("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
            .explains(&["data", "namespace"], base64("shop"))
            .explains(uid, UID)
            .explains(day, "2026-01-31")
            .misses_edit(&["data", "token"], base64("aa.bb.cc"), base64("dd.ee.ff"))
            .misses(&["data", "token"], base64("not a token"))
            .misses(&["data", "token"], base64("aa.bb"))
            .misses(&["data", "token"], base64("aa..cc"))
            .misses(&["data", "token"], base64("aa.b b.cc"))
            .misses(&["data", "ca.crt"], base64("x"))
            .misses(&["data", "namespace"], base64("bank"))
            .misses(&["data", "password"], base64("aa.bb.cc"))
            .misses(uid, "me")
            .misses_edit(uid, UID, UID.replace('0', "1"))
            .misses(day, "2026-02-31"),
        secret(made, json!({"token": "aa.bb.cc"})).misses(&["data", "token"], base64("dd.ee.ff")),
        secret("Opaque", json!({})).misses(&["data", "token"], base64("aa.bb.cc")).misses(uid, UID),
    ]
}

fn applied() -> Vec<Fixture> {
    let names = &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"];
    let text = |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name}}).to_string();
    let line =
        |kind: &str| of("kubectl-last-applied", json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}));
    vec![
        line("ConfigMap")
            .explains(names, text("ConfigMap", "a"))
            .misses(names, text("ConfigMap", "b"))
            .misses(names, text("Service", "a"))
            .misses(names, json!({"kind": "ConfigMap"}).to_string())
            .misses(names, "x")
            .misses_edit(names, "{}", text("ConfigMap", "a"))
            .misses(&["metadata", "annotations", "example.org/last-applied-configuration"], text("ConfigMap", "a")),
        line("Secret").misses(names, text("Secret", "a")),
    ]
}

fn crds() -> Vec<Fixture> {
    let line = |group: &str, conversion: Value| {
        let spec = json!({"names": {"kind": "Widget"}, "conversion": conversion});
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": "CustomResourceDefinition", "spec": spec});
        of("api-server-crd", object)
    };
    let (list, singular) = (&["spec", "names", "listKind"], &["spec", "names", "singular"]);
    let strategy = &["spec", "conversion", "strategy"];
    vec![
        line("apiextensions.k8s.io", Value::Null)
            .explains(list, "WidgetList")
            .explains_edit(list, "", "WidgetList")
            .explains(singular, "widget")
            .explains(strategy, "None")
            .misses(list, "WidgetsList")
            .misses(singular, "pod")
            .misses_edit(singular, "gadget", "widget")
            .misses(strategy, "Webhook")
            .misses(&["spec", "names", "plural"], "widget")
            .misses(&["spec", "conversion", "webhook", "clientConfig", "url"], "None"),
        line("apiextensions.k8s.io", json!({"strategy": "Webhook"})).misses_edit(strategy, "Webhook", "None"),
        line("example.org", Value::Null).misses(list, "WidgetList"),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    [roles(), namespaces(), accounts(), applied(), crds()].into_iter().flatten().collect()
}

#[test]
fn the_control_plane_completes_what_nobody_declares() {
    check(&fixtures());
}
